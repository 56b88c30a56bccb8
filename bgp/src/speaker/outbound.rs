//! From Adj-RIB-Out to bytes. [`Speaker::transmit`] is the only way to a connection.

use std::time::Duration;

use bytes::Bytes;

use super::Speaker;
use crate::config::{ConnId, PeerId};
use crate::event::{Action, SpeakerEvent};
use crate::guard;
use crate::rib::Flush;
use crate::session::{Peer, Timer};

/// No more UPDATEs are written to a connection while this much of what it was given waits in front of the kernel.
const OUTPUT_LIMIT: usize = 64 * 1024;

impl Speaker {
    /// Hands whole messages to a connection, past the guard. Says whether they went.
    pub(super) fn transmit(&mut self, id: PeerId, conn: ConnId, bytes: Vec<u8>) -> bool {
        if let Err(error) = guard::check(&bytes, &self.originated) {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.counters.guard_drops += 1;
            }
            self.report(SpeakerEvent::GuardDropped { peer: id, error });
            return false;
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.counters.messages_out += 1;
            peer.counters.bytes_out += bytes.len() as u64;
            let Peer { config, conns, trace, .. } = peer;
            if let Some(c) = conns.iter_mut().find(|c| c.id == conn) {
                c.outstanding += bytes.len();
                c.handed += bytes.len() as u64;
                Peer::await_taking(config, c, self.now);
                if let Some(ends) = c.ends {
                    // We never send path identifiers (RFC 7911 section 4).
                    trace.message((conn, true), ends, [false; 2], &bytes, self.now);
                }
            }
        }
        self.actions.push_back(Action::Send { conn, bytes: Bytes::from(bytes) });
        true
    }

    /// Writes what every peer has to be told, as far as its connection takes it.
    pub(super) fn flush(&mut self, now: Duration) {
        let established: Vec<(PeerId, ConnId)> =
            self.peers.iter().filter_map(|(id, p)| Some((*id, p.established()?.id))).collect();
        for (id, conn) in established {
            while let Some(next) = self.next_message(id, conn, now) {
                self.send_update(id, conn, next, now);
            }
        }
    }

    fn next_message(&mut self, id: PeerId, conn: ConnId, now: Duration) -> Option<Flush> {
        let c = self.peers.get_mut(&id)?.conn(conn)?;
        if c.outstanding >= OUTPUT_LIMIT {
            return None;
        }
        let held = self.end_of_rib_held || c.timers.get(Timer::Settle).is_some();
        c.session.as_mut()?.adj_out.next(&self.originated, held, now)
    }

    fn send_update(&mut self, id: PeerId, conn: ConnId, flush: Flush, now: Duration) {
        let (bytes, event) = match flush {
            Flush::Advertised(prefixes, bytes) => (bytes, SpeakerEvent::Advertised { peer: id, prefixes, at: now }),
            Flush::Withdrawn(prefixes, bytes) => (bytes, SpeakerEvent::Withdrawn { peer: id, prefixes, at: now }),
            Flush::EndOfRib(family, bytes) => (bytes, SpeakerEvent::EndOfRibSent { peer: id, family, at: now }),
            Flush::RefreshMark(bytes) => {
                self.transmit(id, conn, bytes);
                return;
            }
        };
        let sent = self.transmit(id, conn, bytes);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if sent {
            peer.counters.updates_out += 1;
            if let SpeakerEvent::Advertised { prefixes, .. } = &event
                && let Some(c) = peer.conn(conn)
                && let Some(session) = &mut c.session
            {
                session.adj_out.note_place(prefixes, c.handed);
            }
            if let SpeakerEvent::EndOfRibSent { .. } = event
                && let Some(session) = peer.conn(conn).and_then(|c| c.session.as_ref())
                && session.adj_out.is_told_all()
            {
                peer.told_all = true;
            }
            self.report(event);
        } else if let SpeakerEvent::Advertised { prefixes, .. } = event
            && let Some(session) = peer.conn(conn).and_then(|c| c.session.as_mut())
        {
            session.adj_out.stop(&prefixes);
        }
    }
}
