//! Speakers joined by a pretended network, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use petiole_prefix::Prefix;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::*;

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

pub(super) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(super) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Originated blocks.
pub(super) fn blocks(prefixes: &[&str]) -> BTreeMap<Prefix, Originated> {
    let own = |p: &&str| {
        let p = prefix(p);
        (p, Originated::new(p, Ownership::Block { cidr: p }).unwrap())
    };
    prefixes.iter().map(own).collect()
}

/// One end of a connection: which speaker, and its name there.
type End = (usize, ConnId);

enum Happening {
    Event(usize, Event),
    Accept { to: usize, from: End, local: SocketAddr, remote: SocketAddr },
}

pub(super) struct Node {
    pub(super) speaker: Speaker,
    pub(super) addr: IpAddr,
    pub(super) events: Vec<SpeakerEvent>,
    pub(super) routes: BTreeMap<Prefix, LocRoute>,
    /// What it may announce at this instant; held against the wire.
    pub(super) originated: BTreeMap<Prefix, Originated>,
    config: Option<PeerConfig>,
    accepted: u64,
}

/// The network.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) nodes: Vec<Node>,
    queue: BTreeMap<(Duration, u64), Happening>,
    seq: u64,
    /// The other end of a connection.
    other: BTreeMap<End, End>,
    /// When the last byte towards an end arrives, so that nothing overtakes.
    arrives: BTreeMap<End, Duration>,
    opened: BTreeSet<End>,
    pub(super) rng: ChaCha8Rng,
    pub(super) max_delay: Duration,
    /// Connections can't be made and bytes are lost.
    pub(super) cut: bool,
    /// Calls of speakers so far.
    pub(super) calls: u64,
}

impl World {
    /// Two nodes that know each other: 10.0.0.1 in AS 65001, 10.0.0.2 in AS 4200000002.
    pub(super) fn pair(seed: u64, change: impl Fn(usize, &mut PeerConfig)) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            queue: BTreeMap::new(),
            seq: 0,
            other: BTreeMap::new(),
            arrives: BTreeMap::new(),
            opened: BTreeSet::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            max_delay: millis(20),
            cut: false,
            calls: 0,
        };
        let asns = [65001, 4_200_000_002];
        for i in 0..2u8 {
            let addr = Ipv4Addr::new(10, 0, 0, i + 1);
            let mut seed = [0; 32];
            world.rng.fill_bytes(&mut seed);
            let local = LocalConfig { asn: asns[usize::from(i)], router_id: addr };
            let speaker = Speaker::new(local, seed, world.now);
            world.nodes.push(Node {
                speaker,
                addr: addr.into(),
                events: Vec::new(),
                routes: BTreeMap::new(),
                originated: BTreeMap::new(),
                config: None,
                accepted: 0,
            });
        }
        for i in 0..2 {
            let mut config = PeerConfig::new(world.nodes[1 - i].addr, RemoteAsn::Is(asns[1 - i]));
            change(i, &mut config);
            world.nodes[i].config = Some(config);
            world.configure(i);
        }
        world
    }

    fn configure(&mut self, node: usize) {
        let config = self.nodes[node].config.clone().unwrap();
        let peers = [(PeerId::of_address(config.remote), config)].into();
        self.with(node, |s, now| s.set_peers(peers, now));
    }

    /// Changes a speaker's settings for its neighbour.
    pub(super) fn reconfigure(&mut self, node: usize, change: impl FnOnce(&mut PeerConfig)) {
        change(self.nodes[node].config.as_mut().unwrap());
        self.configure(node);
    }

    /// Kills a speaker and starts a new one in its place. The other side learns of it when it next sends something.
    pub(super) fn restart(&mut self, node: usize) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let n = &mut self.nodes[node];
        n.speaker = Speaker::new(*n.speaker.local(), seed, self.now);
        n.routes.clear();
        self.other.retain(|a, b| a.0 != node && b.0 != node);
        self.opened.retain(|end| end.0 != node);
        self.queue.retain(|_, happening| match happening {
            Happening::Event(to, _) => *to != node,
            Happening::Accept { to, from, .. } => *to != node && from.0 != node,
        });
        let set = self.nodes[node].originated.clone();
        self.with(node, |s, now| s.set_originated(set, now));
        self.configure(node);
    }

    /// One end's connections break; the other end hears nothing until it sends.
    pub(super) fn break_one_end(&mut self, node: usize) {
        let ends: Vec<End> = self.other.keys().filter(|end| end.0 == node).copied().collect();
        for end in ends {
            if let Some(other) = self.other.remove(&end) {
                self.other.remove(&other);
            }
            self.towards(end, Event::Closed { conn: end.1, error: Some("timed out".to_owned()) });
        }
    }

    pub(super) fn peer_of(&self, node: usize) -> PeerId {
        PeerId::of_address(self.nodes[1 - node].addr)
    }

    /// Changes a speaker from outside.
    pub(super) fn with<T>(&mut self, node: usize, f: impl FnOnce(&mut Speaker, Duration) -> T) -> T {
        let result = f(&mut self.nodes[node].speaker, self.now);
        self.settle(node);
        result
    }

    pub(super) fn originate(&mut self, node: usize, prefixes: &[&str]) {
        let set = blocks(prefixes);
        self.nodes[node].originated = set.clone();
        self.with(node, |s, now| s.set_originated(set, now));
    }

    fn delay(&mut self) -> Duration {
        let max = u64::try_from(self.max_delay.as_micros()).unwrap().max(1);
        Duration::from_micros(self.rng.next_u64() % max)
    }

    fn at(&mut self, at: Duration, happening: Happening) {
        self.seq += 1;
        self.queue.insert((at, self.seq), happening);
    }

    /// Schedules something at an end, behind all that is on its way there.
    fn towards(&mut self, end: End, event: Event) {
        let at = self.now + self.delay();
        let at = at.max(self.arrives.get(&end).copied().unwrap_or_default());
        self.arrives.insert(end, at);
        self.at(at, Happening::Event(end.0, event));
    }

    /// Does what a speaker asks for.
    pub(super) fn settle(&mut self, node: usize) {
        self.calls += 1;
        while let Some(action) = self.nodes[node].speaker.poll_action() {
            self.act(node, action);
        }
        while let Some(event) = self.nodes[node].speaker.poll_event() {
            assert!(!matches!(event, SpeakerEvent::GuardDropped { .. }), "{event:?}");
            self.nodes[node].events.push(event);
        }
        while let Some(batch) = self.nodes[node].speaker.poll_route_changes() {
            for (prefix, route) in batch.changes {
                match route {
                    Some(route) => self.nodes[node].routes.insert(prefix, route),
                    None => self.nodes[node].routes.remove(&prefix),
                };
            }
        }
    }

    fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Connect { conn, remote, .. } => {
                let to = self.nodes.iter().position(|n| n.addr == remote.ip());
                let Some(to) = to.filter(|_| !self.cut) else {
                    let event = Event::ConnectFailed { conn, error: "no route".to_owned() };
                    return self.towards((node, conn), event);
                };
                let local = SocketAddr::new(self.nodes[node].addr, 40000);
                let at = self.now + self.delay();
                self.at(at, Happening::Accept { to, from: (node, conn), local: remote, remote: local });
            }
            Action::Send { conn, bytes } => {
                let written = Event::Written { conn, bytes: bytes.len() };
                let at = self.now + self.delay();
                self.at(at, Happening::Event(node, written));
                self.watch(node, conn, &bytes);
                match self.other.get(&(node, conn)).copied() {
                    _ if self.cut => {}
                    // Nobody there knows this connection any more.
                    None => self.towards((node, conn), Event::Closed { conn, error: Some("reset by peer".to_owned()) }),
                    Some(other) => {
                        // Cut anywhere.
                        let mut rest = bytes;
                        while !rest.is_empty() {
                            let n = 1 + self.rng.next_u64() as usize % rest.len();
                            let piece = rest.split_to(n);
                            self.towards(other, Event::Received { conn: other.1, bytes: piece });
                        }
                    }
                }
            }
            Action::Close { conn } | Action::Reset { conn } => {
                let Some(other) = self.other.remove(&(node, conn)) else { return };
                self.other.remove(&other);
                if !self.cut {
                    self.towards(other, Event::Closed { conn: other.1, error: None });
                }
            }
            Action::PauseReading { .. } | Action::ResumeReading { .. } => {}
        }
    }

    /// The wire's own invariants.
    fn watch(&mut self, node: usize, conn: ConnId, bytes: &Bytes) {
        let n = &self.nodes[node];
        guard::check(bytes, &n.originated).expect("announces what is not its own");
        let mut rest: &[u8] = bytes;
        while let Some((kind, _, tail)) = wire::split_message(rest) {
            match kind {
                1 => assert!(self.opened.insert((node, conn)), "two OPENs"),
                2 => {
                    let state = n.speaker.peers().next().unwrap().state;
                    assert_eq!(state, SessionState::Established, "UPDATE before Established");
                }
                _ => {}
            }
            rest = tail;
        }
        assert!(rest.is_empty());
    }

    /// Breaks every connection without a word, as a dying host or a cable does.
    pub(super) fn lose_all(&mut self) {
        self.other.clear();
        self.queue.clear();
    }

    /// Breaks every connection, and every end hears of it: what TCP's own keepalives do where BGP sends none.
    pub(super) fn reset_all(&mut self) {
        // Also those whose other end closed while nothing got through.
        let ends: BTreeSet<End> = self.other.keys().chain(&self.opened).copied().collect();
        self.lose_all();
        for end in ends {
            self.towards(end, Event::Closed { conn: end.1, error: Some("timed out".to_owned()) });
        }
    }

    /// Makes the next thing happen, if it does so by `until`.
    pub(super) fn next(&mut self, until: Duration) -> bool {
        let queued = self.queue.keys().next().map(|(at, _)| *at);
        let timer = (0..self.nodes.len()).filter_map(|i| Some((self.nodes[i].speaker.poll_timeout()?.0, i))).min();
        match (queued, timer) {
            (Some(at), timer) if at <= until && timer.is_none_or(|(t, _)| at <= t) => {
                self.now = self.now.max(at);
                let Some((_, happening)) = self.queue.pop_first() else { return false };
                self.happen(happening);
                true
            }
            (_, Some((at, node))) if at <= until => {
                self.now = self.now.max(at);
                self.with(node, |s, now| s.handle_timeout(now));
                true
            }
            _ => {
                self.now = until;
                false
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Event(node, event) => self.with(node, |s, now| s.handle_event(event, now)),
            Happening::Accept { to, from, local, remote } => {
                let n = &mut self.nodes[to];
                n.accepted += 1;
                let conn = ConnId::Accepted(n.accepted);
                self.other.insert(from, (to, conn));
                self.other.insert((to, conn), from);
                self.towards(from, Event::Connected { conn: from.1, local: remote, remote: local });
                self.with(to, |s, now| s.handle_event(Event::Accepted { conn, local, remote }, now));
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.next(until) {}
    }

    pub(super) fn state(&self, node: usize) -> SessionState {
        self.nodes[node].speaker.peers().next().unwrap().state
    }

    pub(super) fn view(&self, node: usize) -> PeerView {
        self.nodes[node].speaker.peers().next().unwrap()
    }

    pub(super) fn both_established(&self) -> bool {
        (0..2).all(|n| self.state(n) == SessionState::Established)
    }

    /// Runs until both sides are Established; returns whether they are by `within`.
    pub(super) fn establish(&mut self, within: Duration) -> bool {
        let until = self.now + within;
        while !self.both_established() {
            if !self.next(until) {
                return false;
            }
        }
        true
    }

    pub(super) fn count(&self, node: usize, is: impl Fn(&SpeakerEvent) -> bool) -> usize {
        self.nodes[node].events.iter().filter(|e| is(e)).count()
    }
}
