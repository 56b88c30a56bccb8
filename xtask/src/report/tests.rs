use super::*;

fn line(stage: &'static str, outcome: Outcome, millis: u64, counts: Option<Counts>) -> Line {
    Line { stage, outcome, took: Duration::from_millis(millis), counts }
}

#[test]
fn columns_are_aligned_and_the_verdict_names_what_failed() {
    let mut report = Report::default();
    report.add(line("format", Outcome::Passed, 640, None));
    report.add(line("unit and property", Outcome::Failed, 61_000, Some(Counts { passed: 40, failed: 2, ignored: 1 })));
    report.add(line("lab", Outcome::Skipped("the build failed".into()), 0, None));
    let text = report.render(Style::plain());
    assert_eq!(
        text,
        "\
stage              result       time  tests
format             ok          0.6 s
unit and property  FAILED     61.0 s  40 passed, 2 failed, 1 ignored
lab                skipped     0.0 s  the build failed
FAILED: unit and property in 61.6 s"
    );
    assert!(!report.passed());
    assert_eq!(report.tests_run(), 42);
}

#[test]
fn a_skipped_stage_is_no_failure() {
    let mut report = Report::default();
    report.add(line("dependencies", Outcome::Skipped("cargo-deny is not installed".into()), 0, None));
    assert!(report.passed());
    assert!(report.render(Style::plain()).ends_with("ok: everything passed in 0.0 s"));
}
