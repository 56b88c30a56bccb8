//! Reads TOML tables key by key, remembers where everything stood, and collects mistakes instead of stopping at the first.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use petiole_prefix::{Prefix, PrefixError};
use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use crate::duration;
use crate::error::{ConfigError, Place, Warning};
use crate::later;
use crate::problem::{Notice, Problem};

/// A value and the byte offset where it stood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At<T> {
    /// Byte offset.
    pub(crate) at: usize,
    /// The value.
    pub(crate) value: T,
}

/// What was found so far.
pub(crate) struct Report<'t> {
    origin: &'t str,
    text: &'t str,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
}

impl<'t> Report<'t> {
    pub(crate) fn new(origin: &'t str, text: &'t str) -> Self {
        Self { origin, text, errors: Vec::new(), warnings: Vec::new() }
    }

    pub(crate) fn error(&mut self, at: usize, problem: Problem) {
        let place = self.place(at);
        self.errors.push(ConfigError { place, problem });
    }

    pub(crate) fn warn(&mut self, at: usize, notice: Notice) {
        let place = self.place(at);
        self.warnings.push(Warning { place, notice });
    }

    /// Line of a byte offset, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        line_column(self.text, at).0
    }

    fn place(&self, at: usize) -> Place {
        let (line, column) = line_column(self.text, at);
        Place::Text { origin: self.origin.to_owned(), line, column }
    }
}

/// Line, and column in characters, of a byte offset; both from 1. An offset inside a character counts as its start.
pub(crate) fn line_column(text: &str, at: usize) -> (usize, usize) {
    let at = text.floor_char_boundary(at);
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

/// A kind of table: its name as the messages show it, its keys, and how it is written.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) keys: &'static [&'static str],
    pub(crate) wanted: &'static str,
}

/// One table of the text.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a> {
    pub(crate) at: usize,
    shape: &'static Shape,
    table: &'a DeTable<'a>,
}

impl<'a> Section<'a> {
    /// The table, with every key it does not know reported; `None` where the value is no table.
    pub(crate) fn open(
        report: &mut Report<'_>,
        shape: &'static Shape,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Option<Self> {
        let at = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::of_table(report, shape, at, table)),
            other => {
                let problem = Problem::NotATable { section: shape.name, found: found(other), wanted: shape.wanted };
                report.error(at, problem);
                None
            }
        }
    }

    /// The whole text: unknown keys here are unknown sections.
    pub(crate) fn of_table(report: &mut Report<'_>, shape: &'static Shape, at: usize, table: &'a DeTable<'a>) -> Self {
        for (key, _) in table.iter() {
            let (at, name) = (key.span().start, key.get_ref().as_ref());
            if shape.keys.contains(&name) {
                continue;
            }
            let section = shape.name;
            report.error(
                at,
                match later::lookup(section, name) {
                    Some((key, feature)) => Problem::NotYet { section, key, feature },
                    None => {
                        let (key, near, valid) = (clip(name), nearest(name, shape.keys), shape.keys.join(", "));
                        match section == ROOT {
                            true => Problem::UnknownSection { key, near, valid },
                            false => Problem::UnknownKey { section, key, near, valid },
                        }
                    }
                },
            );
        }
        Self { at, shape, table }
    }

    /// The raw value of a key.
    pub(crate) fn raw(&self, key: &str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.table.get(key)
    }

    /// A key's value, if the key is there.
    pub(crate) fn field(&self, key: &'static str) -> Option<Field<'a>> {
        self.raw(key).map(|value| Field {
            section: self.shape.name,
            key,
            at: value.span().start,
            value: value.get_ref(),
        })
    }

    /// The same, but reports where it is missing.
    pub(crate) fn required(
        &self,
        report: &mut Report<'_>,
        key: &'static str,
        write: &'static str,
    ) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() && !self.misspelt(key) {
            report.error(self.at, Problem::Missing { section: self.shape.name, key, write });
        }
        field
    }

    /// Whether a key was probably meant by one that is not known: one mistake, one message.
    pub(crate) fn misspelt(&self, key: &str) -> bool {
        let unknown = self.table.keys().map(|k| k.get_ref().as_ref()).filter(|k| !self.shape.keys.contains(k));
        unknown.into_iter().any(|k| nearest(k, self.shape.keys) == Some(key))
    }

    /// The tables of an array of tables; reports where it is something else.
    pub(crate) fn sections(&self, report: &mut Report<'_>, key: &'static str, shape: &'static Shape) -> Vec<Self> {
        let Some(value) = self.raw(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(|item| Self::open(report, shape, item)).collect(),
            other => {
                let problem = Problem::NotATable { section: shape.name, found: found(other), wanted: shape.wanted };
                report.error(value.span().start, problem);
                Vec::new()
            }
        }
    }
}

/// One key's value. The methods report what cannot be read, and return `None` then.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) section: &'static str,
    pub(crate) key: &'static str,
    pub(crate) at: usize,
    value: &'a DeValue<'a>,
}

impl<'a> Field<'a> {
    pub(crate) fn wrong_type(&self, report: &mut Report<'_>, wanted: &'static str) {
        let Self { section, key, at, value } = *self;
        report.error(at, Problem::WrongType { section, key, found: found(value), wanted });
    }

    pub(crate) fn string(&self, report: &mut Report<'_>, wanted: &'static str) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong_type(report, wanted);
        }
        text
    }

    /// The text where the value is one; reports nothing.
    pub(crate) fn as_str(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// The value where it is true or false; reports nothing.
    pub(crate) fn as_bool(&self) -> Option<bool> {
        self.value.as_bool()
    }

    pub(crate) fn boolean(&self, report: &mut Report<'_>) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong_type(report, "true or false");
        }
        value
    }

    pub(crate) fn number(&self, report: &mut Report<'_>, wanted: &'static str, min: u64, max: u64) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else {
            self.wrong_type(report, wanted);
            return None;
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| (min..=max).contains(n));
        if number.is_none() {
            self.out_of_range(report, min, max);
        }
        number
    }

    pub(crate) fn out_of_range(&self, report: &mut Report<'_>, min: u64, max: u64) {
        let Self { section, key, at, value } = *self;
        let value = value.as_integer().map(|n| clip(&n.to_string())).unwrap_or_default();
        report.error(at, Problem::OutOfRange { section, key, value, min, max });
    }

    /// The number where the value is one of 64 bits and not negative; reports nothing.
    pub(crate) fn as_number(&self) -> Option<u64> {
        self.value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
    }

    pub(crate) fn duration(&self, report: &mut Report<'_>) -> Option<Duration> {
        let Self { section, key, at, value } = *self;
        let (text, parsed) = match value {
            DeValue::String(text) => (quoted(text), duration::parse(text)),
            // A bare number is the commonest mistake, and deserves the same answer as "9".
            DeValue::Integer(n) => (clip(n.as_str()), Err(n.as_str().parse::<u32>().ok().map(|n| format!("{n}s")))),
            _ => {
                self.wrong_type(report, "a duration such as \"9s\" or \"500ms\"");
                return None;
            }
        };
        match parsed {
            Ok(duration) => Some(duration),
            Err(near) => {
                report.error(at, Problem::BadDuration { section, key, text, near });
                None
            }
        }
    }

    pub(crate) fn prefix(&self, report: &mut Report<'_>) -> Option<Prefix> {
        let text = self.string(report, "a prefix such as \"10.122.255.1/32\"")?;
        match text.parse() {
            Ok(prefix) => Some(prefix),
            Err(error) => {
                let error = match error {
                    PrefixError::NotAPrefix(text) => PrefixError::NotAPrefix(clip(&text)),
                    other => other,
                };
                let Self { section, key, at, .. } = *self;
                report.error(at, Problem::BadPrefix { section, key, error });
                None
            }
        }
    }

    /// The prefix of a single address.
    pub(crate) fn host_prefix(&self, report: &mut Report<'_>) -> Option<Prefix> {
        let text = self.string(report, "an address with its length, such as \"10.122.0.11/32\"")?;
        let wanted = match text.parse::<Prefix>() {
            Ok(prefix) if prefix.is_host() => return Some(prefix),
            Ok(prefix) => format!("the address itself with /{}", prefix.family().max_len()),
            Err(PrefixError::HostBits { addr, .. }) => format!("\"{}\"", Prefix::host(addr)),
            Err(_) => return self.prefix(report),
        };
        let Self { section, key, at, .. } = *self;
        report.error(at, Problem::NotOneAddress { section, key, text: clip(text), wanted });
        None
    }

    pub(crate) fn address(&self, report: &mut Report<'_>, example: &'static str) -> Option<IpAddr> {
        let text = self.string(report, "an IP address, quoted")?;
        let address = text.parse().ok();
        if address.is_none() {
            let Self { section, key, at, .. } = *self;
            // "10.0.0.0/31" and "[fe80::1]:179" are near enough to say exactly what to write.
            let bare = text.split_once('/').map_or(text, |(addr, _)| addr);
            let near = IpAddr::from_str(bare).ok().or_else(|| text.parse::<SocketAddr>().ok().map(|s| s.ip()));
            let wanted = near.map_or_else(|| format!("an address such as {example:?}"), |addr| format!("\"{addr}\""));
            report.error(at, Problem::BadAddress { section, key, text: quoted(text), wanted });
        }
        address
    }

    /// An address with its port; `default` is the port that a message proposes where there is none.
    pub(crate) fn socket(&self, report: &mut Report<'_>, default: u16) -> Option<SocketAddr> {
        let text = self.string(report, "an address with a port, such as \"127.0.0.1:9179\"")?;
        let socket = text.parse().ok();
        if socket.is_none() {
            let Self { section, key, at, .. } = *self;
            let bare = text.trim_start_matches('[').trim_end_matches(']');
            let wanted = match (bare.parse::<IpAddr>(), text.trim_start_matches(['*', ':']).parse::<u16>()) {
                (Ok(addr), _) => format!("\"{}\"", SocketAddr::new(addr, default)),
                (_, Ok(port)) => format!("\"127.0.0.1:{port}\", or \"[::]:{port}\" for every address"),
                _ => format!("an address, not a name, such as \"127.0.0.1:{default}\""),
            };
            report.error(at, Problem::BadListen { section, key, text: quoted(text), wanted });
        }
        socket
    }

    pub(crate) fn path(&self, report: &mut Report<'_>, example: &'static str) -> Option<PathBuf> {
        let text = self.string(report, "a path, quoted")?;
        if text.starts_with('/') && !text.contains('\0') {
            return Some(PathBuf::from(text));
        }
        let Self { section, key, at, .. } = *self;
        report.error(at, Problem::RelativePath { section, key, text: quoted(text), wanted: example });
        None
    }

    /// Whether the value is a whole number, of whatever size.
    pub(crate) const fn is_integer(&self) -> bool {
        matches!(self.value, DeValue::Integer(_))
    }

    /// The elements of an array, as fields of the same name.
    pub(crate) fn items(&self, report: &mut Report<'_>, wanted: &'static str) -> Option<Vec<Self>> {
        let Self { section, key, .. } = *self;
        match self.value {
            DeValue::Array(items) => {
                let field = |v: &'a Spanned<DeValue<'a>>| Self { section, key, at: v.span().start, value: v.get_ref() };
                Some(items.iter().map(field).collect())
            }
            _ => {
                self.wrong_type(report, wanted);
                None
            }
        }
    }
}

/// The nearest of several words, if one is near enough to have been meant.
pub(crate) fn nearest(word: &str, words: &[&'static str]) -> Option<&'static str> {
    // strsim costs |word| x |candidate|; nothing that long was meant to be a key of ours.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_ascii_lowercase().replace('-', "_");
    let distance = |w: &'static str| (strsim::damerau_levenshtein(&lower, &w.replace('-', "_")), w);
    let (distance, near) = words.iter().map(|w| distance(w)).min_by_key(|(d, _)| *d)?;
    (distance <= 1 + near.len() / 4).then_some(near)
}

/// The text in quotes, with control characters escaped, and cut where it is too long for a message.
pub(crate) fn quoted(text: &str) -> String {
    format!("{:?}", clip(text))
}

/// The text, cut where it is too long for a message.
pub(crate) fn clip(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

pub(crate) const fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// The name of the outermost table.
pub(crate) const ROOT: &str = "the file";
