//! What an operator sees: plain values with stable JSON.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use serde::Serialize;

use crate::config::{PeerId, RemoteAsn};
use crate::guard::Ownership;
use crate::limit::PrefixUsage;
use crate::rib::Reason;
use crate::shared::shared;
use crate::wire::{Attributes, Capability, Notification, OutCommunities};

/// The state of a neighbour in RFC 4271's words (section 8.2.2): that of its most advanced connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Not trying, and turning connections away.
    Idle,
    /// Waiting for the next attempt, and listening.
    Active,
    /// A connection attempt is under way.
    Connect,
    /// Our OPEN is sent.
    OpenSent,
    /// Their OPEN was accepted; a KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes flow.
    Established,
}

impl SessionState {
    /// The RFC's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Active => "Active",
            Self::Connect => "Connect",
            Self::OpenSent => "OpenSent",
            Self::OpenConfirm => "OpenConfirm",
            Self::Established => "Established",
        }
    }
}

impl std::fmt::Display for SessionState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One neighbour. Durations serialise as `{secs, nanos}`; points in time are since the start of the process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PeerView {
    /// Name.
    pub id: PeerId,
    /// Configured address.
    pub remote: IpAddr,
    /// Configured AS.
    pub remote_asn: RemoteAsn,
    /// State.
    pub state: SessionState,
    /// Why it is where it is, when that is not Established, in words.
    pub state_reason: Option<String>,
    /// When the state was entered.
    pub since: Duration,
    /// The running session, once Established.
    pub session: Option<SessionView>,
    /// How often a session was Established.
    pub established_count: u64,
    /// Consecutive failures, which set the back-off.
    pub failures: u32,
    /// When the next attempt is due.
    pub retry_at: Option<Duration>,
    /// What is kept of former sessions.
    pub retention: Option<RetentionView>,
    /// What ended the last session or attempt, in words.
    pub last_error: Option<String>,
    /// The last NOTIFICATION we sent.
    pub last_notification_sent: Option<Notification>,
    /// The last NOTIFICATION they sent.
    pub last_notification_received: Option<Notification>,
    /// Counters over all sessions since the neighbour was configured.
    pub counters: PeerCounters,
    /// How much of its prefix limits it uses; empty without a session or a limit.
    pub prefix_usage: Vec<PrefixUsage>,
    /// What is not announced to it, and why.
    pub not_announced: Vec<NotAnnounced>,
}

/// The Established session of a neighbour.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SessionView {
    /// When it was Established.
    pub established_at: Duration,
    /// For how long it has been, at the last event.
    pub uptime: Duration,
    /// Our end.
    pub local: SocketAddr,
    /// Their end.
    pub remote: SocketAddr,
    /// Whether we dialled.
    pub dialled: bool,
    /// Their AS.
    pub asn: u32,
    /// Their BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Negotiated hold time; zero means none.
    pub hold_time: Duration,
    /// Negotiated keepalive interval, before jitter.
    pub keepalive: Duration,
    /// Families in use.
    pub families: Vec<Family>,
    /// Whether AS numbers have four octets on this session (RFC 6793).
    pub four_octet_as: bool,
    /// Whether both sides can be asked to send everything again (RFC 2918).
    pub route_refresh: bool,
    /// Whether refreshes have a beginning and an end (RFC 7313).
    pub enhanced_refresh: bool,
    /// Whether IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// Families in which it may tell several paths of one prefix (RFC 7911).
    pub add_path_receive: Vec<Family>,
    /// Largest message we read, in octets (RFC 8654).
    pub max_message_in: usize,
    /// Largest message they read.
    pub max_message_out: usize,
    /// What we offered.
    pub capabilities_sent: Vec<Capability>,
    /// What they offered.
    pub capabilities_received: Vec<Capability>,
    /// Families for which they have finished their initial routes.
    pub end_of_rib_received: Vec<Family>,
    /// Families for which we have finished ours.
    pub end_of_rib_sent: Vec<Family>,
    /// Paths held from them.
    pub prefixes_received: u64,
    /// Prefixes they were told.
    pub prefixes_advertised: u64,
    /// Our next hop for IPv4, and for IPv6.
    pub next_hop_v4: Option<Ipv4Addr>,
    /// Our next hop for IPv6.
    pub next_hop_v6: Option<std::net::Ipv6Addr>,
}

impl SessionView {
    /// What both OPENs agreed on beside families and times, in words.
    #[must_use]
    pub fn terms(&self) -> Vec<String> {
        let said = |yes: bool, what: &str| yes.then(|| what.to_owned());
        let refresh = said(self.enhanced_refresh, "enhanced route refresh");
        let mut terms: Vec<String> = [
            said(self.four_octet_as, "four-octet AS numbers"),
            refresh.or_else(|| said(self.route_refresh, "route refresh")),
            said(self.extended_next_hop, "IPv4 over IPv6 next hops"),
        ]
        .into_iter()
        .flatten()
        .collect();
        terms.push(format!("messages of {} octets in, {} out", self.max_message_in, self.max_message_out));
        terms.extend(self.add_path_receive.iter().map(|family| format!("several {family} paths in")));
        terms
    }
}

/// Message counters of a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PeerCounters {
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// UPDATEs received.
    pub updates_in: u64,
    /// UPDATEs sent.
    pub updates_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Prefixes received in announcements, repeats included.
    pub announced_in: u64,
    /// Prefixes received in withdrawals.
    pub withdrawn_in: u64,
    /// Paths not kept because their prefix had as many from this neighbour as are kept (RFC 7911).
    pub paths_refused: u64,
    /// Malformed UPDATEs that did not end the session.
    pub update_errors: u64,
    /// UPDATEs of ours stopped by the guard; anything but 0 is a defect.
    pub guard_drops: u64,
}

/// A family that can't be announced to a neighbour.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NotAnnounced {
    /// The family.
    pub family: Family,
    /// Why.
    pub why: NotAnnouncedBecause,
}

/// Why a prefix of ours is not told to a neighbour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NotAnnouncedBecause {
    /// There is no session.
    NotEstablished,
    /// The family was not negotiated.
    FamilyNotNegotiated,
    /// No address of ours is known that the neighbour could send this family to.
    NoNextHop,
    /// It waits for the connection to take what was sent before.
    Queued,
    /// The guard stopped it: a defect of ours.
    StoppedByGuard,
}

impl std::fmt::Display for NotAnnouncedBecause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotEstablished => "no session",
            Self::FamilyNotNegotiated => "the family was not negotiated",
            Self::NoNextHop => "no next hop of ours is known for this family on the link: give the uplink an address",
            Self::Queued => "waits for the connection to take what was sent before",
            Self::StoppedByGuard => "stopped by the export guard; this is a defect, please report it",
        })
    }
}

/// One path in Adj-RIB-In.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PathView {
    /// Destination.
    pub prefix: Prefix,
    /// From whom.
    pub peer: PeerId,
    /// The identifier it came with, where the neighbour tells several paths apart (RFC 7911).
    pub path_id: Option<u32>,
    /// What became of it, and why.
    pub reason: Reason,
    /// The same in words.
    pub why: String,
    /// Its attributes; with LLGR_STALE (RFC 9494 section 3.3) where we keep it for long.
    #[serde(serialize_with = "shared")]
    pub attributes: Arc<Attributes>,
    /// Where it is kept though the session that it came over has ended.
    pub stale: Option<StaleView>,
}

/// That a path is kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StaleView {
    /// When the session ended.
    pub since: Duration,
    /// Whether it is long-lived by now: used only where there is nothing else (RFC 9494).
    pub long_lived: bool,
    /// Why it is kept, in words.
    pub why: String,
}

/// What is kept of a neighbour whose session ended (RFC 4724 section 4.2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RetentionView {
    /// When the session ended.
    pub since: Duration,
    /// Why it did, in words.
    pub why: String,
    /// Whether a new one is there, and End-of-RIB is awaited.
    pub back: bool,
    /// By family.
    pub families: Vec<KeptView>,
}

/// A family that is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct KeptView {
    /// Which.
    pub family: Family,
    /// Paths that have not been said again.
    pub paths: u64,
    /// Until when they are kept, as it stands.
    pub until: Duration,
    /// Whether they are long-lived by now.
    pub long_lived: bool,
}

/// One prefix of ours as seen from one neighbour: what it was told, or why it was not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AdvertisedView {
    /// Destination.
    pub prefix: Prefix,
    /// To whom.
    pub peer: PeerId,
    /// By what right it is ours.
    pub ownership: Ownership,
    /// When it was handed to the connection, and with which next hop.
    pub sent: Option<SentView>,
    /// Why it was not, if it was not.
    pub not_announced: Option<NotAnnouncedBecause>,
}

/// What a neighbour was told of a prefix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SentView {
    /// When.
    pub at: Duration,
    /// Next hop told.
    pub next_hop: IpAddr,
    /// Communities told.
    #[serde(serialize_with = "shared")]
    pub communities: Arc<OutCommunities>,
}

/// How much the tables hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct RibSizes {
    /// IPv4 prefixes learned.
    pub v4: usize,
    /// IPv6 prefixes learned.
    pub v6: usize,
    /// Different attribute sets.
    pub attribute_sets: usize,
}
