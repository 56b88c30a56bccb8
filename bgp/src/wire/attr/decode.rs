//! Reading path attributes: RFC 4271 section 6.3 as revised by RFC 7606.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use petiole_prefix::Family;

use super::as_path::AsPathBuilder;
use super::{Aggregator, AsPath, Attributes, Origin, SegmentKind, UnknownAttribute};
use crate::wire::error::{Fault, Treatment, UpdateFault};
use crate::wire::iana::{AS_TRANS, Afi, Safi, code};
use crate::wire::update::{NlriField, Reset, UpdateContext};

const OPTIONAL: u8 = 0x80;
const TRANSITIVE: u8 = 0x40;
const PARTIAL: u8 = 0x20;
const EXTENDED_LENGTH: u8 = 0x10;

/// Next hop of an MP_REACH_NLRI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::wire) struct MpNextHop {
    pub(in crate::wire) global: IpAddr,
    pub(in crate::wire) link_local: Option<Ipv6Addr>,
}

/// What the path attributes of one UPDATE hold.
#[derive(Default)]
pub(in crate::wire) struct Scan<'a> {
    origin: Option<Origin>,
    as_path: Option<AsPath>,
    as4_path: Option<AsPath>,
    pub(in crate::wire) next_hop: Option<Ipv4Addr>,
    med: Option<u32>,
    atomic_aggregate: bool,
    aggregator: Option<Aggregator>,
    as4_aggregator: Option<Aggregator>,
    communities: Vec<u32>,
    extended_communities: Vec<[u8; 8]>,
    ipv6_extended_communities: Vec<[u8; 20]>,
    large_communities: Vec<[u32; 3]>,
    only_to_customer: Option<u32>,
    unknown: Vec<UnknownAttribute>,
    pub(in crate::wire) mp_reach: Option<(NlriField<'a>, MpNextHop)>,
    pub(in crate::wire) mp_unreach: Option<NlriField<'a>>,
    pub(in crate::wire) attributes_seen: usize,
    /// Faults that leave the session up.
    pub(in crate::wire) faults: Vec<(Treatment, UpdateFault)>,
}

/// One attribute as cut from the field.
#[derive(Clone, Copy)]
struct Raw<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
    /// With its header, as a NOTIFICATION returns it.
    whole: &'a [u8],
}

/// What an attribute's own reader can say.
type Read = Result<(), (Treatment, Fault)>;

const WITHDRAW_LENGTH: (Treatment, Fault) = (Treatment::Withdraw, Fault::Length);
const WITHDRAW_VALUE: (Treatment, Fault) = (Treatment::Withdraw, Fault::Value);
const DISCARD_LENGTH: (Treatment, Fault) = (Treatment::Discard, Fault::Length);

impl<'a> Scan<'a> {
    pub(in crate::wire) fn of(field: &'a [u8], ctx: &UpdateContext) -> Result<Self, Reset> {
        let mut scan = Self::default();
        let mut seen = [false; 256];
        let mut rest = field;
        while !rest.is_empty() {
            let Some((raw, tail)) = cut(rest) else {
                // RFC 7606 section 4: what was announced in the other fields is still known.
                scan.fault(None, Treatment::Withdraw, Fault::Overrun);
                break;
            };
            rest = tail;
            scan.attributes_seen += 1;
            let again = seen.get_mut(usize::from(raw.code)).is_some_and(|s| std::mem::replace(s, true));
            if again {
                scan.duplicate(raw)?;
            } else {
                scan.one(raw, ctx)?;
            }
        }
        scan.merge_as4(ctx);
        Ok(scan)
    }

    fn fault(&mut self, attribute: Option<u8>, treatment: Treatment, what: Fault) {
        self.faults.push((treatment, UpdateFault { attribute, what }));
    }

    /// RFC 7606 section 3 g.
    fn duplicate(&mut self, raw: Raw<'a>) -> Result<(), Reset> {
        if matches!(raw.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
            return Err(Reset::new(Some(raw.code), Fault::Duplicate, 1, &[]));
        }
        self.fault(Some(raw.code), Treatment::Discard, Fault::Duplicate);
        Ok(())
    }

    fn one(&mut self, raw: Raw<'a>, ctx: &UpdateContext) -> Result<(), Reset> {
        // The MP attributes are read whatever their flags say: their prefixes must be known, if only to withdraw them.
        match raw.code {
            code::MP_REACH_NLRI => self.read_mp_reach(raw, ctx)?,
            code::MP_UNREACH_NLRI => self.read_mp_unreach(raw, ctx)?,
            _ => {}
        }
        let Some(expected) = expected_flags(raw.code) else {
            return self.unknown(raw);
        };
        if raw.flags & (OPTIONAL | TRANSITIVE) != expected {
            // RFC 7606 section 3 c, but for attributes whose own RFC says to leave them out.
            let treatment = match raw.code {
                code::AS4_PATH | code::AS4_AGGREGATOR | code::AIGP | code::LINK_STATE | code::PREFIX_SID => {
                    Treatment::Discard
                }
                _ => Treatment::Withdraw,
            };
            self.fault(Some(raw.code), treatment, Fault::Flags);
            return Ok(());
        }
        if let Err((treatment, what)) = self.value(raw, ctx) {
            self.fault(Some(raw.code), treatment, what);
        }
        Ok(())
    }

    fn unknown(&mut self, raw: Raw<'a>) -> Result<(), Reset> {
        if raw.flags & OPTIONAL == 0 {
            return Err(Reset::new(Some(raw.code), Fault::UnknownWellKnown, 2, raw.whole));
        }
        if raw.flags & TRANSITIVE != 0 {
            let flags = OPTIONAL | TRANSITIVE | PARTIAL;
            self.unknown.push(UnknownAttribute { flags, code: raw.code, value: raw.value.into() });
        }
        Ok(())
    }

    /// Reads the value of a known attribute with the right flags. The treatments are those of RFC 7606 section 7.
    fn value(&mut self, raw: Raw<'a>, ctx: &UpdateContext) -> Read {
        let value = raw.value;
        match raw.code {
            code::ORIGIN => {
                self.origin = Some(match value {
                    [0] => Origin::Igp,
                    [1] => Origin::Egp,
                    [2] => Origin::Incomplete,
                    [_] => return Err(WITHDRAW_VALUE),
                    _ => return Err(WITHDRAW_LENGTH),
                });
            }
            code::AS_PATH => self.as_path = Some(as_path(value, ctx.four_octet_as).ok_or(WITHDRAW_VALUE)?),
            code::NEXT_HOP => self.next_hop = Some(fixed::<4>(value).ok_or(WITHDRAW_LENGTH)?.into()),
            code::MULTI_EXIT_DISC => self.med = Some(u32::from_be_bytes(fixed(value).ok_or(WITHDRAW_LENGTH)?)),
            code::ATOMIC_AGGREGATE => {
                if !value.is_empty() {
                    return Err(DISCARD_LENGTH);
                }
                self.atomic_aggregate = true;
            }
            code::AGGREGATOR => self.aggregator = Some(aggregator(value, ctx.four_octet_as)?),
            code::COMMUNITIES => {
                self.communities = list(value).ok_or(WITHDRAW_LENGTH)?.map(u32::from_be_bytes).collect();
            }
            code::EXTENDED_COMMUNITIES => self.extended_communities = list(value).ok_or(WITHDRAW_LENGTH)?.collect(),
            code::IPV6_EXTENDED_COMMUNITIES => {
                self.ipv6_extended_communities = list(value).ok_or(WITHDRAW_LENGTH)?.collect();
            }
            code::LARGE_COMMUNITIES => {
                let words = list::<4>(value).filter(|_| value.len().is_multiple_of(12)).ok_or(WITHDRAW_LENGTH)?;
                let words: Vec<u32> = words.map(u32::from_be_bytes).collect();
                self.large_communities = words.as_chunks().0.to_vec();
            }
            code::ONLY_TO_CUSTOMER => {
                self.only_to_customer = Some(u32::from_be_bytes(fixed(value).ok_or(WITHDRAW_LENGTH)?));
            }
            // Internal attributes from an external peer (RFC 7606 sections 7.5, 7.9, 7.10).
            code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST => {
                return Err((Treatment::Discard, Fault::NotExpected));
            }
            // RFC 6793 section 6: from a four-octet speaker they are noise.
            code::AS4_PATH | code::AS4_AGGREGATOR if ctx.four_octet_as => {
                return Err((Treatment::Discard, Fault::NotExpected));
            }
            code::AS4_PATH => {
                self.as4_path = Some(as_path(value, true).ok_or((Treatment::Discard, Fault::Value))?);
            }
            code::AS4_AGGREGATOR => self.as4_aggregator = Some(aggregator(value, true)?),
            // Known by name only, so that their own RFCs' "discard" is all that can happen to them here.
            _ => {}
        }
        Ok(())
    }

    /// RFC 4760 section 3, RFC 7606 section 7.11.
    fn read_mp_reach(&mut self, raw: Raw<'a>, ctx: &UpdateContext) -> Result<(), Reset> {
        let broken = |what| Reset::new(Some(raw.code), what, 9, raw.whole);
        let [a, b, safi, next_hop_len, rest @ ..] = raw.value else { return Err(broken(Fault::Length)) };
        let (next_hop, rest) =
            rest.split_at_checked(usize::from(*next_hop_len)).ok_or_else(|| broken(Fault::Overrun))?;
        let Some((_reserved, prefixes)) = rest.split_first() else { return Err(broken(Fault::Length)) };
        let Some(family) = family(*a, *b, *safi) else {
            self.fault(Some(raw.code), Treatment::Discard, Fault::NotExpected);
            return Ok(());
        };
        let next_hop = match (family, next_hop.len()) {
            (Family::V4, 4) => fixed::<4>(next_hop).map(|a| MpNextHop { global: a.into(), link_local: None }),
            (Family::V4, _) if !ctx.extended_next_hop => None,
            (Family::V4 | Family::V6, _) => ipv6_next_hop(next_hop),
        }
        .ok_or_else(|| broken(Fault::Length))?;
        let field = ctx.field(family, prefixes).ok_or_else(|| broken(Fault::Nlri))?;
        self.mp_reach = Some((field, next_hop));
        Ok(())
    }

    /// RFC 4760 section 4.
    fn read_mp_unreach(&mut self, raw: Raw<'a>, ctx: &UpdateContext) -> Result<(), Reset> {
        let broken = |what| Reset::new(Some(raw.code), what, 9, raw.whole);
        let [a, b, safi, prefixes @ ..] = raw.value else { return Err(broken(Fault::Length)) };
        let Some(family) = family(*a, *b, *safi) else {
            self.fault(Some(raw.code), Treatment::Discard, Fault::NotExpected);
            return Ok(());
        };
        self.mp_unreach = Some(ctx.field(family, prefixes).ok_or_else(|| broken(Fault::Nlri))?);
        Ok(())
    }

    /// RFC 7606 section 3 d.
    pub(in crate::wire) fn require_mandatory(&mut self, classic: bool, mp: bool) {
        // One that is there but malformed has had its fault already.
        let faulty = |scan: &Self, code| scan.faults.iter().any(|(_, f)| f.attribute == Some(code));
        for (code, missing) in [
            (code::ORIGIN, (classic || mp) && self.origin.is_none()),
            (code::AS_PATH, (classic || mp) && self.as_path.is_none()),
            (code::NEXT_HOP, classic && self.next_hop.is_none()),
        ] {
            if missing && !faulty(self, code) {
                self.fault(Some(code), Treatment::Withdraw, Fault::Missing);
            }
        }
    }

    /// The attributes of a path with this next hop; `None` if a mandatory one is missing.
    pub(in crate::wire) fn attributes(&self, next_hop: IpAddr, link_local: Option<Ipv6Addr>) -> Option<Attributes> {
        Some(Attributes {
            origin: self.origin?,
            as_path: self.as_path.clone()?,
            next_hop,
            next_hop_link_local: link_local,
            med: self.med,
            atomic_aggregate: self.atomic_aggregate,
            aggregator: self.aggregator,
            communities: self.communities.as_slice().into(),
            extended_communities: self.extended_communities.as_slice().into(),
            ipv6_extended_communities: self.ipv6_extended_communities.as_slice().into(),
            large_communities: self.large_communities.as_slice().into(),
            only_to_customer: self.only_to_customer,
            unknown: self.unknown.as_slice().into(),
        })
    }

    /// Joins what a two-octet speaker carried beside the old attributes (RFC 6793 section 4.2.3).
    fn merge_as4(&mut self, ctx: &UpdateContext) {
        if ctx.four_octet_as {
            return;
        }
        let trans = |a: &Aggregator| a.asn == u32::from(AS_TRANS);
        if let Some(old) = self.aggregator
            && let Some(new) = self.as4_aggregator
        {
            // Without AS_TRANS the aggregator was a two-octet speaker, and both new attributes are stale.
            if !trans(&old) {
                return;
            }
            self.aggregator = Some(new);
        }
        if let (Some(old), Some(new)) = (&self.as_path, &self.as4_path) {
            self.as_path = Some(merge_paths(old, new));
        }
    }
}

/// The leading part of the old path that the new one lacks, then the new one. An old path that is shorter than the new one has
/// been shortened by someone who knew only the old one, and stands.
fn merge_paths(old: &AsPath, new: &AsPath) -> AsPath {
    let Some(mut lead) = old.hops().checked_sub(new.hops()) else { return old.clone() };
    let mut merged = AsPathBuilder::default();
    for segment in old.segments() {
        if lead == 0 {
            break;
        }
        let (taken, asns) = match segment.kind {
            SegmentKind::Sequence => {
                let n = lead.min(segment.asns.len());
                (n, segment.asns.get(..n).unwrap_or_default())
            }
            SegmentKind::Set => (1, segment.asns),
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => (0, segment.asns),
        };
        merged.push(segment.kind, asns);
        lead -= taken;
    }
    for segment in new.segments() {
        merged.push(segment.kind, segment.asns);
    }
    merged.finish()
}

fn cut(field: &[u8]) -> Option<(Raw<'_>, &[u8])> {
    let [flags, code, rest @ ..] = field else { return None };
    let (len, header, rest) = if flags & EXTENDED_LENGTH != 0 {
        let (len, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_be_bytes(*len)), 4, rest)
    } else {
        let (len, rest) = rest.split_first()?;
        (usize::from(*len), 3, rest)
    };
    let (value, tail) = rest.split_at_checked(len)?;
    let whole = field.get(..header + len)?;
    Some((Raw { flags: *flags, code: *code, value, whole }, tail))
}

/// Optional and Transitive as each attribute's RFC has them; `None` for attributes without a name here.
fn expected_flags(number: u8) -> Option<u8> {
    Some(match number {
        code::ORIGIN | code::AS_PATH | code::NEXT_HOP | code::LOCAL_PREF | code::ATOMIC_AGGREGATE => TRANSITIVE,
        code::MULTI_EXIT_DISC
        | code::ORIGINATOR_ID
        | code::CLUSTER_LIST
        | code::MP_REACH_NLRI
        | code::MP_UNREACH_NLRI
        | code::AIGP
        | code::LINK_STATE => OPTIONAL,
        code::AGGREGATOR
        | code::COMMUNITIES
        | code::EXTENDED_COMMUNITIES
        | code::AS4_PATH
        | code::AS4_AGGREGATOR
        | code::IPV6_EXTENDED_COMMUNITIES
        | code::LARGE_COMMUNITIES
        | code::ONLY_TO_CUSTOMER
        | code::PREFIX_SID => OPTIONAL | TRANSITIVE,
        _ => return None,
    })
}

/// One or two IPv6 addresses (RFC 2545 section 3, RFC 8950 section 3). The first is meant to be global; over links without
/// global addresses implementations send the unspecified one there, or the link-local one twice.
fn ipv6_next_hop(octets: &[u8]) -> Option<MpNextHop> {
    let (first, rest) = octets.split_first_chunk::<16>()?;
    let first = Ipv6Addr::from(*first);
    if rest.is_empty() {
        return Some(MpNextHop { global: first.into(), link_local: None });
    }
    // Some send two global addresses; only a link-local one has a meaning there.
    let second = Some(Ipv6Addr::from(fixed::<16>(rest)?)).filter(Ipv6Addr::is_unicast_link_local);
    Some(match second {
        Some(second) if first.is_unspecified() || first.is_unicast_link_local() => {
            MpNextHop { global: second.into(), link_local: None }
        }
        _ => MpNextHop { global: first.into(), link_local: second },
    })
}

fn family(afi_high: u8, afi_low: u8, safi: u8) -> Option<Family> {
    match (Afi::from(u16::from_be_bytes([afi_high, afi_low])), Safi::from(safi)) {
        (Afi::Ipv4, Safi::Unicast) => Some(Family::V4),
        (Afi::Ipv6, Safi::Unicast) => Some(Family::V6),
        _ => None,
    }
}

fn fixed<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.try_into().ok()
}

/// A value of equal parts; at least one (RFC 7606 sections 7.8 and 7.14, RFC 8092 section 5).
fn list<const N: usize>(value: &[u8]) -> Option<impl Iterator<Item = [u8; N]>> {
    let (parts, rest) = value.as_chunks::<N>();
    (rest.is_empty() && !parts.is_empty()).then(|| parts.iter().copied())
}

/// RFC 7606 section 7.2, RFC 7607 section 2; confederation segments have no business on an external session (RFC 5065
/// section 5).
fn as_path(value: &[u8], four_octet: bool) -> Option<AsPath> {
    let mut path = AsPathBuilder::default();
    let mut rest = value;
    while let Some((head, tail)) = rest.split_first_chunk::<2>() {
        let kind = match head[0] {
            1 => SegmentKind::Set,
            2 => SegmentKind::Sequence,
            _ => return None,
        };
        let count = usize::from(head[1]);
        let (asns, tail) = tail.split_at_checked(count * if four_octet { 4 } else { 2 })?;
        rest = tail;
        // At most 255: the count is one octet.
        let asns: Vec<u32> = if four_octet {
            asns.as_chunks().0.iter().map(|a| u32::from_be_bytes(*a)).collect()
        } else {
            asns.as_chunks().0.iter().map(|a| u16::from_be_bytes(*a).into()).collect()
        };
        if count == 0 || asns.contains(&0) {
            return None;
        }
        path.push(kind, &asns);
    }
    rest.is_empty().then(|| path.finish())
}

/// RFC 7606 section 7.7, RFC 7607 section 2.
fn aggregator(value: &[u8], four_octet: bool) -> Result<Aggregator, (Treatment, Fault)> {
    let (asn, router_id) = match (value, four_octet) {
        ([a, b, c, d, id @ ..], true) => (u32::from_be_bytes([*a, *b, *c, *d]), id),
        ([a, b, id @ ..], false) => (u16::from_be_bytes([*a, *b]).into(), id),
        _ => return Err(DISCARD_LENGTH),
    };
    let router_id = fixed::<4>(router_id).ok_or(DISCARD_LENGTH)?;
    if asn == 0 {
        return Err((Treatment::Discard, Fault::Value));
    }
    Ok(Aggregator { asn, router_id: router_id.into() })
}
