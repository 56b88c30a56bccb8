//! `cargo xtask simulate`: two speakers, and clusters of allocators, in virtual time, with far more seeds than an ordinary test run tries.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::{artifacts, run};

/// Which seeds of what.
#[derive(Args)]
pub(crate) struct Simulate {
    /// One of the two; both without it
    what: Option<What>,
    /// How many seeds of each kind
    #[arg(long, default_value_t = 100_000)]
    seeds: u64,
    /// The first seed; of the allocators
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// One kind of cluster: nodes that are all ours, or a migration from and to Calico
    #[arg(long)]
    kind: Option<Kind>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    Bgp,
    Ipam,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Nodes,
    Migration,
}

/// Runs the seeds; those that end badly are named.
pub(crate) fn run(asked: &Simulate) -> Result<ExitCode> {
    let seeds = asked.seeds;
    let is_wanted = |what| asked.what.is_none_or(|w| w == what);
    if is_wanted(What::Bgp) && asked.kind.is_none() {
        // Read when the test is compiled: a pure crate has no environment.
        let mut command = artifacts::cargo()?;
        command.env("PETIOLE_SEEDS", seeds.to_string());
        command.args(["test", "--release", "--package", "petiole-bgp", "--lib", "simulation"]);
        run::must(&mut command, &format!("{seeds} seeds of two speakers"))?;
    }
    if is_wanted(What::Ipam) {
        let mut command = artifacts::cargo()?;
        command.env("PETIOLE_SEEDS", seeds.to_string()).env("PETIOLE_FIRST_SEED", asked.first.to_string());
        if let Some(kind) = asked.kind {
            command.env("PETIOLE_KIND", if matches!(kind, Kind::Nodes) { "nodes" } else { "migration" });
        }
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        command.env("PETIOLE_THREADS", threads.to_string());
        command.args(["test", "--profile", "simulate", "--package", "petiole-ipam", "--lib", "simulation"]);
        // One kind after the other, each on all processors.
        command.args(["--", "--nocapture", "--test-threads", "1"]);
        run::must(&mut command, &format!("{seeds} seeds of clusters of allocators"))?;
    }
    Ok(ExitCode::SUCCESS)
}
