use proptest::prelude::*;

use super::*;

#[test]
fn dates_look_as_calico_writes_them() {
    // The dates of a block, and of an attribute in it, that Calico wrote in the same moment.
    assert_eq!(rfc3339(1_795_360_227_221_119_077), "2026-11-22T15:10:27Z");
    assert_eq!(go_string(1_795_360_227_209_095_652), "2026-11-22 15:10:27.209095652 +0000 UTC");
    assert_eq!(go_string(1_795_360_227_209_000_000), "2026-11-22 15:10:27.209 +0000 UTC");
    assert_eq!(go_string(0), "1970-01-01 00:00:00 +0000 UTC");
    assert_eq!(rfc3339(951_782_400 * NANOS), "2000-02-29T00:00:00Z");
    assert_eq!(rfc3339(u64::MAX), "2554-07-21T23:34:33Z");
}

#[test]
fn offsets_and_fractions_are_read() {
    assert_eq!(parse_rfc3339("2026-11-22T16:10:27+01:00"), parse_rfc3339("2026-11-22T15:10:27Z"));
    assert_eq!(parse_rfc3339("1970-01-01T00:00:00.5Z"), Some(500_000_000));
    for wrong in [
        "",
        "2026-11-22",
        "2026-02-30T00:00:00Z",
        "2026-11-22T15:10:27",
        "2026-11-22T15:10:27.Z",
        "20é6-11-22T15:10:27Z",
    ] {
        assert_eq!(parse_rfc3339(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(seconds in 0..u64::MAX / NANOS) {
        prop_assert_eq!(parse_rfc3339(&rfc3339(seconds * NANOS)), Some(seconds * NANOS));
    }

    #[test]
    fn any_text_is_a_date_or_none(text in "\\PC{0,40}") {
        let _ = parse_rfc3339(&text);
    }
}
