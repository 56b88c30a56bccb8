//! The node's metrics: names end with their unit; a counter's `_total` is added by the exposition.

use petiole_bgp::SessionState;

use crate::health::Verdict as Health;
use crate::node::Node;
use crate::view::{Sample, SampleKind};

impl Node {
    /// Everything that `/metrics` shows of the node, families together.
    pub(crate) fn metrics(&self) -> Vec<Sample> {
        let mut out = Samples(Vec::new());
        let flag = |on: bool| if on { 1.0 } else { 0.0 };

        out.gauge(
            "petiole_ready",
            "Whether the node is ready in the sense of /readyz",
            &[],
            flag(self.not_ready().is_empty()),
        );
        out.gauge(
            "petiole_problems",
            "Things that are wrong; petiole status has them in words",
            &[],
            count(self.problems.len()),
        );
        let store = self.watch.state();
        out.gauge(
            "petiole_store_in_sync",
            "Whether the store's watch is complete and current",
            &[],
            flag(store.phase == petiole_store::watch::WatchPhase::InSync),
        );
        out.gauge("petiole_store_keys", "Keys of the store that the node follows", &[], count(store.keys));
        out.gauge("petiole_ipam_blocks", "Blocks of this node", &[], count(self.ipam.blocks().len()));
        self.ipam_metrics(&mut out);
        for pool in self.ipam.pools() {
            let cidr = pool.cidr.to_string();
            out.gauge(
                "petiole_ipam_pool_blocks",
                "Blocks of the pool, claimed or not",
                &[("pool", &cidr)],
                pool.blocks as f64,
            );
        }
        for pool in self.ipam.pools() {
            let cidr = pool.cidr.to_string();
            out.gauge(
                "petiole_ipam_pool_blocks_claimed",
                "Claimed blocks of the pool",
                &[("pool", &cidr)],
                pool.claimed as f64,
            );
        }
        out.gauge(
            "petiole_ipam_claims_blocked",
            "Reasons why a block that is wanted cannot be claimed",
            &[],
            count(self.ipam.problems().len()),
        );
        out.gauge(
            "petiole_filter_errors",
            "Custom filters that could not be parsed; the last good ones stay in force",
            &[],
            count(self.filters.problems().len()),
        );
        for (key, line, column) in self.filters.mistakes() {
            let (line, column) = (line.to_string(), column.to_string());
            out.gauge(
                "petiole_filter_error",
                "Where a custom filter cannot be parsed",
                &[("key", key), ("line", &line), ("column", &column)],
                1.0,
            );
        }
        for (prefix, (decision, _)) in &self.decisions {
            let labels = [
                ("prefix", prefix.to_string()),
                ("kind", decision.kind.to_string()),
                ("reason", decision.reason.code().to_owned()),
            ];
            let labels: Vec<(&str, &str)> = labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
            out.gauge("petiole_announced", "Whether the candidate is announced", &labels, flag(decision.announced()));
        }
        for (gate, announce) in self.gates.iter().zip(&self.settings.announce) {
            let Some(gate) = gate else { continue };
            let prefix = announce.prefix.to_string();
            out.gauge(
                "petiole_health_gate_open",
                "Whether the health gate is open",
                &[("prefix", &prefix)],
                flag(gate.verdict() == Health::Healthy),
            );
        }
        out.counter(
            "petiole_guard_stops",
            "Announcements that the export guard stopped; anything but 0 is a defect",
            self.guard_stops as f64,
        );
        self.bgp_metrics(&mut out);
        out.0.extend(self.bfd_metrics());
        let kernel = self.dataplane.counters();
        out.gauge(
            "petiole_fib_routes",
            "Learned routes that the kernel should hold",
            &[],
            count(self.fib.len().saturating_sub(self.fib.refused())),
        );
        out.gauge(
            "petiole_fib_refused",
            "Learned routes that are kept out of the kernel",
            &[],
            count(self.fib.refused()),
        );
        out.counter(
            "petiole_fib_drift_found",
            "Objects of ours that somebody changed or removed",
            kernel.drift_found as f64,
        );
        out.counter("petiole_fib_drift_repaired", "Of these, those put right", kernel.drift_repaired as f64);
        out.counter("petiole_netlink_overruns", "Times the kernel dropped notifications", kernel.overruns as f64);
        out.counter("petiole_netlink_steps", "Changes that the kernel accepted", kernel.steps_done as f64);
        out.counter("petiole_netlink_steps_failed", "Changes that the kernel refused", kernel.steps_failed as f64);
        out.0
    }

    fn bgp_metrics(&self, out: &mut Samples) {
        let Some(speaker) = &self.speaker else { return };
        let peers: Vec<_> = speaker.peers().collect();
        let mut each = |name: &str, help: &str, kind: SampleKind, value: &dyn Fn(&petiole_bgp::PeerView) -> f64| {
            for peer in &peers {
                out.push(name, help, kind, &[("peer", &peer.id.to_string())], value(peer));
            }
        };
        use SampleKind::{Counter, Gauge};
        each("petiole_bgp_established", "Whether the session is Established", Gauge, &|p| {
            if p.state == SessionState::Established { 1.0 } else { 0.0 }
        });
        each("petiole_bgp_prefixes_received", "Paths held from the peer", Gauge, &|p| {
            p.session.as_ref().map_or(0.0, |s| s.prefixes_received as f64)
        });
        each("petiole_bgp_prefixes_advertised", "Prefixes the peer was told", Gauge, &|p| {
            p.session.as_ref().map_or(0.0, |s| s.prefixes_advertised as f64)
        });
        each("petiole_bgp_established_changes", "Times the session was Established", Counter, &|p| {
            p.established_count as f64
        });
        each("petiole_bgp_messages_received", "Messages received", Counter, &|p| p.counters.messages_in as f64);
        each("petiole_bgp_messages_sent", "Messages sent", Counter, &|p| p.counters.messages_out as f64);
        each("petiole_bgp_updates_received", "UPDATEs received", Counter, &|p| p.counters.updates_in as f64);
        each("petiole_bgp_updates_sent", "UPDATEs sent", Counter, &|p| p.counters.updates_out as f64);
        each("petiole_bgp_update_errors", "Malformed UPDATEs that did not end the session", Counter, &|p| {
            p.counters.update_errors as f64
        });
    }

    /// How many learned routes the kernel holds.
    pub(crate) fn routes_in_kernel(&self) -> u64 {
        self.dataplane.learned_in_kernel()
    }
}

struct Samples(Vec<Sample>);

impl Samples {
    fn push(&mut self, name: &str, help: &str, kind: SampleKind, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.0.push(Sample { name: name.to_owned(), help: help.to_owned(), kind, labels, value, buckets: Vec::new() });
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.push(name, help, SampleKind::Gauge, labels, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.push(name, help, SampleKind::Counter, &[], value);
    }
}

mod ipam;

fn count(n: usize) -> f64 {
    n as f64
}
