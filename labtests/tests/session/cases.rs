//! Malformed messages, and what each does to its session. The attributes of an UPDATE are built around one bad part.

use petiole_labtests::leaf::{attribute, message, update};

use petiole_labtests::arena::{address, asn};

/// What becomes of an UPDATE that keeps its session (RFC 7606 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kept {
    /// Its route is used as if nothing were wrong.
    Route,
    /// Its prefix goes.
    Withdrawn,
}

/// A prefix as an UPDATE has it: 10.200.N.0/24.
pub(crate) fn field(n: u8) -> Vec<u8> {
    vec![24, 10, 200, n]
}

pub(crate) fn origin() -> Vec<u8> {
    attribute(0x40, 1, &[0])
}

pub(crate) fn as_path(leaf: usize) -> Vec<u8> {
    let mut value = vec![2, 1];
    value.extend(asn(leaf).to_be_bytes());
    attribute(0x40, 2, &value)
}

pub(crate) fn next_hop(leaf: usize) -> Vec<u8> {
    attribute(0x40, 3, &address(leaf).octets())
}

/// A good announcement.
pub(crate) fn announce(leaf: usize, prefixes: &[u8]) -> Vec<u8> {
    update(&[], &[origin(), as_path(leaf), next_hop(leaf)].concat(), prefixes)
}

fn with(leaf: usize, extra: &[u8]) -> Vec<u8> {
    [origin(), as_path(leaf), next_hop(leaf), extra.to_vec()].concat()
}

/// Attributes that do not end a session, by RFC and section.
pub(crate) fn survived(leaf: usize) -> Vec<(&'static str, Vec<u8>, Kept)> {
    use Kept::{Route, Withdrawn};
    let path = |value: &[u8]| [origin(), attribute(0x40, 2, value), next_hop(leaf)].concat();
    let asn = asn(leaf).to_be_bytes();
    let own = |count: u8, more: &[u8]| [&[2, count][..], &asn, more].concat();
    let many: Vec<u8> = (0..253).flat_map(|_| asn).collect();
    let extra = |bytes: &[u8]| with(leaf, bytes);
    vec![
        (
            "7606 s7.1 ORIGIN of two octets",
            [attribute(0x40, 1, &[0, 0]), as_path(leaf), next_hop(leaf)].concat(),
            Withdrawn,
        ),
        ("7606 s7.1 ORIGIN 3", [attribute(0x40, 1, &[3]), as_path(leaf), next_hop(leaf)].concat(), Withdrawn),
        ("7606 s3c ORIGIN optional", [attribute(0xc0, 1, &[0]), as_path(leaf), next_hop(leaf)].concat(), Withdrawn),
        ("7606 s7.2 AS_PATH segment type 9", path(&[&[9, 1][..], &asn].concat()), Withdrawn),
        ("7606 s7.2 AS_PATH segment of none", path(&[2, 0]), Withdrawn),
        ("7606 s7.2 AS_PATH overrun", path(&own(2, &[])), Withdrawn),
        ("7606 s7.2 AS_PATH one octet left", path(&own(1, &[2])), Withdrawn),
        ("7607 s2 AS 0 in AS_PATH", path(&own(2, &[0; 4])), Withdrawn),
        ("5065 s5 confederation segment", path(&[&own(1, &[])[..], &[3, 1], &asn].concat()), Withdrawn),
        ("SuproNet: 253 prepends", path(&[&[2, 253][..], &many].concat()), Route),
        ("7606 s7.3 NEXT_HOP of three", [origin(), as_path(leaf), attribute(0x40, 3, &[10, 0, 0])].concat(), Withdrawn),
        ("7606 s7.3 NEXT_HOP of five", [origin(), as_path(leaf), attribute(0x40, 3, &[10; 5])].concat(), Withdrawn),
        (
            "4271 s6.3 NEXT_HOP 127.0.0.1",
            [origin(), as_path(leaf), attribute(0x40, 3, &[127, 0, 0, 1])].concat(),
            Withdrawn,
        ),
        ("7606 s7.4 MED of three", extra(&attribute(0x80, 4, &[0; 3])), Withdrawn),
        ("7606 s7.5 LOCAL_PREF from outside", extra(&attribute(0x40, 5, &[0, 0, 0, 100])), Route),
        ("7606 s7.6 ATOMIC_AGGREGATE of one", extra(&attribute(0x40, 6, &[0])), Route),
        ("7606 s7.7 AGGREGATOR of seven", extra(&attribute(0xc0, 7, &[1; 7])), Route),
        ("7607 s2 AGGREGATOR AS 0", extra(&attribute(0xc0, 7, &[0, 0, 0, 0, 10, 0, 0, 1])), Route),
        ("7606 s7.8 COMMUNITY of none", extra(&attribute(0xc0, 8, &[])), Withdrawn),
        ("7606 s7.8 COMMUNITY of three", extra(&attribute(0xc0, 8, &[1; 3])), Withdrawn),
        ("7606 s7.9 ORIGINATOR_ID from outside", extra(&attribute(0x80, 9, &[1; 4])), Route),
        ("7606 s7.10 CLUSTER_LIST from outside", extra(&attribute(0x80, 10, &[1; 4])), Route),
        ("7606 s7.14 extended community of seven", extra(&attribute(0xc0, 16, &[1; 7])), Withdrawn),
        ("7606 s7.15 IPv6 extended community of 19", extra(&attribute(0xc0, 25, &[1; 19])), Withdrawn),
        ("8092 s5 large community of eleven", extra(&attribute(0xc0, 32, &[1; 11])), Withdrawn),
        ("9234 s5 OTC of three", extra(&attribute(0xc0, 35, &[1; 3])), Withdrawn),
        ("6793 s6 AS4_PATH from a new speaker", extra(&attribute(0xc0, 17, &[2, 1, 0, 0, 0, 1])), Route),
        ("7606 s3g MED twice", extra(&[attribute(0x80, 4, &[0; 4]), attribute(0x80, 4, &[9; 4])].concat()), Route),
        ("7606 s3d no ORIGIN", [as_path(leaf), next_hop(leaf)].concat(), Withdrawn),
        ("7606 s3d no AS_PATH", [origin(), next_hop(leaf)].concat(), Withdrawn),
        ("7606 s3d no NEXT_HOP", [origin(), as_path(leaf)].concat(), Withdrawn),
        ("7606 s4 last attribute past the end", extra(&[0xc0, 8, 40, 1, 2]), Withdrawn),
        ("7606 s4 one octet left", extra(&[0xc0]), Withdrawn),
        ("7311 AIGP of one", extra(&attribute(0x80, 26, &[1])), Route),
        ("8669 Prefix-SID of zeroes (2025-05-20)", extra(&attribute(0xc0, 40, &[0; 10])), Route),
        ("9552 BGP-LS of one", extra(&attribute(0x80, 29, &[1])), Route),
        ("attribute 23 corrupt (2023-38802)", extra(&attribute(0xc0, 23, &[0, 8, 0, 255])), Route),
        ("attribute 28 (2023-06-02)", extra(&attribute(0xc0, 28, &[0; 3])), Route),
        ("attribute 99 of 3,000 (2010-08)", extra(&attribute(0xc0, 99, &[7; 3000])), Route),
        ("attribute 255 (2019-01)", extra(&attribute(0xc0, 255, &[0; 9])), Route),
        ("unknown, not transitive", extra(&attribute(0x80, 254, &[1, 2])), Route),
        ("no attributes but an unknown one (2023-46753)", attribute(0xc0, 254, &[1, 2]), Withdrawn),
    ]
}

/// Messages that end their session, with the NOTIFICATION that answers: code and subcode.
pub(crate) fn fatal(leaf: usize) -> Vec<(&'static str, Vec<u8>, (u8, u8))> {
    let good = || [origin(), as_path(leaf), next_hop(leaf)].concat();
    let raw = |withdrawn: u16, attributes: u16, rest: &[u8]| {
        let mut body = withdrawn.to_be_bytes().to_vec();
        body.extend(attributes.to_be_bytes());
        body.extend(rest);
        message(2, &body)
    };
    let mp = |value: &[u8]| [attribute(0x90, 14, value), origin(), as_path(leaf)].concat();
    let reach = |next_hop: u8| {
        let mut value = vec![0, 2, 1, next_hop];
        value.extend(vec![0xfd; usize::from(next_hop)]);
        value.extend([0, 64, 0xfd, 0, 0, 0, 0, 0, 0, 1]);
        value
    };
    let mut marker = message(4, &[]);
    marker[3] = 0;
    let length = |n: u16, kind: u8| {
        let mut bytes = message(kind, &[]);
        bytes[16..18].copy_from_slice(&n.to_be_bytes());
        bytes
    };
    let twice = [attribute(0x90, 14, &reach(16)), attribute(0x90, 14, &reach(16)), origin(), as_path(leaf)].concat();
    vec![
        ("4271 s6.1 marker", marker, (1, 1)),
        ("4271 s6.1 length 18", length(18, 4), (1, 2)),
        ("4271 s6.1 KEEPALIVE of 20", length(20, 4), (1, 2)),
        ("4271 s6.1 type 9", message(9, &[]), (1, 3)),
        ("4271 s6.3 withdrawn length past the end", raw(60_000, 0, &[]), (3, 1)),
        ("4271 s6.3 attribute length past the end", raw(0, 60_000, &[1, 2, 3]), (3, 1)),
        ("7606 s5.3 prefix length 33", update(&[], &good(), &[33, 10, 0, 0, 0, 0]), (3, 10)),
        ("7606 s5.3 prefix cut short", update(&[], &good(), &[24, 10, 0]), (3, 10)),
        ("7606 s5.3 withdrawn prefix length 33", update(&[33, 10, 0, 0, 0, 0], &[], &[]), (3, 10)),
        ("7606 s7.11 MP_REACH next hop of 5", update(&[], &mp(&reach(5)), &[]), (3, 9)),
        ("7606 s3g MP_REACH twice", update(&[], &twice, &[]), (3, 1)),
        ("7606 s5.3 MP_UNREACH prefix length 129", update(&[], &attribute(0x90, 15, &[0, 2, 1, 129, 0]), &[]), (3, 9)),
        (
            "4271 s6.3 unknown well-known attribute",
            update(&[], &with(leaf, &attribute(0x40, 200, &[1])), &field(1)),
            (3, 2),
        ),
        ("6608 OPEN in Established", message(1, &[4, 0, 1, 0, 9, 10, 0, 0, 1, 0]), (5, 3)),
    ]
}

/// OPENs that are refused, with the NOTIFICATION that answers; the last octets are the optional parameters' length and they.
pub(crate) fn opens() -> Vec<(&'static str, Vec<u8>, (u8, u8))> {
    let open = |version: u8, asn: u16, hold: u16, id: u8, rest: &[u8]| {
        let mut body = vec![version];
        body.extend(asn.to_be_bytes());
        body.extend(hold.to_be_bytes());
        body.extend([id, 0, 0, id]);
        body.extend(rest);
        message(1, &body)
    };
    vec![
        ("4271 s6.2 version 3", open(3, 65001, 9, 10, &[0]), (2, 1)),
        ("4271 s6.2 another AS", open(4, 64_999, 9, 10, &[0]), (2, 2)),
        ("6286 s2.2 identifier 0", open(4, 65001, 9, 0, &[0]), (2, 3)),
        ("4271 s6.2 hold time 1", open(4, 65001, 1, 10, &[0]), (2, 6)),
        ("4271 s6.2 optional parameter 77", open(4, 65001, 9, 10, &[4, 77, 2, 0, 0]), (2, 4)),
        ("2022-43681 nothing after an extended length", open(4, 65001, 9, 10, &[255]), (2, 0)),
        ("2022-40302 parameters past the end", open(4, 65001, 9, 10, &[255, 255, 0, 200, 2]), (2, 0)),
        ("2022-36440 four-octet AS cut short", open(4, 65001, 9, 10, &[5, 2, 3, 65, 4, 0]), (2, 0)),
    ]
}
