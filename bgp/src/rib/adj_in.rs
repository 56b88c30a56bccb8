//! Where the paths of one session are kept: a source per family, or several with path identifiers (RFC 7911), and what a refresh
//! has not said again yet.
//!
//! A refresh (RFC 7313) begins a new source. What the neighbour says again goes there and is taken out of the old one; what is
//! left in the old one at the end was not said again, and goes with it. Nothing is ever marked path by path.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use petiole_prefix::{Family, Prefix};

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

/// The most paths kept of one prefix from one session (RFC 7911). A node's leaf has fewer ways to anywhere.
const MOST_PATHS: usize = 16;

/// Adj-RIB-In of one session.
pub(crate) struct AdjIn {
    peer: PeerId,
    router_id: Ipv4Addr,
    /// In the order of [`Family::BOTH`].
    families: [OfFamily; 2],
}

struct OfFamily {
    current: Generation,
    /// From the oldest on.
    refreshes: VecDeque<Refresh>,
    /// Of former sessions, kept until they are said again (RFC 4724 section 4.2). Whoever keeps them closes them.
    former: Vec<KeptPaths>,
}

/// What a session said since it, or a refresh, began, and what is kept of it when the session has ended.
#[derive(Clone)]
pub(crate) struct KeptPaths {
    pub(crate) sources: Vec<SourceId>,
    /// As they were at the end of the session.
    ids: Arc<PathIds>,
}

/// For prefixes that came with path identifiers: which of them is in which source, by its number in the list of sources.
type PathIds = BTreeMap<Prefix, Vec<Option<u32>>>;

impl KeptPaths {
    /// What is said of these prefixes now takes the place of what was said then: of the path with the same identifier, where
    /// paths had identifiers then as now, else of all.
    fn replace(&self, rib: &mut Rib, one: &NlriField<'_>, id: Option<u32>) {
        match id.filter(|_| !self.ids.is_empty()) {
            Some(id) => {
                let ids = one.prefixes().next().and_then(|prefix| self.ids.get(&prefix));
                let at = ids.and_then(|ids| ids.iter().position(|known| *known == Some(id)));
                if let Some(source) = at.and_then(|at| self.sources.get(at)) {
                    rib.withdraw(*source, one);
                }
            }
            None => self.sources.iter().for_each(|source| rib.withdraw(*source, one)),
        }
    }

    /// The identifier a path came with.
    pub(crate) fn path_id(&self, prefix: &Prefix, source: SourceId) -> Option<u32> {
        path_id(&self.sources, &self.ids, prefix, source)
    }
}

fn path_id(sources: &[SourceId], ids: &PathIds, prefix: &Prefix, source: SourceId) -> Option<u32> {
    let at = sources.iter().position(|s| *s == source)?;
    ids.get(prefix)?.get(at).copied().flatten()
}

/// What was there when a refresh began.
struct Refresh {
    left: Generation,
    until: Duration,
}

/// What was said since the session, or a refresh, began.
struct Generation {
    /// The paths of one prefix are in different ones. Without path identifiers there is one.
    sources: Vec<SourceId>,
    /// Not in the table, whose paths stay small.
    ids: PathIds,
}

impl Generation {
    fn open(rib: &mut Rib, peer: PeerId, router_id: Ipv4Addr) -> Option<Self> {
        Some(Self { sources: vec![rib.open(peer, router_id)?], ids: PathIds::new() })
    }

    fn close(self, rib: &mut Rib) {
        for source in self.sources {
            rib.close(source);
        }
    }

    fn count(&self, rib: &Rib, family: Family) -> u64 {
        self.sources.iter().map(|source| rib.family_count(*source, family)).sum()
    }

    /// The source for a path, made if need be; `None` when the prefix has its fill.
    fn place(&mut self, rib: &mut Rib, who: (PeerId, Ipv4Addr), prefix: Prefix, id: u32) -> Option<SourceId> {
        let ids = self.ids.entry(prefix).or_default();
        let known = ids.iter().position(|known| *known == Some(id));
        let at = known.or_else(|| ids.iter().position(Option::is_none)).unwrap_or(ids.len());
        if at >= MOST_PATHS {
            return None;
        }
        while self.sources.len() <= at {
            self.sources.push(rib.open(who.0, who.1)?);
        }
        match ids.get_mut(at) {
            Some(slot) => *slot = Some(id),
            None => ids.push(Some(id)),
        }
        self.sources.get(at).copied()
    }

    /// The source a path was in; it is forgotten.
    fn take(&mut self, prefix: Prefix, id: u32) -> Option<SourceId> {
        let ids = self.ids.get_mut(&prefix)?;
        let at = ids.iter().position(|known| *known == Some(id))?;
        if let Some(slot) = ids.get_mut(at) {
            *slot = None;
        }
        if ids.iter().all(Option::is_none) {
            self.ids.remove(&prefix);
        }
        self.sources.get(at).copied()
    }

    fn withdraw(&mut self, rib: &mut Rib, field: &NlriField<'_>) {
        for (id, one) in field.paths() {
            if let Some(source) = one.prefixes().next().and_then(|prefix| self.take(prefix, id)) {
                rib.withdraw(source, &one);
            }
        }
        if !field.has_path_ids()
            && let Some(source) = self.sources.first()
        {
            rib.withdraw(*source, field);
        }
    }
}

impl OfFamily {
    /// What is said of these prefixes now takes the place of what former sessions said.
    fn replace_former(&self, rib: &mut Rib, field: &NlriField<'_>, id: Option<u32>) {
        for former in &self.former {
            former.replace(rib, field, id);
        }
    }
}

impl AdjIn {
    /// A session that has said nothing yet; `None` when there are too many that still have paths.
    pub(crate) fn open(rib: &mut Rib, peer: PeerId, router_id: Ipv4Addr) -> Option<Self> {
        let v4 = Generation::open(rib, peer, router_id)?;
        let Some(v6) = Generation::open(rib, peer, router_id) else {
            v4.close(rib);
            return None;
        };
        let families = [v4, v6].map(|current| OfFamily { current, refreshes: VecDeque::new(), former: Vec::new() });
        Some(Self { peer, router_id, families })
    }

    /// The session is over: what there is of it of each family, in the order of [`Family::BOTH`].
    pub(crate) fn into_kept(self) -> [Vec<KeptPaths>; 2] {
        self.families.map(|of_family| {
            let refreshes = of_family.refreshes.into_iter().map(|refresh| refresh.left);
            let all = refreshes.chain([of_family.current]);
            all.map(|Generation { sources, ids }| KeptPaths { sources, ids: Arc::new(ids) }).collect()
        })
    }

    /// What is kept of former sessions: what is said now takes its place path by path.
    pub(crate) fn succeed(&mut self, family: Family, former: &[KeptPaths]) {
        self.of_mut(family).former = former.to_vec();
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

    /// Takes in announced prefixes; `verdict` is what the import policy says of their attributes. Gives how many were not taken
    /// in because their prefixes have [`MOST_PATHS`].
    pub(crate) fn announce(
        &mut self,
        rib: &mut Rib,
        field: &NlriField<'_>,
        id: AttrId,
        verdict: Option<Reason>,
    ) -> u64 {
        let who = (self.peer, self.router_id);
        let of_family = self.of_mut(field.family());
        let mut refused = 0;
        if field.has_path_ids() {
            for (path_id, one) in field.paths() {
                let place = one.prefixes().next().and_then(|p| of_family.current.place(rib, who, p, path_id));
                match place {
                    Some(source) => rib.announce(source, &one, id, verdict),
                    None => refused += 1,
                }
                of_family.replace_former(rib, &one, Some(path_id));
            }
        } else if let Some(source) = of_family.current.sources.first() {
            rib.announce(*source, field, id, verdict);
            of_family.replace_former(rib, field, None);
        }
        for refresh in &mut of_family.refreshes {
            refresh.left.withdraw(rib, field);
        }
        refused
    }

    /// Takes out withdrawn prefixes.
    pub(crate) fn withdraw(&mut self, rib: &mut Rib, field: &NlriField<'_>) {
        let of_family = self.of_mut(field.family());
        of_family.current.withdraw(rib, field);
        if field.has_path_ids() {
            field.paths().for_each(|(id, one)| of_family.replace_former(rib, &one, Some(id)));
        } else {
            of_family.replace_former(rib, field, None);
        }
        for refresh in &mut of_family.refreshes {
            refresh.left.withdraw(rib, field);
        }
    }

    /// Everything of a family is about to be said again.
    pub(crate) fn begin_refresh(&mut self, rib: &mut Rib, family: Family, now: Duration) {
        // Without a place for it, what is there stays as it is.
        let Some(new) = Generation::open(rib, self.peer, self.router_id) else { return };
        let of_family = self.of_mut(family);
        let left = std::mem::replace(&mut of_family.current, new);
        of_family.refreshes.push_back(Refresh { left, until: now + REFRESH_WITHIN });
        if of_family.refreshes.len() > MOST_REFRESHES
            && let Some(oldest) = of_family.refreshes.pop_front()
        {
            oldest.left.close(rib);
        }
    }

    /// Everything of a family has been said. Gives how many paths had not been, or `None` if no refresh had begun.
    pub(crate) fn end_refresh(&mut self, rib: &mut Rib, family: Family) -> Option<u64> {
        let refreshes = std::mem::take(&mut self.of_mut(family).refreshes);
        let began = !refreshes.is_empty();
        let mut gone = 0;
        for refresh in refreshes {
            gone += refresh.left.count(rib, family);
            refresh.left.close(rib);
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
        let left: u64 = of_family.refreshes.iter().map(|r| r.left.count(rib, family)).sum();
        of_family.current.count(rib, family) + left
    }

    /// The identifier a path came with.
    pub(crate) fn path_id(&self, prefix: &Prefix, source: SourceId) -> Option<u32> {
        let of_family = self.of(prefix.family());
        let left = of_family.refreshes.iter().map(|r| &r.left);
        left.chain([&of_family.current])
            .find_map(|generation| path_id(&generation.sources, &generation.ids, prefix, source))
    }
}
