//! The listening side: notifications, and dumps between them.

use std::io;

use netlink_sys::Socket;
use petiole_node::dataplane::KernelEvent;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::{Receiver, Sender};

use super::dump::{AGAIN, DumpError, dump};
use super::parse;
use super::socket::{DATAGRAM, messages, monitor, register};

/// Listens, and puts dumps into the same stream of events.
///
/// While a dump runs, notifications wait in the kernel's buffer. So every event after `DumpEnd` is at least as new as the
/// dump's beginning, and the last one about an object is the newest: the mirror ends up right whatever the interleaving was.
#[derive(Debug)]
pub(super) struct Monitor {
    socket: AsyncFd<Socket>,
    events: Sender<Vec<KernelEvent>>,
    datagram: Vec<u8>,
}

impl Monitor {
    /// Listens to everything but route changes made through the port `own`.
    pub(super) fn open(own: u32, events: Sender<Vec<KernelEvent>>) -> io::Result<Self> {
        Ok(Self { socket: register(monitor(own)?)?, events, datagram: Vec::with_capacity(DATAGRAM) })
    }

    /// Runs until the driver or the receiver of the events is dropped.
    pub(super) async fn run(mut self, mut wishes: Receiver<()>) {
        loop {
            let wish = tokio::select! {
                wish = wishes.recv() => Some(wish),
                () = self.events.closed() => return,
                ready = self.socket.readable() => match ready {
                    Ok(_) => None,
                    Err(_) => return,
                },
            };
            let told = match wish {
                Some(None) => return,
                // What happened before the dump is told before it.
                Some(Some(())) => match self.tell().await {
                    Ok(()) => self.dump().await,
                    closed => closed,
                },
                None => self.tell().await,
            };
            if told.is_err() {
                return;
            }
        }
    }

    /// Sends on everything that waits in the socket.
    async fn tell(&mut self) -> Result<(), DumpError> {
        loop {
            let (batch, empty) = self.read();
            self.send(batch).await?;
            if empty {
                return Ok(());
            }
        }
    }

    /// Tries until a dump is complete; `Err` when nobody listens any more.
    async fn dump(&self) -> Result<(), DumpError> {
        loop {
            match dump(&self.events).await {
                Ok(()) => return Ok(()),
                Err(DumpError::Closed) => return Err(DumpError::Closed),
                Err(DumpError::Interrupted) => tracing::debug!("the kernel's tables changed during a dump: once more"),
                Err(error @ DumpError::Refused { .. }) => tracing::warn!(%error, "a kernel dump failed: once more"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn send(&self, batch: Vec<KernelEvent>) -> Result<(), DumpError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.events.send(batch).await.map_err(|_| DumpError::Closed)
    }

    /// Reads what waits, up to a batch; also whether nothing is left.
    fn read(&mut self) -> (Vec<KernelEvent>, bool) {
        let mut batch = Vec::new();
        while batch.len() < BATCH_EVENTS {
            self.datagram.clear();
            let datagram = &mut self.datagram;
            match self.socket.try_io(Interest::READABLE, |socket| socket.recv(datagram, 0)) {
                Ok(_) => {
                    for message in messages(&self.datagram) {
                        let flags = message.flags();
                        batch.extend(parse::event(message.message_type(), flags, message.payload()));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (batch, true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // ENOBUFS: notifications were dropped; the kernel says so once. Any other error may hide a loss as well.
                Err(_) => batch.push(KernelEvent::Overrun),
            }
        }
        (batch, false)
    }
}

/// Events per batch.
const BATCH_EVENTS: usize = 1024;
