use proptest::prelude::*;

use super::*;

fn text(text: &str) -> ShutdownText {
    ShutdownText::new(text).unwrap()
}

/// Over the wire and back.
fn carried(notification: &Notification) -> Notification {
    let mut bytes = Vec::new();
    notification.encode(&mut bytes);
    Notification::decode(&bytes[crate::wire::HEADER_LEN..])
}

#[test]
fn rfc9003_2_a_text_goes_with_shutdown_and_reset_only() {
    for subcode in [CeaseSubcode::AdministrativeShutdown, CeaseSubcode::AdministrativeReset] {
        let n = carried(&Notification::cease(subcode).with_text(Some(&text("leaf upgrade, TICKET-7"))));
        assert_eq!(n.data[0], 22);
        assert_eq!(n.shutdown_communication().as_deref(), Some("leaf upgrade, TICKET-7"));
        assert!(n.to_string().ends_with("saying \"leaf upgrade, TICKET-7\""), "{n}");
    }
    let n = Notification::cease(CeaseSubcode::PeerDeconfigured).with_text(Some(&text("x")));
    assert!(n.data.is_empty());
    assert_eq!(Notification::cease(CeaseSubcode::AdministrativeShutdown).with_text(None).data, [0u8; 0]);
}

#[test]
fn rfc9003_2_the_longest_text_has_255_octets() {
    let longest = "\u{e9}".repeat(127) + "x";
    let n = carried(&Notification::cease(CeaseSubcode::AdministrativeShutdown).with_text(Some(&text(&longest))));
    assert_eq!(n.shutdown_communication(), Some(longest.clone()));
    assert_eq!(ShutdownText::new(longest + "y"), Err(ShutdownTextTooLong { octets: 256 }));
    assert!(ShutdownText::try_from("z".repeat(256)).is_err());
}

#[test]
fn rfc9003_4_a_malformed_text_is_shown_in_hexadecimal() {
    let shutdown = |data: &[u8]| Notification::cease(CeaseSubcode::AdministrativeShutdown).with_data(data);
    for (data, shown) in [
        (&[2, 0xff, 0x41][..], Some("(malformed text) ff 41")),
        (&[9, 0x41], Some("(malformed text) 41")),
        (&[1, 0x07], Some(" ")),
        (&[0], None),
        (&[], None),
    ] {
        assert_eq!(shutdown(data).shutdown_communication().as_deref(), shown, "{data:?}");
    }
}

#[test]
fn rfc8538_3_1_a_hard_reset_carries_the_notification_it_stands_for() {
    let inside = Notification::cease(CeaseSubcode::AdministrativeShutdown).with_text(Some(&text("bye")));
    let hard = carried(&inside.clone().into_hard_reset());
    assert_eq!((hard.code, hard.subcode), (6, 9));
    assert_eq!(hard.inside_hard_reset(), Some(inside.clone()));
    assert_eq!(hard.shutdown_communication().as_deref(), Some("bye"));
    assert_eq!(
        hard.to_string(),
        "cease: hard reset (6/9) carrying cease: administrative shutdown (6/2), saying \"bye\""
    );
    assert_eq!(inside.inside_hard_reset(), None);
    assert_eq!(Notification::cease(CeaseSubcode::HardReset).inside_hard_reset(), None);
}

#[test]
fn rfc4486_4_too_many_prefixes_names_family_and_limit() {
    let n = Notification::max_prefixes(Family::V6, 0x0102_0304);
    assert_eq!((n.code, n.subcode), (6, 1));
    assert_eq!(n.data, [0, 2, 1, 1, 2, 3, 4]);
}

proptest! {
    #[test]
    fn any_body_reads_and_prints(body in prop::collection::vec(any::<u8>(), 0..600)) {
        let n = Notification::decode(&body);
        let shown = n.to_string();
        prop_assert!(!shown.chars().any(char::is_control));
    }
}
