//! The thread: wakes for a packet, a timer or an order, and never waits for anybody.

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use petiole_node::bfd::{Bfd, SessionId};
use petiole_node::{BfdReport, Input};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc;

use super::sockets::{Listener, Senders};
use super::{Peers, system};
use crate::io::clock::Clock;

/// Packets taken in before timers get their turn: more than a hundred sessions send in a second.
const TURN: usize = 1024;
/// How soon a socket that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How soon a loop that had no room for a report is asked again.
const FULL: Duration = Duration::from_millis(10);
/// How often counters are told where nothing else changes.
const COUNT: Duration = Duration::from_secs(5);

/// Everything the thread has.
#[derive(Debug)]
pub(super) struct Worker {
    clock: Clock,
    inputs: mpsc::Sender<Input>,
    ordered: Receiver<Peers>,
    bell: Arc<OwnedFd>,
    seed: [u8; 32],
    senders: Senders,
    listeners: [Option<Listener>; 2],
    /// Which families are listened for: IPv4, IPv6.
    wanted: [bool; 2],
    /// In words, by what they are about; empty words are of troubles that are over and not told yet.
    troubles: BTreeMap<String, String>,
    /// Of these, what has to be told.
    untold: Vec<String>,
    /// Sessions that could not send.
    mute: BTreeMap<SessionId, Duration>,
    retry_at: Option<Duration>,
}

impl Worker {
    pub(super) fn new(
        seed: [u8; 32],
        clock: Clock,
        inputs: mpsc::Sender<Input>,
        ordered: Receiver<Peers>,
        bell: Arc<OwnedFd>,
    ) -> Self {
        let spread = u16::from_ne_bytes([seed[0], seed[1]]);
        Self {
            clock,
            inputs,
            ordered,
            bell,
            seed,
            senders: Senders::new(spread),
            listeners: [None, None],
            wanted: [false; 2],
            troubles: BTreeMap::new(),
            untold: Vec::new(),
            mute: BTreeMap::new(),
            retry_at: None,
        }
    }

    /// Serves until nobody gives orders any more.
    pub(super) fn run(mut self) {
        hurry();
        let mut bfd = Bfd::new(self.seed, self.clock.mono());
        let mut news = News::default();
        loop {
            self.sleep([bfd.poll_timeout(), self.retry_at, news.due(&self.untold)]);
            if !self.take_orders(&mut bfd) {
                return;
            }
            self.listen();
            // Before any timer says that nothing was heard: what was heard while this thread did not run.
            for listener in self.listeners.iter().flatten() {
                for (from, arrived) in std::iter::from_fn(|| listener.receive()).take(TURN) {
                    let _ = bfd.handle_packet(from, arrived.ttl, arrived.bytes(), self.clock.mono());
                }
            }
            bfd.handle_timeout(self.clock.mono());
            while let Some(packet) = bfd.poll_transmit() {
                let now = self.clock.mono();
                if self.mute.get(&packet.session).is_some_and(|until| *until > now) {
                    continue;
                }
                let part = format!("BFD with {}", packet.session.remote);
                match self.senders.send(&packet) {
                    Ok(()) => {
                        if self.mute.remove(&packet.session).is_some() {
                            self.trouble(part, String::new());
                        }
                    }
                    Err(e) => {
                        self.mute.insert(packet.session, now + RETRY);
                        self.trouble(part, format!("cannot send BFD packets from {}: {e}", packet.local));
                    }
                }
            }
            news.gather(&mut bfd);
            self.tell(&bfd, &mut news);
        }
    }

    /// Until something happens, or the first of these times.
    fn sleep(&self, times: [Option<Duration>; 3]) {
        let now = self.clock.mono();
        let due = times.into_iter().flatten().min().map(|at| at.saturating_sub(now));
        let due = due.map(|d| Timespec {
            tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(d.subsec_nanos()),
        });
        let sockets = self.listeners.iter().flatten().map(AsFd::as_fd);
        let mut sources: Vec<PollFd<'_>> =
            sockets.chain([self.bell.as_fd()]).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        // Interrupted or not: everything is looked at in any case.
        let _ = poll(&mut sources, due.as_ref());
    }

    /// False when nobody gives orders any more.
    fn take_orders(&mut self, bfd: &mut Bfd) -> bool {
        let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
        loop {
            match self.ordered.try_recv() {
                Ok(peers) => {
                    let now = self.clock.mono();
                    for (n, wanted) in self.wanted.iter_mut().enumerate() {
                        *wanted = peers.keys().any(|id| id.remote.is_ipv6() == (n == 1));
                    }
                    bfd.set_peers(&peers, now);
                    self.senders.keep(|id| bfd.view(id).is_some());
                    self.mute.retain(|id, _| bfd.view(id).is_some());
                    self.retry_at = Some(now);
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Opens the sockets that are wanted and missing.
    fn listen(&mut self) {
        if self.retry_at.take_if(|at| *at <= self.clock.mono()).is_none() {
            return;
        }
        for (n, family) in ["IPv4", "IPv6"].into_iter().enumerate() {
            let (Some(listener), Some(wanted)) = (self.listeners.get_mut(n), self.wanted.get(n)) else { continue };
            if !wanted {
                *listener = None;
            }
            if !wanted || listener.is_some() {
                self.trouble(format!("BFD over {family}"), String::new());
                continue;
            }
            let words = match Listener::open(n == 1) {
                Ok(opened) => {
                    *listener = Some(opened);
                    String::new()
                }
                Err(e) => {
                    self.retry_at = Some(self.clock.mono() + RETRY);
                    format!(
                        "cannot listen for BFD over {family} on UDP port 3784: {e}; is another BFD daemon running (ss -ulnp \
                         sport = :3784)?"
                    )
                }
            };
            self.trouble(format!("BFD over {family}"), words);
        }
    }

    fn trouble(&mut self, part: String, what: String) {
        if self.troubles.get(&part).map_or("", String::as_str) != what {
            self.troubles.insert(part.clone(), what);
            self.untold.push(part);
        }
    }

    /// Tells the loop, as far as it has room.
    fn tell(&mut self, bfd: &Bfd, news: &mut News) {
        let now = self.clock.mono();
        while let Some(part) = self.untold.last() {
            let what = self.troubles.get(part).cloned().unwrap_or_default();
            if self.inputs.try_send(Input::Trouble { part: part.clone(), what }).is_err() {
                news.again_at = Some(now + FULL);
                return;
            }
            self.untold.pop();
        }
        let Some(report) = news.report(bfd, now) else { return };
        match self.inputs.try_send(Input::Bfd(report)) {
            Ok(()) => news.told(bfd, now),
            Err(_) => news.again_at = Some(now + FULL),
        }
    }
}

/// What the loop has not been told yet. A status says all that earlier ones said, so there is never more than one a session.
#[derive(Debug, Default)]
struct News {
    changed: Vec<SessionId>,
    stalls: u64,
    counted_at: Duration,
    again_at: Option<Duration>,
}

impl News {
    fn gather(&mut self, bfd: &mut Bfd) {
        while let Some(event) = bfd.poll_event() {
            if !self.changed.contains(&event.session) {
                self.changed.push(event.session);
            }
        }
    }

    fn due(&self, untold: &[String]) -> Option<Duration> {
        let waiting = !self.changed.is_empty() || !untold.is_empty();
        self.again_at.filter(|_| waiting).or(Some(self.counted_at + COUNT))
    }

    fn report(&self, bfd: &Bfd, now: Duration) -> Option<BfdReport> {
        let counts = now >= self.counted_at + COUNT;
        let sessions = match counts {
            true => bfd.sessions().collect(),
            false => self.changed.iter().filter_map(|id| bfd.view(id)).collect(),
        };
        let news = counts || !self.changed.is_empty() || bfd.counters().stalls != self.stalls;
        news.then(|| BfdReport { sessions, counters: *bfd.counters() })
    }

    fn told(&mut self, bfd: &Bfd, now: Duration) {
        self.changed.clear();
        self.again_at = None;
        self.stalls = bfd.counters().stalls;
        if now >= self.counted_at + COUNT {
            self.counted_at = now;
        }
    }
}

/// Asks to run before others, with timers that are not rounded. Each may be refused; then the thread does its best.
fn hurry() {
    if let Err(e) = system::run_in_real_time() {
        tracing::debug!("BFD runs without real-time priority: {e}");
        if let Err(e) = rustix::process::setpriority_process(None, -20) {
            tracing::info!(
                "BFD runs with no more right than anything else, and may find neighbours dead on a busy machine: {e}"
            );
        }
    }
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}
