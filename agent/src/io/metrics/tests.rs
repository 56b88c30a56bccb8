use super::*;

fn sample(name: &str, kind: SampleKind, labels: &[(&str, &str)], value: f64) -> Sample {
    Sample {
        name: name.into(),
        help: "Help.".into(),
        kind,
        labels: labels.iter().map(|&(k, v)| (k.into(), v.into())).collect(),
        value,
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
fn a_process_has_memory() {
    assert!(resident_memory() > 100_000);
}
