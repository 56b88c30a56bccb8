//! What the kernel should hold, what it holds, and the ordered plan between them.
//!
//! [`Dataplane`] keeps two views of the kernel: what is wanted (`set_*`, `update_learned`) and a mirror of what is there
//! (`handle_event`). [`Dataplane::poll_plan`] hands out the difference as steps for a driver that has no choices left, and
//! [`Dataplane::handle_done`] takes the kernel's answers. Nothing foreign is ever touched (see [`ident`]); a route is
//! replaced in one step, never deleted and added again.

pub mod ident;
pub mod kernel;
mod state;

pub use kernel::*;
pub use state::{AddressState, AddressWant, Counters, LearnedRoute, Problem, RouteState, Sweep, TimerReason};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use petiole_prefix::Prefix;

/// How the dataplane paces itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Time between two full comparisons with the kernel.
    pub resync: Duration,
    /// Wait before the first retry of a refused step; doubles with each further refusal.
    pub retry_min: Duration,
    /// The longest wait between two retries.
    pub retry_max: Duration,
    /// Most steps in one plan.
    pub plan_limit: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resync: Duration::from_secs(60),
            retry_min: Duration::from_millis(100),
            retry_max: Duration::from_secs(30),
            plan_limit: 4096,
        }
    }
}

/// The kernel's side of one node: wanted, observed, and the plan between them.
#[derive(Debug)]
pub struct Dataplane {}

#[allow(unused_variables, clippy::needless_pass_by_value)]
impl Dataplane {
    /// Knows nothing yet, and wants a dump.
    #[must_use]
    pub fn new(settings: Settings, now: Duration) -> Self {
        Self {}
    }
    /// Takes one fact about the kernel into the mirror.
    pub fn handle_event(&mut self, event: KernelEvent, now: Duration) {}
    /// The addresses that `lo` should hold, all of them.
    pub fn set_addresses(&mut self, wants: BTreeSet<AddressWant>) {}
    /// The node's own routes (block blackholes, local ranges), all of them.
    pub fn set_static_routes(&mut self, routes: BTreeMap<RouteKey, Route>) {}
    /// What changed among the routes that leaves announce.
    pub fn update_learned(&mut self, changes: impl IntoIterator<Item = (Prefix, Option<LearnedRoute>)>) {}
    /// From now on, what is ours and not wanted is deleted.
    pub fn allow_sweep(&mut self, what: Sweep) {}
    /// The next steps, unless a plan is under way.
    pub fn poll_plan(&mut self, now: Duration) -> Option<Plan> {
        None
    }
    /// The kernel's answers to a plan.
    pub fn handle_done(&mut self, id: PlanId, results: Vec<StepResult>, now: Duration) {}
    /// Whether a dump should be asked for; true once per wish.
    pub fn poll_dump_wanted(&mut self) -> bool {
        false
    }
    /// Something in [`Dataplane::poll_timeout`] is due.
    pub fn handle_timeout(&mut self, now: Duration) {}
    /// When to call [`Dataplane::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Duration, TimerReason)> {
        None
    }
    /// Where a route stands.
    #[must_use]
    pub fn state(&self, key: &RouteKey) -> RouteState {
        RouteState::Absent
    }
    /// Where an address on `lo` stands.
    #[must_use]
    pub fn address_state(&self, addr: std::net::IpAddr, len: u8) -> AddressState {
        AddressState::Absent
    }
    /// The interfaces, by index.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::empty()
    }
    /// The addresses of all interfaces.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        std::iter::empty()
    }
    /// Every mirrored route, ours and foreign.
    pub fn observed_routes(&self) -> impl Iterator<Item = (RouteKey, &Route)> {
        std::iter::empty()
    }
    /// What a person should know.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
    /// Whether a first dump is complete, so that links and addresses are known.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        false
    }
    /// Whether the kernel holds what is wanted, as far as it can.
    #[must_use]
    pub fn in_sync(&self) -> bool {
        true
    }
    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}
