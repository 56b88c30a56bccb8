//! `petiole bgp peers` and `petiole bgp routes`.

use petiole_node::view::{AdvertisedView, BfdView, PathView, PeerView, RouteTable};

use crate::cli::table::{Cell, Look, Table, maybe, span};

/// One line a session; below it what ended the ones that are down.
pub(crate) fn peers(views: &[PeerView]) -> String {
    if views.is_empty() {
        return "no leaf is configured: add [bgp] asn and a [[bgp.peer]] per uplink to the configuration\n".to_owned();
    }
    // Only where somebody uses it.
    let bfd = views.iter().any(|peer| peer.bfd.is_some());
    let mut head = vec!["PEER", "AS", "STATE", "FOR", "UPLINK", "FAMILIES", "RECEIVED", "SENT", "HOLD"];
    head.extend(bfd.then_some("BFD"));
    let mut table = Table::new(&head);
    for peer in views {
        let up = peer.state == "Established";
        let asn = peer.asn.map_or_else(|| peer.configured_asn.clone(), |asn| asn.to_string());
        let mut row = vec![
            peer.peer.as_str().into(),
            asn.into(),
            Cell::new(&peer.state, if up { Look::Good } else { Look::Bad }),
            span(peer.state_seconds).into(),
            maybe(peer.uplink.as_ref()),
            if peer.families.is_empty() { maybe::<&str>(None) } else { peer.families.join(" ").into() },
            peer.prefixes_received.into(),
            peer.prefixes_advertised.into(),
            maybe(peer.hold_time_seconds.map(|s| format!("{s} s"))),
        ];
        row.extend(bfd.then(|| peer.bfd.as_ref().map_or_else(|| maybe::<&str>(None), bfd_cell)));
        table.row(row);
    }
    let mut out = table.print();
    for peer in views {
        let mut notes: Vec<String> = Vec::new();
        if peer.state != "Established" {
            notes.extend(peer.state_reason.clone());
            notes.extend(
                peer.last_error
                    .as_ref()
                    .filter(|e| Some(*e) != peer.state_reason.as_ref())
                    .map(|e| format!("last error: {e}")),
            );
            notes.extend(peer.retry_in_seconds.map(|s| format!("next attempt in {}", span(s))));
        }
        notes.extend(peer.bfd.as_ref().and_then(bfd_note));
        notes.extend(peer.kept.iter().map(|kept| {
            let how = if kept.long_lived { " as long-lived stale" } else { "" };
            let since = if kept.back { "until it has sent them again" } else { "while it restarts" };
            format!(
                "{} {} routes are kept{how} {since}, {} more ({})",
                kept.paths,
                kept.family,
                span(kept.seconds_left),
                kept.why
            )
        }));
        notes.extend(peer.not_announced.iter().cloned());
        notes.extend(peer.prefix_limits.iter().filter(|l| l.contains(" its limit ")).map(|l| format!("it sent {l}")));
        if peer.update_errors > 0 {
            notes.push(format!("{} malformed UPDATEs", peer.update_errors));
        }
        if peer.guard_drops > 0 {
            notes.push(format!("the export guard stopped {} UPDATEs: a defect, please report it", peer.guard_drops));
        }
        if !notes.is_empty() {
            out += &format!("\n{}: {}\n", peer.peer, notes.join("; "));
        }
    }
    out
}

/// State and detection time.
fn bfd_cell(bfd: &BfdView) -> Cell {
    match bfd.detection_time_seconds.filter(|_| bfd.state == "Up") {
        Some(time) => Cell::new(format!("Up, {:.0} ms", time * 1000.0), Look::Good),
        None => Cell::new(&bfd.state, Look::Bad),
    }
}

/// What keeps BFD down, or took it down last.
fn bfd_note(bfd: &BfdView) -> Option<String> {
    let failed = bfd.last_failure_seconds.map(|s| format!("failed {} ago ({})", span(s), bfd.diagnostic));
    match (bfd.state.as_str(), bfd.remote_state.as_deref()) {
        ("Up", _) => failed.map(|failed| format!("BFD {failed} and is Up again")),
        (_, Some("AdminDown")) => Some("BFD is taken down by the operator of the leaf".to_owned()),
        (state, _) => {
            Some(format!("BFD is {state}: {}", failed.unwrap_or_else(|| "the leaf was not heard yet".to_owned())))
        }
    }
}

/// Paths with what became of them.
pub(crate) fn received(views: &[PathView], table: RouteTable) -> String {
    if views.is_empty() {
        return "no routes: is a session Established? `petiole bgp peers` says so\n".to_owned();
    }
    let best = table == RouteTable::Best;
    let mut rows = Table::new(&["", "PREFIX", "NEXT HOP", "PEER", "MED", "AS PATH", if best { "" } else { "WHY" }]);
    for path in views {
        rows.row(vec![
            if path.used { Cell::new("*", Look::Good) } else { " ".into() },
            path.prefix.into(),
            maybe(path.next_hop),
            path.peer.as_str().into(),
            maybe(path.med),
            path.as_path.as_str().into(),
            match (&path.kept_because, best) {
                (_, true) => "".into(),
                (Some(kept), _) => format!("{}; {kept}", path.why).into(),
                (None, _) => path.why.as_str().into(),
            },
        ]);
    }
    rows.print()
}

/// What each leaf was told, or why not.
pub(crate) fn advertised(views: &[AdvertisedView]) -> String {
    if views.is_empty() {
        return "nothing is announced: `petiole status` lists the candidates and why\n".to_owned();
    }
    let mut rows = Table::new(&["PREFIX", "PEER", "NEXT HOP", "TOLD", "OURS AS"]);
    for view in views {
        let told = match (&view.not_announced, view.age_seconds) {
            (Some(why), _) => Cell::new(format!("no: {why}"), Look::Wait),
            (None, Some(age)) => Cell::new(format!("{} ago", span(age)), Look::Plain),
            (None, None) => Cell::new("no", Look::Wait),
        };
        rows.row(vec![
            view.prefix.into(),
            view.peer.as_str().into(),
            maybe(view.next_hop),
            told,
            view.ownership.as_str().into(),
        ]);
    }
    rows.print()
}
