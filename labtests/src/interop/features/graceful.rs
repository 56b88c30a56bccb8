//! A leaf that goes away and comes back: what the node keeps of it meanwhile, and for how long.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::restart::{GRACEFUL, all_there, anew, capability, daemon_has_own, learned, opens_of_leaf};
use crate::interop::capture::{self, Sender};
use crate::interop::daemon::unsupported;
use crate::interop::scene::{CHANGE, Scene};
use crate::interop::wanted::{Link, Route, Transport, Wanted};

/// Capability code (RFC 9494).
const LONG_LIVED: u8 = 71;
/// Cease, Hard Reset (RFC 8538, section 3.1).
const HARD_RESET: [u8; 2] = [6, 9];

/// Fails if the node's kernel loses one of the leaf's routes within a time.
fn keeps(scene: &Scene, routes: &[Route], period: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < period {
        has_all(scene, routes)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn has_all(scene: &Scene, routes: &[Route]) -> Result<()> {
    let kernel = scene.kernel()?;
    ensure!(routes.iter().all(|route| kernel.contains_key(&route.prefix)), "the node's kernel has {:?}", kernel.keys());
    Ok(())
}

/// Whether the leaf's last OPEN says that it has gone on forwarding, for all families (RFC 4724, section 3).
fn forwarded(scene: &Scene) -> Result<bool> {
    let value = capability(scene, Sender::Leaf, GRACEFUL)?.unwrap_or_default();
    let families = value.get(2..).unwrap_or_default();
    Ok(!families.is_empty() && families.chunks(4).all(|family| family.get(3).is_some_and(|flags| flags & 0x80 != 0)))
}

pub(super) fn of_leaf(scene: &mut Scene) -> Result<()> {
    const DOES_NOT_RETURN: &str = "10.120.209.0/27";
    let mut wanted = Wanted { graceful: Some(60), leaf_restarts: true, ..Wanted::default() };
    wanted.routes.push(Route::plain(DOES_NOT_RETURN));
    let routes = learned(scene, &wanted)?;
    let opens = opens_of_leaf(scene);
    scene.daemon.kill();
    keeps(scene, &routes, Duration::from_secs(2))?;
    wanted.routes.retain(|route| route.prefix != DOES_NOT_RETURN);
    scene.daemon.configure(&wanted)?;
    scene.daemon.revive()?;
    anew(scene, opens)?;
    scene.wait(CHANGE, "what did not return is dropped", || {
        let kernel = scene.kernel()?;
        ensure!(!kernel.contains_key(DOES_NOT_RETURN), "{DOES_NOT_RETURN} is still in the node's kernel");
        Ok(())
    })?;
    let ends = scene.messages();
    let open = ends.iter().rposition(|m| m.sender == Sender::Leaf && m.kind() == capture::OPEN).unwrap_or(0);
    let ended = ends.iter().skip(open).any(|m| m.sender == Sender::Leaf && m.end_of_rib() == Some(1));
    ensure!(ended, "it was dropped before the leaf's End-of-RIB");
    let deleted: Vec<String> = scene.deleted().into_iter().filter(|line| !line.contains(DOES_NOT_RETURN)).collect();
    ensure!(deleted.is_empty(), "the kernel deleted {deleted:?}");
    let rest: Vec<Route> = routes.into_iter().filter(|route| route.prefix != DOES_NOT_RETURN).collect();
    all_there(scene, &rest)
}

pub(super) fn notification(scene: &mut Scene) -> Result<()> {
    let wanted = Wanted { graceful: Some(60), leaf_restarts: true, gentle_resets: true, ..Wanted::default() };
    let routes = learned(scene, &wanted)?;
    for sender in [Sender::Leaf, Sender::Node] {
        let value = capability(scene, sender, GRACEFUL)?;
        let has_n = value.as_ref().and_then(|value| value.first()).is_some_and(|flags| flags & 0x40 != 0);
        match sender {
            Sender::Leaf if !has_n => return Err(unsupported("its OPEN has no N bit")),
            _ => ensure!(has_n, "the node's OPEN has no N bit: {value:?}"),
        }
    }
    scene.wait(CHANGE, "the daemon has the node's routes", || daemon_has_own(scene))?;

    let opens = opens_of_leaf(scene);
    scene.daemon.reset()?;
    loop {
        let kept = has_all(scene, &routes);
        if opens_of_leaf(scene) > opens {
            break;
        }
        kept.context("after the leaf's plain NOTIFICATION")?;
    }
    anew(scene, opens)?;
    let said = notification_of(scene, Sender::Leaf, 0)?;
    ensure!(!said.starts_with(&HARD_RESET), "the leaf's reset is a Hard Reset: {said:?}");
    all_there(scene, &routes)?;
    if forwarded(scene)? {
        ensure!(scene.deleted().is_empty(), "the kernel deleted {:?}", scene.deleted());
    } else {
        scene.notes.push("after its own reset its OPEN has F clear, and what was kept until then goes".to_owned());
    }

    let (leaf, before, opens) = (Link(0).leaf(Transport::V4), scene.messages().len(), opens_of_leaf(scene));
    scene.petiole(&["bgp", "clear", &leaf])?;
    scene.wait(Duration::from_secs(40), "there is a new session after the node's reset", || {
        daemon_has_own(scene)?;
        ensure!(opens_of_leaf(scene) > opens, "none yet");
        Ok(())
    })?;
    let said = notification_of(scene, Sender::Node, before)?;
    ensure!(!said.starts_with(&HARD_RESET), "the node's reset is a Hard Reset: {said:?}");
    scene.established(Link(0))?;
    all_there(scene, &routes)?;

    let before = scene.messages().len();
    scene.petiole(&["bgp", "disable", &leaf])?;
    scene.wait(CHANGE, "the daemon drops the node's routes after a Hard Reset", || {
        let said = notification_of(scene, Sender::Node, before)?;
        ensure!(said.starts_with(&HARD_RESET), "the node's shutdown is no Hard Reset: {said:?}");
        ensure!(daemon_has_own(scene).is_err(), "they are in its table");
        Ok(())
    })?;
    scene.petiole(&["bgp", "enable", &leaf])?;
    scene.established(Link(0))?;
    all_there(scene, &routes)?;

    let before = scene.messages().len();
    scene.daemon.shutdown("for good")?;
    let said = scene.wait(CHANGE, "the leaf's NOTIFICATION", || notification_of(scene, Sender::Leaf, before))?;
    if !said.starts_with(&HARD_RESET) {
        scene.notes.push(format!("its own shutdown is no Hard Reset but {}/{}", said[0], said[1]));
        return keeps(scene, &routes, Duration::from_secs(2));
    }
    scene.wait(CHANGE, "the node's kernel gives the leaf's routes up after a Hard Reset", || {
        let kernel = scene.kernel()?;
        ensure!(kernel.is_empty(), "still {:?}", kernel.keys());
        Ok(())
    })
}

/// The last NOTIFICATION of a side from a message on.
fn notification_of(scene: &Scene, sender: Sender, from: usize) -> Result<Vec<u8>> {
    let messages = scene.messages();
    let mut since = messages.iter().skip(from).rev();
    match since.find(|m| m.sender == sender && m.kind() == capture::NOTIFICATION) {
        Some(said) if said.body().len() >= 2 => Ok(said.body().to_vec()),
        other => bail!("NOTIFICATION of {sender:?}: {other:?}"),
    }
}

/// LLGR_STALE (RFC 9494, section 4.6), by number and by name.
const LLGR_STALE: [&str; 2] = ["65535:6", "llgr-stale"];

pub(super) fn long_lived(scene: &mut Scene) -> Result<()> {
    let (restart, stale) = (2, 6);
    let wanted = Wanted { graceful: Some(restart), long_lived: Some(stale), leaf_restarts: true, ..Wanted::default() };
    let routes = learned(scene, &wanted)?;
    if capability(scene, Sender::Leaf, LONG_LIVED)?.is_none_or(|value| value.is_empty()) {
        return Err(unsupported("its OPEN has no long-lived graceful restart for any family"));
    }
    scene.daemon.kill();
    let start = Instant::now();
    let aged = scene.wait(CHANGE, "the restart time is over and the routes are long-lived", || {
        has_all(scene, &routes)?;
        let kept = scene.peer(Link(0))?["kept"].clone();
        let all = kept.as_array().map_or(&[][..], Vec::as_slice);
        ensure!(!all.is_empty() && all.iter().all(|kept| kept["long_lived"] == true), "the node keeps {kept}");
        Ok(start.elapsed())
    })?;
    let shown = scene.petiole(&["bgp", "routes", "received"])?;
    for route in &routes {
        let path = shown.as_array().into_iter().flatten().find(|path| path["prefix"] == route.prefix.as_str());
        let communities = path.map(|path| path["communities"].to_string()).unwrap_or_default();
        ensure!(LLGR_STALE.iter().any(|name| communities.contains(name)), "{}: {communities}", route.prefix);
    }
    scene.wait(Duration::from_secs(20), "the long-lived stale time is over", || {
        let kernel = scene.kernel()?;
        ensure!(kernel.is_empty(), "still {:?}", kernel.keys());
        Ok(())
    })?;
    let gone = start.elapsed();
    let least = Duration::from_secs(u64::from(restart) + u64::from(stale));
    ensure!(gone + Duration::from_millis(500) >= least, "gone after {gone:?}, which is less than {least:?}");
    scene.notes.push(format!("long-lived after {:.0} s, gone after {:.0} s", aged.as_secs_f64(), gone.as_secs_f64()));
    let opens = opens_of_leaf(scene);
    scene.daemon.revive()?;
    anew(scene, opens)?;
    all_there(scene, &routes)
}
