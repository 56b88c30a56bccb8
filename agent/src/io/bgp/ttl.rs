//! GTSM on a listening socket (RFC 5082): what claims to come from a leaf on the link must not have been forwarded.
//!
//! The lowest TTL of a socket holds for all who connect to it, while only some leaves may have GTSM. So the listener has a filter,
//! which a connection accepted from it inherits: nothing forwarded waits there to be read.

use std::io;
use std::net::IpAddr;

use socket2::{SockFilter, SockRef, Socket};

/// Drop on this socket what has such a source and a TTL below 255.
pub(super) fn filter(socket: &Socket, leaves: &[IpAddr]) -> io::Result<()> {
    if leaves.is_empty() {
        return Ok(());
    }
    SockRef::from(socket).attach_filter(&program(leaves))
}

/// A classic BPF program over the network header (`linux/filter.h`): its loads are relative to `SKF_NET_OFF`.
fn program(leaves: &[IpAddr]) -> Vec<SockFilter> {
    const NET: u32 = 0xfff0_0000;
    const LOAD_WORD: u16 = 0x20;
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP: u16 = 0x05;
    const JUMP_IF: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALL: u32 = u32::MAX;
    let mut v4 = vec![
        // The TTL, then the source.
        SockFilter::new(LOAD_BYTE, 0, 0, NET + 8),
        SockFilter::new(JUMP_IF, 0, 1, 255),
        SockFilter::new(RETURN, 0, 0, ALL),
        SockFilter::new(LOAD_WORD, 0, 0, NET + 12),
    ];
    let mut v6 = vec![
        // The hop limit.
        SockFilter::new(LOAD_BYTE, 0, 0, NET + 7),
        SockFilter::new(JUMP_IF, 0, 1, 255),
        SockFilter::new(RETURN, 0, 0, ALL),
    ];
    for leaf in leaves {
        match leaf {
            IpAddr::V4(a) => {
                v4.push(SockFilter::new(JUMP_IF, 0, 1, a.to_bits()));
                v4.push(SockFilter::new(RETURN, 0, 0, 0));
            }
            IpAddr::V6(a) => {
                let bits = a.to_bits();
                let word = |n: u32| u32::try_from(bits >> (96 - 32 * n) & u128::from(u32::MAX)).unwrap_or_default();
                // What follows of this leaf is jumped over at the first word that differs.
                for (n, rest) in (0..).zip([7, 5, 3, 1]) {
                    v6.push(SockFilter::new(LOAD_WORD, 0, 0, NET + 8 + 4 * n));
                    v6.push(SockFilter::new(JUMP_IF, 0, rest, word(n)));
                }
                v6.push(SockFilter::new(RETURN, 0, 0, 0));
            }
        }
    }
    v4.push(SockFilter::new(RETURN, 0, 0, ALL));
    v6.push(SockFilter::new(RETURN, 0, 0, ALL));
    let version = [
        SockFilter::new(LOAD_BYTE, 0, 0, NET),
        SockFilter::new(AND, 0, 0, 0xf0),
        SockFilter::new(JUMP_IF, 1, 0, 0x40),
        SockFilter::new(JUMP, 0, 0, u32::try_from(v4.len()).unwrap_or_default()),
    ];
    version.into_iter().chain(v4).chain(v6).collect()
}
