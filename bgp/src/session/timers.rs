//! Timers: one table per owner, a row per kind.

use std::time::Duration;

use crate::event::TimerReason;

/// Kinds of timers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// Of a neighbour: try to connect.
    ConnectRetry,
    /// Of a neighbour: forget past failures.
    Stable,
    /// Of a neighbour: its connections are turned away until then.
    Damped,
    /// Of a neighbour: BFD had its time to come up.
    BfdWait,
    /// Of a neighbour that was stopped for a while: start it again (RFC 4271 section 8.1.1, IdleHoldTimer).
    IdleHold,
    /// Of a neighbour: something that is kept of a former session has had its time.
    Retention,
    /// Of a connection: it has been tried for long enough.
    ConnectTimeout,
    /// Of a connection: the OPEN has been held back for long enough.
    DelayOpen,
    /// Of a connection: the peer has been silent for too long.
    Hold,
    /// Of a connection: a KEEPALIVE is due.
    Keepalive,
    /// Of a connection: the peer has taken nothing for too long (RFC 9687).
    SendHold,
    /// Of a connection: a refresh the peer has begun takes too long (RFC 7313 section 4).
    Refresh,
    /// Of a connection: our End-of-RIB markers were held back for long enough.
    Settle,
}

impl Timer {
    pub(crate) const ALL: [Self; 13] = [
        Self::ConnectRetry,
        Self::Stable,
        Self::Damped,
        Self::BfdWait,
        Self::IdleHold,
        Self::Retention,
        Self::ConnectTimeout,
        Self::DelayOpen,
        Self::Hold,
        Self::Keepalive,
        Self::SendHold,
        Self::Refresh,
        Self::Settle,
    ];

    pub(crate) const fn reason(self) -> TimerReason {
        match self {
            Self::ConnectRetry => TimerReason::ConnectRetry,
            Self::Stable => TimerReason::Stable,
            Self::Damped => TimerReason::Damped,
            Self::BfdWait => TimerReason::BfdWait,
            Self::IdleHold => TimerReason::IdleHold,
            Self::Retention => TimerReason::Retention,
            Self::ConnectTimeout => TimerReason::ConnectTimeout,
            Self::DelayOpen => TimerReason::DelayOpen,
            Self::Hold => TimerReason::Hold,
            Self::Keepalive => TimerReason::Keepalive,
            Self::SendHold => TimerReason::SendHold,
            Self::Refresh => TimerReason::Refresh,
            Self::Settle => TimerReason::Settle,
        }
    }
}

/// When each timer of one owner is due; `None` when it does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Timers([Option<Duration>; Timer::ALL.len()]);

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Duration) {
        self.0[timer as usize] = Some(at);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(crate) fn get(&self, timer: Timer) -> Option<Duration> {
        self.0[timer as usize]
    }

    /// Stops and returns one timer that is due.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Timer> {
        let timer = Timer::ALL.into_iter().find(|t| self.get(*t).is_some_and(|at| at <= now))?;
        self.stop(timer);
        Some(timer)
    }

    /// The next one.
    pub(crate) fn next(&self) -> Option<(Duration, TimerReason)> {
        Timer::ALL.into_iter().filter_map(|t| Some((self.get(t)?, t.reason()))).min()
    }
}
