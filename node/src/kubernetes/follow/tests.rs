use super::*;

const SPREADS: [u64; 5] = [0, 1, 1023, u64::MAX, 0x1234_5678_9abc_def0];

#[test]
fn pauses_grow_to_half_a_minute_and_differ_between_nodes() {
    for failures in 0..100 {
        for spread in SPREADS {
            let whole = Duration::from_secs(1 << failures.min(5)).min(LAST_PAUSE);
            let pause = pause(failures, spread);
            assert!(pause >= whole / 2 && pause < whole, "{failures} {spread}: {pause:?}");
        }
    }
    assert_ne!(pause(3, 0x9e37_79b9_7f4a_7c15), pause(3, 0xc2b2_ae3d_27d4_eb4f));
}

#[test]
fn a_watch_goes_on_where_it_was_whatever_failed() {
    for spread in SPREADS {
        let mut follow = Follow::new(spread);
        assert_eq!(follow.next(), (Duration::ZERO, Ask::List));
        follow.seen("100");
        assert_eq!(follow.next(), (Duration::ZERO, Ask::Watch("100".to_owned())));
        follow.seen("107");
        for _ in 0..50 {
            follow.failed();
            assert_eq!(follow.next().1, Ask::Watch("107".to_owned()));
            follow.ended();
            assert!(follow.next().0 <= AGAIN);
            assert_eq!(follow.next().1, Ask::Watch("107".to_owned()));
        }
    }
}

#[test]
fn only_a_version_that_is_gone_leads_to_a_list_and_not_on_all_nodes_at_once() {
    let mut delays: Vec<Duration> = (0..1000_u64)
        .map(|node| {
            let mut follow = Follow::new(node.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            follow.seen("5");
            follow.gone();
            let (delay, ask) = follow.next();
            assert_eq!(ask, Ask::List);
            assert!(delay <= RELIST_SPREAD);
            delay
        })
        .collect();
    delays.sort();
    let most = (0..30).map(|s| delays.iter().filter(|d| d.as_secs() == s).count()).max().unwrap();
    assert!(most < 80, "{most} of 1000 nodes within one second");
}

#[test]
fn a_version_that_means_any_is_no_place_to_go_on_from() {
    let mut follow = Follow::new(7);
    follow.seen("");
    follow.seen("0");
    assert_eq!(follow.next().1, Ask::List);
}
