use proptest::prelude::*;

use super::*;

/// Written by hand from the diagram of section 4.1: Up, P, multiplier 3, both intervals 100 ms, echo 50 ms.
const POLLING: [u8; 24] = [
    0x20, 0xe0, 0x03, 0x18, 0x5e, 0x1c, 0x2d, 0x01, 0x00, 0x00, 0x00, 0x07, 0x00, 0x01, 0x86, 0xa0, 0x00, 0x01, 0x86,
    0xa0, 0x00, 0x00, 0xc3, 0x50,
];

/// Recorded from FRR 8.4.4 (bfdd) in Init, and in Up with a poll, and from BIRD 2.0.12 in Up, all at 3 x 100 ms.
const RECORDED: [[u32; 6]; 3] = [
    [0x2080_0318, 0x8934_2b5e, 0x98b0_3a98, 1_000_000, 1_000_000, 50_000],
    [0x20e0_0318, 0x8934_2b5e, 0x98b0_3a98, 100_000, 100_000, 50_000],
    [0x20c0_0318, 0x5804_cf11, 0xac0a_9fab, 100_000, 100_000, 0],
];

#[test]
fn packets_of_other_daemons_are_read_and_written_again() {
    let packets = RECORDED.map(|words| {
        let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!(packet.encode()[..], bytes[..]);
        packet
    });
    assert_eq!(packets.map(|p| p.state), [State::Init, State::Up, State::Up]);
    assert_eq!(packets.map(|p| p.poll), [false, true, false]);
    assert_eq!(packets.map(|p| p.required_min_echo_rx), [50_000, 50_000, 0]);
    assert!(packets.iter().all(|p| p.detect_mult == 3 && p.diagnostic == Diagnostic::NONE));
}

fn changed(at: usize, to: u8) -> Result<Packet, Malformed> {
    let mut bytes = POLLING;
    bytes[at] = to;
    Packet::decode(&bytes)
}

#[test]
fn rfc5880_4_1_every_field_is_read_and_written() {
    let packet = Packet::decode(&POLLING).unwrap();
    let expected = Packet {
        state: State::Up,
        poll: true,
        detect_mult: 3,
        my_discriminator: 0x5e1c_2d01,
        your_discriminator: 7,
        desired_min_tx: 100_000,
        required_min_rx: 100_000,
        required_min_echo_rx: 50_000,
        ..Packet::default()
    };
    assert_eq!(packet, expected);
    assert_eq!(packet.encode(), POLLING);
    assert_eq!(changed(1, 0xd0).map(|p| (p.poll, p.final_)), Ok((false, true)));
    assert!(changed(1, 0xc8).unwrap().control_plane_independent);
    assert!(changed(1, 0xc2).unwrap().demand);
    assert_eq!(changed(0, 0x23).unwrap().diagnostic, Diagnostic::NEIGHBOR_SIGNALED_DOWN);
    assert_eq!(changed(1, 0x00).unwrap().state, State::AdminDown);
}

#[test]
fn rfc5880_6_8_6_malformed_packets_are_thrown_away() {
    assert_eq!(changed(0, 0x00), Err(Malformed::Version(0)));
    assert_eq!(changed(0, 0x40), Err(Malformed::Version(2)));
    assert_eq!(changed(3, 23), Err(Malformed::Length { said: 23, have: 24 }));
    assert_eq!(changed(3, 25), Err(Malformed::Length { said: 25, have: 24 }));
    assert_eq!(changed(1, 0xc4), Err(Malformed::Length { said: 24, have: 24 }), "A needs 26 octets");
    assert_eq!(changed(2, 0), Err(Malformed::DetectMult));
    assert_eq!(changed(1, 0xc1), Err(Malformed::Multipoint));
    let mut nameless = POLLING;
    nameless[4..8].fill(0);
    assert_eq!(Packet::decode(&nameless), Err(Malformed::MyDiscriminator));
    for (bits, state) in [(0x80, State::Init), (0xc0, State::Up)] {
        let mut unknown = POLLING;
        unknown[1] = bits;
        unknown[8..12].fill(0);
        assert_eq!(Packet::decode(&unknown), Err(Malformed::YourDiscriminator(state)));
    }
    assert_eq!(Packet::decode(&[]), Err(Malformed::Length { said: 0, have: 0 }));
    assert_eq!(Packet::decode(&POLLING[..23]), Err(Malformed::Length { said: 24, have: 23 }));
}

#[test]
fn rfc5880_4_1_octets_behind_the_length_are_not_looked_at() {
    let mut long = POLLING.to_vec();
    long.extend([0xff; 40]);
    assert_eq!(Packet::decode(&long), Packet::decode(&POLLING));
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(packet) = Packet::decode(&bytes) {
            prop_assert!(packet.my_discriminator != 0 && packet.detect_mult != 0);
            if !packet.authenticated {
                // Only the length field may differ: a packet may say that it is longer.
                let mut said = bytes[..LEN].to_vec();
                said[3] = 24;
                prop_assert_eq!(&packet.encode()[..], &said[..]);
            }
        }
    }
}
