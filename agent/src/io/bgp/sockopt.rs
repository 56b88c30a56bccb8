//! The options of a TCP socket that no library offers: signatures, the lowest TTL, and what the kernel knows of a connection.

#![expect(unsafe_code, reason = "setsockopt and getsockopt with structures that no safe wrapper knows")]

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest key that the kernel takes, `TCP_MD5SIG_MAXKEYLEN` in `include/uapi/linux/tcp.h`.
pub(super) const MAX_KEY: usize = 80;

/// `struct tcp_md5sig` in `include/uapi/linux/tcp.h`. Every byte of it is a field, so none is uninitialised.
#[repr(C)]
struct Md5Sig {
    /// A `struct sockaddr_storage`; the kernel reads family and address.
    address: [u8; 128],
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    ifindex: i32,
    key: [u8; MAX_KEY],
}

/// Whose address it is, as the socket names it: a socket of IPv6 knows an IPv4 peer by its mapped address.
fn sockaddr(peer: IpAddr, v6_socket: bool) -> [u8; 128] {
    let mut bytes = [0; 128];
    let (family, at, octets): (i32, usize, Vec<u8>) = match peer {
        IpAddr::V4(a) if v6_socket => (libc::AF_INET6, 8, a.to_ipv6_mapped().octets().to_vec()),
        IpAddr::V4(a) => (libc::AF_INET, 4, a.octets().to_vec()),
        IpAddr::V6(a) => (libc::AF_INET6, 8, a.octets().to_vec()),
    };
    let family = u16::try_from(family).unwrap_or_default().to_ne_bytes();
    for (byte, value) in bytes.iter_mut().zip(family) {
        *byte = value;
    }
    for (byte, value) in bytes.iter_mut().skip(at).zip(octets) {
        *byte = value;
    }
    bytes
}

/// Have a listening socket's connections told. A socket2 socket and not tokio's: that one registers every accepted socket too,
/// a stranger's among them.
pub(super) fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: `Socket` owns its descriptor, closes it only when dropped and never exchanges it; the `AsyncFd` owns the `Socket` and
    // gives nobody a mutable reference to it.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

/// Sign what goes to `peer` on this socket, and drop what comes from it without the signature (RFC 2385). On a listening socket it
/// holds for the connections that are accepted there, on a connected one from now on. The key takes the place of an earlier one.
pub(super) fn sign(socket: impl AsFd, v6_socket: bool, peer: IpAddr, key: &[u8]) -> io::Result<()> {
    let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    if key.is_empty() || key.len() > MAX_KEY {
        // A length of 0 would take the key away.
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut option =
        Md5Sig { address: sockaddr(peer, v6_socket), flags: 0, prefix_len: 0, key_len, ifindex: 0, key: [0; MAX_KEY] };
    for (byte, value) in option.key.iter_mut().zip(key) {
        *byte = *value;
    }
    set(&socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &option)
}

/// Options of TCP-AO in `include/uapi/linux/tcp.h`, Linux 6.7.
const TCP_AO_ADD_KEY: i32 = 38;
const TCP_AO_DEL_KEY: i32 = 39;
const TCP_AO_INFO: i32 = 40;

/// The KeyIDs of a master key tuple (RFC 5925 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AoIds {
    pub(super) send: u8,
    pub(super) recv: u8,
}

/// `struct tcp_ao_add`. Every byte of it is a field, so none is uninitialised.
#[repr(C, align(8))]
struct AoAdd {
    address: [u8; 128],
    algorithm: [u8; 64],
    ifindex: i32,
    /// Bit fields: make it the current key, ask for it next. The first key is both.
    flags: u32,
    reserved: u16,
    prefix_len: u8,
    send_id: u8,
    recv_id: u8,
    /// Bytes of the code; 0 for 12, the 96 bits of both algorithms (RFC 5926 section 3.2).
    code_len: u8,
    key_flags: u8,
    key_len: u8,
    key: [u8; MAX_KEY],
}

/// `struct tcp_ao_del`, likewise.
#[repr(C, align(8))]
struct AoDel {
    address: [u8; 128],
    ifindex: i32,
    flags: u32,
    reserved: u16,
    prefix_len: u8,
    send_id: u8,
    recv_id: u8,
    current: u8,
    next: u8,
    key_flags: u8,
}

/// One host. An IPv4 address has 32 bits also where it is mapped.
const fn host(peer: IpAddr) -> u8 {
    if peer.is_ipv4() { 32 } else { 128 }
}

/// Sign what goes to `peer` on this socket, and drop what comes from it without the signature (RFC 5925). On a listening socket it
/// holds for the connections that are accepted there. A second key with one of the same ids is refused.
pub(super) fn sign_ao(
    socket: impl AsFd,
    v6_socket: bool,
    peer: IpAddr,
    ids: AoIds,
    algorithm: &str,
    key: &[u8],
) -> io::Result<()> {
    let key_len = u8::try_from(key.len()).ok().filter(|n| (1..=MAX_KEY).contains(&usize::from(*n)));
    let key_len = key_len.ok_or(io::ErrorKind::InvalidInput)?;
    let mut option = AoAdd {
        address: sockaddr(peer, v6_socket),
        algorithm: [0; 64],
        ifindex: 0,
        flags: 0,
        reserved: 0,
        prefix_len: host(peer),
        send_id: ids.send,
        recv_id: ids.recv,
        code_len: 0,
        key_flags: 0,
        key_len,
        key: [0; MAX_KEY],
    };
    for (byte, value) in option.algorithm.iter_mut().zip(algorithm.bytes()) {
        *byte = value;
    }
    for (byte, value) in option.key.iter_mut().zip(key) {
        *byte = *value;
    }
    set(&socket, libc::IPPROTO_TCP, TCP_AO_ADD_KEY, &option)
}

/// Take a key from a socket.
pub(super) fn forget_ao(socket: impl AsFd, v6_socket: bool, peer: IpAddr, ids: AoIds) -> io::Result<()> {
    let option = AoDel {
        address: sockaddr(peer, v6_socket),
        ifindex: 0,
        flags: 0,
        reserved: 0,
        prefix_len: host(peer),
        send_id: ids.send,
        recv_id: ids.recv,
        current: 0,
        next: 0,
        key_flags: 0,
    };
    set(&socket, libc::IPPROTO_TCP, TCP_AO_DEL_KEY, &option)
}

/// Whether a connection is one of TCP-AO; `ENOENT` where it is not.
pub(super) fn has_ao(socket: impl AsFd) -> io::Result<()> {
    // `struct tcp_ao_info_opt`: 48 bytes, aligned to 8.
    let mut info = [0_u64; 6];
    let mut len = libc::socklen_t::try_from(size_of_val(&info)).unwrap_or_default();
    // SAFETY: the descriptor is open for the length of the call, `info` is writable for `len` bytes, and any bytes make numbers.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            TCP_AO_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the running kernel has TCP-AO with this algorithm; `ENOPROTOOPT` where it has none at all.
pub(super) fn probe_ao(algorithm: &str) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    sign_ao(&socket, false, peer, AoIds { send: 1, recv: 1 }, algorithm, &[1; 16])
}

/// Hear only packets that arrive with the highest TTL (RFC 5082 section 3).
pub(super) fn only_from_the_link(socket: impl AsFd, v6_socket: bool) -> io::Result<()> {
    if v6_socket {
        set(&socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &255_i32)?;
    }
    // Also on a socket of IPv6, which may carry IPv4.
    set(&socket, libc::IPPROTO_IP, libc::IP_MINTTL, &255_i32)
}

/// Time since data last arrived on a connection, read or not, to the kernel's tick.
pub(super) fn last_received(socket: impl AsFd) -> io::Result<Duration> {
    // `struct tcp_info` in `include/uapi/linux/tcp.h`: eight bytes, then 32-bit numbers; `tcpi_last_data_recv` is at byte 52.
    let mut info = [0_u32; 26];
    let size = size_of_val(&info);
    let mut len = libc::socklen_t::try_from(size).unwrap_or_default();
    // SAFETY: the descriptor is open for the length of the call, `info` is writable for `len` bytes, and any bytes make numbers.
    let done = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::from_millis(info[13].into()))
}

fn set<T>(socket: &impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default();
    // SAFETY: the descriptor is open for the length of the call, and `value` is readable for `len` bytes, all initialised: `T` is
    // an integer or a structure without padding.
    let done = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, (&raw const *value).cast(), len) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_option_has_the_kernels_layout() {
        assert_eq!(size_of::<Md5Sig>(), 216);
        assert_eq!(std::mem::offset_of!(Md5Sig, key_len), 130);
        assert_eq!(std::mem::offset_of!(Md5Sig, key), 136);
        let mapped = sockaddr("10.0.0.1".parse().unwrap(), true);
        assert_eq!(&mapped[8..24], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1]);
    }

    #[test]
    fn rfc5925_the_options_of_tcp_ao_have_the_kernels_layout() {
        use std::mem::offset_of;
        assert_eq!((size_of::<AoAdd>(), align_of::<AoAdd>()), (288, 8));
        let (prefix_len, key_len) = (offset_of!(AoAdd, prefix_len), offset_of!(AoAdd, key_len));
        assert_eq!((offset_of!(AoAdd, algorithm), offset_of!(AoAdd, ifindex)), (128, 192));
        assert_eq!((offset_of!(AoAdd, flags), prefix_len, key_len), (196, 202, 207));
        assert_eq!((offset_of!(AoAdd, send_id), offset_of!(AoAdd, recv_id), offset_of!(AoAdd, key)), (203, 204, 208));
        assert_eq!((size_of::<AoDel>(), align_of::<AoDel>()), (144, 8));
        assert_eq!((offset_of!(AoDel, ifindex), offset_of!(AoDel, prefix_len)), (128, 138));
        assert_eq!((offset_of!(AoDel, recv_id), offset_of!(AoDel, key_flags)), (140, 143));
        // A mapped address keeps the length of the one it stands for.
        assert_eq!((host("10.0.0.1".parse().unwrap()), host("fd00::1".parse().unwrap())), (32, 128));
    }

    #[test]
    fn an_empty_key_is_no_way_to_take_one_away() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = "127.0.0.2".parse().unwrap();
        assert!(sign(&socket, false, peer, b"").is_err());
        assert!(sign(&socket, false, peer, &[7; 81]).is_err());
        sign(&socket, false, peer, &[7; 80]).unwrap();
    }
}
