//! Pods: from a request of the CNI plugin to a container that is reachable, and back; each attachment a state machine of its own.
//!
//! | step of ADD | what a crash right after it leaves | who cleans it up |
//! |---|---|---|
//! | pair begun while addresses are asked for | an interface `pet...` that no record knows | the repair, once the kernel is mirrored |
//! | addresses assigned in the store | also addresses with our mark that no record knows | the repair, once the store is in sync |
//! | pair has its addresses | the same | |
//! | record written | a live record | DEL of the runtime, which calls it after a failed ADD; GC; a boot |
//! | routes in the kernel | the same | |
//! | a borrowed address told to the leaves, answered | the same | |
//!
//! A block was announced long before its first pod, but an address that is borrowed from another node's block is reachable from
//! elsewhere only by a host route of its own. So ADD's answer waits until every Established session has told of it and the
//! kernel has taken those octets; [`ANNOUNCE_PATIENCE`] at most, because a leaf that reads nothing must not keep pods from
//! starting. Nothing is waited for where nothing will be told: without a session, on a drained node, or where pool or filter
//! keep it back.
//!
//! DEL goes backwards: route and pair away, the record says `releasing` (it is the queue that outlives the agent), answered;
//! then the addresses go back whenever the store is there, then the record goes. Requests about one attachment are served one
//! after the other, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use petiole_ipam::{AssignRequest, ReleaseTarget, RequestId};
use petiole_prefix::{Family, Prefix};

use crate::effect::Effect;
use crate::input::{EffectId, Now};
use crate::view::PodsView;

mod gateway;
mod join;
mod latency;
mod repair;
mod steps;
mod subnet;
mod types;
mod witness;

pub use gateway::Gateway;
pub(crate) use join::ipam_settings;
pub use subnet::subnet_with;
pub(crate) use types::MARK;
pub use types::{
    Attach, Attachment, CniAnswer, CniFailure, CniFault, CniId, CniReply, CniRequest, Endpoint, EndpointState,
    FoundEndpoints, GATEWAY_V4, GATEWAY_V6, HOST_MAC,
};
pub(crate) use witness::Witness;

/// How long the kernel may take to confirm a route.
const ROUTE_PATIENCE: Duration = Duration::from_secs(5);
/// How long the sessions may take to send the announcement of a borrowed address.
const ANNOUNCE_PATIENCE: Duration = Duration::from_secs(2);
/// How long a request waits for others about the same attachment.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);
/// Time before a release that failed is tried again.
const RELEASE_AGAIN: Duration = Duration::from_secs(1);
/// Time between two comparisons of records, kernel and store.
const REPAIR: Duration = Duration::from_secs(30);
/// Identifiers of pods' requests and effects have this bit: they never meet the node's own.
const OWN_IDS: u64 = 1 << 63;

/// What pods want done.
#[derive(Clone, Debug)]
pub(crate) enum PodAction {
    /// Ask the allocator.
    Assign(RequestId, AssignRequest),
    /// Give back.
    Release(RequestId, ReleaseTarget),
    /// Carry out.
    Effect(Box<Effect>),
}

/// What an ADD depends on beside the request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PodFacts {
    /// The node's name.
    pub node: String,
    /// Families that pods get an address of; empty: ADD that names nothing is refused, for the reason in `refusal`.
    pub families: Vec<Family>,
    /// Every pool of the store: name and range.
    pub pools: Vec<(String, Prefix)>,
    /// Why no ADD is served.
    pub refusal: Option<String>,
    /// Why the store cannot be read, as it was said last.
    pub store: Option<String>,
    /// The smallest MTU of the uplinks, in octets.
    pub mtu: u32,
}

impl PodFacts {
    /// Of which families a pod gets an address: those of the pools that it names, else all that there are, and those of the
    /// addresses that it names.
    fn families_of(&self, attach: &Attach) -> Vec<Family> {
        let names = |text: &String, (name, cidr): &(String, Prefix)| name == text || text.parse() == Ok(*cidr);
        let of_named = self.pools.iter().filter(|pool| attach.pools.iter().any(|text| names(text, pool)));
        let mut families: BTreeSet<Family> = of_named.map(|(_, cidr)| cidr.family()).collect();
        if families.is_empty() {
            families.extend(&self.families);
        }
        families.extend(attach.ips.iter().map(|a| Family::of(*a)));
        families.into_iter().collect()
    }
}

/// All endpoints of a node.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    boot_id: String,
    facts: PodFacts,
    now: Duration,
    wall: petiole_store::UnixNanos,
    works: BTreeMap<Attachment, Work>,
    /// Whose outcome comes back under an identifier.
    orders: BTreeMap<u64, Order>,
    next: u64,
    gcs: BTreeMap<u64, Gc>,
    actions: VecDeque<PodAction>,
    /// The wanted routes changed.
    changed: bool,
    /// Those behind a bridge that got an address that no host can have there, and began again.
    retried: BTreeSet<Attachment>,
    repair: repair::Repair,
    latencies: latency::Latencies,
}

/// What an outcome is about.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Order {
    /// A step of an endpoint.
    Step(Attachment, Step),
    /// An interface that no record knows.
    Stray(String, Option<Asker>),
    /// Addresses that no record knows.
    StrayHandle(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Assign,
    Wire,
    Record,
    Look,
    Unwire,
    Release,
    Forget,
}

/// Who waits for an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asker {
    Plugin(CniId),
    Gc(u64),
    Nobody,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Ask {
    Add(Box<Attach>),
    Del,
    Check(Vec<IpAddr>),
}

/// One endpoint, and what is being done about it.
#[derive(Debug)]
struct Work {
    endpoint: Endpoint,
    stage: Stage,
    /// Who is answered at the end of the stage.
    asker: Asker,
    /// A record may be on disk.
    on_disk: bool,
    waiting: VecDeque<(Asker, Ask, Duration)>,
    /// When the repair first missed its interface.
    missed: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// Addresses are asked for, and the pair is begun.
    Assigning,
    /// The pair is made.
    Wiring,
    /// The record is written, the routes are on their way into the kernel, and then a borrowed address to the leaves.
    Finishing {
        recorded: bool,
        routed: bool,
        announced: bool,
        deadline: Duration,
    },
    Live,
    /// The driver looks whether it is as ADD left it, for an ADD said again or for a CHECK.
    Looking {
        again: Option<Box<Attach>>,
    },
    /// Pair and routes go, and the record is marked; then this is answered.
    Unwiring {
        unwired: bool,
        marked: bool,
        /// The store may hold addresses of it.
        held: bool,
        outcome: CniReply,
    },
    /// The addresses go back; tried again then.
    Releasing {
        again: Option<Duration>,
    },
    /// The record goes.
    Forgetting,
}

#[derive(Debug)]
struct Gc {
    id: CniId,
    left: usize,
    failures: Vec<String>,
}

impl Pods {
    /// Takes up the records of former lives; only now is anything cleaned up.
    pub(crate) fn load(&mut self, boot_id: &str, found: FoundEndpoints) {
        self.boot_id = boot_id.to_owned();
        self.repair.load(found.unreadable);
        for endpoint in found.endpoints {
            let key = endpoint.attach.attachment.clone();
            let live = endpoint.state == EndpointState::Live && endpoint.boot_id == self.boot_id;
            let work = Work {
                endpoint,
                stage: Stage::Live,
                asker: Asker::Nobody,
                on_disk: true,
                waiting: VecDeque::new(),
                missed: false,
            };
            self.works.insert(key.clone(), work);
            self.changed = true;
            if !live {
                self.remove(&key, Asker::Nobody, Ok(CniAnswer::Done));
            }
        }
    }

    pub(crate) fn turn(&mut self, now: Now) {
        self.now = now.mono;
        self.wall = now.wall;
    }

    pub(crate) fn set_facts(&mut self, facts: PodFacts) {
        self.facts = facts;
    }

    /// Takes in a request of the plugin.
    pub(crate) fn handle_request(&mut self, id: CniId, request: CniRequest) {
        let asker = Asker::Plugin(id);
        self.latencies.begin(id, &request, self.now);
        match request {
            CniRequest::Add(attach) => self.ask(attach.attachment.clone(), asker, Ask::Add(attach)),
            CniRequest::Del(attachment) => self.ask(attachment, asker, Ask::Del),
            CniRequest::Check { attachment, addresses } => self.ask(attachment, asker, Ask::Check(addresses)),
            CniRequest::Status => {
                let refusal = self.facts.refusal.clone();
                let reply =
                    refusal.map_or(Ok(CniAnswer::Done), |why| Err(CniFailure::new(CniFault::NotAvailable, why)));
                self.answer(asker, reply);
            }
            CniRequest::Gc { network, valid } => {
                let valid: BTreeSet<Attachment> = valid.into_iter().collect();
                let gone =
                    self.works.iter().filter(|(k, w)| w.endpoint.attach.network == network && !valid.contains(k));
                let gone: Vec<Attachment> = gone.map(|(k, _)| k.clone()).collect();
                let gc = self.order_id();
                // One more than there are, so that it ends here at the earliest.
                self.gcs.insert(gc, Gc { id, left: gone.len() + 1, failures: Vec::new() });
                for key in gone {
                    self.ask(key, Asker::Gc(gc), Ask::Del);
                }
                self.answer(Asker::Gc(gc), Ok(CniAnswer::Done));
            }
        }
    }

    /// Serves a request now, or when those before it about the same attachment are done.
    fn ask(&mut self, key: Attachment, asker: Asker, ask: Ask) {
        let Some(work) = self.works.get_mut(&key) else { return self.ask_about_unknown(key, asker, ask) };
        match (&work.stage, &ask) {
            (Stage::Live, _) => self.serve(&key, asker, ask),
            // All that can be said about it has been done, or is written down.
            (Stage::Releasing { .. } | Stage::Forgetting, Ask::Del) => self.answer(asker, Ok(CniAnswer::Done)),
            (Stage::Releasing { .. } | Stage::Forgetting, Ask::Check(_)) => self.answer(asker, Err(unknown(&key))),
            _ => work.waiting.push_back((asker, ask, self.now + QUEUE_PATIENCE)),
        }
    }

    fn ask_about_unknown(&mut self, key: Attachment, asker: Asker, ask: Ask) {
        match ask {
            Ask::Check(_) => self.answer(asker, Err(unknown(&key))),
            // An agent that died half way may have left the interface; its addresses are the repair's.
            Ask::Del => self.unwire_stray(key.host_name(), Some(asker)),
            Ask::Add(attach) => self.begin_behind_gateway(key, asker, *attach),
        }
    }

    fn serve(&mut self, key: &Attachment, asker: Asker, ask: Ask) {
        let Some(work) = self.works.get_mut(key) else { return };
        match ask {
            Ask::Del => self.remove(key, asker, Ok(CniAnswer::Done)),
            Ask::Check(_) if work.endpoint.state == EndpointState::Releasing => self.answer(asker, Err(unknown(key))),
            // It was to go, and its pair could not be deleted: it makes room for a new one now.
            Ask::Add(_) if work.endpoint.state == EndpointState::Releasing => {
                work.waiting.push_front((asker, ask, self.now + QUEUE_PATIENCE));
                self.remove(key, Asker::Nobody, Ok(CniAnswer::Done));
            }
            Ask::Add(attach) if work.endpoint.attach.addresses_only => {
                let reply = if work.endpoint.attach.network == attach.network {
                    Ok(CniAnswer::Added(Box::new(work.endpoint.clone())))
                } else {
                    Err(CniFailure::new(CniFault::Exists, taken(key, &work.endpoint.attach.network)))
                };
                self.answer(asker, reply);
            }
            Ask::Add(attach) if attach.network != work.endpoint.attach.network => {
                let words = taken(key, &work.endpoint.attach.network);
                self.answer(asker, Err(CniFailure::new(CniFault::Exists, words)));
            }
            Ask::Check(addresses) if !work.endpoint.addresses.iter().all(|a| addresses.contains(a)) => {
                let words = format!(
                    "{} {} holds {:?}, not the addresses of prevResult",
                    key.container, key.interface, work.endpoint.addresses
                );
                self.answer(asker, Err(CniFailure::new(CniFault::NotAsLeft, words)));
            }
            Ask::Check(_) if work.endpoint.attach.addresses_only => self.answer(asker, Ok(CniAnswer::Done)),
            Ask::Check(_) => self.look(key, asker, None),
            Ask::Add(attach) => self.look(key, asker, Some(attach)),
        }
    }

    fn look(&mut self, key: &Attachment, asker: Asker, again: Option<Box<Attach>>) {
        let Some(work) = self.works.get_mut(key) else { return };
        work.stage = Stage::Looking { again };
        work.asker = asker;
        let Asker::Plugin(cni) = asker else { return };
        let endpoint = work.endpoint.clone();
        let id = self.order(key, Step::Look);
        self.push(Effect::Look { id: EffectId(id), cni, endpoint });
    }

    /// Runs what is due.
    pub(crate) fn handle_timeout(&mut self) {
        let now = self.now;
        let keys: Vec<Attachment> = self.works.keys().cloned().collect();
        for key in keys {
            let Some(work) = self.works.get_mut(&key) else { continue };
            let (late, waiting): (VecDeque<_>, _) =
                std::mem::take(&mut work.waiting).into_iter().partition(|(_, _, deadline)| *deadline <= now);
            work.waiting = waiting;
            let stage = work.stage.clone();
            for (asker, ..) in late {
                let words = "another request about the same container is not done yet; try again";
                self.answer(asker, Err(CniFailure::new(CniFault::TryAgain, words)));
            }
            match stage {
                Stage::Finishing { routed: false, deadline, .. } if deadline <= now => {
                    self.handle_routed(&key, Err("it was not confirmed in time".to_owned()));
                }
                Stage::Finishing { announced: false, deadline, .. } if deadline <= now => {
                    self.handle_announced(&key, false);
                }
                Stage::Releasing { again: Some(at) } if at <= now => self.release(&key),
                _ => {}
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is wanted next.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let stages = self.works.values().filter_map(|w| match w.stage {
            Stage::Finishing { routed, announced, deadline, .. } if !(routed && announced) => Some(deadline),
            Stage::Releasing { again } => again,
            _ => None,
        });
        let queued = self.works.values().flat_map(|w| w.waiting.iter().map(|(.., deadline)| *deadline));
        stages.chain(queued).chain(self.repair.poll_timeout(self.now)).min()
    }

    pub(crate) fn poll_action(&mut self) -> Option<PodAction> {
        self.actions.pop_front()
    }

    /// Whether the wanted routes changed since the last time.
    pub(crate) const fn poll_changed(&mut self) -> bool {
        std::mem::replace(&mut self.changed, false)
    }

    /// The endpoints that packets are to reach.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = &Endpoint> {
        let up = |s: &Stage| matches!(s, Stage::Finishing { .. } | Stage::Live | Stage::Looking { .. });
        self.works.values().filter(move |w| up(&w.stage) && w.endpoint.attach.is_routed()).map(|w| &w.endpoint)
    }

    /// How many are attached, and how many addresses wait for the store to be given back.
    pub(crate) fn counts(&self) -> PodsView {
        let pods = || self.works.values().filter(|w| !w.endpoint.attach.is_gateway());
        let live = pods().filter(|w| matches!(w.stage, Stage::Live | Stage::Looking { .. })).count();
        let releasing = pods().filter(|w| matches!(w.stage, Stage::Releasing { .. } | Stage::Forgetting)).count();
        PodsView { attached: live, releasing }
    }

    /// What a person should know.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.repair.problems()
    }

    fn answer(&mut self, asker: Asker, result: CniReply) {
        match asker {
            Asker::Nobody => {}
            Asker::Plugin(id) => {
                self.latencies.end(id, result.is_ok(), self.now);
                self.push(Effect::CniReply { id, result });
            }
            Asker::Gc(run) => {
                let Some(gc) = self.gcs.get_mut(&run) else { return };
                gc.left -= 1;
                gc.failures.extend(result.err().map(|e| e.words));
                if gc.left > 0 {
                    return;
                }
                let Some(gc) = self.gcs.remove(&run) else { return };
                let result = match gc.failures.as_slice() {
                    [] => Ok(CniAnswer::Done),
                    some => Err(CniFailure::new(CniFault::Kernel, some.join("; "))),
                };
                self.push(Effect::CniReply { id: gc.id, result });
            }
        }
    }

    fn order(&mut self, key: &Attachment, step: Step) -> u64 {
        let id = self.order_id();
        self.orders.insert(id, Order::Step(key.clone(), step));
        id
    }

    const fn order_id(&mut self) -> u64 {
        self.next += 1;
        self.next | OWN_IDS
    }

    fn push(&mut self, effect: Effect) {
        self.actions.push_back(PodAction::Effect(Box::new(effect)));
    }
}

fn unknown(key: &Attachment) -> CniFailure {
    let words = format!("container {} has no interface {} of this node", key.container, key.interface);
    CniFailure::new(CniFault::UnknownContainer, words)
}

fn taken(key: &Attachment, network: &str) -> String {
    format!("interface {} of container {} is attached to network {network} already", key.interface, key.container)
}
