//! A leaf that sends as fast as it can; the others must not notice.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::leaf::{Leaf, update};

use crate::cases::{announce, as_path, field, next_hop, origin};
use petiole_labtests::arena::{Arena, root};

/// A third of it is the interval of the node's KEEPALIVEs.
const HOLD: u16 = 3;

/// The longest time between two KEEPALIVEs of the node in what was heard meanwhile.
pub(crate) fn longest_gap(leaf: &Leaf, since: Instant) -> Result<Duration> {
    let (heard, alive) = leaf.heard();
    ensure!(alive, "the session ended: {:?}", heard.last());
    let mut last = since;
    let mut longest = Duration::ZERO;
    for message in heard.iter().filter(|m| m.kind == 4 && m.at > since) {
        longest = longest.max(message.at - last);
        last = message.at;
    }
    Ok(longest.max(last.elapsed()))
}

/// 10.S.T.0/24 for all S and T, in messages of a thousand prefixes.
fn prefixes() -> Vec<Vec<u8>> {
    let all: Vec<[u8; 4]> = (0..200u8).flat_map(|s| (0..=255).map(move |t| [24, 11 + s % 90, s, t])).collect();
    all.chunks(900).map(|chunk| chunk.concat()).collect()
}

#[test]
fn a_flood_of_updates_starves_nobody() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let arena = Arena::new(2, HOLD)?;
    let (flooder, quiet) = (arena.establish(0, HOLD)?, arena.establish(1, HOLD)?);
    quiet.say(&announce(1, &field(250)))?;
    arena.wait_in_kernel("10.200.250.0/24", true)?;
    let attributes = [origin(), as_path(0), next_hop(0)].concat();
    let fields = prefixes();
    let coming: Vec<u8> = fields.iter().flat_map(|f| update(&[], &attributes, f)).collect();
    let going: Vec<u8> = fields.iter().flat_map(|f| update(f, &[], &[])).collect();
    quiet.heard();
    let since = Instant::now();
    let mut rounds = 0;
    while since.elapsed() < Duration::from_secs(8) {
        flooder.say(&coming).context("announcements")?;
        flooder.say(&going).context("withdrawals")?;
        rounds += 1;
    }
    let gap = longest_gap(&quiet, since)?;
    println!("figure: {rounds} rounds of 51,200 prefixes; longest time between two KEEPALIVEs {gap:.2?}");
    // The hold time is the session's life; how late a KEEPALIVE may be is measured by a bench, on a machine of its own.
    ensure!(gap < Duration::from_secs(u64::from(HOLD)), "{gap:?}");
    for n in 0..2 {
        let peer = arena.peer(n)?;
        ensure!(peer["established_count"] == 1 && peer["state"] == "Established", "{peer}");
    }
    flooder.say(&announce(0, &field(7)))?;
    // The kernel has a backlog of changes by now.
    arena.wait_in_kernel_within("10.200.7.0/24", true, Duration::from_secs(60))
}
