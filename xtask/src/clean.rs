//! Whether the tests left something behind: a process of theirs, or a network namespace that nobody lives in.
//!
//! Another lab may run on the same machine, so what is found must be provably the tests' own: their processes carry a
//! mark in the environment, which every child inherits; a new namespace counts only while it holds no process, which no
//! living lab's does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::report::Verdict;

/// The environment variable that carries the mark.
pub(crate) const MARK: &str = "PETIOLE_TEST_RUN";
const NAMESPACES: &str = "/run/netns";
/// How long processes that were told to end may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The named network namespaces that were there before the tests.
pub(crate) struct Before {
    namespaces: BTreeSet<String>,
}

impl Before {
    pub(crate) fn now() -> Self {
        Self { namespaces: namespaces().into_keys().collect() }
    }
}

/// A text that marks this run and no other.
pub(crate) fn mark() -> String {
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}", std::process::id(), started.as_nanos())
}

/// Waits a moment for the last ones to end, then names what is left, and removes it for the next run.
pub(crate) fn verdict(before: &Before, mark: &str) -> Result<Verdict> {
    let started = Instant::now();
    loop {
        let processes = marked(mark);
        let empty = deserted(before);
        if processes.is_empty() && empty.is_empty() {
            return Ok(Verdict::passed());
        }
        if started.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        for (pid, command) in &processes {
            eprintln!("left behind: process {pid}: {command}");
            remove(Command::new("kill").args(["-KILL", &pid.to_string()]));
        }
        for name in &empty {
            eprintln!("left behind: network namespace {name}");
            remove(Command::new("ip").args(["netns", "delete", name]));
        }
        return Ok(Verdict::failed("the test that made these must take its lab down, also when it fails"));
    }
}

fn remove(command: &mut Command) {
    if let Err(error) = command.status() {
        eprintln!("cannot remove it: {error}");
    }
}

/// Processes that carry the mark: number and command line.
fn marked(mark: &str) -> BTreeMap<u32, String> {
    let wanted = format!("{MARK}={mark}");
    let mut found = BTreeMap::new();
    for (pid, folder) in processes() {
        let Ok(environment) = fs::read(folder.join("environ")) else { continue };
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let words = fs::read(folder.join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).replace('\0', " ");
            found.insert(pid, words.trim_end().to_owned());
        }
    }
    found
}

/// Namespaces that are new and hold no process.
fn deserted(before: &Before) -> Vec<String> {
    let mut new = namespaces();
    new.retain(|name, _| !before.namespaces.contains(name));
    if new.is_empty() {
        return Vec::new();
    }
    let lived_in: BTreeSet<u64> = processes().filter_map(|(_, folder)| namespace_of(&folder)).collect();
    new.into_iter().filter(|(_, inode)| !lived_in.contains(inode)).map(|(name, _)| name).collect()
}

/// Named network namespaces and their inode numbers.
fn namespaces() -> BTreeMap<String, u64> {
    let Ok(entries) = fs::read_dir(NAMESPACES) else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let inode = fs::metadata(entry.path()).ok()?.ino();
            Some((entry.file_name().to_string_lossy().into_owned(), inode))
        })
        .collect()
}

/// The inode number in `net:[4026531840]`, what the link /proc/PID/ns/net says.
fn namespace_of(process: &Path) -> Option<u64> {
    let link = fs::read_link(process.join("ns/net")).ok()?;
    link.to_str()?.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

fn processes() -> impl Iterator<Item = (u32, std::path::PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
}

#[cfg(test)]
mod tests;
