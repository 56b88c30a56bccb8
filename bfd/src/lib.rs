//! Bidirectional Forwarding Detection for single-hop sessions (RFC 5880, RFC 5881), without sockets, clocks or threads.
//!
//! [`Bfd`] is the whole of it: every session, and one queue of timers for all of them. The driver hands in the packets of UDP
//! port 3784 and sends what [`Bfd::poll_transmit`] gives; [`Bfd::poll_event`] says what became of a session. Time is a `Duration`
//! since the start of the process.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | bytes to packets and back; total on any input |
//! | [`config`] | whom to watch, and how closely |
//! | `session` | the variables and rules of one session (RFC 5880 section 6.8) |
//! | [`bfd`] | all sessions: whose packet it is, timers, what leaves |
//! | [`event`] | what became of a session, and why a packet was thrown away |
//!
//! Asynchronous mode, active role, no authentication, no echo: what a node towards its leaf needs. What is left out, and how
//! the texts are read where they leave a choice, stands in docs/rfc/.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod bfd;
pub mod config;
pub mod event;
mod session;
pub mod wire;

pub use bfd::{Bfd, Transmit};
pub use config::{ConfigError, SessionConfig, SessionId};
pub use event::{BfdEvent, Counters, Discard, SessionView, Status};
pub use wire::{Diagnostic, Packet, State};
