use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

use petiole_node::bfd::wire::{PORT, Packet, State};
use petiole_node::bfd::{SessionConfig, SessionId, Transmit};
use tokio::time::timeout;

use super::*;

/// With nobody at the other end.
#[tokio::test]
async fn a_session_is_reported_and_ends_with_the_last_order() {
    let (inputs, mut reports) = mpsc::channel(16);
    let mut bfd = Bfd::new([5; 32], Clock::start(), inputs).unwrap();
    let remote: IpAddr = "127.0.0.9".parse().unwrap();
    let session = SessionId { remote, link: 1 };
    let config = SessionConfig::new("127.0.0.1".parse().unwrap(), Duration::from_millis(50), 3);
    bfd.set_peers(BTreeMap::from([(session, config)]));
    let report = loop {
        match timeout(Duration::from_secs(10), reports.recv()).await.unwrap().unwrap() {
            Input::Bfd(report) if !report.sessions.is_empty() => break report,
            _ => {}
        }
    };
    assert_eq!((report.sessions[0].session, report.sessions[0].status.state), (session, State::Down));
    drop(bfd);
    // The thread holds the other end; it goes with the thread.
    while timeout(Duration::from_secs(10), reports.recv()).await.unwrap().is_some() {}
}

#[test]
fn nothing_runs_before_the_first_session() {
    let (inputs, reports) = mpsc::channel(1);
    let mut bfd = Bfd::new([5; 32], Clock::start(), inputs).unwrap();
    bfd.set_peers(BTreeMap::new());
    assert!(bfd.unborn.is_some());
    assert!(reports.is_empty());
}

/// Over IPv6, for the other test listens over IPv4.
#[test]
fn packets_leave_with_the_ttl_and_from_the_ports_of_rfc5881() {
    let Ok(listener) = UdpSocket::bind((Ipv6Addr::LOCALHOST, PORT)) else {
        println!("not checked: packets_leave_with_the_ttl_and_from_the_ports_of_rfc5881: somebody has the port");
        return;
    };
    system::tell_arrival_v6(listener.as_fd()).unwrap();
    let remote = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let bytes = Packet { my_discriminator: 7, detect_mult: 3, ..Packet::default() }.encode();
    let packet = Transmit { session: SessionId { remote, link: 1 }, local: remote, bytes };
    let mut senders = sockets::Senders::new(u16::MAX);
    for _ in 0..2 {
        senders.send(&packet).unwrap();
    }
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    listener.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let take = || {
        listener.peek(&mut [0; 64]).unwrap();
        system::receive(listener.as_fd(), any).unwrap()
    };
    let (first, second) = (take(), take());
    assert_eq!((first.ttl, first.bytes()), (255, &bytes[..]));
    assert!(first.from.port() >= 49152);
    assert_eq!(first.from, second.from, "RFC 5881 section 4: one source port a session");
}
