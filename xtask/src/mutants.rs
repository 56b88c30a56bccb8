//! `cargo xtask mutants guard` (or `ipam`): a part is weakened, one way after the other, and its tests must notice each.
//!
//! The sources are copied, so that a run that is broken off leaves nothing behind in them. Takes a build a mutation, which is why
//! it is no part of `cargo xtask test`; that the texts of the mutations are still those of the sources is.

mod guard;
mod ipam;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::artifacts;

/// For how long a build may go on, and the tests.
const PATIENCE: [Duration; 2] = [Duration::from_secs(900), Duration::from_secs(180)];

/// One way to weaken it.
struct Mutant {
    /// What no longer holds.
    what: &'static str,
    /// File, text, and what stands there instead; all of them together.
    changes: &'static [(&'static str, &'static str, &'static str)],
}

/// A part of the product that is weakened, and who must notice.
struct Set {
    name: &'static str,
    package: &'static str,
    /// Filters for the names of tests; all of the package's where there are none.
    tests: &'static [&'static str],
    mutants: &'static [Mutant],
}

const SETS: [Set; 2] = [
    Set { name: "guard", package: "petiole-bgp", tests: guard::TESTS, mutants: guard::MUTANTS },
    Set { name: "ipam", package: "petiole-ipam", tests: ipam::TESTS, mutants: ipam::MUTANTS },
];

/// Weaken, test, and say which weakness nobody noticed.
///
/// # Errors
/// A mutation survives, or cannot be made.
pub(crate) fn run(what: &str) -> Result<ExitCode> {
    let (root, target) = (artifacts::root(), artifacts::target_dir()?.join("mutants"));
    let Some(set) = SETS.iter().find(|set| set.name == what) else {
        bail!("there are mutations of {}: cargo xtask mutants guard", SETS.map(|set| set.name).join(" and "));
    };
    let copy = target.join("tree");
    let mut survivors = Vec::new();
    for mutant in set.mutants {
        copy_sources(root, &copy)?;
        for (file, from, to) in mutant.changes {
            let path = copy.join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            fs::write(&path, mutated(&text, from, to, file)?)?;
        }
        let noticed = !test(set, &copy, &target.join("build"))?;
        println!("{}: {}", if noticed { "noticed " } else { "SURVIVED" }, mutant.what);
        if !noticed {
            survivors.push(mutant.what);
        }
    }
    if survivors.is_empty() {
        println!("{} mutations, every one noticed", set.mutants.len());
        return Ok(ExitCode::SUCCESS);
    }
    bail!("no test notices that {}", survivors.join("; nor that "))
}

/// The text with one place changed.
fn mutated(text: &str, from: &str, to: &str, file: &str) -> Result<String> {
    match text.matches(from).count() {
        1 => Ok(text.replacen(from, to, 1)),
        n => bail!(
            "{file} has {n} times {from:?}, which a mutation wants to change once: bring xtask/src/mutants.rs up to date"
        ),
    }
}

/// The tracked files, and those that are new, as they are now.
fn copy_sources(root: &Path, copy: &Path) -> Result<()> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    for name in String::from_utf8_lossy(&listed.stdout).split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), copy.join(name));
        let Ok(new) = fs::read(&from) else { continue };
        // What is unchanged keeps its time, so that only what a mutation touched is built again.
        if fs::read(&to).is_ok_and(|old| old == new) {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, new).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

/// Whether the tests pass. A mutation that does not compile is a mistake in it; one that makes them go on for ever is noticed.
fn test(set: &Set, copy: &Path, build: &Path) -> Result<bool> {
    let run = |patience: Duration, arguments: &[&str]| {
        let cargo = artifacts::cargo()?;
        // Ends what cargo started, too.
        Command::new("timeout")
            .arg(patience.as_secs().to_string())
            .arg(cargo.get_program())
            .args(arguments)
            .current_dir(copy)
            .envs(cargo.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("CARGO_TARGET_DIR", build)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot run cargo")
    };
    let [build_within, tests_within] = PATIENCE;
    let package = ["test", "-q", "-p", set.package, "--lib"];
    if !run(build_within, &[&package[..], &["--no-run"]].concat())?.success() {
        bail!("a mutation does not compile: see `cd {} && cargo test -p {} --no-run`", copy.display(), set.package);
    }
    Ok(run(tests_within, &[&package[..], &["--"], set.tests].concat())?.success())
}

#[cfg(test)]
mod tests;
