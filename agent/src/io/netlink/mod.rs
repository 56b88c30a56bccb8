//! The kernel: links, addresses and routes, over netlink.
//!
//! Three sockets, because their traffic must not wait for each other's: one listens to the multicast groups (`monitor`), one
//! asks for dumps (`dump`), one writes (`writer`). Nothing is decided here: notifications become
//! [`KernelEvent`]s, and the steps of a [`Plan`] become messages.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use petiole_node::dataplane::{KernelError, KernelEvent, Plan, PlanId, StepResult};
use tokio::sync::mpsc;

mod dump;
mod encode;
mod monitor;
mod parse;
mod socket;
mod writer;

use monitor::Monitor;
use writer::Writer;

/// Batches of events that may wait for the agent's loop; beyond that the kernel's buffer fills, and then it overruns.
const EVENT_BATCHES: usize = 64;

/// The agent's connection to the kernel's routing tables. Dropping it closes the sockets.
#[derive(Debug)]
pub struct Driver {
    writer: Arc<Mutex<Writer>>,
    /// Each message asks for one dump.
    dumps: mpsc::Sender<()>,
}

impl Driver {
    /// Opens the sockets and starts to listen; nothing is dumped before [`Driver::dump`].
    ///
    /// Our own route writes are not told back: their results say all about them, and half a million echoes would fill the
    /// buffer in which other people's changes arrive.
    ///
    /// # Errors
    /// When a netlink socket can't be opened, bound or subscribed.
    #[expect(clippy::unused_async, reason = "registers with the reactor, so it must run inside the runtime")]
    pub async fn open() -> io::Result<(Self, mpsc::Receiver<Vec<KernelEvent>>)> {
        let (writer, port) = Writer::open()?;
        let (events, receiver) = mpsc::channel(EVENT_BATCHES);
        // One waiting wish is enough: a second one made before the dump begins is fulfilled by the same dump.
        let (dumps, wishes) = mpsc::channel(1);
        let monitor = Monitor::open(port, events)?;
        tokio::spawn(monitor.run(wishes));
        Ok((Self { writer: Arc::new(Mutex::new(writer)), dumps }, receiver))
    }

    /// Asks for a dump; it arrives on the receiver as `DumpBegin`, facts, `DumpEnd`, with no notification in between.
    pub fn dump(&self) {
        // Full means that one is asked for already; closed means that nobody listens any more.
        self.dumps.try_send(()).ok();
    }

    /// Carries out the steps in order, and tells what became of each.
    pub async fn apply(&self, plan: Plan) -> (PlanId, Vec<StepResult>) {
        let id = plan.id;
        let count = plan.steps.len();
        let writer = Arc::clone(&self.writer);
        // The kernel does the work inside the system call: about a millisecond for a batch.
        let done = tokio::task::spawn_blocking(move || {
            writer.lock().unwrap_or_else(PoisonError::into_inner).apply(&plan.steps)
        })
        .await;
        let results = done.unwrap_or_else(|_| {
            let error = KernelError { errno: EIO, detail: Some("the netlink writer stopped half way".to_owned()) };
            vec![Err(error); count]
        });
        (id, results)
    }
}

/// `EIO` of `include/uapi/asm-generic/errno-base.h`: the answer is not known.
const EIO: i32 = 5;

#[cfg(test)]
mod tests;
