//! The agent: settings, drivers, and one loop around one node.

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use petiole_node::bgp::Event;
use petiole_node::config::{Role, Settings};
use petiole_node::dataplane::Plan;
use petiole_node::{Done, Effect, EffectId, Input, Node, Saved};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::io::bfd::Bfd;
use crate::io::bgp::{Arrival, Connections};
use crate::io::clock::Clock;
use crate::io::cni::{self, Desk};
use crate::io::heart::Heart;
use crate::io::kubernetes::Kubernetes;
use crate::io::neighbour::Discovery;
use crate::io::netlink::Driver;
use crate::io::operators::Operators;
use crate::io::pods::Pods;
use crate::io::pods::records::Records;
use crate::io::state::{Found, StateFile};
use crate::io::store::Store;
use crate::io::{api, conf_dir, forwarding, health, metrics};
use crate::{log, preflight};

/// Inputs that may wait for the loop; a driver that has more waits itself.
const WAITING: usize = 1024;
/// The loop turns at least this often.
const TICK: Duration = Duration::from_secs(1);
/// A loop this late was not running: stopped, starved, or its machine was.
const STALL: Duration = Duration::from_millis(500);
/// How long readers need to hand over what waits in the sockets.
const CATCH_UP: Duration = Duration::from_millis(20);
/// How long an operator may take to read the last answer.
const ANSWERED: Duration = Duration::from_secs(1);
/// Chunks that are taken in before a timer may say that nothing was heard.
const BACKLOG: usize = 64;

/// Why the agent ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// By a signal: as a rule somebody starts it again.
    Signal,
    /// By `petiole stop`: it is to stay away.
    Order,
}

/// Run until a signal or an order ends it. By a signal it leaves routes, addresses and announcements as they are: such a stop is
/// the first half of a restart.
///
/// # Errors
/// What keeps the agent from beginning, with what to do.
pub async fn run(settings: Settings) -> Result<End> {
    let _lock = preflight::check(&settings)?;
    let clock = Clock::start();
    let seed = seed()?;
    let (inputs, receiver) = mpsc::channel(WAITING);
    let records = Records::in_folder(&settings.paths.state).map_err(anyhow::Error::msg)?;
    let endpoints = records.read();
    let spread = u64::from_le_bytes(std::array::from_fn(|n| seed[n]));
    let drivers = Drivers::start(&settings, records, spread, clock, inputs.clone()).await?;
    let state = StateFile::in_folder(settings.paths.state.clone());
    let saved = match state.read() {
        Found::Nothing => None,
        Found::Saved(saved) => Some(*saved),
        Found::Unusable(words) => {
            tracing::warn!("{words}");
            None
        }
    };
    let mut node = Node::new(settings, seed, clock.now());
    node.handle(Input::Started { boot_id: boot_id(), saved: saved.map(Box::new) }, clock.now());
    node.handle(Input::Endpoints(endpoints), clock.now());
    turn(node, clock, drivers, receiver).await
}

/// The loop. Both clocks are read once a turn; effects are carried out in order before the next input.
async fn turn(mut node: Node, clock: Clock, mut drivers: Drivers, mut inputs: mpsc::Receiver<Input>) -> Result<End> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut reload = signal(SignalKind::hangup()).context("cannot watch for SIGHUP")?;
    let watchdog = sd_notify::watchdog_enabled();
    let mut tick = tokio::time::interval(watchdog.map_or(TICK, |w| TICK.min(w / 2)).max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    drivers.dispatch(&mut node);
    // Says that the loop runs, and nothing about store or peers: a cold boot would wait for itself otherwise.
    notify(&[NotifyState::Ready]);
    while !drivers.ending {
        let due = node.poll_timeout().map(|(at, _)| at);
        let woken = tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = reload.recv() => {
                tracing::warn!("SIGHUP: reloading is not built yet; restart the agent instead, which costs no packet");
                Woken::Due
            }
            at = tick.tick() => {
                drivers.heart.late(at.elapsed());
                if watchdog.is_some() {
                    notify(&[NotifyState::Watchdog]);
                }
                Woken::Due
            }
            Some(input) = inputs.recv() => Woken::Input(input),
            Some(arrival) = drivers.arrivals.recv() => Woken::Arrival(arrival),
            () = tokio::time::sleep_until(clock.instant(due.unwrap_or(Duration::MAX))), if due.is_some() => Woken::Due,
        };
        // First of all, so that the node reads what waited meanwhile in the light of it.
        let late = due.map_or(Duration::ZERO, |due| clock.now().mono.saturating_sub(due));
        if late > STALL {
            tracing::warn!("the agent was not running for {} ms", late.as_millis());
            node.handle(Input::Bgp(Event::Stalled { by: late }), clock.now());
        }
        match woken {
            Woken::Input(input) => node.handle(input, clock.now()),
            Woken::Arrival(arrival) => drivers.admit(&mut node, arrival, &clock),
            Woken::Due => {}
        }
        drivers.dispatch(&mut node);
        let now = clock.now();
        drivers.heart.beat(now.mono);
        if node.poll_timeout().is_none_or(|(at, _)| at > now.mono) {
            continue;
        }
        // A timer that says "nothing was heard" must not speak before what lies in the sockets was read.
        if late > STALL {
            tokio::time::sleep(CATCH_UP).await;
        }
        // The others must not wait for it: under a flood it would delay every KEEPALIVE.
        let first = if node.judges_silence(now.mono) { BACKLOG } else { 0 };
        for _ in 0..first {
            let Ok(arrival) = drivers.arrivals.try_recv() else { break };
            drivers.admit(&mut node, arrival, &clock);
        }
        for conn in node.hold_due(clock.now().mono) {
            if let Some(looked) = drivers.connections.look(conn) {
                node.handle(Input::Bgp(looked), clock.now());
            }
        }
        node.handle_timeout(clock.now());
        drivers.dispatch(&mut node);
    }
    notify(&[NotifyState::Stopping]);
    tracing::info!("stopping; routes and addresses stay as they are");
    if drivers.ending {
        drivers.finish().await;
        return Ok(End::Order);
    }
    Ok(End::Signal)
}

/// What a turn of the loop begins with.
enum Woken {
    Input(Input),
    Arrival(Arrival),
    /// Nothing but the time.
    Due,
}

/// Everything that the loop hands work to.
struct Drivers {
    bfd: Bfd,
    connections: Connections,
    arrivals: mpsc::Receiver<Arrival>,
    discovery: Discovery,
    store: Store,
    // Neither has a bound: the node waits for the outcome of what it ordered, and the loop must never wait for a driver.
    kernel: mpsc::UnboundedSender<KernelOrder>,
    saver: mpsc::UnboundedSender<(EffectId, Saved)>,
    operators: Operators,
    cni: Desk,
    pods: Pods,
    kubernetes: Option<Kubernetes>,
    heart: Arc<Heart>,
    inputs: mpsc::Sender<Input>,
    api: JoinHandle<()>,
    api_ends: Arc<Notify>,
    /// An operator ends the agent.
    ending: bool,
}

enum KernelOrder {
    Dump,
    Apply(Plan),
}

impl Drivers {
    async fn start(
        settings: &Settings,
        records: Records,
        spread: u64,
        clock: Clock,
        inputs: mpsc::Sender<Input>,
    ) -> Result<Self> {
        let socket = settings.paths.api_socket();
        let listener = api::bind(&socket).with_context(|| {
            format!("cannot make the API socket {}; make its directory writable, or set [paths] run", socket.display())
        })?;
        let socket = settings.paths.cni_socket();
        let plugins = api::bind(&socket).with_context(|| {
            format!("cannot make the CNI socket {}; make its directory writable, or set [paths] run", socket.display())
        })?;
        let store = Store::start(&settings.store, spread, inputs.clone()).map_err(anyhow::Error::msg)?;
        let kernel = kernel(inputs.clone())
            .await
            .context("cannot open a netlink socket; is this a Linux kernel with CONFIG_NETLINK?")?;
        let (connections, arrivals) = Connections::start(settings.bgp.as_ref(), inputs.clone());
        let bfd = Bfd::new(seed()?, clock, inputs.clone()).context("cannot make an event descriptor")?;
        let discovery = Discovery::new(inputs.clone());
        let operators = Operators::new(inputs.clone());
        let own = settings.node.addresses.iter().find_map(|prefix| match prefix.addr() {
            IpAddr::V4(addr) => Some(addr),
            IpAddr::V6(_) => None,
        });
        let cni = Desk::new(inputs.clone(), own);
        tokio::spawn(cni::serve(plugins, cni.clone()));
        let pods = Pods::new(cni.clone(), records, inputs.clone());
        let heart = Arc::new(Heart::new(clock));
        let api_ends = Arc::new(Notify::new());
        let told = Arc::clone(&api_ends);
        let api = tokio::spawn(api::serve(listener, operators.clone(), async move { told.notified().await }));
        tokio::spawn(metrics::serve(settings.metrics_listen, operators.clone(), Arc::clone(&heart), inputs.clone()));
        let source = settings.ipam.source;
        let kubernetes =
            settings.kubernetes.clone().map(|settings| Kubernetes::start(settings, source, spread, inputs.clone()));
        if settings.node.roles.contains(&Role::Worker) {
            tokio::spawn(conf_dir::watch(petiole_node::conf_dir::FOLDER, conf_dir::PAUSE, inputs.clone()));
        }
        let saver = saver(StateFile::in_folder(settings.paths.state.clone()), inputs.clone());
        Ok(Self {
            bfd,
            connections,
            arrivals,
            discovery,
            store,
            kernel,
            saver,
            operators,
            cni,
            pods,
            kubernetes,
            heart,
            inputs,
            api,
            api_ends,
            ending: false,
        })
    }

    fn admit(&mut self, node: &mut Node, arrival: Arrival, clock: &Clock) {
        let event = self.connections.admit(arrival);
        node.handle(Input::Bgp(event), clock.now());
        self.dispatch(node);
    }

    /// Carry out everything the node wants. Nothing here waits.
    fn dispatch(&mut self, node: &mut Node) {
        while let Some(effect) = node.poll_effect() {
            match effect {
                Effect::Store(action) => self.store.watch(action),
                Effect::Txn { id, txn } => self.store.txn(id, txn),
                Effect::Bfd(peers) => self.bfd.set_peers(peers),
                Effect::Bgp(action) => self.connections.act(action),
                Effect::Discovery(action) => self.discovery.act(action),
                Effect::Apply(plan) => drop(self.kernel.send(KernelOrder::Apply(plan))),
                Effect::Dump => drop(self.kernel.send(KernelOrder::Dump)),
                Effect::Probe { gate, check, timeout } => {
                    let inputs = self.inputs.clone();
                    tokio::spawn(async move {
                        let result = health::probe(&check, timeout).await;
                        let _ = inputs.send(Input::Probed { gate, result }).await;
                    });
                }
                Effect::Save { id, saved } => drop(self.saver.send((id, saved))),
                Effect::Prepare { cni, endpoint, families } => self.pods.prepare(cni, endpoint, &families),
                Effect::Wire { id, cni, endpoint } => self.pods.wire(id, cni, endpoint),
                Effect::Look { id, cni, endpoint } => self.pods.look(id, cni, endpoint),
                Effect::Unwire { id, host } => self.pods.unwire(id, host),
                Effect::Record { id, endpoint } => self.pods.record(id, endpoint),
                Effect::Forward(wanted) => forwarding::set(wanted, self.inputs.clone()),
                Effect::Forget { id, host } => self.pods.forget(id, host),
                Effect::CniReply { id, result } => self.cni.reply(id, result),
                Effect::Kubernetes(action) => {
                    if let Some(kubernetes) = &self.kubernetes {
                        kubernetes.act(action);
                    }
                }
                Effect::Reply { id, answer } => self.operators.reply(id, answer),
                Effect::Exit => self.ending = true,
                Effect::Log(event) => log::say(&event),
            }
        }
    }

    /// Let the leaves read our last words, and the operator the answer.
    async fn finish(self) {
        self.connections.said_goodbye().await;
        self.api_ends.notify_one();
        let _ = tokio::time::timeout(ANSWERED, self.api).await;
    }
}

async fn kernel(inputs: mpsc::Sender<Input>) -> std::io::Result<mpsc::UnboundedSender<KernelOrder>> {
    let (driver, mut events) = Driver::open().await?;
    let (orders, mut ordered) = mpsc::unbounded_channel();
    let told = inputs.clone();
    tokio::spawn(async move {
        while let Some(events) = events.recv().await {
            if told.send(Input::Kernel(events)).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(order) = ordered.recv().await {
            match order {
                KernelOrder::Dump => driver.dump(),
                KernelOrder::Apply(plan) => {
                    let (id, results) = driver.apply(plan).await;
                    let _ = inputs.send(Input::Applied { id, results }).await;
                }
            }
        }
    });
    Ok(orders)
}

fn saver(state: StateFile, inputs: mpsc::Sender<Input>) -> mpsc::UnboundedSender<(EffectId, Saved)> {
    let (orders, mut ordered) = mpsc::unbounded_channel::<(EffectId, Saved)>();
    tokio::spawn(async move {
        while let Some((id, saved)) = ordered.recv().await {
            let state = state.clone();
            let written = tokio::task::spawn_blocking(move || state.write(&saved)).await;
            let result = written.unwrap_or_else(|e| Err(format!("the writer failed: {e}")));
            let _ = inputs.send(Input::Done { id, result: Done::Saved(result) }).await;
        }
    });
    orders
}

fn notify(state: &[NotifyState<'_>]) {
    // Without a service manager there is nobody to tell, which is no error.
    if let Err(e) = sd_notify::notify(state) {
        tracing::warn!("cannot tell the service manager: {e}");
    }
}

fn seed() -> Result<[u8; 32]> {
    let mut seed = [0; 32];
    fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut seed)).context("cannot read /dev/urandom")?;
    Ok(seed)
}

fn boot_id() -> String {
    // Without one, saved blocks never count, which is the safe side.
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}
