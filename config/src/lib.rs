//! Text, environment and flags to validated settings.
//!
//! [`load`] reads a configuration and returns [`Settings`], which are valid by construction, or every mistake at once: each
//! with file, line and column, what is wrong and what to write. How the file looks is `schema`'s affair, what two sections
//! must agree on is `check`'s. [`Settings::to_toml`] goes the other way. Nothing here reads files or the environment: text
//! and [`Facts`] are arguments.

mod check;
mod community;
mod duration;
mod error;
mod later;
mod nodes;
mod print;
mod problem;
mod ranges;
mod reader;
mod schema;
pub mod settings;
mod url;

use std::collections::BTreeMap;
use std::path::PathBuf;

use toml::de::DeTable;

pub use community::{Community, NoCommunity};
pub use duration::parse as parse_duration;
pub use error::{ConfigError, ConfigErrors, Place, Warning};
pub use problem::{Notice, Problem};
pub use settings::*;

use reader::{Report, clip};

/// What the configuration cannot know by itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// The host's name: the default of `[node] name`.
    pub hostname: String,
    /// Environment variables. Only [`NODE_NAME`] is looked at; passing all of them is fine.
    pub environment: BTreeMap<String, String>,
}

impl Facts {
    /// Facts of a host with this name and no environment.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Self {
        Self { hostname: hostname.into(), environment: BTreeMap::new() }
    }
}

/// The environment variable that overrides `[node] name`: a DaemonSet fills it from the downward API.
pub const NODE_NAME: &str = "PETIOLE_NODE_NAME";

/// Reads a configuration. `origin` is how messages name it, as a rule the file's path. The empty text gives the defaults.
///
/// # Errors
/// Every mistake, sorted by place. A text that is no TOML is not checked further.
pub fn load(text: &str, origin: &str, facts: &Facts) -> Result<(Settings, Vec<Warning>), ConfigErrors> {
    let mut report = Report::new(origin, text);
    let (table, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let at = error.span().map_or(text.len(), |span| span.start);
        report.error(at, Problem::Syntax(clip(error.message())));
    }
    if let Some(errors) = ConfigErrors::new(std::mem::take(&mut report.errors)) {
        return Err(errors);
    }
    let table = nodes::apply(&mut report, table.into_inner(), facts);
    let draft = schema::read(&mut report, &table);
    let name = node_name(&mut report, &draft, facts);
    let settings = check::finish(&mut report, draft, name);
    let Report { errors, mut warnings, .. } = report;
    match ConfigErrors::new(errors) {
        Some(errors) => Err(errors),
        None => {
            warnings.sort_by(|a, b| a.place.cmp(&b.place));
            Ok((settings, warnings))
        }
    }
}

/// The nodes that have a section of their own, `[nodes.NAME]`, in order: a check loads the text as each of them.
#[must_use]
pub fn nodes(text: &str) -> Vec<String> {
    nodes::names(text)
}

/// The text of a configuration file.
///
/// # Errors
/// Where the first byte stands that is not UTF-8.
pub fn decode<'b>(bytes: &'b [u8], origin: &str) -> Result<&'b str, ConfigErrors> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default();
        let (line, column) = reader::line_column(valid, valid.len());
        let place = Place::Text { origin: origin.to_owned(), line, column };
        ConfigErrors::one(ConfigError { place, problem: Problem::NotUtf8 })
    })
}

impl Settings {
    /// The settings of a node with no configuration at all: no roles, no peers, a store of its own.
    ///
    /// The name is taken as it is; [`load`] with an empty text gives the same and checks it.
    #[must_use]
    pub fn defaults(hostname: &str) -> Self {
        let paths = Paths::default();
        Self {
            node: NodeSettings {
                name: hostname.to_owned(),
                roles: std::collections::BTreeSet::new(),
                router_id: None,
                addresses: Vec::new(),
                labels: BTreeMap::new(),
            },
            store: StoreSettings::Embedded(paths.state.join(StoreSettings::EMBEDDED)),
            bgp: None,
            announce: Vec::new(),
            ipam: IpamSettings::default(),
            kubernetes: None,
            paths,
            metrics_listen: Self::METRICS_LISTEN,
        }
    }
}

impl StoreSettings {
    /// The embedded store's folder inside the state folder.
    const EMBEDDED: &'static str = "store";
}

impl Paths {
    /// The socket of the API, HTTP with JSON.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.run.join("api.sock")
    }

    /// The socket that the CNI plugin calls.
    #[must_use]
    pub fn cni_socket(&self) -> PathBuf {
        self.run.join("cni.sock")
    }
}

/// The name in force: the environment's, else the file's, else the host's.
fn node_name(report: &mut Report<'_>, draft: &schema::Draft, facts: &Facts) -> String {
    let file = draft.node.name.as_ref();
    let (place, name) = match (facts.environment.get(NODE_NAME), file) {
        (Some(name), _) => (Place::Environment(NODE_NAME), name),
        (None, Some(name)) => return name.value.clone(),
        // Something unreadable stood there, and is reported.
        (None, None) if draft.node.name_said => return String::new(),
        (None, None) => (Place::Hostname, &facts.hostname),
    };
    if let Err(problem) = schema::check_name(name) {
        report.errors.push(ConfigError { place, problem });
    } else if let Some(file) = file.filter(|file| file.value != *name) {
        let notice = Notice::NameOverridden { environment: name.clone(), file: file.value.clone() };
        report.warn(file.at, notice);
    }
    name.clone()
}

#[cfg(test)]
mod tests;
