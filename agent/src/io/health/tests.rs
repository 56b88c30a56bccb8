use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const PLENTY: Duration = Duration::from_secs(20);

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers one connection with `answer` after the request's first bytes; returns the request.
async fn serve_once(answer: &'static [u8]) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let (listener, address) = listener().await;
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let n = stream.read(&mut request).await.unwrap();
        stream.write_all(answer).await.unwrap();
        String::from_utf8_lossy(&request[..n]).into_owned()
    });
    (address, task)
}

fn http(url: String) -> HealthCheck {
    HealthCheck::Http { url, ca: None, insecure: false }
}

#[tokio::test]
async fn any_2xx_is_healthy() {
    let (address, request) = serve_once(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(probe(&http(format!("http://{address}/readyz?verbose")), PLENTY).await, Ok(()));
    let request = request.await.unwrap();
    assert!(request.starts_with("GET /readyz?verbose HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {address}")), "{request}");
}

#[tokio::test]
async fn other_statuses_are_named() {
    let (address, _) = serve_once(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    let words = probe(&http(format!("http://{address}/")), PLENTY).await.unwrap_err();
    assert_eq!(words, format!("{address} answered HTTP 503 (Service Unavailable)"));
    let (address, _) = serve_once(b"HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    assert!(probe(&http(format!("http://{address}/")), PLENTY).await.unwrap_err().contains("HTTP 302"));
}

#[tokio::test]
async fn a_refused_connection_is_named() {
    let (listener, address) = listener().await;
    drop(listener);
    let refused = format!("{address} refused the connection: nothing listens there");
    assert_eq!(probe(&http(format!("http://{address}/")), PLENTY).await.unwrap_err(), refused);
    assert_eq!(probe(&HealthCheck::Tcp(address), PLENTY).await.unwrap_err(), refused);
}

#[tokio::test]
async fn silence_ends_at_the_timeout() {
    let (listener, address) = listener().await;
    // The backlog takes the connection, nobody answers.
    let url = format!("http://{address}/");
    let words = probe(&http(url.clone()), Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(words, format!("no answer from {url} within 50ms"));
    assert_eq!(probe(&HealthCheck::Tcp(address), PLENTY).await, Ok(()));
    drop(listener);
}

#[tokio::test]
async fn what_is_no_http_is_said_so() {
    let (address, _) = serve_once(b"SSH-2.0-OpenSSH_9.2\r\n").await;
    let words = probe(&http(format!("http://{address}/")), PLENTY).await.unwrap_err();
    assert!(words.starts_with(&format!("{address} does not answer in HTTP")), "{words}");
    let (address, _) = serve_once(b"").await;
    let words = probe(&http(format!("http://{address}/")), PLENTY).await.unwrap_err();
    assert!(words.contains("closed the connection without an answer"), "{words}");
}

/// A server with a certificate for `name`, signed by an authority of its own; returns the authority's PEM.
async fn tls_server(name: &str) -> (SocketAddr, String) {
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from(certificate.der().to_vec())],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (address, authority_certificate.pem())
}

fn ca_file(dir: &tempfile::TempDir, name: &str, pem: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, pem).unwrap();
    path
}

#[tokio::test]
async fn https_trusts_the_ca_file_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (address, pem) = tls_server("127.0.0.1").await;
    let (_, other) = tls_server("127.0.0.1").await;
    let ca = ca_file(&dir, "ca.pem", &pem);
    let wrong = ca_file(&dir, "wrong.pem", &other);
    let url = format!("https://{address}/readyz");
    let check = |ca: &PathBuf, insecure| HealthCheck::Http { url: url.clone(), ca: Some(ca.clone()), insecure };
    assert_eq!(probe(&check(&ca, false), PLENTY).await, Ok(()));
    let words = probe(&check(&wrong, false), PLENTY).await.unwrap_err();
    assert_eq!(
        words,
        format!(
            "the certificate of {address} is not signed by an authority in CA file {}: give the CA file that signed it",
            wrong.display()
        )
    );
    assert_eq!(probe(&check(&wrong, true), PLENTY).await, Ok(()));
    let words = probe(&check(&dir.path().join("absent.pem"), false), PLENTY).await.unwrap_err();
    assert!(words.starts_with("cannot read ") && words.contains("absent.pem"), "{words}");
    let empty = ca_file(&dir, "empty.pem", "");
    assert!(probe(&check(&empty, false), PLENTY).await.unwrap_err().contains("holds no certificate"));
}

#[tokio::test]
async fn a_certificate_for_another_name_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let (address, pem) = tls_server("api.example").await;
    let ca = Some(ca_file(&dir, "ca.pem", &pem));
    let words = probe(&HealthCheck::Http { url: format!("https://{address}/"), ca, insecure: false }, PLENTY)
        .await
        .unwrap_err();
    assert!(words.contains("api.example") && words.contains("not for this address"), "{words}");
}

#[tokio::test]
async fn https_to_a_plain_port_says_so() {
    let (address, _) = serve_once(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let check = HealthCheck::Http { url: format!("https://{address}/"), ca: None, insecure: true };
    let words = probe(&check, PLENTY).await.unwrap_err();
    assert!(words.contains("does not speak TLS") && words.contains("http://"), "{words}");
}

fn command(argv: &[&str]) -> HealthCheck {
    HealthCheck::Command(argv.iter().map(|&s| s.to_owned()).collect())
}

#[tokio::test]
async fn a_command_is_healthy_when_it_exits_with_0() {
    assert_eq!(probe(&command(&["true"]), PLENTY).await, Ok(()));
    let words = probe(&command(&["sh", "-c", "echo not ready >&2; exit 3"]), PLENTY).await.unwrap_err();
    assert_eq!(words, "command sh ended with exit status: 3: not ready");
    let words = probe(&command(&["/nonexistent/check"]), PLENTY).await.unwrap_err();
    assert_eq!(words, "command /nonexistent/check does not exist");
}

#[tokio::test]
async fn a_command_past_its_time_dies_with_all_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let script = format!("sh -c 'exec 3>{0}; sleep 1000' & exec 4>{0}; sleep 1000", fifo.display());
    let (end, ended) = std::sync::mpsc::channel();
    // A thread that nobody waits for: it ends when the last writer is gone, the grandchild included.
    std::thread::spawn(move || end.send(std::fs::read(fifo)));
    let words = probe(&command(&["sh", "-c", &script]), Duration::from_millis(300)).await.unwrap_err();
    assert!(words.contains("within 300ms"), "{words}");
    let read = tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_secs(10))).await.unwrap();
    assert!(read.expect("something that the command started lives on").unwrap().is_empty());
}
