//! Many nodes in one process, as far as etcd can tell: of each the store's driver, the watch and the allocator of the agent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use petiole::io::store::Store;
use petiole_node::config::{EtcdSettings, StoreSettings};
use petiole_node::ipam::{Ipam, IpamSettings, TxnId, WATCHED_PREFIXES};
use petiole_node::prefix::Prefix;
use petiole_node::store::watch::{Watch, WatchEvent, WatchPhase};
use petiole_node::{Done, EffectId, Input};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Answers that may wait for a node, as in the agent.
const WAITING: usize = 1024;
/// The custom filters, which an agent watches besides what its allocator does.
const FILTERS: &str = "/calico/bgp/v1/global/custom_filters/";

/// What a node says of itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) in_sync: bool,
    pub(super) blocks: Vec<Prefix>,
    pub(super) problems: Vec<String>,
    /// Transactions whose conditions did not hold.
    pub(super) conflicts: u64,
    /// Why requests were given up, each once for every time.
    pub(super) given_up: Vec<String>,
}

/// Nodes that run until this is dropped.
pub(super) struct Fleet {
    runtime: Option<Runtime>,
    nodes: Vec<Arc<Mutex<Said>>>,
}

impl Fleet {
    /// All of them start in the same moment, as far as one process can.
    pub(super) fn start(endpoint: &str, size: usize) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let settings =
            StoreSettings::Etcd(EtcdSettings { endpoints: vec![endpoint.to_owned()], ..EtcdSettings::default() });
        let mut nodes = Vec::new();
        for number in 0..size {
            let said = Arc::new(Mutex::new(Said::default()));
            nodes.push(Arc::clone(&said));
            let (inputs, receiver) = mpsc::channel(WAITING);
            let seed = seed(number);
            let spread = u64::from_le_bytes(std::array::from_fn(|n| seed[n]));
            let store = {
                let _within = runtime.enter();
                Store::start(&settings, spread, inputs).map_err(|e| anyhow!(e))?
            };
            let clock = Instant::now();
            let ipam = IpamSettings {
                node: format!("node{number:04}"),
                want_block: true,
                pools: Vec::new(),
                selectors: BTreeMap::new(),
                labels: BTreeMap::new(),
                reserved: Vec::new(),
                grace_time: Duration::from_secs(60),
                taken: BTreeMap::new(),
                only_these: false,
            };
            let watched = WATCHED_PREFIXES.iter().copied().chain([FILTERS]).map(str::to_owned).collect();
            let node = OneNode {
                watch: Watch::new(watched, seed, Duration::ZERO),
                ipam: Ipam::new(ipam, seed, Duration::ZERO),
                store,
                clock,
                said,
                txns: BTreeMap::new(),
                last: 0,
            };
            runtime.spawn(node.live(receiver));
        }
        Ok(Self { runtime: Some(runtime), nodes })
    }

    pub(super) fn said(&self) -> Vec<Said> {
        self.nodes.iter().map(|said| said.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// Until all nodes are as wanted; how long it took.
    pub(super) fn until(&self, what: &str, within: Duration, wanted: impl Fn(&[Said]) -> bool) -> Result<Duration> {
        let start = Instant::now();
        loop {
            let said = self.said();
            if wanted(&said) {
                return Ok(start.elapsed());
            }
            if start.elapsed() > within {
                let blocks = said.iter().filter(|node| !node.blocks.is_empty()).count();
                let in_sync = said.iter().filter(|node| node.in_sync).count();
                let problem = said.iter().find_map(|node| node.problems.first());
                return Err(anyhow!("{in_sync} in sync, {blocks} with a block, {problem:?}"))
                    .with_context(|| format!("{what}: not within {within:?}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}

/// Different for each node, and the same in each run.
fn seed(number: usize) -> [u8; 32] {
    let mut seed = [0; 32];
    let mut state = number as u64;
    for part in seed.chunks_mut(8) {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        part.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    seed
}

struct OneNode {
    watch: Watch,
    ipam: Ipam,
    store: Store,
    clock: Instant,
    said: Arc<Mutex<Said>>,
    txns: BTreeMap<EffectId, TxnId>,
    last: u64,
}

impl OneNode {
    async fn live(mut self, mut inputs: mpsc::Receiver<Input>) {
        loop {
            self.turn();
            let due = [self.watch.poll_timeout().map(|(at, _)| at), self.ipam.poll_timeout().map(|(at, _)| at)];
            let due = due.into_iter().flatten().min().unwrap_or(Duration::from_secs(3600));
            let wait = due.saturating_sub(self.clock.elapsed());
            tokio::select! {
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
                () = tokio::time::sleep(wait) => {
                    let (now, wall) = self.now();
                    self.watch.handle_timeout(now);
                    self.ipam.handle_timeout(now, wall);
                }
            }
        }
    }

    fn take(&mut self, input: Input) {
        let (now, wall) = self.now();
        self.note(&input);
        match input {
            Input::Store(event) => self.watch.handle_event(event, now),
            Input::Done { id, result: Done::Txn(result) } => {
                if let Some(txn) = self.txns.remove(&id) {
                    self.ipam.handle_done(txn, result, now, wall);
                }
            }
            _ => {}
        }
    }

    fn note(&self, input: &Input) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match input {
            Input::Done { result: Done::Txn(Ok(outcome)), .. } if !outcome.succeeded => said.conflicts += 1,
            Input::Done { result: Done::Txn(Err(error)), .. } => said.given_up.push(format!("a transaction: {error}")),
            Input::Store(WatchEvent::ListFailed { error, .. }) => said.given_up.push(format!("a list: {error}")),
            Input::Store(WatchEvent::Ended { reason, .. }) => said.given_up.push(format!("a watch: {reason:?}")),
            _ => {}
        }
    }

    fn turn(&mut self) {
        let (now, wall) = self.now();
        while let Some(fact) = self.watch.poll_fact() {
            self.ipam.handle_fact(&fact, now, wall);
        }
        while let Some(action) = self.watch.poll_action() {
            self.store.watch(action);
        }
        while let Some((id, txn)) = self.ipam.poll_txn() {
            self.last += 1;
            self.txns.insert(EffectId(self.last), id);
            self.store.txn(EffectId(self.last), txn);
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.in_sync = self.watch.state().phase == WatchPhase::InSync;
        if said.blocks.len() != self.ipam.blocks().len() {
            said.blocks = self.ipam.blocks().keys().copied().collect();
        }
        if said.blocks.is_empty() && said.in_sync {
            said.problems = self.ipam.problems().iter().map(ToString::to_string).collect();
        }
    }

    fn now(&self) -> (Duration, u64) {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (self.clock.elapsed(), u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX))
    }
}
