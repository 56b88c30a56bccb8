//! Deleting a pair without waiting for the kernel's last step.
//!
//! The kernel answers a deletion when the last reference to the interfaces is gone, which takes it grace periods of ten to thirty
//! milliseconds. It tells the listeners much earlier, when both ends are off every list: they are down, their names are free, and
//! nothing can stop the rest (`unregister_netdevice_many_notify` and `netdev_run_todo` in `net/core/dev.c`). Whichever comes
//! first is the outcome.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::netlink::{Message, Netlink, Refusal};

/// Between two looks where the kernel says nothing at all.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Runs the deletion of the interface of this name on a thread of its own.
pub(super) fn delete(name: &str, message: Message) -> Result<(), Refusal> {
    let lost = |error: io::Error| Refusal { what: "delete the pair of interfaces", error };
    // It hears before there is anything to hear.
    let listener = Netlink::of_links()?;
    let mut socket = Netlink::open()?;
    let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|e| lost(e.into()))?);
    let (answer, answered) = channel();
    let wake: Arc<OwnedFd> = Arc::clone(&waker);
    let work = move || {
        // Nobody waits for it any more when the interface was gone before.
        answer.send(socket.run(&[message])).ok();
        rustix::io::write(&*wake, &1_u64.to_ne_bytes()).ok();
    };
    thread::Builder::new().name("unwire".to_owned()).spawn(work).map_err(lost)?;
    loop {
        match answered.try_recv() {
            Ok(result) => return result,
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(lost(io::ErrorKind::BrokenPipe.into())),
        }
        let mut ready = [PollFd::new(&*waker, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        match poll(&mut ready, Some(&LOOK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(lost(e.into())),
        }
        if listener.heard_end_of(name) {
            return Ok(());
        }
    }
}
