//! Numbers assigned by IANA, each registry one type.

use petiole_prefix::Family;

/// BGP message types (RFC 4271 section 4.1, RFC 2918).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum MessageType {
    /// OPEN.
    Open = 1,
    /// UPDATE.
    Update = 2,
    /// NOTIFICATION.
    Notification = 3,
    /// KEEPALIVE.
    Keepalive = 4,
    /// ROUTE-REFRESH.
    RouteRefresh = 5,
}

impl MessageType {
    /// The type with this number.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::Keepalive,
            5 => Self::RouteRefresh,
            _ => return None,
        })
    }
}

/// Address family identifiers, as far as spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Afi {
    /// 1.
    Ipv4,
    /// 2.
    Ipv6,
    /// Any other.
    Other(u16),
}

impl Afi {
    /// The identifier of a family.
    #[must_use]
    pub const fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self::Ipv4,
            Family::V6 => Self::Ipv6,
        }
    }
}

impl From<u16> for Afi {
    fn from(n: u16) -> Self {
        match n {
            1 => Self::Ipv4,
            2 => Self::Ipv6,
            n => Self::Other(n),
        }
    }
}

impl From<Afi> for u16 {
    fn from(afi: Afi) -> Self {
        match afi {
            Afi::Ipv4 => 1,
            Afi::Ipv6 => 2,
            Afi::Other(n) => n,
        }
    }
}

/// Subsequent address family identifiers, as far as spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Safi {
    /// 1.
    Unicast,
    /// Any other.
    Other(u8),
}

impl From<u8> for Safi {
    fn from(n: u8) -> Self {
        if n == 1 { Self::Unicast } else { Self::Other(n) }
    }
}

impl From<Safi> for u8 {
    fn from(safi: Safi) -> Self {
        match safi {
            Safi::Unicast => 1,
            Safi::Other(n) => n,
        }
    }
}

/// Path attribute type codes.
pub mod code {
    /// RFC 4271 section 5.1.1.
    pub const ORIGIN: u8 = 1;
    /// RFC 4271 section 5.1.2.
    pub const AS_PATH: u8 = 2;
    /// RFC 4271 section 5.1.3.
    pub const NEXT_HOP: u8 = 3;
    /// RFC 4271 section 5.1.4.
    pub const MULTI_EXIT_DISC: u8 = 4;
    /// RFC 4271 section 5.1.5.
    pub const LOCAL_PREF: u8 = 5;
    /// RFC 4271 section 5.1.6.
    pub const ATOMIC_AGGREGATE: u8 = 6;
    /// RFC 4271 section 5.1.7.
    pub const AGGREGATOR: u8 = 7;
    /// RFC 1997.
    pub const COMMUNITIES: u8 = 8;
    /// RFC 4456.
    pub const ORIGINATOR_ID: u8 = 9;
    /// RFC 4456.
    pub const CLUSTER_LIST: u8 = 10;
    /// RFC 4760 section 3.
    pub const MP_REACH_NLRI: u8 = 14;
    /// RFC 4760 section 4.
    pub const MP_UNREACH_NLRI: u8 = 15;
    /// RFC 4360.
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    /// RFC 6793.
    pub const AS4_PATH: u8 = 17;
    /// RFC 6793.
    pub const AS4_AGGREGATOR: u8 = 18;
    /// RFC 5701.
    pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    /// RFC 7311.
    pub const AIGP: u8 = 26;
    /// RFC 9552.
    pub const LINK_STATE: u8 = 29;
    /// RFC 8092.
    pub const LARGE_COMMUNITIES: u8 = 32;
    /// RFC 9234.
    pub const ONLY_TO_CUSTOMER: u8 = 35;
    /// RFC 8669.
    pub const PREFIX_SID: u8 = 40;
}

/// Stands for an AS number that does not fit two octets (RFC 6793 section 4.2.2).
pub const AS_TRANS: u16 = 23456;

/// The name of a path attribute, or its number where it has none here.
#[must_use]
pub fn attribute_name(number: u8) -> std::borrow::Cow<'static, str> {
    std::borrow::Cow::Borrowed(match number {
        code::ORIGIN => "ORIGIN",
        code::AS_PATH => "AS_PATH",
        code::NEXT_HOP => "NEXT_HOP",
        code::MULTI_EXIT_DISC => "MULTI_EXIT_DISC",
        code::LOCAL_PREF => "LOCAL_PREF",
        code::ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
        code::AGGREGATOR => "AGGREGATOR",
        code::COMMUNITIES => "COMMUNITIES",
        code::ORIGINATOR_ID => "ORIGINATOR_ID",
        code::CLUSTER_LIST => "CLUSTER_LIST",
        code::MP_REACH_NLRI => "MP_REACH_NLRI",
        code::MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
        code::EXTENDED_COMMUNITIES => "EXTENDED_COMMUNITIES",
        code::AS4_PATH => "AS4_PATH",
        code::AS4_AGGREGATOR => "AS4_AGGREGATOR",
        code::IPV6_EXTENDED_COMMUNITIES => "IPV6_EXTENDED_COMMUNITIES",
        code::AIGP => "AIGP",
        code::LINK_STATE => "BGP-LS",
        code::LARGE_COMMUNITIES => "LARGE_COMMUNITY",
        code::ONLY_TO_CUSTOMER => "ONLY_TO_CUSTOMER",
        code::PREFIX_SID => "PREFIX_SID",
        other => return std::borrow::Cow::Owned(format!("attribute {other}")),
    })
}
