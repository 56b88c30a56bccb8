use proptest::prelude::*;

use super::*;

#[test]
fn a_name_is_an_address_or_an_interface() {
    let of = |text: &str| text.parse::<PeerId>().unwrap();
    assert_eq!(of("10.122.101.0").address(), Some("10.122.101.0".parse().unwrap()));
    assert_eq!(of("fd00::1").interface(), None);
    assert_eq!(of("eth1"), PeerId::of_interface("eth1").unwrap());
    assert_eq!(of("eth1").interface(), Some("eth1"));
    assert_eq!(of("eth1").address(), None);
    assert_eq!(of("fifteen-bytes-x").interface(), Some("fifteen-bytes-x"));
    assert_eq!(serde_json::to_string(&of("eth1.100")).unwrap(), "\"eth1.100\"");
    assert_eq!(serde_json::from_str::<PeerId>("\"eth1.100\"").unwrap(), of("eth1.100"));
    assert_eq!(format!("{:>6}|", of("eth1")), "  eth1|");
    assert_eq!(format!("{:?}", of("eth1")), "PeerId(eth1)");
}

#[test]
fn what_linux_takes_for_no_name_is_none() {
    for name in ["", ".", "..", "eth1/0", "eth:1", "eth 1", "a\tb", "a\0b", "sixteen-bytes-xx", "10.0.0.1"] {
        assert_eq!(PeerId::of_interface(name), None, "{name:?}");
    }
    assert!("no interface".parse::<PeerId>().is_err());
}

proptest! {
    #[test]
    fn every_name_comes_back_from_its_text(text in "\\PC{0,20}") {
        if let Ok(id) = text.parse::<PeerId>() {
            prop_assert_eq!(id.to_string().parse::<PeerId>().unwrap(), id);
            prop_assert_eq!(id.interface().is_some(), id.address().is_none());
            if let Some(name) = id.interface() {
                prop_assert_eq!(name, text);
            }
        }
    }
}
