//! The node's answer in the plugin's words.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use petiole_cni::rpc::{Added, Address, Code, Failure, Interface, Mode, Response, Route};
use petiole_cni::{Cidr, Mac};
use petiole_node::pods::{
    CniAnswer, CniFailure, CniFault, CniReply, Endpoint, GATEWAY_V4, GATEWAY_V6, HOST_MAC, subnet_with,
};

/// The answer to a request that came in this mode, about an interface of this name. Other plugins take an IPv4 gateway only out
/// of the address's own subnet: for those that route all the same, `router` is one, and the subnet reaches so far.
pub(super) fn response(reply: CniReply, mode: Mode, router: Option<Ipv4Addr>, interface: &str) -> Response {
    match reply {
        Ok(CniAnswer::Done) => Response::Done,
        Ok(CniAnswer::Added(endpoint)) => Response::Added(added(&endpoint, mode, router, interface)),
        Err(CniFailure { kind, words }) => Response::Failed(Failure::new(code(kind), words)),
    }
}

fn added(endpoint: &Endpoint, mode: Mode, router: Option<Ipv4Addr>, interface: &str) -> Added {
    let wired = mode == Mode::Wire;
    let gateways = if wired { &[][..] } else { endpoint.gateways.as_slice() };
    let hosts = endpoint.addresses.iter().map(|a| {
        let behind = gateways.iter().find(|g| g.address.is_ipv4() == a.is_ipv4()).map(|g| (g.length, g.address));
        let routed = |addr| router.and_then(|router| Some((subnet_with(addr, router)?, IpAddr::V4(router))));
        let (own, any, max) = match a {
            IpAddr::V4(addr) => {
                (routed(*addr).filter(|_| !wired), IpAddr::V4(Ipv4Addr::UNSPECIFIED), (32, IpAddr::V4(GATEWAY_V4)))
            }
            IpAddr::V6(_) => (None, IpAddr::V6(Ipv6Addr::UNSPECIFIED), (128, IpAddr::V6(GATEWAY_V6))),
        };
        let (length, gateway) = behind.or(own).unwrap_or(max);
        (*a, length, gateway, any)
    });
    let addresses = hosts.clone().filter_map(|(a, length, gateway, _)| {
        Some(Address { address: Cidr::new(a, length).ok()?, gateway: Some(gateway) })
    });
    let routes =
        hosts.filter_map(|(_, _, gateway, any)| Some(Route { dst: Cidr::new(any, 0).ok()?, gateway: Some(gateway) }));
    // Or the pod took all that is in the subnet for neighbours on its bridge.
    let halves = gateways.iter().flat_map(|g| g.halves().into_iter().map(|half| (half, g.address)));
    let halves = halves.filter_map(|(half, gateway)| {
        Some(Route { dst: Cidr::new(half.addr(), half.len()).ok()?, gateway: Some(gateway) })
    });
    Added {
        host: wired.then(|| Interface { name: endpoint.host.clone(), mac: Mac(HOST_MAC) }),
        container: wired.then(|| Interface { name: interface.to_owned(), mac: Mac(endpoint.mac) }),
        addresses: addresses.collect(),
        routes: routes.chain(halves).collect(),
        mtu: wired.then_some(endpoint.mtu),
    }
}

const fn code(fault: CniFault) -> Code {
    match fault {
        CniFault::UnknownContainer => Code::UNKNOWN_CONTAINER,
        CniFault::BadRequest => Code::CONFIG,
        CniFault::Io => Code::IO,
        CniFault::TryAgain => Code::TRY_AGAIN,
        CniFault::NotAvailable => Code::NOT_AVAILABLE,
        CniFault::NotAsLeft => Code::NOT_AS_LEFT,
        CniFault::Exists => Code::EXISTS,
        CniFault::Kernel => Code::KERNEL,
        CniFault::Exhausted => Code::EXHAUSTED,
        CniFault::AddressInUse => Code::ADDRESS_IN_USE,
    }
}
