use super::*;

const NODE: [u8; 4] = [10, 0, 0, 1];
const LEAF: [u8; 4] = [10, 0, 0, 0];

fn packet(from: [u8; 4], to: [u8; 4], sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let total = u16::try_from(40 + payload.len()).unwrap();
    let mut frame = vec![0; 12];
    frame.extend([0x08, 0x00, 0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0; 8]);
    frame.extend(from);
    frame.extend(to);
    frame.extend([0, 179, 0, 80]);
    frame.extend(sequence.to_be_bytes());
    frame.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    frame.extend(payload);
    // Short frames are padded to 60 octets.
    frame.resize(frame.len().max(60), 0);
    let length = u32::try_from(frame.len()).unwrap().to_ne_bytes();
    [&[0; 8][..], &length, &length, &frame].concat()
}

fn keepalive() -> Vec<u8> {
    [&[0xff; 16][..], &[0, 19, 4]].concat()
}

#[test]
fn messages_are_cut_from_segments_of_any_size_and_a_retransmission_counts_once() {
    let open = [&[0xff; 16][..], &[0, 29, 1], &[4, 0, 1, 0, 9, 1, 1, 1, 1, 0]].concat();
    let all = [open.clone(), keepalive()].concat();
    let file = [
        vec![0; 24],
        packet(NODE, LEAF, 7, 2, &[]),
        packet(NODE, LEAF, 8, 16, &all[..20]),
        packet(NODE, LEAF, 8, 16, &all[..20]),
        packet(LEAF, NODE, 100, 16, &keepalive()),
        packet(NODE, LEAF, 28, 16, &all[20..]),
    ]
    .concat();
    let found = cut(&file, |address| address == IpAddr::from(NODE));
    let wanted = [(Sender::Leaf, keepalive()), (Sender::Node, open), (Sender::Node, keepalive())];
    assert_eq!(found, wanted.map(|(sender, bytes)| Message { sender, bytes }));
}

#[test]
fn a_file_cut_short_gives_what_is_whole() {
    let file =
        [vec![0; 24], packet(NODE, LEAF, 1, 16, &keepalive()), packet(NODE, LEAF, 20, 16, &keepalive())].concat();
    for length in 0..file.len() {
        assert!(cut(&file[..length], |_| true).len() <= 1);
    }
    assert_eq!(cut(&file, |_| true).len(), 2);
}

#[test]
fn end_of_rib_is_known_in_both_families() {
    let update = |body: &[u8]| Message { sender: Sender::Leaf, bytes: [&[0xff; 16], &[0, 0, 2][..], body].concat() };
    assert_eq!(update(&[0, 0, 0, 0]).end_of_rib(), Some(1));
    assert_eq!(update(&[0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]).end_of_rib(), Some(2));
    assert_eq!(update(&[0, 0, 0, 7, 0x90, 15, 0, 3, 0, 2, 1]).end_of_rib(), Some(2));
    assert_eq!(update(&[0, 2, 8, 10, 0, 0]).end_of_rib(), None);
}
