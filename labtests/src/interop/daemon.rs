//! What every daemon can be asked, and which daemons there are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::daemons::{bird::Bird, exabgp::ExaBgp, frr::Frr, gobgp::GoBgp, openbgpd::OpenBgpd};
use super::wanted::{Link, Route, Wanted};
use crate::{Netns, Spawned, eventually};

/// A question or a configuration may take this long, seconds; then it is killed.
const DEADLINE: &str = "20";

/// Why a daemon cannot show a feature; a fact about it, not a failure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unsupported(pub(crate) String);

/// The fact, as an error that ends a feature.
pub(crate) fn unsupported(fact: &str) -> anyhow::Error {
    Unsupported(fact.to_owned()).into()
}

/// What the daemon says of its session with the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// In the daemon's own word.
    pub(crate) state: String,
    pub(crate) established: bool,
    /// The hold time agreed on, seconds, where the daemon tells it.
    pub(crate) hold: Option<u64>,
}

/// A route that the daemon has from the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) next_hop: String,
    /// AS numbers with blanks between.
    pub(crate) as_path: String,
    /// All kinds of them, in the daemon's own words.
    pub(crate) communities: String,
}

/// One BGP daemon as the leaf.
pub(crate) trait Daemon: fmt::Debug {
    /// Writes the configuration and starts it.
    fn start(&mut self, wanted: &Wanted) -> Result<()>;

    /// Its session with the node over a link.
    fn session(&self, link: Link) -> Result<Session>;

    /// Everything it has from the node over the first link, by prefix.
    fn received(&self) -> Result<BTreeMap<String, Received>>;

    /// Announces one more route while it runs.
    fn announce(&mut self, route: &Route) -> Result<()>;

    /// Withdraws one while it runs.
    fn withdraw(&mut self, route: &Route) -> Result<()>;

    /// Asks the node for its routes again (RFC 2918).
    fn refresh(&mut self) -> Result<()>;

    /// Ends the session of the first link by an administrative shutdown with these words, or its own (RFC 9003).
    fn shutdown(&mut self, words: &str) -> Result<()>;

    /// The prefixes of its best routes, also of a session that is away.
    fn table(&self) -> Result<BTreeSet<String>> {
        Ok(self.received()?.into_keys().collect())
    }

    /// Resets the session of the first link by a NOTIFICATION, to begin anew.
    fn reset(&mut self) -> Result<()>;

    /// Kills it, so that it says nothing more.
    fn kill(&mut self);

    /// Writes another configuration, for its next start.
    fn configure(&mut self, wanted: &Wanted) -> Result<()>;

    /// Starts it again after that, in the way it wants to be started where forwarding went on.
    fn revive(&mut self) -> Result<()>;

    /// Whether it can have several paths of one prefix by itself; else the fact.
    fn has_several_paths(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// Whether its routes of the family that is not the session's have a next hop that can be used; else the fact.
    fn announces_other_family(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// Its last lines, for a person who has to find out.
    fn log(&self) -> String;
}

/// A daemon of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// FRRouting, from Debian
    Frr,
    /// BIRD 2, from Debian
    Bird,
    /// GoBGP 3, from Debian
    Gobgp,
    /// OpenBGPD, from Debian
    Openbgpd,
    /// ExaBGP 4, from Debian
    Exabgp,
    /// GoBGP 4, from the Go module proxy
    Gobgp4,
    /// ExaBGP 5, from PyPI
    Exabgp5,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Frr, Self::Bird, Self::Gobgp, Self::Openbgpd, Self::Exabgp, Self::Gobgp4, Self::Exabgp5];

    /// Its name, as `--daemon` takes it.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Bird => "bird",
            Self::Gobgp => "gobgp",
            Self::Openbgpd => "openbgpd",
            Self::Exabgp => "exabgp",
            Self::Gobgp4 => "gobgp4",
            Self::Exabgp5 => "exabgp5",
        }
    }

    /// Its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Frr => "FRR",
            Self::Bird => "BIRD",
            Self::Gobgp | Self::Gobgp4 => "GoBGP",
            Self::Openbgpd => "OpenBGPD",
            Self::Exabgp | Self::Exabgp5 => "ExaBGP",
        }
    }

    /// Makes one in a place.
    pub(crate) fn daemon(self, place: Place, tools: &super::tools::Tools) -> Box<dyn Daemon> {
        match self {
            Self::Frr => Box::new(Frr::new(place)),
            Self::Bird => Box::new(Bird::new(place)),
            Self::Gobgp => Box::new(GoBgp::new(place, Path::new("/usr/bin"))),
            Self::Gobgp4 => Box::new(GoBgp::new(place, &tools.go_bin())),
            Self::Openbgpd => Box::new(OpenBgpd::new(place)),
            Self::Exabgp => Box::new(ExaBgp::new(place, vec!["/usr/sbin/exabgp".to_owned()])),
            Self::Exabgp5 => {
                let program = tools.python_bin().join("exabgp").to_string_lossy().into_owned();
                Box::new(ExaBgp::new(place, vec![program, "server".to_owned()]))
            }
        }
    }
}

/// Where a daemon lives: the leaf's namespace and a folder of its own.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) netns: Rc<Netns>,
    pub(crate) folder: PathBuf,
}

impl Place {
    /// A path in the folder, as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| path.clone())?;
        Ok(path)
    }

    /// Runs a command to its end; it gets a deadline.
    pub(crate) fn exec(&self, argv: &[&str]) -> Result<String> {
        self.netns.exec(&[&["timeout", "-k", "1", DEADLINE], argv].concat())
    }

    /// The same, with JSON as the answer.
    pub(crate) fn json(&self, argv: &[&str]) -> Result<Value> {
        let text = self.exec(argv)?;
        serde_json::from_str(&text).with_context(|| format!("{argv:?} wrote no JSON: {text}"))
    }

    /// Starts a command with its output in a file of the folder.
    pub(crate) fn spawn(&self, log: &str, argv: &[&str]) -> Result<Spawned> {
        let log = self.path(log);
        let script = "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1";
        self.netns.spawn(&[&["sh", "-c", script, "sh", &log], argv].concat())
    }

    /// Waits until somebody listens on a TCP port.
    pub(crate) fn listening(&self, port: u16) -> Result<()> {
        let filter = format!("sport = :{port}");
        eventually(Duration::from_secs(20), "the daemon listens", || {
            let shown = self.netns.exec(&["ss", "-Hltn", &filter])?;
            if shown.trim().is_empty() { Err(anyhow::anyhow!("nobody on port {port}")) } else { Ok(()) }
        })
    }

    /// The last lines of a file.
    pub(crate) fn tail(&self, name: &str) -> String {
        let text = fs::read(self.folder.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
    }
}
