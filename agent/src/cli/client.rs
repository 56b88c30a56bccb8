//! One request to the agent over its socket.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use crate::io::api::Refusal;

/// Ask.
///
/// # Errors
/// The agent does not answer, or refuses: in words, with the next step.
pub async fn get(socket: &Path, path: &str) -> Result<Value> {
    request(socket, Method::GET, path, None).await
}

/// Ask with a body.
///
/// # Errors
/// As [`get`].
pub async fn post(socket: &Path, path: &str, body: &Value) -> Result<Value> {
    request(socket, Method::POST, path, Some(body)).await
}

async fn request(socket: &Path, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
    let stream = UnixStream::connect(socket).await.map_err(|e| away(socket, &e))?;
    let hung_up = || format!("the agent at {} hung up; its log says why (journalctl -u petiole)", socket.display());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.with_context(hung_up)?;
    tokio::spawn(connection);
    let bytes = body.map(serde_json::to_vec).transpose()?.unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "petiole")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(bytes)))?;
    let answer = sender.send_request(request).await.with_context(hung_up)?;
    let status = answer.status();
    let body = answer.into_body().collect().await.with_context(hung_up)?.to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&body).context("the agent's answer is no JSON");
    }
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) => Err(anyhow!(refusal.error)),
        Err(_) => bail!("the agent answered HTTP {status}"),
    }
}

/// Why nobody answers at the socket, and what to do.
fn away(socket: &Path, error: &io::Error) -> anyhow::Error {
    let at = socket.display();
    match error.kind() {
        io::ErrorKind::NotFound => anyhow!(
            "no agent runs with the socket {at}; start it with `systemctl start petiole` or `petiole agent`, or name another \
             socket with --socket PATH or --config FILE"
        ),
        io::ErrorKind::ConnectionRefused => anyhow!(
            "the agent with the socket {at} has stopped; start it with `systemctl start petiole` or `petiole agent`, and look at \
             why it ended with `journalctl -u petiole`"
        ),
        io::ErrorKind::PermissionDenied => {
            anyhow!("the socket {at} is for root and its group only: run this with sudo")
        }
        _ => anyhow!("cannot open the socket {at}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_agent_that_does_not_run_is_named_with_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let words = get(&socket, "/v1/status").await.unwrap_err().to_string();
        assert!(
            words.starts_with(&format!("no agent runs with the socket {}; start it with", socket.display())),
            "{words}"
        );
        drop(tokio::net::UnixListener::bind(&socket).unwrap());
        let words = get(&socket, "/v1/status").await.unwrap_err().to_string();
        assert!(words.contains("has stopped; start it with"), "{words}");
    }
}
