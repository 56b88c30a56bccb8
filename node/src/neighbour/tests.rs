use std::net::IpAddr;

use petiole_dataplane::{Address, Link, Scope};
use proptest::prelude::*;

use super::*;

mod bytes;

const ETH1: LinkIndex = 2;
const OURS: &str = "fe80::2";
const LEAF: &str = "fe80::1";
const OTHER: &str = "fe80::9";

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// One unnumbered link, its time, and what was sent.
struct World {
    neighbours: Neighbours,
    now: Duration,
    sent: Vec<(Duration, Ipv6Addr, u8)>,
    controls: Vec<DiscoveryAction>,
}

impl World {
    fn new() -> Self {
        let neighbours = Neighbours::new(["eth1".to_owned()], &[7; 32]);
        Self { neighbours, now: Duration::ZERO, sent: Vec::new(), controls: Vec::new() }
    }

    /// A link that is up.
    fn up() -> Self {
        let mut world = Self::new();
        world.link(ETH1, true, Some(OURS));
        world
    }

    fn link(&mut self, index: LinkIndex, up: bool, local: Option<&str>) {
        let link = Link { index, name: "eth1".to_owned(), up, carrier: up, mtu: 1500 };
        let address = local.map(|text| Address {
            link: index,
            addr: IpAddr::V6(ip(text)),
            len: 64,
            scope: Scope::Link,
            deprecated: false,
            protocol: 0,
        });
        self.neighbours.set_topology(&Topology::new([link], address), self.now);
        self.drain();
    }

    fn heard(&mut self, from: &str, bytes: Vec<u8>) {
        self.neighbours.handle(DiscoveryEvent::Heard { link: ETH1, from: ip(from), bytes }, self.now);
        self.drain();
    }

    fn advertised(&mut self, from: &str) {
        self.heard(from, packet::advertisement());
    }

    fn established(&mut self, established: bool) {
        self.neighbours.set_established("eth1", established, self.now);
        self.drain();
    }

    /// Lets time pass; routers of `alive` answer solicitations, and advertise themselves each ten seconds.
    fn pass(&mut self, time: Duration, alive: &[&str]) {
        let end = self.now + time;
        let mut next = self.now + secs(10);
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 100_000, "it does not come to rest");
            let asked = self.sent.iter().filter(|(_, _, kind)| *kind == ROUTER_SOLICITATION).count();
            let due = self.neighbours.poll_timeout().unwrap_or(Duration::MAX).min(next).max(self.now);
            if due > end {
                break;
            }
            self.now = due;
            self.neighbours.handle_timeout(due);
            self.drain();
            let asked = self.sent.iter().filter(|(_, _, kind)| *kind == ROUTER_SOLICITATION).count() > asked;
            if due >= next || asked {
                next = due + secs(10);
                for router in alive {
                    self.advertised(router);
                }
            }
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(action) = self.neighbours.poll_action() {
            match action {
                DiscoveryAction::Send { link, to, bytes } => {
                    assert_eq!(link, ETH1);
                    self.sent.push((self.now, to, bytes[0]));
                }
                other => self.controls.push(other),
            }
        }
    }

    fn neighbour(&self) -> Option<Ipv6Addr> {
        self.neighbours.neighbour("eth1").ok()
    }

    fn times(&self, kind: u8) -> Vec<Duration> {
        self.sent.iter().filter(|(_, _, k)| *k == kind).map(|(at, ..)| *at).collect()
    }

    fn problems(&self) -> Vec<String> {
        self.neighbours.problems().collect()
    }
}

#[test]
fn rfc4861_6_3_7_a_link_that_comes_up_is_solicited_at_once_and_again_until_somebody_answers() {
    let mut world = World::up();
    assert_eq!(world.controls, [DiscoveryAction::Listen { interface: "eth1".to_owned(), link: ETH1 }]);
    assert_eq!(world.times(ROUTER_SOLICITATION), [Duration::ZERO]);
    assert!(world.sent.contains(&(Duration::ZERO, ALL_ROUTERS, ROUTER_SOLICITATION)));
    assert_eq!(world.problems(), [""; 0], "it had no time to answer");
    world.pass(secs(60), &[]);
    let asked = world.times(ROUTER_SOLICITATION);
    assert!((9..13).contains(&asked.len()), "{asked:?}");
    assert!(world.problems()[0].starts_with("no neighbour on eth1: none heard yet"), "{:?}", world.problems());
    world.advertised(LEAF);
    assert_eq!(world.neighbour(), Some(ip(LEAF)));
    assert!(world.neighbours.poll_changed() && !world.neighbours.poll_changed());
    assert_eq!(world.problems(), [""; 0]);
    let before = world.times(ROUTER_SOLICITATION).len();
    world.pass(secs(20), &[]);
    assert_eq!(world.times(ROUTER_SOLICITATION).len(), before);
}

#[test]
fn rfc4861_6_2_4_advertisements_go_out_fast_at_first_then_each_three_to_four_seconds() {
    let mut world = World::up();
    world.pass(secs(100), &[LEAF]);
    let sent = world.times(ROUTER_ADVERTISEMENT);
    let gaps: Vec<Duration> = sent.windows(2).map(|w| w[1] - w[0]).collect();
    assert_eq!(gaps[..3], [secs(1); 3]);
    assert!(gaps[3..].iter().all(|gap| (secs(3)..secs(4)).contains(gap)), "{gaps:?}");
    assert!(world.sent.iter().filter(|(.., kind)| *kind == ROUTER_ADVERTISEMENT).all(|(_, to, _)| *to == ALL_NODES));
}

#[test]
fn rfc4861_6_2_6_a_solicitation_is_answered_within_half_a_second_to_the_one_that_asked() {
    let mut world = World::up();
    world.pass(Duration::from_millis(3100), &[]);
    world.heard(LEAF, packet::solicitation());
    world.pass(Duration::from_millis(500), &[]);
    assert_eq!(world.sent.iter().filter(|(_, to, _)| *to == ip(LEAF)).count(), 1);
    // A flood has no more answers than four a second.
    world.sent.clear();
    for _ in 0..1000 {
        world.heard(LEAF, packet::solicitation());
        world.pass(Duration::from_millis(1), &[]);
    }
    assert!(world.sent.len() <= 6, "{:?}", world.sent);
    // One without an address can only be answered to all.
    world.pass(secs(1), &[]);
    world.sent.clear();
    world.heard("::", packet::solicitation());
    world.pass(Duration::from_millis(700), &[]);
    assert!(world.sent.iter().any(|(_, to, kind)| *to == ALL_NODES && *kind == ROUTER_ADVERTISEMENT));
}

#[test]
fn a_silent_neighbour_is_asked_and_then_forgotten() {
    let mut world = World::up();
    world.advertised(LEAF);
    world.pass(secs(39), &[]);
    assert_eq!(world.neighbour(), Some(ip(LEAF)));
    assert!(world.times(ROUTER_SOLICITATION).iter().filter(|at| **at >= secs(25)).count() >= 2);
    world.pass(secs(2), &[]);
    assert_eq!(world.neighbour(), None);
    // One that advertises itself seldom, but answers, stays.
    world.advertised(LEAF);
    world.pass(secs(600), &[LEAF]);
    assert_eq!(world.neighbour(), Some(ip(LEAF)));
}

#[test]
fn a_silent_neighbour_is_kept_while_its_session_is_established() {
    let mut world = World::up();
    world.advertised(LEAF);
    world.established(true);
    world.neighbours.poll_changed();
    world.pass(secs(3600), &[]);
    assert_eq!(world.neighbour(), Some(ip(LEAF)));
    assert!(!world.neighbours.poll_changed());
    world.established(false);
    assert_eq!(world.neighbour(), None);
    assert!(world.neighbours.poll_changed());
}

#[test]
fn a_neighbour_with_a_new_address_is_taken_once_the_old_one_does_not_answer() {
    let mut world = World::up();
    world.pass(secs(30), &[LEAF]);
    world.advertised(OTHER);
    assert_eq!(world.neighbour(), Some(ip(LEAF)), "it may still be there");
    world.pass(secs(3), &[OTHER]);
    assert_eq!(world.neighbour(), Some(ip(LEAF)));
    world.pass(secs(2), &[OTHER]);
    assert_eq!(world.neighbour(), Some(ip(OTHER)));
    assert_eq!(world.problems(), [""; 0], "the old one is no second one");
}

#[test]
fn an_established_session_is_not_moved_to_a_new_address_before_it_ends() {
    let mut world = World::up();
    world.advertised(LEAF);
    world.established(true);
    world.pass(secs(120), &[OTHER]);
    assert_eq!(world.neighbour(), Some(ip(LEAF)));
    world.established(false);
    assert_eq!(world.neighbour(), Some(ip(OTHER)));
}

#[test]
fn two_routers_on_one_link_are_said_and_the_first_is_kept() {
    let mut world = World::up();
    world.advertised(LEAF);
    world.pass(secs(1), &[]);
    world.advertised(OTHER);
    world.pass(secs(120), &[LEAF, OTHER]);
    assert_eq!(world.neighbour(), Some(ip(LEAF)));
    let problems = world.problems();
    assert!(problems[0].starts_with("two routers advertise themselves on eth1, fe80::1 and fe80::9"), "{problems:?}");
    world.pass(secs(60), &[LEAF]);
    assert_eq!(world.problems(), [""; 0]);
}

#[test]
fn a_link_that_was_down_has_no_neighbour_before_it_is_heard_again() {
    let mut world = World::up();
    world.advertised(LEAF);
    world.link(ETH1, false, Some(OURS));
    assert_eq!(world.neighbours.neighbour("eth1"), Err("the link is down".to_owned()));
    world.advertised(LEAF);
    assert_eq!(world.neighbour(), None, "that was heard before it went down");
    world.sent.clear();
    world.now = secs(20);
    world.link(ETH1, true, Some(OURS));
    assert_eq!((world.times(ROUTER_SOLICITATION), world.times(ROUTER_ADVERTISEMENT)), (vec![secs(20)], vec![secs(20)]));
    world.advertised(OTHER);
    assert_eq!(world.neighbour(), Some(ip(OTHER)));
}

#[test]
fn an_interface_that_is_made_again_is_listened_on_again() {
    let mut world = World::up();
    world.link(9, true, None);
    assert_eq!(
        world.controls[1..],
        [DiscoveryAction::Close { link: ETH1 }, DiscoveryAction::Listen { interface: "eth1".to_owned(), link: 9 }]
    );
}

#[test]
fn our_own_words_are_no_neighbours() {
    let mut world = World::up();
    world.advertised(OURS);
    assert_eq!(world.neighbour(), None);
}

#[test]
fn settings_that_stand_in_the_way_are_said() {
    let mut world = World::up();
    let mut set = |sysctls| {
        world.neighbours.handle(DiscoveryEvent::Sysctls { link: ETH1, sysctls }, Duration::ZERO);
        (world.neighbours.why_no_address("eth1"), world.neighbours.problems().next())
    };
    let usual = LinkSysctls { disable_ipv6: Some(0), addr_gen_mode: Some(0), accept_ra: Some(1), forwarding: Some(0) };
    assert_eq!(set(usual), (None, None));
    let (why, _) = set(LinkSysctls { disable_ipv6: Some(1), ..usual });
    assert!(why.unwrap().ends_with("set net.ipv6.conf.eth1.disable_ipv6 = 0"));
    let (why, _) = set(LinkSysctls { addr_gen_mode: Some(1), ..usual });
    assert!(why.unwrap().ends_with("set net.ipv6.conf.eth1.addr_gen_mode = 0"));
    set(usual);
    world.advertised(LEAF);
    assert_eq!(world.problems(), [""; 0], "nothing to heed in that");
    let mut default_router = packet::advertisement();
    default_router[6..8].copy_from_slice(&1800u16.to_be_bytes());
    world.heard(LEAF, default_router);
    assert!(world.problems()[0].ends_with("set net.ipv6.conf.eth1.accept_ra = 0"), "{:?}", world.problems());
    for heedless in [LinkSysctls { accept_ra: Some(0), ..usual }, LinkSysctls { forwarding: Some(1), ..usual }] {
        world.neighbours.handle(DiscoveryEvent::Sysctls { link: ETH1, sysctls: heedless }, Duration::ZERO);
        assert_eq!(world.problems(), [""; 0]);
    }
    world.neighbours.handle(DiscoveryEvent::Trouble { link: ETH1, what: "no".to_owned() }, Duration::ZERO);
    assert_eq!(world.problems(), ["router discovery on eth1: no"]);
}

#[derive(Clone, Debug)]
enum Happens {
    Heard(u8, bool),
    Established(bool),
    Link(bool),
    Pass(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => (0u8..20, any::<bool>()).prop_map(|(from, solicits)| Happens::Heard(from, solicits)),
        1 => any::<bool>().prop_map(Happens::Established),
        1 => any::<bool>().prop_map(Happens::Link),
        3 => (0u64..50_000).prop_map(Happens::Pass),
    ]
}

proptest! {
    /// Whatever happens: a neighbour is somebody who was heard since the link came up, an Established one is never changed but
    /// by the link, and no more is sent than the rates say.
    #[test]
    fn any_sequence_keeps_the_rules(sequence in prop::collection::vec(happens(), 0..60)) {
        let mut world = World::up();
        let (mut heard, mut up, mut established) = (Vec::new(), true, false);
        for event in sequence {
            let (start, sent, before) = (world.now, world.sent.len(), world.neighbour());
            let mut flapped = false;
            match event {
                Happens::Heard(from, solicits) => {
                    let from = format!("fe80::{from:x}");
                    world.heard(&from, if solicits { packet::solicitation() } else { packet::advertisement() });
                    if !solicits && up {
                        heard.push(ip(&from));
                    }
                }
                Happens::Established(now) => {
                    // As the node does: there is no session with nobody.
                    established = now && world.neighbour().is_some();
                    world.established(established);
                }
                Happens::Link(now) => {
                    world.link(ETH1, now, Some(OURS));
                    flapped = now != up;
                    if flapped {
                        heard.clear();
                    }
                    up = now;
                }
                Happens::Pass(ms) => world.pass(Duration::from_millis(ms), &[]),
            }
            let neighbour = world.neighbour();
            prop_assert!(neighbour.is_none_or(|n| heard.contains(&n) && n != ip(OURS)));
            prop_assert!(!established || flapped || before.is_none() || neighbour == before);
            if flapped {
                established = false;
                world.established(false);
            }
            if let Some(due) = world.neighbours.poll_timeout() {
                prop_assert!(due >= start);
            }
            let most = (world.now - start).as_secs() * 6 + 8;
            prop_assert!((world.sent.len() - sent) as u64 <= most, "{} in {:?}", world.sent.len() - sent, world.now - start);
        }
    }
}
