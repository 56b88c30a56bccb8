//! A containerlab topology, read strictly and resolved to what each node is.
//!
//! The file keeps the meaning containerlab gives it: `${V:=default}` is expanded first, scalars take the value of
//! node over group over kind over defaults, `env`, `sysctls` and `labels` merge in that order, and `binds` and `exec`
//! add up. A field without an equal here is refused by name, so that one file never means two labs.

mod expand;
mod raw;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use expand::expand;

/// Why a topology is refused. Every text names the place in the file.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The topology file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not YAML, or has a field or a type that the runner does not honour.
    #[error(
        "{0}; fields named under `expected` are the ones this runner honours: remove the other, or use containerlab itself"
    )]
    Syntax(#[from] serde_yaml_ng::Error),
    /// A `${...}` of a form that is not honoured.
    #[error("line {line}: `{text}`: {why}")]
    Expand {
        /// Line, from 1.
        line: usize,
        /// The expression as written.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that is not honoured or not possible.
    #[error("{at}: {why}")]
    Value {
        /// Path of the field, for example `topology.nodes.leaf1.network-mode`.
        at: String,
        /// What is wrong, and what to write instead.
        why: String,
    },
}

/// A whole lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Lab name.
    pub name: String,
    /// What stands before a node's name in namespace names; `clab-<lab>-` unless the file says otherwise.
    pub prefix: String,
    /// The folder the file lies in; binds are relative to it.
    pub dir: PathBuf,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
    /// Links in the file's order.
    pub links: Vec<Link>,
}

/// One node, with every level of the file merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Always `linux`.
    pub kind: String,
    /// `group`, where given.
    pub group: Option<String>,
    /// The image containerlab would run. The runner uses the host's root instead.
    pub image: String,
    /// Host name; the node's name unless said otherwise.
    pub hostname: String,
    /// Environment of PID 1 and of everything executed in the node.
    pub env: BTreeMap<String, String>,
    /// `net.*` settings, written before PID 1 starts.
    pub sysctls: BTreeMap<String, String>,
    /// `entrypoint` and `cmd` as an argument vector; `sleep infinity` where the file gives neither.
    pub argv: Vec<String>,
    /// Files and folders of the host seen inside the node.
    pub binds: Vec<Bind>,
    /// Commands run once all of the node's links exist.
    pub exec: Vec<Vec<String>>,
    /// Labels; they have no effect.
    pub labels: BTreeMap<String, String>,
}

/// One bind mount.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bind {
    /// Absolute path on the host; it exists.
    pub source: PathBuf,
    /// Absolute path inside the node.
    pub target: PathBuf,
    /// Whether the node may not write through it.
    pub read_only: bool,
}

/// One veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The first end.
    pub a: End,
    /// The second end.
    pub b: End,
    /// MTU of both ends, in bytes; containerlab's 9500 where the file says nothing.
    pub mtu: u32,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct End {
    /// Node name.
    pub node: String,
    /// Interface name inside the node, at most 15 bytes.
    pub interface: String,
    /// MAC address, where the file fixes it.
    pub mac: Option<String>,
}

impl Topology {
    /// Reads a topology file. `name` replaces the lab's name, so that one file can run twice; `lookup` is the
    /// environment that `${V}` reads.
    pub fn load(
        path: &Path,
        name: Option<&str>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, TopologyError> {
        let read = |source| TopologyError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let file = path.canonicalize().map_err(read)?;
        let dir = file.parent().unwrap_or_else(|| Path::new("/"));
        Self::parse(&text, dir, name, lookup)
    }

    /// Reads a topology from its text, as if it lay in `dir`.
    pub fn parse(
        text: &str,
        dir: &Path,
        name: Option<&str>,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, TopologyError> {
        let text = expand(text, lookup)?;
        let file: raw::File = serde_yaml_ng::from_str(&text)?;
        resolve::resolve(file, dir, name)
    }

    /// The name of a node's network namespace, as containerlab names the container.
    pub fn container(&self, node: &str) -> String {
        format!("{}{node}", self.prefix)
    }
}
