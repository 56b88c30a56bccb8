//! Addresses under fire: three members of etcd and eight agents, ADD and DEL through the real plugin, while members, agents and
//! plugins are killed, paused and partitioned.
//!
//! The runtimes keep a book of their own. No address may be answered to two containers that live; whoever lives has its
//! addresses in etcd whenever it is read; and when all has healed, etcd, kernels, records and the book say the same,
//! `ipam check` is clean on every node and the [ledger](crate::ledger) adds up, with containers and after the last DEL.

mod book;
mod cluster;
mod faults;
mod random;
mod runtime;
mod truth;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use book::Book;
use cluster::Cluster;
use faults::Faults;
use runtime::Runtime;
use truth::Seen;

/// Threads of each node's runtime.
const THREADS: usize = 2;
/// Nodes that give blocks back in a long run: busy at first, then at rest.
const RESTING: usize = 4;
/// Blocks go back after ten minutes of rest, and others take them when all are busy again: only a run this long sees it.
const LONG: Duration = Duration::from_secs(18 * 60);
/// How long the rest is.
const REST: Duration = Duration::from_secs(12 * 60);

/// The part of a long run in which blocks become empty and are given back.
#[derive(Debug, Clone, Copy)]
struct Rest {
    from: Instant,
    until: Instant,
}

impl Rest {
    fn is_now(&self) -> bool {
        (self.from..self.until).contains(&Instant::now())
    }

    /// How many containers a node wants meanwhile: none, because addresses are taken from all of its blocks in turn; or so few
    /// that it borrows nowhere.
    const fn most(node: usize) -> u64 {
        if node < RESTING { 0 } else { 10 }
    }
}

/// `petiole-lab churn`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask churn                            twenty minutes
  cargo xtask churn --minutes 2 --seed 7       shorter, with the faults of another run")]
pub struct Options {
    /// How long everything fails, in minutes
    #[arg(long, default_value_t = 20.0)]
    pub minutes: f64,
    /// What befalls whom, and when [default: by the clock]
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many agents
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=40))]
    pub agents: u8,
}

/// Runs it; success only if everything held.
pub fn run(options: &Options) -> Result<ExitCode> {
    let clock = || std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_secs());
    let seed = options.seed.unwrap_or_else(clock);
    let time = Duration::try_from_secs_f64(options.minutes * 60.0).context("--minutes")?;
    let agents = usize::from(options.agents);
    println!("{agents} agents, {} members of etcd, {time:?} of faults; seed {seed}", cluster::MEMBERS);
    let mut cluster = Cluster::up(agents)?;
    let book = Book::new(agents);
    let outcome = fire(&cluster, &book, seed, time);
    runtime::sweep();
    let (seen, healed) = match outcome {
        Ok((seen, healed)) => (seen, healed),
        Err(error) => {
            book.pages().breach(format!("{error:#}"));
            println!("{}", cluster.logs());
            (Seen::default(), Vec::new())
        }
    };
    let is_sound = summary(&book, &seen, &healed, seed);
    if !is_sound {
        println!("logs are kept in {}", cluster.keep().display());
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// All of it; how long it took to heal, with containers and without.
fn fire(cluster: &Cluster, book: &Book, seed: u64, time: Duration) -> Result<(Seen, Vec<Duration>)> {
    let (settle, numbers, over) = (AtomicBool::new(false), AtomicU64::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let rest = (time >= LONG).then(|| Rest { from: begun + time / 10, until: begun + time / 10 + REST });
        let mut runtimes = Vec::new();
        for node in 0..cluster.agents.len() {
            for thread in 0..THREADS {
                let mut runtime = Runtime::new((cluster, book, &settle), (node, thread), seed, &numbers, rest);
                runtimes.push(scope.spawn(move || runtime.churn().then_some(runtime)));
            }
        }
        let over = &over;
        let watcher = scope.spawn(move || {
            let mut seen = Seen::default();
            while !over.load(Ordering::Relaxed) {
                seen.look(cluster, book);
                std::thread::sleep(Duration::from_millis(500));
            }
            seen
        });
        // Whatever happens, everybody comes to an end.
        let failed = burn(cluster, book, (seed, rest), begun, time);
        settle.store(true, Ordering::Relaxed);
        let settled: Vec<Option<Runtime<'_>>> = runtimes.into_iter().map(|r| r.join().ok().flatten()).collect();
        let all_settled = settled.iter().all(Option::is_some);
        let mut settled: Vec<Runtime<'_>> = settled.into_iter().flatten().collect();
        over.store(true, Ordering::Relaxed);
        let seen = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?;
        failed?;
        ensure!(all_settled, "a DEL does not succeed though nothing fails any more");
        let with_containers = truth::all_is_well(cluster, book).context("with containers")?;
        let all_finished = std::thread::scope(|scope| {
            let last: Vec<_> = settled.iter_mut().map(|runtime| scope.spawn(|| runtime.finish())).collect();
            last.into_iter().all(|thread| thread.join().is_ok_and(|finished| finished))
        });
        ensure!(all_finished, "a last DEL does not succeed");
        let without = truth::all_is_well(cluster, book).context("after the last DEL")?;
        Ok((seen, vec![with_containers, without]))
    })
}

/// Lets things fail for so long, and heals them all.
fn burn(
    cluster: &Cluster,
    book: &Book,
    (seed, rest): (u64, Option<Rest>),
    begun: Instant,
    time: Duration,
) -> Result<()> {
    let mut faults = Faults::new(cluster, book, seed, rest);
    let mut shown = Instant::now();
    let mut result = Ok(());
    while begun.elapsed() < time && result.is_ok() && book.pages().breaches.is_empty() {
        result = faults.turn();
        let every = if std::io::stderr().is_terminal() { 1 } else { 30 };
        if shown.elapsed() >= Duration::from_secs(every) {
            shown = Instant::now();
            show(book, begun, time);
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    let healed = faults.heal();
    result.and(healed)
}

fn show(book: &Book, begun: Instant, time: Duration) {
    let pages = book.pages();
    let terminal = std::io::stderr().is_terminal();
    let (start, end) = if terminal { ("\r\x1b[K", "") } else { ("", "\n") };
    eprint!(
        "{start}{:.0} of {:.0} s: {} ADDs, {} DELs, {} live, {} failures, {} faults, {} breaches{end}",
        begun.elapsed().as_secs_f64(),
        time.as_secs_f64(),
        pages.adds,
        pages.dels,
        pages.live.len(),
        pages.failures.values().sum::<u64>(),
        pages.faults.values().sum::<u64>(),
        pages.breaches.len(),
    );
    let _shown = std::io::stderr().flush();
}

/// The table; whether everything held.
fn summary(book: &Book, seen: &Seen, healed: &[Duration], seed: u64) -> bool {
    let pages = book.pages();
    println!("\nseed {seed}");
    println!("{:>8}  ADDs answered; at most {} containers lived at once", pages.adds, pages.most_live);
    println!("{:>8}  DELs answered", pages.dels);
    println!("{:>8}  plugin killed", pages.plugin_kills);
    for (kind, count) in &pages.faults {
        println!("{count:>8}  {kind}");
    }
    println!("failures, as the runtime reads them:");
    for (words, count) in &pages.failures {
        println!("{count:>8}  {words}");
    }
    println!(
        "etcd was read {} times and could not be {} times: at most {} blocks, {} addresses, {} of them borrowed; {} claims, {} \
         blocks with more than one owner in turn",
        seen.snapshots,
        seen.unread,
        seen.most_blocks,
        seen.most_held,
        seen.most_borrowed,
        seen.claims.len(),
        seen.changed_hands()
    );
    let node = pages.longest.iter().max().copied().unwrap_or_default();
    println!("longest time without a success: {:.1?} on one node, {:.1?} on all", node, pages.longest_of_all);
    for (what, took) in ["with containers", "after the last DEL"].iter().zip(healed) {
        println!("both checkers, kernels, records and the book agreed {what} after {took:.1?}");
    }
    for breach in &pages.breaches {
        println!("BREACH  {breach}");
    }
    println!("{}", if pages.breaches.is_empty() { "everything held" } else { "NOT everything held" });
    pages.breaches.is_empty()
}
