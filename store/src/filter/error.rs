//! Why a value could not be read.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Position;

/// The first place of a value that cannot be read. The fault is the operator's who wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub struct FilterError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What was expected there or what to write instead; empty where the message says it all.
    pub expected: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, expected } = self;
        write!(f, "line {line}, column {column}: {message}")?;
        if expected.is_empty() { Ok(()) } else { write!(f, "; {expected}") }
    }
}

impl FilterError {
    pub(super) fn new(at: Position, message: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { line: at.line, column: at.column, message: message.into(), expected: expected.into() }
    }
}
