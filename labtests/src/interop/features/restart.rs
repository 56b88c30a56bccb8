//! Restarts of either side over which forwarding goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::session::open_of;
use crate::Signal;
use crate::interop::capture::{self, Sender};
use crate::interop::scene::{CHANGE, OWN, Scene};
use crate::interop::wanted::{Link, Route, Wanted};

/// Capability code (RFC 4724).
pub(super) const GRACEFUL: u8 = 64;

fn graceful() -> Wanted {
    Wanted { graceful: Some(60), ..Wanted::default() }
}

/// The value of a capability in the last OPEN of a side.
pub(super) fn capability(scene: &Scene, sender: Sender, code: u8) -> Result<Option<Vec<u8>>> {
    Ok(open_of(scene, sender)?.into_iter().find(|(known, _)| *known == code).map(|(_, value)| value))
}

pub(super) fn daemon_has_own(scene: &Scene) -> Result<()> {
    let table = scene.daemon.table()?;
    ensure!(OWN.iter().all(|own| table.contains(*own)), "the daemon's table has only {table:?}");
    Ok(())
}

pub(super) fn of_node(scene: &mut Scene) -> Result<()> {
    scene.up(&graceful())?;
    scene.wait(CHANGE, "the daemon has the node's routes", || daemon_has_own(scene))?;
    scene.wait(CHANGE, "the node is done", || {
        ensure!(scene.messages().iter().any(|m| m.sender == Sender::Node && m.end_of_rib().is_some()), "no End-of-RIB");
        Ok(())
    })?;
    // Every family's routes were stored with the state that the next life resumes.
    std::thread::sleep(Duration::from_millis(500));
    let before = scene.messages().len();
    scene.end_agent(Signal::KILL)?;
    keeps(scene, Duration::from_secs(1))?;
    scene.start_agent()?;
    let start = Instant::now();
    let again = |scene: &Scene| {
        let messages = scene.messages();
        let since = messages.get(before..).unwrap_or_default();
        since.iter().filter(|m| m.sender == Sender::Node).filter_map(capture::Message::end_of_rib).count() >= 2
    };
    while !again(scene) {
        daemon_has_own(scene)?;
        ensure!(start.elapsed() < Duration::from_secs(40), "no session again within 40 s");
        std::thread::sleep(Duration::from_millis(100));
    }
    keeps(scene, Duration::from_secs(1))?;
    let value = capability(scene, Sender::Node, GRACEFUL)?;
    match value.as_deref() {
        Some([flags, _, families @ ..]) => {
            ensure!(flags & 0x80 != 0, "the new OPEN has no R bit: {flags:#x}");
            let forwarding = families.chunks(4).filter(|family| family.get(3).is_some_and(|f| f & 0x80 != 0)).count();
            ensure!(forwarding == 2, "the new OPEN keeps forwarding for {forwarding} of 2 families");
            Ok(())
        }
        other => bail!("the new OPEN's capability: {other:?}"),
    }
}

/// Fails if the daemon loses one of the node's routes within a time.
fn keeps(scene: &Scene, period: Duration) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < period {
        daemon_has_own(scene)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Brings the session up with all of the leaf's routes in the node's kernel, and watches them from then on.
pub(super) fn learned(scene: &mut Scene, wanted: &Wanted) -> Result<Vec<Route>> {
    scene.up(wanted)?;
    let routes: Vec<Route> = scene.usable(&wanted.routes).into_iter().cloned().collect();
    all_there(scene, &routes)?;
    // A leaf without the capability need not say it (RFC 4724 section 2).
    let marks = capability(scene, Sender::Leaf, GRACEFUL)?.is_some();
    scene.wait(CHANGE, "both sides have said End-of-RIB of both families", || {
        let messages = scene.messages();
        let said = |sender| messages.iter().filter(|m| m.sender == sender && m.end_of_rib().is_some()).count();
        let (node, leaf) = (said(Sender::Node), said(Sender::Leaf));
        ensure!(node >= 2 && (leaf >= 2 || !marks), "the node said {node} and the leaf {leaf}");
        Ok(())
    })?;
    scene.watch_routes()?;
    Ok(routes)
}

pub(super) fn all_there(scene: &Scene, routes: &[Route]) -> Result<()> {
    scene.wait(CHANGE, "the node's kernel has the leaf's routes", || {
        let kernel = scene.kernel()?;
        ensure!(routes.iter().all(|route| kernel.contains_key(&route.prefix)), "only {:?}", kernel.keys());
        Ok(())
    })
}

/// Waits for a new session after one that ended.
pub(super) fn anew(scene: &Scene, opens: usize) -> Result<()> {
    scene.wait(Duration::from_secs(40), "there is a new session", || {
        let count = opens_of_leaf(scene);
        ensure!(count > opens, "{count} OPENs of the leaf so far");
        Ok(())
    })?;
    scene.established(Link(0)).map(drop)
}

pub(super) fn opens_of_leaf(scene: &Scene) -> usize {
    scene.messages().iter().filter(|m| m.sender == Sender::Leaf && m.kind() == capture::OPEN).count()
}

pub(super) fn leaf_crash(scene: &mut Scene) -> Result<()> {
    let routes = learned(scene, &Wanted::default())?;
    scene.daemon.kill();
    scene.wait(CHANGE, "the node's kernel gives the leaf's routes up", || {
        let kernel = scene.kernel()?;
        ensure!(kernel.is_empty(), "still {:?}", kernel.keys());
        Ok(())
    })?;
    ensure!(scene.deleted().len() >= routes.len(), "the kernel told of {:?} only", scene.deleted());
    let opens = opens_of_leaf(scene);
    scene.daemon.revive()?;
    anew(scene, opens)?;
    all_there(scene, &routes)
}

pub(super) fn leaf_reset(scene: &mut Scene) -> Result<()> {
    let routes = learned(scene, &Wanted::default())?;
    let opens = opens_of_leaf(scene);
    scene.daemon.reset()?;
    anew(scene, opens)?;
    let said = scene.messages().into_iter().any(|m| m.sender == Sender::Leaf && m.kind() == capture::NOTIFICATION);
    ensure!(said, "the session ended without a NOTIFICATION");
    all_there(scene, &routes)
}

pub(super) fn bfd(scene: &mut Scene) -> Result<()> {
    let routes = learned(scene, &Wanted { bfd: true, ..Wanted::default() })?;
    scene.wait(CHANGE, "BFD is Up, in the node's word", || {
        let state = scene.peer(Link(0))?["bfd"].clone();
        ensure!(state.to_string().contains("Up"), "the node says {state}");
        Ok(())
    })?;
    let rules = "add table inet cut; add chain inet cut input { type filter hook input priority 0; policy drop; }";
    scene.node.exec(&["nft", rules])?;
    let start = Instant::now();
    // The hold time is 9 s.
    scene.wait(
        Duration::from_secs(3),
        "the node's kernel gives the leaf's routes up long before the hold time",
        || {
            let kernel = scene.kernel()?;
            ensure!(routes.iter().all(|route| !kernel.contains_key(&route.prefix)), "still {:?}", kernel.keys());
            Ok(())
        },
    )?;
    scene.notes.push(format!("{} ms after the cut", start.elapsed().as_millis()));
    Ok(())
}
