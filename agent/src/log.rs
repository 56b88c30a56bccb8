//! The log, on standard error: text for people, JSON for collectors.

mod writer;

use std::io::{self, IsTerminal};

use petiole_node::{Event, Level};
use tracing_subscriber::EnvFilter;

pub use self::writer::Flush;

/// The variable that says what is logged, in tracing's filter language: `debug`, or `info,petiole::io::store=debug`.
pub const FILTER: &str = "PETIOLE_LOG";

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Format {
    /// A line for people.
    Text,
    /// An object a line.
    Json,
}

/// Begin to log, until what this gives is dropped. Only the first call of a process counts.
///
/// # Errors
/// When the system gives no thread.
pub fn start(format: Format) -> io::Result<Flush> {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    let (lines, flush) = writer::start(io::stderr())?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    let started = match format {
        Format::Json => builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init(),
        Format::Text => builder.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
    };
    // Only a test starts two agents in one process, and then the first one's log serves both.
    drop(started);
    Ok(flush)
}

/// Say what the node has to say.
pub fn say(event: &Event) {
    match event.level() {
        Level::Error => tracing::error!(target: "petiole::node", "{event}"),
        Level::Warn => tracing::warn!(target: "petiole::node", "{event}"),
        Level::Info => tracing::info!(target: "petiole::node", "{event}"),
        Level::Debug => tracing::debug!(target: "petiole::node", "{event}"),
    }
}
