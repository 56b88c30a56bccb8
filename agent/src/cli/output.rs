//! How an answer leaves: for people or for programs.

use std::io::Write;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// How answers are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Print what the agent answered: as it came, or as the table that `table` makes of it.
pub(super) fn print<V: DeserializeOwned>(answer: Value, output: Output, table: impl FnOnce(V) -> String) -> Result<()> {
    let text = match output {
        Output::Json => format!("{}\n", serde_json::to_string_pretty(&answer)?),
        Output::Table => match serde_json::from_value(answer) {
            Ok(view) => table(view),
            Err(e) => bail!("the agent's answer is not understood ({e}): is it of another version? try -o json"),
        },
    };
    emit(&text)
}

/// Write to standard output, with colour only where that is a terminal.
pub(super) fn emit(text: &str) -> Result<()> {
    match anstream::stdout().write_all(text.as_bytes()) {
        // `petiole status | head` is no failure.
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
