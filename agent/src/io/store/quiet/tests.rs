use super::*;

#[test]
fn a_quiet_stream_is_asked_and_given_up_when_it_does_not_answer() {
    let start = Instant::now();
    let mut quiet = Quiet::new(7, start);
    let first = quiet.until() - start;
    assert!((QUIET.mul_f32(0.79)..QUIET.mul_f32(1.21)).contains(&first), "{first:?}");
    assert_eq!(quiet.due(start + first), Due::Ask);
    assert_eq!(quiet.until(), start + first + PATIENCE);
    // Any sign of life is one, not the answer alone.
    quiet.heard(start + first);
    assert!(quiet.until() > start + first + PATIENCE);
    let second = quiet.until();
    assert_eq!(quiet.due(second), Due::Ask);
    assert_eq!(quiet.due(second + PATIENCE), Due::GiveUp);
}
