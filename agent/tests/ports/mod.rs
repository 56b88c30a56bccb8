//! Ports of loopback for the servers that tests start, and start again.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// One that stays free until somebody asks for it: the kernel takes none below 32768 for connections that begin here.
pub(crate) fn free_port() -> u16 {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let mut tried = (0..12_000).map(|_| {
        let n = std::process::id().wrapping_mul(97).wrapping_add(ASKED.fetch_add(1, Ordering::Relaxed));
        20_000 + u16::try_from(n % 12_000).unwrap()
    });
    tried.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).expect("no port is free")
}
