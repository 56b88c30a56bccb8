use std::time::Duration;

use super::statistics::{Measure, Series};
use super::*;

fn outcome(slow: bool) -> Outcome {
    let times = [1, 2, if slow { 9 } else { 3 }].map(Duration::from_millis);
    let one = |what, target| Measure { what, target, series: Series::of(&times) };
    Outcome { measures: vec![one("claim", Some(Target::P99(5.0))), one("other", None)], resident: 12 << 20 }
}

#[test]
fn the_table_says_target_figures_and_verdict() {
    let resident = [Resident { name: "worker1".to_owned(), bytes: 9 << 20 }];
    let text = table("2 cores", &outcome(false), &resident);
    let line = text.lines().find(|line| line.starts_with("claim")).unwrap();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    assert_eq!(words, ["claim", "3", "p99", "<", "5", "2.00", "3.00", "3.00", "pass"]);
    assert!(text.contains("12.0 MiB after these runs") && text.contains("worker1 9.0 MiB"), "{text}");
    assert!(table("2 cores", &outcome(true), &resident).contains("FAIL"));
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
}

#[test]
fn the_document_has_every_sample() {
    let document = document("2 cores", &outcome(true), &[]);
    assert_eq!(document["measures"][0]["samples"], json!([1.0, 2.0, 9.0]));
    assert_eq!(document["measures"][0]["target"], json!({ "p99": 5.0 }));
    assert_eq!(document["measures"][0]["passed"], false);
    assert_eq!(document["measures"][1]["passed"], Value::Null);
}

#[test]
fn lines_are_broken_between_words() {
    assert_eq!(wrapped("aa bb ccc d", 5), "aa bb\nccc d\n");
    assert_eq!(wrapped("muchtoolong a", 4), "muchtoolong\na\n");
}
