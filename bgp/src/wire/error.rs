//! What is wrong with an UPDATE, and what is to be done about it.

use std::fmt;

use serde::Serialize;

/// What a malformed part of an UPDATE leads to; the strongest wins (RFC 7606 section 2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// The attribute is left out, the routes stand.
    Discard,
    /// The routes count as withdrawn.
    Withdraw,
    /// The family is not used any more on this session.
    ResetFamily,
    /// The session ends with a NOTIFICATION.
    Reset,
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discard => "attribute discarded",
            Self::Withdraw => "treated as withdrawn",
            Self::ResetFamily => "family disabled",
            Self::Reset => "session reset",
        })
    }
}

/// What is wrong with an UPDATE.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct UpdateFault {
    /// The attribute at fault, if it is one.
    pub attribute: Option<u8>,
    /// What is wrong with it.
    pub what: Fault,
}

/// Kinds of faults (RFC 7606 sections 3 to 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A length points past the end of what holds it.
    Overrun,
    /// The length is not one this attribute can have.
    Length,
    /// The optional or transitive flag is wrong.
    Flags,
    /// The value has no meaning.
    Value,
    /// It occurs twice.
    Duplicate,
    /// It is mandatory and missing.
    Missing,
    /// It has no business on this kind of session.
    NotExpected,
    /// It claims to be well-known, and is not known.
    UnknownWellKnown,
    /// A prefix is longer than its family allows, or is cut short.
    Nlri,
}

impl fmt::Display for UpdateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.attribute {
            Some(code) => write!(f, "{}: ", super::iana::attribute_name(code))?,
            None => f.write_str("UPDATE: ")?,
        }
        f.write_str(match self.what {
            Fault::Overrun => "a length points past the end",
            Fault::Length => "impossible length",
            Fault::Flags => "wrong flags",
            Fault::Value => "meaningless value",
            Fault::Duplicate => "occurs twice",
            Fault::Missing => "mandatory, and missing",
            Fault::NotExpected => "not expected from an external peer",
            Fault::UnknownWellKnown => "unknown, but said to be well-known",
            Fault::Nlri => "a prefix is too long or cut short",
        })
    }
}
