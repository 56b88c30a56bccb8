//! The file as written: exactly the fields that are honoured, everything else is an error that names the field.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor, value::MapAccessDeserializer};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) prefix: Option<String>,
    #[serde(default, rename = "mgmt")]
    pub(super) _mgmt: Mgmt,
    pub(super) topology: Body,
}

/// Only what says that there is no management network.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Mgmt {
    #[serde(rename = "skip-when-unused")]
    pub(super) _skip_when_unused: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    #[serde(default)]
    pub(super) defaults: Level,
    #[serde(default)]
    pub(super) kinds: BTreeMap<String, Level>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Level>,
    pub(super) nodes: BTreeMap<String, Option<Level>>,
    #[serde(default)]
    pub(super) links: Vec<Link>,
}

/// What can be said of a node, at any of the four levels.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Level {
    pub(super) kind: Option<String>,
    pub(super) group: Option<String>,
    pub(super) image: Option<String>,
    pub(super) image_pull_policy: Option<String>,
    pub(super) restart_policy: Option<String>,
    pub(super) network_mode: Option<String>,
    pub(super) privileged: Option<bool>,
    pub(super) hostname: Option<String>,
    pub(super) entrypoint: Option<String>,
    pub(super) cmd: Option<String>,
    #[serde(default)]
    pub(super) env: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(super) sysctls: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, Scalar>,
    #[serde(default)]
    pub(super) binds: Vec<String>,
    #[serde(default)]
    pub(super) exec: Vec<String>,
}

/// A text, number or truth value, kept as text.
#[derive(Debug, Clone)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Scalar, E> {
                Ok(Scalar(v.to_owned()))
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) mtu: Option<u32>,
    #[serde(default, rename = "labels")]
    pub(super) _labels: BTreeMap<String, Scalar>,
}

/// `node:interface`, or the long form.
#[derive(Debug)]
pub(super) enum Endpoint {
    Short(String),
    Long(LongEndpoint),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LongEndpoint {
    pub(super) node: String,
    pub(super) interface: String,
    pub(super) mac: Option<String>,
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Endpoint;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"node:interface\" or { node, interface, mac }")
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Endpoint, E> {
                Ok(Endpoint::Short(v.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Endpoint, A::Error> {
                LongEndpoint::deserialize(MapAccessDeserializer::new(map)).map(Endpoint::Long)
            }
        }
        deserializer.deserialize_any(Either)
    }
}
