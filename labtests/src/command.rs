//! Child processes: run to the end, or started and ended.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::procs;
use crate::wait::{check, eventually};

/// Runs a command to its end; a failure is an error with what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        bail!("`{}`: {}: {} {}", shown(command), output.status, err.trim(), out.trim());
    }
    String::from_utf8(output.stdout).context("not UTF-8")
}

/// Runs a command to its end, whatever the end is.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    command.stdin(Stdio::null()).output().with_context(|| format!("cannot run `{}`", shown(command)))
}

/// Runs a command that reads `input`.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run `{}`", shown(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    Ok(child.wait_with_output()?)
}

pub(crate) fn json(text: &str) -> Result<Value> {
    // `ip -json` writes nothing at all where it has nothing to show.
    if text.trim().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))
}

fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    command.get_args().fold(program.into_owned(), |line, arg| line + " " + &arg.to_string_lossy())
}

/// A process started in a node. It is killed when this value goes.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    /// In a PID namespace of its own the program is the child of what was started.
    nested: bool,
}

impl Spawned {
    pub(crate) fn direct(command: Command) -> Result<Self> {
        Self::start(command, false)
    }

    pub(crate) fn nested(command: Command) -> Result<Self> {
        Self::start(command, true)
    }

    fn start(mut command: Command, nested: bool) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot run `{}`", shown(&command)))?;
        Ok(Self { child, nested })
    }

    /// The child process, for its output.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The host's id of the program itself; None once it has ended.
    pub fn pid(&self) -> Option<i32> {
        let pid = i32::try_from(self.child.id()).ok()?;
        if self.nested { procs::children(pid).first().copied() } else { procs::Identity::of(pid).map(|_| pid) }
    }

    /// Sends a signal to the program.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            procs::signal(pid, signal);
        }
    }

    /// Sends a signal, waits for the end and returns what was written.
    pub fn end(mut self, signal: Signal) -> Result<Output> {
        eventually(Duration::from_secs(2), "the program is there or over", || {
            let over = self.child.try_wait().is_ok_and(|status| status.is_some());
            check(over || self.pid().is_some(), "starting")
        })?;
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end and returns what was written.
    pub fn wait(&mut self) -> Result<Output> {
        use std::io::Read;
        let stderr = self.child.stderr.take();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.map(|mut stderr| stderr.read_to_end(&mut bytes)).transpose().map(|_| bytes)
        });
        let mut out = Vec::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_end(&mut out)?;
        }
        let err = reader.join().map_err(|_| anyhow::anyhow!("reader"))??;
        Ok(Output { status: self.child.wait()?, stdout: out, stderr: err })
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        self.signal(Signal::KILL);
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}
