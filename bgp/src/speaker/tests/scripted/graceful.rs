//! Graceful restart, our own: what OPENs say of it, under every history.

use super::*;
use crate::wire::GracefulRestart;

impl Script {
    /// Dials in as the neighbour, and returns what our OPEN says of restarts.
    fn restart_said(&mut self) -> (ConnId, GracefulRestart) {
        self.actions.clear();
        let conn = self.accept_from(ip(REMOTE));
        let (_, body) = self.sent(conn).into_iter().next().unwrap();
        let open = Open::decode(&body).unwrap();
        let said: Vec<_> = open
            .capabilities
            .into_iter()
            .filter_map(|c| if let Capability::GracefulRestart(restart) = c { Some(restart) } else { None })
            .collect();
        assert_eq!(said.len(), 1);
        (conn, said[0].clone())
    }

    fn ends(&mut self, conn: ConnId) {
        self.event(Event::Closed { conn, error: None });
    }
}

fn forwarding(said: &GracefulRestart) -> Vec<(u16, bool)> {
    said.families.iter().map(|f| (f.afi, f.forwarding)).collect()
}

const NOTHING_KEPT: [(u16, bool); 2] = [(1, false), (2, false)];
const ALL_KEPT: [(u16, bool); 2] = [(1, true), (2, true)];

#[test]
fn rfc4724_3_capability_carries_both_families_and_the_restart_time() {
    let mut script = Script::new(|c| c.passive = true);
    let (_, said) = script.restart_said();
    assert_eq!(said.restart_time, 120);
    assert_eq!(said.families.iter().map(|f| (f.afi, f.safi)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    let mut one = Script::new(|c| {
        c.passive = true;
        c.families.remove(&Family::V6);
        c.graceful_restart = Some(RestartPolicy { restart_time: secs(4095), ..RestartPolicy::default() });
    });
    let (_, said) = one.restart_said();
    assert_eq!((said.restart_time, forwarding(&said)), (4095, vec![(1, false)]));
}

#[test]
fn rfc4724_3_without_grace_only_end_of_rib_is_offered() {
    let mut script = Script::new(|c| {
        c.passive = true;
        c.graceful_restart = None;
    });
    script.with(|s, now| s.set_restart(Family::BOTH.into(), now));
    assert_eq!(script.restart_said().1, GracefulRestart::default());
}

#[test]
fn rfc4724_3_restart_times_that_do_not_fit_keep_the_neighbour_idle() {
    for time in [secs(0), secs(4096), millis(1500)] {
        let policy = RestartPolicy { restart_time: time, ..RestartPolicy::default() };
        let script = Script::new(|c| c.graceful_restart = Some(policy));
        assert!(script.view().state_reason.unwrap().contains("restart time"));
    }
}

#[test]
fn rfc8538_2_n_bit_is_set_in_every_life() {
    let mut fresh = Script::new(|c| c.passive = true);
    assert!(fresh.restart_said().1.notification);
    let mut again = Script::new(|c| c.passive = true);
    again.with(|s, now| s.set_restart(Family::BOTH.into(), now));
    assert!(again.restart_said().1.notification);
}

#[test]
fn rfc4724_4_1_a_fresh_start_has_neither_r_nor_f_until_it_has_told_everything() {
    let mut script = Script::new(|c| c.passive = true);
    script.with(|s, now| s.hold_end_of_rib(true, now));
    let (conn, said) = script.restart_said();
    assert_eq!((said.restarted, forwarding(&said)), (false, NOTHING_KEPT.to_vec()));
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    // Ended before End-of-RIB: what was told of is not all that there is.
    script.ends(conn);
    let (conn, said) = script.restart_said();
    assert_eq!((said.restarted, forwarding(&said)), (false, NOTHING_KEPT.to_vec()));
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    script.with(|s, now| s.hold_end_of_rib(false, now));
    // From now on the end of a session is no restart, and forwarding goes on.
    script.ends(conn);
    let (_, said) = script.restart_said();
    assert_eq!((said.restarted, forwarding(&said)), (false, ALL_KEPT.to_vec()));
}

#[test]
fn rfc4724_4_1_r_until_end_of_rib_was_sent_and_f_of_what_was_kept() {
    let mut script = Script::new(|c| c.passive = true);
    script.with(|s, now| s.set_restart([Family::V4].into(), now));
    script.with(|s, now| s.hold_end_of_rib(true, now));
    for _ in 0..2 {
        let (conn, said) = script.restart_said();
        assert_eq!((said.restarted, forwarding(&said)), (true, vec![(1, true), (2, false)]));
        script.say(conn, &usual_open());
        script.say(conn, &alive());
        script.ends(conn);
    }
    script.with(|s, now| s.hold_end_of_rib(false, now));
    let (conn, said) = script.restart_said();
    assert!(said.restarted);
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    script.ends(conn);
    let (_, said) = script.restart_said();
    assert_eq!((said.restarted, forwarding(&said)), (false, ALL_KEPT.to_vec()));
}

#[test]
fn rfc4724_4_1_r_is_over_with_the_restart_time_and_f_is_not() {
    let mut script = Script::new(|c| c.passive = true);
    script.with(|s, now| s.set_restart(Family::BOTH.into(), now));
    script.now = secs(119);
    assert!(script.restart_said().1.restarted);
    script.now = secs(120);
    let (_, said) = script.restart_said();
    assert_eq!((said.restarted, forwarding(&said)), (false, ALL_KEPT.to_vec()));
}

#[test]
fn the_view_shows_what_was_offered_then() {
    let mut script = Script::new(|c| c.passive = true);
    script.with(|s, now| s.set_restart(Family::BOTH.into(), now));
    let (conn, said) = script.restart_said();
    script.say(conn, &usual_open());
    script.say(conn, &alive());
    // End-of-RIB is sent by now; another OPEN would have no R.
    assert_eq!(script.view().session.unwrap().end_of_rib_sent, Family::BOTH);
    assert!(script.view().session.unwrap().capabilities_sent.contains(&Capability::GracefulRestart(said)));
}
