//! Netlink sockets and their options.

use std::io;

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_ROUTE;
use rustix::net::sockopt;
use socket2::{SockFilter, SockRef};
use tokio::io::unix::AsyncFd;

/// Receive buffer of the monitor, in bytes: some thirty thousand notifications.
const MONITOR_BUFFER: usize = 16 << 20;

/// Receive buffer of the others: a batch of refusals with their words.
const REPLY_BUFFER: usize = 1 << 20;

/// Large enough for any datagram that the kernel sends: dumps come in pieces of at most 32 KiB.
pub(super) const DATAGRAM: usize = 64 << 10;

/// Multicast groups (`enum rtnetlink_groups` in `include/uapi/linux/rtnetlink.h`): links, and addresses and routes of both
/// families.
const GROUPS: [u32; 5] = [1, 5, 7, 9, 11];

/// A socket that asks and gets answers; also its port number, which the kernel puts into notifications of what it does.
pub(super) fn request() -> io::Result<(Socket, u32)> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    let address = socket.bind_auto()?;
    grow(&socket, REPLY_BUFFER)?;
    // Both only improve answers: the kernel's own words, and no copy of our request.
    socket.set_ext_ack(true).ok();
    socket.set_cap_ack(true).ok();
    Ok((socket, address.port_number()))
}

/// A socket that listens, except to route changes made through the port `own`.
pub(super) fn monitor(own: u32) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    grow(&socket, MONITOR_BUFFER)?;
    SockRef::from(&socket).attach_filter(&not_from(own))?;
    socket.bind_auto()?;
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    Ok(socket)
}

/// Hands a socket to the reactor, non-blocking. Must be called inside the runtime.
#[expect(
    unsafe_code,
    reason = "the reactor's safe constructor is deprecated in favour of one that asks for this proof"
)]
pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    socket.set_non_blocking(true)?;
    // SAFETY: `Socket` owns its descriptor, closes it only when dropped and never exchanges it; the `AsyncFd` owns the
    // `Socket`, and nothing here takes it out or borrows it mutably.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

fn grow(socket: &Socket, size: usize) -> io::Result<()> {
    // Past `net.core.rmem_max` only with CAP_NET_ADMIN in the first user namespace; less is better than nothing.
    sockopt::set_socket_recv_buffer_size_force(socket, size)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(socket, size))
        .map_err(io::Error::from)
}

/// A classic BPF program over `struct nlmsghdr` (`include/uapi/linux/netlink.h`): drops route notifications with that
/// `nlmsg_pid`, passes everything else. Loads are big-endian while the header is not, hence the conversions.
fn not_from(port: u32) -> [SockFilter; 7] {
    const LOAD_HALF: u16 = 0x28;
    const LOAD_WORD: u16 = 0x20;
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    let half = |v: u16| u32::from(u16::from_be_bytes(v.to_ne_bytes()));
    let word = |v: u32| u32::from_be_bytes(v.to_ne_bytes());
    [
        SockFilter::new(LOAD_HALF, 0, 0, 4),
        SockFilter::new(JUMP_EQUAL, 1, 0, half(RTM_NEWROUTE)),
        SockFilter::new(JUMP_EQUAL, 0, 2, half(RTM_DELROUTE)),
        SockFilter::new(LOAD_WORD, 0, 0, 12),
        SockFilter::new(JUMP_EQUAL, 1, 0, word(port)),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// The messages of one datagram. Ends at the first one that does not fit, which the kernel never sends.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = NetlinkBuffer<&[u8]>> {
    std::iter::from_fn(move || {
        let message = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = usize::try_from(message.length()).ok()?;
        let whole = datagram.get(..length)?;
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(NetlinkBuffer::new(whole))
    })
}

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
