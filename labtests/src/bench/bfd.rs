//! BFD on a busy machine: two agents watch each other over 24 sessions while every core is busy, and no session may fail.
//!
//! Beside them one thread a core looks at the clock: where all of them were late at once, the machine stood still, which no
//! program on it can do anything about. A failure at such a time is excused.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Netns, Spawned, check, command, eventually};

/// What a leaf with a full rack has.
const SESSIONS: u8 = 24;
const INTERVAL: &str = "50ms";
const MULTIPLIER: u8 = 3;
/// From both agents' start until every session is Up.
const JOIN: Duration = Duration::from_secs(60);
/// A pause of the machine this long excuses what failed in it.
const STALL: Duration = Duration::from_millis(100);
/// How much later than the pause the failure may be seen: the detection time, and a margin.
const AFTER: Duration = Duration::from_millis(400);
/// Between two looks at the agents.
const LOOK: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Debug)]
pub(super) struct Soak {
    /// How long it took.
    time: Duration,
    /// A session and when it failed, since the beginning; each end counts.
    failures: Vec<(String, Duration)>,
    /// When the whole machine stood still, since the beginning, and for how long.
    stalls: Vec<(Duration, Duration)>,
    /// The longest an agent's BFD thread did not run, as the agents say.
    thread_stalls: Vec<String>,
    /// Packets that both ends took.
    packets: u64,
}

impl Soak {
    /// Failures at a time when the machine ran.
    fn unexcused(&self) -> impl Iterator<Item = &(String, Duration)> {
        self.failures
            .iter()
            .filter(|(_, at)| !self.stalls.iter().any(|(from, long)| *at >= *from && *at <= *from + *long + AFTER))
    }

    pub(super) fn passed(&self) -> bool {
        self.unexcused().next().is_none()
    }

    pub(super) fn json(&self, machine: &str) -> Value {
        let failures = |all: &mut dyn Iterator<Item = &(String, Duration)>| -> Vec<Value> {
            all.map(|(who, at)| json!({ "session": who, "at_seconds": at.as_secs_f64() })).collect()
        };
        let stalls: Vec<Value> = self
            .stalls
            .iter()
            .map(|(at, long)| json!({ "at_seconds": at.as_secs_f64(), "milliseconds": long.as_millis() as u64 }))
            .collect();
        json!({
            "machine": machine,
            "sessions": SESSIONS,
            "interval": INTERVAL,
            "multiplier": MULTIPLIER,
            "seconds": self.time.as_secs_f64(),
            "packets": self.packets,
            "failures": failures(&mut self.failures.iter()),
            "unexcused": failures(&mut self.unexcused()),
            "machine_stalls": stalls,
            "thread_stalls": self.thread_stalls,
            "passed": self.passed(),
        })
    }

    pub(super) fn table(&self, machine: &str) -> String {
        let mut text = format!("BFD on {machine}, every core kept busy\n\n");
        let _ = writeln!(text, "sessions              {SESSIONS} at {MULTIPLIER} x {INTERVAL}, watched from both ends");
        let _ =
            writeln!(text, "time                  {:.0} s, {} packets taken", self.time.as_secs_f64(), self.packets);
        let _ = writeln!(text, "failures              {}", self.failures.len());
        let _ = writeln!(text, "of these unexcused    {}", self.unexcused().count());
        let longest = self.stalls.iter().map(|(_, long)| *long).max().unwrap_or_default();
        let _ = writeln!(
            text,
            "machine stood still   {} times over {} ms, {} ms at most",
            self.stalls.len(),
            STALL.as_millis(),
            longest.as_millis()
        );
        let _ = writeln!(text, "BFD threads late      {} times", self.thread_stalls.len());
        for (who, at) in &self.failures {
            let _ = writeln!(text, "  {:>8.2} s  {who} failed", at.as_secs_f64());
        }
        for line in self.thread_stalls.iter().take(10) {
            let _ = writeln!(text, "  {line}");
        }
        let _ = writeln!(
            text,
            "\n{}",
            if self.passed() { "passed" } else { "FAILED: sessions failed on a machine that ran" }
        );
        text
    }
}

/// One agent.
struct End {
    name: &'static str,
    folder: TempDir,
    netns: Netns,
    agent: Option<Spawned>,
}

impl End {
    fn new(name: &'static str, own: u8) -> Result<Self> {
        let folder = TempDir::new()?;
        let path = folder.path().display();
        let mut text = format!(
            "[node]\nname = \"{name}\"\nrouter_id = \"10.122.0.{own}\"\n[store]\nembedded = \"{path}/store\"\n\
             [paths]\nstate = \"{path}/state\"\nrun = \"{path}/run\"\n[bgp]\nasn = {}\n",
            64_999 + u32::from(own)
        );
        for n in 0..SESSIONS {
            let (other, asn) = (2 - own, 64_999 + 3 - u32::from(own));
            let _ = write!(
                text,
                "[[bgp.peer]]\naddress = \"10.99.{n}.{other}\"\nasn = {asn}\n\
                 bfd = {{ interval = \"{INTERVAL}\", multiplier = {MULTIPLIER} }}\n"
            );
        }
        fs::write(folder.path().join("petiole.toml"), text)?;
        Ok(Self { name, folder, netns: Netns::bare(&format!("bench-bfd-{name}"))?, agent: None })
    }

    fn addresses(&self, own: u8) -> Result<()> {
        let lines: String = (0..SESSIONS).map(|n| format!("address add 10.99.{n}.{}/31 dev eth1\n", own - 1)).collect();
        let file = self.folder.path().join("batch");
        fs::write(&file, lines)?;
        self.netns.exec(&["ip", "-batch", &file.to_string_lossy()]).map(drop)
    }

    fn start(&mut self, petiole: &Path) -> Result<()> {
        let script = "exec \"$0\" agent --config \"$1/petiole.toml\" >>\"$1/agent.log\" 2>&1";
        let [petiole, folder] = [petiole, self.folder.path()].map(|path| path.to_string_lossy().into_owned());
        self.agent = Some(self.netns.spawn(&["sh", "-c", script, &petiole, &folder])?);
        Ok(())
    }

    fn peers(&self, petiole: &Path) -> Result<Vec<Value>> {
        let [petiole, config] = [petiole.to_owned(), self.folder.path().join("petiole.toml")]
            .map(|path| path.to_string_lossy().into_owned());
        let text = self.netns.exec(&[&petiole, "--config", &config, "bgp", "peers", "-o", "json"])?;
        Ok(command::json(&text)?.as_array().cloned().unwrap_or_default())
    }

    /// What the agent said of its thread.
    fn thread_stalls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default();
        log.lines()
            .filter(|line| line.contains("BFD did not run"))
            .map(|line| format!("{}: {line}", self.name))
            .collect()
    }
}

/// Runs both agents beside a load on every core for so long.
pub(super) fn run(petiole: &Path, time: Duration, tell: &dyn Fn(&str)) -> Result<Soak> {
    let mut ends = [End::new("left", 1)?, End::new("right", 2)?];
    let [left, right] = &ends;
    left.netns.connect("eth1", &right.netns, "eth1", 1500)?;
    for (end, own) in ends.iter().zip([1, 2]) {
        end.addresses(own)?;
    }
    for end in &mut ends {
        end.start(petiole)?;
    }
    tell("BFD: sessions come up");
    eventually(JOIN, "every session is Up", || {
        for end in &ends {
            let peers = end.peers(petiole).map_err(|error| format!("{error:#}"))?;
            let up = peers.iter().filter(|peer| peer["bfd"]["state"] == "Up").count();
            check(up == usize::from(SESSIONS), format!("{}: {up}", end.name))?;
        }
        Ok::<(), String>(())
    })?;
    // Behind the start of BGP, so that its ends count as well.
    let load = Load::start();
    let begin = Instant::now();
    let clock = Recorder::start(begin)?;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    let packets = loop {
        let last = begin.elapsed() >= time;
        let mut packets = 0;
        for end in &ends {
            for peer in end.peers(petiole)? {
                let who = format!("{} with {}", end.name, peer["peer"].as_str().unwrap_or("?"));
                let bfd = &peer["bfd"];
                packets += bfd["packets_in"].as_u64().unwrap_or(0);
                let ups = bfd["ups"].as_u64().unwrap_or(0) + u64::from(bfd["state"] != "Up");
                let before = seen.insert(who.clone(), ups).unwrap_or(ups);
                let ago = Duration::from_secs_f64(bfd["last_failure_seconds"].as_f64().unwrap_or(0.0));
                let at = begin.elapsed().saturating_sub(ago);
                failures.extend((before..ups).map(|_| (who.clone(), at)));
            }
        }
        if last {
            break packets;
        }
        tell(&format!(
            "BFD: {:.0} of {:.0} s, {} failures",
            begin.elapsed().as_secs_f64(),
            time.as_secs_f64(),
            failures.len()
        ));
        std::thread::sleep(LOOK.min(time.saturating_sub(begin.elapsed())));
    };
    let time = begin.elapsed();
    load.stop();
    let stalls = clock.stop()?;
    ensure!(packets > 0, "no packets: {seen:?}");
    let thread_stalls = ends.iter().flat_map(End::thread_stalls).collect();
    Ok(Soak { time, failures, stalls, thread_stalls, packets })
}

/// A thread a core that does nothing but compute.
struct Load {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Load {
    fn start() -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let threads = (0..cores()).map(|_| {
            let ends = Arc::clone(&ends);
            std::thread::spawn(move || {
                let mut n = 1_u64;
                while !ends.load(Ordering::Relaxed) {
                    n = std::hint::black_box(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
                }
            })
        });
        let threads = threads.collect();
        Self { ends, threads }
    }

    fn stop(self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ended = thread.join();
        }
    }
}

/// When one core woke its thread late: from and to, since the beginning.
type Lateness = Vec<(Duration, Duration)>;

/// One thread a core, bound to it and before all others, that sleeps for a moment and notes when it was woken late.
struct Recorder {
    ends: Arc<AtomicBool>,
    /// By core.
    late: Arc<Mutex<Vec<Lateness>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    fn start(begin: Instant) -> Result<Self> {
        let ends = Arc::new(AtomicBool::new(false));
        let late = Arc::new(Mutex::new(vec![Vec::new(); cores()]));
        let mut threads = Vec::new();
        for core in 0..cores() {
            let (ends, late) = (Arc::clone(&ends), Arc::clone(&late));
            threads.push(std::thread::Builder::new().name(format!("clock{core}")).spawn(move || {
                let mut set = rustix::thread::CpuSet::new();
                set.set(core);
                // Where it may not have the core, or not go first, it sees more pauses than there are; they are all noted.
                let _ = rustix::thread::sched_setaffinity(None, &set);
                let _ = rustix::process::setpriority_process(None, -20);
                let mut last = begin.elapsed();
                while !ends.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                    let now = begin.elapsed();
                    if now - last > STALL
                        && let Ok(mut late) = late.lock()
                        && let Some(of_core) = late.get_mut(core)
                    {
                        of_core.push((last, now));
                    }
                    last = now;
                }
            })?);
        }
        Ok(Self { ends, late, threads })
    }

    /// Pauses of all cores at once, with how long they were.
    fn stop(self) -> Result<Vec<(Duration, Duration)>> {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ended = thread.join();
        }
        let late = self.late.lock().ok().context("a clock's thread panicked")?;
        Ok(at_once(&late).into_iter().map(|(from, to)| (from, to - from)).collect())
    }
}

/// The times that are in a pause of every core, where they are long enough.
fn at_once(late: &[Vec<(Duration, Duration)>]) -> Vec<(Duration, Duration)> {
    let Some((first, others)) = late.split_first() else { return Vec::new() };
    let mut common = first.clone();
    for other in others {
        let meet = |a: &(Duration, Duration), b: &(Duration, Duration)| (a.0.max(b.0), a.1.min(b.1));
        common = common.iter().flat_map(|a| other.iter().map(|b| meet(a, b))).filter(|(from, to)| from < to).collect();
    }
    common.retain(|(from, to)| *to - *from > STALL);
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_machine_stood_still_where_every_core_did() {
        let one = vec![(ms(0), ms(200)), (ms(1000), ms(1300))];
        let other = vec![(ms(50), ms(120)), (ms(1100), ms(1500))];
        assert_eq!(at_once(&[one.clone(), other]), [(ms(1100), ms(1300))]);
        assert_eq!(at_once(std::slice::from_ref(&one)), one);
        assert_eq!(at_once(&[one, Vec::new()]), []);
        assert_eq!(at_once(&[]), []);
    }

    #[test]
    fn a_failure_is_excused_by_a_pause_and_by_nothing_else() {
        let soak = |failures: &[u64]| Soak {
            time: ms(60_000),
            failures: failures.iter().map(|at| ("left with 10.99.0.1".to_owned(), ms(*at))).collect(),
            stalls: vec![(ms(5000), ms(150))],
            thread_stalls: Vec::new(),
            packets: 1,
        };
        assert!(soak(&[]).passed() && soak(&[5300]).passed());
        for at in [4999, 5600, 30_000] {
            assert!(!soak(&[5300, at]).passed(), "{at}");
        }
    }
}
