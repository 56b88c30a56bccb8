//! All filters of one family, and what becomes of them while operators edit.

use std::collections::BTreeMap;

use petiole_prefix::Family;
use serde::{Deserialize, Serialize};

use super::{Candidate, Filter, FilterError, Position, Verdict};

/// The filters of one family by key.
///
/// **The last good set.** Every key stands for itself. A key whose value parses has that value in force at once. A key whose
/// value does not parse keeps the last value of its own that did, however often the others change meanwhile, and is listed
/// by [`rejected`](Self::rejected) until it parses or is deleted; one that never parsed has nothing in force. A key that is
/// deleted is gone, value and mistake: deleting is how an operator says so.
///
/// As JSON it is its texts; what is read back is parsed again, so that a file from another version is judged by this one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(into = "Saved", from = "Saved")]
pub struct FilterSet {
    family: Family,
    keys: BTreeMap<String, Entry>,
}

/// One key: what is in force and what is wrong with a newer value; one of the two at least.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Entry {
    good: Option<Filter>,
    mistake: Option<FilterError>,
}

/// A key whose present value could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rejected<'a> {
    /// The key.
    pub key: &'a str,
    /// What is wrong.
    pub error: &'a FilterError,
    /// Whether an earlier value of the key is still in force.
    pub last_good_in_force: bool,
}

/// What a set says about a candidate, and who said it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// The key and the place of the deciding statement in its value; `None` for [`Verdict::FallThrough`].
    pub by: Option<(String, Position)>,
}

impl FilterSet {
    /// A set without filters.
    #[must_use]
    pub const fn new(family: Family) -> Self {
        Self { family, keys: BTreeMap::new() }
    }

    /// The family of the routes it decides about.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Takes the present values of all keys; a key that is not among them was deleted.
    ///
    /// Returns whether anything changed that could change a decision.
    pub fn update<'a>(&mut self, values: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> bool {
        let mut before = std::mem::take(&mut self.keys);
        let mut changed = false;
        for (key, value) in values {
            let old = before.remove(key).unwrap_or_default();
            let (entry, news) = self.revised(old, value);
            changed |= news;
            self.keys.insert(key.to_owned(), entry);
        }
        changed | before.values().any(|entry| entry.good.is_some())
    }

    /// Takes one key's new value, or `None` when it was deleted. Returns whether that could change a decision.
    pub fn update_key(&mut self, key: &str, value: Option<&[u8]>) -> bool {
        let old = self.keys.remove(key).unwrap_or_default();
        let Some(value) = value else { return old.good.is_some() };
        let (entry, news) = self.revised(old, value);
        self.keys.insert(key.to_owned(), entry);
        news
    }

    /// The entry after its key got this value, and whether a decision could change.
    fn revised(&self, old: Entry, value: &[u8]) -> (Entry, bool) {
        let text = std::str::from_utf8(value).map_err(|error| not_utf8(value, error.valid_up_to()));
        match text {
            Ok(text) if old.good.as_ref().is_some_and(|good| good.text() == text) => {
                (Entry { mistake: None, ..old }, false)
            }
            _ => match text.and_then(|text| Filter::parse(text, self.family)) {
                Ok(good) => (Entry { good: Some(good), mistake: None }, true),
                Err(error) => (Entry { mistake: Some(error), ..old }, false),
            },
        }
    }

    /// The first `accept` or `reject` that a filter reaches, filter after filter in the order of their keys.
    #[must_use]
    pub fn evaluate(&self, candidate: &Candidate<'_>) -> Decision {
        for (key, filter) in self.in_force() {
            let outcome = filter.evaluate(candidate);
            if let Some(at) = outcome.at {
                return Decision { verdict: outcome.verdict, by: Some((key.to_owned(), at)) };
            }
        }
        Decision { verdict: Verdict::FallThrough, by: None }
    }

    /// The filters in force, in the order of their keys.
    pub fn in_force(&self) -> impl Iterator<Item = (&str, &Filter)> {
        self.keys.iter().filter_map(|(key, entry)| Some((key.as_str(), entry.good.as_ref()?)))
    }

    /// The keys whose present value could not be read, in their order.
    pub fn rejected(&self) -> impl Iterator<Item = Rejected<'_>> {
        self.keys.iter().filter_map(|(key, entry)| {
            let error = entry.mistake.as_ref()?;
            Some(Rejected { key, error, last_good_in_force: entry.good.is_some() })
        })
    }

    /// Whether no filter is in force.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.in_force().next().is_none()
    }
}

fn not_utf8(value: &[u8], valid: usize) -> FilterError {
    let text = value.get(..valid).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let line = text.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = text.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    FilterError::new(Position { line, column }, "this byte is not UTF-8", "write the value as plain text")
}

/// The set on disk.
#[derive(Serialize, Deserialize)]
struct Saved {
    family: Family,
    keys: BTreeMap<String, SavedEntry>,
}

#[derive(Serialize, Deserialize)]
struct SavedEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mistake: Option<FilterError>,
}

impl From<FilterSet> for Saved {
    fn from(set: FilterSet) -> Self {
        let entry = |entry: Entry| SavedEntry { text: entry.good.map(|good| good.text), mistake: entry.mistake };
        Self { family: set.family, keys: set.keys.into_iter().map(|(key, e)| (key, entry(e))).collect() }
    }
}

impl From<Saved> for FilterSet {
    fn from(saved: Saved) -> Self {
        let entry = |entry: SavedEntry| match entry.text.map(|text| Filter::parse(&text, saved.family)) {
            None => Entry { good: None, mistake: entry.mistake },
            Some(Ok(good)) => Entry { good: Some(good), mistake: entry.mistake },
            Some(Err(error)) => Entry { good: None, mistake: entry.mistake.or(Some(error)) },
        };
        Self { family: saved.family, keys: saved.keys.into_iter().map(|(key, e)| (key, entry(e))).collect() }
    }
}
