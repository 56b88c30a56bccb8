//! Why no request reaches a member: one connection by hand, step by step, where each mistake can still be told from the others.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use petiole_node::config::EtcdSettings;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::words::tls_words;
use crate::io::health::connect_words;
use crate::io::tls;

/// In TLS 1.3 a server judges the client's certificate after the client believes that the handshake is done.
const AFTERTHOUGHT: Duration = Duration::from_millis(500);

/// What is wrong with the way to this endpoint; `None` when nothing was found.
pub(super) async fn of(endpoint: &str, settings: &EtcdSettings) -> Option<String> {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("http", endpoint));
    let authority = rest.trim_end_matches('/');
    let stream = match TcpStream::connect(authority).await {
        Ok(stream) => stream,
        Err(e) => return Some(connect_words(endpoint, &e)),
    };
    let name = authority.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).ok()?;
    if scheme == "http" {
        let met_tls = match handshake(stream, name, tls::trusting_anyone().ok()?).await {
            Ok(()) => true,
            Err(e) => matches!(e, Failure::Tls(rustls::Error::AlertReceived(_))),
        };
        return met_tls.then(|| {
            format!("{endpoint} speaks TLS: write https://{authority} in [store] etcd endpoints, with the `ca` that signed its certificate")
        });
    }
    let ca = settings.ca.as_deref().unwrap_or_else(|| Path::new(tls::SYSTEM_CA));
    let own = settings.cert.as_deref().zip(settings.key.as_deref());
    let config = match tls::trusting(ca, own) {
        Ok(config) => config,
        Err(words) => return Some(format!("{words} ([store] etcd)")),
    };
    match handshake(stream, name, config).await {
        Ok(()) => None,
        Err(Failure::Tls(e)) => Some(tls_words(&e, endpoint, settings)),
        Err(Failure::Other) => speaks_http(authority)
            .await
            .then(|| format!("{endpoint} does not speak TLS: write http:// instead of https://")),
    }
}

enum Failure {
    Tls(rustls::Error),
    Other,
}

async fn handshake(stream: TcpStream, name: ServerName<'static>, config: Arc<ClientConfig>) -> Result<(), Failure> {
    let failure = |e: std::io::Error| tls::find(&e).cloned().map_or(Failure::Other, Failure::Tls);
    let mut stream = TlsConnector::from(config).connect(name, stream).await.map_err(failure)?;
    match tokio::time::timeout(AFTERTHOUGHT, stream.read(&mut [0; 64])).await {
        Ok(Err(e)) => Err(failure(e)),
        // It waits for us to speak, as it should, or has spoken.
        Ok(Ok(_)) | Err(_) => Ok(()),
    }
}

async fn speaks_http(authority: &str) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect(authority).await.ok()?;
        stream.write_all(b"GET /version HTTP/1.0\r\n\r\n").await.ok()?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await.ok()?;
        Some(&answer == b"HTTP/")
    };
    ask.await.unwrap_or(false)
}
