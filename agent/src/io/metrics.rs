//! `/metrics`, `/healthz` and `/readyz` over TCP.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use petiole_node::Input;
use petiole_node::view::{Answer, Query, Sample, SampleKind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::heart::Heart;
use super::operators::Operators;

const RETRY: Duration = Duration::from_secs(3);
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answer for ever on this address; one that cannot be had is tried again, for the node works without.
pub async fn serve(address: SocketAddr, operators: Operators, heart: Arc<Heart>, inputs: mpsc::Sender<Input>) {
    let trouble = |what: String| Input::Trouble { part: "metrics".to_owned(), what };
    let mut said = String::new();
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(e) => {
                let words = words(address, &e);
                if words != said {
                    said.clone_from(&words);
                    let _ = inputs.send(trouble(words)).await;
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    };
    if !said.is_empty() {
        let _ = inputs.send(trouble(String::new())).await;
    }
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state((operators, heart));
    // Returns only with the listener, which never fails for good.
    let _ = axum::serve(listener, router).await;
}

fn words(address: SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot serve metrics on {address}: the port is taken by another process; find it with `ss -ltnp sport = :{}`, or set \
             [metrics] listen",
            address.port()
        ),
        _ => format!("cannot serve metrics on {address}: {error}; set [metrics] listen"),
    }
}

type Sources = State<(Operators, Arc<Heart>)>;

async fn healthz(State((_, heart)): Sources) -> Response {
    match heart.check() {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(silent) => {
            let words =
                format!("the agent's loop has not turned for {} s; restart it and report this\n", silent.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
        }
    }
}

async fn readyz(State((operators, _)): Sources) -> Response {
    match operators.ask(Query::Status).await {
        Ok(Answer::Status(status)) if status.ready => (StatusCode::OK, "ready\n".to_owned()),
        Ok(Answer::Status(status)) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", status.not_ready.join("; ")))
        }
        Ok(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the node answered another question\n".to_owned()),
        Err(words) => (StatusCode::SERVICE_UNAVAILABLE, format!("{words}\n")),
    }
    .into_response()
}

async fn metrics(State((operators, heart)): Sources) -> Response {
    let mut samples = match operators.ask(Query::Metrics).await {
        Ok(Answer::Metrics(samples)) => samples,
        Ok(_) => Vec::new(),
        Err(words) => return (StatusCode::SERVICE_UNAVAILABLE, format!("{words}\n")).into_response(),
    };
    samples.extend(process(&heart));
    match encode(samples) {
        Ok(text) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the metrics: {e}\n")).into_response(),
    }
}

/// What the process knows about itself.
fn process(heart: &Heart) -> Vec<Sample> {
    let gauge = |name: &str, help: &str, value: f64| Sample {
        name: name.to_owned(),
        help: help.to_owned(),
        kind: SampleKind::Gauge,
        labels: Vec::new(),
        value,
        buckets: Vec::new(),
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "metrics are floating point; 2^53 bytes or turns lose nothing that matters"
    )]
    let float = |n: u64| n as f64;
    let started = heart.clock().started().as_secs_f64();
    vec![
        gauge("process_start_time_seconds", "Start of the agent, in seconds since the Unix epoch", started),
        gauge("process_resident_memory_bytes", "Resident memory of the agent", float(resident_memory())),
        gauge(
            "petiole_loop_lag_seconds",
            "How late the agent's loop was at its last regular wake-up",
            heart.lag().as_secs_f64(),
        ),
        Sample {
            kind: SampleKind::Counter,
            ..gauge("petiole_loop_turns", "Turns of the agent's loop", float(heart.turns()))
        },
    ]
}

/// `VmRSS` of `/proc/self/status`, which counts in kB whatever the size of a page.
fn resident_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// Samples as text. Those of one name stand together, whatever order they came in.
///
/// # Errors
/// Never in practice: the text is in memory.
pub fn encode(samples: Vec<Sample>) -> Result<String, fmt::Error> {
    let mut families: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for sample in samples {
        families.entry(sample.name.clone()).or_default().push(sample);
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Samples(families)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Samples(BTreeMap<String, Vec<Sample>>);

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, samples) in &self.0 {
            let Some(first) = samples.first() else { continue };
            let kind = match first.kind {
                SampleKind::Counter => MetricType::Counter,
                SampleKind::Gauge => MetricType::Gauge,
                SampleKind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(name, first.help.trim_end_matches('.'), None, kind)?;
            for sample in samples {
                if sample.labels.is_empty() {
                    value(&mut metric, sample)?;
                } else {
                    value(&mut metric.encode_family(&sample.labels)?, sample)?;
                }
            }
        }
        Ok(())
    }
}

fn value(metric: &mut MetricEncoder<'_>, sample: &Sample) -> Result<(), fmt::Error> {
    match sample.kind {
        SampleKind::Counter => metric.encode_counter::<[(String, String); 0], f64, f64>(&sample.value, None),
        SampleKind::Gauge => metric.encode_gauge(&sample.value),
        SampleKind::Histogram => {
            let count = sample.buckets.iter().map(|(_, n)| n).sum();
            // A sample is JSON elsewhere, which has no infinity.
            let bound = |bound: f64| if bound < f64::MAX { bound } else { f64::INFINITY };
            let buckets: Vec<(f64, u64)> = sample.buckets.iter().map(|(upper, n)| (bound(*upper), *n)).collect();
            metric.encode_histogram::<[(String, String); 0]>(sample.value, count, &buckets, None)
        }
    }
}

#[cfg(test)]
mod tests;
