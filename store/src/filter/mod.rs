//! The BIRD filter statements that operators keep in the store, read and evaluated.
//!
//! Calico before version 3 spliced every value under `/calico/bgp/v1/global/custom_filters/v4/` into the body of one BIRD 1.6
//! function, in the order of the keys, and called that in the export filter of every session. Here each value is a
//! [`Filter`] of its own, and a [`FilterSet`] evaluates all of them in the same order over the node's own candidates.
//!
//! **The language is a subset of BIRD 1.6's**: whatever is accepted here is accepted there and means the same, and whatever
//! BIRD knows but a node has no use for (variables, functions, BGP attributes, ...) is refused by its name. That includes
//! what surprises: `&&` and `||` bind equally tight and group from the left, and `!` binds tighter than `=` and `~`. One
//! thing is better: what BIRD notices only when a route comes along, such as comparing `net` with a set by `=`, is refused
//! when it is read.
//!
//! ```text
//! statements = { statement }
//! statement  = "if" condition "then" block [ "else" block ] | "accept" ";" | "reject" ";"
//! block      = statement | "{" statements "}"
//! condition  = operand { ( "&&" | "||" ) operand }                     all equally tight, from the left
//! operand    = "!" operand | "(" condition ")" | "true" | "false" | test
//! test       = "net" ( "=" | "!=" ) prefix       | "net" ( "~" | "!~" ) ( prefix | set )
//!            | "ifname" ( "=" | "!=" ) string    | "ifname" ( "~" | "!~" ) pattern
//! set        = "[" item { "," item } "]"
//! item       = prefix [ "+" | "-" | "{" number "," number "}" ]
//! ```
//!
//! Either side of `=` and `!=` may come first. Comments are `#` to the end of the line and `/* ... */`.

mod error;
mod eval;
mod lexer;
mod parser;
mod print;
mod set;
mod unsupported;

use petiole_prefix::{Family, Prefix};
use serde::{Deserialize, Serialize};

pub use error::FilterError;
pub use set::{Decision, FilterSet, Rejected};

/// One value: statements that parsed, and the text they came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    text: String,
    family: Family,
    body: Vec<Statement>,
}

impl Filter {
    /// Reads the statements of one value. All prefixes in it must be of this family.
    ///
    /// # Errors
    /// The first place that cannot be read, what is wrong there and what was expected. Texts longer than
    /// [`Filter::MAX_LEN`] bytes and nesting deeper than [`Filter::MAX_DEPTH`] are refused.
    pub fn parse(text: &str, family: Family) -> Result<Self, FilterError> {
        Ok(Self { text: text.to_owned(), family, body: parser::parse(text, family)? })
    }

    /// The text it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The family of its prefixes and of the routes it decides about.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The statements.
    #[must_use]
    pub fn body(&self) -> &[Statement] {
        &self.body
    }

    /// Longest text that is read, in bytes: some 10,000 prefixes.
    pub const MAX_LEN: usize = 256 * 1024;

    /// Deepest nesting of blocks, parentheses and `!` that is read.
    pub const MAX_DEPTH: usize = 64;
}

/// A place in a value's text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Something that may be announced, as a filter sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Candidate<'a> {
    /// The route's prefix: `net`.
    pub net: Prefix,
    /// The interface it is on: `ifname`. Without one, `ifname` is the empty string, as in BIRD.
    pub ifname: Option<&'a str>,
}

/// What a filter says about a candidate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Announce it.
    Accept,
    /// Do not announce it.
    Reject,
    /// Nothing: the statements ended without a decision.
    FallThrough,
}

/// A verdict and the statement that gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// Where the `accept` or `reject` stands; `None` for [`Verdict::FallThrough`].
    pub at: Option<Position>,
}

/// A statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Statement {
    /// `accept;`
    Accept(Position),
    /// `reject;`
    Reject(Position),
    /// `if ... then ... else if ... then ... else ...`
    If {
        /// The conditions in their order, each with what is done where it is the first to hold; at least one.
        arms: Vec<(Condition, Vec<Self>)>,
        /// What is done where none holds.
        otherwise: Option<Vec<Self>>,
    },
}

/// A truth value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// `true` or `false`.
    Constant(bool),
    /// `! a`
    Not(Box<Self>),
    /// `a && b || c ...`: as BIRD 1.6 has it, both operators bind equally tight and group from the left.
    Chain {
        /// The leftmost operand.
        first: Box<Self>,
        /// Operators with the operand at their right; at least one.
        rest: Vec<(Junction, Self)>,
    },
    /// `net = prefix`; `!=` where the flag is false.
    NetIs(bool, Prefix),
    /// `net ~ prefix`, the net lies in the prefix or equals it; `!~` where the flag is false.
    NetIn(bool, Prefix),
    /// `net ~ [ ... ]`; `!~` where the flag is false.
    NetInSet(bool, Vec<Pattern>),
    /// `ifname = "..."`; `!=` where the flag is false.
    IfnameIs(bool, String),
    /// `ifname ~ "..."`, a shell-like pattern: `*` is any text, `?` any character, `\` takes the next one as it is; `!~`
    /// where the flag is false.
    IfnameLike(bool, String),
}

/// `&&` or `||`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Junction {
    /// `&&`
    And,
    /// `||`
    Or,
}

/// One item of a prefix set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pattern {
    /// The prefix.
    pub prefix: Prefix,
    /// Which lengths match.
    pub lengths: Lengths,
}

/// Which lengths a [`Pattern`] matches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lengths {
    /// `a/b`: exactly the prefix's own.
    Own,
    /// `a/b+`: its own and longer, so the prefix and everything in it.
    OrLonger,
    /// `a/b-`: its own and shorter, so the prefix and everything around it.
    OrShorter,
    /// `a/b{m,n}`: m to n.
    Between(u8, u8),
}

#[cfg(test)]
mod tests;
