//! `cargo xtask simulate`: two speakers in virtual time, with far more seeds than an ordinary test run tries.

use std::process::ExitCode;

use anyhow::Result;

use crate::{artifacts, run};

/// Runs the seeds from 0; the first that ends badly is named.
pub(crate) fn run(seeds: u64) -> Result<ExitCode> {
    let mut command = artifacts::cargo()?;
    // Read when the test is compiled: a pure crate has no environment.
    command.env("PETIOLE_SEEDS", seeds.to_string());
    command.args(["test", "--release", "--package", "petiole-bgp", "--lib", "simulation"]);
    run::must(&mut command, &format!("{seeds} seeds of two speakers"))?;
    Ok(ExitCode::SUCCESS)
}
