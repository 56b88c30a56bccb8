//! Whole clusters under fire, each decided by one seed: lag, lost and late answers, broken watches, compaction, crashes between
//! any two steps, clocks that are set, nodes that are forgotten and come back, and nodes that still run Calico.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::calico::Calico;
use super::*;
use crate::check::{Finding, Found, check};

mod deeds;

/// What a cluster consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Nodes of ours only, which come and go and are forgotten, under a store that restarts, with pools that are disabled,
    /// reservations, and pods that name their addresses.
    Nodes,
    /// Nodes of ours and nodes with Calico, each of which may become the other.
    Migration,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Migration => "migration",
        }
    }
}

/// What `cargo xtask simulate` asks for.
#[expect(clippy::disallowed_methods, reason = "which seeds a run of the tests tries is no setting of a node")]
fn asked(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, otherwise: u64) -> u64 {
    asked(name).and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

struct Cluster {
    world: World,
    pools: Vec<PoolSpec>,
    calicos: Vec<Calico>,
    /// What each handle was told to hold, on which node, since its last release.
    holds: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Handles of which nobody knows; the runtime gives them back.
    unsure: BTreeSet<(usize, String)>,
    /// Nodes that an operator said are gone for good.
    gone: BTreeSet<usize>,
    reserved: Vec<Prefix>,
    /// Handles for which an address was ever named: they may hold one that is reserved.
    named: BTreeSet<String>,
    last_id: u64,
}

impl Cluster {
    fn new(seed: u64, kind: Kind) -> Self {
        let with_calico = kind == Kind::Migration;
        let mut world = World::seeded(seed);
        // Many small ones, in which more happens to each node, and some of any size up to fifty.
        let size = match world.below(32) {
            0 => 50,
            1..=3 => 13 + world.below(38),
            _ => [5, 5, 5, 6, 8, 12][world.below(6)],
        };
        world.lose = [0, 10, 40, 90][world.below(4)];
        let bits = 2 + world.below(5);
        let pools = vec![spec(&format!("10.0.0.0/{}", 30 - bits), 30), spec("fd00::/123", 126)];
        if world.below(2) == 0 {
            let cooldown = if with_calico { 0 } else { world.below(3) * 20 };
            let config = format!("{{\"auto_allocate_blocks\":true,\"ipCooldownSeconds\":{cooldown}}}");
            world.put("/calico/ipam/v2/config", config);
        } else if world.below(2) == 0 {
            world.put("/calico/ipam/v2/config", r#"{"strict_affinity":true,"auto_allocate_blocks":true}"#);
        }
        let reserved = if with_calico { Vec::new() } else { deeds::reserve(&mut world) };
        let mut calicos = Vec::new();
        for i in 0..size {
            if with_calico && i % 2 == 1 {
                calicos.push(Calico::new(&format!("calico{i}"), pools[0]));
            } else {
                world.worker(&format!("worker{i}"), &pools);
            }
        }
        Self {
            world,
            pools,
            calicos,
            holds: BTreeMap::new(),
            unsure: BTreeSet::new(),
            gone: BTreeSet::new(),
            reserved,
            named: BTreeSet::new(),
            last_id: 0,
        }
    }

    fn size(&self) -> usize {
        self.world.nodes().count()
    }

    fn ask(&mut self, n: usize, ask: Ask) {
        self.last_id += 1;
        self.world.ask(n, self.last_id, ask);
        self.hear();
    }

    /// Takes in the answers, each of which must be true when it is given.
    fn hear(&mut self) {
        for n in 0..self.size() {
            for (ask, reply) in self.world.answers(n) {
                match (ask, reply) {
                    (Ask::Assign(request), Ok(addresses)) => {
                        assert_eq!(addresses.len(), request.families.len());
                        let named = &request.addresses;
                        assert!(named.iter().all(|n| addresses.contains(n)), "{named:?} named, {addresses:?} given");
                        let is_reserved = |a: &IpAddr| self.reserved.iter().any(|r| r.contains_addr(*a));
                        // A handle that named it once keeps it.
                        let is_new = !self.holds.contains_key(&request.handle);
                        let was_named = !named.is_empty() || self.named.contains(&request.handle);
                        assert!(!is_new || was_named || !addresses.iter().any(is_reserved), "{addresses:?} reserved");
                        self.holds.entry(request.handle).or_default().extend(addresses);
                    }
                    (Ask::Release(ReleaseTarget::Handle(handle)), Ok(_)) => {
                        self.holds.remove(&handle);
                        self.unsure.remove(&(n, handle));
                    }
                    (
                        Ask::Assign(AssignRequest { handle, .. }) | Ask::Release(ReleaseTarget::Handle(handle)),
                        Err(_),
                    ) => {
                        self.holds.remove(&handle);
                        self.unsure.insert((n, handle));
                    }
                    (Ask::Release(ReleaseTarget::Address(_)), _) => {}
                }
            }
        }
        self.world.check_announcements();
    }

    fn act(&mut self) {
        let n = self.world.below(self.size());
        let handle = format!("n{n}p{}", self.world.below(6));
        if self.world.below(24) == 0 {
            self.world.step_clock(n);
        }
        if self.calicos.is_empty() && self.world.below(4) == 0 {
            self.wider(n, handle);
            self.hear();
            return;
        }
        match self.world.below(16) {
            0..=4 if self.world.is_alive(n) => {
                let families = [&[Family::V4][..], &[Family::V6], &Family::BOTH][self.world.below(3)];
                self.ask(n, assign(&handle, families));
            }
            5..=7 if self.world.is_alive(n) => self.ask(n, release(&handle)),
            8..=11 => {
                let steps = 1 + self.world.below(40);
                self.world.some(steps);
            }
            12 if self.world.is_alive(n) => {
                self.hear();
                let unanswered = self.world.crash(n);
                self.lost(n, unanswered);
            }
            13 => self.world.store.compact(Revision::MAX),
            14 if self.world.below(8) == 0 => self.world.pass(Duration::from_secs(700)),
            _ => self.calico(),
        }
        self.hear();
    }

    fn lost(&mut self, n: usize, handles: Vec<String>) {
        for handle in handles {
            self.holds.remove(&handle);
            self.unsure.insert((n, handle));
        }
    }

    /// A node with Calico does something, or dies, or becomes one of ours, or one of ours becomes one with Calico.
    fn calico(&mut self) {
        if self.calicos.is_empty() {
            return;
        }
        let at = self.world.below(self.calicos.len());
        for _ in 0..=self.world.below(12) {
            let handle = format!("c{at}p{}", self.world.below(4));
            let what = self.world.below(40);
            let calico = &mut self.calicos[at];
            match what {
                0 => calico.die(),
                1 => {
                    calico.die();
                    let name = std::mem::take(&mut calico.name);
                    if !name.is_empty() {
                        self.world.worker(&name, &self.pools);
                    }
                }
                2 => {
                    let n = self.world.below(self.size());
                    let name = self.world.node(n).name.clone();
                    // Calico does not say that a node which was gone for good is there again: ours has to.
                    let is_gone =
                        self.world.keys("/petiole/v1/forgotten/").iter().any(|(key, ..)| key.ends_with(&name));
                    if self.world.is_alive(n) && n > 0 && !is_gone {
                        self.hear();
                        let unanswered = self.world.remove(n);
                        self.lost(n, unanswered);
                        self.calicos.push(Calico::new(&name, self.pools[0]));
                    }
                }
                3 => {
                    let n = self.world.below(self.size());
                    self.forget(n);
                }
                4 => {
                    let n = self.world.below(self.size());
                    self.come_back(n);
                }
                _ if calico.name.is_empty() => return,
                5..=7 if calico.is_idle() => calico.release(&handle, &self.world),
                8 if calico.is_idle() => calico.give_back(&self.world),
                _ if calico.is_idle() => calico.assign(&handle),
                _ => calico.step(&mut self.world),
            }
        }
    }

    /// All comes to rest, and is repaired.
    fn settle(&mut self) {
        self.world.lose = 0;
        self.world.run();
        self.world.be_punctual();
        for calico in &mut self.calicos {
            while !calico.is_idle() {
                calico.step(&mut self.world);
            }
        }
        self.world.run();
        self.hear();
        // Who does not know whether a pod was wired gives it back, as a runtime does.
        self.reclaim();
        for (n, handle) in self.unsure.clone() {
            let n = if self.world.is_alive(n) { n } else { 0 };
            self.ask(n, release(&handle));
            self.unsure.remove(&(n, handle));
        }
        let dead: Vec<String> = self.calicos.iter().flat_map(|c| c.unsure.iter().cloned()).collect();
        for handle in dead {
            self.ask(0, release(&handle));
        }
        self.world.run();
        self.hear();
        let left: Vec<Finding> = self.found().into_iter().map(|f| f.finding).collect();
        if self.calicos.is_empty() {
            // A block that a gone node left behind with addresses that cool down is nobody's when they have.
            let cooldown = self.world.node(0).ipam.view.config.ip_cooldown_seconds;
            let has_cooled = |f: &Finding| cooldown > 0 && matches!(f, Finding::AbandonedBlock { .. });
            assert!(left.iter().all(has_cooled), "nothing needs a repair where all are ours: {left:?}");
        }
        for found in self.found() {
            if let Some(txn) = found.repair {
                assert!(self.world.transact(&txn).succeeded);
            }
        }
        self.world.run();
        let left: Vec<Finding> = self.found().into_iter().map(|f| f.finding).collect();
        let is_on_its_way = |f: &Finding| {
            matches!(
                f,
                Finding::Unconfirmed { .. }
                    | Finding::AffinityWithoutBlock { .. }
                    | Finding::AffinityToOthersBlock { .. }
            )
        };
        assert!(left.iter().all(is_on_its_way), "{left:?}");
    }

    fn found(&self) -> Vec<Found> {
        let kvs: Vec<KeyValue> = self.world.store.list("").cloned().collect();
        check(&kvs, None, self.world.wall())
    }

    /// Everything that is held is held by who was told so, and nothing else is.
    fn judge(&mut self) {
        self.world.check();
        let mut expected = self.holds.clone();
        for calico in &self.calicos {
            for (handle, addr) in calico.holds.iter().filter(|(h, _)| !calico.unsure.contains(*h)) {
                expected.insert(handle.clone(), BTreeSet::from([*addr]));
            }
        }
        let mut stored: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for block in self.world.blocks().values() {
            for (ordinal, attribute) in block.live() {
                let handle = attribute.handle_id.get().unwrap().clone();
                stored.entry(handle).or_default().extend(block.address(ordinal));
            }
        }
        assert_eq!(stored, expected);
        // Given back, nothing remains.
        for handle in expected.into_keys() {
            self.ask(0, release(&handle));
        }
        self.world.run();
        self.hear();
        assert!(self.world.blocks().values().all(|b| b.live().next().is_none()));
        assert!(self.world.keys("/calico/ipam/v2/handle/").is_empty());
    }
}

/// How many nodes there were at first, and what happened.
fn run(seed: u64, kind: Kind) -> (usize, BTreeMap<&'static str, u64>) {
    let mut cluster = Cluster::new(seed, kind);
    let size = cluster.size() + cluster.calicos.len();
    let deeds = 20 + cluster.world.below(60);
    for _ in 0..deeds {
        cluster.act();
    }
    cluster.settle();
    cluster.judge();
    (size, cluster.world.tally)
}

/// What came of the seeds so far.
#[derive(Default)]
struct Outcome {
    done: u64,
    /// How often what happened.
    seen: BTreeMap<&'static str, u64>,
    failed: BTreeSet<u64>,
    /// By how many nodes the cluster had at first, in tens.
    sizes: BTreeMap<usize, u64>,
}

/// So many failures end a run: more of them say nothing new.
const ENOUGH: usize = 10;

#[expect(clippy::disallowed_methods, reason = "a run says how fast it is; nothing in a seed sees this clock")]
fn run_all(kind: Kind) {
    if asked("PETIOLE_KIND").is_some_and(|asked| asked != kind.name()) {
        return;
    }
    let (first, seeds) = (number("PETIOLE_FIRST_SEED", 0), number("PETIOLE_SEEDS", 60));
    let (next, outcome) = (AtomicU64::new(first), Mutex::new(Outcome::default()));
    let (start, name) = (std::time::Instant::now(), kind.name());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds || outcome.lock().unwrap().failed.len() >= ENOUGH {
                return;
            }
            let result = std::panic::catch_unwind(|| run(seed, kind));
            let mut outcome = outcome.lock().unwrap();
            match result {
                Ok((size, tally)) => {
                    *outcome.sizes.entry(size / 10 * 10).or_default() += 1;
                    tally.into_iter().for_each(|(what, n)| *outcome.seen.entry(what).or_default() += n);
                }
                Err(_) => {
                    println!(
                        "{name}: seed {seed} failed; cargo xtask simulate ipam --kind {name} --first {seed} --seeds 1"
                    );
                    outcome.failed.insert(seed);
                }
            }
            outcome.done += 1;
            if outcome.done.is_multiple_of(1_000) {
                let rate = outcome.done as f64 / start.elapsed().as_secs_f64();
                let (done, left) = (outcome.done, (seeds - outcome.done) as f64 / rate / 60.0);
                println!(
                    "{name}: {done} of {seeds} seeds, {rate:.0} a second, {left:.0} min left, failed: {:?}",
                    outcome.failed
                );
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..number("PETIOLE_THREADS", 1) {
            scope.spawn(work);
        }
    });
    let Outcome { done, seen, failed, sizes } = outcome.into_inner().unwrap();
    let time = start.elapsed().as_secs_f64();
    println!("{name}: from seed {first}, {done} of {seeds} seeds in {time:.1} s; nodes at first {sizes:?}; {seen:?}");
    assert!(failed.is_empty(), "{name}: seeds {failed:?}");
}

#[test]
fn simulation_of_our_nodes() {
    run_all(Kind::Nodes);
}

#[test]
fn simulation_of_a_migration_in_either_order() {
    run_all(Kind::Migration);
}
