//! What protects the TCP connection.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::interop::capture::{Packet, Sender};
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

pub(super) fn gtsm_refused(scene: &mut Scene) -> Result<()> {
    let rules = "add table ip aged; add chain ip aged out { type filter hook output priority 0; }; \
                 add rule ip aged out tcp dport 179 ip ttl set 254; add rule ip aged out tcp sport 179 ip ttl set 254";
    scene.place.exec(&["nft", rules])?;
    scene.start(&Wanted { leaf_passive: false, ttl_security: true, ..Wanted::default() })?;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        let session = scene.daemon.session(Link(0))?;
        ensure!(!session.established, "with TTL 254 the daemon says {}", session.state);
        std::thread::sleep(Duration::from_millis(250));
    }
    let packets = scene.packets();
    let of_leaf = |packet: &&Packet| packet.sender == Sender::Leaf;
    ensure!(packets.iter().any(|packet| of_leaf(&packet)), "nothing of the leaf was recorded");
    if let Some(other) = packets.iter().filter(of_leaf).find(|packet| packet.ttl != 254) {
        bail!("a packet of the leaf has not TTL 254: {other:?}");
    }
    let data = packets.iter().filter(|packet| packet.carries).count();
    ensure!(data == 0, "with TTL 254 {data} packets carried data");
    scene.place.exec(&["nft", "delete table ip aged"])?;
    scene.established(Link(0)).map(drop)
}

fn for_all_data(scene: &Scene, what: &str, holds: impl Fn(&Packet) -> bool) -> Result<()> {
    let packets: Vec<Packet> = scene.packets().into_iter().filter(|packet| packet.carries).collect();
    ensure!(packets.len() > 3, "{} packets recorded", packets.len());
    if let Some(other) = packets.iter().find(|packet| !holds(packet)) {
        bail!("a packet {what}: {other:?}");
    }
    Ok(())
}
