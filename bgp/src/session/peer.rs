//! A neighbour: its settings, its connections, its failures.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use petiole_prefix::Family;
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::fsm::State;
use super::negotiate::{Circumstances, Negotiated};
use super::retention::{Retention, Terms};
use super::timers::{Timer, Timers};
use crate::bfd::BfdStatus;
use crate::config::{ConfigError, ConnId, PeerConfig};
use crate::ended::{DownReason, TooManyPrefixes};
use crate::limit::LimitLevel;
use crate::rib::{AdjIn, AdjOut, AttrId, KeptPaths, Reason, Rib};
use crate::trace::Trace;
use crate::view::{PeerCounters, SessionState};
use crate::wire::{Notification, Open};

/// The wait after the first failure; it doubles with every further one, up to the configured connect-retry time.
pub(crate) const FIRST_RETRY: Duration = Duration::from_millis(500);

/// How long a session is up before past failures are forgotten.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(60);

/// So many sessions or OPENs in a row that ended in an error make us turn connections away for a while.
const DAMPED_AFTER: u32 = 4;

/// How soon an OPEN is answered by a neighbour that is there; only a collision asks.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// An Established session.
pub(crate) struct Established {
    /// What the neighbour says of its restarts.
    pub(crate) restart: Terms,
    pub(crate) at: Duration,
    pub(crate) adj_in: AdjIn,
    pub(crate) adj_out: AdjOut,
    pub(crate) end_of_rib_received: BTreeSet<Family>,
    /// The attributes of the last UPDATE, as bytes and as interned: the next one often has the same.
    pub(crate) last: Option<LastAttributes>,
}

impl Established {
    /// Forgets the last attributes: the verdict on them hangs on our own addresses, which have changed.
    pub(crate) fn forget_last(&mut self, rib: &mut Rib) {
        if let Some(last) = self.last.take() {
            rib.release(last.id);
        }
    }
}

/// Attributes that were read and judged.
pub(crate) struct LastAttributes {
    pub(crate) bytes: Vec<u8>,
    /// Held.
    pub(crate) id: AttrId,
    pub(crate) verdict: Option<Reason>,
}

/// One connection.
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    /// `None` only while a step is being made.
    pub(crate) state: Option<State>,
    pub(crate) ends: Option<(SocketAddr, SocketAddr)>,
    pub(crate) timers: Timers,
    /// Bytes received; what lies before `read` has been worked off.
    pub(crate) input: Vec<u8>,
    pub(crate) read: usize,
    pub(crate) reading_paused: bool,
    /// Our OPEN, once sent.
    pub(crate) our_open: Option<Open>,
    /// When it was sent.
    pub(crate) opened_at: Option<Duration>,
    /// A whole message has arrived.
    pub(crate) heard: bool,
    /// Whether more whole messages may wait in `input`.
    pub(crate) backlog: bool,
    /// The other side has closed; noted until the input before it is worked off.
    pub(crate) eof: Option<Option<String>>,
    /// Bytes sent that the kernel has not taken yet.
    pub(crate) outstanding: usize,
    /// Bytes sent since it was made.
    pub(crate) handed: u64,
    /// Why nothing may be arriving, as far as the driver can tell.
    pub(crate) hint: Option<String>,
    /// What the last look at the socket found: bytes unread, and since when data arrived; forgotten with the next message.
    pub(crate) looked: Option<(u64, Duration)>,
    /// Bytes lay unread when the hold timer was due, and it waits for them.
    pub(crate) waits_for_unread: bool,
    /// For how long the hold timer was set last.
    pub(crate) hold_time: Duration,
    /// When the last whole message was read.
    pub(crate) heard_at: Option<Duration>,
    pub(crate) session: Option<Box<Established>>,
}

impl Conn {
    pub(crate) fn new(id: ConnId, state: State, ends: Option<(SocketAddr, SocketAddr)>) -> Self {
        Self {
            id,
            state: Some(state),
            ends,
            timers: Timers::default(),
            input: Vec::new(),
            read: 0,
            reading_paused: false,
            our_open: None,
            opened_at: None,
            heard: false,
            backlog: false,
            eof: None,
            outstanding: 0,
            handed: 0,
            hint: None,
            looked: None,
            waits_for_unread: false,
            hold_time: Duration::ZERO,
            heard_at: None,
            session: None,
        }
    }

    /// How many of the bytes sent the kernel has taken.
    pub(crate) const fn octets_taken(&self) -> u64 {
        self.handed.saturating_sub(self.outstanding as u64)
    }

    /// Has the timer run until the first refresh of the neighbour's is overdue.
    pub(crate) fn set_refresh_timer(&mut self) {
        match self.session.as_ref().and_then(|s| s.adj_in.next_overdue()) {
            Some(at) => self.timers.set(Timer::Refresh, at),
            None => self.timers.stop(Timer::Refresh),
        }
    }

    /// What our OPEN on this connection depends on.
    pub(crate) fn circumstances(&self) -> Circumstances {
        Circumstances { over_ipv6: self.ends.is_some_and(|(local, _)| local.ip().to_canonical().is_ipv6()) }
    }

    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        match &self.state {
            Some(State::OpenConfirm(n) | State::Established(n)) => Some(n),
            Some(State::Connect | State::Parked | State::Delaying | State::OpenSent) | None => None,
        }
    }

    /// Connected, and their OPEN is awaited.
    pub(crate) const fn awaits_open(&self) -> bool {
        matches!(self.state, Some(State::Delaying | State::OpenSent))
    }

    /// Whether our OPEN has been without an answer for so long that the connection is likely dead at the other end.
    pub(crate) fn is_unanswered(&self, now: Duration) -> bool {
        let late = self.opened_at.is_some_and(|at| now.saturating_sub(at) >= ANSWER_WITHIN);
        late && matches!(self.state, Some(State::OpenSent))
    }

    /// Connected, and its OPEN exchange begun: what a collision is decided between.
    pub(crate) const fn is_opening(&self) -> bool {
        matches!(self.state, Some(State::OpenSent | State::OpenConfirm(_)))
    }

    pub(crate) const fn is_established(&self) -> bool {
        matches!(self.state, Some(State::Established(_)))
    }

    pub(crate) const fn is_open_confirm(&self) -> bool {
        matches!(self.state, Some(State::OpenConfirm(_)))
    }

    pub(crate) fn view_state(&self) -> SessionState {
        match &self.state {
            Some(State::Connect | State::Delaying) | None => SessionState::Connect,
            Some(State::Parked | State::OpenSent) => SessionState::OpenSent,
            Some(State::OpenConfirm(_)) => SessionState::OpenConfirm,
            Some(State::Established(_)) => SessionState::Established,
        }
    }
}

/// A neighbour.
pub(crate) struct Peer {
    pub(crate) config: PeerConfig,
    pub(crate) misconfigured: Option<ConfigError>,
    pub(crate) enabled: bool,
    pub(crate) link_up: bool,
    /// At most one of each kind.
    pub(crate) conns: Vec<Conn>,
    pub(crate) timers: Timers,
    /// In a row.
    pub(crate) failures: u32,
    /// Failures in a row after the neighbour had said something.
    pub(crate) faults: u32,
    /// In this life, a session of it was told everything, End-of-RIB included.
    pub(crate) told_all: bool,
    /// What is kept of former sessions.
    pub(crate) retention: Option<Retention>,
    /// The paths of that, per family in the order of [`Family::BOTH`].
    pub(crate) kept: [Vec<KeptPaths>; 2],
    /// Given from outside.
    pub(crate) next_hops: (Option<Ipv4Addr>, Option<Ipv6Addr>),
    pub(crate) rng: ChaCha8Rng,
    pub(crate) counters: PeerCounters,
    pub(crate) established_count: u64,
    pub(crate) state_since: (SessionState, Duration),
    pub(crate) trace: Trace,
    pub(crate) last_down: Option<DownReason>,
    pub(crate) last_sent: Option<Notification>,
    pub(crate) last_received: Option<Notification>,
    /// What BFD said last.
    pub(crate) bfd: Option<BfdStatus>,
    /// Left alone, because it sent too many prefixes.
    pub(crate) held: Option<TooManyPrefixes>,
    /// Where the prefixes of its session stand, per family in the order of [`Family::BOTH`].
    pub(crate) limit_levels: [LimitLevel; 2],
}

impl Peer {
    pub(crate) fn new(config: PeerConfig, misconfigured: Option<ConfigError>, rng: ChaCha8Rng, now: Duration) -> Self {
        Self {
            enabled: !config.starts_disabled,
            config,
            misconfigured,
            link_up: true,
            conns: Vec::new(),
            timers: Timers::default(),
            failures: 0,
            faults: 0,
            told_all: false,
            retention: None,
            kept: Default::default(),
            next_hops: (None, None),
            rng,
            counters: PeerCounters::default(),
            established_count: 0,
            state_since: (SessionState::Idle, now),
            trace: Trace::default(),
            last_down: None,
            last_sent: None,
            last_received: None,
            bfd: None,
            held: None,
            limit_levels: Default::default(),
        }
    }

    /// Whether there may be a session at all.
    pub(crate) fn allowed(&self) -> bool {
        self.enabled && self.link_up && self.misconfigured.is_none() && self.held.is_none() && self.bfd_allows()
    }

    /// Whether connections are turned away.
    pub(crate) fn is_damped(&self) -> bool {
        self.timers.get(Timer::Damped).is_some()
    }

    /// Counts a session or OPEN that ended in an error. Being turned away by the neighbour is none: two speakers that each
    /// took it for one would turn each other away for ever.
    pub(crate) fn fault(&mut self, now: Duration) {
        self.faults = self.faults.saturating_add(1);
        if let Some(excess) = self.faults.checked_sub(DAMPED_AFTER) {
            let wait = self.wait(excess);
            self.timers.set(Timer::Damped, now + wait);
        }
    }

    /// The wait after so many failures.
    fn wait(&mut self, failures: u32) -> Duration {
        let doubled = FIRST_RETRY.saturating_mul(1u32 << failures.min(16));
        self.jittered(doubled.min(self.config.connect_retry.max(FIRST_RETRY)))
    }

    /// Three quarters to all of a time (RFC 4271 section 10).
    pub(crate) fn jittered(&mut self, time: Duration) -> Duration {
        // 0 to 255 quarters-of-1/256 on top of three quarters: integers, so that a replay is exact everywhere.
        let part = self.rng.next_u32() >> 24;
        (time / 4) * 3 + time / 1024 * part
    }

    /// Counts a failure and starts the wait for the next attempt.
    pub(crate) fn back_off(&mut self, now: Duration) {
        let wait = self.wait(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.timers.set(Timer::ConnectRetry, now + wait);
    }

    pub(crate) fn conn(&mut self, id: ConnId) -> Option<&mut Conn> {
        self.conns.iter_mut().find(|c| c.id == id)
    }

    /// The kernel took bytes of what a connection was given: the send hold timer starts anew for the rest (RFC 9687 section
    /// 3.1).
    pub(crate) fn taken(&mut self, conn: ConnId, bytes: usize, now: Duration) {
        let Self { config, conns, .. } = self;
        let Some(c) = conns.iter_mut().find(|c| c.id == conn) else { return };
        c.outstanding = c.outstanding.saturating_sub(bytes);
        c.timers.stop(Timer::SendHold);
        Self::await_taking(config, c, now);
    }

    /// Starts the send hold timer of an Established session that has something outstanding, unless it runs.
    pub(crate) fn await_taking(config: &PeerConfig, c: &mut Conn, now: Duration) {
        let Some(State::Established(negotiated)) = &c.state else { return };
        if c.outstanding > 0
            && c.timers.get(Timer::SendHold).is_none()
            && let Some(time) = config.send_hold(negotiated.hold_time)
        {
            c.timers.set(Timer::SendHold, now + time);
        }
    }

    pub(crate) fn established(&self) -> Option<&Conn> {
        self.conns.iter().find(|c| c.is_established())
    }

    /// The state of the most advanced connection, or of the neighbour where there is none.
    pub(crate) fn view_state(&self) -> SessionState {
        let none = if self.allowed() && !self.is_damped() { SessionState::Active } else { SessionState::Idle };
        self.conns.iter().map(Conn::view_state).max().unwrap_or(none)
    }

    /// Forgets past failures.
    pub(crate) fn forgive(&mut self) {
        (self.failures, self.faults) = (0, 0);
        self.timers.stop(Timer::Damped);
    }

    /// Leaves it alone no longer.
    pub(crate) fn release(&mut self) {
        self.held = None;
        self.timers.stop(Timer::IdleHold);
    }

    /// Notes when the visible state changed.
    pub(crate) fn note_state(&mut self, now: Duration) {
        let state = self.view_state();
        if self.state_since.0 != state {
            self.state_since = (state, now);
            self.trace.state(state, now);
        }
    }

    /// Our next hops over a connection with this local end: as given, or the end itself where it is of the family. A link-local
    /// end will do: who is at the other is on the link.
    pub(crate) fn next_hops_over(&self, local: SocketAddr) -> (Option<Ipv4Addr>, Option<Ipv6Addr>) {
        let (v4, v6) = match local.ip().to_canonical() {
            IpAddr::V4(a) => (Some(a), None),
            IpAddr::V6(a) => (None, Some(a)),
        };
        (self.next_hops.0.or(v4), self.next_hops.1.or(v6))
    }
}
