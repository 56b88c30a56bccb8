//! The state machine of one connection (RFC 4271 section 8), total over state and input.
//!
//! RFC 4271 gives every connection a machine of its own (section 8.2.1). Here the states before there is a connection, Idle and
//! Active, belong to the neighbour ([`Peer`](super::Peer)); a connection begins in Connect, or, when it was accepted, in
//! OpenSent. [`State::Parked`] is ours: see [`collision`](super::collision). [`State::Delaying`] is what RFC 4271 calls Connect
//! or Active with a running DelayOpenTimer.
//!
//! [`step`] never fails and does nothing: it names what is to be done. A state carries what led to it, so that nothing can be
//! asked of a connection that it does not have yet.

use std::time::Duration;

use super::negotiate::Negotiated;
use crate::ended::{DownReason, TooManyPrefixes};
use crate::verdict::HoldVerdict;
use crate::wire::{CeaseSubcode, ErrorCode, Notification, ShutdownText};

/// How long an OPEN is waited for; RFC 4271 section 8.2.2 suggests 4 minutes. Also the wait for the KEEPALIVE after it when no
/// hold time was agreed on.
pub(crate) const OPEN_HOLD: Duration = Duration::from_secs(240);

/// The state of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// We are dialling.
    Connect,
    /// Connected, but nothing is sent until the neighbour's other connection has decided itself.
    Parked,
    /// Connected, but our OPEN waits for theirs or for the DelayOpenTimer (RFC 4271 section 8.1.1).
    Delaying,
    /// Our OPEN is sent.
    OpenSent,
    /// Their OPEN was accepted.
    OpenConfirm(Negotiated),
    /// They accepted ours.
    Established(Negotiated),
}

/// What can happen to a connection. In brackets, the events of RFC 4271 section 8.1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    /// The TCP connection is there, and the neighbour's other connection lets it go on (16, 17).
    Connected,
    /// The same with DelayOpen set.
    ConnectedToDelay,
    /// The TCP connection is there, and has to wait for the other one.
    ConnectedBehindOther,
    /// The DelayOpenTimer expired (12).
    DelayOver,
    /// The other connection is gone.
    OtherGone,
    /// No TCP connection came to be (18).
    ConnectFailed(String),
    /// It took too long (9).
    ConnectTimeout,
    /// The TCP connection ended (18).
    TcpClosed(Option<String>),
    /// An OPEN that is acceptable (19, 20).
    Open(Negotiated),
    /// A KEEPALIVE (26).
    Keepalive,
    /// An UPDATE (27).
    Update,
    /// A ROUTE-REFRESH (RFC 2918).
    RouteRefresh,
    /// A NOTIFICATION (24, 25).
    Notification(Notification),
    /// Something that can only be answered by this NOTIFICATION (21, 22, 28).
    Malformed(Notification),
    /// The hold timer expired (10).
    HoldExpired,
    /// The keepalive timer expired (11).
    KeepaliveDue,
    /// The SendHoldTimer expired (29, RFC 9687 section 3.1).
    SendHoldExpired,
    /// The other connection was preferred (23).
    CollisionLost,
    /// The session is to end (2, 8).
    Stop(StopReason),
}

/// Why we end a session ourselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum StopReason {
    /// By the operator, with a word to the other side.
    Disabled(Option<ShutdownText>),
    /// By the operator, to start anew.
    Cleared(Option<ShutdownText>),
    /// With the whole speaker, by the operator.
    Stopped(Option<ShutdownText>),
    Deconfigured,
    ConfigChanged,
    TooManyPrefixes(TooManyPrefixes),
    /// There is nobody to say anything to.
    LinkDown,
    /// BFD lost it; what is said may still arrive.
    BfdDown {
        control_plane_independent: bool,
        began_anew: bool,
    },
}

impl StopReason {
    fn cease(&self) -> Option<Notification> {
        let said = |subcode, text: &Option<ShutdownText>| Notification::cease(subcode).with_text(text.as_ref());
        Some(match self {
            Self::Disabled(text) | Self::Stopped(text) => said(CeaseSubcode::AdministrativeShutdown, text),
            Self::Cleared(text) => said(CeaseSubcode::AdministrativeReset, text),
            Self::Deconfigured => Notification::cease(CeaseSubcode::PeerDeconfigured),
            Self::ConfigChanged => Notification::cease(CeaseSubcode::OtherConfigurationChange),
            Self::TooManyPrefixes(many) => Notification::max_prefixes(many.family, many.limit),
            Self::BfdDown { .. } => Notification::cease(CeaseSubcode::BfdDown),
            Self::LinkDown => return None,
        })
    }

    /// Whether the other side is to forget our routes at once, where NOTIFICATIONs restart gracefully (RFC 8538 section 3.1):
    /// what will be back soon is not.
    const fn is_hard(&self) -> bool {
        match self {
            Self::Disabled(_) | Self::Stopped(_) | Self::Deconfigured | Self::TooManyPrefixes(_) => true,
            Self::Cleared(_) | Self::ConfigChanged | Self::LinkDown | Self::BfdDown { .. } => false,
        }
    }

    fn down(self) -> DownReason {
        match self {
            Self::Disabled(_) => DownReason::Disabled,
            Self::Cleared(_) => DownReason::Cleared,
            Self::Stopped(_) => DownReason::Stopped,
            Self::Deconfigured => DownReason::Deconfigured,
            Self::ConfigChanged => DownReason::ConfigChanged,
            Self::TooManyPrefixes(many) => DownReason::TooManyPrefixes(many),
            Self::LinkDown => DownReason::LinkDown,
            Self::BfdDown { control_plane_independent, began_anew } => {
                DownReason::BfdDown { control_plane_independent, began_anew }
            }
        }
    }
}

/// What is to be done, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    /// Send our OPEN.
    SendOpen,
    /// Send a KEEPALIVE and start the timer for the next.
    SendKeepalive,
    /// Send this.
    SendNotification(Notification),
    /// Start the hold timer with [`OPEN_HOLD`].
    StartOpenHold,
    /// Start the DelayOpenTimer.
    StartDelay,
    /// Start the hold timer with what was negotiated; there may be none.
    RestartHold,
    /// The session is Established: start exchanging routes.
    Establish,
    /// Work the message into the RIB.
    Deliver,
    /// Close after what was sent.
    Close,
    /// Close without waiting.
    Reset,
}

/// One step: the new state, or why there is none any more, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step {
    pub(crate) next: Result<State, DownReason>,
    pub(crate) outputs: Vec<Output>,
}

impl Step {
    const fn stay(state: State) -> Self {
        Self { next: Ok(state), outputs: Vec::new() }
    }

    const fn to(state: State, outputs: Vec<Output>) -> Self {
        Self { next: Ok(state), outputs }
    }

    const fn end(reason: DownReason, outputs: Vec<Output>) -> Self {
        Self { next: Err(reason), outputs }
    }

    /// Ends with a NOTIFICATION of ours.
    fn refuse(notification: Notification) -> Self {
        Self::end(
            DownReason::NotificationSent(notification.clone()),
            vec![Output::SendNotification(notification), Output::Close],
        )
    }

    /// Ends with a Cease, for a reason of its own.
    fn cease(subcode: CeaseSubcode, reason: DownReason) -> Self {
        Self::end(reason, vec![Output::SendNotification(Notification::cease(subcode)), Output::Close])
    }
}

/// What the state says to the input.
pub(crate) fn step(state: State, input: Input) -> Step {
    match state {
        State::Connect => connect(input),
        State::Parked => parked(input),
        State::Delaying => delaying(input),
        State::OpenSent => open_sent(input),
        State::OpenConfirm(negotiated) => open_confirm(negotiated, input),
        State::Established(negotiated) => established(negotiated, input),
    }
}

fn connect(input: Input) -> Step {
    match input {
        Input::Connected => Step::to(State::OpenSent, vec![Output::SendOpen, Output::StartOpenHold]),
        Input::ConnectedToDelay => Step::to(State::Delaying, vec![Output::StartDelay]),
        Input::ConnectedBehindOther => Step::stay(State::Parked),
        Input::ConnectFailed(error) => Step::end(DownReason::ConnectFailed(error), Vec::new()),
        Input::TcpClosed(error) => {
            Step::end(DownReason::ConnectFailed(error.unwrap_or_else(|| "closed".to_owned())), Vec::new())
        }
        Input::ConnectTimeout => Step::end(DownReason::ConnectTimedOut, vec![Output::Reset]),
        Input::CollisionLost => Step::end(DownReason::Collision, vec![Output::Reset]),
        Input::Stop(why) => Step::end(why.down(), vec![Output::Reset]),
        // There is no connection that a message could have come over.
        Input::OtherGone
        | Input::DelayOver
        | Input::Open(_)
        | Input::Keepalive
        | Input::Update
        | Input::RouteRefresh
        | Input::Notification(_)
        | Input::Malformed(_)
        | Input::HoldExpired
        | Input::SendHoldExpired
        | Input::KeepaliveDue => Step::stay(State::Connect),
    }
}

fn parked(input: Input) -> Step {
    match input {
        Input::OtherGone => Step::to(State::OpenSent, vec![Output::SendOpen, Output::StartOpenHold]),
        Input::CollisionLost => Step::cease(CeaseSubcode::ConnectionCollision, DownReason::Collision),
        Input::TcpClosed(error) => closed(error),
        Input::Stop(why) => stop(why, None),
        // What arrives is read once the connection goes on; timers do not run.
        Input::Connected
        | Input::ConnectedToDelay
        | Input::DelayOver
        | Input::ConnectedBehindOther
        | Input::ConnectFailed(_)
        | Input::ConnectTimeout
        | Input::Open(_)
        | Input::Keepalive
        | Input::Update
        | Input::RouteRefresh
        | Input::Notification(_)
        | Input::Malformed(_)
        | Input::HoldExpired
        | Input::SendHoldExpired
        | Input::KeepaliveDue => Step::stay(State::Parked),
    }
}

fn delaying(input: Input) -> Step {
    match input {
        Input::DelayOver => Step::to(State::OpenSent, vec![Output::SendOpen, Output::StartOpenHold]),
        // Event 20. The hold timer runs already, so that what follows is waited for as in OpenSent.
        Input::Open(negotiated) => Step::to(
            State::OpenConfirm(negotiated),
            vec![Output::SendOpen, Output::StartOpenHold, Output::SendKeepalive, Output::RestartHold],
        ),
        Input::ConnectedBehindOther => Step::stay(State::Parked),
        // No OPEN of ours went before the NOTIFICATION: SendNOTIFICATIONwithoutOPEN (section 8.1.1) is on.
        Input::Keepalive | Input::Update | Input::RouteRefresh => Step::refuse(Notification::new(ErrorCode::Fsm, 0)),
        Input::Notification(n) => Step::end(DownReason::NotificationReceived(n), vec![Output::Close]),
        Input::Malformed(n) => Step::refuse(n),
        Input::CollisionLost => Step::cease(CeaseSubcode::ConnectionCollision, DownReason::Collision),
        Input::TcpClosed(error) => closed(error),
        Input::Stop(why) => stop(why, None),
        Input::Connected
        | Input::ConnectedToDelay
        | Input::OtherGone
        | Input::ConnectFailed(_)
        | Input::ConnectTimeout
        | Input::HoldExpired
        | Input::SendHoldExpired
        | Input::KeepaliveDue => Step::stay(State::Delaying),
    }
}

fn open_sent(input: Input) -> Step {
    match input {
        Input::Open(negotiated) => {
            Step::to(State::OpenConfirm(negotiated), vec![Output::SendKeepalive, Output::RestartHold])
        }
        // RFC 6608: which message came in which state.
        Input::Keepalive | Input::Update | Input::RouteRefresh => Step::refuse(Notification::new(ErrorCode::Fsm, 1)),
        Input::Notification(n) => Step::end(DownReason::NotificationReceived(n), vec![Output::Close]),
        Input::Malformed(n) => Step::refuse(n),
        Input::HoldExpired => hold_expired(),
        Input::CollisionLost => Step::cease(CeaseSubcode::ConnectionCollision, DownReason::Collision),
        Input::TcpClosed(error) => closed(error),
        Input::Stop(why) => stop(why, None),
        Input::Connected
        | Input::ConnectedToDelay
        | Input::ConnectedBehindOther
        | Input::DelayOver
        | Input::OtherGone
        | Input::ConnectFailed(_)
        | Input::SendHoldExpired
        | Input::ConnectTimeout
        | Input::KeepaliveDue => Step::stay(State::OpenSent),
    }
}

fn open_confirm(negotiated: Negotiated, input: Input) -> Step {
    match input {
        Input::Keepalive => Step::to(State::Established(negotiated), vec![Output::RestartHold, Output::Establish]),
        Input::Open(_) | Input::Update | Input::RouteRefresh => Step::refuse(Notification::new(ErrorCode::Fsm, 2)),
        Input::Notification(n) => Step::end(DownReason::NotificationReceived(n), vec![Output::Close]),
        Input::Malformed(n) => Step::refuse(n),
        Input::HoldExpired => hold_expired(),
        Input::KeepaliveDue => Step::to(State::OpenConfirm(negotiated), vec![Output::SendKeepalive]),
        Input::CollisionLost => Step::cease(CeaseSubcode::ConnectionCollision, DownReason::Collision),
        Input::TcpClosed(error) => closed(error),
        Input::Stop(why) => stop(why, Some(&negotiated)),
        Input::Connected
        | Input::ConnectedToDelay
        | Input::ConnectedBehindOther
        | Input::DelayOver
        | Input::OtherGone
        | Input::ConnectFailed(_)
        | Input::SendHoldExpired
        | Input::ConnectTimeout => Step::stay(State::OpenConfirm(negotiated)),
    }
}

fn established(negotiated: Negotiated, input: Input) -> Step {
    match input {
        Input::Keepalive => Step::to(State::Established(negotiated), vec![Output::RestartHold]),
        Input::Update | Input::RouteRefresh => {
            Step::to(State::Established(negotiated), vec![Output::RestartHold, Output::Deliver])
        }
        Input::Open(_) => Step::refuse(Notification::new(ErrorCode::Fsm, 3)),
        Input::Notification(n) => Step::end(DownReason::NotificationReceived(n), vec![Output::Close]),
        Input::Malformed(n) => Step::refuse(n),
        Input::HoldExpired => hold_expired(),
        Input::KeepaliveDue => Step::to(State::Established(negotiated), vec![Output::SendKeepalive]),
        Input::CollisionLost => Step::cease(CeaseSubcode::ConnectionCollision, DownReason::Collision),
        Input::TcpClosed(error) => closed(error),
        Input::Stop(why) => stop(why, Some(&negotiated)),
        // There is nothing to say to who takes nothing (RFC 9687 section 3.1).
        Input::SendHoldExpired => Step::end(DownReason::SendHoldTimerExpired, vec![Output::Reset]),
        Input::Connected
        | Input::ConnectedToDelay
        | Input::ConnectedBehindOther
        | Input::DelayOver
        | Input::OtherGone
        | Input::ConnectFailed(_)
        | Input::ConnectTimeout => Step::stay(State::Established(negotiated)),
    }
}

fn hold_expired() -> Step {
    let notification = Notification::new(ErrorCode::HoldTimer, 0);
    Step::end(
        DownReason::HoldTimerExpired(HoldVerdict::default()),
        vec![Output::SendNotification(notification), Output::Close],
    )
}

fn closed(error: Option<String>) -> Step {
    let reason = error.map_or(DownReason::Closed, DownReason::Broken);
    Step::end(reason, Vec::new())
}

fn stop(why: StopReason, negotiated: Option<&Negotiated>) -> Step {
    let Some(mut notification) = why.cease() else { return Step::end(why.down(), vec![Output::Reset]) };
    if why.is_hard() && negotiated.is_some_and(|n| n.notification_restart) {
        notification = notification.into_hard_reset();
    }
    Step::end(why.down(), vec![Output::SendNotification(notification), Output::Close])
}

#[cfg(test)]
mod tests;
