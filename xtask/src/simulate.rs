//! `cargo xtask simulate`: two speakers, and clusters of allocators, in virtual time, with far more seeds than an ordinary test run tries.

use std::process::ExitCode;

use anyhow::Result;

use crate::{artifacts, run};

/// Runs the seeds from 0; the first that ends badly is named.
pub(crate) fn run(seeds: u64) -> Result<ExitCode> {
    for (package, what) in [("petiole-bgp", "two speakers"), ("petiole-ipam", "clusters of allocators")] {
        simulate(seeds, package, what)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn simulate(seeds: u64, package: &str, what: &str) -> Result<()> {
    let mut command = artifacts::cargo()?;
    // Read when the test is compiled: a pure crate has no environment.
    command.env("PETIOLE_SEEDS", seeds.to_string());
    command.args(["test", "--release", "--package", package, "--lib", "simulation"]);
    run::must(&mut command, &format!("{seeds} seeds of {what}"))?;
    Ok(())
}
