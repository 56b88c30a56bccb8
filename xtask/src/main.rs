//! The developer's commands: `cargo xtask demo`, `test`, `check`, `lab`, `image`, `bench`, `interop`, `churn`, `fuzz`, `mutants`.
//!
//! It links nothing of ours: it installs what the machine lacks, builds, then runs the built binaries, so that it starts
//! on a machine where nothing else builds yet (the etcd client needs `protoc` before its build script runs).

mod artifacts;
mod check;
mod clean;
mod forward;
mod fuzz;
mod image;
mod kubernetes;
mod mutants;
mod packages;
mod product;
mod report;
mod run;
mod simulate;
mod suite;
mod terminal;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// The developer's commands of Petiole.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Examples:
  cargo xtask demo                           the reference fabric on one screen, then gone
  cargo xtask demo --keep                    the same, left running
  cargo xtask demo --kubernetes              a cluster on it, and what users do with it
  cargo xtask test                           every check and every test of the project
  cargo xtask test collision                 only the tests whose name contains `collision`
  cargo xtask lab up                         bring containerlab/clos.clab.yml up
  cargo xtask lab exec leaf1 -- vtysh -c 'show bgp summary'
  cargo xtask lab down                       take it down again

What a command needs from Debian is installed first, as root; a second run installs nothing."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the reference fabric up and show on one screen what it does; exit 0 only if all of it was observed
    #[command(after_help = "Examples:
  cargo xtask demo
  cargo xtask demo --keep           leave it running and say what to try next
  cargo xtask demo --kubernetes     a cluster of Kubernetes on the fabric, built with Go 1.26")]
    Demo(Forward),
    /// Run every check and every test of the project: format, lints, unit, property, lab
    #[command(after_help = "Examples:
  cargo xtask test                  everything; what CI runs
  cargo xtask test hold_timer       only the tests whose name contains `hold_timer`, without the checks")]
    Test {
        /// Run only the tests whose name contains this text, and skip the checks
        filter: Option<String>,
    },
    /// Check format, lints, documentation and dependencies; run no test
    #[command(after_help = "Example:\n  cargo xtask check && cargo xtask test")]
    Check,
    /// Run a topology of containerlab/ in network namespaces
    #[command(
        subcommand,
        after_help = "Examples:
  cargo xtask lab up                                      containerlab/clos.clab.yml
  cargo xtask lab up containerlab/clos.clab.yml --name b  a second one beside it
  cargo xtask lab status
  cargo xtask lab exec spine1 -- vtysh -c 'show bgp ipv4 unicast'
  cargo xtask lab down --name b
  cargo xtask lab image"
    )]
    Lab(LabCommand),
    /// Build the product's own image, as an archive that Docker, podman and containerd load
    #[command(after_help = "Examples:
  cargo xtask image                      into target/image/petiole.tar
  cargo xtask image --tar petiole.tar && podman load --input petiole.tar")]
    Image {
        /// Where to write the archive
        #[arg(long, value_name = "FILE")]
        tar: Option<PathBuf>,
        /// Take the static programs petiole and petiole-cni from this folder instead of building them
        #[arg(long, value_name = "FOLDER")]
        programs: Option<PathBuf>,
    },
    /// Measure: times, ratios and memory, each against its goal
    #[command(
        after_help = "Examples:\n  cargo xtask bench                  every bench\n  cargo xtask bench convergence\n  cargo xtask bench rib              beside BIRD\n  cargo xtask bench bfd --minutes 10 on a busy machine\n  cargo xtask bench strangers        10,000 connections a second, and a flood of UPDATEs\n  cargo xtask bench cni              pods, beside Debian's ptp and bridge\n  cargo xtask bench kubernetes       pods of a cluster until Ready, beside Debian's bridge"
    )]
    Bench(Forward),
    /// Run every feature against FRR, BIRD, GoBGP, OpenBGPD and ExaBGP as the leaf, and write docs/interop.md
    #[command(after_help = "Examples:
  cargo xtask interop                                    everything, in about ten minutes
  cargo xtask interop --only collision --daemon bird     one cell
  cargo xtask interop --list                             the features")]
    Interop(Forward),
    /// Churn pods on three members of etcd and eight agents while all of them are killed, paused and partitioned
    #[command(after_help = "Examples:
  cargo xtask churn                            twenty minutes, and what heals after them
  cargo xtask churn --minutes 2 --seed 7       shorter, with the faults of another run")]
    Churn(Forward),
    /// Build Kubernetes' own programs, and run the lab tests of a cluster
    #[command(
        subcommand,
        after_help = "Examples:
  cargo xtask kubernetes build     into target/kubernetes: minutes once, then nothing
  cargo xtask kubernetes test      the tests that bring up a cluster, without the others
  cargo xtask kubernetes test --long     the same, with ten minutes of everything being away, and 500 pods
  cargo xtask lab up kubernetes    the same cluster, left running"
    )]
    Kubernetes(KubernetesCommand),
    /// Let two speakers, and clusters of allocators, meet under faults drawn from many seeds, in virtual time
    #[command(after_help = "Examples:
  cargo xtask simulate --seeds 100000                  everything
  cargo xtask simulate ipam --kind nodes               allocators on nodes that are all ours
  cargo xtask simulate ipam --first 85 --seeds 1       one seed again")]
    Simulate(simulate::Simulate),
    /// Weaken the export guard or the allocator in every way, one after the other, and see the tests notice
    #[command(
        after_help = "Examples:\n  cargo xtask mutants guard     a build each, so some minutes; no part of `cargo xtask test`\n  cargo xtask mutants ipam"
    )]
    Mutants {
        /// What to weaken: `guard` or `ipam`
        what: String,
    },
    /// Fuzz one target of the folder fuzz, on the stable toolchain
    #[command(after_help = "Examples:
  cargo xtask fuzz bgp_update                 until a finding, or Ctrl-C
  cargo xtask fuzz bgp_session --minutes 30
  cargo xtask fuzz bgp_session --minimise     keep in fuzz/corpus what covers most with least")]
    Fuzz {
        /// The target's name: a file of fuzz/fuzz_targets without its `.rs`
        target: String,
        /// Stop after so many minutes
        #[arg(long)]
        minutes: Option<u64>,
        /// Run nothing: shrink what was found, and put it in fuzz/corpus
        #[arg(long, conflicts_with = "minutes")]
        minimise: bool,
    },
}

#[derive(Subcommand)]
enum KubernetesCommand {
    /// Build the programs where they are not there, and say where they are
    Build,
    /// Run the lab tests of a cluster
    Test {
        /// Run only the tests whose name contains this text
        filter: Option<String>,
        /// Take minutes where `cargo xtask test` takes seconds: API and etcd away for ten, 500 pods made and deleted
        #[arg(long)]
        long: bool,
    },
}

#[derive(Subcommand)]
enum LabCommand {
    /// Bring a topology up: `lab up [TOPOLOGY] [--name N]`
    Up(Forward),
    /// Take it down, whatever is left of it: `lab down [TOPOLOGY] [--name N]`
    Down(Forward),
    /// Run a command in a node: `lab exec NODE -- COMMAND...`
    Exec(Forward),
    /// Say which nodes and processes run: `lab status [TOPOLOGY] [--name N]`
    Status(Forward),
    /// Build petiole-lab:latest, the image that containerlab needs, from what is installed here
    #[command(after_help = "Examples:
  cargo xtask lab image                  into the Docker engine that answers
  cargo xtask lab image --tar lab.tar    into a file, for an engine elsewhere")]
    Image {
        /// A topology; refused if it names an image other than petiole-lab:latest
        topology: Option<PathBuf>,
        /// Write a tar file for `docker import` instead
        #[arg(long, value_name = "FILE")]
        tar: Option<PathBuf>,
    },
}

/// Words handed to `petiole-lab` as they are; it documents them (`--help` is handed on as well).
#[derive(Args)]
#[command(disable_help_flag = true)]
struct Forward {
    /// Handed to petiole-lab unchanged; `--help` lists what it takes
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{} {error:#}", terminal::err().bad("error:"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(words) => forward::lab("demo", &words.args),
        Command::Test { filter } => suite::run(filter.as_deref()),
        Command::Check => check::run(),
        Command::Simulate(asked) => simulate::run(&asked),
        Command::Lab(LabCommand::Up(words)) => forward::lab("up", &words.args),
        Command::Lab(LabCommand::Down(words)) => forward::lab("down", &words.args),
        Command::Lab(LabCommand::Exec(words)) => forward::lab("exec", &words.args),
        Command::Lab(LabCommand::Status(words)) => forward::lab("status", &words.args),
        Command::Lab(LabCommand::Image { topology, tar }) => image::build(topology.as_deref(), tar.as_deref()),
        Command::Image { tar, programs } => product::build(tar.as_deref(), programs.as_deref()),
        Command::Bench(words) => forward::lab("bench", &words.args),
        Command::Interop(words) => forward::lab("interop", &words.args),
        Command::Churn(words) => forward::lab("churn", &words.args),
        Command::Kubernetes(KubernetesCommand::Build) => kubernetes::build(),
        Command::Kubernetes(KubernetesCommand::Test { filter, long }) => kubernetes::test(filter.as_deref(), long),
        Command::Mutants { what } => mutants::run(&what),
        Command::Fuzz { target, minutes, minimise } => fuzz::run(&target, minutes, minimise),
    }
}
