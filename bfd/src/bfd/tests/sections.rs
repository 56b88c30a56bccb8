//! The rules, one test a section.

use super::*;

#[test]
fn rfc5880_6_1_active_role_speaks_first_and_slowly() {
    let mut bench = Bench::new();
    let sent = bench.pass(Duration::from_secs(10));
    assert!((10..=14).contains(&sent.len()), "{}", sent.len());
    assert_eq!(sent[0].0, Duration::ZERO);
    for (_, packet) in sent {
        assert_eq!((packet.state, packet.your_discriminator), (State::Down, 0));
        assert_ne!(packet.my_discriminator, 0);
        assert_eq!(packet.desired_min_tx, 1_000_000, "section 6.8.3: not Up");
        assert_eq!(packet.required_min_rx, 100_000);
        assert_eq!(packet.required_min_echo_rx, 0, "section 6.4: echo is refused");
        assert!(!packet.control_plane_independent && !packet.authenticated && !packet.demand && !packet.poll);
    }
}

#[test]
fn rfc5880_6_2_three_way_handshake() {
    let mut bench = Bench::new();
    bench.sent();
    let answer = bench.hear(State::Down);
    assert_eq!(answer.len(), 1, "section 6.8.7: a change is told at once");
    assert_eq!((answer[0].state, answer[0].your_discriminator), (State::Init, THEIRS));
    assert_eq!(bench.hear(State::Init)[0].state, State::Up);
    assert_eq!(bench.status().ups, 1);
    assert_eq!(bench.events().last().unwrap().status.state, State::Up);
}

#[test]
fn rfc5880_6_2_every_state_and_received_state() {
    use State::{AdminDown, Down, Init, Up};
    let table = [
        (Down, [(AdminDown, Down), (Down, Init), (Init, Up), (Up, Down)]),
        (Init, [(AdminDown, Down), (Down, Init), (Init, Up), (Up, Up)]),
        (Up, [(AdminDown, Down), (Down, Down), (Init, Up), (Up, Up)]),
    ];
    for (ours, row) in table {
        for (theirs, expected) in row {
            let mut bench = Bench::new();
            match ours {
                Init => drop(bench.hear(Down)),
                Up => bench = Bench::up(),
                AdminDown | Down => {}
            }
            assert_eq!(bench.status().state, ours);
            bench.hear(theirs);
            assert_eq!(bench.status().state, expected, "{ours} hears {theirs}");
        }
    }
}

#[test]
fn rfc5880_6_3_packets_belong_to_their_discriminator_then_to_their_address() {
    let mut bench = Bench::new();
    let ours = bench.status().discriminator;
    let other = SessionId { remote: "10.122.101.2".parse().unwrap(), ..LEAF };
    let elsewhere = SessionId { link: 3, ..LEAF };
    let unknown = Packet { your_discriminator: ours ^ 1, ..bench.leaf };
    assert_eq!(bench.hear_packet(unknown), Err(Discard::NoSession));
    let bytes = bench.leaf.encode();
    for stranger in [other, elsewhere] {
        assert_eq!(bench.bfd.handle_packet(stranger, 255, &bytes, bench.now), Err(Discard::NoSession));
        let stolen = Packet { your_discriminator: ours, ..bench.leaf }.encode();
        assert_eq!(bench.bfd.handle_packet(stranger, 255, &stolen, bench.now), Err(Discard::WrongSender));
    }
    let mapped = SessionId { remote: "::ffff:10.122.101.0".parse().unwrap(), ..LEAF };
    assert_eq!(bench.bfd.handle_packet(mapped, 255, &bytes, bench.now), Ok(()));
    assert_eq!(bench.bfd.counters().no_session, 5);
}

#[test]
fn rfc5881_3_link_local_neighbours_of_two_links_are_two_sessions() {
    let remote: IpAddr = "fe80::1".parse().unwrap();
    let ids = [2, 3].map(|link| SessionId { remote, link });
    let mut bfd = Bfd::new([1; 32], Duration::ZERO);
    let config = SessionConfig::new("fe80::2".parse().unwrap(), INTERVAL, 3);
    bfd.set_peers(&ids.map(|id| (id, config)).into(), Duration::ZERO);
    let hello =
        Packet { state: State::Down, detect_mult: 3, my_discriminator: 5, required_min_rx: 1000, ..Packet::default() };
    bfd.handle_packet(ids[1], 255, &hello.encode(), Duration::ZERO).unwrap();
    assert_eq!(ids.map(|id| bfd.status(&id).unwrap().state), [State::Down, State::Init]);
    let names = ids.map(|id| bfd.status(&id).unwrap().discriminator);
    assert!(names[0] != names[1] && names[0] != 0 && names[1] != 0);
}

#[test]
fn rfc5881_5_a_packet_that_was_forwarded_is_thrown_away() {
    let mut bench = Bench::new();
    for ttl in [0, 1, 64, 254] {
        let bytes = bench.leaf.encode();
        assert_eq!(bench.bfd.handle_packet(LEAF, ttl, &bytes, bench.now), Err(Discard::Ttl(ttl)));
    }
    assert_eq!((bench.status().state, bench.bfd.counters().bad_ttl), (State::Down, 4));
}

#[test]
fn rfc5880_6_8_6_authenticated_packets_are_thrown_away() {
    let mut bench = Bench::up();
    let mut bytes = Packet { state: State::Down, ..bench.leaf }.encode().to_vec();
    bytes[1] |= 0x04;
    bytes[3] = 28;
    bytes.extend([1, 4, 0, 0]);
    assert_eq!(bench.bfd.handle_packet(LEAF, 255, &bytes, bench.now), Err(Discard::Authenticated));
    assert_eq!(bench.status().state, State::Up);
}

#[test]
fn rfc5880_6_8_2_pace_is_the_slower_of_what_we_want_and_what_they_take() {
    for (theirs, expected) in [(10_000, 100), (100_000, 100), (400_000, 400)] {
        let mut bench = Bench::up();
        bench.leaf.required_min_rx = theirs;
        bench.leaf.desired_min_tx = 60_000_000;
        bench.hear(State::Up);
        assert_eq!(bench.status().transmit_interval, Some(ms(expected)));
        bench.pass(ms(expected));
        let times: Vec<Duration> = bench.pass(Duration::from_secs(40)).into_iter().map(|(at, _)| at).collect();
        let mut gaps: Vec<Duration> = times.windows(2).map(|w| w[1] - w[0]).collect();
        gaps.sort();
        assert!(gaps[0] >= ms(expected) * 3 / 4, "section 6.8.7: at most 25 % jitter, {:?}", gaps[0]);
        assert!(*gaps.last().unwrap() <= ms(expected), "{:?}", gaps.last());
        assert!(*gaps.last().unwrap() - gaps[0] > ms(expected) / 5, "no jitter");
    }
}

#[test]
fn rfc5880_6_8_7_multiplier_one_leaves_room_for_one_packet() {
    let mut bench = Bench::with(SessionConfig { multiplier: 1, ..config() });
    let times: Vec<Duration> = bench.pass(Duration::from_secs(200)).into_iter().map(|(at, _)| at).collect();
    let gaps = times.windows(2).map(|w| w[1] - w[0]);
    assert!(gaps.clone().all(|g| g >= ms(750) && g <= ms(900)), "{:?} {:?}", gaps.clone().min(), gaps.max());
}

#[test]
fn rfc5880_6_8_4_silence_for_the_detection_time_is_a_failure() {
    let mut bench = Bench::up();
    bench.leaf.desired_min_tx = 150_000;
    bench.leaf.detect_mult = 4;
    bench.hear(State::Up);
    assert_eq!(bench.status().detection_time, Some(ms(600)), "their multiplier, the slower interval");
    bench.pass(ms(599));
    assert_eq!(bench.status().state, State::Up);
    bench.sent();
    let told = bench.pass(ms(1));
    let status = bench.status();
    assert_eq!((status.state, status.diagnostic), (State::Down, Diagnostic::DETECTION_TIME_EXPIRED));
    assert_eq!(status.failed_at, Some(ms(600)));
    assert_eq!((status.remote_discriminator, status.remote_state), (0, State::Down), "section 6.8.1");
    let (_, packet) = told.last().unwrap();
    assert_eq!((packet.state, packet.your_discriminator), (State::Down, 0));
    assert_eq!(packet.diagnostic, Diagnostic::DETECTION_TIME_EXPIRED);
    assert_eq!(packet.desired_min_tx, 1_000_000);
}

#[test]
fn rfc5880_6_8_1_a_neighbour_not_heard_any_more_is_not_named_any_more() {
    let mut bench = Bench::new();
    bench.hear(State::Down);
    bench.pass(ms(300));
    assert_eq!((bench.status().state, bench.status().remote_discriminator), (State::Down, 0));
    assert_eq!(bench.status().failed_at, None, "it never was Up");
}

#[test]
fn rfc5880_6_5_a_poll_is_answered_at_once_with_final() {
    let mut bench = Bench::up();
    bench.leaf.poll = true;
    let answers = bench.hear(State::Up);
    assert_eq!(answers.len(), 1);
    assert!(answers[0].final_ && !answers[0].poll);
    bench.leaf.poll = false;
    assert_eq!(bench.hear(State::Up), []);
}

#[test]
fn rfc5880_6_8_3_going_up_polls_until_the_final() {
    let mut bench = Bench::new();
    bench.hear(State::Down);
    let up = bench.hear(State::Init);
    assert!(up[0].poll, "the interval changed from slow to what is configured");
    assert_eq!(up[0].desired_min_tx, 100_000);
    let sent = bench.pass(ms(200));
    assert!(!sent.is_empty() && sent.iter().all(|(_, p)| p.poll));
    bench.leaf.final_ = true;
    bench.hear(State::Up);
    bench.leaf.final_ = false;
    let sent = bench.pass(ms(200));
    assert!(!sent.is_empty() && sent.iter().all(|(_, p)| !p.poll));
}

#[test]
fn rfc5880_6_8_3_slower_sending_waits_for_the_final() {
    let mut bench = Bench::up();
    bench.configure(SessionConfig { min_tx: ms(400), ..config() });
    let told = bench.sent();
    assert!(told[0].poll && told[0].desired_min_tx == 400_000);
    assert_eq!(bench.status().transmit_interval, Some(INTERVAL), "the neighbour still counts on the old");
    bench.leaf.final_ = true;
    bench.hear(State::Up);
    assert_eq!(bench.status().transmit_interval, Some(ms(400)));
}

#[test]
fn rfc5880_6_8_3_faster_sending_begins_at_once() {
    let mut bench = Bench::up();
    bench.leaf.required_min_rx = 10_000;
    bench.hear(State::Up);
    bench.configure(SessionConfig { min_tx: ms(20), ..config() });
    assert!(bench.sent()[0].poll);
    assert_eq!(bench.status().transmit_interval, Some(ms(20)));
    assert!(bench.bfd.poll_timeout().unwrap() <= bench.now + ms(20));
}

#[test]
fn rfc5880_6_8_3_faster_detection_waits_for_the_final() {
    let mut bench = Bench::up();
    bench.leaf.desired_min_tx = 10_000;
    bench.hear(State::Up);
    assert_eq!(bench.status().detection_time, Some(ms(300)));
    bench.configure(SessionConfig { min_rx: ms(20), ..config() });
    assert_eq!(bench.status().detection_time, Some(ms(300)), "the neighbour still sends at the old pace");
    bench.leaf.final_ = true;
    bench.hear(State::Up);
    assert_eq!(bench.status().detection_time, Some(ms(60)));
}

#[test]
fn rfc5880_6_8_3_slower_detection_begins_at_once() {
    let mut bench = Bench::up();
    bench.configure(SessionConfig { min_rx: ms(500), ..config() });
    assert_eq!(bench.status().detection_time, Some(ms(1500)));
}

#[test]
fn rfc5880_6_5_two_questions_are_told_apart_by_a_packet_without_poll() {
    let mut bench = Bench::up();
    bench.configure(SessionConfig { min_tx: ms(200), ..config() });
    bench.configure(SessionConfig { min_tx: ms(400), ..config() });
    assert!(bench.sent().iter().all(|p| p.poll));
    bench.leaf.final_ = true;
    bench.hear(State::Up);
    assert_eq!(bench.status().transmit_interval, Some(INTERVAL), "the answer may be to the first");
    bench.leaf.final_ = false;
    let sent = bench.pass(ms(250));
    assert_eq!(sent.iter().map(|(_, p)| p.poll).take(2).collect::<Vec<_>>(), [false, true]);
    bench.leaf.final_ = true;
    bench.hear(State::Up);
    assert_eq!(bench.status().transmit_interval, Some(ms(400)));
}

#[test]
fn rfc5880_6_6_a_neighbour_in_demand_mode_hears_only_polls_and_answers() {
    let mut bench = Bench::up();
    bench.leaf.demand = true;
    bench.hear(State::Up);
    bench.leaf.desired_min_tx = u32::MAX;
    bench.hear(State::Up);
    assert_eq!(bench.pass(Duration::from_secs(30)), []);
    assert_eq!(bench.status().transmit_interval, None);
    bench.leaf.poll = true;
    assert!(bench.hear(State::Up)[0].final_);
    bench.leaf.poll = false;
    bench.configure(SessionConfig { min_rx: ms(200), ..config() });
    let polls = bench.pass(ms(500));
    assert!(
        polls.len() >= 4 && polls.iter().all(|(_, p)| p.poll && !p.demand),
        "section 6.8.7: a poll sequence is sent"
    );
}

#[test]
fn rfc5880_6_8_7_a_neighbour_that_wants_nothing_gets_nothing() {
    let mut bench = Bench::up();
    bench.leaf.required_min_rx = 0;
    bench.hear(State::Up);
    bench.leaf.desired_min_tx = u32::MAX;
    bench.hear(State::Up);
    assert_eq!(bench.pass(Duration::from_secs(30)), []);
}

#[test]
fn rfc5880_6_8_6_admin_down_of_the_neighbour_is_no_failure() {
    let mut bench = Bench::up();
    bench.hear(State::AdminDown);
    let status = bench.status();
    assert_eq!((status.state, status.diagnostic), (State::Down, Diagnostic::NEIGHBOR_SIGNALED_DOWN));
    assert!(status.is_remote_admin_down());
    assert_eq!(status.failed_at, None, "RFC 5882 section 3.2");
    bench.hear(State::Down);
    bench.hear(State::Init);
    assert_eq!((bench.status().state, bench.status().ups), (State::Up, 2));
    bench.hear(State::Down);
    assert!(bench.status().failed_at.is_some(), "a signalled Down is one");
}

#[test]
fn rfc5880_6_8_16_admin_down_of_ours_is_told_and_heard_over() {
    let mut bench = Bench::up();
    bench.configure(SessionConfig { enabled: false, ..config() });
    let told = bench.sent();
    assert_eq!((told[0].state, told[0].diagnostic), (State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN));
    bench.leaf.state = State::Init;
    bench.leaf.your_discriminator = bench.status().discriminator;
    let said = bench.leaf;
    assert_eq!(bench.hear_packet(said), Err(Discard::AdminDown));
    let sent = bench.pass(Duration::from_secs(5));
    assert!((5..=7).contains(&sent.len()) && sent.iter().all(|(_, p)| p.state == State::AdminDown));
    assert_eq!(bench.status().failed_at, None);
    bench.configure(config());
    assert_eq!(bench.sent()[0].state, State::Down);
    bench.hear(State::Down);
    bench.hear(State::Init);
    assert_eq!(bench.status().state, State::Up);
}

#[test]
fn rfc5880_6_8_16_a_session_not_wanted_any_more_says_so_before_it_goes() {
    let mut bench = Bench::up();
    bench.bfd.set_peers(&BTreeMap::new(), bench.now);
    let sent = bench.pass(Duration::from_secs(4));
    assert!((3..=5).contains(&sent.len()) && sent.iter().all(|(_, p)| p.state == State::AdminDown));
    assert_eq!(bench.bfd.status(&LEAF), None);
    assert_eq!((bench.bfd.poll_timeout(), bench.bfd.poll_event()), (None, None));
}

#[test]
fn a_session_wanted_again_during_its_farewell_begins_anew() {
    let mut bench = Bench::up();
    bench.bfd.set_peers(&BTreeMap::new(), bench.now);
    bench.pass(ms(500));
    bench.configure(config());
    assert_eq!(bench.events().last().unwrap().status.state, State::Down);
    bench.pass(Duration::from_secs(10));
    bench.hear(State::Down);
    bench.hear(State::Init);
    assert_eq!(bench.status().state, State::Up);
}

#[test]
fn a_new_source_address_is_a_new_session() {
    let mut bench = Bench::up();
    let before = bench.status().discriminator;
    bench.configure(SessionConfig { local: "10.122.101.5".parse().unwrap(), ..config() });
    assert_ne!(bench.status().discriminator, before);
    assert_eq!(bench.status().state, State::Down);
}

#[test]
fn rfc5880_6_8_6_a_neighbour_that_restarted_is_found_by_its_address() {
    let mut bench = Bench::up();
    bench.leaf = Packet { my_discriminator: 99, state: State::Down, your_discriminator: 0, ..bench.leaf };
    let hello = bench.leaf;
    bench.hear_packet(hello).unwrap();
    let status = bench.status();
    assert_eq!((status.state, status.remote_discriminator), (State::Down, 99));
    assert!(status.failed_at.is_some());
}

#[test]
fn rfc5882_4_3_the_neighbours_c_bit_is_reported() {
    let mut bench = Bench::up();
    assert!(!bench.status().control_plane_independent);
    bench.leaf.control_plane_independent = true;
    bench.hear(State::Up);
    assert!(bench.events()[0].status.control_plane_independent);
    bench.pass(ms(400));
    let failed = bench.events();
    assert_eq!(failed[0].status.state, State::Down);
    assert!(failed[0].status.control_plane_independent, "it is asked for when the session is gone");
}

#[test]
fn our_own_stall_is_not_their_silence() {
    let mut bench = Bench::up();
    // 250 ms without us: nothing was read, the last packet was heard 60 ms before.
    bench.pass(ms(60));
    bench.now += ms(250);
    bench.bfd.handle_timeout(bench.now);
    assert_eq!(bench.status().state, State::Up);
    assert_eq!(bench.bfd.counters().stalls, 1);
    assert!(bench.bfd.counters().longest_stall >= ms(200));
    bench.pass(ms(95));
    assert_eq!(bench.status().state, State::Up, "one interval to be heard");
    bench.hear(State::Up);
    bench.pass(ms(299));
    assert_eq!(bench.status().state, State::Up);
}

#[test]
fn a_stall_is_forgiven_once_a_silence() {
    let mut bench = Bench::up();
    bench.now += ms(400);
    bench.bfd.handle_timeout(bench.now);
    assert_eq!(bench.status().state, State::Up);
    bench.now += ms(200);
    bench.bfd.handle_timeout(bench.now);
    assert_eq!(bench.status().state, State::Down);
    assert_eq!(bench.status().failed_at, Some(ms(600)));
}

#[test]
fn unchanged_settings_change_nothing() {
    let mut bench = Bench::up();
    let due = bench.bfd.poll_timeout();
    bench.configure(config());
    assert_eq!((bench.sent(), bench.events()), (vec![], vec![]));
    assert_eq!(bench.bfd.poll_timeout(), due);
}
