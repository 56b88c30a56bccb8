//! `petiole fib`.

use petiole_node::view::FibEntry;

use crate::cli::table::{Cell, Look, Table, maybe};

/// One line a way out; the prefix stands on the first.
pub(crate) fn fib(views: &[FibEntry]) -> String {
    if views.is_empty() {
        return "nothing: no routes are learned and no block is owned\n".to_owned();
    }
    let mut table = Table::new(&["PREFIX", "KIND", "STATE", "SOURCE", "WAY OUT", "WHY"]);
    for entry in views {
        let look = match entry.state.as_str() {
            "in kernel" | "adopted" => Look::Good,
            "failed" => Look::Bad,
            _ => Look::Wait,
        };
        let mut hops = entry.hops.iter().map(String::as_str);
        let way = hops.next().unwrap_or(if entry.kind == "block" { "blackhole" } else { "-" });
        table.row(vec![
            entry.prefix.into(),
            entry.kind.as_str().into(),
            Cell::new(&entry.state, look),
            maybe(entry.prefsrc),
            way.into(),
            entry.reason.as_str().into(),
        ]);
        for hop in hops {
            table.row(vec!["".into(), "".into(), "".into(), "".into(), hop.into()]);
        }
    }
    table.print()
}
