//! `cargo xtask fuzz`: the targets of the folder `fuzz`.

mod seeds;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::{artifacts, run};

/// Longest input tried, in octets: a whole message of the usual size, and then some.
const LONGEST: u32 = 6000;

/// Runs one fuzz target, or shrinks its corpus.
pub(crate) fn run(target: &str, minutes: Option<u64>, minimise: bool) -> Result<ExitCode> {
    let folder = artifacts::root().join("fuzz/fuzz_targets");
    let known = targets(&folder)?;
    if !known.iter().any(|name| name == target) {
        bail!("there is no fuzz target {target}; there are: {}", known.join(", "));
    }
    install()?;
    let kept = artifacts::root().join("fuzz/corpus").join(target);
    // What a run finds interesting stays out of the tree until it has been shrunk.
    let found = artifacts::target_dir()?.join("fuzz/corpus").join(target);
    for folder in [&kept, &found] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    seeds::write(target, &found)?;
    let mut command = cargo_fuzz()?;
    // The code is safe Rust: what a sanitizer would look for can't happen, and without one it runs twice as fast.
    command.args(["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none", target]);
    let longest = format!("-max_len={LONGEST}");
    if minimise {
        let smaller = found.with_extension("smaller");
        std::fs::create_dir_all(&smaller).with_context(|| format!("cannot make {}", smaller.display()))?;
        command.args([&smaller, &kept, &found]).args(["--", "-merge=1", "-use_counters=0", &longest]);
        run::must(&mut command, "shrinking the corpus")?;
        replace(&kept, &smaller)?;
        return Ok(ExitCode::SUCCESS);
    }
    command.args([&found, &kept]).args(["--", &longest, "-timeout=10", "-rss_limit_mb=2048"]);
    if let Some(minutes) = minutes {
        command.arg(format!("-max_total_time={}", minutes.saturating_mul(60)));
    }
    run::must(&mut command, "fuzzing (a finding lies in fuzz/artifacts; mend it and keep it in fuzz/corpus)")?;
    Ok(ExitCode::SUCCESS)
}

/// `cargo` for cargo-fuzz: its instrumentation needs switches that stable keeps to itself.
fn cargo_fuzz() -> Result<Command> {
    let mut command = artifacts::cargo()?;
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", artifacts::target_dir()?.join("fuzz"));
    Ok(command)
}

/// Installs cargo-fuzz where it is missing.
fn install() -> Result<()> {
    if run::stdout(artifacts::cargo()?.args(["fuzz", "--version"])).is_ok() {
        return Ok(());
    }
    println!("cargo-fuzz is not installed; installing it with `cargo install cargo-fuzz`, once, in about a minute");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["install", "cargo-fuzz", "--locked"]);
    run::must(&mut command, "installing cargo-fuzz")
}

/// Puts the files of one folder in the place of those of another.
fn replace(old: &Path, new: &Path) -> Result<()> {
    let failed = || format!("cannot replace {} by {}", old.display(), new.display());
    std::fs::remove_dir_all(old).with_context(failed)?;
    std::fs::rename(new, old).with_context(failed)
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let name = |path: PathBuf| Some(path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| name(entry.path())).collect();
    names.sort();
    Ok(names)
}
