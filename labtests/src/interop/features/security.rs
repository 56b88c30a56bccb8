//! What protects the TCP connection.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::interop::capture::Packet;
use crate::interop::scene::Scene;
use crate::interop::wanted::{Link, Wanted};

pub(super) fn md5(scene: &mut Scene) -> Result<()> {
    // Both dial: some daemons protect only what they dial themselves.
    let wanted = Wanted {
        leaf_passive: false,
        leaf_key: Some("petiole-and-leaf"),
        node_key: Some("petiole-and-leaf"),
        ..Wanted::default()
    };
    scene.up(&wanted)?;
    for_all_data(scene, "is not signed", |packet| packet.signed)?;
    scene.renew()?;
    scene.start(&Wanted { node_key: Some("another-key-here"), ..wanted })?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        let session = scene.daemon.session(Link(0))?;
        ensure!(!session.established, "with two keys the daemon says {}", session.state);
        std::thread::sleep(Duration::from_millis(250));
    }
    let data = scene.packets().iter().filter(|packet| packet.carries).count();
    ensure!(data == 0, "with two keys {data} packets carried data");
    Ok(())
}

pub(super) fn gtsm(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted { leaf_passive: false, ttl_security: true, ..Wanted::default() })?;
    for_all_data(scene, "has not TTL 255", |packet| packet.ttl == 255)
}

fn for_all_data(scene: &Scene, what: &str, holds: impl Fn(&Packet) -> bool) -> Result<()> {
    let packets: Vec<Packet> = scene.packets().into_iter().filter(|packet| packet.carries).collect();
    ensure!(packets.len() > 3, "{} packets recorded", packets.len());
    if let Some(other) = packets.iter().find(|packet| !holds(packet)) {
        bail!("a packet {what}: {other:?}");
    }
    Ok(())
}
