//! `cargo xtask mutants guard`: the export guard is weakened, one way after the other, and its tests must notice each.
//!
//! The sources are copied, so that a run that is broken off leaves nothing behind in them. Takes a build a mutation, which is why
//! it is no part of `cargo xtask test`; that the texts of the mutations are still those of the guard is.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::artifacts;

/// One way to weaken the guard.
struct Mutant {
    /// What no longer holds.
    what: &'static str,
    /// File, text, and what stands there instead; all of them together.
    changes: &'static [(&'static str, &'static str, &'static str)],
}

const GUARD: &str = "bgp/src/guard.rs";

/// The tests that must notice: the guard's own, and those of the last step before a connection.
const TESTS: [&str; 3] = ["guard::", "nothing_foreign", "what_the_wire_announces"];

const MUTANTS: &[Mutant] = &[
    Mutant {
        what: "a proof covers any prefix",
        changes: &[(GUARD, "    if prefix != proven {\n", "    if false {\n")],
    },
    Mutant {
        what: "an address is borrowed from any block",
        changes: &[(GUARD, "&& !block.contains_addr(*address)", "&& block.contains_addr(*address)")],
    },
    Mutant {
        what: "the default route is announced",
        changes: &[(GUARD, "    if prefix.is_default() {\n", "    if false {\n")],
    },
    Mutant {
        what: "what is not routable is announced",
        changes: &[(GUARD, "    if wire::is_martian(&prefix) {\n", "    if false {\n")],
    },
    Mutant {
        what: "what is announced is built without a look at its proof",
        changes: &[(GUARD, "        verify(prefix, &proof)?;\n", "")],
    },
    Mutant {
        what: "only the first message is read back",
        changes: &[(GUARD, "        rest = tail;\n", "        let _ = tail;\n        rest = &[];\n")],
    },
    Mutant {
        what: "UPDATEs are not read back",
        changes: &[(GUARD, "        if kind == MessageType::Update as u8 {\n", "        if kind != kind {\n")],
    },
    Mutant {
        what: "the classic field is not read back",
        changes: &[(GUARD, "    check_nlri(Family::V4, nlri, originated)?;\n", "    let _ = nlri;\n")],
    },
    Mutant {
        what: "MP_REACH_NLRI is not read back",
        changes: &[(GUARD, "        if *code == wire::code::MP_REACH_NLRI {\n", "        if *code == 0 {\n")],
    },
    Mutant {
        what: "long attributes are read with a short length",
        changes: &[(
            GUARD,
            "        let (value, next) = if flags & 0x10 != 0 {\n",
            "        let (value, next) = if flags & 0x10 == 0xff {\n",
        )],
    },
    Mutant {
        what: "what is left behind the attributes passes",
        changes: &[(GUARD, "if attributes.is_empty() { Ok(()) } else { Err(cut(\"an attribute\")) }", "Ok(())")],
    },
    Mutant {
        what: "families that are not ours pass",
        changes: &[(
            GUARD,
            "return Err(GuardError::Unreadable(format!(\"{afi:?} {safi:?} is not ours to announce\")))",
            "{ let _ = (afi, safi); return Ok(()) }",
        )],
    },
    Mutant {
        what: "prefixes with host bits pass as what they would be without",
        changes: &[(GUARD, "let prefix = Prefix::new(addr, *len)", "let prefix = Prefix::truncated(addr, *len)")],
    },
    Mutant {
        what: "prefixes that are not in the set pass",
        changes: &[(
            GUARD,
            "let ours = originated.get(&prefix).ok_or(GuardError::NotOriginated { prefix })?;",
            "let Some(ours) = originated.get(&prefix) else { continue };",
        )],
    },
    Mutant {
        what: "a set that lies about itself is believed",
        changes: &[
            (GUARD, "        if ours.prefix != prefix {\n", "        if false {\n"),
            (GUARD, "        verify(prefix, &ours.proof)?;\n", ""),
        ],
    },
    Mutant {
        what: "nothing is held against the guard before it leaves",
        changes: &[(
            "bgp/src/speaker/outbound.rs",
            "guard::check(&bytes, &self.originated)",
            "guard::check(&[], &self.originated)",
        )],
    },
];

/// Weaken, test, and say which weakness nobody noticed.
///
/// # Errors
/// A mutation survives, or cannot be made.
pub(crate) fn run(what: &str) -> Result<ExitCode> {
    let (root, target) = (artifacts::root(), artifacts::target_dir()?.join("mutants"));
    if what != "guard" {
        bail!("there are mutations of `guard` only: cargo xtask mutants guard");
    }
    let copy = target.join("tree");
    let mut survivors = Vec::new();
    for mutant in MUTANTS {
        copy_sources(root, &copy)?;
        for (file, from, to) in mutant.changes {
            let path = copy.join(file);
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            fs::write(&path, mutated(&text, from, to, file)?)?;
        }
        let noticed = !test(&copy, &target.join("build"))?;
        println!("{}: {}", if noticed { "noticed " } else { "SURVIVED" }, mutant.what);
        if !noticed {
            survivors.push(mutant.what);
        }
    }
    if survivors.is_empty() {
        println!("{} mutations, every one noticed", MUTANTS.len());
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

/// Whether the tests pass. A mutation that does not compile is a mistake in it.
fn test(copy: &Path, build: &Path) -> Result<bool> {
    let cargo = |arguments: &[&str]| {
        artifacts::cargo()?
            .args(arguments)
            .current_dir(copy)
            .env("CARGO_TARGET_DIR", build)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("cannot run cargo")
    };
    let package = ["test", "-q", "-p", "petiole-bgp", "--lib"];
    if !cargo(&[&package[..], &["--no-run"]].concat())?.success() {
        bail!("a mutation does not compile: see `cd {} && cargo test -p petiole-bgp --no-run`", copy.display());
    }
    Ok(cargo(&[&package[..], &["--"], &TESTS[..]].concat())?.success())
}

#[cfg(test)]
mod tests;
