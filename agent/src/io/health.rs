//! Health probes: one question, one answer, within its time.
//!
//! A command may be run here, and only here, because the operator asked for it by name; it gets a process group of its own,
//! which is killed when its time is over, with everything that it started.

mod command;
mod http;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use petiole_node::config::HealthCheck;
use tokio::net::TcpStream;

/// Run a probe once.
///
/// # Errors
/// What was wrong, in words.
pub async fn probe(check: &HealthCheck, timeout: Duration) -> Result<(), String> {
    // Boxed: the three ways differ much in size, and the future is spawned for each probe.
    let asked = async {
        match check {
            HealthCheck::Http { url, ca, insecure } => http::get(url, ca.as_deref(), *insecure).await,
            HealthCheck::Tcp(address) => connect(*address).await.map(drop),
            HealthCheck::Command(argv) => command::run(argv).await,
        }
    };
    match tokio::time::timeout(timeout, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer from {} within {}", subject(check), duration(timeout))),
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|e| connect_words(&address.to_string(), &e))?;
    // A probe is one small request: waiting for more to send with it only delays the verdict.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A failed connection attempt in words.
#[must_use]
pub fn connect_words(whom: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("{whom} refused the connection: nothing listens there"),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => format!("no route to {whom}"),
        io::ErrorKind::TimedOut => format!("no answer from {whom}"),
        io::ErrorKind::ConnectionReset => format!("{whom} reset the connection"),
        _ => format!("cannot connect to {whom}: {error}"),
    }
}

fn subject(check: &HealthCheck) -> String {
    match check {
        HealthCheck::Http { url, .. } => url.clone(),
        HealthCheck::Tcp(address) => address.to_string(),
        HealthCheck::Command(argv) => format!("command {}", argv.join(" ")),
    }
}

/// A duration as a person writes it: `1s`, `250ms`.
#[must_use]
pub fn duration(d: Duration) -> String {
    if d.subsec_millis() == 0 && d.as_secs() > 0 { format!("{}s", d.as_secs()) } else { format!("{}ms", d.as_millis()) }
}

#[cfg(test)]
mod tests;
