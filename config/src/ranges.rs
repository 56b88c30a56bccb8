//! Address ranges that no fabric routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use petiole_prefix::Prefix;

/// Why a prefix cannot be announced or owned, if it cannot: it shares addresses with a range of special meaning.
///
/// The sentence goes on after "X is P, ".
pub(crate) fn useless(prefix: &Prefix) -> Option<&'static str> {
    if prefix.is_default() {
        return Some("a default route, which draws the whole fabric's traffic");
    }
    SPECIAL
        .iter()
        .find(|(addr, len, _)| Prefix::new(*addr, *len).is_ok_and(|s| s.overlaps(prefix)))
        .map(|(.., why)| *why)
}

/// The ranges as prefixes.
#[cfg(test)]
pub(crate) fn special() -> impl Iterator<Item = Result<Prefix, petiole_prefix::PrefixError>> {
    SPECIAL.iter().map(|(addr, len, _)| Prefix::new(*addr, *len))
}

const fn v4(a: u8, b: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, 0, 0))
}

const fn v6(first: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0))
}

// IANA's special-purpose registries (RFC 6890), as far as they are never forwarded.
const SPECIAL: [(IpAddr, u8, &str); 11] = [
    (v4(0, 0), 8, "which shares addresses with 0.0.0.0/8 (no destinations)"),
    (v4(127, 0), 8, "which shares addresses with 127.0.0.0/8 (loopback)"),
    (v4(169, 254), 16, "which shares addresses with 169.254.0.0/16 (link-local)"),
    (v4(224, 0), 4, "which shares addresses with 224.0.0.0/4 (multicast)"),
    (v4(240, 0), 4, "which shares addresses with 240.0.0.0/4 (reserved)"),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128, "which shares addresses with ::/128 (no destination)"),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128, "which shares addresses with ::1/128 (loopback)"),
    (IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0)), 96, "which shares addresses with ::ffff:0:0/96 (IPv4)"),
    (v6(0xfe80), 10, "which shares addresses with fe80::/10 (link-local)"),
    (v6(0xfec0), 10, "which shares addresses with fec0::/10 (out of use, RFC 3879)"),
    (v6(0xff00), 8, "which shares addresses with ff00::/8 (multicast)"),
];
