//! A netlink socket of the namespace that its thread is in, and the few messages that wiring takes.
//!
//! Layouts: `include/uapi/linux/{netlink,rtnetlink,if_link,if_addr,neighbour,veth,ip}.h`.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use socket2::SockRef;
use std::time::Duration;

/// The kernel works inside the send call: longer means that an answer is lost.
const ANSWER: Duration = Duration::from_secs(5);
const DATAGRAM: usize = 64 << 10;

/// One message; built in order: header, fixed part, attributes.
#[derive(Debug)]
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
    /// What a refusal is told with.
    what: &'static str,
}

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {error}")]
pub(super) struct Refusal {
    pub(super) what: &'static str,
    pub(super) error: std::io::Error,
}

impl Refusal {
    pub(super) fn is(&self, errno: i32) -> bool {
        self.error.raw_os_error() == Some(errno)
    }
}

/// An interface as `RTM_NEWLINK` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) index: u32,
    pub(super) up: bool,
    pub(super) mac: Option<[u8; 6]>,
}

#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> Result<Self, Refusal> {
        let failed = |error| Refusal { what: "open a netlink socket", error };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(failed)?;
        socket.bind_auto().map_err(failed)?;
        socket.set_cap_ack(true).ok();
        SockRef::from(&socket).set_read_timeout(Some(ANSWER)).map_err(failed)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// A socket that hears of the interfaces of this namespace.
    pub(super) fn of_links() -> Result<Self, Refusal> {
        let failed = |error| Refusal { what: "listen to the kernel's interfaces", error };
        let listener = Self::open()?;
        listener.socket.add_membership(RTNLGRP_LINK).map_err(failed)?;
        listener.socket.set_non_blocking(true).map_err(failed)?;
        Ok(listener)
    }

    /// Whether what was heard since the last time ends the interface of that name.
    pub(super) fn heard_end_of(&self, name: &str) -> bool {
        // A buffer that ran over may have lost it: the deletion's own answer comes all the same.
        while let Ok(datagram) = self.receive() {
            let ends = parts(&datagram).iter().any(|(kind, _, payload)| {
                // Bridges tell of their ports in the same group, with a family of their own.
                *kind == DELLINK && payload.first() == Some(&0) && is_named(payload, name)
            });
            if ends {
                return true;
            }
        }
        false
    }

    /// Sends all in one call; the first refusal is told, and those after it were tried all the same.
    pub(super) fn run(&mut self, messages: &[Message]) -> Result<(), Refusal> {
        let first = self.sequence + 1;
        let mut out = Vec::new();
        for message in messages {
            self.sequence += 1;
            message.append(self.sequence, ACK, &mut out);
        }
        let Some(last) = messages.last() else { return Ok(()) };
        let lost = |error| Refusal { what: last.what, error };
        self.socket.send(&out, 0).map_err(lost)?;
        let mut refused: Option<(usize, Refusal)> = None;
        let mut left = messages.len();
        while left > 0 {
            for (kind, sequence, payload) in parts(&self.receive().map_err(lost)?) {
                let place = sequence.checked_sub(first).and_then(|p| usize::try_from(p).ok());
                let Some((place, message)) = place.and_then(|p| Some((p, messages.get(p)?))) else { continue };
                if kind != ERROR {
                    continue;
                }
                left = left.saturating_sub(1);
                let refusal = refusal(&payload, message.what);
                if let Some(refusal) = refusal.filter(|_| refused.as_ref().is_none_or(|(before, _)| place < *before)) {
                    refused = Some((place, refusal));
                }
            }
        }
        refused.map_or(Ok(()), |(_, refusal)| Err(refusal))
    }

    /// The interface of that name; `None` where there is none.
    pub(super) fn link(&mut self, name: &str) -> Result<Option<Found>, Refusal> {
        let mut message = Message::new(GETLINK, 0, "look up an interface");
        message.fixed(&[0; 16]);
        message.name(name);
        let lost = |error| Refusal { what: message.what, error };
        self.ask(&message).map_err(lost)?;
        loop {
            for (kind, sequence, payload) in parts(&self.receive().map_err(lost)?) {
                if sequence != self.sequence {
                    continue;
                }
                if kind == NEWLINK {
                    return Ok(found(&payload));
                }
                return match refusal(&payload, message.what) {
                    Some(refusal) if refusal.is(libc::ENODEV) => Ok(None),
                    Some(refusal) => Err(refusal),
                    None => Ok(None),
                };
            }
        }
    }

    /// The addresses of an interface.
    pub(super) fn addresses(&mut self, index: u32) -> Result<Vec<IpAddr>, Refusal> {
        let mut message = Message::new(GETADDR, DUMP, "list addresses");
        message.fixed(&[0; 8]);
        let mut all = Vec::new();
        self.dump(&message, |payload| {
            if number(payload, 4) == Some(index) {
                all.extend(attribute(payload, 8, IFA_ADDRESS).as_deref().and_then(address));
            }
        })?;
        Ok(all)
    }

    /// The gateways of default routes out of an interface.
    pub(super) fn gateways(&mut self, index: u32) -> Result<Vec<IpAddr>, Refusal> {
        let mut message = Message::new(GETROUTE, DUMP, "list routes");
        message.fixed(&[0; 12]);
        let mut all = Vec::new();
        self.dump(&message, |payload| {
            let out = attribute(payload, 12, RTA_OIF).and_then(|v| number(&v, 0));
            if payload.get(1) == Some(&0) && out == Some(index) {
                all.extend(attribute(payload, 12, RTA_GATEWAY).as_deref().and_then(address));
            }
        })?;
        Ok(all)
    }

    fn dump(&mut self, message: &Message, mut with: impl FnMut(&[u8])) -> Result<(), Refusal> {
        let lost = |error| Refusal { what: message.what, error };
        self.ask(message).map_err(lost)?;
        loop {
            for (kind, sequence, payload) in parts(&self.receive().map_err(lost)?) {
                match kind {
                    _ if sequence != self.sequence => {}
                    DONE => return Ok(()),
                    ERROR => return refusal(&payload, message.what).map_or(Ok(()), Err),
                    _ => with(&payload),
                }
            }
        }
    }

    /// Sends a question; its answers carry the sequence number that is current then.
    fn ask(&mut self, message: &Message) -> std::io::Result<()> {
        self.sequence += 1;
        let mut out = Vec::new();
        message.append(self.sequence, 0, &mut out);
        self.socket.send(&out, 0).map(drop)
    }

    fn receive(&self) -> std::io::Result<Vec<u8>> {
        loop {
            let mut datagram = Vec::with_capacity(DATAGRAM);
            match self.socket.recv(&mut datagram, 0) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                other => return other.map(|_| datagram),
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Message {
    pub(super) const fn new(kind: u16, flags: u16, what: &'static str) -> Self {
        Self { kind, flags, body: Vec::new(), what }
    }

    pub(super) fn fixed(&mut self, octets: &[u8]) {
        self.body.extend_from_slice(octets);
    }

    /// `struct ifinfomsg`, which also stands at the beginning of a pair's other end.
    pub(super) fn link_header(&mut self, index: u32, flags: u32) {
        self.fixed(&[0; 4]);
        for word in [index, flags, flags] {
            self.fixed(&word.to_ne_bytes());
        }
    }

    pub(super) fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.fixed(&length.to_ne_bytes());
        self.fixed(&kind.to_ne_bytes());
        self.fixed(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_ne_bytes());
    }

    pub(super) fn name(&mut self, name: &str) {
        let mut octets = name.as_bytes().to_vec();
        octets.push(0);
        self.attribute(IFLA_IFNAME, &octets);
    }

    pub(super) fn address(&mut self, kind: u16, addr: IpAddr) {
        match addr {
            IpAddr::V4(a) => self.attribute(kind, &a.octets()),
            IpAddr::V6(a) => self.attribute(kind, &a.octets()),
        }
    }

    /// An attribute that holds what `inside` adds.
    pub(super) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let mut inner = Self::new(0, 0, "");
        inside(&mut inner);
        self.attribute(kind, &inner.body);
    }

    fn append(&self, sequence: u32, more: u16, out: &mut Vec<u8>) {
        let length = u32::try_from(self.body.len() + HEADER).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&(REQUEST | self.flags | more).to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.body);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}

/// Type, sequence number and payload of each message of a datagram.
fn parts(datagram: &[u8]) -> Vec<(u16, u32, Vec<u8>)> {
    let mut rest = datagram;
    let mut all = Vec::new();
    while let Ok(message) = NetlinkBuffer::new_checked(rest) {
        let length = usize::try_from(message.length()).unwrap_or(usize::MAX);
        let Some(payload) = rest.get(HEADER..length) else { break };
        all.push((message.message_type(), message.sequence_number(), payload.to_vec()));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

fn refusal(payload: &[u8], what: &'static str) -> Option<Refusal> {
    let code = payload.first_chunk().copied().map(i32::from_ne_bytes)?;
    (code != 0).then(|| Refusal { what, error: std::io::Error::from_raw_os_error(code.saturating_abs()) })
}

fn is_named(link: &[u8], name: &str) -> bool {
    attribute(link, 16, IFLA_IFNAME).is_some_and(|found| found.strip_suffix(&[0]) == Some(name.as_bytes()))
}

fn number(payload: &[u8], at: usize) -> Option<u32> {
    payload.get(at..)?.first_chunk().copied().map(u32::from_ne_bytes)
}

fn attribute(payload: &[u8], fixed: usize, kind: u16) -> Option<Vec<u8>> {
    let attributes = NlasIterator::new(payload.get(fixed..)?);
    attributes.map_while(Result::ok).find(|a| a.kind() == kind).map(|a| a.value().to_vec())
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

fn found(payload: &[u8]) -> Option<Found> {
    let mac = attribute(payload, 16, IFLA_ADDRESS).and_then(|m| <[u8; 6]>::try_from(m.as_slice()).ok());
    Some(Found { index: number(payload, 4)?, up: number(payload, 8)? & IFF_UP != 0, mac })
}

/// `RTNLGRP_LINK` of `rtnetlink.h`.
const RTNLGRP_LINK: u32 = 1;
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
pub(super) const CREATE: u16 = 0x400;
pub(super) const EXCL: u16 = 0x200;
pub(super) const REPLACE: u16 = 0x100;

pub(super) const NEWLINK: u16 = 16;
pub(super) const DELLINK: u16 = 17;
const GETLINK: u16 = 18;
pub(super) const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
pub(super) const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
pub(super) const NEWNEIGH: u16 = 28;

pub(super) const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
pub(super) const IFLA_MTU: u16 = 4;
pub(super) const IFLA_LINKINFO: u16 = 18;
pub(super) const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_NET_NS_FD: u16 = 28;
pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const VETH_INFO_PEER: u16 = 1;
pub(super) const IFLA_INET_CONF: u16 = 1;
pub(super) const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
pub(super) const IPV4_DEVCONF_FORWARDING: u16 = 1;
pub(super) const IPV4_DEVCONF_PROXY_ARP: u16 = 3;
pub(super) const IFF_UP: u32 = 1;
pub(super) const IFA_ADDRESS: u16 = 1;
pub(super) const IFA_LOCAL: u16 = 2;
pub(super) const RTA_DST: u16 = 1;
pub(super) const RTA_OIF: u16 = 4;
pub(super) const RTA_GATEWAY: u16 = 5;
pub(super) const NDA_DST: u16 = 1;
pub(super) const NDA_LLADDR: u16 = 2;
