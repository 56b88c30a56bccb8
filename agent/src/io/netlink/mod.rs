//! The kernel: links, addresses and routes, over netlink.

use std::io;

use petiole_node::dataplane::{KernelEvent, Plan, PlanId, StepResult};
use tokio::sync::mpsc;

/// The two netlink sockets of the agent: one listens, one writes.
#[derive(Debug)]
pub struct Driver {}

impl Driver {
    /// Opens the sockets and starts to listen; nothing is dumped before [`Driver::dump`].
    ///
    /// # Errors
    /// When a netlink socket can't be opened or bound.
    #[expect(clippy::unused_async, reason = "registers with the reactor, so it must run inside the runtime")]
    pub async fn open() -> io::Result<(Self, mpsc::Receiver<Vec<KernelEvent>>)> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Asks for a dump; it arrives on the receiver as `DumpBegin`, facts, `DumpEnd`.
    pub fn dump(&self) {}

    /// Carries out the steps in order, and tells what became of each.
    #[expect(clippy::unused_async, reason = "the writes run on a blocking thread")]
    pub async fn apply(&self, plan: Plan) -> (PlanId, Vec<StepResult>) {
        (plan.id, Vec::new())
    }
}
