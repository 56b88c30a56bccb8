use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};

use super::*;

/// A listener on loopback, a sender with this TTL, and what arrives.
fn over(listen: SocketAddr, ttl: u32) -> Arrived {
    let domain = Domain::for_address(listen);
    let (to, from) = (Socket::new(domain, Type::DGRAM, None).unwrap(), Socket::new(domain, Type::DGRAM, None).unwrap());
    if listen.is_ipv6() {
        tell_arrival_v6(to.as_fd()).unwrap();
        from.set_unicast_hops_v6(ttl).unwrap();
    } else {
        tell_arrival_v4(to.as_fd()).unwrap();
        from.set_ttl_v4(ttl).unwrap();
    }
    to.bind(&listen.into()).unwrap();
    let none = receive(to.as_fd(), listen).map(|_| ()).unwrap_err();
    assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
    from.send_to(b"a packet", &to.local_addr().unwrap()).unwrap();
    let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::IN)], Some(&limit)).unwrap();
    receive(to.as_fd(), listen).unwrap()
}

#[test]
fn a_datagram_says_how_it_arrived() {
    for (addr, ttl) in [(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 255), ((Ipv6Addr::LOCALHOST, 0).into(), 254)] {
        let arrived = over(addr, u32::from(ttl));
        assert_eq!(arrived.bytes(), b"a packet");
        assert_eq!((arrived.ttl, arrived.link), (ttl, 1), "{addr}: loopback is the first interface");
        assert_eq!(arrived.from.ip(), addr.ip());
    }
}

#[test]
fn control_messages_that_make_no_sense_say_nothing() {
    assert_eq!(arrival(&[]), (0, 0));
    for len in 0..40_usize {
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend([0xff; 24]);
        assert_eq!(arrival(&bytes), (0, 0), "{len}");
    }
}
