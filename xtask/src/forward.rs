//! Handing a command to the lab runner, with the agent it is to run.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow};

use crate::artifacts::{self, Artifacts};
use crate::packages::{self, Need};

/// Where the lab runner and the lab tests find the agent's executable.
pub(crate) const AGENT: &str = "PETIOLE_BIN";
/// Where the lab tests find the lab runner's executable.
pub(crate) const LAB: &str = "PETIOLE_LAB_BIN";

/// Installs, builds, and becomes `petiole-lab VERB WORDS...`, so that signals and the terminal are its own.
pub(crate) fn lab(verb: &str, words: &[OsString]) -> Result<ExitCode> {
    let help = words.iter().any(|word| word == "--help" || word == "-h");
    if help {
        packages::ensure(Need::Build)?;
    } else {
        packages::must_be_root(&format!("`cargo xtask {}{verb}`", if is_own_command(verb) { "" } else { "lab " }))?;
        packages::ensure(Need::Lab)?;
    }
    let built = artifacts::build()?;
    let error = runner(&built).arg(verb).args(words).exec();
    Err(anyhow!(error)).with_context(|| format!("cannot run {}", built.lab.display()))
}

/// The lab runner with its environment, without a verb.
fn runner(built: &Artifacts) -> Command {
    let mut command = Command::new(&built.lab);
    command.env(AGENT, &built.petiole).env(LAB, &built.lab);
    command
}

fn is_own_command(verb: &str) -> bool {
    matches!(verb, "demo" | "bench")
}
