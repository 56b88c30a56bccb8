//! What an OPEN agrees on about routes: roles, several paths; and communities, both ways.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::restart::{all_there, capability};
use super::session::inner;
use crate::interop::capture::{self, Sender};
use crate::interop::daemon::unsupported;
use crate::interop::scene::{CHANGE, OWN, Scene};
use crate::interop::wanted::{LEAF_ASN, Link, Route, Wanted};

/// Capability codes (RFC 9234, RFC 7911).
const ROLE: u8 = 9;
const ADD_PATH: u8 = 69;
/// Role Mismatch (RFC 9234, section 4.2).
const ROLE_MISMATCH: [u8; 2] = [2, 11];

/// What the node shows of the leaf's paths of a prefix.
fn paths(scene: &Scene, prefix: &str) -> Result<Vec<Value>> {
    let shown = scene.petiole(&["bgp", "routes", "received"])?;
    Ok(shown.as_array().into_iter().flatten().filter(|path| path["prefix"] == prefix).cloned().collect())
}

pub(super) fn roles(scene: &mut Scene) -> Result<()> {
    let wanted = Wanted { leaf_role: Some("provider"), node_extra: "strict_role = true", ..Wanted::default() };
    scene.up(&wanted)?;
    for (sender, role) in [(Sender::Leaf, 0), (Sender::Node, 3)] {
        let value = capability(scene, sender, ROLE)?;
        ensure!(value.as_deref() == Some(&[role]), "the role in the OPEN of {sender:?}: {value:?}");
    }
    let routes: Vec<Route> = scene.usable(&wanted.routes).into_iter().cloned().collect();
    all_there(scene, &routes)?;
    for route in &routes {
        let all = paths(scene, &route.prefix)?;
        ensure!(
            all.iter().all(|path| path["only_to_customer"] == LEAF_ASN) && !all.is_empty(),
            "{} is shown as {all:?}",
            route.prefix
        );
    }
    let asn = LEAF_ASN.to_be_bytes();
    let attribute = |flags: u8| [&[flags, 35, 4][..], &asn].concat();
    let updates = scene.messages().into_iter().filter(|m| m.sender == Sender::Leaf && m.kind() == capture::UPDATE);
    let with = |body: &[u8]| [0xc0, 0xe0].iter().any(|flags| body.windows(7).any(|seven| seven == attribute(*flags)));
    if !updates.into_iter().any(|update| with(update.body())) {
        scene.notes.push("it sends no OTC by itself; the node adds it".to_owned());
    }
    scene.renew()?;
    mismatch(scene)
}

fn mismatch(scene: &mut Scene) -> Result<()> {
    scene.start(&Wanted { leaf_role: Some("peer"), ..Wanted::default() })?;
    let by = |sender: Sender| {
        let messages = scene.messages();
        messages
            .iter()
            .filter(|m| m.sender == sender && m.kind() == capture::NOTIFICATION)
            .any(|m| inner(m.body()).starts_with(&ROLE_MISMATCH))
    };
    scene.wait(CHANGE, "a side refuses the other's role", || {
        ensure!(by(Sender::Node) || by(Sender::Leaf), "no Role Mismatch on the wire");
        Ok(())
    })?;
    let both = scene.wait(CHANGE, "both sides refuse it", || {
        ensure!(by(Sender::Node) && by(Sender::Leaf), "only one");
        Ok(())
    });
    if both.is_err() {
        let who = if by(Sender::Node) { "the node" } else { "the daemon" };
        scene.notes.push(format!("{who} is always first to refuse the role"));
    }
    let state = scene.daemon.session(Link(0))?;
    ensure!(!state.established, "the daemon says {}", state.state);
    scene.wait(CHANGE, "the node says it in words", || {
        let peer = scene.peer(Link(0))?;
        let keys = ["last_error", "last_notification_sent", "last_notification_received"];
        let words = keys.map(|key| peer[key].to_string()).join(" ").to_ascii_lowercase();
        ensure!(words.contains("role"), "it says {words}");
        Ok(())
    })
}

pub(super) fn several_paths(scene: &mut Scene) -> Result<()> {
    const PREFIX: &str = "10.120.203.1/32";
    scene.up(&Wanted { several_paths: Some(PREFIX), ..Wanted::default() })?;
    ensure!(
        capability(scene, Sender::Node, ADD_PATH)?.is_none(),
        "the node's OPEN has add-path though nobody asked for it"
    );
    if capability(scene, Sender::Leaf, ADD_PATH)?.is_none() {
        return Err(unsupported("its OPEN has no add-path"));
    }
    scene.wait(CHANGE, "the node has one path", || {
        let all = paths(scene, PREFIX)?;
        ensure!(all.len() == 1 && all.iter().all(|path| path["path_id"].is_null()), "it shows {all:?}");
        Ok(())
    })?;
    scene.renew()?;
    let wanted = Wanted { several_paths: Some(PREFIX), node_extra: "add_path_receive = true", ..Wanted::default() };
    scene.up(&wanted)?;
    // To receive (1), both families, unicast.
    let value = capability(scene, Sender::Node, ADD_PATH)?;
    ensure!(value.as_deref() == Some(&[0, 1, 1, 1, 0, 2, 1, 1]), "the node's OPEN has {value:?}");
    let least = match scene.daemon.has_several_paths() {
        Ok(()) => 2,
        Err(fact) => {
            scene.notes.push(fact.to_owned());
            1
        }
    };
    scene.wait(CHANGE, "the node has all paths, each with its identifier", || {
        let all = paths(scene, PREFIX)?;
        let mut ids: Vec<u64> = all.iter().filter_map(|path| path["path_id"].as_u64()).collect();
        ids.sort_unstable();
        ids.dedup();
        ensure!(ids.len() >= least && ids.len() == all.len(), "{ids:?} in {all:?}");
        Ok(())
    })?;
    let routes: Vec<Route> = scene.usable(&wanted.routes).into_iter().cloned().collect();
    all_there(scene, &[&routes[..], &[Route::plain(PREFIX)]].concat())?;
    scene.stays(Link(0), Duration::from_secs(1))
}

pub(super) fn communities_kept(scene: &mut Scene) -> Result<()> {
    let with = |prefix: &str| Route {
        community: Some((65_001, 100)),
        large: Some((65_001, 1, 2)),
        target: Some((65_001, 7)),
        ..Route::plain(prefix)
    };
    let routes = vec![with("10.120.201.0/27"), with("fd00:120:201:1::/64")];
    let wanted = Wanted { routes, ..Wanted::default() };
    scene.up(&wanted)?;
    for route in scene.usable(&wanted.routes) {
        scene.wait(CHANGE, "the node shows all communities of the leaf's route", || {
            let all = paths(scene, &route.prefix)?;
            let Some(path) = all.first() else { bail!("no {}", route.prefix) };
            let shown = path["communities"].as_array().map_or(&[][..], Vec::as_slice);
            let there = |community: &str| shown.iter().any(|known| known == community);
            let all_there = ["65001:100", "65001:1:2", "rt:65001:7"].into_iter().all(there);
            ensure!(all_there, "{} has {shown:?}", route.prefix);
            Ok(())
        })?;
    }
    Ok(())
}

/// What the node is told to attach: to all, to this leaf, and once more of an extended kind.
const ATTACHED: &str = r#"communities = ["65000:101", "65000:11:12", "rt:65000:77"]"#;
/// As the daemons write them, once everything but numbers is a blank.
const SHOWN: [&[&str]; 3] = [&["65000 101", "4259840101"], &["65000 11 12"], &["65000 77"]];

pub(super) fn communities_announced(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted { node_extra: ATTACHED, ..Wanted::default() })?;
    for own in OWN {
        scene.wait(CHANGE, "the daemon has all three communities", || {
            let all = scene.daemon.received()?;
            let Some(route) = all.get(own) else { bail!("no {own} among {:?}", all.keys()) };
            let words = route.communities.split(|c: char| !c.is_ascii_alphanumeric());
            let numbers: Vec<&str> = words.filter(|word| word.parse::<u32>().is_ok()).collect();
            let numbers = format!(" {} ", numbers.join(" "));
            let there = |forms: &[&str]| forms.iter().any(|form| numbers.contains(&format!(" {form} ")));
            ensure!(SHOWN.into_iter().all(there), "{own} has {}", route.communities);
            Ok(())
        })?;
    }
    Ok(())
}
