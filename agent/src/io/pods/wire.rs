//! The pair of interfaces between host and pod. Every function blocks, and is called on a thread of its own: [`prepare`] and
//! [`look`] leave that thread inside the pod's namespace, where nothing else must ever run.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use petiole_node::pods::{CniFailure, CniFault, Endpoint, GATEWAY_V4, GATEWAY_V6, HOST_MAC};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::gone;
use super::netlink::{
    CREATE, DELLINK, EXCL, IFA_ADDRESS, IFA_LOCAL, IFF_UP, IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_INET_CONF,
    IFLA_INET6_ADDR_GEN_MODE, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, IFLA_NET_NS_FD,
    IPV4_DEVCONF_FORWARDING, IPV4_DEVCONF_PROXY_ARP, Message, NDA_DST, NDA_LLADDR, NEWADDR, NEWLINK, NEWNEIGH,
    NEWROUTE, Netlink, REPLACE, RTA_DST, RTA_GATEWAY, RTA_OIF, Refusal, VETH_INFO_PEER,
};

/// A pair that has everything but its addresses. The thread that made it is in the pod's namespace.
#[derive(Debug)]
pub(super) struct Prepared {
    host: Netlink,
    pod: Netlink,
    here: u32,
    there: u32,
}

/// Makes the pair, both ends up; what fails half way leaves nothing.
pub(super) fn prepare(endpoint: &Endpoint, has_v6: bool, netns: BorrowedFd<'_>) -> Result<Prepared, CniFailure> {
    refuse_own(netns)?;
    let mut host = Netlink::open().map_err(kernel)?;
    create(&mut host, endpoint, netns)?;
    match furnish(&mut host, endpoint, has_v6, netns) {
        Ok((pod, here, there)) => Ok(Prepared { host, pod, here, there }),
        Err(failure) => {
            take_back(&mut host, endpoint);
            Err(failure)
        }
    }
}

/// Gives a pair its addresses and routes; what fails half way leaves nothing.
pub(super) fn wire(prepared: Prepared, endpoint: &Endpoint) -> Result<(), CniFailure> {
    let Prepared { mut host, mut pod, here, there } = prepared;
    let neighbours: Vec<Message> = endpoint.addresses.iter().map(|a| neighbour(here, *a, endpoint.mac)).collect();
    let mut inside = Vec::new();
    for addr in &endpoint.addresses {
        let gateway = gateway(*addr);
        inside.push(address(there, *addr));
        if addr.is_ipv4() {
            inside.push(route(there, Some(gateway), None));
        }
        inside.push(route(there, None, Some(gateway)));
    }
    let wired = host.run(&neighbours).and_then(|()| pod.run(&inside)).map_err(kernel);
    if wired.is_err() {
        take_back(&mut host, endpoint);
    }
    wired
}

/// Its other end goes with it. A failure here is found by the repair.
fn take_back(host: &mut Netlink, endpoint: &Endpoint) {
    host.run(&[delete(&endpoint.host)]).ok();
}

/// Deletes a pair, and returns when it is gone for everybody; one that is not there is no error.
pub(super) fn unwire(name: &str) -> Result<(), CniFailure> {
    match gone::delete(name, delete(name)) {
        Err(refusal) if !refusal.is(libc::ENODEV) => Err(kernel(refusal)),
        _ => Ok(()),
    }
}

/// Whether everything is as [`prepare`] and [`wire`] made it.
pub(super) fn look(endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<(), CniFailure> {
    let interface = &endpoint.attach.attachment.interface;
    let not = |words: String| Err(CniFailure { kind: CniFault::NotAsLeft, words });
    let mut host = Netlink::open().map_err(kernel)?;
    match host.link(&endpoint.host).map_err(kernel)? {
        Some(found) if found.up => {}
        Some(_) => return not(format!("{}, the host's end of {interface}, is down", endpoint.host)),
        None => return not(format!("{}, the host's end of {interface}, is gone", endpoint.host)),
    }
    enter(netns)?;
    let mut pod = Netlink::open().map_err(kernel)?;
    let Some(found) = pod.link(interface).map_err(kernel)? else {
        return not(format!("the container has no interface {interface}"));
    };
    if !found.up || found.mac != Some(endpoint.mac) {
        return not(format!("{interface} is down, or has another link-layer address"));
    }
    let held = pod.addresses(found.index).map_err(kernel)?;
    if let Some(missing) = endpoint.addresses.iter().find(|a| !held.contains(a)) {
        return not(format!("{interface} has lost its address {missing}"));
    }
    let gateways = pod.gateways(found.index).map_err(kernel)?;
    if let Some(missing) = endpoint.addresses.iter().map(|a| gateway(*a)).find(|g| !gateways.contains(g)) {
        return not(format!("the default route over {missing} by {interface} is gone"));
    }
    Ok(())
}

fn create(host: &mut Netlink, endpoint: &Endpoint, netns: BorrowedFd<'_>) -> Result<(), CniFailure> {
    let interface = &endpoint.attach.attachment.interface;
    let mut pair = Message::new(NEWLINK, CREATE | EXCL, "make the pair of interfaces");
    pair.link_header(0, 0);
    pair.name(&endpoint.host);
    pair.attribute(IFLA_ADDRESS, &HOST_MAC);
    pair.number(IFLA_MTU, endpoint.mtu);
    pair.nest(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, b"veth");
        info.nest(IFLA_INFO_DATA, |data| {
            data.nest(VETH_INFO_PEER, |peer| {
                peer.link_header(0, 0);
                peer.name(interface);
                peer.attribute(IFLA_ADDRESS, &endpoint.mac);
                peer.number(IFLA_MTU, endpoint.mtu);
                peer.attribute(IFLA_NET_NS_FD, &netns.as_raw_fd().to_ne_bytes());
            });
        });
    });
    match host.run(std::slice::from_ref(&pair)) {
        // One of the two names is taken. The host's would be left from an agent that died.
        Err(refusal) if refusal.is(libc::EEXIST) => match host.run(&[delete(&endpoint.host)]) {
            Ok(()) => host.run(&[pair]).map_err(|refusal| named(refusal, interface)),
            Err(_) => Err(named(refusal, interface)),
        },
        done => done.map_err(kernel),
    }
}

/// Both ends up, with all that needs no address; the socket inside, and the indexes of both ends.
fn furnish(
    host: &mut Netlink,
    endpoint: &Endpoint,
    has_v6: bool,
    netns: BorrowedFd<'_>,
) -> Result<(Netlink, u32, u32), CniFailure> {
    let here = index(host, &endpoint.host)?;
    if has_v6 {
        let settings = [("disable_ipv6", "0"), ("forwarding", "1"), ("accept_ra", "0"), ("proxy_ndp", "1")];
        for (name, value) in settings {
            set(&format!("/proc/sys/net/ipv6/conf/{}/{name}", endpoint.host), value)?;
        }
    }
    // Whoever asks for the gateway all the same is answered without the wait that is meant for others' answers.
    set(&format!("/proc/sys/net/ipv4/neigh/{}/proxy_delay", endpoint.host), "0").ok();
    host.run(&[settings(here, has_v6), up(here)]).map_err(kernel)?;

    enter(netns)?;
    let interface = &endpoint.attach.attachment.interface;
    let mut pod = Netlink::open().map_err(kernel)?;
    let there = index(&mut pod, interface)?;
    if has_v6 {
        set(&format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "0")?;
    }
    // The last end that comes up is usable at once, and the kernel tells of the other when that is.
    let mut batch = vec![up(there), neighbour(there, IpAddr::V4(GATEWAY_V4), HOST_MAC)];
    if has_v6 {
        batch.push(neighbour(there, IpAddr::V6(GATEWAY_V6), HOST_MAC));
    }
    pod.run(&batch).map_err(kernel)?;
    Ok((pod, here, there))
}

const fn gateway(addr: IpAddr) -> IpAddr {
    match addr {
        IpAddr::V4(_) => IpAddr::V4(GATEWAY_V4),
        IpAddr::V6(_) => IpAddr::V6(GATEWAY_V6),
    }
}

fn delete(name: &str) -> Message {
    let mut message = Message::new(DELLINK, 0, "delete the pair of interfaces");
    message.link_header(0, 0);
    message.name(name);
    message
}

fn up(index: u32) -> Message {
    let mut message = Message::new(NEWLINK, 0, "bring the interface up");
    message.link_header(index, IFF_UP);
    message
}

/// Forwarding, and no link-local address of its own: the gateway's is known to the pod without one.
fn settings(index: u32, has_v6: bool) -> Message {
    let mut message = Message::new(NEWLINK, 0, "set the host's end up");
    message.link_header(index, 0);
    message.nest(IFLA_AF_SPEC, |families| {
        families.nest(u16::from(AF_INET), |v4| {
            v4.nest(IFLA_INET_CONF, |conf| {
                conf.number(IPV4_DEVCONF_FORWARDING, 1);
                conf.number(IPV4_DEVCONF_PROXY_ARP, 1);
            });
        });
        if has_v6 {
            families.nest(u16::from(AF_INET6), |v6| v6.attribute(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_MODE_NONE]));
        }
    });
    message
}

/// A host's address, usable at once (`IFA_F_NODAD`).
fn address(index: u32, addr: IpAddr) -> Message {
    let (family, length) = family(addr);
    let mut message = Message::new(NEWADDR, CREATE | EXCL, "give the container its address");
    message.fixed(&[family, length, IFA_F_NODAD, RT_SCOPE_UNIVERSE]);
    message.fixed(&index.to_ne_bytes());
    message.address(IFA_LOCAL, addr);
    message.address(IFA_ADDRESS, addr);
    message
}

/// A route to one address on the link, or the default route by a gateway, which is an address of the same family.
fn route(index: u32, to: Option<IpAddr>, by: Option<IpAddr>) -> Message {
    let Some(any) = to.or(by) else { return Message::new(NEWROUTE, 0, "") };
    let (family, full) = family(any);
    let length = to.map_or(0, |_| full);
    let scope = by.map_or(RT_SCOPE_LINK, |_| RT_SCOPE_UNIVERSE);
    let mut message = Message::new(NEWROUTE, CREATE | EXCL, "give the container its routes");
    message.fixed(&[family, length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, scope, RTN_UNICAST, 0, 0, 0, 0]);
    if let Some(to) = to {
        message.address(RTA_DST, to);
    }
    if let Some(by) = by {
        message.address(RTA_GATEWAY, by);
    }
    message.number(RTA_OIF, index);
    message
}

fn neighbour(index: u32, addr: IpAddr, mac: [u8; 6]) -> Message {
    let mut message = Message::new(NEWNEIGH, CREATE | REPLACE, "write a permanent neighbour");
    message.fixed(&[family(addr).0, 0, 0, 0]);
    message.fixed(&index.to_ne_bytes());
    message.fixed(&NUD_PERMANENT.to_ne_bytes());
    message.fixed(&[0, 0]);
    message.address(NDA_DST, addr);
    message.attribute(NDA_LLADDR, &mac);
    message
}

/// The address family's number and the length of a host's prefix.
const fn family(addr: IpAddr) -> (u8, u8) {
    match addr {
        IpAddr::V4(_) => (AF_INET, 32),
        IpAddr::V6(_) => (AF_INET6, 128),
    }
}

fn index(netlink: &mut Netlink, name: &str) -> Result<u32, CniFailure> {
    let found = netlink.link(name).map_err(kernel)?;
    found.map(|found| found.index).ok_or_else(|| CniFailure {
        kind: CniFault::Kernel,
        words: format!("interface {name} disappeared while it was being set up; was the namespace deleted?"),
    })
}

/// Moves this thread into the namespace, for good.
fn enter(netns: BorrowedFd<'_>) -> Result<(), CniFailure> {
    move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).map_err(|e| CniFailure {
        kind: CniFault::BadRequest,
        words: format!(
            "cannot enter the container's network namespace: {e}; is CNI_NETNS one, and has the agent CAP_SYS_ADMIN?"
        ),
    })
}

/// A pair with both ends here would put the pod's address and its default route on the node.
fn refuse_own(netns: BorrowedFd<'_>) -> Result<(), CniFailure> {
    let failed = |e: io::Error| CniFailure { kind: CniFault::Io, words: format!("cannot look at CNI_NETNS: {e}") };
    let theirs = rustix::fs::fstat(netns).map_err(|e| failed(e.into()))?;
    let own = fs::File::open("/proc/thread-self/ns/net").map_err(failed)?;
    let own = rustix::fs::fstat(own.as_fd()).map_err(|e| failed(e.into()))?;
    if (theirs.st_dev, theirs.st_ino) != (own.st_dev, own.st_ino) {
        return Ok(());
    }
    let words = "CNI_NETNS is the node's own network namespace: a pod of the host's network needs no plugin";
    Err(CniFailure { kind: CniFault::BadRequest, words: words.to_owned() })
}

/// Writes a setting that is not so already: a read-only `/proc/sys` whose values are right will do.
fn set(path: &str, value: &str) -> Result<(), CniFailure> {
    if fs::read_to_string(path).is_ok_and(|now| now.trim() == value) {
        return Ok(());
    }
    match fs::write(path, value) {
        Ok(()) => Ok(()),
        Err(e) => Err(CniFailure { kind: CniFault::Kernel, words: format!("cannot write {value} to {path}: {e}") }),
    }
}

fn kernel(refusal: Refusal) -> CniFailure {
    CniFailure { kind: CniFault::Kernel, words: refusal.to_string() }
}

fn named(refusal: Refusal, interface: &str) -> CniFailure {
    if !refusal.is(libc::EEXIST) {
        return kernel(refusal);
    }
    let words =
        format!("the container has an interface {interface} already: give CNI_IFNAME another, or delete that one");
    CniFailure { kind: CniFault::Exists, words }
}

// `include/linux/socket.h`, `include/uapi/linux/{if_addr,rtnetlink,neighbour,if_link}.h`.
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFA_F_NODAD: u8 = 0x02;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const NUD_PERMANENT: u16 = 0x80;
const ADDR_GEN_MODE_NONE: u8 = 1;
