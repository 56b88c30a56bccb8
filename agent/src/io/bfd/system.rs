//! What BFD needs of the kernel and no safe library offers: socket options and messages that say how a packet arrived, and a
//! thread that runs when it must.
#![expect(unsafe_code, reason = "three calls of the C library, each with its proof")]

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::{MaybeUninitSlice, MsgHdrMut, SockAddr, SockRef};

/// Room for a packet; what is longer is cut, for nothing behind it is looked at.
const PACKET: usize = 64;
/// Room for the two control messages of either family, with their headers.
const CONTROL: usize = 128;

/// A datagram and how it arrived.
pub(super) struct Arrived {
    pub(super) from: SocketAddr,
    /// TTL or hop limit; 0 where the kernel did not say.
    pub(super) ttl: u8,
    /// The interface's index; 0 where the kernel did not say.
    pub(super) link: u32,
    packet: [u8; PACKET],
    len: usize,
}

impl Arrived {
    pub(super) fn bytes(&self) -> &[u8] {
        self.packet.get(..self.len).unwrap_or(&self.packet)
    }
}

/// Asks the kernel to say with each datagram over IPv4 how it arrived.
pub(super) fn tell_arrival_v4(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_IP, libc::IP_RECVTTL)?;
    set(socket, libc::IPPROTO_IP, libc::IP_PKTINFO)
}

/// The same over IPv6.
pub(super) fn tell_arrival_v6(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT)?;
    set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
}

fn set(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap_or(0);
    // SAFETY: the descriptor is open for the length of the borrow, and the value is an initialised `c_int` on the stack whose
    // size is what `len` says; the kernel only reads it.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the next datagram that waits. `any` is the unspecified address of the socket's family.
///
/// # Errors
/// `WouldBlock` when none waits.
pub(super) fn receive(socket: BorrowedFd<'_>, any: SocketAddr) -> io::Result<Arrived> {
    let mut packet = [MaybeUninit::new(0_u8); PACKET];
    let mut control = [MaybeUninit::new(0_u8); CONTROL];
    let mut addr = SockAddr::from(any);
    let mut buffers = [MaybeUninitSlice::new(&mut packet)];
    let mut header = MsgHdrMut::new().with_addr(&mut addr).with_buffers(&mut buffers).with_control(&mut control);
    let len = SockRef::from(&socket).recvmsg(&mut header, libc::MSG_DONTWAIT)?;
    let control_len = header.control_len();
    // SAFETY: every byte of both arrays was initialised where they were made, and the call wrote whole bytes into them.
    let (packet, control) = unsafe { (packet.map(|b| b.assume_init()), control.map(|b| b.assume_init())) };
    let from = addr.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    let (ttl, link) = arrival(control.get(..control_len).unwrap_or(&control));
    Ok(Arrived { from, ttl, link, packet, len })
}

/// TTL or hop limit and interface, out of control messages: each a length (of header and data) as `size_t`, level and type
/// as `int`, data, and padding to the size of a `size_t` (cmsg(3)).
fn arrival(mut control: &[u8]) -> (u8, u32) {
    const WORD: usize = size_of::<usize>();
    const HEADER: usize = WORD + 8;
    let (mut ttl, mut link) = (0, 0);
    let int = |bytes: &[u8], at: usize| bytes.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
    while let Some(len) = control.first_chunk::<WORD>().map(|b| usize::from_ne_bytes(*b)) {
        let (Some(level), Some(kind), Some(data)) =
            (int(control, WORD), int(control, WORD + 4), control.get(HEADER..len))
        else {
            break;
        };
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                ttl = int(data, 0).and_then(|n| u8::try_from(n).ok()).unwrap_or(0);
            }
            // The index comes first in the one structure, and after 16 octets of address in the other.
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                link = int(data, 0).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                link = int(data, 16).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
            }
            _ => {}
        }
        control = control.get(len.next_multiple_of(WORD)..).unwrap_or_default();
    }
    (ttl, link)
}

/// Puts the calling thread before all that share the processor by turns.
///
/// # Errors
/// `EPERM` without the right to it.
pub(super) fn run_in_real_time() -> io::Result<()> {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 is the calling thread, and the parameters are an initialised structure that the kernel only reads.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const lowest) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests;
