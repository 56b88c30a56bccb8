//! How far it is: a line that counts on a terminal, a line per finished stage elsewhere.

use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use super::draw::Style;

/// Writes to standard error, so that the report can be redirected.
#[derive(Debug)]
pub(crate) struct Stages {
    live: bool,
    style: Style,
    start: Instant,
    /// The text of the open line; empty where none is open.
    open: Mutex<String>,
}

impl Stages {
    /// `live` where lines may be redrawn.
    pub(crate) fn new(live: bool, style: Style, start: Instant) -> Self {
        Self { live, style, start, open: Mutex::new(String::new()) }
    }

    /// A stage goes on; shown on a terminal only, and only when it changed.
    pub(crate) fn going(&self, text: &str) {
        let Ok(mut open) = self.open.lock() else { return };
        if self.live && *open != text {
            eprint!("\r\x1b[K  {text}");
            let _shown = std::io::stderr().flush();
            text.clone_into(&mut open);
        }
    }

    /// A stage is over.
    pub(crate) fn done(&self, holds: bool, text: &str) {
        let Ok(mut open) = self.open.lock() else { return };
        let clear = if open.is_empty() { "" } else { "\r\x1b[K" };
        let (mark, seconds) = (self.style.mark(holds), self.start.elapsed().as_secs_f64());
        eprintln!("{clear}{mark} {text:<64} {seconds:>5.1} s");
        open.clear();
    }
}
