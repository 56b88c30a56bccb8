use super::*;

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
