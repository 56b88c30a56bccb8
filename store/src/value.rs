//! The values of Calico's keys: JSON as Calico writes it.
//!
//! Each type decodes from the value of a key and encodes to the bytes that Calico would have written: the same fields, in the
//! same order, `null` and absent kept apart where Calico keeps them apart, and fields that are not known here behind those that
//! are. So a value can be read, changed and written back without losing what another version put there.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::key::{Key, KeyError};

mod affinity;
mod block;
mod config;
mod forgotten;
mod handle;
mod pool;

pub use affinity::{Affinity, AffinityState};
pub use block::{Attribute, Block};
pub use config::IpamConfig;
pub use forgotten::Forgotten;
pub use handle::Handle;
pub use pool::{Encapsulation, Metadata, Pool, PoolSpec, Reservation};

/// Fields that are not known here, in the order in which they came.
pub type Unknown = serde_json::Map<String, serde_json::Value>;

/// Why a value could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ValueError {
    /// The key itself is not one of this kind.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key is of another kind than the value that was asked for.
    #[error("key {key} holds no {wanted}")]
    OtherKind {
        /// The key.
        key: String,
        /// What was asked for.
        wanted: &'static str,
    },
    /// The value is not JSON of this shape.
    #[error("the value of {key} is no {kind} that can be read: {wrong}")]
    Json {
        /// The key.
        key: String,
        /// What should be there.
        kind: &'static str,
        /// The parser's words, with line and column.
        wrong: String,
    },
    /// The value is JSON of the right shape, but contradicts itself or its key.
    #[error("the value of {key} is no {kind} that can be used: {wrong}")]
    Inconsistent {
        /// The key.
        key: String,
        /// What should be there.
        kind: &'static str,
        /// What contradicts what.
        wrong: String,
    },
}

/// The value of a key.
pub trait Value: Sized + Serialize + for<'de> Deserialize<'de> {
    /// What it is called in errors.
    const KIND: &'static str;

    /// Checks the value against itself and its key; `Ok(None)` when the key is of another kind.
    ///
    /// # Errors
    /// What contradicts what, in words.
    fn check(&self, key: &Key) -> Result<Option<()>, String>;

    /// Reads the value of this key.
    ///
    /// # Errors
    /// When the key is not of this kind, or the value is not JSON of this shape, or contradicts itself or the key.
    fn decode(key: &str, value: &[u8]) -> Result<Self, ValueError> {
        decode(key, value)
    }

    /// The bytes to store.
    fn encode(&self) -> Vec<u8> {
        match serde_json::to_vec(self) {
            Ok(bytes) => bytes,
            // Only a map with keys that are no text fails to encode, and these types have none.
            Err(e) => unreachable!("a {} always encodes: {e}", Self::KIND),
        }
    }
}

fn decode<T: Value>(key: &str, value: &[u8]) -> Result<T, ValueError> {
    let parsed = Key::parse(key)?;
    let json = |e: serde_json::Error| ValueError::Json { key: key.to_owned(), kind: T::KIND, wrong: e.to_string() };
    let this: T = serde_json::from_slice(value).map_err(json)?;
    match this.check(&parsed) {
        Ok(Some(())) => Ok(this),
        Ok(None) => Err(ValueError::OtherKind { key: key.to_owned(), wanted: T::KIND }),
        Err(wrong) => Err(ValueError::Inconsistent { key: key.to_owned(), kind: T::KIND, wrong }),
    }
}

/// A field that may be absent, `null`, or have a value; Calico's versions differ in which they write for "nothing".
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Field<T> {
    /// The field is not there.
    #[default]
    Absent,
    /// The field is `null`.
    Null,
    /// The field has this value.
    Is(T),
}

impl<T> Field<T> {
    /// The value, if there is one.
    #[must_use]
    pub const fn get(&self) -> Option<&T> {
        match self {
            Self::Absent | Self::Null => None,
            Self::Is(value) => Some(value),
        }
    }

    /// Whether the field is not written at all.
    #[must_use]
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Is))
    }
}

/// `null` reads as empty.
fn null_as_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Maps whose keys are typed here and text in JSON: written in the order of the text, as Go does.
mod by_text {
    use super::{BTreeMap, Deserialize, Deserializer, Display, FromStr, Serialize, Serializer, de};

    pub(super) fn serialize<K: Display, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let sorted: BTreeMap<String, &V> = map.iter().map(|(k, v)| (k.to_string(), v)).collect();
        sorted.serialize(serializer)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: FromStr<Err: Display> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let texts: Option<BTreeMap<String, V>> = Option::deserialize(deserializer)?;
        let typed = |(k, v): (String, V)| match k.parse() {
            Ok(key) => Ok((key, v)),
            Err(e) => Err(de::Error::custom(format_args!("key {k:?}: {e}"))),
        };
        texts.unwrap_or_default().into_iter().map(typed).collect()
    }
}

#[cfg(test)]
mod tests;
