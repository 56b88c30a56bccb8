//! Bad input, from outside: what a person sees, and that nothing is lost by it. The configuration's exact words are tested
//! with the configuration, what keeps an agent from starting with the agent.

#[path = "bad_input/alone.rs"]
mod alone;
#[path = "bad_input/in_fabric.rs"]
mod in_fabric;
#[path = "bad_input/stores.rs"]
mod stores;

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::{Binaries, Netns, Signal, Spawned, check, eventually};
use serde_json::Value;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(30);

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: needs root for network namespaces");
    }
    root
}

fn petiole() -> Result<String> {
    let path = Binaries::find()?.agent.context("no agent: cargo build -p petiole, or set PETIOLE_BIN")?;
    Ok(path.display().to_string())
}

/// An agent in a bare namespace, with a folder of its own.
struct Place {
    folder: TempDir,
    netns: Netns,
    petiole: String,
}

impl Place {
    fn new(config: &str) -> Result<Self> {
        let place = Self { folder: TempDir::new()?, netns: Netns::bare("bad-input")?, petiole: petiole()? };
        place.configure(config)?;
        Ok(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The configuration, with folders of this place.
    fn configure(&self, config: &str) -> Result<()> {
        let folder = self.folder.path().display();
        let paths = format!("\n[paths]\nstate = \"{folder}/state\"\nrun = \"{folder}/run\"\n");
        Ok(fs::write(self.path("petiole.toml"), format!("{config}{paths}"))?)
    }

    /// Starts the agent behind these words of shell, which end with what is to run it.
    fn start(&self, before: &str) -> Result<Spawned> {
        let script = format!(
            "{before} exec {} agent --config {1}/petiole.toml >>{1}/log 2>&1",
            self.petiole,
            self.folder.path().display()
        );
        self.netns.spawn(&["unshare", "--mount", "sh", "-ec", &script])
    }

    /// Runs a command of ours to its end, whatever that is.
    fn run(&self, args: &[&str]) -> Result<Output> {
        Ok(self.netns.command(&[&[self.petiole.as_str()], args].concat()).output()?)
    }

    fn status(&self) -> Result<Value> {
        let socket = self.text("run/api.sock");
        let output = self.run(&["status", "--socket", &socket, "-o", "json"])?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Waits until `status` has a problem with all of these words, and returns the status.
    fn problem(&self, words: &[&str]) -> Result<Value> {
        eventually(WITHIN, &format!("a problem says {words:?}"), || {
            let status = self.status().map_err(said)?;
            check(has_problem(&status, words), format!("{status:#}\n{}", self.log()))?;
            Ok::<_, String>(status)
        })
    }

    /// Waits until no problem has these words.
    fn solved(&self, words: &[&str]) -> Result<Value> {
        eventually(WITHIN, &format!("no problem says {words:?}"), || {
            let status = self.status().map_err(said)?;
            check(!has_problem(&status, words), format!("{status:#}\n{}", self.log()))?;
            Ok::<_, String>(status)
        })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Ends the agent, which has not panicked.
    fn end(&self, agent: Spawned) -> Result<()> {
        let output = agent.end(Signal::TERM)?;
        ensure!(output.status.success() && !self.log().contains("panicked"), "{:?}\n{}", output.status, self.log());
        Ok(())
    }
}

fn has_problem(status: &Value, words: &[&str]) -> bool {
    let problems = status["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let all = |problem: &Value| problem.as_str().is_some_and(|text| words.iter().all(|word| text.contains(word)));
    problems.iter().any(all)
}

fn said(error: anyhow::Error) -> String {
    format!("{error:#}")
}
