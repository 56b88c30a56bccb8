//! From bytes to the RIB.

use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::Family;

use super::Speaker;
use super::import::{self, ImportContext};
use crate::config::{ConnId, PeerId};
use crate::event::{Action, SpeakerEvent};
use crate::session::peer::LastAttributes;
use crate::session::{Input, State};
use crate::wire::{
    self, Capability, Frame, MessageType, Notification, Reset, RouteRefresh, Sections, Treatment, Update,
};

/// Reading is paused when this much input waits, and goes on when a quarter of it is left.
const INPUT_LIMIT: usize = 256 * 1024;

/// What a message costs beside its prefixes, in prefixes.
const MESSAGE_COST: usize = 8;

impl Speaker {
    pub(super) fn received(&mut self, conn: ConnId, bytes: &[u8], now: Duration) {
        let Some(id) = self.conns.get(&conn).copied() else { return };
        let Some(peer) = self.peers.get_mut(&id) else { return };
        peer.counters.bytes_in += bytes.len() as u64;
        let Some(c) = peer.conn(conn) else { return };
        c.input.extend_from_slice(bytes);
        c.backlog = true;
        if c.input.len() - c.read > INPUT_LIMIT && !c.reading_paused {
            c.reading_paused = true;
            self.actions.push_back(Action::PauseReading { conn });
        }
        let mut budget = super::BUDGET;
        self.read(id, conn, &mut budget, now);
    }

    /// Works off what waits on a connection, within the budget.
    pub(super) fn read(&mut self, id: PeerId, conn: ConnId, budget: &mut usize, now: Duration) {
        let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(conn)) else { return };
        if matches!(c.state, Some(State::Connect | State::Parked)) {
            c.backlog = false;
            return;
        }
        // Taken out, so that messages can be read where they lie while the RIB changes.
        let mut input = std::mem::take(&mut c.input);
        let mut at = c.read;
        // Ours to choose: who offers to read large messages has to, whatever the other side offers (RFC 8654 section 4).
        let extended = c.our_open.as_ref().is_some_and(|o| o.capabilities.contains(&Capability::ExtendedMessage));
        let mut drained = false;
        while *budget > 0 {
            match wire::frame(input.get(at..).unwrap_or_default(), extended) {
                Ok(Some(frame)) => {
                    self.trace_received(id, conn, input.get(at..at + frame.len).unwrap_or_default(), now);
                    at += frame.len;
                    *budget = budget.saturating_sub(MESSAGE_COST);
                    self.message(id, conn, &frame, budget, now);
                }
                Ok(None) => {
                    drained = true;
                    break;
                }
                Err(notification) => {
                    self.malformed(id, conn, notification, now);
                    break;
                }
            }
            if !self.conns.contains_key(&conn) {
                return;
            }
        }
        let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(conn)) else { return };
        if at == input.len() {
            input.clear();
            at = 0;
        } else if at > INPUT_LIMIT {
            input.drain(..at);
            at = 0;
        }
        if input.is_empty() && input.capacity() > INPUT_LIMIT {
            input = Vec::new();
        }
        c.input = input;
        c.read = at;
        c.backlog = !drained;
        if c.reading_paused && c.input.len() - c.read < INPUT_LIMIT / 4 {
            c.reading_paused = false;
            self.actions.push_back(Action::ResumeReading { conn });
        }
        if drained && let Some(error) = c.eof.take() {
            self.step(id, conn, Input::TcpClosed(error), now);
        }
    }

    fn trace_received(&mut self, id: PeerId, conn: ConnId, message: &[u8], now: Duration) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(c) = peer.conns.iter().find(|c| c.id == conn) else { return };
        if let Some(ends) = c.ends {
            let path_ids = |family| c.negotiated().is_some_and(|n| n.update.add_path.contains(&family));
            peer.trace.message((conn, false), ends, Family::BOTH.map(path_ids), message, now);
        }
    }

    fn message(&mut self, id: PeerId, conn: ConnId, frame: &Frame<'_>, budget: &mut usize, now: Duration) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.counters.messages_in += 1;
            if let Some(c) = peer.conn(conn) {
                c.heard = true;
                c.heard_at = Some(now);
                (c.looked, c.waits_for_unread) = (None, false);
            }
        }
        match frame.kind {
            MessageType::Open => {
                // A second OPEN is out of place whatever it says.
                let waiting = self.peers.get_mut(&id).and_then(|p| p.conn(conn)).map(|c| c.awaits_open());
                match waiting {
                    Some(true) => self.open(id, conn, frame.body, now),
                    _ => self.unexpected_open(id, conn, now),
                }
            }
            MessageType::Keepalive => {
                self.step(id, conn, Input::Keepalive, now);
            }
            MessageType::Notification => {
                let notification = Notification::decode(frame.body);
                self.step(id, conn, Input::Notification(notification), now);
            }
            MessageType::RouteRefresh => {
                if self.step(id, conn, Input::RouteRefresh, now) {
                    self.refresh(id, conn, frame.body, now);
                }
            }
            MessageType::Update => {
                if self.step(id, conn, Input::Update, now) {
                    match self.update(id, conn, frame.body, budget, now) {
                        Ok(()) => self.check_limits(id, conn, now),
                        Err(Reset { fault, notification }) => {
                            self.report(SpeakerEvent::UpdateError { peer: id, treatment: Treatment::Reset, fault });
                            self.malformed(id, conn, notification, now);
                        }
                    }
                }
            }
        }
    }

    fn unexpected_open(&mut self, id: PeerId, conn: ConnId, now: Duration) {
        let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(conn)) else { return };
        // The terms of a second OPEN are of no interest to the state machine; the present ones stand in for them.
        if let Some(negotiated) = c.negotiated().cloned() {
            self.step(id, conn, Input::Open(negotiated), now);
        }
    }

    fn refresh(&mut self, id: PeerId, conn: ConnId, body: &[u8], now: Duration) {
        let refresh = match RouteRefresh::decode(body) {
            Ok(refresh) => refresh,
            Err(notification) => return self.malformed(id, conn, notification, now),
        };
        // A family that was not agreed on is ignored (RFC 2918 section 4), and so is a subtype nobody knows (RFC 7313 section 5).
        let Some(family) = refresh.family() else { return };
        let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(conn)) else { return };
        let Some(negotiated) = c.negotiated().filter(|n| n.update.families.contains(&family)) else { return };
        let enhanced = negotiated.enhanced_refresh;
        let Some(session) = &mut c.session else { return };
        match refresh.subtype {
            RouteRefresh::REQUEST => {
                session.adj_out.refresh(family, enhanced);
                self.report(SpeakerEvent::RefreshRequested { peer: id, family });
            }
            RouteRefresh::BEGIN if enhanced => {
                session.adj_in.begin_refresh(&mut self.rib, family, now);
                c.set_refresh_timer();
            }
            RouteRefresh::END if enhanced => {
                if let Some(removed) = session.adj_in.end_refresh(&mut self.rib, family) {
                    c.set_refresh_timer();
                    self.report(SpeakerEvent::Refreshed { peer: id, family, removed, in_time: true });
                }
            }
            _ => {}
        }
    }

    /// A refresh that has not ended in time is taken for ended.
    pub(super) fn refresh_overdue(&mut self, id: PeerId, conn: ConnId, now: Duration) {
        let Some(c) = self.peers.get_mut(&id).and_then(|p| p.conn(conn)) else { return };
        let Some(session) = &mut c.session else { return };
        let ended = session.adj_in.end_overdue(&mut self.rib, now);
        c.set_refresh_timer();
        for (family, removed) in ended {
            self.report(SpeakerEvent::Refreshed { peer: id, family, removed, in_time: false });
        }
    }

    fn update(
        &mut self,
        id: PeerId,
        conn: ConnId,
        body: &[u8],
        budget: &mut usize,
        now: Duration,
    ) -> Result<(), Reset> {
        let Self { peers, rib, events, originated, local, .. } = self;
        let Some(peer) = peers.get_mut(&id) else { return Ok(()) };
        let role = peer.config.role;
        let counters = &mut peer.counters;
        counters.updates_in += 1;
        let Some(c) = peer.conns.iter_mut().find(|c| c.id == conn) else { return Ok(()) };
        let (Some(State::Established(negotiated)), Some(session)) = (&c.state, &mut c.session) else { return Ok(()) };
        let sections = Sections::split(body)?;

        // A full table comes as runs of messages with the same attributes: read once, compared after that.
        if let Some(last) = &session.last
            && last.bytes == sections.attributes
            && sections.withdrawn.is_empty()
            && let Some(field) = negotiated.update.field(Family::V4, sections.nlri).filter(|f| f.count() > 0)
        {
            *budget = budget.saturating_sub(field.count());
            counters.announced_in += field.count() as u64;
            counters.paths_refused += session.adj_in.announce(rib, &field, last.id, last.verdict);
            return Ok(());
        }

        let update = Update::decode(&sections, &negotiated.update)?;
        if let Some(family) = update.end_of_rib {
            // Of a family that was not agreed on it means nothing.
            if negotiated.update.families.contains(&family) && session.end_of_rib_received.insert(family) {
                events.push(SpeakerEvent::EndOfRibReceived { peer: id, family, at: now });
                self.confirm(id, family, now);
            }
            return Ok(());
        }
        if !update.faults.is_empty() {
            counters.update_errors += 1;
        }
        let clean = update.faults.is_empty();
        for (treatment, fault) in update.faults {
            events.push(SpeakerEvent::UpdateError { peer: id, treatment, fault });
        }
        for field in update.withdrawn.iter().flatten() {
            *budget = budget.saturating_sub(field.count());
            counters.withdrawn_in += field.count() as u64;
            session.adj_in.withdraw(rib, field);
        }
        let out = session.adj_out.context();
        let ctx = ImportContext {
            local_asn: local.asn,
            peer_asn: negotiated.asn,
            local: c.ends.map(|(local, _)| local.ip().to_canonical()),
            next_hops: [out.next_hop_v4.map(IpAddr::V4), out.next_hop_v6.map(IpAddr::V6)],
            originated,
        };
        let only_classic = update.mp_announced.is_none() && update.withdrawn.iter().all(Option::is_none);
        for mut announcement in [update.mp_announced, update.announced.clone()].into_iter().flatten() {
            *budget = budget.saturating_sub(announcement.field.count());
            counters.announced_in += announcement.field.count() as u64;
            let verdict = import::verdict(&announcement.attributes, &ctx);
            import::mark(&mut announcement.attributes, role, negotiated.asn);
            let attributes = rib.intern(announcement.attributes);
            counters.paths_refused += session.adj_in.announce(rib, &announcement.field, attributes, verdict);
            if clean && only_classic {
                let bytes = sections.attributes.to_vec();
                if let Some(old) = session.last.replace(LastAttributes { bytes, id: attributes, verdict }) {
                    rib.release(old.id);
                }
            } else {
                rib.release(attributes);
            }
        }
        Ok(())
    }
}
