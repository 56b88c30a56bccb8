//! Steps that the kernel refused, and when each is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::kernel::{KernelError, RouteKey};

/// What a step is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Object {
    Address(IpAddr, u8),
    Route(RouteKey),
}

/// What a refusal means, decided here once for all errnos (`include/uapi/asm-generic/errno*.h`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// The world is not ready: it may work in a moment.
    Retry,
    /// The mirror was wrong: compare with the kernel, then try again.
    Resync,
    /// It will not work until a person or a wish changes something: tried again at each resync only.
    Permanent,
}

impl Verdict {
    pub(crate) const fn of(error: &KernelError) -> Self {
        match error.errno {
            ESRCH | ENOENT | EEXIST | EIO | EADDRNOTAVAIL => Self::Resync,
            EPERM | EACCES | EINVAL | EAFNOSUPPORT | EOPNOTSUPP => Self::Permanent,
            _ => Self::Retry,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: KernelError,
    pub(crate) retry_at: Duration,
    attempts: u32,
}

/// All refused objects.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    by_object: BTreeMap<Object, Failure>,
    queue: BTreeSet<(Duration, Object)>,
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    /// For what will not work by itself.
    pub(crate) permanent: Duration,
}

impl Failures {
    pub(crate) fn get(&self, object: &Object) -> Option<&Failure> {
        self.by_object.get(object)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Object, &Failure)> {
        self.by_object.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_object.is_empty()
    }

    /// Whether the object must not be tried yet.
    pub(crate) fn blocks(&self, object: &Object, now: Duration) -> bool {
        self.by_object.get(object).is_some_and(|f| f.retry_at > now)
    }

    /// Notes a refusal.
    pub(crate) fn refuse(&mut self, object: Object, error: KernelError, backoff: Backoff, now: Duration) {
        let attempts = self.clear(&object).map_or(0, |f| f.attempts).saturating_add(1);
        let wait = match Verdict::of(&error) {
            Verdict::Permanent => backoff.permanent,
            Verdict::Retry | Verdict::Resync => {
                backoff.min.saturating_mul(1 << (attempts - 1).min(20)).min(backoff.max)
            }
        };
        let retry_at = now.saturating_add(wait);
        self.queue.insert((retry_at, object));
        self.by_object.insert(object, Failure { error, retry_at, attempts });
    }

    /// Forgets the object: it works, or another value is wanted.
    pub(crate) fn clear(&mut self, object: &Object) -> Option<Failure> {
        let failure = self.by_object.remove(object)?;
        self.queue.remove(&(failure.retry_at, *object));
        Some(failure)
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// The objects whose time has come; they leave the queue, and stay failed until they are cleared or refused again.
    pub(crate) fn take_due(&mut self, now: Duration) -> Vec<Object> {
        let mut due = Vec::new();
        while let Some(&(at, object)) = self.queue.first().filter(|&&(at, _)| at <= now) {
            self.queue.remove(&(at, object));
            due.push(object);
        }
        due
    }

    /// The world changed: everything may be tried again at once.
    pub(crate) fn kick(&mut self, now: Duration) -> Vec<Object> {
        self.queue.clear();
        for failure in self.by_object.values_mut() {
            failure.retry_at = failure.retry_at.min(now);
        }
        self.by_object.keys().copied().collect()
    }
}

const EPERM: i32 = 1;
pub(crate) const ENOENT: i32 = 2;
pub(crate) const ESRCH: i32 = 3;
pub(crate) const EIO: i32 = 5;
const EACCES: i32 = 13;
pub(crate) const EEXIST: i32 = 17;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;
const EAFNOSUPPORT: i32 = 97;
pub(crate) const EADDRNOTAVAIL: i32 = 99;
