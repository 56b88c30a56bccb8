//! Colour and redrawing, only where a person looks: on a terminal, and not when `NO_COLOR` is set.

use std::io::IsTerminal;

/// How one of the two output streams may be written to.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    colour: bool,
}

/// The style of standard output.
pub(crate) fn out() -> Style {
    Style { colour: std::io::stdout().is_terminal() && wanted() }
}

/// The style of standard error.
pub(crate) fn err() -> Style {
    Style { colour: std::io::stderr().is_terminal() && wanted() }
}

/// <https://no-color.org>: present and not empty means no colour; a dumb terminal has none either.
fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

impl Style {
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// True where lines may be redrawn and child processes may be told to colour.
    pub(crate) fn is_live(self) -> bool {
        self.colour
    }

    /// No colour, wherever it goes.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colour: false }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
