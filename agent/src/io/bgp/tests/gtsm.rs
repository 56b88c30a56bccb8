//! GTSM over the loopback, which leaves a TTL as it was sent: the leaf's own TTL stands for the routers between.

use std::net::{Ipv4Addr, Ipv6Addr};

use socket2::{Domain, SockRef, Socket, Type};

use super::*;

fn guarded(address: IpAddr) -> PeerSettings {
    PeerSettings { ttl_security: true, ..leaf(&address.to_string()) }
}

fn socket(at: IpAddr, ttl: u32) -> Socket {
    let at = SocketAddr::new(at, 0);
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    if at.is_ipv6() {
        socket.set_unicast_hops_v6(ttl).unwrap();
    } else {
        socket.set_ttl_v4(ttl).unwrap();
    }
    socket.bind(&at.into()).unwrap();
    socket
}

async fn dial(from: IpAddr, ttl: u32, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::from_std_stream(socket(from, ttl).into());
    match tokio::time::timeout(Duration::from_millis(700), socket.connect(to)).await {
        Ok(connected) => connected,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

#[tokio::test]
async fn rfc5082_3_a_leaf_that_answers_from_afar_is_not_heard() {
    let leaf: IpAddr = Ipv4Addr::new(127, 0, 2, 1).into();
    let far = socket(leaf, 254);
    far.listen(8).unwrap();
    let far = TcpListener::from_std(far.into()).unwrap();
    let mut rig = Rig::with(None, vec![guarded(leaf)]);
    rig.connections.act(connect_to(far.local_addr().unwrap()));
    loop {
        match rig.next().await {
            Event::Hint { what, .. } if what.contains("with a TTL below 255") => break,
            Event::Hint { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn rfc5082_3_everything_of_ours_has_ttl_255_and_a_leaf_on_the_link_is_heard() {
    for leaf in [IpAddr::from(Ipv4Addr::new(127, 0, 2, 5)), Ipv6Addr::LOCALHOST.into()] {
        let near = socket(leaf, 255);
        near.listen(8).unwrap();
        let near = TcpListener::from_std(near.into()).unwrap();
        // The leaf insists too: our packets have the highest TTL, or this would not connect.
        sockopt::only_from_the_link(&near, leaf.is_ipv6()).unwrap();
        let mut rig = Rig::with(None, vec![guarded(leaf)]);
        let remote = near.local_addr().unwrap();
        rig.connections.act(Action::Connect { conn: CONN, peer: PeerId::of_address(leaf), local: None, remote });
        let (mut stream, _) = tokio::time::timeout(PLENTY, near.accept()).await.unwrap().unwrap();
        let Event::Connected { .. } = rig.next().await else { panic!("not connected") };
        stream.write_all(b"near").await.unwrap();
        let Event::Received { bytes, .. } = rig.next_but_hints().await else { panic!("not received") };
        assert_eq!(&bytes[..], b"near");
        // One packet from afar on the living connection has no effect, and the session is not disturbed.
        let set = |stream: &TcpStream, ttl| {
            let socket = SockRef::from(stream);
            if leaf.is_ipv6() { socket.set_unicast_hops_v6(ttl) } else { socket.set_ttl_v4(ttl) }
        };
        set(&stream, 254).unwrap();
        stream.write_all(b"far").await.unwrap();
        let silence = tokio::time::timeout(Duration::from_millis(400), rig.next_but_hints()).await;
        assert!(silence.is_err(), "a packet with TTL 254 is heard: {silence:?}");
        set(&stream, 255).unwrap();
        let Event::Received { bytes, .. } = rig.next_but_hints().await else { panic!("the connection is gone") };
        assert_eq!(&bytes[..], b"far", "the kernel repeats it with the TTL of now");
    }
}

#[tokio::test]
async fn rfc5082_3_only_the_guarded_leaves_must_be_near_the_listener() {
    let both: IpAddr = Ipv6Addr::UNSPECIFIED.into();
    let port = std::net::TcpListener::bind((both, 0)).unwrap().local_addr().unwrap().port();
    let near: IpAddr = Ipv4Addr::new(127, 0, 2, 9).into();
    let other: IpAddr = Ipv4Addr::new(127, 0, 2, 10).into();
    let v6: IpAddr = Ipv6Addr::LOCALHOST.into();
    let peers = vec![guarded(near), leaf(&other.to_string()), guarded(v6)];
    let mut rig = Rig::with(Some(SocketAddr::new(both, port)), peers);
    let v4_at = SocketAddr::new(Ipv4Addr::new(127, 0, 2, 11).into(), port);
    let v6_at = SocketAddr::new(v6, port);
    let insisting = tokio::time::timeout(PLENTY, async {
        loop {
            if let Ok(stream) = dial(near, 255, v4_at).await {
                return stream;
            }
        }
    });
    let insisting = insisting.await.unwrap();
    assert!(dial(near, 254, v4_at).await.is_err(), "a guarded leaf connects from afar");
    assert!(dial(v6, 254, v6_at).await.is_err(), "a guarded leaf connects from afar over IPv6");
    dial(v6, 255, v6_at).await.unwrap();
    let _other = dial(other, 64, v4_at).await.unwrap();
    for leaf in [near, v6, other] {
        let Event::Accepted { remote, .. } = rig.next_accepted().await else { panic!("not accepted") };
        assert_eq!(remote.ip(), leaf);
    }
    drop(insisting);
}
