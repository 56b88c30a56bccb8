use super::*;

#[test]
fn a_fleet_that_starts_together_asks_spread_over_the_interval() {
    let mut per_second = [0_u32; 15];
    for node in 0..1000 {
        let first = pause(node, 0, Duration::ZERO, IDLE);
        per_second[usize::try_from(first.as_secs()).unwrap()] += 1;
        let later = pause(node, 7, IDLE.mul_f32(0.8), IDLE.mul_f32(1.2));
        assert!((IDLE.mul_f32(0.79)..IDLE.mul_f32(1.21)).contains(&later), "{later:?}");
    }
    assert!(per_second.iter().all(|n| (30..110).contains(n)), "{per_second:?}");
}

#[tokio::test]
async fn an_alarm_is_told_once_and_its_end() {
    let (sender, mut inputs) = mpsc::channel(8);
    let alarms = Alarms::new(sender);
    alarms.report("m1", &[]).await;
    for member in ["m1", "m1"] {
        alarms.report(member, &["memberID:1 alarm:NOSPACE ".to_owned()]).await;
    }
    alarms.report("m1", &[]).await;
    drop(alarms);
    let mut told = Vec::new();
    while let Some(Input::Trouble { part, what }) = inputs.recv().await {
        assert_eq!(part, "etcd");
        told.push(what);
    }
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("etcdctl alarm disarm") && told[1].is_empty(), "{told:?}");
}
