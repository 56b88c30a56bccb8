//! apt-get, without questions, with progress, and with its own words when it fails.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::policy::NoServices;
use crate::terminal;

/// Lines of apt-get's output that are shown when it fails.
const LAST_WORDS: usize = 20;

/// Installs exactly these packages and what they depend on.
pub(super) fn install(names: &[&str]) -> Result<()> {
    let _quiet = NoServices::enforce()?;
    // Package lists that are already there save a download of some 10 MB; a fresh machine has none, an old one has
    // names of versions that the archive has dropped.
    if has_lists() && apt("install", &install_arguments(names)).is_ok() {
        return Ok(());
    }
    // An extra source that is out of reach must not be in the way of Debian's own.
    if let Err(error) = apt("update", &[]) {
        eprintln!("{} {error:#}; trying to install all the same", terminal::err().dim("note:"));
    }
    apt("install", &install_arguments(names))
}

fn install_arguments<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["--yes", "--no-install-recommends"];
    arguments.extend(names);
    arguments
}

/// Whether `apt-get update` ever ran here.
fn has_lists() -> bool {
    let Ok(entries) = std::fs::read_dir("/var/lib/apt/lists") else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
}

fn apt(verb: &str, arguments: &[&str]) -> Result<()> {
    let mut child = Command::new("apt-get")
        // Another apt at work, such as unattended-upgrades, is waited for.
        .args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=2"])
        .arg(verb)
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run apt-get")?;
    let stderr = child.stderr.take();
    // Read beside stdout, or a full pipe would stop both.
    let errors = std::thread::spawn(move || stderr.map(|pipe| std::io::read_to_string(pipe).unwrap_or_default()));
    let mut last = VecDeque::new();
    let mut progress = Progress::new(verb);
    if let Some(pipe) = child.stdout.take() {
        for line in BufReader::new(pipe).lines() {
            let line = line.with_context(|| format!("cannot read from apt-get {verb}"))?;
            progress.see(&line);
            last.push_back(line);
            if last.len() > LAST_WORDS {
                last.pop_front();
            }
        }
    }
    progress.end();
    let status = child.wait().with_context(|| format!("cannot wait for apt-get {verb}"))?;
    let errors = errors.join().ok().flatten().unwrap_or_default();
    if status.success() {
        return Ok(());
    }
    let said: Vec<&str> = errors.lines().filter(|line| line.starts_with("E:") || line.starts_with("Err")).collect();
    let said = if said.is_empty() { last.make_contiguous().join("\n") } else { said.join("\n") };
    bail!("apt-get {verb} failed ({status}):\n{said}")
}

/// What apt-get is at: one redrawn line on a terminal, one line per package elsewhere.
struct Progress {
    verb: &'static str,
    total: u64,
    done: u64,
    live: bool,
}

impl Progress {
    fn new(verb: &str) -> Self {
        let verb = if verb == "update" { "reading package lists" } else { "downloading" };
        let progress = Self { verb, total: 0, done: 0, live: terminal::err().is_live() };
        progress.show(progress.verb);
        progress
    }

    fn see(&mut self, line: &str) {
        if let Some(total) = newly_installed(line) {
            self.total = total;
        } else if let Some(name) = line.strip_prefix("Setting up ") {
            self.done = self.done.saturating_add(1);
            let name = name.split([' ', ':']).next().unwrap_or(name);
            self.show(&format!("{:>3}/{} set up {name}", self.done, self.total));
        } else if self.live
            && let Some(name) = line.strip_prefix("Unpacking ")
        {
            self.show(&format!("unpacking {}", name.split([' ', ':']).next().unwrap_or(name)));
        }
    }

    fn show(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        // Nobody reads progress from a closed stderr.
        let _ = if self.live {
            write!(err, "\r\x1b[2K  {text}").and_then(|()| err.flush())
        } else {
            writeln!(err, "  {text}")
        };
    }

    fn end(&self) {
        if self.live {
            let _ = write!(std::io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

/// `0 upgraded, 12 newly installed, 0 to remove and 3 not upgraded.`
fn newly_installed(line: &str) -> Option<u64> {
    line.split(", ").find_map(|part| part.strip_suffix(" newly installed"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_packages_is_read_from_apts_summary() {
        assert_eq!(newly_installed("0 upgraded, 12 newly installed, 0 to remove and 3 not upgraded."), Some(12));
        assert_eq!(newly_installed("Setting up frr (8.4.4-1.1~deb12u2) ..."), None);
    }
}
