//! Every malformed case, on a live session.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::eventually;
use petiole_labtests::leaf::{Leaf, update};
use serde_json::Value;

use crate::cases::{self, Kept, announce, field};
use petiole_labtests::arena::{Arena, WITHIN, root};

const HOLD: u16 = 9;

#[test]
fn a_malformed_update_costs_no_more_than_its_own_route() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let arena = Arena::new(2, HOLD)?;
    let (leaf, other) = (arena.establish(0, HOLD)?, arena.establish(1, HOLD)?);
    other.say(&announce(1, &field(250)))?;
    arena.wait_in_kernel("10.200.250.0/24", true)?;
    let survived = cases::survived(0);
    let errors = |arena: &Arena| -> Result<u64> { arena.peer(0)?["update_errors"].as_u64().context("update_errors") };
    for (name, attributes, kept) in &survived {
        let went = (|| -> Result<()> {
            // A good route, then the same with a fault, beside one that stays and behind one that shows that all was read.
            leaf.say(&announce(0, &[field(1), field(2)].concat()))?;
            arena.wait_in_kernel("10.200.1.0/24", true)?;
            let before = errors(&arena)?;
            leaf.say(&update(&[], attributes, &field(1)))?;
            leaf.say(&announce(0, &field(3)))?;
            arena.wait_in_kernel("10.200.3.0/24", true)?;
            arena.wait_in_kernel("10.200.1.0/24", *kept == Kept::Route)?;
            ensure!(arena.in_kernel("10.200.2.0/24")?, "the route beside it went");
            let rejected = name.contains("NEXT_HOP 127");
            ensure!(*kept == Kept::Route || rejected || errors(&arena)? > before, "not counted");
            leaf.say(&update(&field(3), &[], &[]))?;
            arena.wait_in_kernel("10.200.3.0/24", false)
        })();
        went.with_context(|| format!("{name}; {}", arena.petiole(&["bgp", "peers"]).unwrap_or_default()))?;
    }
    for n in 0..2 {
        let peer = arena.peer(n)?;
        ensure!(peer["established_count"] == 1 && peer["state"] == "Established", "{peer}");
    }
    undisturbed(&arena, &other, 1)?;
    println!("figure: {} malformed UPDATEs, both sessions kept", survived.len());
    Ok(())
}

#[test]
fn what_ends_a_session_is_answered_and_ends_no_other() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let count = cases::fatal(0).len();
    // A leaf for each case, so that none waits for another's back-off, and one that behaves.
    let arena = Arena::new(count + 1, HOLD)?;
    let good = arena.establish(count, HOLD)?;
    good.say(&announce(count, &field(250)))?;
    arena.wait_in_kernel("10.200.250.0/24", true)?;
    for n in 0..count {
        let (name, bytes, wanted) = cases::fatal(n).swap_remove(n);
        let went = (|| -> Result<()> {
            let leaf = arena.establish(n, HOLD)?;
            leaf.say(&announce(n, &field(n as u8)))?;
            let prefix = format!("10.200.{n}.0/24");
            arena.wait_in_kernel(&prefix, true)?;
            leaf.say(&bytes)?;
            let said = leaf.hear(WITHIN, 3)?.body;
            ensure!(said.get(..2) == Some(&[wanted.0, wanted.1]), "NOTIFICATION {said:?}");
            arena.wait_in_kernel(&prefix, false)?;
            let peer = arena.peer(n)?;
            let words = peer["last_notification_sent"].as_str().unwrap_or_default();
            ensure!(words.contains(&format!("({}/{})", wanted.0, wanted.1)), "{peer}");
            Ok(())
        })();
        went.with_context(|| format!("{name}, not {wanted:?}"))?;
    }
    undisturbed(&arena, &good, count)
}

#[test]
fn an_open_that_cannot_be_accepted_is_answered_by_its_reason() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let opens = cases::opens();
    let arena = Arena::new(opens.len() + 1, HOLD)?;
    let good = arena.establish(opens.len(), HOLD)?;
    for (n, (name, bytes, wanted)) in opens.iter().enumerate() {
        let went = (|| -> Result<()> {
            let leaf = arena.accept(n)?;
            leaf.hear(WITHIN, 1)?;
            // Every OPEN is written for AS 65001; the others' number is in its octets 1 and 2.
            let mut bytes = bytes.clone();
            if bytes[20..22] == 65_001_u16.to_be_bytes() {
                bytes[20..22].copy_from_slice(&(65_001 + n as u16).to_be_bytes());
            }
            leaf.say(&bytes)?;
            let said = leaf.hear(WITHIN, 3)?.body;
            ensure!(said.get(..2) == Some(&[wanted.0, wanted.1]), "NOTIFICATION {said:?}");
            Ok(())
        })();
        went.with_context(|| format!("{name}, not {wanted:?}"))?;
    }
    undisturbed(&arena, &good, opens.len())
}

/// The leaf's one session goes on: it hears the node, and the node's word is that nothing happened to it.
fn undisturbed(arena: &Arena, leaf: &Leaf, n: usize) -> Result<()> {
    leaf.heard();
    leaf.hear(Duration::from_secs(5), 4).context("the other session is silent")?;
    eventually(WITHIN, "the other session is as it was", || -> Result<()> {
        let peer: Value = arena.peer(n)?;
        ensure!(peer["established_count"] == 1 && peer["state"] == "Established", "{peer}");
        Ok(())
    })
}
