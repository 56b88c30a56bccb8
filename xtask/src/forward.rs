//! Handing a command to the lab runner, with the agent it is to run.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow};

use crate::packages::{self, Need};
use crate::{artifacts, kubernetes};

/// Installs, builds, and becomes `petiole-lab VERB WORDS...`, so that signals and the terminal are its own.
pub(crate) fn lab(verb: &str, words: &[OsString]) -> Result<ExitCode> {
    let help = words.iter().any(|word| word == "--help" || word == "-h");
    if help {
        packages::ensure(Need::Build)?;
    } else {
        packages::must_be_root(&format!("`cargo xtask {}{verb}`", if is_own_command(verb) { "" } else { "lab " }))?;
        packages::ensure(if verb == "interop" { Need::Interop } else { Need::Lab })?;
    }
    let meant = match verb {
        "up" => kubernetes::meant(words),
        "demo" => words.iter().any(|word| word == "--kubernetes"),
        "bench" => words.iter().any(|word| word == "kubernetes"),
        _ => false,
    };
    let cluster = if meant && !help { Some(kubernetes::ensure(kubernetes::Pace::Now)?) } else { None };
    let built = artifacts::build()?;
    if let Some(folder) = &cluster {
        kubernetes::image(folder, &built)?;
    }
    let mut command = Command::new(&built.lab);
    command.arg(verb).args(words).env(artifacts::AGENT, &built.petiole);
    command.envs(cluster.map(|folder| (kubernetes::FOLDER, folder)));
    // The default topology is a path from the root; a topology that was named is a path from here.
    if !words.iter().any(|word| Path::new(word).is_file()) {
        command.current_dir(artifacts::root());
    }
    let error = command.exec();
    Err(anyhow!(error)).with_context(|| format!("cannot run {}", built.lab.display()))
}

fn is_own_command(verb: &str) -> bool {
    matches!(verb, "demo" | "bench" | "interop" | "churn")
}
