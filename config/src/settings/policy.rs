//! What a leaf may do, and what it is told.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::community::Community;

/// The keys of `[[bgp.peer]]` that limit a leaf.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerPolicy {
    /// How many prefixes it may send; default 1,000,000 of each family, and only a warning beyond.
    pub max_prefix: MaxPrefixSettings,
    /// How long it may take nothing of what it is sent. `None`: 8 minutes or twice the hold time, whichever is more; zero: for
    /// ever.
    pub send_hold_time: Option<Duration>,
    /// What we are to it (RFC 9234); default its customer. `None`: nothing is said.
    pub role: Option<PeerRole>,
    /// Whether a leaf that says no role is refused; default false.
    pub strict_role: bool,
    /// What everything announced to it carries beside the communities of `[bgp]`.
    pub communities: BTreeSet<Community>,
    /// How long our OPEN waits for the leaf's; default 0: it is sent at once.
    pub delay_open: Duration,
    /// Whether it may tell several paths of one prefix (RFC 7911); default no.
    pub add_path_receive: bool,
}

impl Default for PeerPolicy {
    fn default() -> Self {
        Self {
            max_prefix: MaxPrefixSettings::default(),
            send_hold_time: None,
            role: Some(PeerRole::Customer),
            strict_role: false,
            communities: BTreeSet::new(),
            delay_open: Duration::ZERO,
            add_path_receive: false,
        }
    }
}

/// What a node can be to a leaf (RFC 9234 section 4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PeerRole {
    /// The leaf takes its packets anywhere.
    Customer,
    /// The leaf is a route server.
    RouteServerClient,
}

impl PeerRole {
    /// The names as the configuration writes them.
    pub const ALL: [Self; 2] = [Self::Customer, Self::RouteServerClient];

    /// The role as the configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::RouteServerClient => "rs-client",
        }
    }
}

/// `max_prefix = { ... }`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MaxPrefixSettings {
    /// The most prefixes of one family; default 1,000,000; at least 1.
    pub limit: u32,
    /// What follows when there are more; default a warning.
    pub action: MaxPrefixAction,
    /// From how many percent of the limit on a warning is given; default 75; 1 to 100.
    pub warn_at: u8,
}

/// What follows when a leaf sends more than it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum MaxPrefixAction {
    /// It is said, and nothing else.
    Warn,
    /// The session ends, and starts anew after this time; default 60 s, from 1 s to 24 h.
    Restart(Duration),
    /// The session ends until an operator says otherwise.
    Idle,
}

impl MaxPrefixAction {
    /// The names as the configuration writes them.
    pub const NAMES: [&str; 3] = ["warn", "restart", "idle"];

    /// The action as the configuration writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Restart(_) => "restart",
            Self::Idle => "idle",
        }
    }
}

impl MaxPrefixSettings {
    /// Default limit: far above the table of any fabric, and what a node with a gigabyte of memory can still hold.
    pub const LIMIT: u32 = 1_000_000;
    /// Default share of the limit that is worth a warning, in percent.
    pub const WARN_AT: u8 = 75;
    /// Default wait of [`MaxPrefixAction::Restart`].
    pub const RESTART_AFTER: Duration = Duration::from_secs(60);
}

impl Default for MaxPrefixSettings {
    fn default() -> Self {
        Self { limit: Self::LIMIT, action: MaxPrefixAction::Warn, warn_at: Self::WARN_AT }
    }
}
