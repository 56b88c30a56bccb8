//! Communities, roles, and the policy that is built in.

use std::sync::Arc;

use super::*;
use crate::wire::{GRACEFUL_SHUTDOWN, OutCommunities, Role, code};

fn standard(values: &[u32]) -> OutCommunities {
    OutCommunities::new(values.iter().copied(), [], []).unwrap()
}

/// The set of blocks, each with communities of its own.
fn announce(script: &mut Script, with: &[(&str, &[u32])]) {
    let of = |(text, values): &(&str, &[u32])| {
        let originated = blocks(&[text]).remove(&prefix(text)).unwrap();
        (prefix(text), originated.with_communities(Arc::new(standard(values))))
    };
    script.originated = with.iter().map(of).collect();
    let set = script.originated.clone();
    script.with(|s, now| s.set_originated(set, now));
}

/// What each UPDATE announced since the actions were last cleared: its IPv4 prefixes, and its standard communities.
fn updates(script: &Script, conn: ConnId) -> Vec<(usize, Vec<u32>)> {
    let mut seen = Vec::new();
    for (kind, body) in script.sent(conn) {
        let attributes_len = usize::from(u16::from_be_bytes([body[2], body[3]]));
        if kind != MessageType::Update as u8 || attributes_len == 0 || body[..2] != [0, 0] {
            continue;
        }
        let (mut attributes, nlri) = body[4..].split_at(attributes_len);
        let mut communities = Vec::new();
        while let [_, kind, len, tail @ ..] = attributes {
            let (value, next) = tail.split_at(usize::from(*len));
            if *kind == code::COMMUNITIES {
                communities.extend(value.chunks(4).map(|c| u32::from_be_bytes([c[0], c[1], c[2], c[3]])));
            }
            attributes = next;
        }
        if !nlri.is_empty() {
            // All of these tests' prefixes are /26: five octets.
            seen.push((nlri.len() / 5, communities));
        }
    }
    seen
}

#[test]
fn rfc1997_announcements_carry_their_own_communities_and_those_of_the_neighbour() {
    let (mut script, conn) = Script::established(|c| c.communities = standard(&[7]), &usual_open());
    script.actions.clear();
    announce(&mut script, &[("10.1.0.0/26", &[]), ("10.1.0.64/26", &[5, 7]), ("10.1.0.128/26", &[])]);
    assert_eq!(updates(&script, conn), [(2, vec![7]), (1, vec![5, 7])]);
    // One of them changes: it alone is told again.
    script.actions.clear();
    announce(&mut script, &[("10.1.0.0/26", &[9]), ("10.1.0.64/26", &[5, 7]), ("10.1.0.128/26", &[])]);
    assert_eq!(updates(&script, conn), [(1, vec![7, 9])]);
    let view = script.speaker.routes_advertised(None)[0].sent.clone().unwrap();
    assert_eq!(view.communities.standard(), [7, 9]);
}

#[test]
fn rfc1997_other_communities_of_a_neighbour_are_told_on_the_session_that_there_is() {
    let (mut script, conn) = Script::established(|c| c.communities = standard(&[7]), &usual_open());
    script.originate(&["10.1.0.0/26"]);
    script.actions.clear();
    let peer = script.peer;
    let mut config = PeerConfig::new(ip(REMOTE), RemoteAsn::Is(65001));
    config.passive = true;
    config.communities = standard(&[8]);
    script.with(|s, now| s.set_peers([(peer, config)].into(), now));
    assert_eq!(updates(&script, conn), [(1, vec![8])]);
    assert_eq!(script.state(), SessionState::Established);
}

#[test]
fn rfc8326_4_1_a_drain_tells_everything_again_with_the_community_and_withdraws_nothing() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    announce(&mut script, &[("10.1.0.0/26", &[5]), ("10.1.0.64/26", &[])]);
    script.actions.clear();
    announce(&mut script, &[("10.1.0.0/26", &[5, GRACEFUL_SHUTDOWN]), ("10.1.0.64/26", &[GRACEFUL_SHUTDOWN])]);
    assert_eq!(updates(&script, conn), [(1, vec![5, 0xffff_0000]), (1, vec![0xffff_0000])]);
    assert!(!script.events.iter().any(|e| matches!(e, SpeakerEvent::Withdrawn { .. })));
}

#[test]
fn more_communities_than_a_message_takes_leave_room_for_prefixes() {
    let large = |from: u32| OutCommunities::new([], [], (from..from + 200).map(|n| [n, 0, 0])).unwrap();
    let both = large(0).and(&large(1000)).and(&standard(&[1]));
    assert_eq!((both.standard().len(), both.large().len()), (1, 249));
    assert_eq!(large(0).and(&OutCommunities::default()), large(0));
}

fn open_with(role: Option<Role>) -> Vec<u8> {
    let mut capabilities =
        vec![Capability::Unicast(Family::V4), Capability::Unicast(Family::V6), Capability::FourOctetAs(65001)];
    capabilities.extend(role.map(Capability::Role));
    open(65001, 9, &capabilities)
}

#[test]
fn rfc9234_4_2_roles_that_do_not_belong_together_are_a_mismatch() {
    use Role::{Customer, Peer, Provider, RouteServer, RouteServerClient};
    for (ours, strict, theirs, fits) in [
        (Some(Customer), false, Some(Provider), true),
        (Some(Customer), true, Some(Provider), true),
        (Some(RouteServerClient), true, Some(RouteServer), true),
        (Some(Customer), false, None, true),
        (Some(Customer), true, None, false),
        (Some(Customer), false, Some(Customer), false),
        (Some(Customer), false, Some(Peer), false),
        (Some(Customer), false, Some(RouteServer), false),
        (None, false, Some(Customer), true),
    ] {
        let mut script = Script::new(|c| {
            c.passive = true;
            (c.role, c.strict_role) = (ours, strict);
        });
        let conn = script.accept_from(ip(REMOTE));
        script.say(conn, &open_with(theirs));
        let expected = if fits { None } else { Some((2, 11)) };
        assert_eq!(script.notified(conn), expected, "{ours:?} {strict} {theirs:?}");
    }
}

#[test]
fn rfc9234_4_1_the_role_is_said_once_it_is_configured() {
    for role in [None, Some(Role::Customer)] {
        let mut script = Script::new(|c| {
            c.passive = true;
            c.role = role;
        });
        let conn = script.accept_from(ip(REMOTE));
        let open = Open::decode(&script.sent(conn)[0].1).unwrap();
        assert_eq!(open.capabilities.contains(&Capability::Role(Role::Customer)), role.is_some());
    }
}

#[test]
fn rfc9234_4_2_two_different_roles_are_a_mismatch() {
    let mut script = Script::new(|c| c.passive = true);
    let conn = script.accept_from(ip(REMOTE));
    let capabilities = [Capability::Role(Role::Provider), Capability::Role(Role::Peer), Capability::FourOctetAs(65001)];
    script.say(conn, &open(65001, 9, &capabilities));
    assert_eq!(script.notified(conn), Some((2, 11)));
}

#[test]
fn rfc9234_5_what_a_provider_sent_is_for_customers_only() {
    for (role, marked) in
        [(Some(Role::Customer), Some(65001)), (Some(Role::RouteServerClient), Some(65001)), (None, None)]
    {
        let theirs = open_with(role.map(Role::counterpart));
        let (mut script, conn) = Script::established(|c| c.role = role, &theirs);
        script.say(conn, &announcement(&[prefix("10.200.0.0/24")]));
        let path = &script.speaker.routes_received(None, None)[0];
        assert_eq!(path.attributes.only_to_customer, marked);
        assert!(path.reason.is_used());
        // With a value of their own, from further up.
        let mut bytes = announcement(&[prefix("10.201.0.0/24")]);
        let at = bytes.len() - 4;
        bytes.splice(at..at, [0xc0, 35, 4, 0, 0, 0xfd, 0xe7]);
        let (total, attributes) = (u16::try_from(bytes.len()).unwrap(), u16::from_be_bytes([bytes[21], bytes[22]]) + 7);
        bytes[16..18].copy_from_slice(&total.to_be_bytes());
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        script.say(conn, &bytes);
        let path = &script.speaker.routes_received(None, Some(prefix("10.201.0.0/24")))[0];
        assert_eq!(path.attributes.only_to_customer, Some(64999));
    }
}

#[test]
fn rfc8212_3_nothing_goes_out_but_what_the_node_owns_and_nothing_comes_in_unjudged() {
    let (mut script, conn) = Script::established(|_| {}, &usual_open());
    script.say(conn, &announcement(&[prefix("10.200.0.0/24"), prefix("127.0.0.0/8")]));
    // Out: nothing was learned that is told, and nothing else is ours.
    assert_eq!(updates(&script, conn), []);
    // In: every path has a verdict of the import policy or of the decision.
    let verdicts: Vec<_> = script.speaker.routes_received(None, None).iter().map(|p| p.reason).collect();
    assert_eq!(verdicts, [Reason::Best, Reason::RejectedMartianPrefix]);
}
