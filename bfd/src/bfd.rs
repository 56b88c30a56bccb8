//! All sessions of a node, and one queue of timers for all of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::config::{SessionConfig, SessionId};
use crate::event::{BfdEvent, Counters, Discard, SessionView, Status};
use crate::session::{Send, Session};
use crate::wire::{LEN, Packet, TTL};

/// A call that comes this much later than it was due means that we did not run, and heard nothing because of that.
const STALL: Duration = Duration::from_millis(25);

/// A packet to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Which session's; its neighbour and interface are where it goes.
    pub session: SessionId,
    /// Its source address.
    pub local: IpAddr,
    /// The datagram's payload.
    pub bytes: [u8; LEN],
}

/// BFD's sessions.
///
/// | class | methods |
/// |---|---|
/// | what should be | [`set_peers`](Self::set_peers) |
/// | what happened | [`handle_packet`](Self::handle_packet), [`handle_timeout`](Self::handle_timeout) |
/// | what to do | [`poll_transmit`](Self::poll_transmit), [`poll_event`](Self::poll_event), [`poll_timeout`](Self::poll_timeout) |
/// | how it is | [`status`](Self::status), [`sessions`](Self::sessions), [`counters`](Self::counters) |
///
/// Call one method of the first two classes, drain [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event), then wait until [`poll_timeout`](Self::poll_timeout) at the latest. `now` never goes
/// back. Before [`handle_timeout`](Self::handle_timeout), hand in all packets that wait: a timer that says "nothing was heard"
/// must not speak before what was heard. When a call comes much later than it was due, every neighbour that is silent gets
/// one more interval, once: the silence may be that of our own machine.
pub struct Bfd {
    now: Duration,
    rng: ChaCha8Rng,
    /// By our discriminator.
    sessions: BTreeMap<u32, Session>,
    by_id: BTreeMap<SessionId, u32>,
    queue: BTreeSet<(Duration, u32)>,
    outbox: VecDeque<Transmit>,
    /// Sessions whose status differs from the one last reported.
    changed: BTreeSet<u32>,
    counters: Counters,
}

impl Bfd {
    /// No sessions. `seed` serves discriminators and jitter.
    #[must_use]
    pub fn new(seed: [u8; 32], now: Duration) -> Self {
        Self {
            now,
            rng: ChaCha8Rng::from_seed(seed),
            sessions: BTreeMap::new(),
            by_id: BTreeMap::new(),
            queue: BTreeSet::new(),
            outbox: VecDeque::new(),
            changed: BTreeSet::new(),
            counters: Counters::default(),
        }
    }

    /// Replaces the whole set of sessions. Unchanged ones are untouched, new intervals are negotiated within a session, a new
    /// source address begins a new one, and one that is not wanted any more says AdminDown before it is forgotten.
    pub fn set_peers(&mut self, peers: &BTreeMap<SessionId, SessionConfig>, now: Duration) {
        self.advance(now);
        let old: Vec<(SessionId, u32)> = self.by_id.iter().map(|(id, discriminator)| (*id, *discriminator)).collect();
        for (id, discriminator) in old {
            let Some(session) = self.sessions.get_mut(&discriminator) else { continue };
            let send = match peers.get(&id) {
                Some(config) if config.local != session.config.local => {
                    self.forget(discriminator);
                    continue;
                }
                Some(config) => session.configure(*config, now, &mut self.rng),
                None if session.is_leaving() => continue,
                None => session.leave(now, &mut self.rng),
            };
            self.finish(discriminator, send, now);
        }
        for (id, config) in peers {
            if self.by_id.contains_key(id) {
                continue;
            }
            let discriminator = self.draw();
            self.sessions.insert(discriminator, Session::new(*id, *config, discriminator, now));
            self.by_id.insert(*id, discriminator);
            self.finish(discriminator, Send::Nothing, now);
        }
    }

    /// A discriminator that is not 0 and not in use (RFC 5880 section 6.8.1).
    fn draw(&mut self) -> u32 {
        loop {
            let drawn = self.rng.next_u32();
            if drawn != 0 && !self.sessions.contains_key(&drawn) {
                return drawn;
            }
        }
    }

    /// Takes in a datagram: who sent it, on which interface, with which TTL or hop limit it arrived, and its payload.
    ///
    /// # Errors
    /// Why it was thrown away; it is counted, nothing has to be done.
    pub fn handle_packet(&mut self, from: SessionId, ttl: u8, bytes: &[u8], now: Duration) -> Result<(), Discard> {
        self.advance(now);
        let taken = self.take(from, ttl, bytes, now);
        match taken {
            Ok(()) => self.counters.received += 1,
            Err(discard) => self.counters.count(discard),
        }
        taken
    }

    fn take(&mut self, from: SessionId, ttl: u8, bytes: &[u8], now: Duration) -> Result<(), Discard> {
        if ttl != TTL {
            return Err(Discard::Ttl(ttl));
        }
        let packet = Packet::decode(bytes)?;
        let from = SessionId { remote: from.remote.to_canonical(), ..from };
        let discriminator = match packet.your_discriminator {
            0 => *self.by_id.get(&from).ok_or(Discard::NoSession)?,
            given => given,
        };
        let session = self.sessions.get_mut(&discriminator).ok_or(Discard::NoSession)?;
        if session.id != from {
            return Err(Discard::WrongSender);
        }
        let handled = session.handle(&packet, now, &mut self.rng);
        self.finish(discriminator, handled.unwrap_or(Send::Nothing), now);
        handled.map(drop)
    }

    /// Runs the timers that are due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        let due: Vec<u32> = self.queue.iter().take_while(|(at, _)| *at <= now).map(|(_, d)| *d).collect();
        for discriminator in due {
            let Some(session) = self.sessions.get_mut(&discriminator) else { continue };
            match session.run(now, &mut self.rng) {
                Some(send) => self.finish(discriminator, send, now),
                None => self.forget(discriminator),
            }
        }
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outbox.pop_front()
    }

    /// The next session whose status changed. What is not fetched is kept and coalesced.
    pub fn poll_event(&mut self) -> Option<BfdEvent> {
        while let Some(discriminator) = self.changed.pop_first() {
            if let Some(session) = self.sessions.get_mut(&discriminator) {
                let status = session.status();
                session.reported = Some(status);
                return Some(BfdEvent { session: session.id, status });
            }
        }
        None
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// How a session is; also one that says its farewell.
    #[must_use]
    pub fn status(&self, id: &SessionId) -> Option<Status> {
        self.by_id.get(id).and_then(|d| self.sessions.get(d)).map(Session::status)
    }

    /// A session with its counters; also one that says its farewell.
    #[must_use]
    pub fn view(&self, id: &SessionId) -> Option<SessionView> {
        self.by_id.get(id).and_then(|d| self.sessions.get(d)).map(Session::view)
    }

    /// All sessions, in order; also those that say their farewell.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView> {
        self.by_id.values().filter_map(|d| self.sessions.get(d)).map(Session::view)
    }

    /// Packets and pauses since the start.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Time went on. Where it did so without us, nobody is blamed for it yet.
    fn advance(&mut self, now: Duration) {
        let due = self.poll_timeout().unwrap_or(now).max(self.now);
        let late = now.saturating_sub(due);
        self.now = self.now.max(now);
        if late <= STALL {
            return;
        }
        self.counters.stalls += 1;
        self.counters.last_stall = late;
        self.counters.longest_stall = self.counters.longest_stall.max(late);
        for session in self.sessions.values_mut() {
            session.forgive(now);
            requeue(&mut self.queue, session);
        }
    }

    /// What ends every change of a session: its packet, its place in the queue, its report.
    fn finish(&mut self, discriminator: u32, send: Send, now: Duration) {
        let Some(session) = self.sessions.get_mut(&discriminator) else { return };
        if let Some(packet) = session.packet(send, now, &mut self.rng) {
            self.counters.sent += 1;
            let (session, local) = (session.id, session.config.local);
            self.outbox.push_back(Transmit { session, local, bytes: packet.encode() });
        }
        requeue(&mut self.queue, session);
        if !session.is_leaving() && session.reported != Some(session.status()) {
            self.changed.insert(discriminator);
        }
    }

    fn forget(&mut self, discriminator: u32) {
        let Some(session) = self.sessions.remove(&discriminator) else { return };
        self.by_id.remove(&session.id);
        if let Some(at) = session.queued {
            self.queue.remove(&(at, discriminator));
        }
    }
}

fn requeue(queue: &mut BTreeSet<(Duration, u32)>, session: &mut Session) {
    let due = session.due();
    if due == session.queued {
        return;
    }
    if let Some(at) = session.queued {
        queue.remove(&(at, session.discriminator()));
    }
    if let Some(at) = due {
        queue.insert((at, session.discriminator()));
    }
    session.queued = due;
}

#[cfg(test)]
mod tests;
