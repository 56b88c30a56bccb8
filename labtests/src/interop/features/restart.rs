//! Restarts of either side over which forwarding goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::session::open_of;
use crate::Signal;
use crate::interop::capture::{self, Sender};
use crate::interop::scene::{CHANGE, OWN, Scene};
use crate::interop::wanted::Wanted;

/// Capability code (RFC 4724).
const GRACEFUL: u8 = 64;

fn graceful() -> Wanted {
    Wanted { graceful: Some(60), ..Wanted::default() }
}

/// The value of a capability in the last OPEN of a side.
fn capability(scene: &Scene, sender: Sender, code: u8) -> Result<Option<Vec<u8>>> {
    Ok(open_of(scene, sender)?.into_iter().find(|(known, _)| *known == code).map(|(_, value)| value))
}

fn daemon_has_own(scene: &Scene) -> Result<()> {
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
