//! Interop: every feature against every daemon as the leaf, with the real agent as the node.
//!
//! A [`features::Feature`] is one function over a [`scene::Scene`]; a [`daemon::Daemon`] hides one daemon's configuration
//! and answers. Truth comes from the daemon's own tables, the node's kernel and the packets between them.

mod capture;
mod daemon;
mod daemons;
mod features;
mod report;
mod scene;
mod tools;
mod vectors;
mod wanted;

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};

use self::daemon::{Kind, Unsupported};
use self::features::{FEATURES, Feature};
use self::report::Cell;
use self::scene::{Means, Scene};
use self::tools::Tools;
use self::vectors::Vectors;
use crate::demo::interrupt::Interrupt;
use crate::{Binaries, netns};

/// Daemons at work at the same time.
const PAIRS: usize = 2;

/// What `interop` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Only features whose name contains this; may be said more than once
    #[arg(long, value_name = "FEATURE")]
    only: Vec<String>,
    /// Only these daemons
    #[arg(long, value_name = "NAME")]
    daemon: Vec<Kind>,
    /// The document [default: docs/interop.md; none where features or daemons are left out]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Where daemons that Debian does not have are kept
    #[arg(long, default_value = "target/interop", value_name = "FOLDER")]
    tools: PathBuf,
    /// Also write what the daemons sent, as test data, into this folder
    #[arg(long, value_name = "FOLDER")]
    vectors: Option<PathBuf>,
    /// Say the features and end
    #[arg(long)]
    list: bool,
}

/// Runs the features. The exit code is a success only if none failed.
pub fn run(options: &Options) -> Result<ExitCode> {
    let start = Instant::now();
    let chosen = |feature: &&Feature| {
        options.only.is_empty() || options.only.iter().any(|part| feature.id.contains(part.as_str()))
    };
    let features: Vec<&Feature> = FEATURES.iter().filter(chosen).collect();
    if features.is_empty() {
        return Err(anyhow!("no feature's name contains {:?}; `--list` shows them", options.only));
    }
    if options.list {
        let lines: Vec<String> = features.iter().map(|f| format!("{:<25} {}\n", f.id, f.what)).collect();
        let _written = std::io::stdout().write_all(lines.concat().as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let kinds = if options.daemon.is_empty() { Kind::ALL.to_vec() } else { options.daemon.clone() };
    let binaries = Binaries::find()?;
    let petiole = binaries.agent.clone().ok_or_else(|| anyhow!("no agent: build it, or set PETIOLE_BIN"))?;
    let tools = std::path::absolute(&options.tools)?;
    let means = Means { binaries, petiole, tools: Tools::new(&tools), interrupt: Interrupt::listen()? };
    sweep()?;

    let queue: Mutex<VecDeque<Kind>> = Mutex::new(kinds.iter().copied().collect());
    let results = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..PAIRS {
            scope.spawn(|| {
                while let Some(kind) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) {
                    for (feature, cell) in one_daemon(kind, &features, &means, options.vectors.as_deref()) {
                        if let Ok(mut results) = results.lock() {
                            results.insert((feature, kind), cell);
                        }
                    }
                }
            });
        }
    });
    means.interrupt.check()?;
    let results = results.into_inner().map_err(|_| anyhow!("a daemon's thread panicked"))?;
    let run = report::Run {
        features: &features,
        kinds: &kinds,
        results: &results,
        tools: &means.tools,
        took: start.elapsed(),
    };
    let _written = std::io::stdout().write_all(report::table(&run).as_bytes());
    let whole = options.only.is_empty() && options.daemon.is_empty();
    if let Some(path) = options.out.clone().or_else(|| whole.then(|| PathBuf::from("docs/interop.md"))) {
        fs::write(&path, report::document(&run)).with_context(|| path.display().to_string())?;
        println!("\nwrote {}", path.display());
    }
    let failed = results.values().any(|cell| matches!(cell, Cell::Fail(_)));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn one_daemon(kind: Kind, features: &[&Feature], means: &Means, folder: Option<&Path>) -> Vec<(&'static str, Cell)> {
    if let Err(error) = means.tools.prepare(kind) {
        let why = format!("not installed: {error:#}");
        eprintln!("{:<9} {why}", kind.id());
        return features.iter().map(|feature| (feature.id, Cell::Absent(why.clone()))).collect();
    }
    let mut cells = Vec::new();
    let mut vectors = Vectors::default();
    for feature in features {
        if means.interrupt.check().is_err() {
            break;
        }
        let start = Instant::now();
        let cell = one_cell(kind, feature, means, &mut vectors);
        let (word, why) = cell.words();
        eprintln!("{:<9} {:<25} {word:<14} {:>5.1} s {why}", kind.id(), feature.id, start.elapsed().as_secs_f64());
        cells.push((feature.id, cell));
    }
    if let Some(error) = folder.and_then(|folder| vectors.write(kind, &means.tools, folder).err()) {
        eprintln!("{:<9} no vectors: {error:#}", kind.id());
    }
    cells
}

fn one_cell(kind: Kind, feature: &Feature, means: &Means, vectors: &mut Vectors) -> Cell {
    let mut scene = match Scene::new(kind, means) {
        Ok(scene) => scene,
        Err(error) => return Cell::Fail(format!("no scene: {error:#}")),
    };
    let result = (feature.check)(&mut scene);
    vectors.take(&scene.messages());
    match result {
        Ok(()) => Cell::Pass(scene.notes.join("; ")),
        Err(error) => match error.downcast_ref::<Unsupported>() {
            Some(Unsupported(fact)) => Cell::Unsupported(fact.clone()),
            None => {
                if std::env::var_os("INTEROP_LOGS").is_some() {
                    eprintln!("{}", scene.logs());
                }
                Cell::Fail(format!("{error:#}"))
            }
        },
    }
}

/// Takes away the namespaces of runs that were killed.
fn sweep() -> Result<()> {
    let Ok(entries) = fs::read_dir("/run/netns") else { return Ok(()) };
    for name in entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name.strip_prefix(scene::PREFIX).and_then(|rest| rest.rsplit('-').nth(1)?.parse::<i32>().ok());
        if let Some(pid) = owner.filter(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            eprintln!("removing {name}, left by process {pid}");
            let mut inside = crate::procs::Belonging::default();
            inside.or_in(&netns::path(&name));
            inside.kill(std::time::Duration::from_secs(5))?;
            netns::remove(&name)?;
        }
    }
    Ok(())
}
