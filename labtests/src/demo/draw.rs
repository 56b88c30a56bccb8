//! The report on one screen of at most 110 columns.

use std::fmt::Write as _;

use super::plan;
use super::report::{Cell, Report, Row, Seen};

/// Whether marks are coloured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) colour: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A tick or a cross.
    pub(crate) fn mark(self, holds: bool) -> String {
        if holds { self.paint("32", "✓") } else { self.paint("1;31", "✗") }
    }

    fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn title(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// Draws everything.
pub(crate) fn screen(report: &Report, style: Style) -> String {
    let mut text = control_plane(report, style);
    text.push('\n');
    text.push_str(&packets(report, style));
    text.push('\n');
    text.push_str(&services(report, style));
    text
}

/// Draws sessions, announcements and how the load is shared.
pub(crate) fn control_plane(report: &Report, style: Style) -> String {
    [fabric(report, style), announcements(report, style), shares(report, style)].join("\n")
}

/// Columns per rack.
const RACK: usize = 23;

/// Spines as two bars that cross the racks, leaves as boxes, nodes hanging from them.
fn fabric(report: &Report, style: Style) -> String {
    let state = |switch: &str, neighbour: &str| report.sessions.get(&(switch.to_owned(), neighbour.to_owned()));
    let up = |switch: &str, neighbour: &str| state(switch, neighbour).is_some_and(Result::is_ok);
    let both = |spine: &str, leaf: &str| style.mark(up(spine, leaf) && up(leaf, spine));
    let leaves = &plan::SWITCHES[2..];
    let mut lines: [String; 5] = Default::default();
    lines[0].push_str("spine1  AS 64600 ");
    lines[1].push_str("spine2  AS 64600 ");
    for line in &mut lines[2..] {
        line.push_str(&" ".repeat(17));
    }
    for (index, leaf) in leaves.iter().enumerate() {
        let last = index + 1 == leaves.len();
        let run = |from: usize| if last { String::new() } else { "═".repeat(RACK - from) };
        let name = format!(" {leaf}  AS {} ", 65_000 + index + 1);
        let _ = write!(lines[0], "══{}{}", both("spine1", leaf), run(3));
        let _ = write!(lines[1], "══╪══{}{}", both("spine2", leaf), run(6));
        let _ = write!(lines[2], "┌─┴──┴{}┐{}", "─".repeat(12), " ".repeat(RACK - 19));
        let _ = write!(lines[3], "│{name:<17}│{}", " ".repeat(RACK - 19));
        let _ = write!(lines[4], "└─┬{}┘{}", "─".repeat(15), " ".repeat(RACK - 19));
    }
    let racks: Vec<Vec<String>> = leaves.iter().map(|leaf| hanging(report, leaf, style)).collect();
    let mut text =
        format!("{}\n", style.title("The fabric, with its BGP sessions as the switches see them (IPv4 and IPv6)"));
    for line in lines {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for row in 0..racks.iter().map(Vec::len).max().unwrap_or(0) {
        let mut line = " ".repeat(17);
        for (rack, nodes) in racks.iter().enumerate() {
            let node = nodes.get(row).cloned().unwrap_or_default();
            let wide = width(&node);
            line.push_str(&node);
            if rack + 1 < racks.len() {
                line.push_str(&" ".repeat(RACK.saturating_sub(wide)));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A leaf's nodes, one per line, with their sessions; then its plain hosts.
fn hanging(report: &Report, leaf: &str, style: Style) -> Vec<String> {
    let nodes = plan::neighbours(leaf).into_iter().filter(|name| !name.starts_with("spine"));
    let mut ends: Vec<String> = nodes
        .map(|name| {
            let state = report.sessions.get(&(leaf.to_owned(), name.to_owned()));
            let second = plan::named(name).is_some_and(|agent| plan::rack_of(leaf) != agent.racks.first().copied());
            let tail = if second { " (eth2)" } else { "" };
            match state {
                Some(Ok(())) => format!("─{} {name}{tail}", style.mark(true)),
                Some(Err(why)) => format!("─{} {name} {}", style.mark(false), style.bad(why)),
                None => format!("─{} {name}", style.mark(false)),
            }
        })
        .collect();
    match leaf {
        "leaf1" => ends.push("── client1".to_owned()),
        "leaf4" => ends.push("── kafka1".to_owned()),
        _ => {}
    }
    let last = ends.len().saturating_sub(1);
    ends.into_iter().enumerate().map(|(i, end)| format!("  {}{end}", if i == last { "└" } else { "├" })).collect()
}

/// Columns that a text takes on the screen: colour takes none.
pub(crate) fn width(text: &str) -> usize {
    let mut count = 0;
    let mut inside = false;
    for c in text.chars() {
        match c {
            '\x1b' => inside = true,
            'm' if inside => inside = false,
            _ if inside => {}
            _ => count += 1,
        }
    }
    count
}

fn announcements(report: &Report, style: Style) -> String {
    let title = "Who announces what, and which switches have it from there";
    let legend = "✓✓ IPv4 and IPv6, ·· from another node";
    let mut text = format!("{}  {}\n", style.title(title), style.dim(legend));
    let head = format!(
        "{:<18}  {:<23}  {:<13}  {:<8}  {:<10}  sp1 sp2 lf1 lf2 lf3 lf4",
        "IPV4", "IPV6", "KIND", "NODE", "ORIGIN AS"
    );
    text.push_str(&style.dim(&head));
    text.push('\n');
    for row in &report.rows {
        text.push_str(&announcement(row, style));
        text.push('\n');
    }
    text
}

fn announcement(row: &Row, style: Style) -> String {
    let prefix = |family: usize| if row.prefixes[family].is_empty() { "none" } else { &row.prefixes[family] };
    let (v4, v6, kind, name, asn) = (prefix(0), prefix(1), row.kind, row.agent.name, row.agent.asn());
    let mut text = format!("{v4:<18}  {v6:<23}  {kind:<13}  {name:<8}  {asn:<10}  ");
    let cells = row.seen.iter().map(|families| {
        let marks = families.iter().map(|seen| match seen {
            Seen::Yes => style.mark(true),
            Seen::Elsewhere => style.dim("·"),
            Seen::No => style.mark(false),
        });
        marks.collect::<String>()
    });
    text.push_str(&cells.collect::<Vec<_>>().join("  "));
    text
}

fn shares(report: &Report, style: Style) -> String {
    let mut text = format!("{}\n", style.title("ECMP as spine1 holds it, in bgpd and in its kernel"));
    for share in &report.shares {
        let paths: Vec<String> = share.paths.iter().map(|(leaf, node)| format!("{leaf}→{node}")).collect();
        let paths = if paths.is_empty() { "nothing".to_owned() } else { paths.join("  ") };
        let (mark, prefix, kernel) = (style.mark(share.holds), &share.prefix, share.kernel);
        let hops = if kernel == 1 { "next hop" } else { "next hops" };
        let _ = writeln!(text, "{mark} {prefix:<22}  {paths:<47}  kernel: {kernel} {hops}");
    }
    text
}

fn packets(report: &Report, style: Style) -> String {
    let title = "1500 bytes, not to be fragmented, to a pod on each worker: IPv4 ms, IPv6 ms, hops of each";
    let mut text = format!("{}\n", style.title(title));
    let line = |first: &str, cells: Vec<String>| {
        let mut line = format!("{first:<17}");
        for cell in cells {
            line.push_str(&cell);
            line.push_str(&" ".repeat(RACK.saturating_sub(width(&cell))));
        }
        format!("{}\n", line.trim_end())
    };
    for (family, label) in ["IPv4 address", "IPv6 address"].into_iter().enumerate() {
        let address = |worker: &&str| report.pods.get(*worker).map_or("none", |pod| &pod[family]);
        let cells = plan::WORKERS.iter().map(|worker| style.dim(address(worker))).collect();
        text.push_str(&line(label, cells));
    }
    for from in std::iter::once(plan::CLIENT).chain(plan::WORKERS) {
        let cells = plan::WORKERS.iter().map(|to| match report.cells.get(&(from.to_owned(), (*to).to_owned())) {
            Some(cell) => packet(cell, style),
            None => style.dim("-"),
        });
        let first = if from == plan::CLIENT { from.to_owned() } else { format!("pod on {from}") };
        text.push_str(&line(&first, cells.collect()));
    }
    text
}

fn packet(cell: &Cell, style: Style) -> String {
    let ping = |ms: Option<f64>| {
        let figure = ms.map_or_else(|| "lost".to_owned(), milliseconds);
        format!("{}{figure}", style.mark(ms.is_some()))
    };
    let hops = |hops: Option<u32>| hops.map_or_else(|| "?".to_owned(), |hops| hops.to_string());
    let [v4, v6] = cell.pings.map(ping);
    let [h4, h6] = cell.hops.map(hops);
    format!("{v4} {v6} {}{h4}/{h6}", style.mark(cell.hops_hold))
}

/// Four columns, whatever the size.
fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 9.995 => format!("{ms:.2}"),
        ms if ms < 99.95 => format!("{ms:.1}"),
        ms => format!("{ms:4.0}"),
    }
}

fn services(report: &Report, style: Style) -> String {
    let mut text = format!("{}\n", style.title("TCP from client1 to a service behind the range"));
    for service in &report.services {
        let by: Vec<String> = service.by.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let by = if by.is_empty() { "nobody".to_owned() } else { by.join(", ") };
        let port = if service.address.contains(':') {
            format!("[{}]:80", service.address)
        } else {
            format!("{}:80", service.address)
        };
        let answered: usize = service.by.values().sum();
        let (mark, tried) = (style.mark(service.holds), service.tried);
        let _ = writeln!(text, "{mark} {port:<22}  {answered} of {tried} connections answered: {by}");
    }
    text
}

/// The last lines: the sum of it.
pub(crate) fn verdict(report: &Report, took: std::time::Duration, style: Style) -> String {
    let (due, failed, seconds) = (report.due, report.failures.len(), took.as_secs_f64());
    if report.passed() {
        return format!("{} all {due} observations hold; {seconds:.1} s from nothing to here\n", style.mark(true));
    }
    let mut text = format!("{} {failed} of {due} observations are missing, after {seconds:.1} s:\n", style.mark(false));
    for failure in report.failures.iter().take(SHOWN) {
        let _ = writeln!(text, "  - {failure}");
    }
    if failed > SHOWN {
        let _ = writeln!(text, "  and {} more", failed - SHOWN);
    }
    text
}

/// Failures that are told one by one.
const SHOWN: usize = 25;

#[cfg(test)]
mod tests;
