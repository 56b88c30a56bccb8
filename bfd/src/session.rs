//! One session: the variables of RFC 5880 section 6.8.1 and the rules that change them.
//!
//! Nothing here fails and nothing is done: a session says with [`Send`] what is to leave, and its owner builds the packet.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use crate::config::{SessionConfig, SessionId, micros};
use crate::event::{Discard, SessionView, Status};
use crate::wire::{Diagnostic, Packet, State};

/// A session that is not Up asks for no more than a packet a second (RFC 5880 section 6.8.3), in microseconds.
const SLOW: u32 = 1_000_000;

/// How long a session that is not wanted any more says so, before it is forgotten.
const FAREWELL: Duration = Duration::from_secs(3);

/// A poll sequence of ours (RFC 5880 section 6.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Poll {
    /// None.
    #[default]
    Idle,
    /// Our packets have P set until one with F comes.
    Asking,
    /// The same, and what we ask for changed meanwhile: F may be an answer to the old.
    Outdated,
    /// The old question was answered; one packet without P has to go before the next question, to tell the two apart.
    Resting,
}

/// What is to be sent at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Send {
    /// Nothing.
    Nothing,
    /// A packet of the periodic kind; its content changed.
    Now,
    /// The answer to a poll.
    Final,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) config: SessionConfig,
    /// Where the owner's queue has it.
    pub(crate) queued: Option<Duration>,
    /// What the owner's last report said.
    pub(crate) reported: Option<Status>,

    state: State,
    since: Duration,
    failed_at: Option<Duration>,
    remote_state: State,
    discriminator: u32,
    remote_discriminator: u32,
    diagnostic: Diagnostic,
    remote_diagnostic: Diagnostic,
    /// What the pace of our packets follows: behind what they say while a poll sequence is under way. Microseconds.
    tx_in_force: u32,
    /// What the detection time follows, likewise.
    rx_in_force: u32,
    remote_min_tx: u32,
    remote_min_rx: u32,
    remote_multiplier: u8,
    remote_demand: bool,
    control_plane_independent: bool,
    poll: Poll,

    last_tx: Option<Duration>,
    next_tx: Option<Duration>,
    /// The interval that `next_tx` was drawn from.
    paced: Option<u32>,
    last_rx: Option<Duration>,
    detect_at: Option<Duration>,
    /// The present silence has been forgiven once.
    forgiven: bool,
    /// When a session that is not wanted any more is forgotten.
    leaves_at: Option<Duration>,
    ups: u64,
    received: u64,
    sent: u64,
}

impl Session {
    /// A session that is heard of for the first time; its first packet is due at once.
    pub(crate) fn new(id: SessionId, config: SessionConfig, discriminator: u32, now: Duration) -> Self {
        let (state, diagnostic) = match config.enabled {
            true => (State::Down, Diagnostic::NONE),
            false => (State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN),
        };
        let mut session = Self {
            id,
            config,
            queued: None,
            reported: None,
            state,
            since: now,
            failed_at: None,
            remote_state: State::Down,
            discriminator,
            remote_discriminator: 0,
            diagnostic,
            remote_diagnostic: Diagnostic::NONE,
            tx_in_force: 0,
            rx_in_force: 0,
            remote_min_tx: 0,
            // RFC 5880 section 6.8.1.
            remote_min_rx: 1,
            remote_multiplier: 0,
            remote_demand: false,
            control_plane_independent: false,
            poll: Poll::Idle,
            last_tx: None,
            next_tx: Some(now),
            paced: None,
            last_rx: None,
            detect_at: None,
            forgiven: false,
            leaves_at: None,
            ups: 0,
            received: 0,
            sent: 0,
        };
        session.retime();
        session.paced = session.transmit_interval();
        session
    }

    pub(crate) const fn discriminator(&self) -> u32 {
        self.discriminator
    }

    pub(crate) const fn is_leaving(&self) -> bool {
        self.leaves_at.is_some()
    }

    /// When there is something to do next.
    pub(crate) fn due(&self) -> Option<Duration> {
        [self.next_tx, self.detect_at, self.leaves_at].into_iter().flatten().min()
    }

    /// DesiredMinTxInterval: what our packets say (RFC 5880 section 6.8.3).
    fn desired_min_tx(&self) -> u32 {
        let configured = micros(self.config.min_tx);
        if self.state == State::Up { configured } else { configured.max(SLOW) }
    }

    /// RequiredMinRxInterval: what our packets say.
    fn required_min_rx(&self) -> u32 {
        micros(self.config.min_rx)
    }

    /// What we ask for changed, or the state that it hangs on (RFC 5880 section 6.8.3): slower sending and faster detection
    /// wait for the neighbour's word where it counts on the old, and the neighbour is asked for it.
    fn retime(&mut self) {
        let (tx, rx) = (self.desired_min_tx(), self.required_min_rx());
        if self.state != State::Up {
            (self.tx_in_force, self.rx_in_force, self.poll) = (tx, rx, Poll::Idle);
            return;
        }
        self.tx_in_force = self.tx_in_force.min(tx);
        self.rx_in_force = self.rx_in_force.max(rx);
        self.poll = match self.poll {
            Poll::Idle => Poll::Asking,
            Poll::Asking | Poll::Outdated => Poll::Outdated,
            Poll::Resting => Poll::Resting,
        };
    }

    /// New wishes for the same session. Says what is to be sent.
    pub(crate) fn configure(&mut self, config: SessionConfig, now: Duration, rng: &mut ChaCha8Rng) -> Send {
        let old = std::mem::replace(&mut self.config, config);
        self.leaves_at = None;
        if old == config {
            return Send::Nothing;
        }
        let sent = match (old.enabled, config.enabled) {
            (true, false) => self.hold_down(now),
            (false, true) => {
                self.enter(State::Down, Diagnostic::NONE, now);
                Send::Now
            }
            (_, enabled) => {
                if (old.min_tx, old.min_rx) != (config.min_tx, config.min_rx) {
                    self.retime();
                }
                if enabled { Send::Now } else { Send::Nothing }
            }
        };
        self.await_packet();
        self.pace(now, rng);
        sent
    }

    /// The session is not wanted any more: the neighbour is told that this is no failure (RFC 5880 section 6.8.16).
    pub(crate) fn leave(&mut self, now: Duration, rng: &mut ChaCha8Rng) -> Send {
        let sent = self.hold_down(now);
        self.config.enabled = false;
        self.leaves_at = Some(now + FAREWELL);
        self.pace(now, rng);
        sent
    }

    fn hold_down(&mut self, now: Duration) -> Send {
        self.detect_at = None;
        self.remote_discriminator = 0;
        self.enter(State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN, now);
        Send::Now
    }

    /// Takes in a packet that is the session's (RFC 5880 section 6.8.6, from where the session is known).
    ///
    /// # Errors
    /// When it ends up thrown away.
    pub(crate) fn handle(&mut self, packet: &Packet, now: Duration, rng: &mut ChaCha8Rng) -> Result<Send, Discard> {
        if packet.authenticated {
            return Err(Discard::Authenticated);
        }
        self.remote_discriminator = packet.my_discriminator;
        self.remote_state = packet.state;
        self.remote_diagnostic = packet.diagnostic;
        self.remote_demand = packet.demand;
        self.remote_min_tx = packet.desired_min_tx;
        self.remote_min_rx = packet.required_min_rx;
        self.remote_multiplier = packet.detect_mult;
        self.control_plane_independent = packet.control_plane_independent;
        if packet.final_ {
            self.answered();
        }
        if self.state == State::AdminDown {
            // A session on its way out listens to nobody, so its time stays as it is.
            self.remote_discriminator = 0;
            self.pace(now, rng);
            return Err(Discard::AdminDown);
        }
        self.received += 1;
        self.last_rx = Some(now);
        self.forgiven = false;
        let before = self.state;
        match (self.state, packet.state) {
            (State::Down, State::Down) => self.enter(State::Init, self.diagnostic, now),
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
                self.enter(State::Up, self.diagnostic, now);
            }
            (State::Init, State::AdminDown) => self.enter(State::Down, Diagnostic::NEIGHBOR_SIGNALED_DOWN, now),
            (State::Up, State::AdminDown) => self.enter(State::Down, Diagnostic::NEIGHBOR_SIGNALED_DOWN, now),
            (State::Up, State::Down) => self.fail(Diagnostic::NEIGHBOR_SIGNALED_DOWN, now),
            (State::Down, State::AdminDown | State::Up)
            | (State::Init, State::Down)
            | (State::Up, State::Init | State::Up)
            | (State::AdminDown, _) => {}
        }
        self.await_packet();
        self.pace(now, rng);
        Ok(match (packet.poll, self.state == before) {
            (true, _) => Send::Final,
            (false, false) => Send::Now,
            (false, true) => Send::Nothing,
        })
    }

    /// F came: a poll sequence of ours is over, and what it asked for is in force (RFC 5880 section 6.8.6).
    fn answered(&mut self) {
        match self.poll {
            Poll::Asking => {
                self.poll = Poll::Idle;
                (self.tx_in_force, self.rx_in_force) = (self.desired_min_tx(), self.required_min_rx());
            }
            Poll::Outdated => self.poll = Poll::Resting,
            Poll::Idle | Poll::Resting => {}
        }
    }

    fn fail(&mut self, why: Diagnostic, now: Duration) {
        if self.state == State::Up {
            self.failed_at = Some(now);
        }
        self.enter(State::Down, why, now);
    }

    fn enter(&mut self, state: State, why: Diagnostic, now: Duration) {
        if state == State::Up {
            self.ups += 1;
        }
        (self.state, self.since, self.diagnostic) = (state, now, why);
        self.retime();
    }

    /// Starts the detection timer again from the last packet (RFC 5880 section 6.8.4).
    fn await_packet(&mut self) {
        self.detect_at = self.last_rx.zip(self.detection_time()).map(|(at, time)| at + time);
    }

    fn detection_time(&self) -> Option<Duration> {
        (self.remote_discriminator != 0).then(|| self.remote_interval() * u32::from(self.remote_multiplier))
    }

    /// How often the neighbour sends.
    fn remote_interval(&self) -> Duration {
        Duration::from_micros(self.rx_in_force.max(self.remote_min_tx).into())
    }

    /// How often we send, before jitter; `None` where periodic packets are not wanted (RFC 5880 sections 6.8.2 and 6.8.7).
    fn transmit_interval(&self) -> Option<u32> {
        let demanded = self.remote_demand && self.state == State::Up && self.remote_state == State::Up;
        let quiet = self.remote_min_rx == 0 || (demanded && self.poll == Poll::Idle);
        (!quiet).then(|| self.tx_in_force.max(self.remote_min_rx))
    }

    /// Draws the time of the next packet anew where the interval changed, counted from the last one.
    fn pace(&mut self, now: Duration, rng: &mut ChaCha8Rng) {
        let interval = self.transmit_interval();
        if interval == self.paced {
            return;
        }
        self.paced = interval;
        let from = self.last_tx.unwrap_or(now);
        self.next_tx = interval.map(|interval| (from + self.jittered(interval, rng)).max(now));
    }

    /// 75 to 100 % of an interval; at most 90 % where one lost packet is silence already (RFC 5880 section 6.8.7).
    fn jittered(&self, interval: u32, rng: &mut ChaCha8Rng) -> Duration {
        let span: u64 = if self.config.multiplier == 1 { 150 } else { 250 };
        let part = 750 + u64::from(rng.next_u32()) * span / u64::from(u32::MAX);
        Duration::from_nanos(u64::from(interval) * part)
    }

    /// We were away: silence since then may be ours, so each neighbour gets one more interval to be heard, once a silence.
    pub(crate) fn forgive(&mut self, now: Duration) {
        let Some(at) = self.detect_at.filter(|_| !self.forgiven) else { return };
        self.forgiven = true;
        self.detect_at = Some(at.max(now + self.remote_interval()));
    }

    /// Runs what is due. `None`: the session has said its farewell.
    pub(crate) fn run(&mut self, now: Duration, rng: &mut ChaCha8Rng) -> Option<Send> {
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if is_due(self.leaves_at) {
            return None;
        }
        if is_due(self.detect_at) {
            // RFC 5880 section 6.8.1, RemoteDiscr, and section 6.8.4.
            self.detect_at = None;
            self.remote_discriminator = 0;
            self.remote_state = State::Down;
            self.remote_demand = false;
            // One that wanted nothing is asked again.
            self.remote_min_rx = self.remote_min_rx.max(1);
            let heard = matches!(self.state, State::Init | State::Up);
            if heard {
                self.fail(Diagnostic::DETECTION_TIME_EXPIRED, now);
            }
            self.pace(now, rng);
            if heard {
                return Some(Send::Now);
            }
        }
        Some(if is_due(self.next_tx) { Send::Now } else { Send::Nothing })
    }

    /// The packet to send now (RFC 5880 section 6.8.7). C is never set: our BFD dies with the agent.
    pub(crate) fn packet(&mut self, send: Send, now: Duration, rng: &mut ChaCha8Rng) -> Option<Packet> {
        let final_ = match send {
            Send::Nothing => return None,
            Send::Now => false,
            Send::Final => true,
        };
        let poll = !final_ && matches!(self.poll, Poll::Asking | Poll::Outdated);
        if !final_ {
            if self.poll == Poll::Resting {
                self.poll = Poll::Asking;
            }
            self.last_tx = Some(now);
            self.paced = self.transmit_interval();
            self.next_tx = self.paced.map(|interval| now + self.jittered(interval, rng));
        }
        self.sent += 1;
        Some(Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll,
            final_,
            detect_mult: self.config.multiplier.max(1),
            my_discriminator: self.discriminator,
            your_discriminator: self.remote_discriminator,
            desired_min_tx: self.desired_min_tx(),
            required_min_rx: self.required_min_rx(),
            ..Packet::default()
        })
    }

    pub(crate) fn status(&self) -> Status {
        let micros = |n: u32| Duration::from_micros(n.into());
        Status {
            state: self.state,
            remote_state: self.remote_state,
            since: self.since,
            failed_at: self.failed_at,
            diagnostic: self.diagnostic,
            remote_diagnostic: self.remote_diagnostic,
            discriminator: self.discriminator,
            remote_discriminator: self.remote_discriminator,
            control_plane_independent: self.control_plane_independent,
            transmit_interval: self.transmit_interval().map(micros),
            detection_time: self.detection_time(),
            remote_min_tx: micros(self.remote_min_tx),
            remote_min_rx: micros(self.remote_min_rx),
            remote_multiplier: self.remote_multiplier,
            ups: self.ups,
        }
    }

    pub(crate) fn view(&self) -> SessionView {
        SessionView {
            session: self.id,
            status: self.status(),
            received: self.received,
            sent: self.sent,
            last_received: self.last_rx,
        }
    }
}
