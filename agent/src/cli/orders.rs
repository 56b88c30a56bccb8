//! What an operator orders: `drain`, `undrain`, `stop`, `bgp disable|enable|clear`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use petiole_node::bgp::PeerId;
use petiole_node::bgp::wire::ShutdownText;
use petiole_node::config::parse_duration;
use petiole_node::view::{DrainView, OrderView};
use serde::Serialize;

use super::client;
use super::output::{Output, print};
use crate::cli::table::span;
use crate::io::api::orders::{DrainRequest, Order, PeerRequest, StopRequest};

/// When a drain withdraws.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    Time(Duration),
    WhenTold,
}

/// `10s`, or `never`.
pub(super) fn after(text: &str) -> Result<After, String> {
    if text == "never" {
        return Ok(After::WhenTold);
    }
    parse_duration(text).map(After::Time).map_err(|near| {
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        format!("{text:?} is no time: write 10s, 5m or 0s, or `never` to withdraw when told{near}")
    })
}

/// A text that a NOTIFICATION can carry.
pub(super) fn message(text: &str) -> Result<ShutdownText, String> {
    ShutdownText::new(text).map_err(|e| e.to_string())
}

pub(super) async fn drain(socket: &Path, after: After, output: Output) -> Result<()> {
    let after_seconds = match after {
        After::Time(time) => Some(time.as_secs_f64()),
        After::WhenTold => None,
    };
    post(socket, "/v1/drain", &DrainRequest { after_seconds }, output, |v: DrainView| drained(&v)).await
}

pub(super) async fn undrain(socket: &Path, output: Output) -> Result<()> {
    post(socket, "/v1/undrain", &(), output, |v: DrainView| drained(&v)).await
}

pub(super) async fn stop(socket: &Path, message: Option<ShutdownText>, output: Output) -> Result<()> {
    post(socket, "/v1/stop", &StopRequest { message }, output, |v: OrderView| format!("{}\n", v.done)).await
}

pub(super) async fn peer(
    socket: &Path,
    peer: &str,
    order: Order,
    message: Option<ShutdownText>,
    output: Output,
) -> Result<()> {
    let peer: PeerId = peer.parse().map_err(|_| {
        anyhow!("{peer:?} is neither the address nor the interface of a leaf; `petiole bgp peers` lists them")
    })?;
    let request = PeerRequest { peer, order, message };
    post(socket, "/v1/bgp/peer", &request, output, |v: OrderView| format!("{}\n", v.done)).await
}

async fn post<V: serde::de::DeserializeOwned>(
    socket: &Path,
    path: &str,
    body: &impl Serialize,
    output: Output,
    table: impl FnOnce(V) -> String,
) -> Result<()> {
    let answer = client::post(socket, path, &serde_json::to_value(body)?).await?;
    print(answer, output, table)
}

/// One line.
pub(super) fn drained(view: &DrainView) -> String {
    match (view.state.as_str(), view.withdraw_in_seconds) {
        ("draining", Some(time)) => {
            format!("draining: everything is announced with GRACEFUL_SHUTDOWN, and withdrawn in {}\n", span(time))
        }
        ("draining", None) => {
            "draining: everything is announced with GRACEFUL_SHUTDOWN; `petiole drain --after 0s` withdraws it\n"
                .to_owned()
        }
        ("drained", _) => "drained: nothing is announced until `petiole undrain`; the sessions stay\n".to_owned(),
        _ => "not drained: everything that can be is announced\n".to_owned(),
    }
}
