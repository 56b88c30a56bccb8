//! The result as a table for a terminal and as the document.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use super::daemon::Kind;
use super::features::Feature;
use super::tools::Tools;
use crate::command;

/// What became of one feature against one daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cell {
    /// With what was left out of it.
    Pass(String),
    /// What was seen instead.
    Fail(String),
    /// A fact about the daemon.
    Unsupported(String),
    /// Why the daemon could not be had here.
    Absent(String),
}

impl Cell {
    /// The verdict, and why.
    pub(crate) fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Pass(note) => ("pass", note),
            Self::Fail(why) => ("FAIL", why),
            Self::Unsupported(why) => ("not supported", why),
            Self::Absent(why) => ("not run", why),
        }
    }
}

/// One run, whole or in part.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) features: &'a [&'a Feature],
    pub(crate) kinds: &'a [Kind],
    pub(crate) results: &'a BTreeMap<(&'static str, Kind), Cell>,
    pub(crate) tools: &'a Tools,
    pub(crate) took: Duration,
}

impl Run<'_> {
    fn cell(&self, feature: &Feature, kind: Kind) -> Option<&Cell> {
        self.results.get(&(feature.id, kind))
    }
}

/// One line per feature, one column per daemon.
pub(crate) fn table(run: &Run<'_>) -> String {
    let mut text = format!("\n{:<25}", "FEATURE");
    for kind in run.kinds {
        let _ = write!(text, " {:<9}", kind.id());
    }
    text.push('\n');
    for feature in run.features {
        let _ = write!(text, "{:<25}", feature.id);
        for kind in run.kinds {
            let word = match run.cell(feature, *kind) {
                Some(Cell::Pass(_)) => "pass",
                Some(Cell::Fail(_)) => "FAIL",
                Some(Cell::Unsupported(_)) => "-",
                Some(Cell::Absent(_)) | None => "not run",
            };
            let _ = write!(text, " {word:<9}");
        }
        text.push('\n');
    }
    let count = |wanted: fn(&Cell) -> bool| run.results.values().filter(|cell| wanted(cell)).count();
    let _ = writeln!(
        text,
        "\n{} pass, {} fail, {} not supported by the daemon, {} not run; {:.0} s",
        count(|cell| matches!(cell, Cell::Pass(_))),
        count(|cell| matches!(cell, Cell::Fail(_))),
        count(|cell| matches!(cell, Cell::Unsupported(_))),
        count(|cell| matches!(cell, Cell::Absent(_))),
        run.took.as_secs_f64()
    );
    text
}

/// The document, from the same run.
pub(crate) fn document(run: &Run<'_>) -> String {
    let mut text = String::from(
        "# Interop\n\nEach row is one feature, each column one daemon in the place of the leaf, with the agent's real binary as the \
         node in a network\nnamespace beside it. A check asks the daemon's own table, the node's kernel or the recorded packets. \
         Written by\n`cargo xtask interop`; `--only FEATURE --daemon NAME` repeats one cell.\n\n",
    );
    let _ = writeln!(
        text,
        "Run of {}, {} against:\n",
        today(),
        version(&["petiole".into(), "--version".into()]).unwrap_or_else(|| "this tree".to_owned())
    );
    for kind in run.kinds {
        let _ =
            writeln!(text, "- `{}`: {} {}, {}", kind.id(), kind.name(), version_of(*kind, run.tools), source(*kind));
    }
    text.push_str("\n| feature | RFC |");
    for kind in run.kinds {
        let _ = write!(text, " {} |", kind.id());
    }
    text.push_str("\n|---|---|");
    text.push_str(&"---|".repeat(run.kinds.len()));
    text.push('\n');
    let mut notes: Vec<String> = Vec::new();
    for feature in run.features {
        let _ = write!(text, "| {} | {} |", feature.id, feature.rfc);
        for kind in run.kinds {
            let (word, why) = run.cell(feature, *kind).map_or(("not run", ""), Cell::words);
            let _ = write!(text, " {word}");
            if !why.is_empty() {
                let note = why.split_whitespace().collect::<Vec<_>>().join(" ");
                let number = notes.iter().position(|known| *known == note).unwrap_or_else(|| {
                    notes.push(note);
                    notes.len() - 1
                });
                let _ = write!(text, " [^{}]", number + 1);
            }
            text.push_str(" |");
        }
        text.push('\n');
    }
    text.push_str("\nWhat each row checks:\n\n");
    for feature in run.features {
        let _ = writeln!(text, "- **{}**: {}.", feature.id, feature.what);
    }
    text.push('\n');
    for (number, note) in (1..).zip(&notes) {
        let _ = writeln!(text, "[^{number}]: {note}");
    }
    text
}

fn source(kind: Kind) -> &'static str {
    match kind {
        Kind::Gobgp4 => "from the Go module proxy",
        Kind::Exabgp5 => "from PyPI",
        _ => "from Debian 12",
    }
}

/// The version as the daemon says it itself, or as its package is called.
pub(crate) fn version_of(kind: Kind, tools: &Tools) -> String {
    let package = match kind {
        Kind::Frr => "frr",
        Kind::Bird => "bird2",
        Kind::Gobgp => "gobgpd",
        Kind::Openbgpd => "openbgpd",
        Kind::Exabgp => "exabgp",
        Kind::Gobgp4 | Kind::Exabgp5 => return tools.version(kind).to_owned(),
    };
    let words = ["dpkg-query", "--show", "--showformat", "${Version}", package].map(str::to_owned);
    let full = version(&words).unwrap_or_else(|| "of unknown version".to_owned());
    full.split(['-', '+']).next().unwrap_or_default().to_owned()
}

fn version(words: &[String]) -> Option<String> {
    let (program, rest) = words.split_first()?;
    let text = command::run(Command::new(program).args(rest)).ok()?;
    Some(text.lines().next()?.trim().to_owned())
}

fn today() -> String {
    version(&["date", "-u", "+%Y-%m-%d"].map(str::to_owned)).unwrap_or_default()
}
