//! `petiole bgp trace`.

use petiole_node::view::TraceView;

use crate::cli::table::{Cell, Look, Table};

/// One line a message, state or event.
pub(crate) fn trace(views: &[TraceView], last: Option<usize>) -> String {
    if views.is_empty() {
        return "nothing has happened on this session yet\n".to_owned();
    }
    let skipped = views.len().saturating_sub(last.unwrap_or(usize::MAX));
    let mut table = Table::new(&["TIME (UTC)", "", "WHAT"]);
    for view in views.iter().skip(skipped) {
        let what = match view.kind.as_str() {
            "state" => Cell::new(&view.what, Look::Bold),
            "event" => Cell::new(&view.what, Look::Dim),
            _ => view.what.as_str().into(),
        };
        let arrow = match view.sent {
            Some(true) => "->",
            Some(false) => "<-",
            None => "",
        };
        table.row(vec![clock(view.unix_seconds).into(), arrow.into(), what]);
    }
    table.print()
}

/// The time of day, to the millisecond.
fn clock(unix: f64) -> String {
    let millis = (unix.max(0.0) * 1000.0) as u64;
    let seconds = millis / 1000;
    format!("{:02}:{:02}:{:02}.{:03}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, millis % 1000)
}
