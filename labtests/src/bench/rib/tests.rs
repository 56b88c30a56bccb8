use super::contest::{Progress, bird_progress};
use super::feed::{Leaf, Shape};
use super::receiver::Report;
use super::*;
use crate::bench::wire::{self, Message};

#[test]
fn a_feed_has_every_prefix_once_and_both_ends() {
    for (shape, count) in [(Shape::Uniform, 2000), (Shape::Mixed, 6000)] {
        let mut bytes = shape.encode(Leaf(1), count);
        let mut prefixes = std::collections::BTreeSet::new();
        let mut empty = 0;
        while let Some(message) = wire::take(&mut bytes).unwrap() {
            let Message::Update { announced, withdrawn } = message else { panic!("{message:?}") };
            assert!(withdrawn.is_empty());
            empty += usize::from(announced.is_empty());
            prefixes.extend(announced);
        }
        assert_eq!((prefixes.len(), empty, bytes.len()), (count as usize, 2, 0));
    }
}

fn round(factor: f64) -> Round {
    let step = |cpu: f64, pss: u64, report| Step { cpu, pss, rss: pss, report };
    let report = Report { working: 0.1, longest_work: 0.001, held: 7, ..Report::default() };
    let run = |f: f64, report: Option<Report>| Run {
        first: step(0.2 * f, (40e6 * f) as u64, report.clone()),
        second: step(0.3 * f, (50e6 * f) as u64, report.clone()),
        again: step(0.1 * f, (50e6 * f) as u64, report.clone()),
        lost: step(0.1 * f, (50e6 * f) as u64, report),
    };
    Round { petiole: run(factor, Some(report)), bird: run(1.0, None) }
}

#[test]
fn ratios_are_medians_of_rounds_and_judged() {
    let outcome = Outcome { uniform: [0.3, 0.9, 0.4].map(round).into(), mixed: vec![round(0.5)] };
    let text = table("2 cores", &outcome);
    let words = |text: &str, what: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        line.split_ascii_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words(&text, "CPU, first path"), ["<=", "0.8", "0.40", "0.30", "0.90", "80.0", "200.0", "ms", "pass"]);
    assert_eq!(
        words(&text, "heap kept"),
        ["by", "the", "same", "announced", "again", "<=", "0", "0.00", "0.00", "0.00", "B", "pass"]
    );
    assert!(passed(&outcome), "{text}");
    let slow = Outcome { uniform: vec![round(0.55)], mixed: Vec::new() };
    assert_eq!(words(&table("2 cores", &slow), "memory, one path").last().unwrap(), "FAIL");
    assert!(!passed(&slow));
    assert!(text.lines().all(|line| line.chars().count() <= 110), "{text}");
    let document = document("2 cores", &outcome);
    assert!((document["ratios"][0]["median"].as_f64().unwrap() - 0.4).abs() < 1e-9);
    assert_eq!(document["ratios"][0]["passed"], true);
    let picture = svg("x", &ratios(&outcome));
    assert_eq!(picture.matches("<circle").count(), 6 * 3 + 4);
}

#[test]
fn birds_figures_are_summed_over_sessions_and_families() {
    let text = "leaf1 BGP\n  Channel ipv4\n    Routes:         5 imported, 0 exported, 4 preferred\n    \
                Route change stats:     received   rejected\n      Import updates:              7          0\n  \
                Channel ipv6\n    Routes:         2 imported\n      Import updates:  2 0\n";
    let progress = bird_progress(text).unwrap();
    assert!(matches!(progress, Progress { announced: 9, paths: 7, .. }));
    assert_eq!(bird_progress("Unable to connect"), None);
}
