use std::time::Duration;

use super::*;
use crate::bench::statistics::Series;

#[test]
fn the_axis_is_logarithmic_and_bounded() {
    assert_eq!(x(0.01), LEFT);
    assert_eq!(x(10_000.0), LEFT + ACROSS);
    assert!((x(10.0) - LEFT - ACROSS / 2.0).abs() < 1e-9);
    assert_eq!((x(0.0), x(1e9)), (LEFT, LEFT + ACROSS));
    assert_eq!((y(0.0), y(1.0)), (TOP + DOWN, TOP));
    assert_eq!([-2, 0, 2, 4].map(label), ["10 µs", "1 ms", "100 ms", "10 s"]);
}

#[test]
fn every_measure_has_a_curve_and_a_legend_and_text_is_escaped() {
    let series = Series::of(&[Duration::from_millis(1), Duration::from_millis(2)]);
    let one = |what, target| Measure { what, target, series: series.clone() };
    let text = svg("a & b", &[one("claim -> leaf", Some(Target::P99(5.0))), one("start", None)]);
    assert_eq!(text.matches("<path ").count(), 2);
    assert_eq!(text.matches("stroke-dasharray").count(), 1);
    assert!(text.contains("a &amp; b") && text.contains("claim -&gt; leaf"), "{text}");
    assert_eq!(text.matches('<').count(), text.matches('>').count());
}

#[test]
fn nothing_measured_is_an_empty_curve() {
    let text = svg("none", &[Measure { what: "x", target: None, series: Series::of(&[]) }]);
    assert!(text.contains("d=\"\""), "{text}");
}
