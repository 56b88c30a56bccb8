//! A BGP-4 speaker for one node of a routed fabric, without sockets, clocks or threads.
//!
//! [`Speaker`] is the whole of it: the driver reports what happened on TCP connections ([`Event`]), the node says whom to talk
//! to and what is ours to announce, and the speaker answers with [`Action`]s for the driver, [`SpeakerEvent`]s for people and
//! batches of [`RouteChanges`] for the forwarding table. Time is a `Duration` since the start of the process.
//!
//! | module | what |
//! |---|---|
//! | [`wire`] | bytes to messages and back; total on any input; RFC 7606 treatments |
//! | [`ended`] | why connections and sessions end |
//! | `session` | the state machine of one connection, collision, negotiation, timers |
//! | [`rib`] | the routes learned, interned attributes, the decision process and its reasons; Adj-RIB-Out |
//! | [`guard`] | the one way to announce: proof of ownership, checked again on the bytes |
//! | [`limit`] | how many prefixes a neighbour may send |
//! | [`trace`] | the last messages of each neighbour |
//! | [`verdict`] | whose fault it was that a hold timer expired |
//! | [`view`] | what an operator sees |
//!
//! A node is not a transit: nothing learned is ever announced. Adj-RIB-Out is computed from [`guard::Originated`] values only;
//! the routes learned are not an input of it.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod bfd;
pub mod config;
pub mod ended;
pub mod event;
pub mod guard;
pub mod limit;
pub mod rib;
mod session;
mod shared;
pub mod speaker;
pub mod trace;
pub mod verdict;
pub mod view;
pub mod wire;

pub use bfd::{BfdPolicy, BfdState, BfdStatus};
pub use config::{ConfigError, ConnId, LocalConfig, NotAPeer, PeerConfig, PeerId, RemoteAsn, RestartPolicy};
pub use ended::{DownReason, TooManyPrefixes};
pub use event::{Action, Event, RetentionEnd, SpeakerEvent, TimerReason};
pub use guard::{GuardError, Originated, Ownership};
pub use limit::{LimitLevel, MaxPrefix, OverLimit, PrefixUsage};
pub use rib::{LocRoute, NextHop, PathInfo, Reason, RouteChanges};
pub use speaker::{NoRefresh, Speaker};
pub use verdict::HoldVerdict;
pub use view::{AdvertisedView, PathView, PeerView, SessionState};
