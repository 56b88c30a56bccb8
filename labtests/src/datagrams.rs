//! A stream of numbered UDP datagrams, and what answers it: every single loss is counted, in either direction.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// How long an answer may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a stream saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// Datagrams sent.
    pub sent: u64,
    /// Those that were not answered.
    pub lost: u64,
    /// Answers beyond the first to a datagram.
    pub doubled: u64,
    /// The longest time between two answers, in milliseconds.
    pub longest_gap_ms: u64,
}

/// Room for what arrives while this process does not run: what is lost then was not lost on the way.
fn make_room(socket: &UdpSocket) {
    // Less is better than nothing.
    let _less = rustix::net::sockopt::set_socket_recv_buffer_size(socket, 4 << 20);
}

/// Sends every datagram back to where it came from.
pub fn reflect(listen: &str) -> Result<()> {
    let socket = UdpSocket::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    make_room(&socket);
    let mut buffer = [0; 2048];
    loop {
        // An error is that of an earlier datagram: a destination that could not be reached then.
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let _lost = socket.send_to(buffer.get(..len).unwrap_or_default(), from);
        }
    }
}

/// Sends `rate` datagrams a second for as long as the file exists, and counts what comes back.
pub fn stream(to: SocketAddr, rate: u32, until_gone: &Path) -> Result<Counted> {
    let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).context("no socket")?;
    socket.connect(to).with_context(|| format!("no route to {to}"))?;
    make_room(&socket);
    let answers = socket.try_clone().context("no second socket")?;
    answers.set_read_timeout(Some(PATIENCE))?;
    let over = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&over);
    let reader = thread::spawn(move || answered(&answers, &heard));
    let beat = Duration::from_secs(1) / rate.max(1);
    let start = Instant::now();
    let mut sent = 0u64;
    while until_gone.exists() {
        let due = beat.saturating_mul(u32::try_from(sent).unwrap_or(u32::MAX));
        if let Some(early) = due.checked_sub(start.elapsed()) {
            thread::sleep(early);
        }
        // What can't be sent is lost: a route that is missing here counts as one that is missing further on.
        let _lost = socket.send(&sent.to_be_bytes());
        sent += 1;
    }
    over.store(true, Ordering::Relaxed);
    let (seen, doubled, longest) = reader.join().map_err(|_| anyhow::anyhow!("the reader of answers"))?;
    let longest_gap_ms = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    Ok(Counted { sent, lost: sent.saturating_sub(seen), doubled, longest_gap_ms })
}

/// Reads answers until there are no more questions, nor answers for a while: different ones, further ones, the longest gap.
fn answered(socket: &UdpSocket, over: &AtomicBool) -> (u64, u64, Duration) {
    let mut seen: Vec<bool> = Vec::new();
    let (mut doubled, mut longest) = (0, Duration::ZERO);
    let (mut last, mut quiet_since) = (None::<Instant>, Instant::now());
    let mut buffer = [0; 64];
    while !over.load(Ordering::Relaxed) || quiet_since.elapsed() < PATIENCE {
        // An ICMP error shows here as a refused connection, and is no answer.
        let Ok(len) = socket.recv(&mut buffer) else { continue };
        quiet_since = Instant::now();
        longest = longest.max(last.map_or(Duration::ZERO, |last| last.elapsed()));
        last = Some(quiet_since);
        let number = buffer.get(..len).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()).map(u64::from_be_bytes);
        let Some(at) = number.and_then(|n| usize::try_from(n).ok()).filter(|at| *at < 1 << 24) else { continue };
        if seen.len() <= at {
            seen.resize(at + 1, false);
        }
        if let Some(one) = seen.get_mut(at) {
            doubled += u64::from(*one);
            *one = true;
        }
    }
    (seen.iter().filter(|one| **one).count() as u64, doubled, longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_counted_and_what_is_not_is_lost() {
        let reflector = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = reflector.local_addr().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            // The first ten: one is swallowed, one is answered twice.
            for at in 0..10 {
                let (len, from) = reflector.recv_from(&mut buffer).unwrap();
                for _ in 0..[1, 0, 2].get(at).copied().unwrap_or(1) {
                    reflector.send_to(&buffer[..len], from).unwrap();
                }
            }
            drop(file);
        });
        let counted = stream(to, 1000, &path).unwrap();
        assert_eq!(counted.sent - counted.lost, 9, "{counted:?}");
        assert_eq!(counted.doubled, 1);
    }
}
