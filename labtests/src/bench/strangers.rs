//! What strangers cost: 10,000 connections a second to port 179 from addresses that are no leaf's, and then a leaf that sends UPDATEs
//! as fast as they are taken, each beside a session that must not notice.
//!
//! The hold time is 3 s, so that a KEEPALIVE is due at most 1 s after the one before (RFC 4271 section 10). The generator is a
//! process's worth of threads on the same processors as the agent: whose time it was is printed beside what was reached.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use rustix::io::Errno;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, connect, recv, socket_with};
use serde_json::{Value, json};

use crate::arena::{Arena, address, asn};
use crate::leaf::{Leaf, attribute, update};
use crate::netns;
use crate::procs::{self, Cpu};

const HOLD: u16 = 3;
/// The longest time between two KEEPALIVEs that are not late.
const DUE: Duration = Duration::from_secs(1);
/// How late one may be.
const TARGET: Duration = Duration::from_millis(100);
const PERIOD: Duration = Duration::from_secs(10);
/// What the strangers try together, and what each thread of them does.
const PER_SECOND: u64 = 10_000;
const THREADS: u64 = 2;
/// Addresses of strangers: each has 28,000 ports for connections of its own.
const ADDRESSES: u8 = 8;
/// Connections of one thread that wait for their end at the same time, at most.
const WAITING: usize = 4_000;
/// After that long a connection counts as one that nobody answered.
const PATIENCE: Duration = Duration::from_secs(3);

/// What became of the strangers' connections.
#[derive(Debug, Default, Clone, Copy)]
struct Ends {
    tried: u64,
    /// Ended by a reset or by a close after the handshake, with nothing said.
    reset: u64,
    closed: u64,
    /// Not taken at all.
    refused: u64,
    unanswered: u64,
    /// Somebody said something: it must not happen.
    spoken_to: u64,
    took: Duration,
}

/// Processor time that something took in a period.
#[derive(Debug)]
struct Phase {
    what: &'static str,
    took: Duration,
    gap: Duration,
    agent: Cpu,
    generator: Cpu,
    machine: procs::Machine,
    /// What was reached, in words.
    reached: String,
}

/// Measures; whether the target is met, a table, and the figures.
pub(super) fn run(petiole: &Path, tell: &dyn Fn(&str)) -> Result<(bool, String, Value)> {
    let limit = "max_prefix = { limit = 200000, action = \"warn\" }";
    let arena = Arena::of(petiole, 2, HOLD, limit)?;
    for n in 0..=ADDRESSES {
        let (netns, address) = if n == 0 { (&arena.node, stranger(0)) } else { (&arena.leaves, stranger(n)) };
        netns.exec(&["ip", "address", "add", &format!("{address}/24"), "dev", "eth1"])?;
    }
    let (quiet, flooder) = (arena.establish(0, HOLD)?, arena.establish(1, HOLD)?);
    let mut phases = Vec::new();
    tell("two quiet sessions");
    let (quiet_phase, ()) = phase(&arena, &quiet, "quiet", || {
        thread::sleep(PERIOD);
        Ok(((), String::new()))
    })?;
    phases.push(quiet_phase);
    tell("strangers");
    let (strangers, ends) = phase(&arena, &quiet, "strangers connect", || {
        let ends = strangers(&arena)?;
        Ok((ends, format!("{:.0} connections/s", rate(&ends))))
    })?;
    phases.push(strangers);
    tell("a leaf sends as fast as it can");
    let (flood, prefixes) = phase(&arena, &quiet, "a leaf sends UPDATEs as fast as they are taken", || {
        let (prefixes, took) = flood(&flooder)?;
        Ok((prefixes, format!("{:.0} prefixes/s", prefixes as f64 / took.as_secs_f64())))
    })?;
    phases.push(flood);
    ensure!(ends.spoken_to == 0, "a stranger was spoken to {} times", ends.spoken_to);
    for n in 0..2 {
        let peer = arena.peer(n)?;
        ensure!(peer["established_count"] == 1 && peer["state"] == "Established", "{peer}");
    }
    let late = |p: &Phase| p.gap.saturating_sub(DUE);
    let passed = phases.iter().all(|p| late(p) <= TARGET);
    let mut text = format!("{:<48} {:>13} {:>10}  REACHED\n", "PHASE", "LONGEST GAP", "LATE");
    for p in &phases {
        let verdict = if late(p) <= TARGET { "pass" } else { "FAIL" };
        let (gap, late) = (millis(p.gap), millis(late(p)));
        text += &format!("{:<48} {gap:>10.1} ms {late:>7.1} ms  {verdict} {}\n", p.what, p.reached);
    }
    text += "\nProcessor time as a share of one core: user + system\n";
    for p in &phases {
        let share = |time: Duration| 100.0 * time.as_secs_f64() / p.took.as_secs_f64();
        text += &format!(
            "{:<48} agent {:.0} + {:.0} %, generator and leaves {:.0} + {:.0} %, everything {:.0} %, of it soft interrupts {:.0} %, \
             idle {:.0} %\n",
            p.what,
            share(p.agent.user),
            share(p.agent.system),
            share(p.generator.user),
            share(p.generator.system),
            share(p.machine.busy),
            share(p.machine.softirq),
            share(p.machine.idle),
        );
    }
    text += &format!(
        "\nThe strangers tried {} of {} a second for {:.1} s: {} reset and {} closed without a byte, {} refused, {} without an answer \
         within {} s.\nTarget: no KEEPALIVE later than {} ms beyond the {} ms that are due.\n",
        ends.tried,
        PER_SECOND,
        ends.took.as_secs_f64(),
        ends.reset,
        ends.closed,
        ends.refused,
        ends.unanswered,
        PATIENCE.as_secs(),
        TARGET.as_millis(),
        DUE.as_millis()
    );
    let figures: Vec<Value> = phases
        .iter()
        .map(|p| {
            json!({ "what": p.what, "took_ms": millis(p.took), "gap_ms": millis(p.gap), "late_ms": millis(late(p)),
                    "agent_user_ms": millis(p.agent.user), "agent_system_ms": millis(p.agent.system),
                    "generator_user_ms": millis(p.generator.user), "generator_system_ms": millis(p.generator.system),
                    "busy_ms": millis(p.machine.busy), "softirq_ms": millis(p.machine.softirq),
                    "idle_ms": millis(p.machine.idle) })
        })
        .collect();
    let strangers = json!({ "per_second": rate(&ends), "tried": ends.tried, "reset": ends.reset, "closed": ends.closed,
                            "refused": ends.refused, "unanswered": ends.unanswered, "spoken_to": ends.spoken_to });
    let document = json!({ "bench": "strangers", "target_ms": millis(TARGET), "phases": figures, "strangers": strangers,
                           "flood_prefixes": prefixes });
    Ok((passed, text, document))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn rate(ends: &Ends) -> f64 {
    (ends.reset + ends.closed) as f64 / ends.took.as_secs_f64().max(0.001)
}

/// 0 is the node's.
fn stranger(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 122, 102, 1 + n)
}

/// Runs something beside a session, and says how long that session heard no KEEPALIVE, and who used the processors.
fn phase<T>(
    arena: &Arena,
    quiet: &Leaf,
    what: &'static str,
    load: impl FnOnce() -> Result<(T, String)>,
) -> Result<(Phase, T)> {
    let own = i32::try_from(std::process::id())?;
    let pid = arena.pid()?;
    let cpu = |pid: i32| procs::cpu(pid).ok_or_else(|| anyhow!("no processor times of {pid}"));
    // Counted from a KEEPALIVE, not from within an interval.
    quiet.heard();
    let mut last = quiet.hear(DUE * 3, 4).with_context(|| format!("before: {what}"))?.at;
    let (begin, before) = (Instant::now(), (cpu(pid)?, cpu(own)?, procs::machine().context("/proc/stat")?));
    let (done, reached) = load()?;
    let took = begin.elapsed();
    let after = (cpu(pid)?, cpu(own)?, procs::machine().context("/proc/stat")?);
    let (heard, alive) = quiet.heard();
    ensure!(alive, "{what}: the session beside ended: {:?}", heard.last());
    let mut gap = Duration::ZERO;
    for message in heard.iter().filter(|m| m.kind == 4) {
        gap = gap.max(message.at.saturating_duration_since(last));
        last = message.at;
    }
    let gap = gap.max(last.elapsed());
    let (agent, generator) = (after.0.since(before.0), after.1.since(before.1));
    Ok((Phase { what, took, gap, agent, generator, machine: after.2.since(before.2), reached }, done))
}

fn strangers(arena: &Arena) -> Result<Ends> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || knock(arena, thread))).collect();
        let mut all = Ends::default();
        for thread in threads {
            let ends = thread.join().map_err(|_| anyhow!("a generator's thread panicked"))??;
            all.tried += ends.tried;
            all.reset += ends.reset;
            all.closed += ends.closed;
            all.refused += ends.refused;
            all.unanswered += ends.unanswered;
            all.spoken_to += ends.spoken_to;
            all.took = all.took.max(ends.took);
        }
        Ok(all)
    })
}

/// One thread of strangers: connects at its share of the rate, without waiting for anything, and looks what became of each in turn.
fn knock(arena: &Arena, thread: u64) -> Result<Ends> {
    let namespace = std::fs::File::open(netns::path(arena.leaves.name()))?;
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).context("setns")?;
    let port_179 = SocketAddr::from((stranger(0), 179));
    let share = PER_SECOND / THREADS;
    let mut ends = Ends::default();
    let mut waiting: VecDeque<(Instant, OwnedFd)> = VecDeque::new();
    let begin = Instant::now();
    while begin.elapsed() < PERIOD {
        let due = u64::try_from(begin.elapsed().as_micros())?.saturating_mul(share) / 1_000_000;
        let may = WAITING.saturating_sub(waiting.len());
        let now = usize::try_from(due.saturating_sub(ends.tried))?.min(may).min(64);
        for _ in 0..now {
            let from = 1 + u8::try_from((ends.tried * THREADS + thread) % u64::from(ADDRESSES))?;
            ends.tried += 1;
            match dial(SocketAddr::from((stranger(from), 0)), port_179) {
                Ok(socket) => waiting.push_back((Instant::now(), socket)),
                Err(Errno::CONNREFUSED) => ends.refused += 1,
                Err(error) => return Err(io::Error::from(error)).context("a stranger cannot dial"),
            }
        }
        look(&mut waiting, &mut ends);
        if now == 0 {
            thread::sleep(Duration::from_micros(500));
        }
    }
    ends.took = begin.elapsed();
    // The last ones are still on their way.
    while !waiting.is_empty() {
        thread::sleep(Duration::from_millis(1));
        look(&mut waiting, &mut ends);
    }
    Ok(ends)
}

fn dial(from: SocketAddr, to: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None)?;
    bind(&socket, &from)?;
    match connect(&socket, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Takes from the front whatever has ended.
fn look(waiting: &mut VecDeque<(Instant, OwnedFd)>, ends: &mut Ends) {
    while let Some((since, socket)) = waiting.front() {
        let mut byte = [0; 1];
        match recv(socket, &mut byte, RecvFlags::empty()) {
            Ok((0, _)) => ends.closed += 1,
            Ok(_) => ends.spoken_to += 1,
            Err(Errno::CONNRESET) => ends.reset += 1,
            Err(Errno::AGAIN | Errno::NOTCONN) if since.elapsed() < PATIENCE => return,
            Err(Errno::AGAIN | Errno::NOTCONN | Errno::TIMEDOUT) => {
                ends.unanswered += 1;
                let _ = set_socket_linger(socket, Some(Duration::ZERO));
            }
            Err(_) => ends.refused += 1,
        }
        waiting.pop_front();
    }
}

/// Announces and withdraws 51,200 prefixes over and over; how many were sent, and in what time.
fn flood(leaf: &Leaf) -> Result<(u64, Duration)> {
    let path = [&[2, 1][..], &asn(1).to_be_bytes()].concat();
    let attributes =
        [attribute(0x40, 1, &[0]), attribute(0x40, 2, &path), attribute(0x40, 3, &address(1).octets())].concat();
    let all: Vec<[u8; 4]> = (0..200_u8).flat_map(|s| (0..=255).map(move |t| [24, 11 + s % 90, s, t])).collect();
    let fields: Vec<Vec<u8>> = all.chunks(900).map(|chunk| chunk.concat()).collect();
    let coming: Vec<u8> = fields.iter().flat_map(|f| update(&[], &attributes, f)).collect();
    let going: Vec<u8> = fields.iter().flat_map(|f| update(f, &[], &[])).collect();
    let (begin, mut sent) = (Instant::now(), 0);
    while begin.elapsed() < PERIOD {
        for bytes in [&coming, &going] {
            leaf.say(bytes)?;
            sent += all.len() as u64;
        }
    }
    Ok((sent, begin.elapsed()))
}
