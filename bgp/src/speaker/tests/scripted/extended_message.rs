//! Messages of up to 65,535 octets (RFC 8654).

use super::*;
use crate::wire::{MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN};

fn open_with(more: &[Capability]) -> Vec<u8> {
    let plain = [Capability::Unicast(Family::V4), Capability::FourOctetAs(65001)];
    open(65001, 9, &[&plain, more].concat())
}

/// Prefixes enough for more than one message of any size.
fn many() -> Vec<Prefix> {
    (0..20_000u32).map(|n| Prefix::new(Ipv4Addr::from_bits(0x0a80_0000 + n * 64).into(), 26).unwrap()).collect()
}

fn large_announcement() -> Vec<u8> {
    let out = OutAttributes { max_message_len: MAX_EXTENDED_MESSAGE_LEN, ..OutAttributes::new(65001, ip(REMOTE)) };
    let mut bytes = Vec::new();
    out.announce(&many(), &mut bytes);
    assert!(bytes.len() > MAX_EXTENDED_MESSAGE_LEN - 5);
    bytes
}

/// A message of this type and length, body zero.
fn of_length(kind: MessageType, len: u16) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.push(kind as u8);
    bytes.resize(len.into(), 0);
    bytes
}

#[test]
fn rfc8654_4_large_messages_are_read_from_everybody_since_we_offer_it() {
    for theirs in [&[][..], &[Capability::ExtendedMessage]] {
        let (mut script, conn) = Script::established(|_| {}, &open_with(theirs));
        // In pieces, as TCP brings them.
        for piece in large_announcement().chunks(1460) {
            script.say(conn, piece);
        }
        script.wait(secs(1));
        assert_eq!(script.state(), SessionState::Established, "{:?}", script.events.last());
        assert!(script.view().session.unwrap().prefixes_received > 13_000);
    }
}

#[test]
fn rfc8654_4_large_messages_are_sent_only_to_who_offered_to_read_them() {
    for (theirs, most) in [(&[][..], MAX_MESSAGE_LEN), (&[Capability::ExtendedMessage], MAX_EXTENDED_MESSAGE_LEN)] {
        let (mut script, conn) = Script::established(|_| {}, &open_with(theirs));
        assert_eq!(script.view().session.unwrap().max_message_out, most);
        let set: Vec<String> = many().iter().map(ToString::to_string).collect();
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        script.originate(&set);
        let lengths: Vec<usize> = script.sent(conn).iter().map(|(_, body)| body.len() + wire::HEADER_LEN).collect();
        let largest = lengths.iter().copied().max().unwrap();
        assert!(largest <= most && largest > most - 5, "{largest} octets to a neighbour that reads {most}");
    }
}

#[test]
fn rfc8654_4_open_and_keepalive_stay_small() {
    for kind in [MessageType::Open, MessageType::Keepalive] {
        let (mut script, conn) = Script::established(|_| {}, &open_with(&[Capability::ExtendedMessage]));
        script.say(conn, &of_length(kind, 5000));
        let refused = script.view().last_notification_sent.unwrap();
        assert_eq!((refused.code, refused.subcode, refused.data), (1, 2, 5000u16.to_be_bytes().to_vec()));
    }
}

#[test]
fn rfc8654_4_other_messages_may_be_large() {
    let (mut script, conn) = Script::established(|_| {}, &open_with(&[Capability::ExtendedMessage]));
    let mut said = of_length(MessageType::Notification, 65535);
    said[19] = 6;
    script.say(conn, &said);
    let heard = script.view().last_notification_received.unwrap();
    assert_eq!((heard.code, heard.data.len()), (6, 65535 - 21));
    // RFC 7313 section 5 has an error of its own for the length.
    let (mut script, conn) = Script::established(|_| {}, &open_with(&[Capability::ExtendedMessage]));
    script.say(conn, &of_length(MessageType::RouteRefresh, 5000));
    let refused = script.view().last_notification_sent.unwrap();
    assert_eq!((refused.code, refused.subcode), (7, 1));
    // What we say of it goes to any neighbour, and so stays small.
    assert!(script.sent(conn).iter().all(|(_, body)| body.len() <= MAX_MESSAGE_LEN - wire::HEADER_LEN));
}
