use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Community {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn communities_are_read_as_routers_write_them() {
    for (text, community) in [
        ("65000:1", Community::Standard(0xfde8_0001)),
        ("no-export", Community::Standard(0xffff_ff01)),
        ("65535:65281", Community::Standard(0xffff_ff01)),
        ("graceful-shutdown", Community::Standard(0xffff_0000)),
        ("4200000011:1:2", Community::Large([4_200_000_011, 1, 2])),
        ("rt:65000:1", Community::Extended([0, 2, 0xfd, 0xe8, 0, 0, 0, 1])),
        ("rt:65000:4294967295", Community::Extended([0, 2, 0xfd, 0xe8, 255, 255, 255, 255])),
        ("soo:10.0.0.1:7", Community::Extended([1, 3, 10, 0, 0, 1, 0, 7])),
        ("rt:4200000011:1", Community::Extended([2, 2, 0xfa, 0x56, 0xea, 0x0b, 0, 1])),
        ("rt:5L:1", Community::Extended([2, 2, 0, 0, 0, 5, 0, 1])),
        ("0x4300000000000001", Community::Extended([0x43, 0, 0, 0, 0, 0, 0, 1])),
    ] {
        assert_eq!(read(text), community, "{text}");
    }
}

#[test]
fn what_is_no_community_is_refused() {
    for text in [
        "",
        ":",
        "1",
        "65536:1",
        "1:65536",
        "+1:1",
        "1: 1",
        "1:2:3:4",
        "1:2:4294967296",
        "rt:1",
        "rt:65000:4294967296",
        "rt:4200000011:65536",
        "rt:10.0.0.1:65536",
        "x:1:1",
        "0x1",
        "0x+000000000000001",
        "no_export",
        "NO-EXPORT",
    ] {
        assert_eq!(text.parse::<Community>(), Err(NoCommunity), "{text}");
    }
}

proptest! {
    #[test]
    fn whatever_there_is_reads_as_it_prints(standard in any::<u32>(), large in any::<[u32; 3]>(), mut extended in any::<[u8; 8]>(), kind in 0u8..4, sub in 1u8..5) {
        let same = |c: Community| c.to_string().parse::<Community>() == Ok(c);
        prop_assert!(same(Community::Standard(standard)) && same(Community::Large(large)));
        prop_assert!(same(Community::Extended(extended)));
        (extended[0], extended[1]) = (kind, sub);
        prop_assert!(same(Community::Extended(extended)));
    }

    #[test]
    fn any_text(text in "\\PC{0,40}") {
        let _ = text.parse::<Community>();
    }
}
