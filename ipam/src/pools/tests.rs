use proptest::prelude::*;

use super::*;

#[test]
fn names_are_those_of_resources_and_the_same_everywhere() {
    for (cidr, name) in [
        ("10.123.128.0/17", "petiole-10-123-128-0-17"),
        ("fd00:123:8000::/112", "petiole-fd00-123-8000-112"),
        ("::/100", "petiole--100"),
    ] {
        assert_eq!(name_for(cidr.parse().unwrap()), name);
    }
}

proptest! {
    #[test]
    fn a_name_is_a_dns_label_that_the_store_accepts(bits in any::<u128>(), len in 64..=128u8) {
        let cidr = Prefix::truncated(std::net::Ipv6Addr::from_bits(bits).into(), len).unwrap();
        let name = name_for(cidr);
        prop_assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        prop_assert!(name.len() <= 63 && name.ends_with(|c: char| c.is_ascii_digit()));
        prop_assert!(petiole_store::Key::parse(&petiole_store::Key::Pool(name).to_string()).is_ok());
    }
}
