//! HTTP with JSON over a unix socket, for the command line and whoever else may open the socket.

pub mod orders;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query as Parameters, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use petiole_node::bgp::PeerId;
use petiole_node::prefix::{Family, Prefix};
use petiole_node::view::{Answer, Query, RouteTable};
use serde::{Deserialize, Serialize};
use tokio::net::UnixListener;

use super::operators::Operators;

/// What `GET /v1/bgp/routes` may be asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoutesRequest {
    /// Best paths where nothing is said.
    pub table: Option<RouteTable>,
    /// Only of this leaf.
    pub peer: Option<PeerId>,
}

/// What `GET /v1/bgp/trace` is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// The leaf, by its name in `bgp peers`.
    pub peer: String,
}

/// What `GET /v1/why` is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhyRequest {
    /// Which prefix.
    pub prefix: Prefix,
}

/// The body of `POST /v1/ipam/assign`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignRequest {
    /// The owner of the addresses.
    pub handle: String,
    /// One address of each; both where nothing is said.
    #[serde(default)]
    pub families: Vec<Family>,
}

/// The body of `POST /v1/ipam/release`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRequest {
    /// Which address.
    pub address: IpAddr,
}

/// What `GET /v1/ipam/show` may be asked for.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowRequest {
    /// Only this address.
    pub address: Option<IpAddr>,
}

/// The body of `POST /v1/ipam/forget`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetRequest {
    /// The node that is gone for good.
    pub node: String,
    /// Its own addresses, as host prefixes: while one of them is announced, nothing is freed.
    #[serde(default)]
    pub addresses: Vec<Prefix>,
}

/// The answer to `POST /v1/ipam/assign` and `POST /v1/ipam/release`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// What was assigned or released, as host prefixes.
    pub addresses: Vec<Prefix>,
}

/// The body of every answer that is no success.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refusal {
    /// In words, ending with the next step.
    pub error: String,
}

/// Take the socket. What an agent that died left there is replaced; the caller holds the lock that says it is dead.
///
/// # Errors
/// As the system says.
pub fn bind(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    fs::set_permissions(socket, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answer until `end`, and then what was asked by then.
pub async fn serve(listener: UnixListener, operators: Operators, end: impl Future<Output = ()> + Send + 'static) {
    // Returns only with the listener, which never fails for good.
    let _ = axum::serve(listener, router(operators)).with_graceful_shutdown(end).await;
}

fn router(operators: Operators) -> Router {
    Router::new()
        .route("/v1/status", get(|State(o): State<Operators>| plain(o, Query::Status)))
        .route("/v1/bgp/peers", get(|State(o): State<Operators>| plain(o, Query::Peers)))
        .route("/v1/bgp/routes", get(routes))
        .route("/v1/bgp/trace", get(trace))
        .route("/v1/bgp/peer", post(orders::peer))
        .route("/v1/drain", post(orders::drain))
        .route("/v1/undrain", post(orders::undrain))
        .route("/v1/stop", post(orders::stop))
        .route("/v1/ipam/blocks", get(|State(o): State<Operators>| plain(o, Query::Blocks)))
        .route("/v1/ipam/assign", post(assign))
        .route("/v1/ipam/release", post(release))
        .route("/v1/ipam/check", get(|State(o): State<Operators>| plain(o, Query::Check { repair: false })))
        .route("/v1/ipam/repair", post(|State(o): State<Operators>| plain(o, Query::Check { repair: true })))
        .route("/v1/ipam/show", get(show))
        .route("/v1/ipam/forget", post(forget))
        .route("/v1/fib", get(|State(o): State<Operators>| plain(o, Query::Fib)))
        .route("/v1/why", get(why))
        .fallback(|| async { refuse(StatusCode::NOT_FOUND, "no such question; docs/cli.md lists them") })
        .with_state(operators)
}

async fn plain(operators: Operators, query: Query) -> Response {
    match operators.ask(query).await {
        Ok(answer) => body(answer),
        Err(words) => refuse(StatusCode::CONFLICT, &words),
    }
}

async fn routes(
    State(operators): State<Operators>,
    asked: Result<Parameters<RoutesRequest>, QueryRejection>,
) -> Response {
    match asked {
        Ok(Parameters(r)) => {
            plain(operators, Query::Routes { table: r.table.unwrap_or(RouteTable::Best), peer: r.peer }).await
        }
        Err(e) => refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    }
}

async fn trace(
    State(operators): State<Operators>,
    asked: Result<Parameters<TraceRequest>, QueryRejection>,
) -> Response {
    match asked {
        Ok(Parameters(r)) => plain(operators, Query::Trace(r.peer)).await,
        Err(e) => refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    }
}

async fn why(State(operators): State<Operators>, asked: Result<Parameters<WhyRequest>, QueryRejection>) -> Response {
    match asked {
        Ok(Parameters(r)) => plain(operators, Query::Why(r.prefix)).await,
        Err(e) => refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    }
}

async fn assign(State(operators): State<Operators>, asked: Result<Json<AssignRequest>, JsonRejection>) -> Response {
    match asked {
        Ok(Json(r)) => {
            let families = if r.families.is_empty() { Family::BOTH.to_vec() } else { r.families };
            plain(operators, Query::Assign { handle: r.handle, families }).await
        }
        Err(e) => refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    }
}

async fn show(State(operators): State<Operators>, asked: Result<Parameters<ShowRequest>, QueryRejection>) -> Response {
    match asked {
        Ok(Parameters(r)) => plain(operators, Query::Show(r.address)).await,
        Err(e) => refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    }
}

async fn forget(State(operators): State<Operators>, asked: Result<Json<ForgetRequest>, JsonRejection>) -> Response {
    match asked {
        Ok(Json(r)) => plain(operators, Query::Forget { node: r.node, addresses: r.addresses }).await,
        Err(e) => refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    }
}

async fn release(State(operators): State<Operators>, asked: Result<Json<ReleaseRequest>, JsonRejection>) -> Response {
    match asked {
        Ok(Json(r)) => plain(operators, Query::Release(r.address)).await,
        Err(e) => refuse(StatusCode::BAD_REQUEST, &e.body_text()),
    }
}

fn body(answer: Answer) -> Response {
    match answer {
        Answer::Status(view) => Json(view).into_response(),
        Answer::Peers(view) => Json(view).into_response(),
        Answer::Received(view) => Json(view).into_response(),
        Answer::Advertised(view) => Json(view).into_response(),
        Answer::Trace(view) => Json(view).into_response(),
        Answer::Blocks(view) => Json(view).into_response(),
        Answer::Fib(view) => Json(view).into_response(),
        Answer::Why(view) => Json(view).into_response(),
        Answer::Addresses(addresses) => Json(Addresses { addresses }).into_response(),
        Answer::Drain(view) => Json(view).into_response(),
        Answer::Check(view) => Json(view).into_response(),
        Answer::Show(view) => Json(view).into_response(),
        Answer::Forgotten(view) => Json(view).into_response(),
        Answer::Order(view) => Json(view).into_response(),
        Answer::Metrics(samples) => Json(samples).into_response(),
    }
}

fn refuse(status: StatusCode, words: &str) -> Response {
    (status, Json(Refusal { error: words.to_owned() })).into_response()
}

#[cfg(test)]
mod tests;
