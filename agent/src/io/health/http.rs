//! One GET over HTTP/1.1, plain or TLS.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::connect;
use crate::io::tls;

/// Healthy on any 2xx.
pub(super) async fn get(url: &str, ca: Option<&Path>, insecure: bool) -> Result<(), String> {
    let uri: Uri = url.parse().map_err(|e| format!("{url} is not a URL: {e}"))?;
    let host = uri.host().ok_or_else(|| format!("{url} has no host"))?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let https = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let stream = connect(resolve(bare, port).await?).await?;
    let whom = format!("{host}:{port}");
    if !https {
        return request(stream, &uri, &whom).await;
    }
    let config = tls_config(ca, insecure)?;
    let name = ServerName::try_from(bare.to_owned())
        .map_err(|_| format!("{bare} is not a name that a certificate could have"))?;
    let stream = TlsConnector::from(config).connect(name, stream).await.map_err(|e| {
        let trusted = ca.map_or_else(|| "the system's".to_owned(), |ca| format!("CA file {}", ca.display()));
        tls::find(&e).map_or_else(|| format!("TLS with {whom} failed: {e}"), |tls| tls::words(tls, &whom, &trusted))
    })?;
    request(stream, &uri, &whom).await
}

fn tls_config(ca: Option<&Path>, insecure: bool) -> Result<Arc<ClientConfig>, String> {
    // Read for every probe: a rotated CA file counts at once, and a probe is rare beside the cost of reading it.
    match ca {
        _ if insecure => tls::trusting_anyone(),
        Some(ca) => tls::trusting(ca, None),
        None => tls::trusting(Path::new(tls::SYSTEM_CA), None),
    }
}

async fn resolve(host: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    // Not left to the resolver: its answer to this name must not depend on a file or a server.
    if host == "localhost" {
        return Ok(SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port));
    }
    let mut found = tokio::net::lookup_host((host, port))
        .await
        .map_err(|e| format!("cannot resolve {host}: {e}; use an address"))?;
    found.next().ok_or_else(|| format!("{host} has no address; use an address"))
}

async fn request<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    stream: S,
    uri: &Uri,
    whom: &str,
) -> Result<(), String> {
    let no_http = |e: hyper::Error| {
        if e.is_parse() {
            format!("{whom} does not answer in HTTP: {e}")
        } else {
            format!("{whom} closed the connection without an answer: {e}")
        }
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let request = Request::get(path)
        .header(header::HOST, uri.authority().map_or(whom, |a| a.as_str()))
        .header(header::USER_AGENT, concat!("petiole/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    // The connection is driven here and dropped with the answer: no task is left behind by a probe that timed out.
    let connection = async {
        let _ = connection.await;
        // The answer, or its failure, is in the sender's hands now.
        std::future::pending::<std::convert::Infallible>().await
    };
    let status = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(no_http)?.status(),
        never = connection => match never {},
    };
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("{whom} answered HTTP {}{}", status.as_u16(), reason(status)))
    }
}

fn reason(status: StatusCode) -> String {
    status.canonical_reason().map(|r| format!(" ({r})")).unwrap_or_default()
}
