//! What happened on the session with a leaf, for `petiole bgp trace`: its messages and states, and what was said of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use petiole_bgp::PeerId;
use petiole_bgp::trace::{TraceEntry, Traced, describe};

use crate::event::Event;
use crate::node::Node;
use crate::view::TraceView;

/// Events kept of each leaf.
const KEPT: usize = 256;

/// The last events of each leaf, in words, by its name.
#[derive(Debug, Default)]
pub(crate) struct Traces(BTreeMap<String, VecDeque<(Duration, String)>>);

impl Traces {
    /// Keeps what concerns a leaf that is configured; strangers come in any number.
    pub(crate) fn note(&mut self, event: &Event, is_peer: impl Fn(&str) -> bool, at: Duration) {
        let (peer, what) = match event {
            Event::PeerUp { peer, asn } => (peer, format!("session is up, AS {asn}")),
            Event::PeerDown { peer, reason } => (peer, format!("session is down: {reason}")),
            Event::PeerNote { peer, what } => (peer, what.clone()),
            _ => return,
        };
        if !is_peer(peer) {
            return;
        }
        let ring = self.0.entry(peer.clone()).or_default();
        if ring.len() >= KEPT {
            ring.pop_front();
        }
        ring.push_back((at, what));
    }
}

impl Node {
    /// Everything kept of a leaf, oldest first.
    pub(crate) fn trace(&self, peer: &str) -> Result<Vec<TraceView>, String> {
        let Some(id) = self.uplinks.keys().find(|id| id.to_string() == peer).copied() else {
            let known: Vec<String> = self.uplinks.keys().map(PeerId::to_string).collect();
            let known = if known.is_empty() { "none is configured".to_owned() } else { known.join(", ") };
            return Err(format!("no peer {peer} ({known}); see `petiole bgp peers`"));
        };
        let wire = self.speaker.as_ref().map(|s| s.trace(id)).unwrap_or_default();
        let mut all: Vec<(Duration, TraceView)> =
            wire.into_iter().map(|entry| (entry.at, self.wire_view(entry))).collect();
        for (at, what) in self.traces.0.get(peer).into_iter().flatten() {
            all.push((*at, TraceView { what: what.clone(), ..self.blank(*at, "event") }));
        }
        all.sort_by_key(|(at, _)| *at);
        Ok(all.into_iter().map(|(_, view)| view).collect())
    }

    fn blank(&self, at: Duration, kind: &str) -> TraceView {
        // The wall clock may have jumped since; the age has not.
        let wall = Duration::from_nanos(self.now.wall);
        let unix = wall.saturating_sub(self.now.mono.saturating_sub(at));
        TraceView { unix_seconds: unix.as_secs_f64(), kind: kind.to_owned(), ..TraceView::default() }
    }

    fn wire_view(&self, entry: TraceEntry) -> TraceView {
        match entry.what {
            Traced::State(state) => TraceView { what: state.name().to_owned(), ..self.blank(entry.at, "state") },
            Traced::Message { conn, sent, local, remote, len, path_ids, bytes } => TraceView {
                what: describe(&bytes, &path_ids),
                sent: Some(sent),
                connection: Some(conn.to_string()),
                local: Some(local),
                remote: Some(remote),
                length: Some(len as u64),
                bytes: Some(bytes.iter().map(|octet| format!("{octet:02x}")).collect()),
                ..self.blank(entry.at, "message")
            },
        }
    }
}
