//! BFD on a thread of its own: packets in, packets out, and to the loop only what changed.
//!
//! The thread shares nothing with the runtime, so a loop that is busy with a full table never looks like a dead node. It wants
//! to run before everything else on the machine, and asks for that; without the right to it, it does its best.

mod sockets;
mod system;
mod thread;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc as blocking;

use petiole_node::Input;
use petiole_node::bfd::{SessionConfig, SessionId};
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::mpsc;

use self::thread::Worker;
use super::clock::Clock;

/// The set of sessions that should be.
type Peers = BTreeMap<SessionId, SessionConfig>;

/// The loop's side of BFD. The thread ends when this is dropped.
#[derive(Debug)]
pub struct Bfd {
    orders: blocking::Sender<Peers>,
    bell: Arc<OwnedFd>,
    /// What the thread is made of, until there is the first session.
    unborn: Option<Box<Worker>>,
}

impl Bfd {
    /// Nothing runs before the first session is wanted. `seed` serves discriminators, jitter and source ports.
    ///
    /// # Errors
    /// When the kernel gives no event descriptor.
    pub fn new(seed: [u8; 32], clock: Clock, inputs: mpsc::Sender<Input>) -> io::Result<Self> {
        let (orders, ordered) = blocking::channel();
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let worker = Worker::new(seed, clock, inputs, ordered, Arc::clone(&bell));
        Ok(Self { orders, bell, unborn: Some(Box::new(worker)) })
    }

    /// Replaces the set of sessions. Never blocks.
    pub fn set_peers(&mut self, peers: Peers) {
        if let Some(worker) = self.unborn.take_if(|_| !peers.is_empty()) {
            // Without a thread there is no BFD; sessions that need it stay away, the others do without.
            if let Err(e) = std::thread::Builder::new().name("bfd".to_owned()).spawn(move || worker.run()) {
                tracing::error!("cannot start BFD's thread: {e}");
            }
        }
        if self.unborn.is_none() && self.orders.send(peers).is_ok() {
            self.ring();
        }
    }

    fn ring(&self) {
        // A bell that cannot be rung has been rung already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl Drop for Bfd {
    fn drop(&mut self) {
        // The thread looks at its orders when it is woken, and finds that nobody gives any.
        let (orders, _) = blocking::channel();
        self.orders = orders;
        self.ring();
    }
}

#[cfg(test)]
mod tests;
