//! Driving the sessions: connections in and out, steps of the state machine and what they ask for, timers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::Speaker;
use super::graceful::Restarted;
use crate::config::{ConnId, PeerId};
use crate::ended::DownReason;
use crate::event::{Action, RefusedBecause, SpeakerEvent};
use crate::rib::{AdjIn, AdjOut, OutContext};
use crate::session::fsm::{self, OPEN_HOLD, StopReason};
use crate::session::peer::{FIRST_RETRY, STABLE_AFTER};
use crate::session::retention::Terms;
use crate::session::{Conn, Established, Input, Output, State, Step, Timer, collision, negotiate};
use crate::verdict::HoldVerdict;
use crate::wire::{self, ErrorCode, Notification, Open};

/// How much longer a session lives whose hold timer expires while bytes from the peer lie unread.
const UNREAD: Duration = Duration::from_secs(1);

impl Speaker {
    /// Dials, unless there is a reason not to.
    pub(super) fn dial(&mut self, id: PeerId, now: Duration) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.timers.stop(Timer::ConnectRetry);
        let dialling = peer.conns.iter().any(|c| matches!(c.id, ConnId::Dialled(_)));
        if !peer.allowed() || peer.config.passive || dialling || peer.established().is_some() {
            peer.note_state(now);
            return;
        }
        let wait = peer.config.connect_retry.max(Duration::from_secs(1));
        let wait = peer.jittered(wait);
        if peer.conns.iter().any(Conn::is_open_confirm) {
            // About to be Established; a second connection would only be closed again.
            peer.timers.set(Timer::ConnectRetry, now + wait);
            return;
        }
        let conn = ConnId::Dialled(self.next_dialled);
        self.next_dialled += 1;
        let mut new = Conn::new(conn, State::Connect, None);
        new.timers.set(Timer::ConnectTimeout, now + wait);
        peer.conns.push(new);
        peer.note_state(now);
        let remote = peer.config.destination();
        self.conns.insert(conn, id);
        self.actions.push_back(Action::Connect { conn, peer: id, local: peer.config.local_address, remote });
    }

    pub(super) fn connected(&mut self, conn: ConnId, local: SocketAddr, remote: SocketAddr, now: Duration) {
        let Some(id) = self.conns.get(&conn).copied() else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let input = if peer.conns.iter().any(|c| c.id != conn && c.is_established()) {
            Input::CollisionLost
        } else if peer.conns.iter().any(|c| c.id != conn && c.is_open_confirm()) {
            Input::ConnectedBehindOther
        } else if !peer.config.delay_open.is_zero() {
            Input::ConnectedToDelay
        } else {
            Input::Connected
        };
        if let Some(c) = peer.conn(conn) {
            c.ends = Some((local, remote));
            c.timers.stop(Timer::ConnectTimeout);
        }
        self.step(id, conn, input, now);
    }

    /// What follows when an OPEN was held back for long enough: it is sent, or waits for the other connection.
    fn delay_over(&self, id: PeerId, conn: ConnId) -> Input {
        let other = |c: &Conn| c.id != conn && c.is_open_confirm();
        match self.peers.get(&id).is_some_and(|p| p.conns.iter().any(other)) {
            true => Input::ConnectedBehindOther,
            false => Input::DelayOver,
        }
    }

    pub(super) fn accepted(&mut self, conn: ConnId, local: SocketAddr, remote: SocketAddr, now: Duration) {
        let found = self.peers.iter_mut().find(|(_, p)| p.config.is_from(remote));
        let refused = match &found {
            None => Some(RefusedBecause::Stranger),
            Some((_, peer)) if !peer.bfd_allows() => Some(RefusedBecause::AwaitsBfd),
            Some((_, peer)) if !peer.allowed() => Some(RefusedBecause::Idle),
            Some((_, peer)) if peer.is_damped() => Some(RefusedBecause::BackingOff),
            Some(_) => None,
        };
        let Some((id, peer)) = found.filter(|_| refused.is_none() && !self.conns.contains_key(&conn)) else {
            self.actions.push_back(Action::Close { conn });
            if let Some(why) = refused {
                self.report(SpeakerEvent::ConnectionRefused { remote, why });
            }
            return;
        };
        let id = *id;
        // The neighbour would not dial twice: of two accepted connections the older one is a leftover.
        let leftover =
            peer.conns.iter().find(|c| matches!(c.id, ConnId::Accepted(_)) && !c.is_established()).map(|c| c.id);
        let established = peer.established().map(|c| c.id);
        peer.conns.push(Conn::new(conn, State::Connect, Some((local, remote))));
        self.conns.insert(conn, id);
        if let Some(old) = leftover {
            self.step(id, old, Input::CollisionLost, now);
        }
        if let Some(old) = established.filter(|old| self.has_restarted(id, *old, now)) {
            // RFC 4724 section 5: its paths are kept as if the connection had broken.
            self.actions.push_back(Action::Reset { conn: old });
            let words = "it has opened a new one, so it has restarted";
            self.step(id, old, Input::TcpClosed(Some(words.to_owned())), now);
        } else if let Some(old) = established {
            // RFC 4271 section 6.8: the established one stands. If the neighbour has lost it, a KEEPALIVE brings that to
            // light now and not when the hold timer expires.
            self.step(id, old, Input::KeepaliveDue, now);
            self.step(id, conn, Input::ConnectedBehindOther, now);
            self.step(id, conn, Input::CollisionLost, now);
            return;
        }
        self.connected(conn, local, remote, now);
    }

    /// Ends all connections of a neighbour.
    pub(super) fn stop(&mut self, id: PeerId, why: StopReason, now: Duration) {
        let conns: Vec<ConnId> =
            self.peers.get(&id).map(|p| p.conns.iter().map(|c| c.id).collect()).unwrap_or_default();
        for conn in conns {
            self.step(id, conn, Input::Stop(why.clone()), now);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.timers.stop(Timer::ConnectRetry);
            peer.timers.stop(Timer::Damped);
            peer.timers.stop(Timer::IdleHold);
            peer.note_state(now);
        }
        self.forget_kept(id, now);
    }

    /// Makes one step of a connection and does what it asks for. Says whether the message that caused it is to be worked into
    /// the RIB.
    pub(super) fn step(&mut self, id: PeerId, conn: ConnId, input: Input, now: Duration) -> bool {
        let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(conn)) else { return false };
        let Some(state) = c.state.take() else { return false };
        let Step { next, outputs } = fsm::step(state, input);
        let ended = match next {
            Ok(state) => {
                c.state = Some(state);
                None
            }
            Err(reason) => Some(reason),
        };
        let mut deliver = false;
        for output in outputs {
            match output {
                Output::Deliver => deliver = true,
                output => self.perform(id, conn, output, now),
            }
        }
        if let Some(reason) = ended {
            self.ended(id, conn, reason, now);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.note_state(now);
        }
        deliver
    }

    fn perform(&mut self, id: PeerId, conn: ConnId, output: Output, now: Duration) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        match output {
            Output::SendOpen => {
                let own = Restarted::towards(self.restarted.as_ref(), peer, now);
                let Some(c) = peer.conns.iter_mut().find(|c| c.id == conn) else { return };
                c.timers.stop(Timer::DelayOpen);
                let open = negotiate::our_open(&self.local, &peer.config, &own, c.circumstances());
                let mut bytes = Vec::new();
                open.encode(&mut bytes);
                c.our_open = Some(open);
                self.transmit(id, conn, bytes);
            }
            Output::SendKeepalive => {
                let interval = peer.conn(conn).and_then(|c| c.negotiated()).map(|n| n.keepalive());
                let wait = peer.jittered(interval.unwrap_or_default());
                if !wait.is_zero()
                    && let Some(c) = peer.conn(conn)
                {
                    c.timers.set(Timer::Keepalive, now + wait);
                }
                let mut bytes = Vec::new();
                wire::keepalive(&mut bytes);
                self.transmit(id, conn, bytes);
            }
            Output::SendNotification(notification) => {
                let mut bytes = Vec::new();
                notification.encode(&mut bytes);
                peer.last_sent = Some(notification.clone());
                self.transmit(id, conn, bytes);
                self.report(SpeakerEvent::NotificationSent { peer: id, notification });
            }
            Output::StartDelay => {
                let wait = peer.config.delay_open;
                if let Some(c) = peer.conn(conn) {
                    c.timers.set(Timer::DelayOpen, now + wait);
                }
            }
            Output::StartOpenHold => {
                if let Some(c) = peer.conn(conn) {
                    c.timers.set(Timer::Hold, now + OPEN_HOLD);
                    c.hold_time = OPEN_HOLD;
                    c.opened_at = Some(now);
                }
            }
            Output::RestartHold => {
                if let Some(c) = peer.conn(conn) {
                    let agreed = c.negotiated().map(|n| n.hold_time).filter(|t| !t.is_zero());
                    c.hold_time = agreed.unwrap_or(OPEN_HOLD);
                    match agreed {
                        Some(time) => c.timers.set(Timer::Hold, now + time),
                        None if c.is_established() => c.timers.stop(Timer::Hold),
                        None => c.timers.set(Timer::Hold, now + OPEN_HOLD),
                    }
                }
            }
            Output::Establish => self.establish(id, conn, now),
            Output::Close => self.actions.push_back(Action::Close { conn }),
            Output::Reset => self.actions.push_back(Action::Reset { conn }),
            Output::Deliver => {}
        }
    }

    fn establish(&mut self, id: PeerId, conn: ConnId, now: Duration) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let others: Vec<ConnId> = peer.conns.iter().map(|c| c.id).filter(|c| *c != conn).collect();
        let Some(c) = peer.conns.iter_mut().find(|c| c.id == conn) else { return };
        let (Some(negotiated), Some((local, remote))) = (c.negotiated().cloned(), c.ends) else { return };
        let Some(adj_in) = AdjIn::open(&mut self.rib, id, negotiated.router_id) else { return };
        let event = SpeakerEvent::PeerUp {
            peer: id,
            at: now,
            local,
            remote,
            asn: negotiated.asn,
            families: negotiated.update.families.iter().copied().collect(),
            hold_time: negotiated.hold_time,
        };
        let restart = Terms::of(&negotiated, peer.config.graceful_restart.as_ref());
        let (next_hop_v4, next_hop_v6) = peer.next_hops_over(local);
        let max_message_len = negotiated.max_message_out();
        let ctx = OutContext {
            asn: self.local.asn,
            four_octet_as: negotiated.update.four_octet_as,
            families: negotiated.update.families,
            extended_next_hop: negotiated.update.extended_next_hop,
            link_local: match local.ip() {
                IpAddr::V6(a) if a.is_unicast_link_local() => Some(a),
                _ => None,
            },
            communities: Arc::new(peer.config.communities.clone()),
            max_message_len,
            next_hop_v4,
            next_hop_v6,
        };
        if let Some(c) = peer.conn(conn) {
            c.session = Some(Box::new(Established {
                at: now,
                adj_in,
                restart: restart.clone(),
                adj_out: AdjOut::new(ctx),
                end_of_rib_received: Default::default(),
                last: None,
            }));
        }
        peer.await_restart(conn, now);
        peer.established_count += 1;
        peer.limit_levels = Default::default();
        peer.timers.stop(Timer::ConnectRetry);
        peer.timers.set(Timer::Stable, now + STABLE_AFTER);
        self.report(event);
        self.resume(id, &restart, now);
        for other in others {
            self.step(id, other, Input::CollisionLost, now);
        }
    }

    /// Everything that follows from the end of a connection.
    fn ended(&mut self, id: PeerId, conn: ConnId, reason: DownReason, now: Duration) {
        self.conns.remove(&conn);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(at) = peer.conns.iter().position(|c| c.id == conn) else { return };
        let gone = peer.conns.swap_remove(at);
        let reason = match (reason, &gone.hint) {
            (DownReason::ConnectTimedOut, Some(hint)) => DownReason::ConnectFailed(hint.clone()),
            (DownReason::HoldTimerExpired(_), _) => DownReason::HoldTimerExpired(hold_verdict(&gone, self.stall, now)),
            (reason, _) => reason,
        };
        if let DownReason::NotificationReceived(n) = &reason {
            peer.last_received = Some(n.clone());
            let event = SpeakerEvent::NotificationReceived { peer: id, notification: n.clone() };
            self.events.push(event);
        }
        let reason = match reason {
            DownReason::NotificationReceived(notification) if notification.code == ErrorCode::HoldTimer as u8 => {
                match hold_verdict(&gone, self.stall, now).stalled {
                    Duration::ZERO => DownReason::NotificationReceived(notification),
                    stalled => DownReason::TooLateForPeer { notification, stalled },
                }
            }
            reason => reason,
        };
        match &reason {
            // Not the neighbour's fault.
            DownReason::Disabled
            | DownReason::Cleared
            | DownReason::Stopped
            | DownReason::TooManyPrefixes(_)
            | DownReason::Deconfigured
            | DownReason::ConfigChanged
            | DownReason::LinkDown
            | DownReason::BfdDown { .. }
            | DownReason::Collision
            | DownReason::Misconfigured(_)
            | DownReason::TooLateForPeer { .. }
            // Nothing was spoken yet.
            | DownReason::ConnectFailed(_)
            | DownReason::ConnectTimedOut => {}
            DownReason::NotificationSent(_)
            | DownReason::NotificationReceived(_)
            | DownReason::HoldTimerExpired(_)
            | DownReason::SendHoldTimerExpired
            | DownReason::Closed
            | DownReason::Broken(_) => {
                if gone.heard {
                    peer.fault(now);
                }
            }
        }
        let dials = peer.conns.iter().any(|c| matches!(c.id, ConnId::Dialled(_)));
        if peer.allowed() && !dials && peer.established().is_none() && peer.timers.get(Timer::ConnectRetry).is_none() {
            if reason == DownReason::Collision && !peer.conns.is_empty() {
                // Only in case the other one does not make it either.
                let wait = peer.jittered(peer.config.connect_retry.max(FIRST_RETRY));
                peer.timers.set(Timer::ConnectRetry, now + wait);
            } else {
                peer.back_off(now);
            }
        }
        if reason != DownReason::Collision {
            peer.last_down = Some(reason.clone());
        }
        let retry_at = peer.timers.get(Timer::ConnectRetry);
        let parked: Vec<ConnId> = peer.conns.iter().filter(|c| c.state == Some(State::Parked)).map(|c| c.id).collect();
        if let Some(mut session) = gone.session {
            peer.timers.stop(Timer::Stable);
            session.forget_last(&mut self.rib);
            self.report(SpeakerEvent::PeerDown { peer: id, at: now, reason: reason.clone() });
            self.retain(id, *session, &reason, now);
        } else {
            self.report(SpeakerEvent::ConnectionLost { peer: id, at: now, reason, retry_at });
        }
        for other in parked {
            self.step(id, other, Input::OtherGone, now);
            if let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(other)) {
                // What arrived meanwhile is read with the next work.
                c.backlog = !c.input.is_empty() || c.eof.is_some();
            }
        }
    }

    /// An OPEN: agreed on, held against the other connection, then taken.
    pub(super) fn open(&mut self, id: PeerId, conn: ConnId, body: &[u8], now: Duration) {
        let Some(peer) = self.peers.get(&id) else { return };
        let Some(c) = peer.conns.iter().find(|c| c.id == conn) else { return };
        // Not sent yet while it is delayed; it goes out with the answer.
        let ours = || {
            let own = Restarted::towards(self.restarted.as_ref(), peer, now);
            negotiate::our_open(&self.local, &peer.config, &own, c.circumstances())
        };
        let ours = c.our_open.clone().unwrap_or_else(ours);
        let answer = Open::decode(body).and_then(|open| negotiate::negotiate(&ours, open, &peer.config));
        let negotiated = match answer {
            Ok(negotiated) => negotiated,
            Err(notification) => {
                self.step(id, conn, Input::Malformed(notification), now);
                return;
            }
        };
        let keeps_dialled =
            collision::keeps_dialled((self.local.router_id, self.local.asn), (negotiated.router_id, negotiated.asn));
        let opening = peer.conns.iter().filter(|c| c.id != conn && c.is_opening());
        let rivals: Vec<(ConnId, bool)> = opening.map(|c| (c.id, c.is_unanswered(now))).collect();
        for (rival, unanswered) in rivals {
            let loser = if unanswered { rival } else { collision::loser(conn, rival, keeps_dialled) };
            self.step(id, loser, Input::CollisionLost, now);
        }
        // Ignored if it was this connection that lost.
        self.step(id, conn, Input::Open(negotiated), now);
    }

    /// Runs the timers of one neighbour that are due.
    pub(super) fn run_timers(&mut self, id: PeerId, now: Duration) {
        while let Some(timer) = self.peers.get_mut(&id).and_then(|p| p.timers.take_due(now)) {
            match timer {
                Timer::ConnectRetry | Timer::BfdWait => self.dial(id, now),
                Timer::Stable => {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.forgive();
                    }
                }
                Timer::Damped => {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.note_state(now);
                    }
                }
                Timer::IdleHold => self.idle_hold_over(id, now),
                Timer::Retention => self.retention_due(id, now),
                Timer::ConnectTimeout
                | Timer::DelayOpen
                | Timer::Hold
                | Timer::Keepalive
                | Timer::SendHold
                | Timer::Refresh
                | Timer::Settle => {}
            }
        }
        let conns: Vec<ConnId> =
            self.peers.get(&id).map(|p| p.conns.iter().map(|c| c.id).collect()).unwrap_or_default();
        for conn in conns {
            while let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(conn)) {
                let Some(timer) = c.timers.take_due(now) else { break };
                let input = match timer {
                    Timer::ConnectTimeout => Input::ConnectTimeout,
                    Timer::Keepalive => Input::KeepaliveDue,
                    Timer::DelayOpen => self.delay_over(id, conn),
                    Timer::SendHold => Input::SendHoldExpired,
                    Timer::Refresh => {
                        self.refresh_overdue(id, conn, now);
                        continue;
                    }
                    // It has spoken; it is we who have not listened yet.
                    Timer::Hold if c.backlog => {
                        self.perform(id, conn, Output::RestartHold, now);
                        continue;
                    }
                    // The same, as far as the kernel knows; if they are not read soon, something is wrong with us.
                    Timer::Hold if !c.waits_for_unread && c.looked.is_some_and(|(unread, _)| unread > 0) => {
                        c.waits_for_unread = true;
                        c.timers.set(Timer::Hold, now + UNREAD);
                        continue;
                    }
                    Timer::Hold => Input::HoldExpired,
                    Timer::ConnectRetry
                    | Timer::Stable
                    | Timer::Damped
                    | Timer::BfdWait
                    | Timer::IdleHold
                    | Timer::Retention
                    // What was held back goes out with the rest of this call.
                    | Timer::Settle => continue,
                };
                self.step(id, conn, input, now);
            }
        }
    }

    /// Answers what can only be answered by ending the session.
    pub(super) fn malformed(&mut self, id: PeerId, conn: ConnId, notification: Notification, now: Duration) {
        self.step(id, conn, Input::Malformed(notification), now);
    }
}

/// What is known of a connection whose hold timer has expired.
fn hold_verdict(conn: &Conn, stall: Option<(Duration, Duration)>, now: Duration) -> HoldVerdict {
    let stalled = stall.filter(|(at, _)| now.saturating_sub(*at) <= conn.hold_time).map(|(_, by)| by);
    HoldVerdict {
        hold_time: conn.hold_time,
        heard: conn.heard_at.map(|at| now.saturating_sub(at)),
        arrived: conn.looked.map(|(_, silent)| silent),
        unread: conn.looked.map_or(0, |(unread, _)| unread),
        stalled: stalled.unwrap_or_default(),
        hint: conn.hint.clone(),
    }
}
