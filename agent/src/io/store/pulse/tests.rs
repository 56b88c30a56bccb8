use std::sync::Arc;

use super::*;

const USUAL: Duration = Duration::from_millis(40);

#[test]
fn patience_grows_with_silence_and_comes_back_with_answers() {
    let strain = Strain::new(7);
    let usual = Duration::from_secs(1);
    let is = |times: u32| (usual * times..=usual * times * 5 / 4).contains(&strain.patience(usual));
    assert!(is(1));
    for wanted in [2, 4, 8, 8] {
        strain.grow();
        assert!(is(wanted), "{:?}", strain.patience(usual));
    }
    for wanted in [4, 2, 1, 1] {
        strain.ease();
        assert!(is(wanted), "{:?}", strain.patience(usual));
    }
    let all: std::collections::BTreeSet<Duration> = (0..100).map(|n| Strain::new(n).patience(usual)).collect();
    assert!(all.len() > 50, "nodes lose patience together: {all:?}");
}

#[tokio::test]
async fn a_member_that_tells_other_things_is_not_silent() {
    let pulse = Arc::new(Pulse::new(1, USUAL));
    let (begun, never) = (Instant::now(), std::future::pending::<()>);
    assert_eq!(pulse.unless_silent(never(), USUAL).await, None);
    assert!(begun.elapsed() >= USUAL);

    let other = Arc::clone(&pulse);
    let talk = tokio::spawn(async move {
        loop {
            tokio::time::sleep(USUAL / 20).await;
            other.heard();
        }
    });
    let slow = tokio::time::sleep(USUAL * 10);
    assert!(pulse.unless_silent(slow, USUAL).await.is_some(), "slow, but alive");
    talk.abort();
}

#[tokio::test]
async fn an_answer_that_never_comes_is_not_waited_for_forever() {
    let pulse = Arc::new(Pulse::new(1, USUAL));
    let other = Arc::clone(&pulse);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(USUAL / 10).await;
            other.heard();
        }
    });
    let begun = Instant::now();
    assert_eq!(pulse.unless_silent(std::future::pending::<()>(), USUAL).await, None);
    assert!(begun.elapsed() >= USUAL * AT_MOST);
}

#[tokio::test]
async fn a_new_leader_is_noticed_and_the_same_is_not() {
    let pulse = Pulse::new(4, USUAL);
    let another = pulse.another_term();
    pulse.learn_term(4);
    let mut another = pin!(another);
    assert!(tokio::time::timeout(USUAL, &mut another).await.is_err());
    pulse.learn_term(5);
    assert!(tokio::time::timeout(USUAL, another).await.is_ok());
}

#[tokio::test]
async fn an_answer_that_is_late_raises_doubt_and_is_waited_for() {
    let pulse = Pulse::new(1, USUAL);
    let doubted = async {
        pulse.doubted().await;
        Ok::<_, ()>(())
    };
    assert_eq!(pulse.answer(doubted).await, Ok(()), "the doubt is the answer");
}

#[tokio::test]
async fn what_is_unusually_long_follows_the_answers() {
    let pulse = Pulse::new(1, Duration::from_secs(5));
    assert_eq!(pulse.unusually_long(), Duration::from_secs(20));
    assert_eq!(Pulse::new(1, Duration::from_secs(3600)).unusually_long(), UNUSUAL.1);
    pulse.answer(std::future::ready(Err::<(), _>(()))).await.unwrap_err();
    assert_eq!(pulse.unusually_long(), Duration::from_secs(20), "a failure says nothing");
    for wanted in [10, 8, 8] {
        pulse.answer(std::future::ready(Ok::<_, ()>(()))).await.unwrap();
        assert_eq!(pulse.unusually_long(), Duration::from_secs(wanted));
    }
}
