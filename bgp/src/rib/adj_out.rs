//! Adj-RIB-Out of one session: what the peer was told, what it is to be told, and the UPDATEs between.
//!
//! Its only input is the set of [`Originated`] prefixes. Learned routes have no way in here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};

use crate::guard::Originated;
use crate::view::{NotAnnouncedBecause, SentView};
use crate::wire::{OutAttributes, OutCommunities, RouteRefresh, end_of_rib, withdraw};

/// What of the session announcements depend on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OutContext {
    pub(crate) asn: u32,
    pub(crate) four_octet_as: bool,
    pub(crate) families: BTreeSet<Family>,
    /// IPv4 may go with an IPv6 next hop (RFC 8950).
    pub(crate) extended_next_hop: bool,
    /// Our link-local end of the session, told beside a global next hop.
    pub(crate) link_local: Option<Ipv6Addr>,
    pub(crate) communities: Arc<OutCommunities>,
    /// Largest message they read.
    pub(crate) max_message_len: usize,
    pub(crate) next_hop_v4: Option<Ipv4Addr>,
    pub(crate) next_hop_v6: Option<Ipv6Addr>,
}

impl OutContext {
    fn attributes(&self, family: Family) -> Result<Arc<OutAttributes>, NotAnnouncedBecause> {
        if !self.families.contains(&family) {
            return Err(NotAnnouncedBecause::FamilyNotNegotiated);
        }
        let (v4, v6) = (self.next_hop_v4.map(IpAddr::V4), self.next_hop_v6.map(IpAddr::V6));
        let next_hop = match family {
            Family::V4 => v4.or_else(|| v6.filter(|_| self.extended_next_hop)),
            Family::V6 => v6,
        };
        let next_hop = next_hop.ok_or(NotAnnouncedBecause::NoNextHop)?;
        // Only beside a global address does it say something of its own.
        let global = matches!(next_hop, IpAddr::V6(a) if !a.is_unicast_link_local());
        Ok(Arc::new(OutAttributes {
            asn: self.asn,
            four_octet_as: self.four_octet_as,
            next_hop,
            link_local: self.link_local.filter(|_| global),
            communities: Arc::clone(&self.communities),
            max_message_len: self.max_message_len,
        }))
    }

    /// Why this family is not announced, if it is not.
    pub(crate) fn obstacle(&self, family: Family) -> Option<NotAnnouncedBecause> {
        self.attributes(family).err()
    }
}

/// One message ready to leave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Flush {
    Advertised(Vec<Prefix>, Vec<u8>),
    Withdrawn(Vec<Prefix>, Vec<u8>),
    EndOfRib(Family, Vec<u8>),
    /// The beginning or the end of a refresh (RFC 7313).
    RefreshMark(Vec<u8>),
}

struct Told {
    attributes: Arc<OutAttributes>,
    at: Duration,
    /// Where its message ends in what the connection was handed; `None` until it was.
    ends_at: Option<u64>,
}

/// Adj-RIB-Out of one session.
pub(crate) struct AdjOut {
    ctx: OutContext,
    told: BTreeMap<Prefix, Told>,
    /// Stopped by the guard; not tried again until the originated set changes.
    stopped: BTreeSet<Prefix>,
    /// What was told may differ from what should be.
    stale: bool,
    /// Told before, to be told again (RFC 2918).
    again: BTreeSet<Prefix>,
    end_of_rib_due: BTreeSet<Family>,
    end_of_rib_sent: BTreeSet<Family>,
    /// Enhanced refreshes asked for and not begun.
    refresh_due: BTreeSet<Family>,
    /// Begun and not ended.
    refreshing: BTreeSet<Family>,
}

fn refresh_mark(family: Family, subtype: u8) -> Flush {
    let mut bytes = Vec::new();
    RouteRefresh::of(family, subtype).encode(&mut bytes);
    Flush::RefreshMark(bytes)
}

impl AdjOut {
    /// A session that was told nothing yet.
    pub(crate) fn new(ctx: OutContext) -> Self {
        let end_of_rib_due = ctx.families.clone();
        Self {
            ctx,
            told: BTreeMap::new(),
            stopped: BTreeSet::new(),
            stale: true,
            again: BTreeSet::new(),
            end_of_rib_due,
            end_of_rib_sent: BTreeSet::new(),
            refresh_due: BTreeSet::new(),
            refreshing: BTreeSet::new(),
        }
    }

    /// The originated set has changed.
    pub(crate) fn mark_stale(&mut self) {
        self.stale = true;
        self.stopped.clear();
    }

    /// What [`next`](Self::next) gave out never left: the guard stopped it.
    pub(crate) fn stop(&mut self, prefixes: &[Prefix]) {
        for prefix in prefixes {
            self.told.remove(prefix);
        }
        self.stopped.extend(prefixes);
    }

    pub(crate) fn set_next_hops(&mut self, v4: Option<Ipv4Addr>, v6: Option<Ipv6Addr>) {
        if (self.ctx.next_hop_v4, self.ctx.next_hop_v6) != (v4, v6) {
            (self.ctx.next_hop_v4, self.ctx.next_hop_v6) = (v4, v6);
            self.stale = true;
        }
    }

    pub(crate) fn set_communities(&mut self, communities: &OutCommunities) {
        if *self.ctx.communities != *communities {
            self.ctx.communities = Arc::new(communities.clone());
            self.stale = true;
        }
    }

    pub(crate) const fn context(&self) -> &OutContext {
        &self.ctx
    }

    /// Everything of a family is to be sent again; with a mark before and behind it, where that was agreed on (RFC 7313).
    pub(crate) fn refresh(&mut self, family: Family, enhanced: bool) {
        if enhanced {
            // While one is under way, the next waits: it begins once, however often it is asked for.
            self.refresh_due.insert(family);
        } else {
            self.repeat(family);
        }
    }

    fn repeat(&mut self, family: Family) {
        self.again.extend(self.told.keys().filter(|p| p.family() == family));
        self.stale = true;
    }

    /// The next message, or `None` when the peer knows all it should. Withdrawals go first, so that a peer near its limits is
    /// never asked to hold old and new at once.
    pub(crate) fn next(
        &mut self,
        originated: &BTreeMap<Prefix, Originated>,
        end_of_rib_held: bool,
        now: Duration,
    ) -> Option<Flush> {
        if self.stale {
            for family in Family::BOTH {
                if let Some(flush) = self.next_withdrawal(originated, family) {
                    return Some(flush);
                }
            }
            for family in Family::BOTH {
                if let Some(flush) = self.next_announcement(originated, family, now) {
                    return Some(flush);
                }
            }
            self.stale = false;
        }
        if let Some(family) = self.refreshing.pop_first() {
            return Some(refresh_mark(family, RouteRefresh::END));
        }
        if !end_of_rib_held && let Some(family) = self.end_of_rib_due.pop_first() {
            self.end_of_rib_sent.insert(family);
            let mut bytes = Vec::new();
            end_of_rib(family, &mut bytes);
            return Some(Flush::EndOfRib(family, bytes));
        }
        // RFC 7313 section 4: not before the End-of-RIB marker of the family.
        let family = *self.refresh_due.intersection(&self.end_of_rib_sent).next()?;
        self.refresh_due.remove(&family);
        self.refreshing.insert(family);
        self.repeat(family);
        Some(refresh_mark(family, RouteRefresh::BEGIN))
    }

    fn next_withdrawal(&mut self, originated: &BTreeMap<Prefix, Originated>, family: Family) -> Option<Flush> {
        let possible = self.ctx.attributes(family).is_ok();
        let gone = |p: &&Prefix| p.family() == family && !(possible && originated.contains_key(*p));
        let mut gone: Vec<Prefix> = self.told.keys().filter(gone).copied().collect();
        if gone.is_empty() {
            return None;
        }
        let mut bytes = Vec::new();
        gone.truncate(withdraw(family, &gone, &mut bytes));
        for prefix in &gone {
            self.told.remove(prefix);
            self.again.remove(prefix);
        }
        Some(Flush::Withdrawn(gone, bytes))
    }

    fn next_announcement(
        &mut self,
        originated: &BTreeMap<Prefix, Originated>,
        family: Family,
        now: Duration,
    ) -> Option<Flush> {
        let usual = self.ctx.attributes(family).ok()?;
        // One set of attributes for all that have the same communities of their own.
        let mut kinds: BTreeMap<&OutCommunities, Arc<OutAttributes>> = BTreeMap::new();
        let mut chosen: Option<Arc<OutAttributes>> = None;
        let mut news = Vec::new();
        for (prefix, ours) in originated.iter().filter(|(p, _)| p.family() == family && !self.stopped.contains(*p)) {
            let own = ours.communities().as_ref();
            let attributes = kinds.entry(own).or_insert_with(|| {
                let communities = Arc::new(self.ctx.communities.and(own));
                Arc::new(OutAttributes { communities, ..OutAttributes::clone(&usual) })
            });
            let known = self.told.get(prefix).is_some_and(|told| told.attributes == *attributes);
            if known && !self.again.contains(prefix) {
                continue;
            }
            // The others follow in a message of their own.
            if Arc::ptr_eq(chosen.get_or_insert_with(|| Arc::clone(attributes)), attributes) {
                news.push(*prefix);
            }
        }
        let attributes = chosen?;
        let mut bytes = Vec::new();
        news.truncate(attributes.announce(&news, &mut bytes));
        for prefix in &news {
            self.again.remove(prefix);
        }
        self.told
            .extend(news.iter().map(|p| (*p, Told { attributes: Arc::clone(&attributes), at: now, ends_at: None })));
        Some(Flush::Advertised(news, bytes))
    }

    /// What [`next`](Self::next) gave out of these prefixes ends at this octet of what the connection was handed.
    pub(crate) fn note_place(&mut self, prefixes: &[Prefix], ends_at: u64) {
        for prefix in prefixes {
            if let Some(told) = self.told.get_mut(prefix) {
                told.ends_at = Some(ends_at);
            }
        }
    }

    /// Whether the message that told of a prefix lies within the first octets of what the connection was handed.
    pub(crate) fn is_within(&self, prefix: &Prefix, octets: u64) -> bool {
        self.told.get(prefix).and_then(|told| told.ends_at).is_some_and(|end| end <= octets)
    }

    /// What the peer was told of a prefix.
    pub(crate) fn told(&self, prefix: &Prefix) -> Option<SentView> {
        self.told.get(prefix).map(|t| SentView {
            at: t.at,
            next_hop: t.attributes.next_hop,
            communities: Arc::clone(&t.attributes.communities),
        })
    }

    /// Why a prefix of ours was not told, if it was not.
    pub(crate) fn not_told(&self, prefix: &Prefix) -> Option<NotAnnouncedBecause> {
        if self.told.contains_key(prefix) {
            return None;
        }
        let waiting = if self.stopped.contains(prefix) {
            NotAnnouncedBecause::StoppedByGuard
        } else {
            NotAnnouncedBecause::Queued
        };
        Some(self.ctx.obstacle(prefix.family()).unwrap_or(waiting))
    }

    /// How many prefixes the peer knows from us.
    pub(crate) fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether all End-of-RIB markers were sent.
    pub(crate) fn is_told_all(&self) -> bool {
        self.end_of_rib_due.is_empty()
    }

    pub(crate) const fn end_of_rib_sent(&self) -> &BTreeSet<Family> {
        &self.end_of_rib_sent
    }
}
