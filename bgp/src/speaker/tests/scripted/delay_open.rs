//! DelayOpen (RFC 4271 section 8.1.1).

use super::*;
use crate::speaker::tests::world::World;

fn accepted() -> (Script, ConnId) {
    let mut script = Script::new(|c| {
        c.passive = true;
        c.delay_open = secs(5);
    });
    let conn = script.accept_from(ip(REMOTE));
    (script, conn)
}

fn kinds(script: &Script, conn: ConnId) -> Vec<u8> {
    script.sent(conn).into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn rfc4271_8_2_2_the_open_waits_for_the_timer() {
    let (mut script, conn) = accepted();
    assert_eq!(script.state(), SessionState::Connect);
    script.wait(millis(4990));
    assert_eq!(kinds(&script, conn), [0u8; 0]);
    script.wait(millis(20));
    assert_eq!(kinds(&script, conn), [1]);
    assert_eq!(script.state(), SessionState::OpenSent);
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    assert_eq!(script.state(), SessionState::Established);
}

#[test]
fn rfc4271_8_2_2_event_20_their_open_is_answered_at_once() {
    let (mut script, conn) = accepted();
    script.say(conn, &usual_open());
    assert_eq!(kinds(&script, conn), [1, 4]);
    assert_eq!(script.state(), SessionState::OpenConfirm);
    script.say(conn, &alive());
    assert_eq!(script.state(), SessionState::Established);
    script.wait(secs(6));
    assert_eq!(kinds(&script, conn).iter().filter(|k| **k == 1).count(), 1);
}

#[test]
fn rfc4271_8_2_2_anything_else_before_an_open_ends_the_connection() {
    let (mut script, conn) = accepted();
    script.say(conn, &alive());
    assert_eq!(script.notified(conn), Some((5, 0)));
    assert!(script.closed(conn));
}

#[test]
fn two_speakers_that_delay_end_with_one_session() {
    for seed in 0..200 {
        let mut world = World::pair(seed, |n, c| c.delay_open = secs(1 + (seed + n as u64) % 3));
        world.max_delay = millis(1 + seed % 400);
        assert!(world.establish(secs(60)), "seed {seed}: {:?} {:?}", world.view(0), world.view(1));
        world.run(secs(30));
        assert!(world.both_established(), "seed {seed} flapped");
    }
}
