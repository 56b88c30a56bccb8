//! A whole speaker driven by bytes and time: connections, messages whole and broken, settings, what is ours.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use petiole_bgp::wire::{
    AddPath, AddPathFamily, Capability, ExtendedNextHop, GracefulFamily, GracefulRestart, HEADER_LEN, LongLived,
    LongLivedFamily, MAX_EXTENDED_MESSAGE_LEN, MessageType, Notification, Open, OutAttributes, Role, RouteRefresh,
    end_of_rib, frame, keepalive, withdraw,
};
use petiole_bgp::{
    Action, ConnId, Event, LocalConfig, Originated, Ownership, PeerConfig, PeerId, RemoteAsn, Speaker, guard,
};
use petiole_prefix::{Family, Prefix};

use crate::bgp::Draw;

/// Calls of `handle_timeout` without time passing, for any one thing that happened.
const MOST_CALLS: usize = 300;
/// Octets sent for any one thing that happened: what is ours, to two neighbours, and a few messages more.
const MOST_OUTPUT: usize = 64 * 1024;

struct World {
    speaker: Speaker,
    now: Duration,
    originated: BTreeMap<Prefix, Originated>,
    /// What was asked for and not closed, in the order of their beginnings.
    open: Vec<ConnId>,
    /// Closed by the speaker: nothing may be sent there any more.
    closed: BTreeSet<ConnId>,
    ours: Vec<Originated>,
    accepted: u64,
}

fn peer_addr(n: u8) -> IpAddr {
    match n % 2 {
        0 => Ipv4Addr::new(10, 0, 0, 0).into(),
        _ => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2).into(),
    }
}

fn local_addr(n: u8) -> IpAddr {
    match n % 2 {
        0 => Ipv4Addr::new(10, 0, 0, 1).into(),
        _ => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
    }
}

fn config(n: u8, octet: u8) -> PeerConfig {
    let mut config = PeerConfig::new(peer_addr(n), RemoteAsn::Is(65001));
    config.passive = octet & 1 != 0;
    config.hold_time = Duration::from_secs([9, 3, 0, 90][usize::from(octet >> 1 & 3)]);
    config.add_path_receive = octet & 16 != 0;
    if octet & 8 != 0 {
        config.families.pop_last();
    }
    config
}

fn set_peers(world: &mut World, octet: u8) {
    let peers = (0..2).filter(|n| octet >> 6 & (1 << n) == 0);
    let peers = peers.map(|n| (PeerId::of_address(peer_addr(n)), config(n, octet))).collect();
    world.speaker.set_peers(peers, world.now);
}

fn capabilities(octet: u8, draw: &mut Draw<'_>) -> Vec<Capability> {
    let mut all = vec![Capability::FourOctetAs(65001), Capability::RouteRefresh];
    let add = |bit: u8, capability: Capability| (octet & bit != 0).then_some(capability);
    all.extend(add(1, Capability::Unicast(Family::V4)));
    all.extend(add(2, Capability::Unicast(Family::V6)));
    all.extend(add(4, Capability::ExtendedNextHop(vec![ExtendedNextHop::IPV4_OVER_IPV6])));
    all.extend(add(8, Capability::ExtendedMessage));
    all.extend(add(16, Capability::EnhancedRouteRefresh));
    if octet & 32 != 0 {
        let bits = draw.octet();
        let family = |safi| GracefulFamily { afi: 1, safi, forwarding: bits & 1 != 0 };
        all.push(Capability::GracefulRestart(GracefulRestart {
            restarted: bits & 2 != 0,
            notification: bits & 4 != 0,
            restart_time: u16::from(bits) * 16,
            families: vec![family(1), GracefulFamily { afi: 2, ..family(1) }],
        }));
        let long = LongLivedFamily { afi: 1, safi: 1, forwarding: bits & 8 != 0, stale_time: u32::from(bits) };
        all.push(Capability::LongLived(LongLived { families: vec![long] }));
    }
    if octet & 64 != 0 {
        let bits = draw.octet();
        let family = |afi| AddPathFamily { afi, safi: 1, receive: bits & 1 != 0, send: bits & 1 == 0 };
        all.push(Capability::AddPath(AddPath { families: vec![family(1), family(2)] }));
        all.extend(Role::from_code(bits >> 4).map(Capability::Role));
    }
    if octet & 128 != 0 {
        all.remove(0);
    }
    all
}

impl World {
    fn conn(&self, n: u8) -> Option<ConnId> {
        self.open.get(usize::from(n) % self.open.len().max(1)).copied()
    }

    fn say(&mut self, conn: ConnId, bytes: Vec<u8>) {
        let event = Event::Received { conn, bytes: Bytes::from(bytes) };
        self.speaker.handle_event(event, self.now);
    }

    /// Takes what the speaker wants done, and judges it.
    fn drain(&mut self, output: &mut usize) {
        while let Some(action) = self.speaker.poll_action() {
            match action {
                Action::Connect { conn, .. } => self.open.push(conn),
                Action::Send { conn, bytes } => {
                    assert!(!self.closed.contains(&conn), "sent on a closed connection");
                    assert!(self.open.contains(&conn), "sent on a connection nobody knows");
                    assert_eq!(guard::check(&bytes, &self.originated), Ok(()), "what is not ours");
                    let mut rest: &[u8] = &bytes;
                    while !rest.is_empty() {
                        let whole = frame(rest, true).expect("a good header").expect("a whole message");
                        assert!(whole.len <= MAX_EXTENDED_MESSAGE_LEN);
                        rest = &rest[whole.len..];
                    }
                    *output += bytes.len();
                }
                Action::Close { conn } | Action::Reset { conn } => {
                    self.open.retain(|c| *c != conn);
                    self.closed.insert(conn);
                }
                _ => {}
            }
        }
        assert!(*output <= MOST_OUTPUT, "{output} octets for one thing that happened");
        while self.speaker.poll_event().is_some() {}
        while self.speaker.poll_route_changes().is_some() {}
    }

    /// What is due without time passing.
    fn settle(&mut self) {
        let mut output = 0;
        self.drain(&mut output);
        let mut calls = 0;
        while self.speaker.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
            self.speaker.handle_timeout(self.now);
            self.drain(&mut output);
            calls += 1;
            assert!(calls < MOST_CALLS, "work that never ends: {:?}", self.speaker.poll_timeout());
        }
    }
}

pub fn session(data: &[u8]) {
    let local = LocalConfig { asn: 4_200_000_011, router_id: Ipv4Addr::new(10, 0, 0, 1) };
    let blocks = ["10.1.0.0/26", "10.1.0.64/26", "10.1.0.128/26", "fd00:1::/122", "fd00:1::40/122"];
    let block = |text: &str| {
        let cidr: Prefix = text.parse().expect("a prefix");
        Originated::new(cidr, Ownership::Block { cidr }).expect("a proof")
    };
    let mut world = World {
        speaker: Speaker::new(local, [5; 32], Duration::from_secs(1)),
        now: Duration::from_secs(1),
        originated: BTreeMap::new(),
        open: Vec::new(),
        closed: BTreeSet::new(),
        ours: blocks.into_iter().map(block).collect(),
        accepted: 0,
    };
    let mut draw = Draw(data);
    set_peers(&mut world, draw.octet());
    world.settle();
    let mut steps = 0;
    while !draw.0.is_empty() && steps < 400 {
        steps += 1;
        step(&mut world, &mut draw);
        world.settle();
    }
    for view in world.speaker.peers() {
        serde_json::to_string(&view).expect("a view can be shown");
    }
    serde_json::to_string(&world.speaker.routes_received(None, None)).expect("routes can be shown");
    serde_json::to_string(&world.speaker.routes_advertised(None)).expect("routes can be shown");
}

fn step(world: &mut World, draw: &mut Draw<'_>) {
    let (op, arg) = (draw.octet(), draw.octet());
    let peer = PeerId::of_address(peer_addr(arg));
    let conn = world.conn(arg >> 1);
    let now = world.now;
    match (op % 22, conn) {
        (0, _) => {
            world.accepted += 1;
            let conn = ConnId::Accepted(world.accepted);
            world.open.push(conn);
            let (local, remote) = (SocketAddr::new(local_addr(arg), 179), SocketAddr::new(peer_addr(arg), 40000));
            world.speaker.handle_event(Event::Accepted { conn, local, remote }, now);
        }
        (1, Some(conn)) => {
            let (local, remote) = (SocketAddr::new(local_addr(arg), 40001), SocketAddr::new(peer_addr(arg), 179));
            world.speaker.handle_event(Event::Connected { conn, local, remote }, now);
        }
        (2, Some(conn)) => {
            let octet = draw.octet();
            let hold = Duration::from_secs([9, 3, 0, 240][usize::from(octet & 3)]);
            let capabilities = capabilities(draw.octet(), draw);
            let asn = if octet & 0x80 == 0 { 65001 } else { draw.word() };
            let mut bytes = Vec::new();
            let router_id = Ipv4Addr::new(10, 0, 0, octet >> 4 & 3);
            Open { asn, hold_time: hold, router_id, capabilities }.encode(&mut bytes);
            world.say(conn, bytes);
        }
        (3, Some(conn)) => {
            let mut bytes = Vec::new();
            keepalive(&mut bytes);
            world.say(conn, bytes);
        }
        // A message with a good header and any body.
        (4 | 5, Some(conn)) => {
            let kind = MessageType::from_code(1 + draw.octet() % 5).unwrap_or(MessageType::Update);
            let len = usize::from(u16::from_be_bytes(draw.octets())).min(draw.0.len());
            let body = draw.0.split_off(..len).unwrap_or_default();
            let mut bytes = vec![0xff; 16];
            bytes.extend_from_slice(&u16::try_from(len + HEADER_LEN).unwrap_or(u16::MAX).to_be_bytes());
            bytes.push(kind as u8);
            bytes.extend_from_slice(body);
            world.say(conn, bytes);
        }
        // Any bytes.
        (6, Some(conn)) => {
            let len = usize::from(draw.octet()).min(draw.0.len());
            let bytes = draw.0.split_off(..len).unwrap_or_default().to_vec();
            world.say(conn, bytes);
        }
        // Routes, some of them ours.
        (7 | 8, Some(conn)) => {
            let how = draw.octet();
            let family = if how & 1 == 0 { Family::V4 } else { Family::V6 };
            let next_hop = if how & 2 == 0 { peer_addr(how >> 2) } else { local_addr(how >> 2) };
            let prefixes: Vec<Prefix> = (0..=how >> 4).map(|_| draw.prefix(family)).collect();
            let mut bytes = Vec::new();
            if how & 8 == 0 {
                OutAttributes::new(65001, next_hop).announce(&prefixes, &mut bytes);
            } else {
                withdraw(family, &prefixes, &mut bytes);
            }
            world.say(conn, bytes);
        }
        (9, Some(conn)) => {
            let mut bytes = Vec::new();
            end_of_rib(if arg & 1 == 0 { Family::V4 } else { Family::V6 }, &mut bytes);
            world.say(conn, bytes);
        }
        (10, Some(conn)) => {
            let bits = draw.octet();
            let mut bytes = Vec::new();
            let afi = u16::from(bits & 3).into();
            RouteRefresh { afi, subtype: bits >> 2 & 3, safi: 1.into() }.encode(&mut bytes);
            world.say(conn, bytes);
        }
        (11, Some(conn)) => {
            let [code, subcode] = draw.octets();
            let mut bytes = Vec::new();
            Notification { code: code % 9, subcode, data: vec![3; usize::from(arg)] }.encode(&mut bytes);
            world.say(conn, bytes);
        }
        (12, Some(conn)) => {
            world.open.retain(|c| *c != conn);
            world.closed.insert(conn);
            let error = (arg & 1 != 0).then(|| "reset".to_owned());
            world.speaker.handle_event(Event::Closed { conn, error }, now);
        }
        (13, Some(conn)) => {
            let bytes = usize::from(arg) * 256;
            world.speaker.handle_event(Event::Written { conn, bytes }, now);
        }
        (14, _) => {
            let until = now + Duration::from_millis(u64::from(arg) * 40);
            let mut calls = 0;
            while let Some((at, _)) = world.speaker.poll_timeout().filter(|(at, _)| *at <= until) {
                world.now = world.now.max(at);
                world.speaker.handle_timeout(world.now);
                world.drain(&mut 0);
                calls += 1;
                assert!(calls < 2000, "timers run in a circle: {:?}", world.speaker.poll_timeout());
            }
            world.now = until;
        }
        (15, _) => {
            let chosen = world.ours.iter().enumerate().filter(|(i, _)| arg >> i & 1 != 0);
            world.originated = chosen.map(|(_, o)| (o.prefix(), o.clone())).collect();
            world.speaker.set_originated(world.originated.clone(), now);
        }
        (16, _) => {
            let v4 = (arg & 2 != 0).then(|| Ipv4Addr::new(10, 0, 0, arg));
            let v6 = (arg & 4 != 0).then(|| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, arg.into()));
            world.speaker.set_next_hops(peer, v4, v6, now);
        }
        (17, _) => world.speaker.handle_uplink(peer, arg & 2 != 0, now),
        (18, _) => set_peers(world, draw.octet()),
        (20, _) => {
            let _ = world.speaker.request_refresh(peer, now);
        }
        (21, _) => world.speaker.set_peer_enabled(peer, arg & 2 != 0, None, now),
        (19, _) => world.speaker.hold_end_of_rib(arg & 1 != 0, now),
        _ => {}
    }
}
