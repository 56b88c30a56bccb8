//! One command: argv without a shell, healthy when it exits with 0.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How much of what a failing command says is worth showing.
const WORDS: u64 = 200;

pub(super) async fn run(argv: &[String]) -> Result<(), String> {
    let Some((program, arguments)) = argv.split_first() else { return Err("the command is empty".to_owned()) };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => format!("command {program} does not exist"),
            io::ErrorKind::PermissionDenied => format!("command {program} may not be run: {e}"),
            _ => format!("cannot run {program}: {e}"),
        })?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let mut stderr = child.stderr.take();
    let mut said = Vec::new();
    let status = {
        let read = async {
            if let Some(stderr) = stderr.as_mut() {
                let _ = stderr.take(WORDS).read_to_end(&mut said).await;
                // Read on, so that a talkative command does not block on a full pipe.
                let _ = tokio::io::copy(stderr, &mut tokio::io::sink()).await;
            }
            std::future::pending::<std::convert::Infallible>().await
        };
        tokio::select! {
            biased;
            status = child.wait() => status,
            never = read => match never {},
        }
    }
    .map_err(|e| format!("cannot wait for {program}: {e}"))?;
    // Once the leader is reaped its number may be somebody else's.
    group.0 = None;
    if status.success() {
        return Ok(());
    }
    // The exit may be seen before the last words; what the command itself wrote is in the pipe by now.
    if said.is_empty()
        && let Some(stderr) = stderr.as_mut()
    {
        let _ = tokio::time::timeout(Duration::from_millis(5), stderr.take(WORDS).read_to_end(&mut said)).await;
    }
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().find(|l| !l.trim().is_empty()).map(|l| format!(": {}", l.trim())).unwrap_or_default();
    Err(format!("command {program} ended with {status}{line}"))
}

/// Kills the command with everything it started, when the probe is given up before it ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
