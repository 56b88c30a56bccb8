//! The driver of router discovery against the real kernel, each test in a network namespace of its own.
//!
//! Needs root (CAP_SYS_ADMIN for the namespace) and iproute2.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share fail like tests"
)]

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::process::Command;
use std::time::{Duration, Instant};

use petiole::io::neighbour::Discovery;
use petiole_node::Input;
use petiole_node::neighbour::{ALL_NODES, ALL_ROUTERS, DiscoveryAction, DiscoveryEvent, LinkSysctls};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::timeout;

/// Runs the future on a thread of its own, in a new network namespace with a veth pair, `up1` and `leaf1`.
fn in_namespace<F: Future<Output = ()> + 'static>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        enter_namespace();
        ip(&["link", "set", "lo", "up"]);
        ip(&["link", "add", "up1", "type", "veth", "peer", "name", "leaf1"]);
        for end in ["up1", "leaf1"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/accept_dad"), "0").expect("a sysctl");
            ip(&["link", "set", end, "up"]);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            timeout(Duration::from_secs(30), test()).await.expect("finished in time");
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[expect(unsafe_code, reason = "unshare is unsafe for the descriptor table only, which is not unshared here")]
fn enter_namespace() {
    // SAFETY: only the network namespace of this thread is unshared: no memory or descriptor changes hands.
    let entered = unsafe { unshare_unsafe(UnshareFlags::NEWNET) };
    entered.expect("these tests make network namespaces: run them as root");
}

fn ip(arguments: &[&str]) {
    assert!(Command::new("ip").args(arguments).status().expect("iproute2").success(), "ip {arguments:?}");
}

/// Index and link-local address of an interface; the kernel gives it the address in its own time after the link came up.
fn link(name: &str) -> (u32, Ipv6Addr) {
    let end = Instant::now() + Duration::from_secs(10);
    let line = loop {
        let text = std::fs::read_to_string("/proc/thread-self/net/if_inet6").expect("addresses");
        if let Some(line) = text.lines().find(|l| l.ends_with(name) && l.starts_with("fe80")) {
            break line.to_owned();
        }
        assert!(Instant::now() < end, "no link-local address: {text}");
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut fields = line.split_whitespace();
    let address = u128::from_str_radix(fields.next().unwrap(), 16).unwrap();
    (u32::from_str_radix(fields.next().unwrap(), 16).unwrap(), Ipv6Addr::from(address))
}

struct Ear {
    discovery: Discovery,
    inputs: Receiver<Input>,
}

impl Ear {
    fn new() -> Self {
        let (sender, inputs) = channel(64);
        Self { discovery: Discovery::new(sender), inputs }
    }

    async fn listen(&mut self, interface: &str) -> LinkSysctls {
        self.discovery.act(DiscoveryAction::Listen { interface: interface.to_owned(), link: link(interface).0 });
        match self.next().await {
            DiscoveryEvent::Sysctls { sysctls, .. } => sysctls,
            other => panic!("{other:?}"),
        }
    }

    async fn next(&mut self) -> DiscoveryEvent {
        match self.inputs.recv().await.expect("the driver lives") {
            Input::Discovery(event) => event,
            other => panic!("{other:?}"),
        }
    }

    async fn silence(&mut self) {
        let heard = timeout(Duration::from_millis(200), self.next()).await;
        assert!(heard.is_err(), "{heard:?}");
    }
}

fn advertisement() -> Vec<u8> {
    let mut bytes = vec![0; 16];
    bytes[0] = 134;
    bytes
}

/// A message with this hop limit out of an interface, as a driver would never send it.
fn send(interface: &str, hop_limit: u32, bytes: &[u8]) {
    let (index, _) = link(interface);
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6)).unwrap();
    socket.bind_device(Some(interface.as_bytes())).unwrap();
    socket.set_multicast_hops_v6(hop_limit).unwrap();
    let to = SocketAddr::V6(SocketAddrV6::new(ALL_NODES, 0, 0, index));
    socket.send_to(bytes, &to.into()).unwrap();
}

#[test]
fn two_ends_hear_each_other_and_not_themselves() {
    in_namespace(|| async {
        let (mut node, mut leaf) = (Ear::new(), Ear::new());
        let sysctls = node.listen("up1").await;
        assert_eq!((sysctls.disable_ipv6, sysctls.addr_gen_mode), (Some(0), Some(0)));
        leaf.listen("leaf1").await;
        let ((up1, ours), (leaf1, theirs)) = (link("up1"), link("leaf1"));
        let solicitation = vec![133, 0, 0, 0, 0, 0, 0, 0];
        node.discovery.act(DiscoveryAction::Send { link: up1, to: ALL_ROUTERS, bytes: solicitation });
        match leaf.next().await {
            DiscoveryEvent::Heard { link, from, bytes } => {
                assert_eq!((link, from, bytes[0], bytes.len()), (leaf1, ours, 133, 8));
            }
            other => panic!("{other:?}"),
        }
        for to in [ALL_NODES, ours] {
            leaf.discovery.act(DiscoveryAction::Send { link: leaf1, to, bytes: advertisement() });
        }
        for _ in 0..2 {
            match node.next().await {
                DiscoveryEvent::Heard { link, from, bytes } => {
                    assert_eq!((link, from, bytes[0], bytes.len()), (up1, theirs, 134, 16));
                }
                other => panic!("{other:?}"),
            }
        }
        node.silence().await;
        leaf.silence().await;
    });
}

#[test]
fn rfc4861_6_1_what_came_from_further_away_or_is_of_another_type_is_not_handed_on() {
    in_namespace(|| async {
        let mut node = Ear::new();
        node.listen("up1").await;
        for hop_limit in [1, 64, 254] {
            send("leaf1", hop_limit, &advertisement());
        }
        send("leaf1", 255, &[135; 24]);
        send("leaf1", 255, &[128, 0, 0, 0, 0, 0, 0, 0]);
        node.silence().await;
        send("leaf1", 255, &advertisement());
        assert!(matches!(node.next().await, DiscoveryEvent::Heard { .. }));
    });
}

#[test]
fn settings_are_told_when_they_change_and_a_closed_link_is_silent() {
    in_namespace(|| async {
        let mut node = Ear::new();
        node.listen("up1").await;
        std::fs::write("/proc/sys/net/ipv6/conf/up1/accept_ra", "2").unwrap();
        match node.next().await {
            DiscoveryEvent::Sysctls { sysctls, .. } => assert_eq!(sysctls.accept_ra, Some(2)),
            other => panic!("{other:?}"),
        }
        node.discovery.act(DiscoveryAction::Close { link: link("up1").0 });
        tokio::task::yield_now().await;
        send("leaf1", 255, &advertisement());
        node.silence().await;
    });
}
