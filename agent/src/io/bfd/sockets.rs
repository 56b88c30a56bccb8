//! BFD's sockets: one a family that listens, one a session that sends.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};

use petiole_node::bfd::wire::{PORT, SOURCE_PORTS, TTL};
use petiole_node::bfd::{SessionId, Transmit};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use super::system::{self, Arrived};

/// Class selector 6, internetwork control, like BGP's packets.
const CS6: u32 = 48 << 2;
/// A second of 4,000 packets a second, should this thread not run for so long.
const BACKLOG: usize = 2 << 20;
/// How many source ports are tried; few are ever taken.
const TRIES: u16 = 64;

/// A socket that hears everything that comes to BFD's port in one family.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    any: SocketAddr,
}

impl Listener {
    pub(super) fn open(ipv6: bool) -> io::Result<Self> {
        let any: IpAddr = if ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let any = SocketAddr::new(any, PORT);
        let socket = Socket::new(Domain::for_address(any), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        if ipv6 {
            socket.set_only_v6(true)?;
            system::tell_arrival_v6(socket.as_fd())?;
        } else {
            system::tell_arrival_v4(socket.as_fd())?;
        }
        // What was forwarded is dropped where it costs nobody anything; that it is dropped is decided once more by the session.
        socket.attach_filter(&unforwarded(ipv6))?;
        // Less is better than nothing.
        let _ = socket.set_recv_buffer_size(BACKLOG);
        socket.bind(&any.into())?;
        Ok(Self { socket, any })
    }

    /// The next datagram that waits; `None` when none does.
    pub(super) fn receive(&self) -> Option<(SessionId, Arrived)> {
        // An error of one datagram (a port unreachable, say) is none of the socket.
        let arrived = (0..8).find_map(|_| match system::receive(self.socket.as_fd(), self.any) {
            Ok(arrived) => Some(Some(arrived)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Some(None),
            Err(_) => None,
        })??;
        Some((SessionId { remote: arrived.from.ip().to_canonical(), link: arrived.link }, arrived))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A classic BPF program that passes what has the TTL or hop limit of a single hop. Offsets are from the IP header.
fn unforwarded(ipv6: bool) -> [SockFilter; 4] {
    /// `SKF_NET_OFF` of `include/uapi/linux/filter.h`: -0x100000.
    const NETWORK_HEADER: u32 = 0xfff0_0000;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, NETWORK_HEADER + if ipv6 { 7 } else { 8 }),
        SockFilter::new(JUMP_EQUAL, 0, 1, TTL.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The sockets that send.
#[derive(Debug)]
pub(super) struct Senders {
    open: BTreeMap<SessionId, Sender>,
    /// Where the search for the next free source port begins.
    port: u16,
}

#[derive(Debug)]
struct Sender {
    socket: Socket,
    local: IpAddr,
}

impl Senders {
    pub(super) const fn new(spread: u16) -> Self {
        Self { open: BTreeMap::new(), port: spread }
    }

    /// Sends a packet, from the session's own source port.
    ///
    /// # Errors
    /// When there is no socket for it. A packet that could not be sent is lost like any other.
    pub(super) fn send(&mut self, packet: &Transmit) -> io::Result<()> {
        let Transmit { session, local, bytes } = packet;
        if self.open.get(session).is_none_or(|s| s.local != *local) {
            let socket = self.bind(session, *local)?;
            self.open.insert(*session, Sender { socket, local: *local });
        }
        let Some(sender) = self.open.get(session) else { return Ok(()) };
        if let Err(e) = sender.socket.send_to(bytes, &end(session.remote, session.link, PORT)) {
            let gone = [libc::ENODEV, libc::ENXIO, libc::EADDRNOTAVAIL, libc::EINVAL];
            if e.raw_os_error().is_some_and(|code| gone.contains(&code)) {
                // The address or the interface went; what comes back may be another one of the same name.
                self.open.remove(session);
            }
        }
        Ok(())
    }

    pub(super) fn keep(&mut self, wanted: impl Fn(&SessionId) -> bool) {
        self.open.retain(|id, _| wanted(id));
    }

    fn bind(&mut self, session: &SessionId, local: IpAddr) -> io::Result<Socket> {
        let domain = if local.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        let link = NonZeroU32::new(session.link);
        if local.is_ipv6() {
            socket.set_only_v6(true)?;
            socket.set_unicast_hops_v6(TTL.into())?;
            socket.set_tclass_v6(CS6)?;
            socket.bind_device_by_index_v6(link)?;
        } else {
            socket.set_ttl_v4(TTL.into())?;
            socket.set_tos_v4(CS6)?;
            socket.bind_device_by_index_v4(link)?;
        }
        let range = SOURCE_PORTS.end() - SOURCE_PORTS.start();
        let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..TRIES {
            self.port = self.port.wrapping_add(1);
            match socket.bind(&end(local, session.link, SOURCE_PORTS.start() + self.port % (range + 1))) {
                Ok(()) => return Ok(socket),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => refused = e,
                Err(e) => return Err(e),
            }
        }
        Err(refused)
    }
}

fn end(addr: IpAddr, link: u32, port: u16) -> SockAddr {
    match addr {
        IpAddr::V4(_) => SocketAddr::new(addr, port).into(),
        IpAddr::V6(a) => {
            let scope = if a.is_unicast_link_local() { link } else { 0 };
            SocketAddrV6::new(a, port, 0, scope).into()
        }
    }
}
