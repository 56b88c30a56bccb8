//! Whatever happens in whatever order, to several neighbours at once: what the wire announces is what the node owns at that
//! instant, and in the end every neighbour knows all of it and nothing else.
//!
//! The messages are read here by a few lines of their own, not by the guard and not by the session's decoder.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::wire::{GracefulFamily, GracefulRestart, OutCommunities, end_of_rib};

const LEAVES: [&str; 2] = ["10.0.0.0", "10.0.2.0"];

const POOL: [&str; 6] =
    ["10.1.0.0/26", "10.1.0.64/26", "10.122.0.1/32", "10.123.0.0/17", "fd00:1::/122", "fd00:122::1/128"];

#[derive(Clone, Debug)]
enum Step {
    /// What is owned from now on, and with how many communities.
    Originate(Vec<usize>, u32),
    /// Neighbours in this mask are configured, with communities.
    Configure(u8, u32),
    /// A session begins, with or without IPv6, with or without grace.
    Open(usize, bool, bool),
    Close(usize),
    Refresh(usize, bool),
    NextHop(usize, bool),
    Written(usize, usize),
    Learn(usize, Vec<usize>),
    EndOfRib(usize),
    Notification(usize),
    Uplink(usize, bool),
    Enabled(usize, bool),
    Clear(usize),
    Hold(bool),
    Wait(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let leaf = || 0..LEAVES.len();
    let some = || prop::collection::vec(0..POOL.len(), 0..5);
    prop_oneof![
        6 => (some(), 0u32..3).prop_map(|(which, n)| Step::Originate(which, n)),
        1 => (0u8..4, 0u32..3).prop_map(|(mask, n)| Step::Configure(mask, n)),
        5 => (leaf(), any::<bool>(), any::<bool>()).prop_map(|(l, v6, grace)| Step::Open(l, v6, grace)),
        1 => leaf().prop_map(Step::Close),
        2 => (leaf(), any::<bool>()).prop_map(|(l, v6)| Step::Refresh(l, v6)),
        3 => (leaf(), any::<bool>()).prop_map(|(l, given)| Step::NextHop(l, given)),
        3 => (leaf(), 0usize..4000).prop_map(|(l, n)| Step::Written(l, n)),
        2 => (leaf(), some()).prop_map(|(l, which)| Step::Learn(l, which)),
        1 => leaf().prop_map(Step::EndOfRib),
        1 => leaf().prop_map(Step::Notification),
        1 => (leaf(), any::<bool>()).prop_map(|(l, up)| Step::Uplink(l, up)),
        1 => (leaf(), any::<bool>()).prop_map(|(l, on)| Step::Enabled(l, on)),
        1 => leaf().prop_map(Step::Clear),
        1 => any::<bool>().prop_map(Step::Hold),
        3 => (0u64..8000).prop_map(Step::Wait),
    ]
}

/// What one UPDATE announces and withdraws.
fn read(body: &[u8]) -> (Vec<Prefix>, Vec<Prefix>) {
    let sized = |bytes: &[u8]| -> (Vec<u8>, Vec<u8>) {
        let len = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
        (bytes[2..2 + len].to_vec(), bytes[2 + len..].to_vec())
    };
    let (withdrawn, rest) = sized(body);
    let (mut attributes, nlri) = sized(&rest);
    let (mut announced, mut gone) = (prefixes(&nlri, false), prefixes(&withdrawn, false));
    while !attributes.is_empty() {
        let (flags, kind) = (attributes[0], attributes[1]);
        let (value, rest) = match flags & 0x10 != 0 {
            true => sized(&attributes[2..]),
            false => {
                let end = 3 + usize::from(attributes[2]);
                (attributes[3..end].to_vec(), attributes[end..].to_vec())
            }
        };
        let v6 = |value: &[u8]| value[..3] == [0, 2, 1];
        match kind {
            14 => announced.extend(prefixes(&value[5 + usize::from(value[3])..], v6(&value))),
            15 => gone.extend(prefixes(&value[3..], v6(&value))),
            _ => {}
        }
        attributes = rest;
    }
    (announced, gone)
}

fn prefixes(mut bytes: &[u8], v6: bool) -> Vec<Prefix> {
    let mut all = Vec::new();
    while let [len, rest @ ..] = bytes {
        let octets = usize::from(len.div_ceil(8));
        let addr: IpAddr = if v6 {
            let mut full = [0u8; 16];
            full[..octets].copy_from_slice(&rest[..octets]);
            full.into()
        } else {
            let mut full = [0u8; 4];
            full[..octets].copy_from_slice(&rest[..octets]);
            full.into()
        };
        all.push(Prefix::new(addr, *len).unwrap());
        bytes = &rest[octets..];
    }
    all
}

/// A connection as the leaf sees it.
#[derive(Default)]
struct Seen {
    told: BTreeSet<Prefix>,
    unwritten: usize,
    v6: bool,
}

struct Fleet {
    speaker: Speaker,
    now: Duration,
    owned: BTreeMap<Prefix, Originated>,
    accepted: u64,
    open: BTreeMap<ConnId, Seen>,
    of_leaf: [Option<ConnId>; 2],
    next_hop: [bool; 2],
    foreign: Vec<Prefix>,
}

fn id(leaf: usize) -> PeerId {
    PeerId::of_address(ip(LEAVES[leaf]))
}

fn marked(n: u32) -> OutCommunities {
    OutCommunities::new(0..n, [], []).unwrap()
}

impl Fleet {
    fn new() -> Self {
        let local = LocalConfig { asn: ASN, router_id: Ipv4Addr::new(10, 0, 0, 1) };
        let mut fleet = Self {
            speaker: Speaker::new(local, [5; 32], Duration::ZERO),
            now: Duration::ZERO,
            owned: BTreeMap::new(),
            accepted: 0,
            open: BTreeMap::new(),
            of_leaf: [None; 2],
            next_hop: [false; 2],
            foreign: Vec::new(),
        };
        fleet.configure(3, 0);
        fleet
    }

    fn configure(&mut self, mask: u8, communities: u32) {
        let peers = (0..LEAVES.len()).filter(|leaf| mask & (1 << leaf) != 0).map(|leaf| {
            let mut config = PeerConfig::new(ip(LEAVES[leaf]), RemoteAsn::Is(65001 + leaf as u32));
            config.passive = true;
            config.communities = marked(communities);
            (id(leaf), config)
        });
        let peers: BTreeMap<_, _> = peers.collect();
        // A neighbour that is new has no next hops.
        for leaf in (0..LEAVES.len()).filter(|leaf| mask & (1 << leaf) == 0) {
            self.next_hop[leaf] = false;
        }
        self.with(|s, now| s.set_peers(peers, now));
    }

    fn with(&mut self, f: impl FnOnce(&mut Speaker, Duration)) {
        f(&mut self.speaker, self.now);
        while let Some(action) = self.speaker.poll_action() {
            match action {
                Action::Send { conn, bytes } => self.sent(conn, &bytes),
                Action::Close { conn } | Action::Reset { conn } => {
                    self.open.remove(&conn);
                }
                Action::Connect { .. } | Action::PauseReading { .. } | Action::ResumeReading { .. } => {}
            }
        }
        while self.speaker.poll_event().is_some() {}
        while self.speaker.poll_route_changes().is_some() {}
    }

    fn sent(&mut self, conn: ConnId, bytes: &[u8]) {
        let seen = self.open.entry(conn).or_default();
        seen.unwritten += bytes.len();
        let mut rest = bytes;
        while let Some((kind, body, tail)) = split_message(rest) {
            rest = tail;
            if kind != MessageType::Update as u8 {
                continue;
            }
            let (announced, gone) = read(body);
            for prefix in gone {
                seen.told.remove(&prefix);
            }
            for prefix in announced {
                if !self.owned.contains_key(&prefix) {
                    self.foreign.push(prefix);
                }
                seen.told.insert(prefix);
            }
        }
    }

    fn event(&mut self, event: Event) {
        self.with(|s, now| s.handle_event(event, now));
    }

    fn say(&mut self, leaf: usize, bytes: &[u8]) {
        if let Some(conn) = self.of_leaf[leaf] {
            self.event(Event::Received { conn, bytes: Bytes::copy_from_slice(bytes) });
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Originate(which, communities) => {
                let set: Vec<&str> = which.iter().map(|i| POOL[*i]).collect();
                let marks = Arc::new(marked(*communities));
                let set = blocks(&set).into_iter();
                self.owned = set.map(|(p, ours)| (p, ours.with_communities(Arc::clone(&marks)))).collect();
                let set = self.owned.clone();
                self.with(|s, now| s.set_originated(set, now));
            }
            Step::Configure(mask, communities) => self.configure(*mask, *communities),
            Step::Open(leaf, v6, grace) => {
                self.accepted += 1;
                let conn = ConnId::Accepted(self.accepted);
                let (local, remote) = (SocketAddr::new(ip("10.0.0.1"), 179), SocketAddr::new(ip(LEAVES[*leaf]), 40000));
                self.open.insert(conn, Seen { v6: *v6, ..Seen::default() });
                self.of_leaf[*leaf] = Some(conn);
                self.event(Event::Accepted { conn, local, remote });
                let asn = 65001 + *leaf as u32;
                let mut capabilities = vec![Capability::Unicast(Family::V4), Capability::RouteRefresh];
                capabilities.push(Capability::FourOctetAs(asn));
                capabilities.extend(v6.then_some(Capability::Unicast(Family::V6)));
                let family = |afi| GracefulFamily { afi, safi: 1, forwarding: true };
                let families = vec![family(1), family(2)];
                let restart = GracefulRestart { restart_time: 60, families, ..GracefulRestart::default() };
                capabilities.extend(grace.then_some(Capability::GracefulRestart(restart)));
                self.say(*leaf, &open(asn, 90, &capabilities));
                self.say(*leaf, &alive());
            }
            Step::Close(leaf) => {
                if let Some(conn) = self.of_leaf[*leaf].take() {
                    self.open.remove(&conn);
                    self.event(Event::Closed { conn, error: None });
                }
            }
            Step::Refresh(leaf, v6) => {
                let mut bytes = Vec::new();
                let afi = wire::Afi::of(if *v6 { Family::V6 } else { Family::V4 });
                RouteRefresh { afi, subtype: 0, safi: wire::Safi::Unicast }.encode(&mut bytes);
                self.say(*leaf, &bytes);
            }
            Step::NextHop(leaf, given) => {
                let v6 = given.then(|| "fd00:122::1".parse().unwrap());
                self.next_hop[*leaf] = *given && self.speaker.state(id(*leaf)).is_some();
                self.with(|s, now| s.set_next_hops(id(*leaf), None, v6, now));
            }
            Step::Written(leaf, n) => {
                if let Some(conn) = self.of_leaf[*leaf]
                    && let Some(seen) = self.open.get_mut(&conn)
                {
                    let bytes = seen.unwritten.min(*n);
                    seen.unwritten -= bytes;
                    self.event(Event::Written { conn, bytes });
                }
            }
            Step::Learn(leaf, which) => {
                // Also what is ours: a leaf that says so is wrong, and gets nothing by it.
                let v4: Vec<Prefix> =
                    which.iter().map(|i| prefix(POOL[*i])).filter(|p| p.family() == Family::V4).collect();
                if !v4.is_empty() {
                    let mut bytes = Vec::new();
                    OutAttributes::new(65001 + *leaf as u32, ip(LEAVES[*leaf])).announce(&v4, &mut bytes);
                    self.say(*leaf, &bytes);
                }
            }
            Step::EndOfRib(leaf) => {
                let mut bytes = Vec::new();
                end_of_rib(Family::V4, &mut bytes);
                self.say(*leaf, &bytes);
            }
            Step::Notification(leaf) => {
                let mut bytes = Vec::new();
                wire::Notification::cease(wire::CeaseSubcode::OutOfResources).encode(&mut bytes);
                self.say(*leaf, &bytes);
            }
            Step::Uplink(leaf, up) => self.with(|s, now| s.handle_uplink(id(*leaf), *up, now)),
            Step::Enabled(leaf, on) => self.with(|s, now| s.set_peer_enabled(id(*leaf), *on, None, now)),
            Step::Clear(leaf) => self.with(|s, now| s.clear_peer(id(*leaf), None, now)),
            Step::Hold(held) => self.with(|s, now| s.hold_end_of_rib(*held, now)),
            Step::Wait(ms) => self.wait(millis(*ms)),
        }
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((at, _)) = self.speaker.poll_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.with(|s, now| s.handle_timeout(now));
        }
        self.now = until;
    }

    /// Every connection takes all that waits.
    fn drain(&mut self) {
        loop {
            let waiting = self.open.iter().find(|(_, seen)| seen.unwritten > 0).map(|(c, seen)| (*c, seen.unwritten));
            let Some((conn, bytes)) = waiting else { return };
            if let Some(seen) = self.open.get_mut(&conn) {
                seen.unwritten = 0;
            }
            self.event(Event::Written { conn, bytes });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_the_wire_announces_is_owned_at_that_instant(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut fleet = Fleet::new();
        for step in &steps {
            fleet.run(step);
            prop_assert_eq!(&fleet.foreign, &[], "{:?}", step);
        }
        fleet.drain();
        prop_assert_eq!(&fleet.foreign, &[]);
        for view in fleet.speaker.peers() {
            prop_assert_eq!(view.counters.guard_drops, 0);
            let leaf = LEAVES.iter().position(|l| ip(l) == view.remote).unwrap();
            let conn = fleet.of_leaf[leaf].filter(|_| view.session.is_some());
            let Some(seen) = conn.and_then(|conn| fleet.open.get(&conn)) else { continue };
            let sayable = |p: &&Prefix| p.family() == Family::V4 || (seen.v6 && fleet.next_hop[leaf]);
            let owned: BTreeSet<Prefix> = fleet.owned.keys().filter(sayable).copied().collect();
            prop_assert_eq!(&seen.told, &owned);
        }
    }
}
