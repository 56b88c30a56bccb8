//! What other daemons sent, as recorded: every file of `bgp/testdata`, message by message.

use super::*;

macro_rules! recorded {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../testdata/", $name)))
    };
}

const FILES: &[(&str, &str)] = &[
    recorded!("bird-2.0.12.hex"),
    recorded!("exabgp-4.2.21.hex"),
    recorded!("exabgp-5.0.15.hex"),
    recorded!("frr-8.4.4-leaf.hex"),
    recorded!("frr-8.4.4.hex"),
    recorded!("gobgp-3.10.0.hex"),
    recorded!("gobgp-4.8.0.hex"),
    recorded!("openbgpd-7.7.hex"),
];

fn messages(text: &str) -> Vec<Vec<u8>> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    let octets = |l: &str| (0..l.len()).step_by(2).map(|i| u8::from_str_radix(&l[i..i + 2], 16).unwrap()).collect();
    lines.map(octets).collect()
}

/// How the UPDATEs after an OPEN are read, by a peer that offers all it can itself.
fn context_of(open: &Open) -> UpdateContext {
    let said = |wanted: fn(&Capability) -> bool| open.capabilities.iter().any(wanted);
    UpdateContext {
        four_octet_as: said(|c| matches!(c, Capability::FourOctetAs(_))),
        extended_next_hop: true,
        ..context()
    }
}

#[test]
fn every_recorded_message_is_read_without_a_fault() {
    for (name, text) in FILES {
        let mut context = context();
        let (mut opens, mut routes, mut ends) = (0, 0, 0);
        for (line, message) in (1..).zip(messages(text)) {
            let at = format!("{name}, message {line}");
            let frame = frame(&message, true).unwrap().unwrap();
            assert_eq!(frame.len, message.len(), "{at}");
            match frame.kind {
                MessageType::Open => {
                    let open = Open::decode(frame.body).unwrap_or_else(|error| panic!("{at}: {error:?}"));
                    assert_eq!(open.asn, 65001, "{at}");
                    context = context_of(&open);
                    opens += 1;
                }
                MessageType::Update => {
                    let update = Update::decode(&Sections::split(frame.body).unwrap(), &context).unwrap();
                    assert!(update.faults.is_empty(), "{at}: {:?}", update.faults);
                    let announced = [&update.announced, &update.mp_announced].into_iter().flatten();
                    let announced: usize = announced.map(|a| prefixes(&a.field).len()).sum();
                    let withdrawn: usize = update.withdrawn.iter().flatten().map(|f| prefixes(f).len()).sum();
                    assert!(announced + withdrawn > 0 || update.end_of_rib.is_some(), "{at} says nothing");
                    routes += announced;
                    ends += usize::from(update.end_of_rib.is_some());
                }
                MessageType::RouteRefresh => {
                    assert!(RouteRefresh::decode(frame.body).unwrap().family().is_some(), "{at}");
                }
                MessageType::Notification => assert!(!Notification::decode(frame.body).to_string().is_empty(), "{at}"),
                MessageType::Keepalive => {}
            }
        }
        assert!(opens > 0 && routes > 0 && ends > 0, "{name}: {opens} OPENs, {routes} routes, {ends} End-of-RIB");
    }
}
