//! Kernel messages to [`KernelEvent`]s.
//!
//! Only the fields that matter are read, and what can't be read is left out: an attribute of tomorrow's kernel on somebody's
//! interface must not stop the agent.

use std::net::{IpAddr, Ipv6Addr};

use netlink_packet_core::{NlaBuffer, NlasIterator};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressHeader, AddressScope};
use netlink_packet_route::link::{LinkFlags, LinkHeader};
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteType};
use petiole_node::dataplane::ident::{TABLE_LOCAL, TABLE_MAIN};
use petiole_node::dataplane::{Address, Hop, KernelEvent, Link, Route, RouteKey, RouteKind, Scope};
use petiole_node::prefix::Prefix;

use super::encode::LOOPBACK_INDEX;
use super::socket::{RTM_DELADDR, RTM_DELLINK, RTM_DELROUTE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWROUTE};

/// What one message says; `None` for what the agent does not mirror.
pub(super) fn event(message_type: u16, flags: u16, payload: &[u8]) -> Option<KernelEvent> {
    match message_type {
        RTM_NEWLINK => link(payload).map(KernelEvent::Link),
        // A bridge tells with AF_BRIDGE that a port left it, not that the interface is gone.
        RTM_DELLINK => {
            let header = LinkHeader::parse(payload).ok()?;
            (header.interface_family == AddressFamily::Unspec).then_some(KernelEvent::LinkGone(header.index))
        }
        RTM_NEWADDR => address(payload).map(KernelEvent::Address),
        RTM_DELADDR => address(payload).map(KernelEvent::AddressGone),
        RTM_NEWROUTE => route(payload).map(|(key, route)| {
            if flags & NLM_F_REPLACE != 0 {
                KernelEvent::RouteReplaced(key, route)
            } else {
                KernelEvent::Route(key, route)
            }
        }),
        RTM_DELROUTE => route(payload).map(|(key, route)| KernelEvent::RouteGone(key, route)),
        _ => None,
    }
}

fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        up: header.flags.contains(LinkFlags::Up),
        carrier: header.flags.contains(LinkFlags::LowerUp),
        mtu: 0,
    };
    for attribute in attributes(payload, LINK_HEADER) {
        match attribute.kind() {
            IFLA_IFNAME => link.name = name(attribute.value()),
            IFLA_MTU => link.mtu = u32_of(attribute.value())?,
            _ => {}
        }
    }
    (header.interface_family == AddressFamily::Unspec && !link.name.is_empty()).then_some(link)
}

fn address(payload: &[u8]) -> Option<Address> {
    let header = AddressHeader::parse(payload).ok()?;
    let (mut local, mut peer, mut protocol) = (None, None, 0);
    let mut flags = u32::from(header.flags.bits());
    for attribute in attributes(payload, ADDRESS_HEADER) {
        let value = attribute.value();
        match attribute.kind() {
            IFA_LOCAL => local = ip_of(value),
            IFA_ADDRESS => peer = ip_of(value),
            IFA_FLAGS => flags = u32_of(value)?,
            IFA_PROTO => protocol = *value.first()?,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end. A tentative address can't be used yet, and is told again
    // when it can.
    let addr = local.or(peer)?;
    (flags & IFA_F_TENTATIVE == 0 || flags & IFA_F_OPTIMISTIC != 0).then_some(Address {
        link: header.index,
        addr,
        len: header.prefix_len,
        scope: match header.scope {
            AddressScope::Universe | AddressScope::Site => Scope::Global,
            AddressScope::Link => Scope::Link,
            _ => Scope::Host,
        },
        deprecated: flags & IFA_F_DEPRECATED != 0,
        protocol,
    })
}

/// A route of table main or local that is not the kernel's own.
pub(super) fn route(payload: &[u8]) -> Option<(RouteKey, Route)> {
    let header = RouteHeader::parse(payload).ok()?;
    let any = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let protocol = u8::from(header.protocol);
    // Connected and local routes follow from the addresses; a route for one TOS or source only never has our key.
    if protocol == RTPROT_KERNEL
        || protocol == RTPROT_REDIRECT
        || header.flags.contains(RouteFlags::Cloned)
        || header.tos != 0
        || header.source_prefix_length != 0
    {
        return None;
    }
    let (mut table, mut dst, mut metric, mut prefsrc) = (u32::from(header.table), any, 0, None);
    let (mut link, mut gateway, mut hops) = (None, None, Vec::new());
    for attribute in attributes(payload, ROUTE_HEADER) {
        let value = attribute.value();
        match attribute.kind() {
            RTA_DST => dst = ip_of(value)?,
            RTA_OIF => link = u32_of(value),
            RTA_GATEWAY => gateway = ip_of(value),
            RTA_VIA => gateway = via(value),
            RTA_PRIORITY => metric = u32_of(value)?,
            RTA_PREFSRC => prefsrc = ip_of(value),
            RTA_MULTIPATH => multipath(value, &mut hops),
            RTA_TABLE => table = u32_of(value)?,
            _ => {}
        }
    }
    if table != TABLE_MAIN && table != TABLE_LOCAL {
        return None;
    }
    let kind = match header.kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::BlackHole => RouteKind::Blackhole,
        _ => RouteKind::Other,
    };
    hops.extend(link.map(|link| Hop { gateway, link }));
    match kind {
        // IPv6 shows `dev lo` for what goes nowhere.
        RouteKind::Blackhole => hops.clear(),
        RouteKind::Local => hops.retain(|h| h.link != LOOPBACK_INDEX || h.gateway.is_some()),
        RouteKind::Unicast | RouteKind::Other => {}
    }
    hops.sort_unstable();
    let prefix = Prefix::truncated(dst, header.destination_prefix_length).ok()?;
    Some((RouteKey { prefix, table, metric }, Route { kind, protocol, prefsrc, hops }))
}

/// Whether the second is one more hop of the first: kernels before 4.11 dump IPv6 multipath routes hop by hop.
pub(super) fn are_siblings(first: &(RouteKey, Route), second: &(RouteKey, Route)) -> bool {
    let by_gateway = |r: &Route| !r.hops.is_empty() && r.hops.iter().all(|h| h.gateway.is_some());
    first.0 == second.0
        && first.0.prefix.addr().is_ipv6()
        && first.1.kind == RouteKind::Unicast
        && second.1.kind == RouteKind::Unicast
        && first.1.protocol == second.1.protocol
        && by_gateway(&first.1)
        && by_gateway(&second.1)
}

/// `struct rtnexthop`: length, flags, weight, interface, then attributes. Hops that the kernel marks as dead are told too:
/// it revives them by itself.
fn multipath(mut value: &[u8], hops: &mut Vec<Hop>) {
    while let Some(length) = u16_of(value).map(usize::from).filter(|&l| l >= NEXT_HOP_HEADER) {
        let Some(one) = value.get(..length) else { return };
        let Some(link) = one.get(4..).and_then(u32_of) else { return };
        let mut gateway = None;
        for attribute in attributes(one, NEXT_HOP_HEADER) {
            match attribute.kind() {
                RTA_GATEWAY => gateway = ip_of(attribute.value()),
                RTA_VIA => gateway = via(attribute.value()),
                _ => {}
            }
        }
        hops.push(Hop { gateway, link });
        value = value.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// `struct rtvia`: a family, then an address of it.
fn via(value: &[u8]) -> Option<IpAddr> {
    ip_of(value.get(2..)?)
}

fn attributes(payload: &[u8], header: usize) -> impl Iterator<Item = NlaBuffer<&[u8]>> {
    NlasIterator::new(payload.get(header..).unwrap_or_default()).map_while(Result::ok)
}

fn ip_of(value: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(value) {
        Some(IpAddr::from(v4))
    } else {
        <[u8; 16]>::try_from(value).ok().map(IpAddr::from)
    }
}

fn u16_of(value: &[u8]) -> Option<u16> {
    value.first_chunk().copied().map(u16::from_ne_bytes)
}

fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}

fn name(value: &[u8]) -> String {
    let text = value.split(|&b| b == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

// Lengths of the fixed parts, and attribute numbers, of `include/uapi/linux/{rtnetlink,if_addr,if_link,netlink}.h`.
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const ROUTE_HEADER: usize = 12;
const NEXT_HOP_HEADER: usize = 8;
const NLM_F_REPLACE: u16 = 0x100;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTPROT_REDIRECT: u8 = 1;
const RTPROT_KERNEL: u8 = 2;
