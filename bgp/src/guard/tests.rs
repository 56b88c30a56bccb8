//! The guard: what can be built, and what can leave.

use proptest::prelude::*;

use super::*;
use crate::wire::{OutAttributes, end_of_rib, withdraw};

fn p(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn owned(prefixes: &[&str]) -> BTreeMap<Prefix, Originated> {
    prefixes.iter().map(|t| (p(t), Originated::new(p(t), Ownership::Block { cidr: p(t) }).unwrap())).collect()
}

fn announce(prefixes: &[Prefix]) -> Vec<u8> {
    let next_hop = match prefixes[0].family() {
        Family::V4 => "10.0.0.1",
        Family::V6 => "fd00::1",
    };
    let out = OutAttributes::new(65001, next_hop.parse().unwrap());
    let mut bytes = Vec::new();
    assert_eq!(out.announce(prefixes, &mut bytes), prefixes.len());
    bytes
}

#[test]
fn a_proof_covers_its_prefix_and_no_other() {
    let block = p("10.123.128.0/26");
    let proofs = [
        Ownership::Block { cidr: block },
        Ownership::Anycast { prefix: block },
        Ownership::ServiceRange { range: block },
        Ownership::LoopbackPrefix { prefix: block, filter: "services".to_owned() },
    ];
    for proof in proofs {
        assert_eq!(Originated::new(block, proof.clone()).unwrap().prefix(), block);
        for other in ["10.123.128.0/27", "10.123.128.0/25", "10.123.128.64/26", "10.123.128.1/32", "0.0.0.0/0"] {
            let error = Originated::new(p(other), proof.clone()).unwrap_err();
            assert_eq!(error, GuardError::NotProven { prefix: p(other), proven: block });
        }
    }
}

#[test]
fn addresses_are_announced_as_host_routes_only() {
    let address = "10.123.128.7".parse().unwrap();
    let block = p("10.123.128.0/26");
    let node = Ownership::NodeAddress { address };
    let borrowed = Ownership::BorrowedAddress { address, block };
    for proof in [node, borrowed] {
        assert!(Originated::new(p("10.123.128.7/32"), proof.clone()).is_ok());
        assert!(Originated::new(block, proof.clone()).is_err());
        assert!(Originated::new(p("10.123.128.8/32"), proof).is_err());
    }
    let elsewhere = Ownership::BorrowedAddress { address, block: p("10.123.129.0/26") };
    assert!(matches!(Originated::new(p("10.123.128.7/32"), elsewhere), Err(GuardError::NotInBlock { .. })));
}

#[test]
fn some_prefixes_no_proof_makes_announceable() {
    for (text, why) in [
        ("0.0.0.0/0", Unannounceable::DefaultRoute),
        ("::/0", Unannounceable::DefaultRoute),
        ("127.0.0.0/8", Unannounceable::Martian),
        ("127.0.0.1/32", Unannounceable::Martian),
        ("224.0.0.0/4", Unannounceable::Martian),
        ("fe80::/64", Unannounceable::Martian),
        ("::1/128", Unannounceable::Martian),
    ] {
        let prefix = p(text);
        let proof = Ownership::LoopbackPrefix { prefix, filter: "all".to_owned() };
        assert_eq!(Originated::new(prefix, proof), Err(GuardError::NeverAnnounced { prefix, why }));
    }
}

#[test]
fn bytes_pass_with_their_prefixes_in_the_set() {
    let set = owned(&["10.1.0.0/26", "10.1.0.64/26", "fd00:1::/122"]);
    for prefixes in [&[p("10.1.0.0/26"), p("10.1.0.64/26")][..], &[p("fd00:1::/122")]] {
        assert_eq!(check(&announce(prefixes), &set), Ok(()));
    }
    for (v4, v6) in
        [("10.1.0.0/27", "fd00:1::/123"), ("10.1.0.0/25", "fd00:1::/121"), ("10.1.0.128/26", "fd00:2::/122")]
    {
        for other in [p(v4), p(v6)] {
            let error = check(&announce(&[other]), &set);
            assert_eq!(error, Err(GuardError::NotOriginated { prefix: other }));
        }
    }
    // One bad among good ones, and in the second of two messages.
    let mixed = announce(&[p("10.1.0.0/26"), p("10.9.0.0/26"), p("10.1.0.64/26")]);
    assert!(check(&mixed, &set).is_err());
    let two = [announce(&[p("10.1.0.0/26")]), announce(&[p("10.9.0.0/26")])].concat();
    assert!(check(&two, &set).is_err());
}

#[test]
fn a_set_that_lies_about_itself_does_not_help() {
    let (mine, other) = (p("10.1.0.0/26"), p("10.9.0.0/26"));
    let own = Originated::new(mine, Ownership::Block { cidr: mine }).unwrap();
    // Filed under a prefix that its proof does not cover.
    let set = BTreeMap::from([(other, own)]);
    assert!(check(&announce(&[other]), &set).is_err());
}

#[test]
fn withdrawals_and_markers_claim_nothing() {
    let mut bytes = Vec::new();
    withdraw(Family::V4, &[p("10.9.0.0/26")], &mut bytes);
    withdraw(Family::V6, &[p("fd00:9::/64")], &mut bytes);
    end_of_rib(Family::V4, &mut bytes);
    end_of_rib(Family::V6, &mut bytes);
    wire::keepalive(&mut bytes);
    assert_eq!(check(&bytes, &BTreeMap::new()), Ok(()));
}

#[test]
fn what_cannot_be_read_back_does_not_leave() {
    let set = owned(&["10.1.0.0/26"]);
    let good = announce(&[p("10.1.0.0/26")]);
    for end in 1..good.len() {
        assert!(check(&good[..end], &set).is_err(), "cut at {end}");
    }
    // Host bits, in the last octet.
    let mut host_bits = good.clone();
    *host_bits.last_mut().unwrap() |= 1;
    assert!(matches!(check(&host_bits, &set), Err(GuardError::Unreadable(_))));
    let len = host_bits.len();
    let mut longer = good;
    longer[len - 5] = 33;
    assert!(check(&longer, &set).is_err());
}

proptest! {
    /// Whatever single octet is wrong in the message, nothing outside the set is announced by what passes.
    #[test]
    fn an_octet_changed_announces_nothing_foreign(at in any::<prop::sample::Index>(), value in any::<u8>(), v6 in any::<bool>()) {
        use crate::wire::{HEADER_LEN, NlriField, Sections, Update, UpdateContext, nlri::Bits};
        let set = owned(&["10.1.0.0/26", "10.1.0.64/26", "fd00:1::/122", "fd00:2::/122"]);
        let prefixes: Vec<Prefix> =
            set.keys().copied().filter(|p| (p.family() == Family::V6) == v6).collect();
        let mut bytes = announce(&prefixes);
        let at = at.index(bytes.len());
        bytes[at] = value;
        if check(&bytes, &set).is_err() || bytes[18] != MessageType::Update as u8 {
            return Ok(());
        }
        let ctx = UpdateContext {
            four_octet_as: true,
            families: Family::BOTH.into_iter().collect(),
            ..UpdateContext::default()
        };
        let Ok(sections) = Sections::split(&bytes[HEADER_LEN..]) else { return Ok(()) };
        let Ok(update) = Update::decode(&sections, &ctx) else { return Ok(()) };
        let read = |f: &NlriField<'_>| -> Vec<Prefix> {
            let v4 = f.keys::<u32>().map(|(k, len)| Prefix::new(k.addr(), len).unwrap());
            let v6 = f.keys::<wire::nlri::Bits6>().map(|(k, len)| Prefix::new(k.addr(), len).unwrap());
            v4.chain(v6).collect()
        };
        for announcement in [update.announced, update.mp_announced].into_iter().flatten() {
            for prefix in read(&announcement.field) {
                prop_assert!(set.contains_key(&prefix), "{prefix}");
            }
        }
    }
}

/// An UPDATE with this MP_REACH_NLRI alone.
fn mp_reach(afi: u16, safi: u8, nlri: &[u8], long: bool) -> Vec<u8> {
    let mut value = afi.to_be_bytes().to_vec();
    value.extend_from_slice(&[safi, 16]);
    value.extend_from_slice(&[0xfd; 16]);
    value.push(0);
    value.extend_from_slice(nlri);
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    let mut attribute = if long { vec![0x90, 14, len[0], len[1]] } else { vec![0x80, 14, len[1]] };
    attribute.extend_from_slice(&value);
    let mut bytes = vec![0xff; 16];
    bytes.extend_from_slice(&u16::try_from(23 + attribute.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&[MessageType::Update as u8, 0, 0]);
    bytes.extend_from_slice(&u16::try_from(attribute.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(&attribute);
    bytes
}

#[test]
fn families_that_are_not_ours_do_not_leave() {
    let set = owned(&["10.1.0.0/26", "fd00:1::/122"]);
    let mine = [26, 10, 1, 0, 0];
    assert_eq!(check(&mp_reach(1, 1, &mine, false), &set), Ok(()));
    for (afi, safi) in [(1, 2), (1, 4), (1, 128), (2, 2), (25, 70), (0, 1)] {
        let error = check(&mp_reach(afi, safi, &mine, false), &set);
        assert!(matches!(error, Err(GuardError::Unreadable(_))), "{afi}/{safi}");
    }
}

#[test]
fn long_attributes_are_read_back_to_their_end() {
    let texts: Vec<String> = (0..40).map(|n| format!("fd00:1:{n}::/64")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let set = owned(&texts);
    let all: Vec<Prefix> = set.keys().copied().collect();
    let bytes = announce(&all);
    assert!(bytes.len() > 300);
    assert_eq!(check(&bytes, &set), Ok(()));
    let mut less = set;
    let last = less.pop_last().unwrap().0;
    assert_eq!(check(&bytes, &less), Err(GuardError::NotOriginated { prefix: last }));
    let short = mp_reach(2, 1, &[8, 0xfd], true);
    assert!(check(&short, &less).is_err());
}

#[test]
fn nothing_is_left_behind_the_attributes() {
    let set = owned(&["10.1.0.0/26"]);
    let mut bytes = announce(&[p("10.1.0.0/26")]);
    let nlri = bytes.split_off(bytes.len() - 5);
    // Two octets that begin no attribute, inside the field of the attributes.
    bytes.extend_from_slice(&[0xc0, 8]);
    bytes.extend_from_slice(&nlri);
    let (total, attributes) = (u16::try_from(bytes.len()).unwrap(), u16::from_be_bytes([bytes[21], bytes[22]]) + 2);
    bytes[16..18].copy_from_slice(&total.to_be_bytes());
    bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
    assert!(matches!(check(&bytes, &set), Err(GuardError::Unreadable(_))));
    // One octet alone.
    let mut one = bytes.clone();
    one.remove(bytes.len() - 6);
    one[16..18].copy_from_slice(&(total - 1).to_be_bytes());
    one[21..23].copy_from_slice(&(attributes - 1).to_be_bytes());
    assert!(matches!(check(&one, &set), Err(GuardError::Unreadable(_))));
}
