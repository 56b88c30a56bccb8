use super::*;
use proptest::prelude::*;

fn settings(rise: u32, fall: u32) -> HealthSettings {
    HealthSettings {
        check: HealthCheck::Tcp("127.0.0.1:6443".parse().unwrap()),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        rise,
        fall,
    }
}

fn sick() -> Result<(), String> {
    Err("connection refused".to_owned())
}

#[test]
fn opens_after_rise_and_closes_with_the_last_of_fall() {
    let mut gate = Gate::new(settings(2, 3), Duration::ZERO);
    assert!(!gate.handle_result(Ok(())));
    assert!(gate.handle_result(Ok(())));
    assert_eq!(gate.verdict(), Verdict::Healthy);
    assert!(!gate.handle_result(sick()) && !gate.handle_result(sick()));
    assert!(!gate.handle_result(Ok(())), "one success starts the count of failures again");
    assert!(!gate.handle_result(sick()) && !gate.handle_result(sick()));
    assert!(gate.handle_result(sick()));
    assert_eq!(gate.verdict(), Verdict::Unhealthy);
    assert!(gate.words().contains("connection refused"));
}

#[test]
fn a_recorded_verdict_is_resumed_but_never_overrides_a_new_one() {
    let mut gate = Gate::new(settings(1, 1), Duration::ZERO);
    gate.resume(true);
    assert_eq!(gate.verdict(), Verdict::Healthy);
    assert!(gate.handle_result(sick()));
    gate.resume(true);
    assert_eq!(gate.verdict(), Verdict::Unhealthy);
}

#[test]
fn probes_start_every_interval_and_never_twice_at_once() {
    let mut gate = Gate::new(settings(1, 1), Duration::ZERO);
    let at = Duration::from_millis;
    assert!(gate.poll_probe(at(0)).is_some());
    assert!(gate.poll_probe(at(1500)).is_none() && gate.poll_timeout().is_none(), "one is under way");
    gate.handle_result(Ok(()));
    assert_eq!(gate.poll_timeout(), Some(at(1000)));
    assert!(gate.poll_probe(at(1500)).is_some());
    gate.handle_result(Ok(()));
    assert_eq!(gate.poll_timeout(), Some(at(2000)));
    // Far behind, as after a suspend: one probe now, the next an interval later.
    assert!(gate.poll_probe(at(60_000)).is_some());
    gate.handle_result(Ok(()));
    assert_eq!(gate.poll_timeout(), Some(at(61_000)));
}

proptest! {
    /// Against the definition, written the slow way over the whole history.
    #[test]
    fn the_verdict_follows_the_last_full_run(history in proptest::collection::vec(any::<bool>(), 0..60), rise in 1u32..5, fall in 1u32..5) {
        let mut gate = Gate::new(settings(rise, fall), Duration::ZERO);
        let mut expected = Verdict::Unknown;
        for end in 1..=history.len() {
            gate.handle_result(if history[end - 1] { Ok(()) } else { sick() });
            let run = history[..end].iter().rev().take_while(|ok| **ok == history[end - 1]).count();
            if history[end - 1] && run >= rise as usize { expected = Verdict::Healthy; }
            if !history[end - 1] && run >= fall as usize { expected = Verdict::Unhealthy; }
            prop_assert_eq!(gate.verdict(), expected);
        }
    }
}
