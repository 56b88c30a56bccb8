mod any_sequence;
mod link;
mod sections;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::wire::{Diagnostic, State};

const US: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 122, 101, 1));
const LEAF: SessionId = SessionId { remote: IpAddr::V4(Ipv4Addr::new(10, 122, 101, 0)), link: 2 };
const INTERVAL: Duration = Duration::from_millis(100);
const THEIRS: u32 = 77;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn config() -> SessionConfig {
    SessionConfig::new(US, INTERVAL, 3)
}

/// One session of ours, and a leaf whose packets are written by hand.
struct Bench {
    bfd: Bfd,
    now: Duration,
    /// What the leaf says.
    leaf: Packet,
}

impl Bench {
    fn with(config: SessionConfig) -> Self {
        let mut bfd = Bfd::new([7; 32], Duration::ZERO);
        bfd.set_peers(&BTreeMap::from([(LEAF, config)]), Duration::ZERO);
        let leaf = Packet {
            state: State::Down,
            detect_mult: 3,
            my_discriminator: THEIRS,
            desired_min_tx: 100_000,
            required_min_rx: 100_000,
            ..Packet::default()
        };
        Self { bfd, now: Duration::ZERO, leaf }
    }

    fn new() -> Self {
        Self::with(config())
    }

    /// A session that is Up, with no poll sequence under way and nothing to fetch.
    fn up() -> Self {
        let mut bench = Self::new();
        bench.hear(State::Down);
        bench.hear(State::Init);
        bench.leaf.final_ = true;
        bench.hear(State::Up);
        bench.leaf.final_ = false;
        assert_eq!(bench.status().state, State::Up);
        bench.sent();
        bench.events();
        bench
    }

    /// The leaf sends a packet in this state.
    fn hear(&mut self, state: State) -> Vec<Packet> {
        self.leaf.state = state;
        self.leaf.your_discriminator = self.status().discriminator;
        self.hear_packet(self.leaf).unwrap();
        self.sent()
    }

    fn hear_packet(&mut self, packet: Packet) -> Result<(), Discard> {
        self.bfd.handle_packet(LEAF, 255, &packet.encode(), self.now)
    }

    /// Lets time pass, with every timer served when it is due. Says what was sent, and when.
    fn pass(&mut self, time: Duration) -> Vec<(Duration, Packet)> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(at) = self.bfd.poll_timeout().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.bfd.handle_timeout(self.now);
            sent.extend(self.sent().into_iter().map(|p| (self.now, p)));
        }
        self.now = end;
        sent
    }

    fn sent(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(transmit) = self.bfd.poll_transmit() {
            assert_eq!((transmit.session, transmit.local), (LEAF, US));
            packets.push(Packet::decode(&transmit.bytes).unwrap());
        }
        packets
    }

    fn events(&mut self) -> Vec<BfdEvent> {
        std::iter::from_fn(|| self.bfd.poll_event()).collect()
    }

    fn status(&self) -> Status {
        self.bfd.status(&LEAF).unwrap()
    }

    fn configure(&mut self, config: SessionConfig) {
        self.bfd.set_peers(&BTreeMap::from([(LEAF, config)]), self.now);
    }
}
