//! What etcd says it was asked, by its own metrics.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Requests by gRPC method, and what they came to in the tree of keys, since etcd began.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Counts(BTreeMap<String, u64>);

/// `etcd_debugging_mvcc_NAME_total`.
pub(super) const MVCC: [&str; 4] = ["txn", "range", "put", "delete"];

impl Counts {
    /// Asks etcd at this address, from this thread's namespace.
    pub(super) fn read(etcd: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(etcd).context("etcd")?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let counts = Self::of(&text);
        if counts.0.is_empty() {
            bail!("etcd at {etcd} shows no metrics");
        }
        Ok(counts)
    }

    fn of(text: &str) -> Self {
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let Ok(value) = value.parse::<f64>() else { continue };
            if let Some(labels) = name.strip_prefix("grpc_server_handled_total{") {
                // Streams count when they end, so a watch that goes on is none.
                let label = |key: &str| labels.split(&format!("{key}=\"")).nth(1)?.split('"').next();
                let (Some(method), Some(kind)) = (label("grpc_method"), label("grpc_type")) else { continue };
                if kind == "unary" {
                    *counts.entry(method.to_owned()).or_default() += value as u64;
                }
            } else if let Some(what) = MVCC.iter().find(|w| name == format!("etcd_debugging_mvcc_{w}_total")) {
                counts.insert(format!("mvcc {what}"), value as u64);
            }
        }
        Self(counts)
    }

    /// What came since another reading.
    pub(super) fn since(&self, before: &Self) -> Self {
        let more = self.0.iter().map(|(what, count)| (what.clone(), count.saturating_sub(before.get(what))));
        Self(more.filter(|(_, count)| *count > 0).collect())
    }

    /// Both together.
    pub(super) fn plus(mut self, more: &Self) -> Self {
        for (what, count) in &more.0 {
            *self.0.entry(what.clone()).or_default() += count;
        }
        self
    }

    /// Of one kind.
    pub(super) fn get(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// Requests by gRPC that are neither transactions nor reads.
    pub(super) fn other_requests(&self) -> u64 {
        let other = |what: &str| !what.starts_with("mvcc ") && !matches!(what, "Txn" | "Range");
        self.0.iter().filter(|(what, _)| other(what)).map(|(_, count)| count).sum()
    }

    pub(super) fn all(&self) -> &BTreeMap<String, u64> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE x counter\n\
        grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Txn\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 7\n\
        grpc_server_handled_total{grpc_code=\"Aborted\",grpc_method=\"Txn\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 1\n\
        grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Range\",grpc_service=\"etcdserverpb.KV\",grpc_type=\"unary\"} 2\n\
        grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Watch\",grpc_service=\"etcdserverpb.Watch\",grpc_type=\"bidi_stream\"} 3\n\
        etcd_debugging_mvcc_put_total 1.4e+06\netcd_mvcc_put_total 9\n";

    #[test]
    fn requests_are_counted_by_method_whatever_their_outcome() {
        let counts = Counts::of(TEXT);
        assert_eq!((counts.get("Txn"), counts.get("Range"), counts.other_requests()), (8, 2, 0));
        assert_eq!(counts.get("mvcc put"), 1_400_000);
    }

    #[test]
    fn a_difference_holds_what_grew() {
        let before = Counts(BTreeMap::from([("Txn".to_owned(), 5)]));
        let since = Counts::of(TEXT).since(&before);
        assert_eq!((since.get("Txn"), since.get("Range")), (3, 2));
    }
}
