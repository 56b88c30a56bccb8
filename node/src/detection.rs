//! BFD's place in the node: which sessions there should be, and what becomes of them.
//!
//! The sessions themselves live on the driver's own thread; the node orders the whole set and hears what changed.

use std::collections::BTreeMap;

use petiole_bfd::wire::Diagnostic;
use petiole_bfd::{Counters, SessionConfig, SessionId, SessionView, State, Status};
use petiole_bgp::{BfdPolicy, BfdState, BfdStatus, PeerId};
use petiole_config::{BfdSettings, PeerSettings};
use serde::{Deserialize, Serialize};

use crate::effect::Effect;
use crate::event::Event;
use crate::node::Node;
use crate::sessions::peer_id;
use crate::uplink::Uplink;
use crate::view::{BfdView, Sample};

/// What BFD's thread tells: each session that changed, and now and then all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BfdReport {
    /// How these are now.
    pub sessions: Vec<SessionView>,
    /// Over all sessions.
    pub counters: Counters,
}

/// What the node knows of BFD.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// What was ordered last.
    ordered: BTreeMap<SessionId, SessionConfig>,
    /// Whose session it is.
    peers: BTreeMap<SessionId, PeerId>,
    /// As last told.
    sessions: BTreeMap<PeerId, SessionView>,
    counters: Counters,
}

/// How a leaf's BGP session hangs on BFD.
pub(crate) fn policy(settings: &PeerSettings) -> Option<BfdPolicy> {
    settings.bfd.map(|bfd| BfdPolicy { strict: bfd.strict })
}

fn session(settings: BfdSettings, uplink: &Uplink) -> (SessionId, SessionConfig) {
    let config = SessionConfig {
        local: uplink.local,
        min_tx: settings.interval,
        min_rx: settings.interval,
        multiplier: settings.multiplier,
        enabled: true,
    };
    (SessionId { remote: uplink.remote, link: uplink.link }, config)
}

fn said(status: &Status) -> BfdStatus {
    let state = match status.state {
        State::Up => BfdState::Up,
        _ if status.is_remote_admin_down() => BfdState::RemoteAdminDown,
        State::AdminDown | State::Down | State::Init => BfdState::Down,
    };
    let control_plane_independent = status.control_plane_independent;
    // FRR 8.4, whose bgpd makes its session anew after a restart, says that we had said Down first. We were Up.
    let blames_nobody = [Diagnostic::NONE, Diagnostic::NEIGHBOR_SIGNALED_DOWN].contains(&status.remote_diagnostic);
    let began_anew =
        status.diagnostic == Diagnostic::NEIGHBOR_SIGNALED_DOWN && blames_nobody && !status.is_remote_admin_down();
    BfdStatus { state, failed_at: status.failed_at, control_plane_independent, began_anew }
}

impl Node {
    /// The ways to the leaves may have changed: orders the sessions over them.
    pub(crate) fn update_bfd(&mut self, ways: &BTreeMap<PeerId, Uplink>) {
        let mut wanted = BTreeMap::new();
        let mut peers = BTreeMap::new();
        for settings in self.settings.bgp.iter().flat_map(|bgp| &bgp.peers) {
            let (Some(id), Some(bfd)) = (peer_id(settings), settings.bfd) else { continue };
            let Some(uplink) = ways.get(&id) else { continue };
            let (session, config) = session(bfd, uplink);
            wanted.insert(session, config);
            peers.insert(session, id);
        }
        if wanted == self.bfd.ordered {
            return;
        }
        self.bfd.sessions.retain(|peer, view| peers.get(&view.session) == Some(peer));
        self.bfd.peers = peers;
        self.bfd.ordered.clone_from(&wanted);
        self.push(Effect::Bfd(wanted));
    }

    pub(crate) fn handle_bfd(&mut self, report: BfdReport) {
        for view in report.sessions {
            // Word of a session that is not wanted any more says nothing about the one that took its place.
            let Some(peer) = self.bfd.peers.get(&view.session).copied() else { continue };
            let before = self.bfd.sessions.insert(peer, view);
            self.note_bfd(peer, before.map(|b| b.status), &view.status);
            if let Some(speaker) = &mut self.speaker {
                speaker.handle_bfd(peer, said(&view.status), self.now.mono);
            }
        }
        if report.counters.stalls > self.bfd.counters.stalls {
            let late = report.counters.last_stall;
            self.log(Event::BfdStalled { milliseconds: u64::try_from(late.as_millis()).unwrap_or(u64::MAX) });
        }
        self.bfd.counters = report.counters;
    }

    fn note_bfd(&mut self, peer: PeerId, before: Option<Status>, now: &Status) {
        let failed = now.failed_at.is_some() && now.failed_at != before.and_then(|b| b.failed_at);
        if before.is_some_and(|b| b.state == now.state) && !failed {
            return;
        }
        let peer = peer.to_string();
        let event = match now.state {
            State::Up if !failed => Event::BfdUp { peer },
            State::Up | State::AdminDown | State::Down | State::Init if failed => {
                Event::BfdDown { peer, why: now.diagnostic.to_string() }
            }
            state => Event::PeerNote { peer, what: format!("BFD is {state}") },
        };
        self.log(event);
    }

    pub(crate) fn bfd_view(&self, peer: PeerId) -> Option<BfdView> {
        let bgp = self.settings.bgp.as_ref()?;
        let settings = bgp.peers.iter().find(|p| peer_id(p) == Some(peer))?.bfd?;
        let configured = BfdView {
            state: State::Down.to_string(),
            strict: settings.strict,
            interval_seconds: settings.interval.as_secs_f64(),
            multiplier: settings.multiplier,
            ..BfdView::default()
        };
        let Some(view) = self.bfd.sessions.get(&peer) else { return Some(configured) };
        let status = &view.status;
        let now = self.now.mono;
        Some(BfdView {
            state: status.state.to_string(),
            remote_state: Some(status.remote_state.to_string()),
            state_seconds: Some(now.saturating_sub(status.since).as_secs_f64()),
            transmit_interval_seconds: status.transmit_interval.map(|t| t.as_secs_f64()),
            detection_time_seconds: status.detection_time.map(|t| t.as_secs_f64()),
            remote_multiplier: (status.remote_multiplier != 0).then_some(status.remote_multiplier),
            diagnostic: status.diagnostic.to_string(),
            remote_diagnostic: status.remote_diagnostic.to_string(),
            discriminator: Some(status.discriminator),
            remote_discriminator: Some(status.remote_discriminator).filter(|d| *d != 0),
            remote_control_plane_independent: status.control_plane_independent,
            ups: status.ups,
            last_failure_seconds: status.failed_at.map(|at| now.saturating_sub(at).as_secs_f64()),
            packets_in: view.received,
            packets_out: view.sent,
            ..configured
        })
    }

    pub(crate) fn bfd_metrics(&self) -> Vec<Sample> {
        use crate::view::SampleKind::{self, Counter, Gauge};
        if self.bfd.ordered.is_empty() {
            return Vec::new();
        }
        let mut samples = Vec::new();
        let mut add = |name: &str, help: &str, kind: SampleKind, labels: &[(&str, &str)], value: f64| {
            let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            samples.push(Sample {
                name: name.to_owned(),
                help: help.to_owned(),
                kind,
                labels,
                value,
                buckets: Vec::new(),
            });
        };
        for (peer, view) in &self.bfd.sessions {
            let peer = peer.to_string();
            let up = if view.status.state == State::Up { 1.0 } else { 0.0 };
            let labels = [("peer", peer.as_str())];
            add("petiole_bfd_up", "Whether the BFD session is Up", Gauge, &labels, up);
            add("petiole_bfd_up_changes", "Times the BFD session went Up", Counter, &labels, view.status.ups as f64);
            add("petiole_bfd_packets_received", "BFD packets taken", Counter, &labels, view.received as f64);
            add("petiole_bfd_packets_sent", "BFD packets sent", Counter, &labels, view.sent as f64);
        }
        let counters = &self.bfd.counters;
        let discarded = [
            ("ttl", counters.bad_ttl),
            ("malformed", counters.malformed),
            ("no_session", counters.no_session),
            ("authenticated", counters.authenticated),
        ];
        for (reason, count) in discarded {
            let labels = [("reason", reason)];
            add("petiole_bfd_packets_discarded", "BFD packets thrown away", Counter, &labels, count as f64);
        }
        let help = "Times BFD's thread ran so late that neighbours' silence may have been ours";
        add("petiole_bfd_stalls", help, Counter, &[], counters.stalls as f64);
        let longest = counters.longest_stall.as_secs_f64();
        add("petiole_bfd_longest_stall_seconds", "The longest of these pauses", Gauge, &[], longest);
        samples
    }
}

/// A map whose keys JSON can't have for names, as a list of pairs.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use petiole_bfd::{SessionConfig, SessionId};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        map: &BTreeMap<SessionId, SessionConfig>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<SessionId, SessionConfig>, D::Error> {
        Ok(Vec::<(SessionId, SessionConfig)>::deserialize(deserializer)?.into_iter().collect())
    }
}
