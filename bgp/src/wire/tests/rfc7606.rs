//! RFC 7606, case by case: what is malformed and what it leads to.

use super::super::*;
use super::{context, prefixes};

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xe9];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 10, 0, 0, 1];
/// 10.0.0.0/8
const NLRI: &[u8] = &[8, 10];
/// fd00::/16 with next hop fd00::1
const MP_REACH: &[u8] = &[0x80, 14, 24, 0, 2, 1, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16, 0xfd, 0];
const MP_UNREACH: &[u8] = &[0x80, 15, 6, 0, 2, 1, 16, 0xfd, 0];

/// What came of an UPDATE that announces 10.0.0.0/8 with these attributes.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Accepted,
    /// Accepted without the attribute at fault.
    Discarded,
    Withdrawn,
    Reset(u8),
}

fn outcome(attributes: &[&[u8]]) -> Outcome {
    let attributes = attributes.concat();
    let sections = Sections { withdrawn: &[], attributes: &attributes, nlri: NLRI };
    match Update::decode(&sections, &context()) {
        Err(reset) => {
            assert_eq!(reset.notification.code, 3);
            Outcome::Reset(reset.notification.subcode)
        }
        Ok(update) => {
            let worst = update.faults.iter().map(|(t, _)| *t).max();
            let withdrawn: Vec<_> = update.withdrawn.iter().flatten().flat_map(prefixes).collect();
            match (update.announced, worst) {
                (Some(_), None) => Outcome::Accepted,
                (Some(_), Some(Treatment::Discard)) => Outcome::Discarded,
                (None, Some(Treatment::Withdraw)) => {
                    assert_eq!(withdrawn[0].to_string(), "10.0.0.0/8");
                    Outcome::Withdrawn
                }
                (announced, worst) => panic!("{announced:?} {worst:?}"),
            }
        }
    }
}

/// With the mandatory attributes, and this one more.
fn with(attribute: &[u8]) -> Outcome {
    outcome(&[ORIGIN, AS_PATH, NEXT_HOP, attribute])
}

#[test]
fn well_formed_is_accepted() {
    assert_eq!(outcome(&[ORIGIN, AS_PATH, NEXT_HOP]), Outcome::Accepted);
}

#[test]
fn section_3b_lengths_past_the_message_reset() {
    for body in [&[0, 1][..], &[0, 0, 0, 1], &[0, 5, 0, 0], &[0], &[], &[0xff, 0xff, 0, 0]] {
        let reset = Sections::split(body).unwrap_err();
        assert_eq!((reset.notification.code, reset.notification.subcode), (3, 1));
    }
}

#[test]
fn section_3c_wrong_flags_withdraw() {
    for attribute in [
        &[0x80u8, 4, 4, 0, 0, 0, 1][..],
        &[0xc0, 8, 4, 0, 0, 0, 1],
        &[0xc0, 32, 12, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1],
    ] {
        assert_eq!(with(attribute), Outcome::Accepted);
        for flip in [0x80, 0x40, 0xc0] {
            let mut bad = attribute.to_vec();
            bad[0] ^= flip;
            assert_eq!(with(&bad), Outcome::Withdrawn, "{bad:?}");
        }
    }
    for (i, mandatory) in [ORIGIN, AS_PATH, NEXT_HOP].into_iter().enumerate() {
        let mut all = [ORIGIN, AS_PATH, NEXT_HOP];
        let mut bad = mandatory.to_vec();
        bad[0] = 0xc0;
        all[i] = &bad;
        assert_eq!(outcome(&all), Outcome::Withdrawn);
    }
    // The partial bit and the lower four are not looked at.
    assert_eq!(with(&[0xff, 8, 0, 4, 0, 0, 0, 1]), Outcome::Accepted);
}

#[test]
fn section_3d_missing_mandatory_withdraws() {
    assert_eq!(outcome(&[AS_PATH, NEXT_HOP]), Outcome::Withdrawn);
    assert_eq!(outcome(&[ORIGIN, NEXT_HOP]), Outcome::Withdrawn);
    assert_eq!(outcome(&[ORIGIN, AS_PATH]), Outcome::Withdrawn);
    assert_eq!(outcome(&[]), Outcome::Withdrawn);
}

#[test]
fn section_3g_duplicates_keep_the_first() {
    assert_eq!(outcome(&[ORIGIN, ORIGIN, AS_PATH, NEXT_HOP]), Outcome::Discarded);
    let second = [0x40, 1, 1, 2];
    let attributes = [ORIGIN, AS_PATH, NEXT_HOP, &second].concat();
    let sections = Sections { withdrawn: &[], attributes: &attributes, nlri: NLRI };
    let update = Update::decode(&sections, &context()).unwrap();
    assert_eq!(update.announced.unwrap().attributes.origin, Origin::Igp);
    assert_eq!(with(&[MP_REACH, MP_REACH].concat()), Outcome::Reset(1));
    assert_eq!(with(&[MP_UNREACH, MP_UNREACH].concat()), Outcome::Reset(1));
}

#[test]
fn section_4_attribute_lengths_past_the_field_withdraw() {
    assert_eq!(with(&[0xc0, 8, 5, 0, 0, 0, 1]), Outcome::Withdrawn);
    assert_eq!(with(&[0xc0]), Outcome::Withdrawn);
    assert_eq!(with(&[0xc0, 8]), Outcome::Withdrawn);
    assert_eq!(with(&[0xd0, 8, 0]), Outcome::Withdrawn);
    assert_eq!(with(&[0xd0, 8, 0xff, 0xff]), Outcome::Withdrawn);
}

#[test]
fn section_5_3_broken_prefixes_reset() {
    for nlri in [&[33, 10, 0, 0, 0, 0][..], &[24, 10, 0], &[255], &[8]] {
        let attributes = [ORIGIN, AS_PATH, NEXT_HOP].concat();
        for (withdrawn, nlri) in [(&[][..], nlri), (nlri, &[][..])] {
            let sections = Sections { withdrawn, attributes: &attributes, nlri };
            let reset = Update::decode(&sections, &context()).unwrap_err();
            assert_eq!(reset.notification.subcode, 10);
        }
    }
}

#[test]
fn section_7_1_origin() {
    for bad in [&[0x40u8, 1, 0][..], &[0x40, 1, 2, 0, 0], &[0x40, 1, 1, 3], &[0x40, 1, 1, 255]] {
        assert_eq!(outcome(&[bad, AS_PATH, NEXT_HOP]), Outcome::Withdrawn, "{bad:?}");
    }
}

#[test]
fn section_7_2_as_path() {
    let bad: &[&[u8]] = &[
        &[0x40, 2, 6, 5, 1, 0, 0, 0xfd, 0xe9],
        &[0x40, 2, 6, 0, 1, 0, 0, 0xfd, 0xe9],
        &[0x40, 2, 2, 2, 0],
        &[0x40, 2, 6, 2, 2, 0, 0, 0xfd, 0xe9],
        &[0x40, 2, 5, 2, 1, 0, 0, 0xfd],
        &[0x40, 2, 7, 2, 1, 0, 0, 0xfd, 0xe9, 2],
        // AS 0 (RFC 7607).
        &[0x40, 2, 6, 2, 1, 0, 0, 0, 0],
        // Confederation segments from outside (RFC 5065).
        &[0x40, 2, 6, 3, 1, 0, 0, 0xfd, 0xe9],
    ];
    for bad in bad {
        assert_eq!(outcome(&[ORIGIN, bad, NEXT_HOP]), Outcome::Withdrawn, "{bad:?}");
    }
}

#[test]
fn section_7_3_next_hop() {
    for bad in [&[0x40u8, 3, 3, 10, 0, 0][..], &[0x40, 3, 5, 10, 0, 0, 1, 0], &[0x40, 3, 0]] {
        assert_eq!(outcome(&[ORIGIN, AS_PATH, bad]), Outcome::Withdrawn);
    }
}

#[test]
fn sections_7_4_to_7_16_by_length_and_value() {
    let cases: &[(&str, &[u8], Outcome)] = &[
        ("MED", &[0x80, 4, 3, 0, 0, 0], Outcome::Withdrawn),
        ("LOCAL_PREF from outside", &[0x40, 5, 4, 0, 0, 0, 1], Outcome::Discarded),
        ("LOCAL_PREF from outside, short", &[0x40, 5, 1, 0], Outcome::Discarded),
        ("ATOMIC_AGGREGATE", &[0x40, 6, 1, 0], Outcome::Discarded),
        ("AGGREGATOR of a two-octet speaker", &[0xc0, 7, 6, 0, 1, 10, 0, 0, 1], Outcome::Discarded),
        ("AGGREGATOR in AS 0", &[0xc0, 7, 8, 0, 0, 0, 0, 10, 0, 0, 1], Outcome::Discarded),
        ("COMMUNITIES, none", &[0xc0, 8, 0], Outcome::Withdrawn),
        ("COMMUNITIES, odd", &[0xc0, 8, 3, 0, 0, 0], Outcome::Withdrawn),
        ("ORIGINATOR_ID from outside", &[0x80, 9, 4, 10, 0, 0, 1], Outcome::Discarded),
        ("CLUSTER_LIST from outside", &[0x80, 10, 3, 10, 0, 0], Outcome::Discarded),
        ("extended communities, odd", &[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0], Outcome::Withdrawn),
        ("extended communities, none", &[0xc0, 16, 0], Outcome::Withdrawn),
        ("IPv6 extended communities, odd", &[0xc0, 25, 1, 0], Outcome::Withdrawn),
        ("large communities, odd", &[0xc0, 32, 8, 0, 0, 0, 0, 0, 0, 0, 0], Outcome::Withdrawn),
        ("large communities, none", &[0xc0, 32, 0], Outcome::Withdrawn),
        ("AS4_PATH from a four-octet speaker", &[0xc0, 17, 6, 2, 1, 0, 0, 0, 1], Outcome::Discarded),
        ("OTC", &[0xc0, 35, 3, 0, 0, 0], Outcome::Withdrawn),
        ("AIGP of one octet, wrong flags", &[0xc0, 26, 1, 0], Outcome::Discarded),
        ("Prefix-SID all zero", &[0xc0, 40, 4, 0, 0, 0, 0], Outcome::Accepted),
        ("unknown, optional, transitive", &[0xc0, 99, 3, 1, 2, 3], Outcome::Accepted),
        ("unknown, optional, empty", &[0x80, 28, 0], Outcome::Accepted),
        ("unknown, said to be well-known", &[0x40, 99, 0], Outcome::Reset(2)),
    ];
    for (name, attribute, expected) in cases {
        assert_eq!(with(attribute), *expected, "{name}");
    }
}

#[test]
fn section_7_11_mp_reach() {
    assert_eq!(with(MP_REACH), Outcome::Accepted);
    let mut short_hop = MP_REACH.to_vec();
    short_hop[6] = 15;
    assert_eq!(with(&short_hop), Outcome::Reset(9));
    let mut hop_past_the_end = MP_REACH.to_vec();
    hop_past_the_end[6] = 200;
    assert_eq!(with(&hop_past_the_end), Outcome::Reset(9));
    let mut too_long = MP_REACH.to_vec();
    too_long[24] = 129;
    assert_eq!(with(&too_long), Outcome::Reset(9));
    for len in 0..5 {
        let bad = [&[0x80, 14, len][..], &MP_REACH[3..3 + usize::from(len)]].concat();
        assert_eq!(with(&bad), Outcome::Reset(9), "length {len}");
    }
    // A family that was not agreed on is left out, the rest stands.
    let mut other = MP_REACH.to_vec();
    other[5] = 128;
    assert_eq!(with(&other), Outcome::Discarded);
    // With wrong flags its prefixes are known all the same, and withdrawn with the others.
    let mut flags = MP_REACH.to_vec();
    flags[0] = 0xc0;
    let attributes = [ORIGIN, AS_PATH, NEXT_HOP, &flags].concat();
    let sections = Sections { withdrawn: &[], attributes: &attributes, nlri: NLRI };
    let update = Update::decode(&sections, &context()).unwrap();
    let gone: Vec<_> = update.withdrawn.iter().flatten().flat_map(prefixes).map(|p| p.to_string()).collect();
    assert_eq!(gone, ["10.0.0.0/8", "fd00::/16"]);
}

#[test]
fn both_next_hops_of_rfc_2545_are_read() {
    let mut value = vec![0, 2, 1, 32];
    value.extend("fd00::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    value.extend("fe80::1".parse::<std::net::Ipv6Addr>().unwrap().octets());
    value.extend([0, 16, 0xfd, 0]);
    let attribute = [&[0x80, 14, value.len() as u8][..], &value].concat();
    let attributes = [ORIGIN, AS_PATH, &attribute].concat();
    let sections = Sections { withdrawn: &[], attributes: &attributes, nlri: &[] };
    let update = Update::decode(&sections, &context()).unwrap();
    let read = update.mp_announced.unwrap().attributes;
    assert_eq!(read.next_hop.to_string(), "fd00::1");
    assert_eq!(read.next_hop_link_local.unwrap().to_string(), "fe80::1");
}

#[test]
fn ipv4_in_mp_reach_is_taken() {
    let attribute = [0x80, 14, 11, 0, 1, 1, 4, 10, 0, 0, 1, 0, 8, 10];
    let attributes = [ORIGIN, AS_PATH, &attribute].concat();
    let sections = Sections { withdrawn: &[], attributes: &attributes, nlri: &[] };
    let announced = Update::decode(&sections, &context()).unwrap().mp_announced.unwrap();
    assert_eq!(prefixes(&announced.field)[0].to_string(), "10.0.0.0/8");
    assert_eq!(announced.attributes.next_hop.to_string(), "10.0.0.1");
}

#[test]
fn unknown_transitive_attributes_are_kept_with_the_partial_bit() {
    let attributes = [ORIGIN, AS_PATH, NEXT_HOP, &[0xc0, 99, 2, 7, 7], &[0x80, 98, 1, 1]].concat();
    let sections = Sections { withdrawn: &[], attributes: &attributes, nlri: NLRI };
    let read = Update::decode(&sections, &context()).unwrap().announced.unwrap().attributes;
    let expected = UnknownAttribute { flags: 0xe0, code: 99, value: [7, 7].into() };
    assert_eq!(*read.unknown, [expected]);
}
