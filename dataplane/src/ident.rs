//! Which kernel objects are ours. A foreign object is never changed and never deleted.

/// `rtm_protocol` of every route that Petiole writes (`include/uapi/linux/rtnetlink.h` leaves numbers above 4 to daemons;
/// none of iproute2's `rt_protos` is 179).
pub const ROUTE_PROTOCOL: u8 = 179;

/// Metric of learned routes. A provisioned default (4096) loses against it, a connected route (0) wins.
pub const METRIC_LEARNED: u32 = 1024;

/// Metric of the routes to pods. Better than a learned route of the same prefix: an address that a pod of this node holds may
/// have been announced by another node a moment ago.
pub const METRIC_POD: u32 = 512;

/// Metric of block blackholes: worse than any pod route or learned more specific needs to be, since longer prefixes win anyway.
pub const METRIC_BLOCK: u32 = 1024;

/// Metric of the local routes that make a service range this node's own (table local).
pub const METRIC_RANGE: u32 = 1024;

/// `IFA_PROTO` of every address that Petiole adds. An address without it is foreign, whatever its value: it is used where
/// it is wanted, and never deleted.
pub const ADDRESS_PROTOCOL: u8 = 179;

/// `RT_TABLE_MAIN`.
pub const TABLE_MAIN: u32 = 254;

/// `RT_TABLE_LOCAL`.
pub const TABLE_LOCAL: u32 = 255;

/// How the name of every interface begins that Petiole makes; eleven hexadecimal digits follow.
pub const INTERFACE_PREFIX: &str = "pet";

/// Whether an interface is one that Petiole made, by its name.
#[must_use]
pub fn is_own_interface(name: &str) -> bool {
    let digits = name.strip_prefix(INTERFACE_PREFIX);
    digits.is_some_and(|d| d.len() == 11 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}
