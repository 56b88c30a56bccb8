//! The benches: what the product promises in figures, measured from outside against its targets.

mod arena;
mod bfd;
mod cni;
mod convergence;
mod etcd;
mod keepalive;
mod kubernetes;
mod memory;
mod peer;
mod plot;
mod rib;
mod statistics;
mod strangers;
mod wire;

use std::fmt::Write as _;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};

use self::convergence::{Outcome, Runs};
use self::memory::Resident;
use self::statistics::Target;
use crate::Binaries;

pub use rib::{Counting, receive};

/// What `bench` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Which one [default: every one]
    name: Option<Bench>,
    /// Claims to measure
    #[arg(long, default_value_t = 250, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    claims: u32,
    /// Links to bring up, and agents to start
    #[arg(long, default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Rounds of the two receivers; of the mixed feed a third of it
    #[arg(long, default_value_t = 15, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Pods that `cni` wires one after another; a fifth as many bursts of 16
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=10000))]
    pods: u32,
    /// Rounds of `kubernetes`, of 64 pods with either plugin
    #[arg(long, default_value_t = 9, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    turns: u32,
    /// Nodes beside an idle etcd
    #[arg(long, default_value_t = 1000, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=4000))]
    nodes: u32,
    /// How long BFD is watched
    #[arg(long, default_value_t = 1.0, value_name = "MINUTES", value_parser = minutes)]
    minutes: f64,
    /// Folder for the picture and the figures
    #[arg(long, default_value = "target/bench", value_name = "FOLDER")]
    out: PathBuf,
    /// How the result is printed
    #[arg(short, long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// How soon the leaf knows: after a claim, after a link came up, after a start
    Convergence,
    /// From bytes to routes: processor and memory beside BIRD, 500,000 prefixes from one leaf and from two
    Rib,
    /// How late KEEPALIVEs are while a leaf sends a full table and takes it away again
    Keepalive,
    /// What 10,000 connections a second from strangers and a flood of UPDATEs do to the session beside
    Strangers,
    /// What 1,000 nodes cost one etcd while nothing happens, and after a compaction
    Etcd,
    /// What 1,000 nodes cost one etcd that claim their blocks at once, and what those say that get none
    Claims,
    /// Whether BFD's sessions live through a busy machine: 24 at 3 x 50 ms for some minutes
    Bfd,
    /// What ADD and DEL of a pod take beside Debian's ptp and bridge with host-local, and what etcd and leaf notice of it
    Cni,
    /// What pods of a cluster take to be Ready beside Debian's bridge with host-local: only where it is named
    Kubernetes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

/// Measures, prints, and writes the pictures. The exit code is a success only if every target is met.
pub fn run(options: &Options) -> Result<ExitCode> {
    fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let mut passed = true;
    if matches!(options.name, None | Some(Bench::Bfd)) {
        passed &= run_bfd(options)?;
    }
    if matches!(options.name, None | Some(Bench::Convergence)) {
        passed &= run_convergence(options)?;
    }
    if matches!(options.name, None | Some(Bench::Rib)) {
        passed &= run_rib(options)?;
    }
    if matches!(options.name, None | Some(Bench::Keepalive)) {
        passed &= run_keepalive(options)?;
    }
    if matches!(options.name, None | Some(Bench::Strangers)) {
        passed &= run_strangers(options)?;
    }
    if matches!(options.name, None | Some(Bench::Cni)) {
        passed &= run_cni(options)?;
    }
    if matches!(options.name, Some(Bench::Kubernetes)) {
        passed &= run_kubernetes(options)?;
    }
    if matches!(options.name, None | Some(Bench::Claims)) {
        passed &= run_etcd(options, "claims", "Claims on one etcd", etcd::claims)?;
    }
    if matches!(options.name, None | Some(Bench::Etcd)) {
        let nodes = usize::try_from(options.nodes)?;
        passed &= run_etcd(options, "etcd", "Nodes beside one etcd", |tell| etcd::idle(nodes, tell))?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Shows progress in one line of a terminal.
fn tell(text: &str) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{text}");
        let _shown = std::io::stderr().flush();
    }
}

fn run_convergence(options: &Options) -> Result<bool> {
    let binaries = Binaries::find()?;
    let petiole = binaries.agent.clone().ok_or_else(|| anyhow!("no agent: build it, or set PETIOLE_BIN"))?;
    let machine = machine();
    let runs = Runs { claims: options.claims, links: options.runs, starts: options.runs };
    let outcome = convergence::run(&petiole, runs, &tell)?;
    tell("memory in the reference fabric");
    let resident = memory::in_the_fabric(&binaries)?;
    tell("");
    let picture = plot::svg(&format!("Petiole, convergence ({machine})"), &outcome.measures);
    let document = document(&machine, &outcome, &resident);
    publish(options, "convergence", &document, &table(&machine, &outcome, &resident), &picture)?;
    Ok(outcome.measures.iter().all(|measure| measure.passed() != Some(false)))
}

fn run_rib(options: &Options) -> Result<bool> {
    let machine = machine();
    let outcome = rib::run(options.rounds, &tell)?;
    tell("");
    let picture = rib::svg(&format!("Petiole : BIRD, from bytes to routes ({machine})"), &rib::ratios(&outcome));
    let text = format!("{}\n{}", rib::table(&machine, &outcome), wrapped(rib::METHOD, 100));
    publish(options, "rib", &rib::document(&machine, &outcome), &text, &picture)?;
    Ok(rib::passed(&outcome))
}

fn run_keepalive(options: &Options) -> Result<bool> {
    let petiole = Binaries::find()?.agent.ok_or_else(|| anyhow!("no agent: build it, or set PETIOLE_BIN"))?;
    let machine = machine();
    let (passed, table, document) = keepalive::run(&petiole, &tell)?;
    tell("");
    let document = json!({ "machine": machine, "result": document });
    publish_figures(options, "keepalive", &document, &format!("KEEPALIVEs under load on {machine}\n\n{table}"))?;
    Ok(passed)
}

fn run_strangers(options: &Options) -> Result<bool> {
    let petiole = Binaries::find()?.agent.ok_or_else(|| anyhow!("no agent: build it, or set PETIOLE_BIN"))?;
    let machine = machine();
    let (passed, table, document) = strangers::run(&petiole, &tell)?;
    tell("");
    let document = json!({ "machine": machine, "result": document });
    publish_figures(options, "strangers", &document, &format!("Strangers and floods on {machine}\n\n{table}"))?;
    Ok(passed)
}

fn run_cni(options: &Options) -> Result<bool> {
    let petiole = Binaries::find()?.agent.ok_or_else(|| anyhow!("no agent: build it, or set PETIOLE_BIN"))?;
    let machine = machine();
    let outcome = cni::run(&petiole, options.pods, &tell)?;
    tell("");
    let picture = plot::svg(&format!("ADD and DEL of pods ({machine})"), &cni::measures(&outcome));
    let text = format!("{}\n{}", cni::table(&machine, &outcome), wrapped(cni::METHOD, 100));
    publish(options, "cni", &cni::document(&machine, &outcome), &text, &picture)?;
    Ok(cni::passed(&outcome))
}

fn run_kubernetes(options: &Options) -> Result<bool> {
    let machine = machine();
    let outcome = kubernetes::run(options.turns, &tell)?;
    tell("");
    let table = format!("{}\n{}", kubernetes::table(&machine, &outcome), wrapped(kubernetes::METHOD, 100));
    publish_figures(options, "kubernetes", &kubernetes::document(&machine, &outcome), &table)?;
    Ok(outcome.passed())
}

fn run_etcd(
    options: &Options,
    name: &str,
    title: &str,
    run: impl FnOnce(&dyn Fn(&str)) -> Result<(bool, String, Value)>,
) -> Result<bool> {
    let machine = machine();
    let (passed, table, document) = run(&tell)?;
    tell("");
    let document = json!({ "machine": machine, "result": document });
    publish_figures(options, name, &document, &format!("{title} on {machine}\n\n{table}"))?;
    Ok(passed)
}

/// Writes figures and picture beside each other, and prints what was asked for.
fn publish(options: &Options, name: &str, document: &Value, table: &str, picture: &str) -> Result<()> {
    let path = options.out.join(format!("{name}.svg"));
    fs::write(&path, picture)?;
    publish_figures(options, name, document, &format!("{table}\nPicture: {}\n", path.display()))
}

fn publish_figures(options: &Options, name: &str, document: &Value, table: &str) -> Result<()> {
    fs::write(options.out.join(format!("{name}.json")), serde_json::to_vec_pretty(document)?)?;
    let text = match options.output {
        Format::Json => serde_json::to_string_pretty(document)? + "\n",
        Format::Table => table.to_owned(),
    };
    let _written = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.05..=1440.0).contains(minutes));
    minutes.ok_or_else(|| "a number of minutes from 0.05 to 1440, such as 10 or 0.5".to_owned())
}

fn run_bfd(options: &Options) -> Result<bool> {
    let petiole = Binaries::find()?.agent.ok_or_else(|| anyhow!("no agent: build it, or set PETIOLE_BIN"))?;
    let machine = machine();
    let soak = bfd::run(&petiole, Duration::from_secs_f64(options.minutes * 60.0), &tell)?;
    tell("");
    let document = soak.json(&machine);
    fs::write(options.out.join("bfd.json"), serde_json::to_vec_pretty(&document)?)?;
    let text = match options.output {
        Format::Json => serde_json::to_string_pretty(&document)? + "\n",
        Format::Table => soak.table(&machine),
    };
    let _written = std::io::stdout().write_all(text.as_bytes());
    Ok(soak.passed())
}

/// What it ran on: processors, kernel, and how busy it was already.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let name = rustix::system::uname();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let (system, release, arch) = (name.sysname(), name.release(), name.machine());
    format!(
        "{cores} cores, {} {} {}, load {load}",
        system.to_string_lossy(),
        release.to_string_lossy(),
        arch.to_string_lossy()
    )
}

fn shown_target(target: Option<Target>) -> String {
    match target {
        Some(Target::P99(limit)) => format!("p99 < {limit}"),
        Some(Target::Max(limit)) => format!("max < {limit}"),
        None => "-".to_owned(),
    }
}

fn table(machine: &str, outcome: &Outcome, resident: &[Resident]) -> String {
    let mut text = format!("convergence on {machine}; milliseconds\n\n");
    let head = ("WHAT", "RUNS", "TARGET", "MEDIAN", "P99", "MAX");
    let _ = writeln!(text, "{:<50} {:>5} {:>11} {:>8} {:>8} {:>8}", head.0, head.1, head.2, head.3, head.4, head.5);
    for measure in &outcome.measures {
        let series = &measure.series;
        let verdict = match measure.passed() {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "",
        };
        let line = format!(
            "{:<50} {:>5} {:>11} {:>8.2} {:>8.2} {:>8.2}  {verdict}",
            measure.what,
            series.values().len(),
            shown_target(measure.target),
            series.quantile(0.5),
            series.quantile(0.99),
            series.max()
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let _ =
        writeln!(text, "\nResident memory: {} after these runs; in the reference fabric:", mebibytes(outcome.resident));
    let nodes: Vec<String> = resident.iter().map(|node| format!("{} {}", node.name, mebibytes(node.bytes))).collect();
    for line in nodes.chunks(5) {
        let _ = writeln!(text, "  {}", line.join(", "));
    }
    text.push('\n');
    text.push_str(&wrapped(convergence::METHOD, 100));
    text
}

fn mebibytes(bytes: u64) -> String {
    let value = bytes as f64 / 1_048_576.0;
    format!("{value:.1} MiB")
}

/// Breaks a text into lines of at most so many columns.
fn wrapped(text: &str, columns: usize) -> String {
    let mut lines = String::new();
    let mut line = 0;
    for word in text.split_ascii_whitespace() {
        let wide = word.chars().count();
        let gap = match line {
            0 => "",
            used if used + 1 + wide > columns => "\n",
            _ => " ",
        };
        line = if gap == " " { line + 1 + wide } else { wide };
        lines.push_str(gap);
        lines.push_str(word);
    }
    lines.push('\n');
    lines
}

fn document(machine: &str, outcome: &Outcome, resident: &[Resident]) -> Value {
    let measures: Vec<Value> = outcome
        .measures
        .iter()
        .map(|measure| {
            let series = &measure.series;
            json!({
                "what": measure.what,
                "unit": "ms",
                "target": measure.target,
                "runs": series.values().len(),
                "median": series.quantile(0.5),
                "p99": series.quantile(0.99),
                "max": series.max(),
                "passed": measure.passed(),
                "samples": series,
            })
        })
        .collect();
    json!({
        "bench": "convergence",
        "machine": machine,
        "method": convergence::METHOD,
        "measures": measures,
        "resident_bytes": { "bench": outcome.resident, "fabric": resident },
    })
}

#[cfg(test)]
mod tests;
