//! New connections at a steady rate, each with one question, and what became of every one of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use petiole::io::health;
use petiole_node::config::HealthCheck;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::NodeHandle;
use crate::command::{self, Spawned};
use crate::wait::{check, eventually};

/// After this a connection that has brought no answer is broken: time for a SYN that was lost twice, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer that took longer waited for something to be sent again.
const SLOW: Duration = Duration::from_millis(900);

/// What became of all connections.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Connections begun.
    pub begun: u64,
    /// Those that brought no answer.
    pub broken: Vec<Broken>,
    /// Those that brought one after 0.9 s or more.
    pub slow: u64,
    /// By how many seconds the beginning of one was late at most: this process could not run, and others here could not either.
    pub stalled: f64,
}

/// A connection without an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Broken {
    /// When it was begun, in seconds since the Unix epoch.
    pub at: f64,
    /// In words.
    pub why: String,
}

impl Outcome {
    /// The broken ones that were begun after an instant, in seconds since the Unix epoch.
    pub fn broken_after(&self, instant: f64) -> Vec<&Broken> {
        self.broken.iter().filter(|broken| broken.at > instant).collect()
    }
}

/// Seconds since the Unix epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Asks this URL over `rate` new connections a second, for as long as the file exists.
pub fn open(url: &str, ca: Option<&Path>, rate: u32, until_gone: &Path) -> Result<Outcome> {
    let question = HealthCheck::Http { url: url.to_owned(), ca: ca.map(Path::to_owned), insecure: false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    runtime.block_on(ask(Arc::new(question), rate, until_gone))
}

async fn ask(question: Arc<HealthCheck>, rate: u32, until_gone: &Path) -> Result<Outcome> {
    let slow = Arc::new(AtomicU64::new(0));
    let mut beat = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    // What a machine that stood still could not begin is not made up for at once: the servers stood still as well.
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut asked: JoinSet<Option<Broken>> = JoinSet::new();
    let mut outcome = Outcome::default();
    while until_gone.exists() {
        let due = beat.tick().await;
        outcome.stalled = outcome.stalled.max(due.elapsed().as_secs_f64());
        outcome.begun += 1;
        let (question, slow) = (Arc::clone(&question), Arc::clone(&slow));
        asked.spawn(async move {
            let (at, begun) = (now(), Instant::now());
            let answer = health::probe(&question, PATIENCE).await;
            if begun.elapsed() >= SLOW {
                slow.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
            }
            answer.err().map(|why| Broken { at, why })
        });
        while let Some(ended) = asked.try_join_next() {
            outcome.broken.extend(ended?);
        }
    }
    while let Some(ended) = asked.join_next().await {
        outcome.broken.extend(ended?);
    }
    outcome.broken.sort_by(|a, b| a.at.total_cmp(&b.at));
    outcome.slow = slow.load(Ordering::Relaxed);
    Ok(outcome)
}

/// Connections that a node opens until they are ended.
#[derive(Debug)]
pub struct Connections {
    node: NodeHandle,
    file: String,
    opening: Spawned,
}

impl Connections {
    /// Begins.
    pub fn start(node: &NodeHandle, url: &str, ca: Option<&str>, rate: u32) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let file = format!("/run/connections-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        node.exec(&["touch", &file])?;
        let rate = rate.to_string();
        let mut argv = vec!["petiole-lab", "connect", "--to", url, "--rate", &rate, "--file", &file];
        argv.extend(ca.iter().flat_map(|ca| ["--ca", *ca]));
        let opening = node.spawn(&argv)?;
        eventually(Duration::from_secs(5), "connections are opened", || check(opening.pid().is_some(), "not yet"))?;
        Ok(Self { node: node.clone(), file, opening })
    }

    /// Ends, after all that are under way.
    pub fn end(mut self) -> Result<Outcome> {
        self.node.exec(&["rm", &self.file])?;
        let output = self.opening.wait()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let outcome = command::json(&text)?;
        serde_json::from_value(outcome)
            .with_context(|| format!("{}: {text}{}", self.node.name(), String::from_utf8_lossy(&output.stderr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn what_is_answered_is_counted_and_what_is_not_is_broken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                // The third of them all is closed without a word.
                if number != 2 {
                    let _head = stream.read(&mut [0; 1024]).unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
                }
                if number == 9 {
                    file.close().unwrap();
                    break;
                }
            }
        });
        let begun = now();
        let outcome = open(&url, None, 200, &path).unwrap();
        assert!(outcome.begun >= 10, "{outcome:?}");
        // Those begun after the tenth find nobody.
        let first = outcome.broken.first().unwrap();
        assert!(first.why.contains("closed the connection"), "{first:?}");
        assert!(outcome.broken.len() as u64 + 9 == outcome.begun, "{outcome:?}");
        assert_eq!(outcome.broken_after(begun).len(), outcome.broken.len());
        assert_eq!(outcome.broken_after(now()), Vec::<&Broken>::new());
    }
}
