//! `petiole status`.

use petiole_node::view::{AnnouncementView, PodsView, StatusView};

use crate::cli::orders;
use crate::cli::table::{Cell, Look, Table, maybe, paint, span};

/// The code of prefixes such as 127.0.0.0/8.
const NEVER: &str = "not_announceable";

/// The node on one screen: what is wrong and what to do next come last, where the eye is.
pub(crate) fn status(view: &StatusView) -> String {
    let mut out = head(view);
    if !view.peers.is_empty() {
        let mut table = Table::new(&["PEER", "AS", "STATE", "UPLINK", "LAST ERROR"]);
        for peer in &view.peers {
            let up = peer.state == "Established";
            table.row(vec![
                peer.peer.into(),
                peer.asn.map_or_else(|| "external".into(), Cell::from),
                Cell::new(&peer.state, if up { Look::Good } else { Look::Bad }),
                maybe(peer.uplink.as_ref()),
                if up { "".into() } else { peer.last_error.as_deref().unwrap_or_default().into() },
            ]);
        }
        out += &format!("\n{}", table.print());
    }
    // What can never leave a host is no news: `petiole why` still tells.
    let candidates: Vec<_> = view.announcements.iter().filter(|a| a.code != NEVER).collect();
    if !candidates.is_empty() {
        out += &format!("\n{}", announcements(&candidates));
    }
    if !view.gates.is_empty() {
        let mut table = Table::new(&["HEALTH OF", "STATE", "STREAK", "CHECK", "LAST PROBE"]);
        for gate in &view.gates {
            let look = match gate.state.as_str() {
                "healthy" => Look::Good,
                "unhealthy" => Look::Bad,
                _ => Look::Wait,
            };
            let last = gate.last.as_deref().unwrap_or_default();
            table.row(vec![
                gate.prefix.into(),
                Cell::new(&gate.state, look),
                format!("{:+}", gate.streak).into(),
                gate.check.as_str().into(),
                last.into(),
            ]);
        }
        out += &format!("\n{}", table.print());
    }
    out += &list("Problems", &view.problems, Look::Bad);
    out += &list("What to do next", &view.next_steps, Look::Bold);
    out
}

fn head(view: &StatusView) -> String {
    let mut table = Table::plain();
    let roles = if view.roles.is_empty() { "no roles".to_owned() } else { view.roles.join(", ") };
    let mut who = vec![roles];
    who.extend(view.asn.map(|asn| format!("AS {asn}")));
    who.extend(view.router_id.map(|id| format!("router id {id}")));
    table.row(vec![Cell::new("Node", Look::Bold), format!("{} ({})", view.node, who.join(", ")).into()]);
    table.row(vec![
        Cell::new("Agent", Look::Bold),
        format!("petiole {}, up {}", view.version, span(view.uptime_seconds)).into(),
    ]);
    table.row(vec![
        Cell::new("Ready", Look::Bold),
        if view.ready {
            Cell::new("yes", Look::Good)
        } else {
            Cell::new(format!("no: {}", view.not_ready.join("; ")), Look::Wait)
        },
    ]);
    let store = match &view.store.error {
        Some(error) if view.store.state != "in sync" => format!("{}, {}: {error}", view.store.kind, view.store.state),
        _ => format!("{}, {}", view.store.kind, view.store.state),
    };
    let look = match view.store.state.as_str() {
        "in sync" => Look::Plain,
        "frozen" => Look::Bad,
        _ => Look::Wait,
    };
    table.row(vec![Cell::new("Store", Look::Bold), Cell::new(store, look)]);
    if let Some(kubernetes) = &view.kubernetes {
        let words = format!("Node object {}, {}", kubernetes.node, kubernetes.state);
        let look = match kubernetes.state.as_str() {
            "watching" => Look::Plain,
            "connecting" => Look::Wait,
            _ => Look::Bad,
        };
        table.row(vec![Cell::new("API", Look::Bold), Cell::new(words, look)]);
    }
    if view.drain.state != "none" {
        table.row(vec![Cell::new("Drain", Look::Bold), Cell::new(orders::drained(&view.drain).trim_end(), Look::Bad)]);
    }
    if !view.blocks.is_empty() {
        let blocks: Vec<String> = view.blocks.iter().map(ToString::to_string).collect();
        table.row(vec![Cell::new("Blocks", Look::Bold), blocks.join(", ").into()]);
    }
    if view.pods != PodsView::default() {
        let mut pods = format!("{} attached", view.pods.attached);
        if view.pods.releasing > 0 {
            pods.push_str(&format!(", {} gone whose addresses wait for the store", view.pods.releasing));
        }
        table.row(vec![Cell::new("Pods", Look::Bold), pods.into()]);
    }
    let set: Vec<_> = view.settings.iter().filter(|s| s.error.is_none()).collect();
    if !set.is_empty() {
        let set: Vec<String> = set.iter().map(|s| format!("{} = {} (was {})", s.key, s.value, s.was)).collect();
        table.row(vec![Cell::new("Set", Look::Bold), format!("{}, for pods", set.join(", ")).into()]);
    }
    for (n, pool) in view.addresses.iter().enumerate() {
        let mut words = format!("{}: {} used, {} free", pool.pool, pool.used, pool.free);
        for (n, what) in [
            (pool.lent, "held on other nodes"),
            (pool.borrowed, "borrowed from other nodes"),
            (pool.cooling, "kept back for a while"),
            (pool.reserved, "reserved"),
        ] {
            if n > 0 {
                words.push_str(&format!(", {n} {what}"));
            }
        }
        table.row(vec![Cell::new(if n == 0 { "IPs" } else { "" }, Look::Bold), words.into()]);
    }
    if let Some(why) = &view.adds_refused {
        table.row(vec![Cell::new("ADD", Look::Bold), Cell::new(format!("refused: {why}"), Look::Bad)]);
    }
    let routes = format!("{} learned, {} in the kernel", view.routes_learned, view.routes_in_kernel);
    table.row(vec![Cell::new("Routes", Look::Bold), routes.into()]);
    table.print()
}

fn announcements(views: &[&AnnouncementView]) -> String {
    let mut table = Table::new(&["PREFIX", "KIND", "ANNOUNCED", "WHY"]);
    for a in views {
        let announced = if a.announced { Cell::new("yes", Look::Good) } else { Cell::new("no", Look::Wait) };
        table.row(vec![a.prefix.into(), a.kind.as_str().into(), announced, a.reason.as_str().into()]);
    }
    table.print()
}

fn list(title: &str, lines: &[String], look: Look) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: String = lines.iter().map(|line| format!("  - {line}\n")).collect();
    format!("\n{}\n{lines}", paint(title, look))
}
