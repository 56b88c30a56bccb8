use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn condition(unavailable: bool, reason: &str) -> Condition {
    Condition { unavailable, reason: reason.to_owned(), message: "words".to_owned() }
}

fn bad() -> Option<Condition> {
    Some(condition(true, "NoUplink"))
}

fn good() -> Option<Condition> {
    Some(condition(false, "PetioleIsReady"))
}

fn at(seconds: u32) -> Duration {
    SECOND * seconds
}

/// A network, seen once a second, whose writes all succeed.
fn run(network: &mut Network, from: u32, to: u32, is: Option<&Condition>) -> Vec<(u32, String)> {
    let mut written = Vec::new();
    for second in from..to {
        network.judge(is.cloned(), at(second), UnixNanos::default());
        while let Some(action) = network.poll(at(second)) {
            let words = match action {
                KubernetesAction::Condition(it) => format!("{} {}", it.unavailable, it.reason),
                KubernetesAction::Note(it) => format!("event {}", it.reason),
                KubernetesAction::Ask { object } => object,
            };
            written.push((second, words));
            network.handle_written(Ok(()), 0, at(second));
        }
    }
    written
}

fn words(list: &[(u32, &str)]) -> Vec<(u32, String)> {
    list.iter().map(|(at, text)| (*at, (*text).to_owned())).collect()
}

#[test]
fn nothing_is_due_while_nobody_can_judge() {
    let mut network = Network::default();
    // An agent that begins while its store is away: first no session, then nobody knows of addresses.
    assert_eq!(run(&mut network, 0, 5, bad().as_ref()), words(&[]));
    assert_eq!(run(&mut network, 5, 100, None), words(&[]));
    assert_eq!(network.poll_timeout(true), None);
    assert_eq!(run(&mut network, 100, 110, bad().as_ref()), words(&[]), "it has to last anew");
    assert_eq!(run(&mut network, 110, 111, bad().as_ref()), words(&[(110, "true NoUplink")]));
}

#[test]
fn it_is_written_on_a_change_only_and_bad_news_only_when_they_last() {
    let mut network = Network::default();
    assert_eq!(run(&mut network, 0, 100, good().as_ref()), words(&[(0, "false PetioleIsReady")]));
    assert_eq!(run(&mut network, 100, 109, bad().as_ref()), words(&[]));
    assert_eq!(run(&mut network, 109, 200, good().as_ref()), words(&[]), "a leaf restarted");
    assert_eq!(network.poll_timeout(true), None);
    let told = words(&[(210, "true NoUplink"), (215, "event NoUplink")]);
    assert_eq!(run(&mut network, 200, 300, bad().as_ref()), told);
    let other = condition(true, "NoAddresses");
    let told = words(&[(300, "true NoAddresses"), (305, "event NoAddresses")]);
    assert_eq!(run(&mut network, 300, 400, Some(&other)), told);
    assert_eq!(run(&mut network, 400, 450, None), words(&[]), "what nobody can judge changes nothing");
    let told = words(&[(450, "false PetioleIsReady"), (455, "event NetworkAvailable")]);
    assert_eq!(run(&mut network, 450, 500, good().as_ref()), told);
}

#[test]
fn a_condition_that_was_never_judged_is_never_written() {
    let mut network = Network::default();
    assert_eq!(run(&mut network, 0, 100, None), words(&[]));
}

#[test]
fn a_new_object_is_told_anew() {
    let mut network = Network::default();
    run(&mut network, 0, 10, good().as_ref());
    network.forget();
    assert_eq!(run(&mut network, 10, 20, good().as_ref()), words(&[(10, "false PetioleIsReady")]));
}

#[test]
fn an_api_that_is_away_is_told_afterwards_what_happened() {
    let mut network = Network::default();
    run(&mut network, 0, 10, good().as_ref());
    for second in 10..100 {
        network.judge(bad(), at(second), UnixNanos::default());
    }
    let told = words(&[(100, "event NoUplink"), (105, "event NetworkAvailable")]);
    assert_eq!(run(&mut network, 100, 200, good().as_ref()), told, "the condition is as it was");
}

#[test]
fn failed_writes_are_tried_ever_more_rarely_and_one_at_a_time() {
    let mut network = Network::default();
    network.judge(good(), at(0), UnixNanos::default());
    let mut tried = Vec::new();
    for second in 0..3600 {
        if network.poll(at(second)).is_some() {
            tried.push(second);
            assert_eq!(network.poll(at(second)), None, "one is under way");
            assert_eq!(network.poll_timeout(true), None);
            network.handle_written(Err(Away::Forbidden("u cannot patch".to_owned())), 0, at(second));
            let next = network.poll_timeout(true).unwrap();
            assert!(next >= at(second) + EVERY, "{next:?}");
            assert_eq!(network.poll_timeout(false), None, "nothing is due while there is nobody to tell");
        }
    }
    assert!((30..250).contains(&tried.len()), "{tried:?}");
    let problem = network.problem("worker1").unwrap();
    assert!(problem.contains("worker1 does not say how this node's network is"), "{problem}");
    assert!(problem.contains("(403): u cannot patch; give this account the rights"), "{problem}");
    assert_eq!(run(&mut network, 3600, 4000, good().as_ref()).len(), 1);
    assert_eq!(network.problem("worker1"), None);
}

#[test]
fn events_that_wait_are_not_many() {
    let mut network = Network::default();
    for turn in 0..100 {
        network.judge(bad(), at(turn * 20), UnixNanos::default());
        network.judge(bad(), at(turn * 20 + 10), UnixNanos::default());
        network.judge(good(), at(turn * 20 + 11), UnixNanos::default());
    }
    assert_eq!(network.notes.len(), MOST);
}

#[test]
fn the_patch_is_none_where_the_object_says_it_and_keeps_the_time_of_the_transition() {
    let now = "2026-11-23T14:00:00Z";
    let before = "2026-11-23T13:00:00Z";
    let of = |patch: Value| patch["status"]["conditions"][0].clone();
    let first = of(condition(false, "PetioleIsReady").patch(&[], now).unwrap());
    assert_eq!((&first["type"], &first["status"]), (&json!("NetworkUnavailable"), &json!("False")));
    assert_eq!(first["lastTransitionTime"], now);
    let kubelet =
        json!({ "type": "Ready", "status": "False", "reason": "PetioleIsReady", "lastTransitionTime": before });
    let found =
        [kubelet, json!({ "type": TYPE, "status": "True", "reason": "NoUplink", "lastTransitionTime": before })];
    assert_eq!(condition(true, "NoUplink").patch(&found, now), None);
    assert_eq!(of(condition(true, "NoAddresses").patch(&found, now).unwrap())["lastTransitionTime"], before);
    let over = of(condition(false, "PetioleIsReady").patch(&found, now).unwrap());
    assert_eq!((&over["status"], &over["lastTransitionTime"]), (&json!("False"), &json!(now)));
}
