//! Sessions: how they come up, what they agree on, how they end.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::interop::capture::{self, Message, Sender};
use crate::interop::daemon::{Received, unsupported};
use crate::interop::scene::{ANYCAST, CHANGE, OWN, Scene};
use crate::interop::wanted::{LEAF_ASN, Link, NODE_ASN, Route, Transport, Wanted};

/// Capability codes (RFC 5492 and IANA): multiprotocol, route refresh, four-octet AS.
const FOUR_OCTET_AS: u8 = 65;

pub(super) fn over_ipv4(scene: &mut Scene) -> Result<()> {
    both_families(scene, &Wanted::default())
}

pub(super) fn over_ipv6(scene: &mut Scene) -> Result<()> {
    both_families(scene, &Wanted { transport: Transport::V6, ..Wanted::default() })
}

fn both_families(scene: &mut Scene, wanted: &Wanted) -> Result<()> {
    scene.up(wanted)?;
    let hops = [Transport::V4, Transport::V6].map(|family| Link(0).node(family));
    for (prefix, hop) in [(OWN, &hops), (ANYCAST, &hops)].into_iter().flat_map(|(all, hops)| all.into_iter().zip(hops))
    {
        scene.wait(CHANGE, "the daemon has the node's route", || {
            let all = scene.daemon.received()?;
            let Some(Received { next_hop, .. }) = all.get(prefix) else { bail!("no {prefix} among {:?}", all.keys()) };
            ensure!(next_hop == hop, "{prefix} has the next hop {next_hop}, not {hop}");
            Ok(())
        })?;
    }
    for route in scene.usable(&wanted.routes) {
        let hop = Link(0).leaf(if route.is_v6() { Transport::V6 } else { Transport::V4 });
        scene.wait(CHANGE, "the node's kernel has the leaf's route", || {
            let kernel = scene.kernel()?;
            let Some(hops) = kernel.get(&route.prefix) else { bail!("no {} among {kernel:?}", route.prefix) };
            ensure!(hops.contains(&hop), "{} goes to {hops:?}", route.prefix);
            Ok(())
        })?;
    }
    Ok(())
}

/// Waits until the daemon has one of the node's routes, and returns its path.
fn path_of_own(scene: &Scene) -> Result<String> {
    scene.wait(CHANGE, "the daemon has the node's route", || {
        let all = scene.daemon.received()?;
        let Some(route) = all.get(OWN[0]) else { bail!("no {} among {:?}", OWN[0], all.keys()) };
        Ok(route.as_path.clone())
    })
}

fn kernel_has(scene: &Scene, prefix: &str) -> Result<()> {
    scene.wait(CHANGE, "the node's kernel has the leaf's route", || {
        let kernel = scene.kernel()?;
        ensure!(kernel.contains_key(prefix), "no {prefix} among {:?}", kernel.keys());
        Ok(())
    })
}

/// The capabilities of an OPEN, code and value.
fn capabilities_of(open: &Message) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    let mut parameters = open.body().get(10..).unwrap_or_default();
    while let [kind, length, rest @ ..] = parameters {
        let Some((value, after)) = rest.split_at_checked(usize::from(*length)) else { break };
        parameters = after;
        let mut inside = if *kind == 2 { value } else { &[] };
        while let [code, length, rest @ ..] = inside {
            let Some((value, after)) = rest.split_at_checked(usize::from(*length)) else { break };
            inside = after;
            found.push((*code, value.to_vec()));
        }
    }
    found
}

pub(super) fn open_of(scene: &Scene, sender: Sender) -> Result<Vec<(u8, Vec<u8>)>> {
    let messages = scene.messages();
    let open = messages.iter().rev().find(|message| message.sender == sender && message.kind() == capture::OPEN);
    let Some(open) = open else { bail!("no OPEN of {sender:?} was recorded") };
    Ok(capabilities_of(open))
}

pub(super) fn four_octet_as(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    let path = path_of_own(scene)?;
    ensure!(path == NODE_ASN.to_string(), "the daemon's AS_PATH is {path}");
    for (sender, asn) in [(Sender::Node, NODE_ASN), (Sender::Leaf, LEAF_ASN)] {
        let value = (FOUR_OCTET_AS, asn.to_be_bytes().to_vec());
        let all = open_of(scene, sender)?;
        ensure!(all.contains(&value), "the OPEN of {sender:?} has no four-octet AS {asn}: {all:?}");
    }
    Ok(())
}

pub(super) fn two_octet_peer(scene: &mut Scene) -> Result<()> {
    let wanted = Wanted { leaf_two_octet: true, ..Wanted::default() };
    scene.up(&wanted)?;
    let all = open_of(scene, Sender::Leaf)?;
    ensure!(all.iter().all(|(code, _)| *code != FOUR_OCTET_AS), "the leaf still says four-octet AS: {all:?}");
    let path = path_of_own(scene)?;
    // A daemon may put AS4_PATH in the place of what AS_PATH says.
    ensure!(path == "23456" || path == NODE_ASN.to_string(), "the daemon's AS_PATH is {path}");
    kernel_has(scene, "10.120.201.0/27")
}

pub(super) fn hold_time(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted { node_hold: 9, leaf_hold: 30, ..Wanted::default() })?;
    agreed(scene, 9)?;
    let wanted = Wanted { node_hold: 30, leaf_hold: 6, ..Wanted::default() };
    scene.renew()?;
    scene.up(&wanted)?;
    agreed(scene, 6)
}

fn agreed(scene: &Scene, seconds: u64) -> Result<()> {
    scene.wait(CHANGE, "both sides say the lesser hold time", || {
        let ours = scene.peer(Link(0))?["hold_time_seconds"].as_f64();
        let theirs = scene.daemon.session(Link(0))?.hold;
        ensure!(ours == Some(seconds as f64), "the node says {ours:?}");
        ensure!(theirs.is_none_or(|theirs| theirs == seconds), "the daemon says {theirs:?}");
        Ok(())
    })
}

pub(super) fn leaf_dials(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted { node_passive: true, leaf_passive: false, ..Wanted::default() })?;
    let all = scene.connections()?;
    ensure!(all.len() == 1 && all.iter().all(|(_, remote)| *remote == 179), "the leaf's connections: {all:?}");
    Ok(())
}

pub(super) fn node_dials(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    let all = scene.connections()?;
    ensure!(all.len() == 1 && all.iter().all(|(local, _)| *local == 179), "the leaf's connections: {all:?}");
    Ok(())
}

pub(super) fn collision(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted { leaf_passive: false, ..Wanted::default() })?;
    scene.wait(CHANGE, "one connection is left", || {
        let all = scene.connections()?;
        ensure!(all.len() == 1, "the leaf's connections: {all:?}");
        Ok(())
    })?;
    scene.stays(Link(0), Duration::from_secs(5))?;
    let state = scene.peer(Link(0))?["state"].clone();
    ensure!(state == "Established", "the node says {state}");
    kernel_has(scene, "10.120.201.0/27")
}

pub(super) fn capabilities(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    let mut sent = open_of(scene, Sender::Leaf)?;
    sent.sort();
    sent.dedup();
    let peer = scene.peer(Link(0))?;
    let named = peer["capabilities_received"].as_array().map_or(0, Vec::len);
    ensure!(named >= sent.len(), "the leaf sent {sent:?}; the node names {}", peer["capabilities_received"]);
    ensure!(peer["update_errors"] == 0, "the node counts {} errors", peer["update_errors"]);
    scene.stays(Link(0), Duration::from_secs(1))
}

pub(super) fn shutdown_text(scene: &mut Scene) -> Result<()> {
    const WORDS: &str = "night work until six";
    scene.up(&Wanted::default())?;
    kernel_has(scene, "10.120.201.0/27")?;
    scene.daemon.shutdown(WORDS)?;
    let words = scene.wait(CHANGE, "the NOTIFICATION is on the wire", || {
        let messages = scene.messages();
        let said = messages.iter().find(|m| m.sender == Sender::Leaf && m.kind() == capture::NOTIFICATION);
        let Some(said) = said else { bail!("no NOTIFICATION yet") };
        match inner(said.body()) {
            [6, 2, length, text @ ..] if usize::from(*length) == text.len() && !text.is_empty() => {
                Ok(String::from_utf8_lossy(text).into_owned())
            }
            [6, 2 | 4] | [6, 2 | 4, 0] => Err(unsupported("its Administrative Shutdown carries no text")),
            other => bail!("the NOTIFICATION says {other:?}"),
        }
    })?;
    scene.wait(CHANGE, "the node shows the text", || {
        let shown = scene.peer(Link(0))?["last_notification_received"].clone();
        ensure!(shown.to_string().contains(&words), "{words:?} was said; the node shows {shown}");
        Ok(())
    })
}

/// What a NOTIFICATION says, out of the Hard Reset (RFC 8538, section 3.1) that it may be wrapped in.
pub(super) fn inner(body: &[u8]) -> &[u8] {
    body.strip_prefix(&[6, 9]).unwrap_or(body)
}

pub(super) fn max_prefix(scene: &mut Scene) -> Result<()> {
    let routes = (0..20).map(|n| Route::plain(&format!("10.140.{n}.0/24"))).collect();
    let node_extra = "max_prefix = { limit = 10, action = \"idle\" }";
    scene.start(&Wanted { routes, node_extra, ..Wanted::default() })?;
    scene.wait(CHANGE, "the node ends the session", || {
        let messages = scene.messages();
        let said = messages.iter().find(|m| m.sender == Sender::Node && m.kind() == capture::NOTIFICATION);
        let Some(said) = said else { bail!("no NOTIFICATION of the node yet") };
        ensure!(inner(said.body()).starts_with(&[6, 1]), "the NOTIFICATION says {:?}", said.body());
        Ok(())
    })?;
    scene.wait(CHANGE, "no connection is left, and the node keeps to itself", || {
        let (connections, state) = (scene.connections()?, scene.peer(Link(0))?["state"].clone());
        ensure!(connections.is_empty() && state == "Idle", "{connections:?} and {state}");
        Ok(())
    })
}

pub(super) fn shutdown_text_sent(scene: &mut Scene) -> Result<()> {
    const WORDS: &str = "node leaves the rack";
    scene.up(&Wanted::default())?;
    let leaf = Link(0).leaf(Transport::V4);
    scene.petiole(&["bgp", "disable", &leaf, "--message", WORDS])?;
    scene.wait(CHANGE, "the daemon's session is over, by those words", || {
        let session = scene.daemon.session(Link(0))?;
        ensure!(!session.established, "the daemon says {}", session.state);
        let messages = scene.messages();
        let said = messages.iter().find(|m| m.sender == Sender::Node && m.kind() == capture::NOTIFICATION);
        let Some([6, 2, length, text @ ..]) = said.map(|said| inner(said.body())) else {
            bail!("no such NOTIFICATION")
        };
        ensure!(usize::from(*length) == text.len() && text == WORDS.as_bytes(), "it says {text:?}");
        Ok(())
    })?;
    scene.petiole(&["bgp", "enable", &leaf])?;
    scene.established(Link(0)).map(drop)
}

pub(super) fn unnumbered(scene: &mut Scene) -> Result<()> {
    let wanted = Wanted { unnumbered: true, transport: Transport::V6, ..Wanted::default() };
    scene.up(&wanted)?;
    for own in OWN {
        scene.wait(CHANGE, "the daemon has the node's route by a link-local address", || {
            let all = scene.daemon.received()?;
            let Some(route) = all.get(own) else { bail!("no {own} among {:?}", all.keys()) };
            ensure!(route.next_hop.starts_with("fe80:"), "{own} has the next hop {}", route.next_hop);
            Ok(())
        })?;
    }
    for route in &wanted.routes {
        scene.wait(CHANGE, "the node's kernel has the leaf's route by a link-local address", || {
            let kernel = scene.kernel()?;
            let Some(hops) = kernel.get(&route.prefix) else { bail!("no {} among {kernel:?}", route.prefix) };
            ensure!(hops.iter().all(|hop| hop.starts_with("fe80:")), "{} goes to {hops:?}", route.prefix);
            Ok(())
        })?;
    }
    Ok(())
}
