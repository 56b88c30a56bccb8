//! Where paths come from: one source per session.

use std::net::Ipv4Addr;
use std::time::Duration;

use petiole_prefix::Family;

use crate::config::PeerId;

use super::table::SourceId;

/// One session, as the RIB knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Source {
    pub(crate) peer: PeerId,
    pub(crate) router_id: Ipv4Addr,
    /// Cleared when the session ends; its paths are then taken out piece by piece.
    pub(crate) alive: bool,
    /// When its session ended, where its paths are kept nevertheless (RFC 4724 section 4.2).
    pub(crate) kept_since: Option<Duration>,
    /// They are so for long, and used only where there is nothing else (RFC 9494 section 4.3).
    pub(crate) long_lived: bool,
    /// Paths held from it, per family in the order of [`Family::BOTH`].
    pub(crate) paths: [u64; 2],
}

/// All sources.
#[derive(Default)]
pub(crate) struct Sources(Vec<Option<Source>>);

impl Sources {
    /// A new source; `None` when 65,536 sessions still have paths.
    pub(crate) fn open(&mut self, peer: PeerId, router_id: Ipv4Addr) -> Option<SourceId> {
        let source = Source { peer, router_id, alive: true, kept_since: None, long_lived: false, paths: [0; 2] };
        let source = Some(source);
        let at = match self.0.iter().position(Option::is_none) {
            Some(at) => {
                self.0[at] = source;
                at
            }
            None => {
                self.0.push(source);
                self.0.len() - 1
            }
        };
        u16::try_from(at).ok().map(SourceId)
    }

    #[inline]
    pub(crate) fn get(&self, id: SourceId) -> Option<&Source> {
        self.0.get(usize::from(id.0))?.as_ref()
    }

    /// Whether any source has ended and still has paths.
    pub(crate) fn any_dead(&self) -> bool {
        self.0.iter().flatten().any(|s| !s.alive)
    }

    /// The session of a source has ended, and its paths are kept.
    pub(crate) fn keep(&mut self, id: SourceId, now: Duration) {
        if let Some(Some(source)) = self.0.get_mut(usize::from(id.0)) {
            source.kept_since = Some(now);
        }
    }

    /// The paths of a source are long-lived stale from now on.
    pub(crate) fn age(&mut self, id: SourceId) {
        if let Some(Some(source)) = self.0.get_mut(usize::from(id.0)) {
            source.long_lived = true;
        }
    }

    /// Ends a source.
    pub(crate) fn close(&mut self, id: SourceId) {
        if let Some(Some(source)) = self.0.get_mut(usize::from(id.0)) {
            source.alive = false;
        }
        self.forget_if_done(id);
    }

    #[inline]
    pub(crate) fn added(&mut self, id: SourceId, family: Family, paths: u64) {
        if let Some(Some(source)) = self.0.get_mut(usize::from(id.0)) {
            source.paths[family as usize] += paths;
        }
    }

    #[inline]
    pub(crate) fn removed(&mut self, id: SourceId, family: Family) {
        if let Some(Some(source)) = self.0.get_mut(usize::from(id.0)) {
            let paths = &mut source.paths[family as usize];
            *paths = paths.saturating_sub(1);
        }
        self.forget_if_done(id);
    }

    #[inline]
    fn forget_if_done(&mut self, id: SourceId) {
        if let Some(slot) = self.0.get_mut(usize::from(id.0))
            && slot.is_some_and(|s| !s.alive && s.paths == [0; 2])
        {
            *slot = None;
        }
    }
}
