use super::*;

fn dialled(script: &Script) -> ConnId {
    let found = script.actions.iter().rev().find_map(|a| match a {
        Action::Connect { conn, .. } => Some(*conn),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn a_hint_gives_the_words_of_an_attempt_that_nobody_answered() {
    let mut script = Script::new(|_| {});
    let conn = dialled(&script);
    script.event(Event::Hint { conn, what: "3 segments with a wrong signature".to_owned() });
    assert_eq!(script.view().state_reason.unwrap(), "connecting; 3 segments with a wrong signature");
    script.now += secs(10);
    script.with(|s, now| s.handle_timeout(now));
    let error = script.view().last_error.unwrap();
    assert_eq!(error, "can't connect: 3 segments with a wrong signature");
    assert!(script.closed(conn), "the attempt goes on");
}

#[test]
fn a_hint_that_is_taken_back_or_late_says_nothing() {
    let mut script = Script::new(|_| {});
    let conn = dialled(&script);
    script.event(Event::Hint { conn, what: "forget it".to_owned() });
    script.event(Event::Hint { conn, what: String::new() });
    script.now += secs(10);
    script.with(|s, now| s.handle_timeout(now));
    assert_eq!(script.view().last_error.unwrap(), "can't connect: no answer");
    script.event(Event::Hint { conn, what: "too late".to_owned() });
    assert!(!script.view().state_reason.unwrap().contains("too late"));
}
