//! Orders of operators: all are POSTs, and who may open the socket may give them.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::Response;
use petiole_node::bgp::PeerId;
use petiole_node::bgp::wire::ShutdownText;
use petiole_node::view::{PeerOrder, Query};
use serde::{Deserialize, Serialize};

use super::{plain, refuse};
use crate::io::operators::Operators;

/// The longest time between the warning and the withdrawal of a drain.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// The body of `POST /v1/drain`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// After how many seconds everything is withdrawn; `null`: when told.
    pub after_seconds: Option<f64>,
}

/// The body of `POST /v1/stop`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopRequest {
    /// Said to every leaf; at most 255 octets.
    #[serde(default)]
    pub message: Option<ShutdownText>,
}

/// The body of `POST /v1/bgp/peer`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRequest {
    /// Which leaf.
    pub peer: PeerId,
    /// What to do.
    pub order: Order,
    /// Said to the leaf with `disable` and `clear`; at most 255 octets.
    #[serde(default)]
    pub message: Option<ShutdownText>,
}

/// What to do with a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// End it until it is enabled.
    Disable,
    /// Begin it again.
    Enable,
    /// End it and begin anew.
    Clear,
    /// Ask for its routes again.
    Refresh,
}

pub(super) async fn drain(
    State(operators): State<Operators>,
    asked: Result<Json<DrainRequest>, JsonRejection>,
) -> Response {
    let Json(request) = match asked {
        Ok(request) => request,
        Err(e) => return refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    };
    let after = request.after_seconds.map(Duration::try_from_secs_f64).transpose();
    match after {
        Ok(after) if after.is_none_or(|after| after <= LONGEST) => plain(operators, Query::Drain { after }).await,
        Ok(_) | Err(_) => {
            refuse(StatusCode::BAD_REQUEST, "after_seconds is 0 to 604800, or null to withdraw when told")
        }
    }
}

pub(super) async fn undrain(State(operators): State<Operators>) -> Response {
    plain(operators, Query::Undrain).await
}

pub(super) async fn stop(
    State(operators): State<Operators>,
    asked: Result<Json<StopRequest>, JsonRejection>,
) -> Response {
    match asked {
        Ok(Json(request)) => plain(operators, Query::Stop { message: request.message }).await,
        Err(e) => refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    }
}

pub(super) async fn peer(
    State(operators): State<Operators>,
    asked: Result<Json<PeerRequest>, JsonRejection>,
) -> Response {
    let Json(PeerRequest { peer, order, message }) = match asked {
        Ok(request) => request,
        Err(e) => return refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    };
    let order = match (order, message) {
        (Order::Disable, message) => PeerOrder::Disable { message },
        (Order::Clear, message) => PeerOrder::Clear { message },
        (Order::Enable, None) => PeerOrder::Enable,
        (Order::Refresh, None) => PeerOrder::Refresh,
        (Order::Enable | Order::Refresh, Some(_)) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                "a message goes with disable and clear only: nothing else says goodbye",
            );
        }
    };
    plain(operators, Query::Peer { peer, order }).await
}
