//! `petiole ipam ...`.

use std::net::IpAddr;

use petiole_node::prefix::Prefix;
use petiole_node::view::{BlocksView, CheckView, ForgottenView, RepairView, ShowView};

use crate::cli::table::{Cell, Look, Table};

/// Pools, then blocks.
pub(crate) fn blocks(view: &BlocksView) -> String {
    if view.pools.is_empty() {
        return "no pool: set [ipam] pools = [{ cidr = \"10.123.128.0/17\", block_size = 26 }], or create an IPPool with calicoctl\n".to_owned();
    }
    let mut pools = Table::new(&["POOL", "CIDR", "BLOCK SIZE", "BLOCKS", "CLAIMED", "NEW BLOCKS"]);
    for pool in &view.pools {
        pools.row(vec![
            pool.name.as_str().into(),
            pool.cidr.into(),
            format!("/{}", pool.block_size).into(),
            pool.total.into(),
            pool.claimed.into(),
            pool.refused.as_ref().map_or_else(
                || Cell::new("allowed", Look::Good),
                |why| Cell::new(format!("refused: {why}"), Look::Wait),
            ),
        ]);
    }
    let mut out = pools.print();
    if view.blocks.is_empty() {
        return out + "\nno block is claimed yet\n";
    }
    let mut blocks = Table::new(&["BLOCK", "OWNER", "USED", "OF"]);
    for block in &view.blocks {
        let owner = block.owner.as_deref().unwrap_or("nobody");
        let look = if block.ours { Look::Good } else { Look::Plain };
        let owner = if block.ours { format!("{owner} (this node)") } else { owner.to_owned() };
        blocks.row(vec![block.cidr.into(), Cell::new(owner, look), block.used.into(), block.size.into()]);
    }
    out.push('\n');
    out + &blocks.print()
}

/// One address a line, without lengths: to be handed to other commands.
pub(crate) fn assigned(addresses: &[Prefix]) -> String {
    addresses.iter().map(|a| format!("{}\n", a.addr())).collect()
}

/// What was released.
pub(crate) fn released(address: IpAddr, released: &[Prefix]) -> String {
    if released.is_empty() { format!("{address} was not assigned\n") } else { format!("{address} released\n") }
}

/// One address a line.
pub(crate) fn held(view: &ShowView) -> String {
    let notes: String = view.notes.iter().map(|note| format!("{note}\n")).collect();
    if view.addresses.is_empty() {
        return format!("nobody holds it\n{notes}");
    }
    let mut table = Table::new(&["ADDRESS", "BLOCK", "OWNER", "HELD BY", "POD", "NODE"]);
    for held in &view.addresses {
        let holder = match (&held.handle, &held.released_at) {
            (_, Some(since)) => Cell::new(format!("nobody, kept back since {since}"), Look::Wait),
            (Some(handle), None) => handle.as_str().into(),
            (None, None) => Cell::new("somebody without a handle", Look::Wait),
        };
        table.row(vec![
            held.address.to_string().into(),
            held.block.into(),
            held.owner.as_deref().unwrap_or("nobody").into(),
            holder,
            held.pod.as_deref().unwrap_or("-").into(),
            held.node.as_deref().unwrap_or("-").into(),
        ]);
    }
    table.print() + &notes
}

/// One contradiction a line.
pub(crate) fn check(view: &CheckView) -> String {
    if view.findings.is_empty() {
        return format!("nothing contradicts anything\n{}\n", view.scope);
    }
    let mut table = Table::new(&["REPAIR", "WHAT"]);
    for finding in &view.findings {
        let (word, look) = match finding.repair {
            RepairView::No => ("look at it", Look::Wait),
            RepairView::Possible => ("with --repair", Look::Wait),
            RepairView::Done => ("done", Look::Good),
            RepairView::Begun => ("begun", Look::Wait),
            RepairView::Overtaken => ("changed meanwhile", Look::Wait),
            RepairView::Unknown => ("not known", Look::Wait),
        };
        table.row(vec![Cell::new(word, look), finding.text.as_str().into()]);
    }
    format!("{}\n{}\n", table.print(), view.scope)
}

/// What happens next.
pub(crate) fn forgotten(view: &ForgottenView) -> String {
    let own = match view.addresses.as_slice() {
        [] => {
            "none of its own addresses is known, so only its blocks show that it lives: --address names them".to_owned()
        }
        some => {
            format!("nor its own addresses {}", some.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
    };
    format!(
        "{} is forgotten: what it held is freed once no leaf has announced it for `[ipam] grace_time` ({own}); `petiole ipam show` tells\n",
        view.node
    )
}
