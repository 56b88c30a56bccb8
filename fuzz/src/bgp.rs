//! The codec of BGP: no bytes do harm, and what is read says the same once written.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use petiole_bgp::guard;
use petiole_bgp::wire::{
    Attributes, HEADER_LEN, MAX_EXTENDED_MESSAGE_LEN, MAX_MESSAGE_LEN, Notification, Open, Origin, OutAttributes,
    OutCommunities, RouteRefresh, Sections, Treatment, Update, UpdateContext, frame, split_message, withdraw,
};
use petiole_prefix::{Family, Prefix};

/// A stream cut into messages. The first octet: whether large messages are read.
pub fn framing(data: &[u8]) {
    let Some((extended, mut stream)) = data.split_first() else { return };
    let extended = extended & 1 != 0;
    let most = if extended { MAX_EXTENDED_MESSAGE_LEN } else { MAX_MESSAGE_LEN };
    while let Ok(Some(found)) = frame(stream, extended) {
        assert!((HEADER_LEN..=most).contains(&found.len));
        assert_eq!(found.body.len() + HEADER_LEN, found.len);
        // One octet less is not a whole message, whatever came before it.
        assert_eq!(frame(&stream[..found.len - 1], extended), Ok(None));
        assert_eq!(frame(&stream[..found.len], extended), Ok(Some(found)));
        let (kind, body, rest) = split_message(stream).expect("a frame is a message");
        assert_eq!((kind, body), (found.kind as u8, found.body));
        stream = rest;
    }
}

/// The body of an OPEN.
pub fn open(data: &[u8]) {
    let Ok(open) = Open::decode(data) else { return };
    for capability in &open.capabilities {
        assert!(!capability.to_string().chars().any(char::is_control));
    }
    let mut bytes = Vec::new();
    open.encode(&mut bytes);
    if bytes.len() > MAX_MESSAGE_LEN {
        // One that was near the limit, with everything in one parameter now.
        return;
    }
    let whole = frame(&bytes, false).expect("a good header").expect("a whole message");
    assert_eq!(Open::decode(whole.body).as_ref(), Ok(&open));
}

/// NOTIFICATION and ROUTE-REFRESH. The first octet says which.
pub fn notification(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let mut bytes = Vec::new();
    if which & 1 == 0 {
        let said = Notification::decode(body);
        assert!(!said.to_string().chars().any(|c| c.is_control()));
        let text = said.shutdown_communication();
        assert!(text.is_none_or(|t| t.len() <= 1024 && !t.chars().any(char::is_control)));
        said.encode(&mut bytes);
        assert!(bytes.len() <= MAX_MESSAGE_LEN);
        if body.len() >= 2 && body.len() <= MAX_MESSAGE_LEN - HEADER_LEN {
            let whole = frame(&bytes, false).expect("a good header").expect("a whole message");
            assert_eq!(Notification::decode(whole.body), said);
        }
    } else if let Ok(asked) = RouteRefresh::decode(body) {
        asked.encode(&mut bytes);
        assert_eq!(&bytes[HEADER_LEN..], body);
    }
}

/// The terms an UPDATE is read by, from one octet.
fn context(octet: u8) -> UpdateContext {
    let families = |v4: u8, v6: u8| {
        let chosen = [(Family::V4, v4), (Family::V6, v6)].into_iter().filter(|(_, bit)| octet & bit != 0);
        chosen.map(|(family, _)| family).collect()
    };
    UpdateContext {
        four_octet_as: octet & 1 != 0,
        families: families(2, 4),
        extended_next_hop: octet & 8 != 0,
        add_path: families(16, 32),
    }
}

/// The body of an UPDATE. The first octet: the terms, and with its highest bit that what follows is not a body but parts of
/// one: attributes as code, flags, length and value, so that the fuzzer works on values and not on lengths.
pub fn update(data: &[u8]) {
    let Some((head, rest)) = data.split_first() else { return };
    let ctx = context(*head);
    if head & 0x80 == 0 {
        return read(rest, &ctx);
    }
    let (mut attributes, mut rest) = (Vec::new(), rest);
    while let [code, flags, len, tail @ ..] = rest {
        if *code == 0 {
            rest = tail;
            break;
        }
        let (value, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        let [high, low] = u16::try_from(value.len()).unwrap_or(0).to_be_bytes();
        attributes.extend_from_slice(&[flags | 0x10, *code, high, low]);
        attributes.extend_from_slice(value);
        rest = tail;
    }
    let withdrawn = rest.split_off(..rest.len() / 2).unwrap_or_default();
    let mut body = Vec::new();
    for field in [withdrawn, &attributes] {
        body.extend_from_slice(&u16::try_from(field.len()).unwrap_or(0).to_be_bytes());
        body.extend_from_slice(field);
    }
    body.extend_from_slice(rest);
    read(&body, &ctx);
}

fn read(body: &[u8], ctx: &UpdateContext) {
    let Ok(sections) = Sections::split(body) else { return };
    let update = match Update::decode(&sections, ctx) {
        Ok(update) => update,
        Err(reset) => {
            assert!(reset.notification.data.len() <= body.len());
            return;
        }
    };
    // Not more faults than attributes, and the mandatory ones.
    assert!(update.faults.len() <= body.len() / 3 + 3);
    let announced: Vec<_> = [&update.announced, &update.mp_announced].into_iter().flatten().collect();
    for field in update.withdrawn.iter().flatten() {
        assert!(ctx.families.contains(&field.family()));
    }
    for one in &announced {
        let family = one.field.family();
        assert!(ctx.families.contains(&family));
        let next_hop = one.attributes.next_hop;
        assert!(next_hop.is_ipv6() == (family == Family::V6) || ctx.extended_next_hop);
        assert!(one.attributes.next_hop_link_local.is_none_or(|a| a.is_unicast_link_local()));
        assert!(one.attributes.as_path.hops() <= body.len());
        let _ = one.attributes.as_path.to_string();
        serde_json::to_string(&one.attributes).expect("attributes can be shown");
    }
    if update.faults.iter().any(|(treatment, _)| *treatment >= Treatment::Withdraw) {
        assert!(announced.is_empty());
    }
    // The guard, which reads messages its own way, sees every announcement too: nothing of ours would have passed.
    if !announced.is_empty() && ctx.add_path.is_empty() {
        assert!(guard::check(&message(body), &BTreeMap::new()).is_err());
    }
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend_from_slice(&u16::try_from(body.len() + HEADER_LEN).unwrap_or(u16::MAX).to_be_bytes());
    bytes.push(2);
    bytes.extend_from_slice(body);
    bytes
}

/// Numbers drawn from the fuzzer's bytes; zeros when they are used up.
pub struct Draw<'a>(pub &'a [u8]);

impl Draw<'_> {
    pub fn octet(&mut self) -> u8 {
        self.octets::<1>()[0]
    }

    pub fn octets<const N: usize>(&mut self) -> [u8; N] {
        let mut drawn = [0; N];
        let (head, tail) = self.0.split_at(N.min(self.0.len()));
        drawn[..head.len()].copy_from_slice(head);
        self.0 = tail;
        drawn
    }

    pub fn word(&mut self) -> u32 {
        u32::from_be_bytes(self.octets())
    }

    pub fn prefix(&mut self, family: Family) -> Prefix {
        let len = self.octet();
        let (addr, len): (IpAddr, u8) = match family {
            Family::V4 => (self.octets::<4>().into(), len % 33),
            Family::V6 => (self.octets::<16>().into(), len % 129),
        };
        Prefix::truncated(addr, len).expect("a length of the family")
    }
}

/// What we announce and withdraw, read by our own decoder: the same prefixes, the same attributes, within the limit.
pub fn announce(data: &[u8]) {
    let mut draw = Draw(data);
    let how = draw.octet();
    let family = if how & 1 == 0 { Family::V4 } else { Family::V6 };
    let over_v6 = family == Family::V6 || how & 2 != 0;
    let next_hop: IpAddr = if over_v6 { draw.octets::<16>().into() } else { draw.octets::<4>().into() };
    let alone = matches!(next_hop, IpAddr::V6(a) if a.is_unspecified() || a.is_unicast_link_local());
    let link_local = (over_v6 && !alone && how & 4 != 0)
        .then(|| Ipv6Addr::from_bits((0xfe80 << 112) | u128::from(u64::from_be_bytes(draw.octets()))));
    // Counts of communities in the hundreds make for extended lengths.
    let [standard, extended, large] = draw.octets::<3>().map(|n| usize::from(n) * 2);
    let from = draw.word();
    let numbers = |n: usize| (0..u32::try_from(n).unwrap_or(0)).map(move |i| from.wrapping_add(i * 7));
    let communities = OutCommunities::new(
        numbers(standard),
        numbers(extended).map(|n| (u64::from(n) << 20).to_be_bytes()),
        numbers(large).map(|n| [n, 1, n]),
    );
    let Ok(communities) = communities else { return };
    let asn = draw.word().max(1);
    let four_octet_as = how & 8 != 0;
    if !four_octet_as && asn == 23456 {
        return;
    }
    let max_message_len = if how & 16 != 0 { MAX_EXTENDED_MESSAGE_LEN } else { MAX_MESSAGE_LEN };
    let out = OutAttributes {
        four_octet_as,
        link_local,
        communities: communities.clone().into(),
        max_message_len,
        ..OutAttributes::new(asn, next_hop)
    };
    let mut prefixes = Vec::new();
    while !draw.0.is_empty() && prefixes.len() < 20_000 {
        let times = 1 + usize::from(draw.octet());
        prefixes.extend(std::iter::repeat_n(draw.prefix(family), times));
    }
    let ctx = UpdateContext {
        four_octet_as,
        families: Family::BOTH.into_iter().collect(),
        extended_next_hop: true,
        ..UpdateContext::default()
    };
    let mut left = &prefixes[..];
    while !left.is_empty() {
        let mut bytes = Vec::new();
        let taken = out.announce(left, &mut bytes);
        assert!(taken > 0 && bytes.len() <= max_message_len);
        let whole = frame(&bytes, true).expect("a good header").expect("a whole message");
        let update = Update::decode(&Sections::split(whole.body).expect("sections"), &ctx).expect("an UPDATE");
        assert_eq!(update.faults, []);
        let one = update.announced.or(update.mp_announced).expect("an announcement");
        let path = petiole_bgp::wire::AsPath::sequence(&[asn]);
        let expected = Attributes {
            next_hop_link_local: link_local,
            communities: communities.standard().into(),
            extended_communities: communities.extended().into(),
            large_communities: communities.large().into(),
            ..Attributes::new(Origin::Igp, path, next_hop)
        };
        assert_eq!(one.attributes, expected);
        assert_eq!((one.field.family(), one.field.count()), (family, taken));
        left = &left[taken..];
    }
    let mut left = &prefixes[..];
    while !left.is_empty() {
        let mut bytes = Vec::new();
        let taken = withdraw(family, left, &mut bytes);
        assert!(taken > 0 && bytes.len() <= MAX_MESSAGE_LEN);
        assert_eq!(guard::check(&bytes, &BTreeMap::new()), Ok(()), "a withdrawal claims nothing");
        left = &left[taken..];
    }
}
