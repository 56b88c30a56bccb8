//! The options of a TCP socket that no library offers: signatures, the lowest TTL, and what the kernel knows of a connection.

#![expect(unsafe_code, reason = "setsockopt and getsockopt with structures that no safe wrapper knows")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

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
    fn an_empty_key_is_no_way_to_take_one_away() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = "127.0.0.2".parse().unwrap();
        assert!(sign(&socket, false, peer, b"").is_err());
        assert!(sign(&socket, false, peer, &[7; 81]).is_err());
        sign(&socket, false, peer, &[7; 80]).unwrap();
    }
}
