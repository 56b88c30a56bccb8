use std::time::Duration;

use super::*;
use crate::demo::facts::Facts;
use crate::demo::report::tests::perfect;

const PLAIN: Style = Style { colour: false };

#[test]
fn the_screen_is_narrow_enough_and_ends_no_line_in_blanks() {
    for facts in [perfect(), Facts::default()] {
        let report = Report::of(&facts);
        let text = screen(&report, PLAIN);
        for line in text.lines() {
            assert!(width(line) <= 110, "{} columns: {line}", width(line));
            assert_eq!(line.trim_end(), line);
        }
    }
}

#[test]
fn a_perfect_fabric_has_no_cross_and_an_empty_one_no_tick() {
    let good = Report::of(&perfect());
    let text = screen(&good, PLAIN) + &verdict(&good, Duration::from_millis(8_340), PLAIN);
    assert!(!text.contains('✗'), "{text}");
    assert!(text.contains("observations hold; 8.3 s"), "{text}");
    let bad = Report::of(&Facts::default());
    let text = screen(&bad, PLAIN) + &verdict(&bad, Duration::ZERO, PLAIN);
    let drawn: String = text.lines().filter(|line| !line.contains("IPv4 and IPv6")).collect();
    assert!(!drawn.contains('✓'), "{text}");
    assert!(text.contains("observations are missing"), "{text}");
}

#[test]
fn a_session_that_is_down_shows_its_state_where_it_hangs() {
    let mut facts = perfect();
    facts.switches.get_mut("leaf2").unwrap().sessions.get_mut("master2").unwrap()[0] = "Connect".to_owned();
    let text = screen(&Report::of(&facts), PLAIN);
    assert!(text.contains("├─✗ master2 Connect"), "{text}");
    assert!(text.contains("└─✓ worker4 (eth2)"), "{text}");
}

#[test]
fn colour_changes_no_width() {
    let report = Report::of(&perfect());
    let plain = screen(&report, PLAIN);
    let coloured = screen(&report, Style { colour: true });
    assert_ne!(plain, coloured);
    assert!(plain.lines().map(width).eq(coloured.lines().map(width)));
}

#[test]
fn milliseconds_take_four_columns() {
    for (ms, text) in
        [(0.0, "0.00"), (9.994, "9.99"), (9.996, "10.0"), (99.94, "99.9"), (99.96, " 100"), (1234.0, "1234")]
    {
        assert_eq!(milliseconds(ms), text);
    }
}
