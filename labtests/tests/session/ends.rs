//! How a session ends, and what is said of it: by silence, by the node's own standstill, by a leaf that takes nothing, by too
//! many prefixes, by a Hard Reset.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::arena::{Arena, WITHIN, address, asn, root};
use petiole_labtests::leaf::{Terms, message};
use petiole_labtests::{Signal, eventually, procs};

use crate::cases::{announce, field};
use crate::flood::longest_gap;

const HOLD: u16 = 3;
/// How long a leaf may take nothing, where a test says so.
const SEND_HOLD: Duration = Duration::from_secs(4);

/// Waits until the agent gives this reason for the end of the first leaf's session.
fn reason(arena: &Arena, needle: &str) -> Result<()> {
    eventually(WITHIN, needle, || -> Result<()> {
        let peer = arena.peer(0)?;
        ensure!(peer["last_error"].as_str().is_some_and(|words| words.contains(needle)), "{}", peer["last_error"]);
        Ok(())
    })
}

/// Both families kept over a restart, NOTIFICATIONs among its causes (RFC 8538 section 2).
fn graceful() -> Terms {
    let mut terms = Terms::usual(asn(0), 9);
    terms.capabilities.extend([64, 10, 0x40, 120, 0, 1, 1, 0x80, 0, 2, 1, 0x80]);
    terms
}

#[test]
fn rfc4271_6_5_a_leaf_that_is_cut_off_was_silent() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let arena = Arena::new(1, HOLD)?;
    let _leaf = arena.establish(0, HOLD)?;
    let cut =
        format!("table ip cut {{ chain in {{ type filter hook input priority 0; ip saddr {} drop; }}; }}", address(0));
    arena.node.exec(&["nft", &cut])?;
    reason(&arena, "hold timer expired: the peer was silent")
}

#[test]
fn rfc4271_6_5_a_node_that_stood_still_does_not_call_the_leaf_silent() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let arena = Arena::new(1, HOLD)?;
    let leaf = arena.establish(0, HOLD)?;
    let pid = arena.pid()?;
    procs::signal(pid, Signal::STOP);
    // Longer than the hold time: its passing is what is tested.
    thread::sleep(Duration::from_secs(5));
    procs::signal(pid, Signal::CONT);
    leaf.heard();
    let goes_on = leaf.hear(Duration::from_secs(4), 4).is_ok();
    let peer = arena.peer(0)?;
    let words = peer["last_error"].as_str().unwrap_or_default();
    println!("figure: after 5 s of standstill with a hold time of {HOLD} s: goes on {goes_on}, {words:?}");
    // What the leaf said meanwhile lies unread, and counts; where the timer won nevertheless, the blame is ours.
    ensure!((goes_on && peer["established_count"] == 1) || words.contains("we were late"), "{peer}");
    ensure!(!words.contains("silent"), "{peer}");
    Ok(())
}

/// How many octets the node's kernel has taken for its connection to a leaf so far; `None` where there is no such connection.
fn taken(arena: &Arena, leaf: usize) -> Result<Option<u64>> {
    let to = format!("{}:179", address(leaf));
    let line = arena.node.exec(&["ss", "-tinHO", "state", "established", "dst", &to])?;
    if line.trim().is_empty() {
        return Ok(None);
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let queued = words.get(1).and_then(|word| word.parse::<u64>().ok());
    let acknowledged = words.iter().find_map(|word| word.strip_prefix("bytes_acked:")?.parse::<u64>().ok());
    Ok(Some(queued.zip(acknowledged).map(|(queued, acknowledged)| queued + acknowledged).context(line.clone())?))
}

#[test]
fn rfc9687_3_1_a_leaf_that_takes_nothing_is_left_and_others_do_not_notice() -> Result<()> {
    if !root() {
        return Ok(());
    }
    // Long messages, so that the kernels' room for them is soon full.
    let communities: Vec<String> = (0..64).map(|n| format!("\"65000:1:{n}\"")).collect();
    let more = format!("send_hold_time = \"{}s\"\ncommunities = [{}]", SEND_HOLD.as_secs(), communities.join(", "));
    let arena = Arena::with(2, HOLD, &more)?;
    arena.node.exec(&["sysctl", "-qw", "net.ipv4.tcp_wmem=4096 16384 65536"])?;
    arena.leaves.exec(&["sysctl", "-qw", "net.ipv4.tcp_rmem=4096 131072 131072"])?;
    let (deaf, quiet) = (arena.establish(0, HOLD)?, arena.establish(1, HOLD)?);
    quiet.say(&announce(1, &field(250)))?;
    arena.wait_in_kernel("10.200.250.0/24", true)?;
    quiet.heard();
    let since = Instant::now();
    deaf.stop_reading();
    // It asks for everything again and again, and reads none of it: each answer is some more to hold for it.
    let ask = message(5, &[0, 1, 0, 1]);
    let (mut last, mut rounds) = ((0, since), 0);
    let ended = loop {
        let Some(now) = taken(&arena, 0)? else { break Instant::now() };
        if now > last.0 {
            last = (now, Instant::now());
        }
        ensure!(since.elapsed() < WITHIN, "it is still there: {}", arena.peer(0)?);
        // No more once it took nothing of several answers: it is full.
        if last.1.elapsed() < Duration::from_millis(500) {
            for _ in 0..5 {
                deaf.say(&ask)?;
                thread::sleep(Duration::from_millis(1));
            }
            rounds += 5;
        }
        thread::sleep(Duration::from_millis(5));
    };
    let silent = ended - last.1;
    println!("figure: {} octets taken, {rounds} refreshes asked for, left {silent:.2?} after the last", last.0);
    ensure!(silent > SEND_HOLD - Duration::from_millis(200), "too early: {silent:.2?}");
    ensure!(silent < SEND_HOLD + Duration::from_secs(1), "too late: {silent:.2?}");
    reason(&arena, "send hold timer expired: the peer takes nothing of what it is sent")?;
    let gap = longest_gap(&quiet, since)?;
    println!("figure: longest time between two KEEPALIVEs to the other leaf: {gap:.2?}");
    ensure!(gap < Duration::from_secs(u64::from(HOLD)), "{gap:?}");
    let other = arena.peer(1)?;
    ensure!(other["established_count"] == 1 && other["state"] == "Established", "{other}");
    ensure!(arena.in_kernel("10.200.250.0/24")?, "the other leaf's route is gone");
    // No NOTIFICATION behind what is stuck: the connection is reset.
    deaf.read_again();
    let said = deaf.hear(WITHIN, 3);
    ensure!(said.is_err(), "it was said {said:?}");
    let _again = arena.establish(0, HOLD)?;
    Ok(())
}

#[test]
fn rfc8538_3_1_a_hard_reset_takes_the_routes_and_another_cease_keeps_them() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let arena = Arena::new(1, 9)?;
    // An administrative reset keeps the route; a Hard Reset around an administrative shutdown takes it.
    for (said, there) in [(vec![6, 4], true), (vec![6, 9, 6, 2], false)] {
        let leaf = arena.establish_with(0, &graceful())?;
        leaf.say(&announce(0, &field(7)))?;
        arena.wait_in_kernel("10.200.7.0/24", true)?;
        leaf.say(&message(3, &said))?;
        reason(&arena, "the peer ended it")?;
        arena.wait_in_kernel("10.200.7.0/24", there)?;
    }
    Ok(())
}

#[test]
fn rfc4486_4_too_many_prefixes_are_warned_of_or_end_the_session() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let fields: Vec<u8> = (1..=5).flat_map(field).collect();
    for action in ["\"warn\"", "\"restart\", restart_after = \"1s\"", "\"idle\""] {
        let arena = Arena::with(1, 9, &format!("max_prefix = {{ limit = 3, action = {action} }}"))?;
        let leaf = arena.establish_with(0, &graceful())?;
        leaf.say(&announce(0, &fields))?;
        if action == "\"warn\"" {
            arena.wait_in_kernel("10.200.5.0/24", true)?;
            let peer = arena.peer(0)?;
            ensure!(peer["established_count"] == 1 && peer["state"] == "Established", "{peer}");
            ensure!(
                peer["prefix_limits"][0].as_str().is_some_and(|words| words.contains("over its limit of 3")),
                "{peer}"
            );
            continue;
        }
        // The leaf is not to keep our routes: a Hard Reset (RFC 8538 section 3) around Maximum Number of Prefixes Reached.
        let said = leaf.hear(WITHIN, 3)?.body;
        ensure!(said.starts_with(&[6, 9, 6, 1]), "{action}: NOTIFICATION {said:?}");
        reason(&arena, "it sent more than 3 IPv4 prefixes (max_prefix)")?;
        arena.wait_in_kernel("10.200.1.0/24", false)?;
        if action == "\"idle\"" {
            ensure!(arena.peer(0)?["state"] == "Idle", "{}", arena.peer(0)?);
            arena.petiole(&["bgp", "clear", &address(0).to_string()])?;
        }
        let _again = arena.establish(0, 9)?;
    }
    Ok(())
}
