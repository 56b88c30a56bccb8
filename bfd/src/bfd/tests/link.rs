//! Two instances over a link that loses, delays and breaks, in virtual time.

use proptest::prelude::*;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use super::*;

const ENDS: [SessionId; 2] = [
    SessionId { remote: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), link: 1 },
    SessionId { remote: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), link: 9 },
];

struct World {
    bfd: [Bfd; 2],
    now: Duration,
    /// When, for whom, what.
    flying: BTreeMap<(Duration, u64), (usize, [u8; LEN])>,
    sent: u64,
    dice: ChaCha8Rng,
    /// Lost packets of 256.
    loss: u32,
    delay: Duration,
    cut: bool,
    log: Vec<(Duration, usize, State)>,
}

impl World {
    fn new(seed: u64, intervals: [u64; 2], multipliers: [u8; 2], loss: u32, delay: Duration) -> Self {
        let bfd = [0, 1].map(|n: usize| {
            let mut bfd = Bfd::new([seed as u8 ^ (n as u8) << 7; 32], Duration::ZERO);
            let local = ENDS[1 - n].remote;
            let config = SessionConfig::new(local, ms(intervals[n]), multipliers[n]);
            bfd.set_peers(&BTreeMap::from([(ENDS[n], config)]), Duration::ZERO);
            bfd
        });
        let dice = ChaCha8Rng::seed_from_u64(seed);
        Self { bfd, now: Duration::ZERO, flying: BTreeMap::new(), sent: 0, dice, loss, delay, cut: false, log: vec![] }
    }

    fn drain(&mut self, end: usize) {
        while let Some(transmit) = self.bfd[end].poll_transmit() {
            self.sent += 1;
            if self.cut || self.dice.next_u32() % 256 < self.loss {
                continue;
            }
            self.flying.insert((self.now + self.delay, self.sent), (1 - end, transmit.bytes));
        }
        while let Some(event) = self.bfd[end].poll_event() {
            if self.log.iter().rfind(|l| l.1 == end).is_none_or(|l| l.2 != event.status.state) {
                self.log.push((self.now, end, event.status.state));
            }
        }
    }

    fn run_until(&mut self, end: Duration) {
        (0..2).for_each(|n| self.drain(n));
        loop {
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let timers = (0..2).filter_map(|n| self.bfd[n].poll_timeout());
            let Some(at) = timers.chain(arrival).min().filter(|at| *at <= end) else { break };
            self.now = at.max(self.now);
            if arrival == Some(at) {
                let Some((_, (to, bytes))) = self.flying.pop_first() else { break };
                self.bfd[to].handle_packet(ENDS[to], 255, &bytes, self.now).unwrap();
            } else {
                (0..2).for_each(|n| self.bfd[n].handle_timeout(self.now));
            }
            (0..2).for_each(|n| self.drain(n));
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|n| self.bfd[n].status(&ENDS[n]).unwrap().state)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn two_ends_come_up_stay_up_and_notice_a_cut_in_time(
        seed in any::<u64>(),
        intervals in [10..500_u64, 10..500_u64],
        multipliers in [2..6_u8, 2..6_u8],
        delay in 0..5_u64,
    ) {
        let mut world = World::new(seed, intervals, multipliers, 0, ms(delay));
        world.run_until(Duration::from_secs(3));
        prop_assert_eq!(world.states(), [State::Up, State::Up]);
        world.run_until(Duration::from_secs(30));
        prop_assert_eq!(world.states(), [State::Up, State::Up]);
        prop_assert!(world.log.iter().all(|l| l.2 == State::Up || l.0 < Duration::from_secs(3)), "{:?}", world.log);

        let detection = [0, 1].map(|n| world.bfd[n].status(&ENDS[n]).unwrap().detection_time.unwrap());
        let slower = ms(intervals[0].max(intervals[1]));
        prop_assert_eq!(detection, [slower * u32::from(multipliers[1]), slower * u32::from(multipliers[0])]);
        world.cut = true;
        let cut = world.now;
        world.run_until(cut + detection[0].max(detection[1]) + ms(delay));
        prop_assert_eq!(world.states(), [State::Down, State::Down]);
        for (n, time) in detection.into_iter().enumerate() {
            let at = world.log.iter().rfind(|l| l.1 == n).unwrap().0;
            prop_assert!(at - cut <= time + ms(delay) && at - cut + slower >= time, "{n}: {:?} of {time:?}", at - cut);
        }
        world.cut = false;
        world.run_until(world.now + Duration::from_secs(4));
        prop_assert_eq!(world.states(), [State::Up, State::Up]);
    }

    #[test]
    fn a_lossy_link_comes_up_and_never_ends_in_a_lie(seed in any::<u64>(), loss in 1..100_u32) {
        let mut world = World::new(seed, [50, 50], [3, 3], loss, ms(1));
        world.run_until(Duration::from_secs(60));
        prop_assert!(world.log.iter().any(|l| l.2 == State::Up));
        world.loss = 0;
        world.run_until(world.now + Duration::from_secs(4));
        prop_assert_eq!(world.states(), [State::Up, State::Up]);
        let rate = world.sent / 128;
        prop_assert!(rate <= 30, "{rate} packets a second and end");
    }
}

#[test]
fn one_lost_packet_is_no_failure() {
    let mut world = World::new(1, [100, 100], [3, 3], 0, ms(1));
    world.run_until(Duration::from_secs(3));
    let ups = world.log.len();
    for _ in 0..100 {
        world.cut = true;
        world.run_until(world.now + ms(90));
        world.cut = false;
        world.run_until(world.now + ms(500));
    }
    assert_eq!(world.log.len(), ups);
}
