use super::*;

#[test]
fn a_store_that_is_away_for_long_is_not_listed_when_it_is_back() {
    let mut store = Memory::new();
    put(&mut store, "/a/1", "x");
    for (reason, lists) in
        [(WatchEnd::Disconnected("nobody is there".into()), false), (WatchEnd::Cancelled("no".into()), true)]
    {
        let mut watch = watch();
        let mut id = serve(&mut watch, &store, Duration::ZERO)[0].0;
        let mut now = Duration::ZERO;
        let mut listed = false;
        while now < Duration::from_secs(120) {
            watch.handle_event(WatchEvent::Ended { id, reason: reason.clone() }, now);
            now = watch.poll_timeout().unwrap().0;
            watch.handle_timeout(now);
            let asked = actions(&mut watch);
            match asked[..] {
                [WatchAction::Watch { id: next, .. }] => id = next,
                [WatchAction::List { .. }] => {
                    listed = true;
                    break;
                }
                _ => panic!("{asked:?}"),
            }
        }
        assert_eq!(listed, lists, "{reason:?}");
    }
}

#[test]
fn a_list_after_a_compaction_does_not_keep_anybody_waiting() {
    let store = Memory::new();
    let mut watch = watch();
    let id = serve(&mut watch, &store, Duration::ZERO)[0].0;
    watch.hurry(Duration::ZERO);
    assert_eq!(actions(&mut watch), [], "nothing was put off");
    watch.handle_event(WatchEvent::Ended { id, reason: WatchEnd::Compacted { at: 4 } }, Duration::ZERO);
    assert_eq!(actions(&mut watch), []);
    watch.hurry(Duration::ZERO);
    let asked = actions(&mut watch);
    let [WatchAction::List { id, .. }] = asked[..] else { panic!("{asked:?}") };
    watch.handle_event(WatchEvent::ListFailed { id, error: "no leader".into() }, Duration::ZERO);
    watch.hurry(Duration::ZERO);
    assert_eq!(actions(&mut watch), [], "a failure is paced all the same");
}
