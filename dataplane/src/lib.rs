//! What the kernel should hold, what it holds, and the ordered plan between them.
//!
//! [`Dataplane`] keeps two views of the kernel: what is wanted (`set_*`, `update_learned`) and a mirror of what is there
//! (`handle_event`). [`Dataplane::poll_plan`] hands out the difference as steps for a driver that has no choices left, and
//! [`Dataplane::handle_done`] takes the kernel's answers. Nothing foreign is ever touched (see [`ident`]); a route is
//! replaced in one step, never deleted and added again.

mod dataplane;
pub mod ident;
pub mod kernel;
mod observe;
mod plan;
mod query;
mod retry;
mod state;
mod table;
mod values;

pub use dataplane::{Dataplane, Settings};

pub use kernel::*;
pub use state::{AddressState, AddressWant, Counters, LearnedRoute, Problem, RouteState, Sweep, TimerReason};

#[cfg(test)]
mod tests;
