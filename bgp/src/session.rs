//! Sessions: the state machine of a connection, what two OPENs agree on, collisions, timers, and the neighbour they belong to.

pub(crate) mod collision;
pub(crate) mod fsm;
pub(crate) mod graceful;
pub(crate) mod negotiate;
pub(crate) mod peer;
pub(crate) mod retention;
pub(crate) mod timers;

pub(crate) use fsm::{Input, Output, State, Step};
pub(crate) use peer::{Conn, Established, Peer};
pub(crate) use timers::{Timer, Timers};
