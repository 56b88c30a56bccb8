//! What a feature asks of the two sides, without a word of any daemon's configuration language.

/// The leaf's AS.
pub(crate) const LEAF_ASN: u32 = 65_001;
/// The node's AS; it needs four octets.
pub(crate) const NODE_ASN: u32 = 4_200_000_011;
/// The leaf's BGP identifier.
pub(crate) const LEAF_ID: &str = "10.121.255.1";

/// What the session runs over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    V4,
    V6,
}

/// One link between node and leaf, counted from 0; the addresses are those of the reference fabric's first rack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) u8);

impl Link {
    /// The interface at both ends.
    pub(crate) fn interface(self) -> String {
        format!("eth{}", self.0 + 1)
    }

    pub(crate) fn leaf(self, transport: Transport) -> String {
        let subnet = 101 + u16::from(self.0);
        match transport {
            Transport::V4 => format!("10.122.{subnet}.0"),
            Transport::V6 => format!("fd00:122:{subnet}::"),
        }
    }

    pub(crate) fn node(self, transport: Transport) -> String {
        let subnet = 101 + u16::from(self.0);
        match transport {
            Transport::V4 => format!("10.122.{subnet}.1"),
            Transport::V6 => format!("fd00:122:{subnet}::1"),
        }
    }
}

/// A route the leaf announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) prefix: String,
    /// `65001:100`
    pub(crate) community: Option<(u16, u16)>,
    /// `65001:1:2`
    pub(crate) large: Option<(u32, u32, u32)>,
    /// A route target, `65001:7`
    pub(crate) target: Option<(u16, u32)>,
}

impl Route {
    /// Without any community.
    pub(crate) fn plain(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), community: None, large: None, target: None }
    }

    pub(crate) fn is_v6(&self) -> bool {
        self.prefix.contains(':')
    }
}

/// Both sides of a scene.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) transport: Transport,
    /// Links, each with a session of its own.
    pub(crate) links: u8,
    /// The hold time that the leaf offers, seconds.
    pub(crate) leaf_hold: u16,
    /// Whether the leaf waits to be dialled.
    pub(crate) leaf_passive: bool,
    /// Whether the leaf speaks of AS numbers in two octets only.
    pub(crate) leaf_two_octet: bool,
    /// The hold time that the node offers, seconds.
    pub(crate) node_hold: u16,
    /// Whether the node waits to be dialled.
    pub(crate) node_passive: bool,
    /// What the leaf announces from its start on.
    pub(crate) routes: Vec<Route>,
    /// Graceful restart on the leaf, with this restart time, seconds.
    pub(crate) graceful: Option<u16>,
    /// And long-lived graceful restart, with this stale time, seconds.
    pub(crate) long_lived: Option<u32>,
    /// The leaf is the one that restarts, with its routes in use meanwhile.
    pub(crate) leaf_restarts: bool,
    /// The leaf's own resets are plain NOTIFICATIONs, not Hard Resets (RFC 8538, section 3.1), where it has a setting for that.
    pub(crate) gentle_resets: bool,
    /// What the leaf says that it is to the node (RFC 9234): "provider" or "peer".
    pub(crate) leaf_role: Option<&'static str>,
    /// The leaf tells all its paths (RFC 7911), and has several of this prefix where it can by itself.
    pub(crate) several_paths: Option<&'static str>,
    /// The leaf's key for TCP MD5 signatures, and the node's.
    pub(crate) leaf_key: Option<&'static str>,
    pub(crate) node_key: Option<&'static str>,
    /// Both sides want packets that no router forwarded.
    pub(crate) ttl_security: bool,
    /// BFD at 100 ms, three times.
    pub(crate) bfd: bool,
    /// No addresses on the links: peers find each other by router advertisements.
    pub(crate) unnumbered: bool,
    /// More keys of the node's `[[bgp.peer]]`.
    pub(crate) node_extra: &'static str,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            transport: Transport::V4,
            links: 1,
            leaf_hold: 30,
            leaf_passive: true,
            leaf_two_octet: false,
            node_hold: 9,
            node_passive: false,
            routes: vec![Route::plain("10.120.201.0/27"), Route::plain("fd00:120:201:1::/64")],
            graceful: None,
            long_lived: None,
            leaf_restarts: false,
            gentle_resets: false,
            leaf_role: None,
            several_paths: None,
            leaf_key: None,
            node_key: None,
            ttl_security: false,
            bfd: false,
            unnumbered: false,
            node_extra: "",
        }
    }
}

impl Wanted {
    pub(crate) fn links(&self) -> impl Iterator<Item = Link> + use<> {
        (0..self.links).map(Link)
    }
}
