//! Address ranges that no fabric routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use petiole_prefix::Prefix;

/// Why a prefix cannot be announced or owned, if it cannot: it shares addresses with a range of special meaning.
///
/// The sentence goes on after "X is P, ".
pub(crate) fn useless(prefix: &Prefix) -> Option<&'static str> {
    if prefix.is_default() {
        return Some("a default route, which would draw the whole fabric's traffic here");
    }
    SPECIAL
        .iter()
        .find(|(addr, len, _)| Prefix::new(*addr, *len).is_ok_and(|s| s.overlaps(prefix)))
        .map(|(.., why)| *why)
}

const fn v4(a: u8, b: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, 0, 0))
}

const fn v6(first: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0))
}

// IANA's special-purpose registries (RFC 6890), as far as they are never forwarded.
const SPECIAL: [(IpAddr, u8, &str); 11] = [
    (v4(0, 0), 8, "in 0.0.0.0/8, which is no destination (RFC 1122)"),
    (v4(127, 0), 8, "in 127.0.0.0/8, which never leaves a host"),
    (v4(169, 254), 16, "in 169.254.0.0/16, which is link-local and not routed"),
    (v4(224, 0), 4, "in 224.0.0.0/4, which is multicast"),
    (v4(240, 0), 4, "in 240.0.0.0/4, which is reserved"),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), 128, "the unspecified address"),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128, "the loopback address, which never leaves a host"),
    (IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0)), 96, "an IPv4 address written as IPv6"),
    (v6(0xfe80), 10, "in fe80::/10, which is link-local and not routed"),
    (v6(0xfec0), 10, "in fec0::/10, which is no longer in use (RFC 3879)"),
    (v6(0xff00), 8, "in ff00::/8, which is multicast"),
];
