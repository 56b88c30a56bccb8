use super::*;

fn sample(name: &str, kind: SampleKind, labels: &[(&str, &str)], value: f64) -> Sample {
    Sample {
        name: name.into(),
        help: "Help.".into(),
        kind,
        labels: labels.iter().map(|&(k, v)| (k.into(), v.into())).collect(),
        value,
        buckets: Vec::new(),
    }
}

#[test]
fn samples_of_one_name_stand_together() {
    let text = encode(vec![
        sample("petiole_a", SampleKind::Gauge, &[("peer", "10.0.0.1")], 1.0),
        sample("petiole_b", SampleKind::Counter, &[], 3.0),
        sample("petiole_a", SampleKind::Gauge, &[("peer", "fe\"80")], 0.5),
    ])
    .unwrap();
    assert_eq!(
        text,
        "# HELP petiole_a Help\n# TYPE petiole_a gauge\npetiole_a{peer=\"10.0.0.1\"} 1.0\npetiole_a{peer=\"fe\\\"80\"} 0.5\n\
         # HELP petiole_b Help\n# TYPE petiole_b counter\npetiole_b_total 3.0\n# EOF\n"
    );
}

#[test]
fn a_histogram_is_written_with_cumulative_buckets() {
    let took = Sample {
        buckets: vec![(0.001, 2), (0.01, 0), (f64::MAX, 1)],
        ..sample("petiole_took_seconds", SampleKind::Histogram, &[("command", "add")], 2.5)
    };
    assert_eq!(
        encode(vec![took]).unwrap(),
        "# HELP petiole_took_seconds Help\n# TYPE petiole_took_seconds histogram\n\
         petiole_took_seconds_sum{command=\"add\"} 2.5\npetiole_took_seconds_count{command=\"add\"} 3\n\
         petiole_took_seconds_bucket{le=\"0.001\",command=\"add\"} 2\npetiole_took_seconds_bucket{le=\"0.01\",command=\"add\"} 2\n\
         petiole_took_seconds_bucket{le=\"+Inf\",command=\"add\"} 3\n# EOF\n"
    );
}

#[test]
fn a_process_has_memory() {
    assert!(resident_memory() > 100_000);
}
