//! Processes of the host, as `/proc` shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// Set in the environment of every process of a lab, with the lab's folder as its value.
pub const MARK: &str = "LABTESTS_LAB";

/// A process that cannot be confused with a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Process id in the host's PID namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot (proc(5), stat field 22).
    pub start: u64,
}

impl Identity {
    /// Of a running process.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start: stat(pid)?.start })
    }

    /// Whether that process still runs. A zombie does not, once all of its threads have ended: until then it holds files and sockets.
    pub fn alive(self) -> bool {
        let has_threads = || fs::read_dir(format!("/proc/{}/task", self.pid)).is_ok_and(|tasks| tasks.count() > 1);
        stat(self.pid).is_some_and(|stat| {
            stat.start == self.start
                && match stat.state {
                    'X' => false,
                    'Z' => has_threads(),
                    _ => true,
                }
        })
    }
}

struct Stat {
    state: char,
    parent: i32,
    start: u64,
    /// Clock ticks.
    user: u64,
    system: u64,
}

/// The name in parentheses may hold anything, so fields are counted from the last parenthesis.
fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let (user, system) = (fields.nth(9)?.parse().ok()?, fields.next()?.parse().ok()?);
    let start = fields.nth(6)?.parse().ok()?;
    Some(Stat { state, parent, start, user, system })
}

/// Ticks of `/proc/stat` and of its like in a second: `USER_HZ`, which is 100 on every architecture that we build for.
const TICK: Duration = Duration::from_millis(10);

fn ticks(count: u64) -> Duration {
    TICK.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Processor time of a process, all its threads together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cpu {
    /// In its own code.
    pub user: Duration,
    /// In the kernel.
    pub system: Duration,
}

impl Cpu {
    /// What was used since then.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        let (user, system) = (self.user.saturating_sub(earlier.user), self.system.saturating_sub(earlier.system));
        Self { user, system }
    }
}

/// Processor time of a process that runs.
pub fn cpu(pid: i32) -> Option<Cpu> {
    let stat = stat(pid)?;
    Some(Cpu { user: ticks(stat.user), system: ticks(stat.system) })
}

/// Processor time of the whole machine, all cores together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Machine {
    /// Whatever was done, soft interrupts among it.
    pub busy: Duration,
    /// In soft interrupts: packets, for the most part.
    pub softirq: Duration,
    /// Nothing.
    pub idle: Duration,
}

impl Machine {
    /// What was used since then.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            busy: self.busy.saturating_sub(earlier.busy),
            softirq: self.softirq.saturating_sub(earlier.softirq),
            idle: self.idle.saturating_sub(earlier.idle),
        }
    }
}

/// Processor time of the whole machine (proc(5), the first line of `/proc/stat`).
pub fn machine() -> Option<Machine> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let numbers = text.lines().next()?.split_ascii_whitespace().skip(1);
    let numbers: Vec<u64> = numbers.map_while(|n| n.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let [user, nice, system, idle, iowait, irq, softirq, ..] = numbers.as_slice() else { return None };
    Some(Machine {
        busy: ticks(user + nice + system + irq + softirq),
        softirq: ticks(*softirq),
        idle: ticks(idle + iowait),
    })
}

/// All processes that run, zombies left out.
fn running() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X')))
}

/// The children of a process.
pub fn children(parent: i32) -> Vec<i32> {
    running().filter(|pid| stat(*pid).is_some_and(|stat| stat.parent == parent)).collect()
}

/// The host's id of the process that is `inner` in the PID namespace of `pid1`.
pub fn outer(pid1: i32, inner: i32) -> Option<i32> {
    let space = fs::metadata(format!("/proc/{pid1}/ns/pid")).ok()?.ino();
    running().find(|pid| {
        fs::metadata(format!("/proc/{pid}/ns/pid")).is_ok_and(|found| found.ino() == space)
            && fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| {
                let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                line.and_then(|line| line.split_ascii_whitespace().last()?.parse().ok()) == Some(inner)
            })
    })
}

/// Resident memory of a process in bytes.
pub fn resident(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Sends a signal; a process that is gone is no error.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _gone = kill_process(pid, signal);
    }
}

/// What makes a process one of a lab's: the mark in its environment, or one of these network namespaces.
#[derive(Debug, Default)]
pub struct Belonging {
    mark: Option<Vec<u8>>,
    /// Device and inode of namespace files.
    namespaces: BTreeSet<(u64, u64)>,
}

impl Belonging {
    /// Everything marked with this folder.
    pub fn marked(dir: &Path) -> Self {
        let mark = format!("{MARK}={}", dir.display()).into_bytes();
        Self { mark: Some(mark), namespaces: BTreeSet::new() }
    }

    /// And everything in this network namespace, if the file is one.
    pub fn or_in(&mut self, namespace: &Path) {
        let host = fs::metadata("/proc/self/ns/net").map(|m| (m.dev(), m.ino()));
        if let Ok(found) = fs::metadata(namespace) {
            let found = (found.dev(), found.ino());
            if host.is_ok_and(|host| host.0 == found.0 && host != found) {
                self.namespaces.insert(found);
            }
        }
    }

    fn has(&self, pid: i32) -> bool {
        let inside = !self.namespaces.is_empty()
            && fs::metadata(format!("/proc/{pid}/ns/net"))
                .is_ok_and(|found| self.namespaces.contains(&(found.dev(), found.ino())));
        inside
            || self.mark.as_ref().is_some_and(|mark| {
                fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environ| environ.split(|b| *b == 0).any(|entry| entry == mark.as_slice()))
            })
    }

    /// Whether a process belongs.
    pub fn includes(&self, pid: i32) -> bool {
        self.has(pid)
    }

    /// The processes that belong, with their command names. This process never does.
    pub fn find(&self) -> BTreeMap<i32, String> {
        let own = std::process::id();
        let found = running().filter(|pid| u32::try_from(*pid) != Ok(own) && self.has(*pid));
        found
            .map(|pid| (pid, fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()))
            .collect()
    }

    /// Kills all of them, and those they start meanwhile.
    pub fn kill(&self, within: Duration) -> Result<()> {
        let end = Instant::now() + within;
        loop {
            let found = self.find();
            if found.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("these processes of the lab do not die: {found:?}");
            }
            for pid in found.keys() {
                signal(*pid, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
