use super::*;

fn series(values: impl IntoIterator<Item = u64>) -> Series {
    Series::of(&values.into_iter().map(Duration::from_millis).collect::<Vec<_>>())
}

fn measure(values: impl IntoIterator<Item = u64>, target: Option<Target>) -> Measure {
    Measure { what: "x", target, series: series(values) }
}

#[test]
fn quantiles_are_nearest_ranks() {
    let hundred = series((1..=100).rev());
    assert_eq!([0.5, 0.99, 1.0, 0.0].map(|share| hundred.quantile(share)), [50.0, 99.0, 100.0, 1.0]);
    assert_eq!(hundred.max(), 100.0);
    assert_eq!(series([7]).quantile(0.99), 7.0);
    assert_eq!(series([]).quantile(0.99), 0.0);
}

#[test]
fn a_target_is_a_limit_that_is_not_reached() {
    let slow_one = || (0..199).map(|_| 1).chain([50]);
    assert_eq!(measure(slow_one(), Some(Target::P99(5.0))).passed(), Some(true));
    assert_eq!(measure(slow_one(), Some(Target::Max(5.0))).passed(), Some(false));
    assert_eq!(measure([5], Some(Target::Max(5.0))).passed(), Some(false));
    assert_eq!(measure([], Some(Target::Max(5.0))).passed(), Some(false), "nothing measured is not a success");
    assert_eq!(measure([9], None).passed(), None);
}
