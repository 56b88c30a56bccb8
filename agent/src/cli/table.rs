//! Aligned columns, with colour that does not count as width.

use std::fmt::Write;

/// ANSI: back to plain text.
pub(super) const PLAIN: &str = "\x1b[0m";
/// ANSI: broken.
pub(super) const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
pub(super) const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";

/// How a cell looks on a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    Plain,
    Good,
    Bad,
    Wait,
    Dim,
    Bold,
}

impl Look {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => GREEN,
            Self::Bad => RED,
            Self::Wait => YELLOW,
            Self::Dim => DIM,
            Self::Bold => BOLD,
        }
    }
}

/// Text with a look; the printer takes the look away where there is no terminal.
pub(super) fn paint(text: &str, look: Look) -> String {
    if look == Look::Plain { text.to_owned() } else { format!("{}{text}{PLAIN}", look.code()) }
}

/// One cell.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    look: Look,
}

impl Cell {
    pub(super) fn new(text: impl ToString, look: Look) -> Self {
        Self { text: text.to_string(), look }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Look::Plain)
    }
}

/// Something that may be absent.
pub(super) fn maybe<T: ToString>(value: Option<T>) -> Cell {
    value.map_or_else(|| Cell::new("-", Look::Dim), Cell::from)
}

/// Rows under bold headings, two spaces between columns, nothing behind the last one.
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|h| Cell::new(h, Look::Bold)).collect()] }
    }

    /// Without headings.
    pub(super) const fn plain() -> Self {
        Self { rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(super) fn print(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |c: usize| {
            self.rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.text.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or(0);
            for (c, (cell, width)) in row.iter().zip(&widths).enumerate().take(last + 1) {
                out.push_str(&paint(&cell.text, cell.look));
                if c < last {
                    let _ = write!(out, "{:1$}  ", "", width - cell.text.chars().count());
                }
            }
            out.push('\n');
        }
        out
    }
}

/// A span of time in at most two units: `3 d 4 h`, `12 m 5 s`, `0.4 s`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a span is finite and not negative; whole seconds are meant"
)]
pub(super) fn span(seconds: f64) -> String {
    let s = seconds.max(0.0) as u64;
    match s {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{s} s"),
        60..3600 => format!("{} m {} s", s / 60, s % 60),
        3600..86400 => format!("{} h {} m", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86400, s % 86400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_whatever_its_colour() {
        let mut table = Table::new(&["A", "LONG", "C"]);
        table.row(vec!["1".into(), Cell::new("x", Look::Good), "end".into()]);
        table.row(vec!["wide".into(), "y".into()]);
        let plain = anstream::adapter::strip_str(&table.print()).to_string();
        assert_eq!(plain, "A     LONG  C\n1     x     end\nwide  y\n");
    }

    #[test]
    fn spans_have_two_units() {
        let spans: Vec<String> = [0.42, 59.9, 61.0, 7322.0, 266_400.0].into_iter().map(span).collect();
        assert_eq!(spans, ["0.4 s", "59 s", "1 m 1 s", "2 h 2 m", "3 d 2 h"]);
    }
}
