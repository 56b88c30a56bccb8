//! Subnets for plugins that know no other gateway than one of the address's own.

use std::net::Ipv4Addr;

/// The length of the smallest subnet that has both addresses, neither of them its first or its last: those would be no hosts'.
/// `None` where only all of IPv4 has both, or they are the same.
#[must_use]
pub fn subnet_with(addr: Ipv4Addr, router: Ipv4Addr) -> Option<u8> {
    let (addr, router) = (addr.to_bits(), router.to_bits());
    (1..=30).rev().find(|length| {
        let host = u32::MAX >> length;
        let is_host = |bits: u32| bits & host != 0 && bits & host != host;
        addr != router && (addr ^ router) & !host == 0 && is_host(addr) && is_host(router)
    })
}

#[cfg(test)]
mod tests;
