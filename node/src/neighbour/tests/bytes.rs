//! The messages themselves.

use proptest::prelude::*;

use super::super::packet::{Advertisement, Invalid, Message, advertisement, decode, solicitation};
use super::*;

#[test]
fn rfc4861_4_2_our_advertisement_makes_nobody_send_us_packets() {
    let bytes = advertisement();
    assert_eq!((bytes.len(), bytes[0], bytes[1]), (16, 134, 0));
    assert_eq!(bytes[6..8], [0, 0], "router lifetime");
    let said = Advertisement { router_lifetime: Duration::ZERO, autonomous_prefix: false };
    assert_eq!(decode(ip(LEAF), &bytes), Ok(Message::Advertisement(said)));
    assert_eq!(decode(ip("::"), &solicitation()), Ok(Message::Solicitation));
}

#[test]
fn rfc4861_6_1_2_what_is_not_valid_is_dropped() {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = advertisement();
        change(&mut bytes);
        decode(ip(LEAF), &bytes)
    };
    assert_eq!(with(&|b| b[1] = 1), Err(Invalid::Code));
    assert_eq!(with(&|b| b[0] = 135), Err(Invalid::Type));
    assert_eq!(with(&|b| b.truncate(15)), Err(Invalid::Short));
    assert_eq!(with(&|b| b.clear()), Err(Invalid::Short));
    assert_eq!(with(&|b| b.extend([1, 0, 0, 0, 0, 0, 0, 0])), Err(Invalid::Options), "an option of length 0");
    assert_eq!(with(&|b| b.extend([1, 2, 0, 0, 0, 0, 0, 0])), Err(Invalid::Options), "one that goes on behind the end");
    assert_eq!(with(&|b| b.push(1)), Err(Invalid::Options));
    assert_eq!(decode(ip("2001:db8::1"), &advertisement()), Err(Invalid::Source));
    assert_eq!(decode(ip("::"), &advertisement()), Err(Invalid::Source));
    assert_eq!(decode(ip(LEAF), &solicitation()[..7]), Err(Invalid::Short));
}

#[test]
fn rfc4861_4_6_2_a_prefix_for_addresses_is_seen() {
    for (flags, autonomous) in [(0xc0, true), (0x40, true), (0x80, false)] {
        let mut bytes = advertisement();
        bytes.extend([1, 1, 2, 0, 0, 0, 0, 1]);
        bytes.extend([3, 4, 64, flags]);
        bytes.extend([0; 28]);
        bytes[6..8].copy_from_slice(&1800u16.to_be_bytes());
        let said = Advertisement { router_lifetime: secs(1800), autonomous_prefix: autonomous };
        assert_eq!(decode(ip(LEAF), &bytes), Ok(Message::Advertisement(said)));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(kind in prop::sample::select(&[133u8, 134, 1][..]), rest in prop::collection::vec(any::<u8>(), 0..100)) {
        let bytes: Vec<u8> = [kind, 0].into_iter().chain(rest).collect();
        if let Ok(Message::Advertisement(_)) = decode(ip(LEAF), &bytes) {
            prop_assert!(bytes.len() >= 16 && bytes.len().is_multiple_of(8));
        }
    }
}
