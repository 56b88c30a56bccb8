//! Where the paths of one session are kept: a source per family, and what a refresh has not said again yet.
//!
//! A refresh (RFC 7313) begins a new source. What the neighbour says again goes there and is taken out of the old one; what is
//! left in the old one at the end was not said again, and goes with it. Nothing is ever marked path by path.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use petiole_prefix::Family;

use super::Rib;
use super::attrs::AttrId;
use super::reason::Reason;
use super::table::SourceId;
use crate::config::PeerId;
use crate::wire::NlriField;

/// The longest a refresh may take; what was not said again by then is gone (RFC 7313 section 4 leaves the limit to us).
const REFRESH_WITHIN: Duration = Duration::from_secs(300);

/// Refreshes begun and not ended at one time. With one more, the oldest is taken for ended.
const MOST_REFRESHES: usize = 3;

/// Adj-RIB-In of one session.
pub(crate) struct AdjIn {
    peer: PeerId,
    router_id: Ipv4Addr,
    /// In the order of [`Family::BOTH`].
    families: [OfFamily; 2],
}

struct OfFamily {
    current: SourceId,
    /// From the oldest on.
    refreshes: VecDeque<Refresh>,
}

/// What was there when a refresh began.
struct Refresh {
    left: SourceId,
    until: Duration,
}

impl AdjIn {
    /// A session that has said nothing yet; `None` when there are too many that still have paths.
    pub(crate) fn open(rib: &mut Rib, peer: PeerId, router_id: Ipv4Addr) -> Option<Self> {
        let v4 = rib.open(peer, router_id)?;
        let Some(v6) = rib.open(peer, router_id) else {
            rib.close(v4);
            return None;
        };
        let families = [v4, v6].map(|current| OfFamily { current, refreshes: VecDeque::new() });
        Some(Self { peer, router_id, families })
    }

    /// The session is over.
    pub(crate) fn close(self, rib: &mut Rib) {
        for of_family in self.families {
            rib.close(of_family.current);
            for refresh in of_family.refreshes {
                rib.close(refresh.left);
            }
        }
    }

    fn of(&self, family: Family) -> &OfFamily {
        let [v4, v6] = &self.families;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    fn of_mut(&mut self, family: Family) -> &mut OfFamily {
        let [v4, v6] = &mut self.families;
        match family {
            Family::V4 => v4,
            Family::V6 => v6,
        }
    }

    /// Takes in announced prefixes; `verdict` is what the import policy says of their attributes.
    pub(crate) fn announce(&self, rib: &mut Rib, field: &NlriField<'_>, id: AttrId, verdict: Option<Reason>) {
        let of_family = self.of(field.family());
        rib.announce(of_family.current, field, id, verdict);
        for refresh in &of_family.refreshes {
            rib.withdraw(refresh.left, field);
        }
    }

    /// Takes out withdrawn prefixes.
    pub(crate) fn withdraw(&self, rib: &mut Rib, field: &NlriField<'_>) {
        let of_family = self.of(field.family());
        rib.withdraw(of_family.current, field);
        for refresh in &of_family.refreshes {
            rib.withdraw(refresh.left, field);
        }
    }

    /// Everything of a family is about to be said again.
    pub(crate) fn begin_refresh(&mut self, rib: &mut Rib, family: Family, now: Duration) {
        let (peer, router_id) = (self.peer, self.router_id);
        let of_family = self.of_mut(family);
        // Without a place for it, what is there stays as it is.
        let Some(new) = rib.open(peer, router_id) else { return };
        let left = std::mem::replace(&mut of_family.current, new);
        of_family.refreshes.push_back(Refresh { left, until: now + REFRESH_WITHIN });
        if of_family.refreshes.len() > MOST_REFRESHES
            && let Some(oldest) = of_family.refreshes.pop_front()
        {
            rib.close(oldest.left);
        }
    }

    /// Everything of a family has been said. Gives how many paths had not been, or `None` if no refresh had begun.
    pub(crate) fn end_refresh(&mut self, rib: &mut Rib, family: Family) -> Option<u64> {
        let refreshes = std::mem::take(&mut self.of_mut(family).refreshes);
        let began = !refreshes.is_empty();
        let mut gone = 0;
        for refresh in refreshes {
            gone += rib.family_count(refresh.left, family);
            rib.close(refresh.left);
        }
        began.then_some(gone)
    }

    /// Ends the refreshes whose time is over; gives their families, with how many paths had not been said again.
    pub(crate) fn end_overdue(&mut self, rib: &mut Rib, now: Duration) -> Vec<(Family, u64)> {
        let overdue = |of_family: &OfFamily| of_family.refreshes.front().is_some_and(|r| r.until <= now);
        let families: Vec<Family> = Family::BOTH.into_iter().filter(|f| overdue(self.of(*f))).collect();
        families.into_iter().filter_map(|f| Some((f, self.end_refresh(rib, f)?))).collect()
    }

    /// When the first refresh is overdue.
    pub(crate) fn next_overdue(&self) -> Option<Duration> {
        self.families.iter().filter_map(|f| f.refreshes.front()).map(|r| r.until).min()
    }

    /// Paths held, of one family.
    pub(crate) fn count(&self, rib: &Rib, family: Family) -> u64 {
        let of_family = self.of(family);
        let left: u64 = of_family.refreshes.iter().map(|r| rib.family_count(r.left, family)).sum();
        rib.family_count(of_family.current, family) + left
    }
}
