//! What is kept of a neighbour whose session has ended (RFC 4724 section 4.2, RFC 8538 section 4.1, RFC 9494 section 4.2).
//!
//! Three clocks, each from the end of the session on: the neighbour has its restart time to be back; what it does not say again
//! within our stale time goes, back or not; and what it asked to be kept for long is, from where the first two run out without
//! it. All of it ends early with the neighbour's End-of-RIB, or when its new OPEN says that it did not go on forwarding.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use petiole_prefix::Family;
use serde::Serialize;

use super::negotiate::Negotiated;
use crate::config::RestartPolicy;
use crate::ended::DownReason;

/// What the neighbour said of its restarts when the session was made, as far as our settings go along.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Terms {
    /// How long it wants to be waited for.
    restart_time: Duration,
    /// NOTIFICATIONs end the session no less gracefully.
    pub(crate) notification: bool,
    /// Families to keep, each with F: it went on forwarding before this session.
    families: BTreeMap<Family, bool>,
    /// Families to keep for long, each with F and for how long.
    long_lived: BTreeMap<Family, (bool, Duration)>,
    stale_time: Duration,
}

impl Terms {
    pub(crate) fn of(negotiated: &Negotiated, policy: Option<&RestartPolicy>) -> Self {
        let (Some(policy), Some(restart)) = (policy, &negotiated.graceful_restart) else { return Self::default() };
        let spoken = |family: &Family| negotiated.update.families.contains(family);
        let families = restart.families.iter().filter_map(|f| Some((f.family()?, f.forwarding)));
        let long_lived = negotiated.long_lived.iter().flat_map(|l| &l.families).filter_map(|f| {
            let time = Duration::from_secs(f.stale_time.into()).min(policy.long_lived_time);
            Some((f.family()?, (f.forwarding, time)))
        });
        Self {
            restart_time: Duration::from_secs(restart.restart_time.into()),
            notification: negotiated.notification_restart,
            families: families.filter(|(f, _)| spoken(f)).collect(),
            long_lived: long_lived.filter(|(f, (_, time))| spoken(f) && !time.is_zero()).collect(),
            stale_time: policy.stale_time,
        }
    }

    /// Whether the neighbour restarts gracefully at all.
    pub(crate) fn any(&self) -> bool {
        !(self.families.is_empty() && self.long_lived.is_empty())
    }

    /// The families to keep should the session end for this reason.
    fn kept(&self, reason: &DownReason) -> BTreeSet<Family> {
        let all = self.families.keys().chain(self.long_lived.keys()).copied();
        if reason.retains(self.notification) { all.collect() } else { BTreeSet::new() }
    }
}

/// Why kept paths are kept no longer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RetentionEnd {
    /// The neighbour has sent all it has; what it did not say again is gone.
    Confirmed,
    /// It did not come back within its restart time.
    RestartTimeOver,
    /// It did not say all of it again within our stale time.
    StaleTimeOver,
    /// It did not come back within its long-lived stale time.
    LongLivedTimeOver,
    /// Its new OPEN says that it did not go on forwarding, or is without the family.
    NotForwarded,
    /// Its session ended once more before it had said all of it again.
    EndedAgain,
    /// The session, or what would have become one, ended for a reason for which nothing is kept.
    Ended,
}

impl fmt::Display for RetentionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirmed => "it has sent all it has",
            Self::RestartTimeOver => "it did not come back within its restart time",
            Self::StaleTimeOver => "it did not send all of it again within the stale time",
            Self::LongLivedTimeOver => "it did not come back within its long-lived stale time",
            Self::NotForwarded => "it says that it did not go on forwarding",
            Self::EndedAgain => "its session ended again before all of it was sent",
            Self::Ended => "nothing is kept over such an end",
        })
    }
}

/// How long a family is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    /// Until when, as it stands.
    pub(crate) until: Duration,
    /// Whether that is the long-lived time.
    pub(crate) long_lived: bool,
    /// How long it is kept beyond, should the neighbour not be back by then.
    then: Duration,
}

/// What is kept of one neighbour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Retention {
    /// When the session ended. With several, of which each ended before the last one's paths were confirmed, the first.
    pub(crate) since: Duration,
    /// Why it did; of several, the last.
    pub(crate) why: DownReason,
    /// Whether a session is back, and End-of-RIB is awaited.
    pub(crate) back: bool,
    stale_until: Duration,
    pub(crate) families: BTreeMap<Family, Kept>,
}

/// What is to be done about a family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Its paths go.
    Lapse(RetentionEnd),
    /// Its paths become long-lived, until then.
    Age(Duration),
}

/// The end of a session: which families of its own are kept, what is kept altogether from now on, and of which families what
/// was kept before goes.
pub(crate) struct AtEnd {
    pub(crate) kept: BTreeSet<Family>,
    pub(crate) retention: Option<Retention>,
    pub(crate) lapsed: BTreeMap<Family, RetentionEnd>,
}

impl Retention {
    /// Takes note of the end of an Established session, `before` being what was still kept of earlier ones.
    pub(crate) fn at_end(before: Option<Self>, terms: &Terms, reason: &DownReason, now: Duration) -> AtEnd {
        let kept = terms.kept(reason);
        // RFC 8538 section 4.1: where NOTIFICATIONs keep paths, repeated ends must not lose them, and the stale time does not
        // start anew. RFC 4724 section 4.2: otherwise what was stale before goes with the second end. What was kept for long
        // has had its chance.
        let goes_on = |family: &Family, k: &Kept| kept.contains(family) && terms.notification && !k.long_lived;
        let end = if kept.is_empty() { RetentionEnd::Ended } else { RetentionEnd::EndedAgain };
        let (mut since, mut stale_until) = (now, now + terms.stale_time);
        let mut lapsed = BTreeMap::new();
        for (family, k) in before.iter().flat_map(|b| &b.families) {
            if !goes_on(family, k) {
                lapsed.insert(*family, end);
            }
        }
        if let Some(before) = before.filter(|b| b.families.iter().any(|(f, k)| goes_on(f, k))) {
            (since, stale_until) = (before.since, before.stale_until);
        }
        let back_until = (now + terms.restart_time).min(stale_until);
        let families = kept.iter().map(|family| {
            let until = if terms.families.contains_key(family) { back_until } else { now };
            let then = terms.long_lived.get(family).map_or(Duration::ZERO, |(_, time)| *time);
            (*family, Kept { until, long_lived: false, then })
        });
        let families: BTreeMap<_, _> = families.collect();
        let retention =
            (!families.is_empty()).then(|| Self { since, why: reason.clone(), back: false, stale_until, families });
        AtEnd { kept, retention, lapsed }
    }

    /// A session is back; says of which families nothing is kept any longer.
    pub(crate) fn is_back(&mut self, terms: &Terms) -> Vec<Family> {
        self.back = true;
        let stale_until = self.stale_until;
        let mut lapsed = Vec::new();
        self.families.retain(|family, kept| {
            let forwarded = if kept.long_lived {
                terms.long_lived.get(family).is_some_and(|(forwarded, _)| *forwarded)
            } else {
                kept.until = stale_until;
                terms.families.get(family).copied().unwrap_or(false)
            };
            if !forwarded {
                lapsed.push(*family);
            }
            forwarded
        });
        lapsed
    }

    /// What is due.
    pub(crate) fn turns(&mut self, now: Duration) -> Vec<(Family, Turn)> {
        let (back, stale_until) = (self.back, self.stale_until);
        let mut turns = Vec::new();
        self.families.retain(|family, kept| {
            if kept.until > now {
                return true;
            }
            if kept.long_lived {
                turns.push((*family, Turn::Lapse(RetentionEnd::LongLivedTimeOver)));
                return false;
            }
            if !back && !kept.then.is_zero() {
                *kept = Kept { until: now + kept.then, long_lived: true, then: Duration::ZERO };
                turns.push((*family, Turn::Age(kept.until)));
                return true;
            }
            let end =
                if back || now >= stale_until { RetentionEnd::StaleTimeOver } else { RetentionEnd::RestartTimeOver };
            turns.push((*family, Turn::Lapse(end)));
            false
        });
        turns
    }

    /// When something is due.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.families.values().map(|kept| kept.until).min()
    }
}
