//! Steps to kernel messages.

use std::net::IpAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteNextHop, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use petiole_node::dataplane::{Address, Hop, Put, Route, RouteKey, RouteKind, Scope, Step};

/// The loopback interface has this index in every network namespace (`LOOPBACK_IFINDEX` in `include/net/flow.h`).
pub(super) const LOOPBACK_INDEX: u32 = 1;

/// Appends the message of one step; the kernel acknowledges it if asked to, and tells a refusal in any case.
pub(super) fn step(step: &Step, sequence: u32, acknowledge: bool, out: &mut Vec<u8>) {
    let (inner, how) = match step {
        Step::AddAddress(address) => {
            (RouteNetlinkMessage::NewAddress(address_message(address)), NLM_F_CREATE | NLM_F_EXCL)
        }
        Step::DeleteAddress(address) => (RouteNetlinkMessage::DelAddress(address_message(address)), 0),
        Step::PutRoute(key, route, put) => {
            let how = match put {
                Put::Create => NLM_F_CREATE | NLM_F_EXCL,
                Put::Replace => NLM_F_CREATE | NLM_F_REPLACE,
            };
            (RouteNetlinkMessage::NewRoute(route_message(key, route)), how)
        }
        Step::DeleteRoute(key, route) => (RouteNetlinkMessage::DelRoute(delete_message(key, route)), 0),
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | how | if acknowledge { NLM_F_ACK } else { 0 };
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(inner));
    message.finalize();
    let start = out.len();
    out.resize(start + message.buffer_len().next_multiple_of(4), 0);
    if let Some(place) = out.get_mut(start..) {
        message.serialize(place);
    }
}

fn address_message(address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr);
    message.header.prefix_len = address.len;
    message.header.index = address.link;
    message.header.scope = match address.scope {
        Scope::Global => AddressScope::Universe,
        Scope::Link => AddressScope::Link,
        Scope::Host => AddressScope::Host,
    };
    message.attributes.push(AddressAttribute::Local(address.addr));
    message.attributes.push(AddressAttribute::Address(address.addr));
    message.attributes.push(AddressAttribute::Protocol(address.protocol.into()));
    if address.addr.is_ipv6() {
        // Usable as a source at once: without it, the address is tentative for a moment even on `lo`.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    if address.deprecated {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = 0;
        lifetime.ifa_valid = FOREVER;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    message
}

fn route_message(key: &RouteKey, route: &Route) -> RouteMessage {
    let mut message = keyed(key, route);
    message.header.scope = match route.kind {
        RouteKind::Local => RouteScope::Host,
        RouteKind::Unicast if route.hops.iter().all(|h| h.gateway.is_none()) => RouteScope::Link,
        RouteKind::Unicast | RouteKind::Blackhole | RouteKind::Other => RouteScope::Universe,
    };
    let attributes = &mut message.attributes;
    if let Some(source) = route.prefsrc {
        attributes.push(RouteAttribute::PrefSource(source.into()));
    }
    match route.hops.as_slice() {
        [] if route.kind == RouteKind::Local => attributes.push(RouteAttribute::Oif(LOOPBACK_INDEX)),
        [] => {}
        [hop] => {
            attributes.push(RouteAttribute::Oif(hop.link));
            attributes.extend(gateway(key, hop));
        }
        hops => {
            let hops = hops.iter().map(|hop| {
                let mut next = RouteNextHop::default();
                next.interface_index = hop.link;
                next.attributes.extend(gateway(key, hop));
                next
            });
            attributes.push(RouteAttribute::MultiPath(hops.collect()));
        }
    }
    message
}

/// Names the route by its key and our protocol, and leaves the rest open: it goes as a whole, whatever its hops are by now.
fn delete_message(key: &RouteKey, route: &Route) -> RouteMessage {
    let mut message = keyed(key, route);
    message.header.scope = RouteScope::NoWhere;
    message
}

fn keyed(key: &RouteKey, route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: family(key.prefix.addr()),
        destination_prefix_length: key.prefix.len(),
        protocol: route.protocol.into(),
        kind: match route.kind {
            RouteKind::Unicast => RouteType::Unicast,
            RouteKind::Local => RouteType::Local,
            RouteKind::Blackhole => RouteType::BlackHole,
            RouteKind::Other => RouteType::Unspec,
        },
        ..RouteHeader::default()
    };
    if !key.prefix.is_default() {
        message.attributes.push(RouteAttribute::Destination(key.prefix.addr().into()));
    }
    message.attributes.push(RouteAttribute::Table(key.table));
    message.attributes.push(RouteAttribute::Priority(key.metric));
    message
}

fn gateway(key: &RouteKey, hop: &Hop) -> Option<RouteAttribute> {
    Some(match (key.prefix.addr(), hop.gateway?) {
        (IpAddr::V4(_), IpAddr::V6(via)) => RouteAttribute::Via(RouteVia::Inet6(via)),
        (_, gateway) => RouteAttribute::Gateway(RouteAddress::from(gateway)),
    })
}

const fn family(addr: IpAddr) -> AddressFamily {
    match addr {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// `INFINITY_LIFE_TIME` of `include/net/addrconf.h`.
const FOREVER: u32 = u32::MAX;
