//! Mistakes and warnings with their places.

use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::problem::{Notice, Problem};

/// Where something was said.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// The host's own name, which is the default of `[node] name`.
    Hostname,
    /// An environment variable.
    Environment(&'static str),
    /// A place in the text.
    Text {
        /// The file, as the caller named it.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hostname => f.write_str("host name"),
            Self::Environment(variable) => write!(f, "environment variable {variable}"),
            Self::Text { origin, line, column } => write!(f, "{origin}:{line}:{column}"),
        }
    }
}

/// One mistake.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What is wrong and what to write.
    pub problem: Problem,
}

/// Every mistake of one configuration, sorted by place; never empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Sorts the mistakes by place.
    ///
    /// `None` when there are none.
    pub(crate) fn new(mut errors: Vec<ConfigError>) -> Option<Self> {
        errors.sort_by(|a, b| a.place.cmp(&b.place));
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// The mistakes that one text has for several nodes, each once; `None` when there are none.
    #[must_use]
    pub fn together(all: Vec<Self>) -> Option<Self> {
        let mut errors = Self::new(all.into_iter().flat_map(|errors| errors.0).collect())?;
        errors.0.dedup();
        Some(errors)
    }

    /// A single mistake.
    pub(crate) fn one(error: ConfigError) -> Self {
        Self(vec![error])
    }

    /// The mistakes, sorted by place.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// One mistake per line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, error) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Something allowed that is probably not meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Where.
    pub place: Place,
    /// What, and what to write if it was not meant.
    pub notice: Notice,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.notice)
    }
}

/// For `-o json`: `{"place": text, "line": number or null, "column": number or null, "message": text}`.
impl Serialize for ConfigError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_at(&self.place, &self.problem, serializer)
    }
}

/// For `-o json`: the same shape as [`ConfigError`]'s.
impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_at(&self.place, &self.notice, serializer)
    }
}

/// For `-o json`: a list.
impl Serialize for ConfigErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.0)
    }
}

fn serialize_at<S: Serializer>(place: &Place, what: &dyn fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    let (name, line, column) = match place {
        Place::Text { origin, line, column } => (origin.clone(), Some(line), Some(column)),
        Place::Hostname | Place::Environment(_) => (place.to_string(), None, None),
    };
    let mut object = serializer.serialize_struct("ConfigError", 4)?;
    object.serialize_field("place", &name)?;
    object.serialize_field("line", &line)?;
    object.serialize_field("column", &column)?;
    object.serialize_field("message", &what.to_string())?;
    object.end()
}
