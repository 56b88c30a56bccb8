#![allow(clippy::unwrap_used, missing_docs)]

use super::subnet_with;

fn length(addr: &str, router: &str) -> Option<u8> {
    subnet_with(addr.parse().unwrap(), router.parse().unwrap())
}

#[test]
fn a_subnet_has_both_as_hosts() {
    assert_eq!(length("10.123.128.5", "10.122.0.11"), Some(15));
    assert_eq!(length("10.0.0.1", "10.0.0.2"), Some(30));
    assert_eq!(length("10.0.0.2", "10.0.0.3"), Some(29), "the last of 10.0.0.0/30");
    assert_eq!(length("10.0.0.64", "10.0.0.65"), Some(25), "the first of all that are smaller");
    assert_eq!(length("10.123.128.0", "10.122.0.11"), Some(15));
}

#[test]
fn where_no_subnet_has_both_there_is_none() {
    assert_eq!(length("10.123.128.5", "192.168.1.10"), None, "their first bits differ");
    assert_eq!(length("10.123.128.5", "10.123.128.5"), None);
    assert_eq!(length("0.0.0.0", "0.0.0.1"), None);
}
