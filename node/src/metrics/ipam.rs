//! Metrics of addresses and pods.

use super::{Samples, count};
use crate::node::Node;
use crate::view::{Sample, SampleKind};

impl Node {
    pub(super) fn ipam_metrics(&self, out: &mut Samples) {
        let blocks = self.ipam.block_counts();
        for (state, n) in [
            ("own", blocks.own),
            ("others", blocks.others),
            ("ownerless", blocks.ownerless),
            ("unreadable", blocks.unreadable),
        ] {
            let help = "Blocks of the store, by whose they are";
            out.gauge("petiole_ipam_store_blocks", help, &[("state", state)], count(n));
        }
        for (pool, usage) in self.ipam.usage() {
            let pool = pool.to_string();
            for (state, n) in
                [("used", usage.used), ("free", usage.free), ("cooling", usage.cooling), ("reserved", usage.reserved)]
            {
                let help = "Addresses of this node's blocks, by pool; used counts what other nodes hold there";
                out.gauge("petiole_ipam_addresses", help, &[("pool", &pool), ("state", state)], count(n));
            }
            let help = "Addresses of this node's blocks that other nodes hold";
            out.gauge("petiole_ipam_addresses_lent", help, &[("pool", &pool)], count(usage.lent));
        }
        let help = "Addresses that this node holds in blocks of other nodes";
        out.gauge("petiole_ipam_addresses_borrowed", help, &[], count(self.borrowed().len()));
        for ((purpose, ending), n) in self.ipam.txn_counts() {
            let labels = [("purpose", purpose.name()), ("result", ending.name())];
            let help = "Transactions with the store that ended; a conflict is planned anew, an unknown one read back";
            #[expect(
                clippy::cast_precision_loss,
                reason = "metrics are floating point; 2^53 transactions are out of reach"
            )]
            out.push("petiole_ipam_transactions", help, SampleKind::Counter, &labels, *n as f64);
        }
        let pods = self.pods.counts();
        out.gauge("petiole_ipam_pods", "Container interfaces that are attached", &[], count(pods.attached));
        let help = "Container interfaces that are gone and whose addresses wait to be given back";
        out.gauge("petiole_ipam_releases_waiting", help, &[], count(pods.releasing));
        let help = "Whether an ADD would be refused; petiole status says why";
        out.gauge("petiole_ipam_adds_refused", help, &[], if self.adds_refused().is_some() { 1.0 } else { 0.0 });
        for ((command, served), latency) in self.pods.latencies() {
            let result = if *served { "served" } else { "refused" };
            let labels = [("command", command.name()), ("result", result)];
            out.0.push(Sample {
                name: "petiole_ipam_request_duration_seconds".to_owned(),
                help: "Time from a request of the CNI plugin to its answer".to_owned(),
                kind: SampleKind::Histogram,
                labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
                value: latency.sum().as_secs_f64(),
                buckets: latency.buckets(),
            });
        }
    }
}
