//! Whom to talk to, and as whom.

mod peer_id;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use petiole_prefix::Family;
use serde::{Deserialize, Serialize};

use crate::bfd::BfdPolicy;
use crate::limit::MaxPrefix;
use crate::wire::{OutCommunities, Role};

pub use peer_id::{NotAPeer, PeerId};

/// One TCP connection, for ever: an id is never used twice, so a late event of a dead connection can't hit a living one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnId {
    /// Opened by us; the speaker chose the number, in [`Action::Connect`](crate::Action::Connect).
    Dialled(u64),
    /// Opened by the other side; the driver chose the number, in [`Event::Accepted`](crate::Event::Accepted).
    Accepted(u64),
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dialled(n) => write!(f, "dialled {n}"),
            Self::Accepted(n) => write!(f, "accepted {n}"),
        }
    }
}

/// Who this node is, the same for every session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocalConfig {
    /// Our AS number; not 0.
    pub asn: u32,
    /// Our BGP Identifier (RFC 6286: any non-zero value, unique within the AS).
    pub router_id: Ipv4Addr,
}

/// Which AS a neighbour may be in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoteAsn {
    /// Exactly this one.
    Is(u32),
    /// Any but ours.
    External,
}

impl RemoteAsn {
    /// Whether an OPEN with this AS number is acceptable to a speaker in `local`.
    #[must_use]
    pub const fn accepts(self, asn: u32, local: u32) -> bool {
        match self {
            Self::Is(n) => asn == n && asn != 0,
            Self::External => asn != 0 && asn != local,
        }
    }
}

impl fmt::Display for RemoteAsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(n) => write!(f, "AS {n}"),
            Self::External => f.write_str("any AS but ours"),
        }
    }
}

/// The least default send hold time (RFC 9687 section 3.1).
const SEND_HOLD: Duration = Duration::from_secs(480);

/// One neighbour.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PeerConfig {
    /// Address to dial, and the source address its connections must come from.
    pub remote: IpAddr,
    /// Index of the interface that `remote` is on; 0 unless `remote` is link-local, which says nothing without its link. A
    /// connection that comes in over another link is a stranger's, whatever its address (RFC 4007 section 6).
    pub scope_id: u32,
    /// TCP port to dial; 179 (RFC 4271 section 2) unless a test says otherwise.
    pub port: u16,
    /// AS the neighbour must be in.
    pub remote_asn: RemoteAsn,
    /// Source address of our connections; `None` lets the kernel choose.
    pub local_address: Option<IpAddr>,
    /// Hold time we propose: zero (no keepalives at all) or 3 s to 65,535 s, whole seconds (RFC 4271 section 4.2).
    pub hold_time: Duration,
    /// The longest wait between two attempts to connect. After a failure the first wait is
    /// half a second; it doubles up to this.
    pub connect_retry: Duration,
    /// Families to negotiate.
    pub families: BTreeSet<Family>,
    /// Never dial, only accept.
    pub passive: bool,
    /// What everything announced to it carries.
    pub communities: OutCommunities,
    /// What we are to it (RFC 9234): [`Role::Customer`] or [`Role::RouteServerClient`]. `None`: nothing is said.
    pub role: Option<Role>,
    /// Refuse a neighbour that says no role (RFC 9234 section 4.2).
    pub strict_role: bool,
    /// Whether it waits for [`Speaker::set_peer_enabled`](crate::Speaker::set_peer_enabled) when it is new.
    pub starts_disabled: bool,
    /// How many prefixes it may send; `None`: any number.
    pub max_prefix: Option<MaxPrefix>,
    /// How long it may take nothing of what it is sent; `None`: 8 minutes or twice the hold time, whichever is more (RFC 9687
    /// section 3.1). Zero: for ever.
    pub send_hold_time: Option<Duration>,
    /// How long our OPEN waits for theirs (DelayOpenTime, RFC 4271 section 8.1.1); zero: it is sent at once.
    pub delay_open: Duration,
    /// Let it tell several paths of one prefix (RFC 7911). We never tell more than one.
    pub add_path_receive: bool,
    /// How its session hangs on BFD; `None`: not at all.
    pub bfd: Option<BfdPolicy>,
    /// How restarts are bridged; `None`: routes go with their session, on both sides.
    pub graceful_restart: Option<RestartPolicy>,
}

/// How restarts are bridged, ours and the neighbour's (RFC 4724, RFC 8538, RFC 9494).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RestartPolicy {
    /// How long the neighbour keeps our routes in use while we are away: 1 to 4,095 whole seconds (RFC 4724 section 3).
    pub restart_time: Duration,
    /// How long at most its routes stay in use unconfirmed, from the end of its session on (RFC 8538 section 4.1).
    pub stale_time: Duration,
    /// The most of the long-lived stale time it asks for that it gets (RFC 9494 section 4.2). Zero: none, and we don't offer it.
    pub long_lived_time: Duration,
}

impl Default for RestartPolicy {
    /// Two minutes for our restart, six for theirs, a day where they ask for long-lived retention.
    fn default() -> Self {
        Self {
            restart_time: Duration::from_secs(120),
            stale_time: Duration::from_secs(360),
            long_lived_time: Duration::from_secs(86400),
        }
    }
}

impl PeerConfig {
    /// The usual neighbour at an address: port 179, both families, hold time 9 s, retry within 5 s, dialling, restarts bridged.
    #[must_use]
    pub fn new(remote: IpAddr, remote_asn: RemoteAsn) -> Self {
        Self {
            remote,
            scope_id: 0,
            port: 179,
            remote_asn,
            local_address: None,
            hold_time: Duration::from_secs(9),
            connect_retry: Duration::from_secs(5),
            families: Family::BOTH.into_iter().collect(),
            passive: false,
            communities: OutCommunities::default(),
            role: None,
            strict_role: false,
            starts_disabled: false,
            max_prefix: None,
            send_hold_time: None,
            delay_open: Duration::ZERO,
            add_path_receive: false,
            bfd: None,
            graceful_restart: Some(RestartPolicy::default()),
        }
    }

    /// How long the neighbour may take nothing, on a session with this hold time; `None`: for ever.
    pub(crate) fn send_hold(&self, hold_time: Duration) -> Option<Duration> {
        let time = match self.send_hold_time {
            Some(time) => time,
            // Without a hold time a peer may as well be silent for ever.
            None if hold_time.is_zero() => Duration::ZERO,
            None => SEND_HOLD.max(hold_time * 2),
        };
        (!time.is_zero()).then_some(time)
    }

    /// Whether a session under `old` settings goes on under these, for what differs is not part of its terms.
    pub(crate) fn keeps_session_of(&self, old: &Self) -> bool {
        let communities = old.communities.clone();
        let Self { connect_retry, starts_disabled, max_prefix, send_hold_time, delay_open, bfd, .. } = *old;
        Self {
            communities,
            connect_retry,
            starts_disabled,
            max_prefix,
            send_hold_time,
            delay_open,
            bfd,
            ..self.clone()
        } == *old
    }

    /// Where to dial.
    #[must_use]
    pub const fn destination(&self) -> SocketAddr {
        match self.remote {
            IpAddr::V4(_) => SocketAddr::new(self.remote, self.port),
            IpAddr::V6(addr) => SocketAddr::V6(SocketAddrV6::new(addr, self.port, 0, self.scope_id)),
        }
    }

    /// Whether a connection from there is this neighbour's: by its address, and by its link where the address needs one.
    #[must_use]
    pub fn is_from(&self, remote: SocketAddr) -> bool {
        let scope_id = match remote {
            SocketAddr::V6(a) if a.ip().is_unicast_link_local() => a.scope_id(),
            SocketAddr::V4(_) | SocketAddr::V6(_) => 0,
        };
        self.remote.to_canonical() == remote.ip().to_canonical() && self.scope_id == scope_id
    }

    /// Whether these settings can make a session of `local`.
    ///
    /// # Errors
    /// The first setting that can't, and what would. The speaker keeps such a peer idle and says the same in its view.
    pub fn check(&self, local: &LocalConfig) -> Result<(), ConfigError> {
        match self.remote_asn {
            RemoteAsn::Is(0) => return Err(ConfigError::AsnZero),
            RemoteAsn::Is(n) if n == local.asn => return Err(ConfigError::Internal { asn: n }),
            RemoteAsn::Is(_) | RemoteAsn::External => {}
        }
        let secs = self.hold_time.as_secs();
        if self.hold_time.subsec_nanos() != 0 || secs > u64::from(u16::MAX) || secs == 1 || secs == 2 {
            return Err(ConfigError::HoldTime { given: self.hold_time });
        }
        if let Some(policy) = &self.graceful_restart {
            let given = policy.restart_time;
            if given.subsec_nanos() != 0 || !(1..=4095).contains(&given.as_secs()) {
                return Err(ConfigError::RestartTime { given });
            }
        }
        if self.families.is_empty() {
            return Err(ConfigError::NoFamily);
        }
        if let Some(role) = self.role.filter(|r| !matches!(r, Role::Customer | Role::RouteServerClient)) {
            return Err(ConfigError::Role { role });
        }
        Ok(())
    }
}

/// Why a neighbour's settings can't make a session.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigError {
    /// AS 0 is reserved (RFC 7607).
    #[error("AS 0 is reserved: give the neighbour's real AS number, or \"external\"")]
    AsnZero,
    /// Only external sessions are spoken.
    #[error("AS {asn} is our own: sessions inside one AS are not spoken; give the leaf an AS of its own")]
    Internal {
        /// The AS number.
        asn: u32,
    },
    /// RFC 4271 section 4.2.
    #[error("a hold time of {given:?} can't be sent: use 0 or whole seconds from 3 to 65535")]
    HoldTime {
        /// What was asked for.
        given: Duration,
    },
    /// RFC 4724 section 3: 12 bits.
    #[error("a restart time of {given:?} can't be sent: use whole seconds from 1 to 4095")]
    RestartTime {
        /// What was asked for.
        given: Duration,
    },
    /// A node is nobody's provider, and no route server.
    #[error("a node has no role {role}: it is the customer of a leaf, or the client of a route server (RFC 9234)")]
    Role {
        /// What was asked for.
        role: Role,
    },
    /// Nothing to exchange.
    #[error("no address family is enabled: enable IPv4, IPv6 or both")]
    NoFamily,
}
