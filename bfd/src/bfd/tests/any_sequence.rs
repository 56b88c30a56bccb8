//! Whatever arrives, whenever: no panic, no busy loop, no sending faster than allowed.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Bytes(Vec<u8>),
    Packet { flags: u8, diagnostic: u8, known: bool, multiplier: u8, tx: u32, rx: u32, mine: u32 },
    Wait(u64),
    Late(u64),
    Configure { tx: u64, rx: u64, multiplier: u8, enabled: bool },
    Remove,
}

fn step() -> impl Strategy<Value = Step> {
    let interval = prop_oneof![Just(0), Just(1), 1000..2_000_000_u32, any::<u32>()];
    prop_oneof![
        1 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Bytes),
        8 => (any::<u8>(), any::<u8>(), any::<bool>(), any::<u8>(), interval.clone(), interval, 0..3_u32).prop_map(
            |(flags, diagnostic, known, multiplier, tx, rx, mine)| Step::Packet {
                flags, diagnostic, known, multiplier, tx, rx, mine
            }
        ),
        4 => (0..2000_u64).prop_map(Step::Wait),
        1 => (0..5000_u64).prop_map(Step::Late),
        1 => (10..2000_u64, 10..2000_u64, any::<u8>(), any::<bool>())
            .prop_map(|(tx, rx, multiplier, enabled)| Step::Configure { tx, rx, multiplier, enabled }),
        1 => Just(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn any_sequence_is_survived(steps in proptest::collection::vec(step(), 0..40)) {
        let mut bench = Bench::new();
        for step in steps {
            match step {
                Step::Bytes(bytes) => {
 let _ = bench.bfd.handle_packet(LEAF, 255, &bytes, bench.now);
 }
                Step::Packet { flags, diagnostic, known, multiplier, tx, rx, mine } => {
                    let ours = bench.bfd.status(&LEAF).map_or(0, |s| s.discriminator);
                    let mut bytes = Packet {
                        my_discriminator: mine,
                        your_discriminator: if known { ours } else { 0 },
                        desired_min_tx: tx,
                        required_min_rx: rx,
                        detect_mult: multiplier,
                        ..Packet::default()
                    }
                    .encode();
                    bytes[0] |= diagnostic & 0x1f;
                    bytes[1] = flags & 0xfa;
                    let _ = bench.bfd.handle_packet(LEAF, 255, &bytes, bench.now);
                    let answers = bench.sent();
                    prop_assert!(answers.len() <= 1, "one packet brought {}", answers.len());
                    prop_assert!(answers.iter().all(|p| !(p.poll && p.final_)), "section 6.5");
                }
                Step::Wait(time) => {
                    let sent = bench.pass(ms(time));
                    prop_assert!(sent.len() as u64 <= 8 + time * 4 / 3 / 10, "{} packets in {time} ms", sent.len());
                }
                Step::Late(time) => {
                    bench.now += ms(time);
                    bench.bfd.handle_timeout(bench.now);
                    prop_assert!(bench.sent().len() <= 1);
                }
                Step::Configure { tx, rx, multiplier, enabled } => {
                    bench.configure(SessionConfig { min_tx: ms(tx), min_rx: ms(rx), multiplier, enabled, local: US });
                }
                Step::Remove => bench.bfd.set_peers(&BTreeMap::new(), bench.now),
            }
            bench.bfd.handle_timeout(bench.now);
            bench.sent();
            prop_assert!(bench.bfd.poll_timeout().is_none_or(|at| at > bench.now), "what is due is done");
            for event in bench.events() {
                let status = event.status;
                prop_assert!(status.failed_at.is_none_or(|at| at <= bench.now));
                prop_assert!(status.state != State::Up || status.remote_discriminator != 0);
                prop_assert_eq!(status.detection_time.is_some(), status.remote_discriminator != 0);
            }
        }
        // Whatever came before: a neighbour that behaves gets the session up.
        bench.bfd.set_peers(&BTreeMap::new(), bench.now);
        bench.pass(Duration::from_secs(4));
        bench.configure(config());
        bench.leaf = Packet { desired_min_tx: 100_000, required_min_rx: 100_000, ..bench.leaf };
        bench.sent();
        bench.hear(State::Down);
        bench.hear(State::Init);
        prop_assert_eq!(bench.status().state, State::Up);
    }
}
