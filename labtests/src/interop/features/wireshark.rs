//! A decoder that is not ours.

use anyhow::{Result, ensure};

use crate::interop::capture::{self, Sender};
use crate::interop::scene::{CHANGE, Scene};
use crate::interop::wanted::{Link, Transport, Wanted};

/// What the node sent: everything that the leaf's addresses did not.
const OF_NODE: &str = "bgp && !(ip.src == 10.122.101.0) && !(ipv6.src == fd00:122:101::)";
/// Wireshark's groups of remarks: undecoded, malformed, protocol.
const REMARKS: &str = "_ws.malformed || _ws.expert.group == 0x05000000 || _ws.expert.group == 0x07000000 || \
                       _ws.expert.group == 0x09000000";

pub(super) fn decodes(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted { node_hold: 3, ..Wanted::default() })?;
    for healthy in [false, true] {
        says_more(scene, || scene.set_healthy(healthy))?;
    }
    says_more(scene, || scene.petiole(&["drain", "--after", "60s"]).map(drop))?;
    scene.petiole(&["bgp", "disable", &Link(0).leaf(Transport::V4), "--message", "the end"])?;
    let kinds = [capture::OPEN, capture::UPDATE, capture::NOTIFICATION, capture::KEEPALIVE];
    scene.wait(CHANGE, "all of it was recorded", || {
        let messages = scene.messages();
        let sent = |kind: u8| messages.iter().any(|m| m.sender == Sender::Node && m.kind() == kind);
        ensure!(kinds.into_iter().all(sent), "not every kind of message");
        Ok(())
    })?;
    let recorded = scene.messages().iter().filter(|m| m.sender == Sender::Node).count();
    let types = tshark(scene, OF_NODE, "bgp.type")?;
    let decoded: usize = types.lines().map(|line| line.split(',').count()).sum();
    ensure!(decoded == recorded, "{recorded} messages were recorded, tshark decodes {decoded}");
    let remarks = tshark(scene, &format!("{OF_NODE} && ({REMARKS})"), "_ws.expert.message")?;
    ensure!(remarks.trim().is_empty(), "tshark remarks: {remarks}");
    Ok(())
}

/// Waits until the node has sent another UPDATE for what is done.
fn says_more(scene: &Scene, act: impl FnOnce() -> Result<()>) -> Result<()> {
    let sent = || scene.messages().iter().filter(|m| m.sender == Sender::Node && m.kind() == capture::UPDATE).count();
    let before = sent();
    act()?;
    scene.wait(CHANGE, "the node says what changed", || {
        let now = sent();
        ensure!(now > before, "{now} UPDATEs, as before");
        Ok(())
    })
}

fn tshark(scene: &Scene, filter: &str, field: &str) -> Result<String> {
    let file = scene.record_file();
    scene.place.exec(&["tshark", "-n", "-r", &file.to_string_lossy(), "-Y", filter, "-T", "fields", "-e", field])
}
