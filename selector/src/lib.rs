//! Label selectors in the grammar that Project Calico's resources use, such as an IP pool's `nodeSelector`.
//!
//! ```text
//! selector = and { "||" and }
//! and      = term { "&&" term }
//! term     = { "!" } ( "(" selector ")" | "all()" | "global()" | "has(" key ")" | key test )
//! test     = "==" text | "!=" text | "in" set | "not in" set | "contains" text | "starts with" text | "ends with" text
//! set      = "{" [ text { "," text } ] "}"
//! text     = "'" ... "'" | '"' ... '"'          no escapes: a text with one kind of quote stands in the other
//! key      = letters, digits and _ . / -, and no digit first
//! ```
//!
//! An empty selector selects everything. Where a key is missing, `!=` and `not in` hold, and every other test does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

mod parse;

pub use parse::SelectorError;

/// Labels: key to value.
pub type Labels = BTreeMap<String, String>;

/// A selector that was understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector(Term);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Term {
    All,
    Global,
    Has(String),
    Test(String, Test),
    Not(Box<Self>),
    /// Two at least.
    And(Vec<Self>),
    /// Two at least.
    Or(Vec<Self>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Test {
    Is(String),
    IsNot(String),
    In(BTreeSet<String>),
    NotIn(BTreeSet<String>),
    Contains(String),
    StartsWith(String),
    EndsWith(String),
}

impl Selector {
    /// Whether it selects whatever has these labels.
    #[must_use]
    pub fn selects(&self, labels: &Labels) -> bool {
        self.0.holds(labels)
    }
}

impl Default for Selector {
    /// Selects everything.
    fn default() -> Self {
        Self(Term::All)
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        parse::selector(text).map(Self)
    }
}

impl Term {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            // Of the two, only Calico's own namespaces tell them apart.
            Self::All | Self::Global => true,
            Self::Has(key) => labels.contains_key(key),
            Self::Test(key, test) => test.holds(labels.get(key).map(String::as_str)),
            Self::Not(term) => !term.holds(labels),
            Self::And(terms) => terms.iter().all(|t| t.holds(labels)),
            Self::Or(terms) => terms.iter().any(|t| t.holds(labels)),
        }
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::IsNot(_) | Self::NotIn(_), None) => true,
            (_, None) => false,
            (Self::Is(text), Some(value)) => value == text,
            (Self::IsNot(text), Some(value)) => value != text,
            (Self::In(set), Some(value)) => set.contains(value),
            (Self::NotIn(set), Some(value)) => !set.contains(value),
            (Self::Contains(text), Some(value)) => value.contains(text.as_str()),
            (Self::StartsWith(text), Some(value)) => value.starts_with(text.as_str()),
            (Self::EndsWith(text), Some(value)) => value.ends_with(text.as_str()),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all()"),
            Self::Global => f.write_str("global()"),
            Self::Has(key) => write!(f, "has({key})"),
            Self::Test(key, test) => write!(f, "{key} {test}"),
            Self::Not(term) => write!(f, "!{}", Within(term, false)),
            Self::And(terms) => joined(f, terms, " && ", false),
            Self::Or(terms) => joined(f, terms, " || ", true),
        }
    }
}

/// A term as part of another; in parentheses where it would read otherwise without.
struct Within<'a>(&'a Term, bool);

impl fmt::Display for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(term, may_be_and) = self;
        match term {
            Term::And(_) if *may_be_and => term.fmt(f),
            Term::And(_) | Term::Or(_) => write!(f, "({term})"),
            _ => term.fmt(f),
        }
    }
}

fn joined(f: &mut fmt::Formatter<'_>, terms: &[Term], by: &str, may_be_and: bool) -> fmt::Result {
    for (n, term) in terms.iter().enumerate() {
        let by = if n == 0 { "" } else { by };
        write!(f, "{by}{}", Within(term, may_be_and))?;
    }
    Ok(())
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(text) => write!(f, "== {}", Quoted(text)),
            Self::IsNot(text) => write!(f, "!= {}", Quoted(text)),
            Self::In(set) => write!(f, "in {}", Set(set)),
            Self::NotIn(set) => write!(f, "not in {}", Set(set)),
            Self::Contains(text) => write!(f, "contains {}", Quoted(text)),
            Self::StartsWith(text) => write!(f, "starts with {}", Quoted(text)),
            Self::EndsWith(text) => write!(f, "ends with {}", Quoted(text)),
        }
    }
}

struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quote = if self.0.contains('\'') { '"' } else { '\'' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

struct Set<'a>(&'a BTreeSet<String>);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(|t| Quoted(t).to_string()).collect();
        write!(f, "{{{}}}", texts.join(", "))
    }
}

#[cfg(test)]
mod tests;
