//! Sessions with TCP MD5 signatures and GTSM, between the real agent and FRR, and between two agents where a key changes on both
//! sides: FRR ends a session whose password changes, by itself. Asserted on the leaf's own word and on the packets of the link. And
//! what strangers and neighbours do that only want to disturb.

#[path = "secured/flood.rs"]
mod flood;
#[path = "secured/ground.rs"]
mod ground;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use anyhow::{Result, ensure};
use petiole_labtests::{Netns, check, eventually, throughout};
use serde_json::Value;

use ground::{Ends, Frr, Ground, LEAF_ASN, NODE_ASN, V4, V6, WITHIN, root, words};

fn right_wrong_missing(ends: Ends) -> Result<()> {
    let ground = Ground::new()?;
    let (node, path) = (ends.node, ground.text("leaf.key"));
    ground.key("leaf.key", "right")?;
    let frr = Frr::start(&ground, ends, &format!("neighbor {node} password right"))?;
    let agent =
        ground.agent("node", &ground.node, NODE_ASN, (ends.leaf, LEAF_ASN), &format!("password_file = \"{path}\""))?;
    frr.established()?;
    ensure!(ground.signed_with("right")? > 2, "nothing on the link has the key's signature");

    frr.set(&format!("neighbor {node} password wrong"))?;
    frr.refused()?;
    ground
        .says("with a wrong TCP MD5 signature arrived here meanwhile: the keys differ", "the keys differ; compare")?;

    frr.set(&format!("no neighbor {node} password"))?;
    frr.refused()?;
    ground.says("the leaf has no key for us", "TCP MD5 signature")?;

    // The agent goes on living through all of it: a key that fits is all that was missing.
    ground.key("leaf.key", "second")?;
    frr.set(&format!("neighbor {node} password second"))?;
    frr.established()?;
    eventually(WITHIN, "no problem is left", || {
        let (_, problems) = ground.said()?;
        ensure!(!problems.contains("MD5"), "{problems}");
        Ok(())
    })?;

    fs::remove_file(ground.path("leaf.key"))?;
    frr.refused()?;
    ground.says("does not exist", "no session with")?;
    fs::write(ground.path("leaf.key"), "second")?;
    fs::set_permissions(ground.path("leaf.key"), Permissions::from_mode(0o644))?;
    ground.says("everybody may use the key in", "chmod 600")?;
    frr.refused()?;
    fs::set_permissions(ground.path("leaf.key"), Permissions::from_mode(0o600))?;
    frr.established()?;

    // With a key on our side, no segment ever carried data without a signature, whatever the leaf did.
    let unsigned = ground.frames("tcp.len > 0 && !tcp.options.md5")?;
    ensure!(unsigned.is_empty(), "unsigned data: {unsigned:#?}");
    ensure!(!ground.frames("tcp.len > 0 && tcp.options.md5")?.is_empty(), "no signed data was recorded");

    drop(agent);
    let _unsigned = ground.agent("node", &ground.node, NODE_ASN, (ends.leaf, LEAF_ASN), "")?;
    ground
        .says("with a TCP MD5 signature arrived here meanwhile, and there is no password_file", "set password_file")?;
    frr.refused()?;
    Ok(())
}

#[test]
fn md5_right_wrong_missing_over_ipv4() -> Result<(), String> {
    if root() { right_wrong_missing(V4).map_err(words) } else { Ok(()) }
}

#[test]
fn md5_right_wrong_missing_over_ipv6() -> Result<(), String> {
    if root() { right_wrong_missing(V6).map_err(words) } else { Ok(()) }
}

fn rotated(ends: Ends) -> Result<()> {
    let ground = Ground::new()?;
    let sides = [
        ("node", &ground.node, NODE_ASN, (ends.leaf, LEAF_ASN)),
        ("leaf", &ground.leaf, LEAF_ASN, (ends.node, NODE_ASN)),
    ];
    let mut agents = Vec::new();
    for (name, netns, asn, neighbour) in sides {
        ground.key(&format!("{name}.key"), "old")?;
        // Two agents would both be customers, which RFC 9234 refuses.
        let more = format!("role = false\npassword_file = \"{}\"", ground.text(&format!("{name}.key")));
        agents.push(ground.agent(name, netns, asn, neighbour, &more)?);
    }
    let session = |name: &str, netns: &Netns| -> Result<Value> {
        let peers = ground.ask(name, netns, &["bgp", "peers"])?;
        let peer = &peers[0];
        ensure!(peer["state"] == "established" || peer["state"] == "Established", "{name}: {peer:#}");
        Ok(peer.clone())
    };
    for (name, netns, ..) in sides {
        eventually(WITHIN, "the session is up", || session(name, netns).map(drop))?;
    }
    let before = ground.signed_with("new")?;
    ensure!(before == 0, "{before} segments have a key that nobody has yet");
    ground.key("node.key", "new")?;
    ground.key("leaf.key", "new")?;
    for (name, ..) in sides {
        eventually(WITHIN, "the new key is taken", || {
            check(ground.log(name).contains("is used from now on"), ground.log(name)).map_err(anyhow::Error::msg)
        })?;
    }
    // Longer than the hold time: keepalives under the new key hold the session, and nothing else could.
    throughout(Duration::from_secs(14), "the session is up", || {
        sides.iter().try_for_each(|(name, netns, ..)| session(name, netns).map(drop))
    })?;
    for (name, netns, ..) in sides {
        let peer = session(name, netns)?;
        ensure!(peer["established_count"] == 1, "{name}: the session was dropped: {peer:#}");
    }
    ensure!(ground.signed_with("new")? >= 4, "keepalives of both sides have the new key");
    let ended = ground.frames("tcp.flags.reset == 1 || tcp.flags.fin == 1")?;
    let unsigned = ground.frames("tcp.len > 0 && !tcp.options.md5")?;
    ensure!(unsigned.is_empty(), "unsigned data: {unsigned:#?}");
    println!("{} segments ended a connection (of two simultaneous ones, at first)", ended.len());
    Ok(())
}

#[test]
fn md5_rotated_on_both_sides_keeps_the_session() -> Result<(), String> {
    if root() { rotated(V4).and_then(|()| rotated(V6)).map_err(words) } else { Ok(()) }
}

fn gtsm(ends: Ends, far: &str) -> Result<()> {
    let ground = Ground::new()?;
    let node = ends.node;
    let frr = Frr::start(&ground, ends, "")?;
    let _agent = ground.agent("node", &ground.node, NODE_ASN, (ends.leaf, LEAF_ASN), "ttl_security = true")?;
    // FRR accepts with TTL 255 and speaks with TTL 1: there is a connection, but not a byte is heard.
    ground.says("with a TTL below 255 arrived here meanwhile", "has a TTL below 255")?;
    frr.refused()?;
    frr.set(&format!("neighbor {node} ttl-security hops 1"))?;
    frr.established()?;
    let far = ground.frames(&far.replace("NODE", node))?;
    ensure!(far.is_empty(), "sent by the node with a TTL below 255: {far:#?}");
    Ok(())
}

#[test]
fn gtsm_hears_only_the_link() -> Result<(), String> {
    if !root() {
        return Ok(());
    }
    gtsm(V4, "ip.src == NODE && ip.ttl < 255 && tcp.flags.reset == 0")
        .and_then(|()| gtsm(V6, "ipv6.src == NODE && ipv6.hlim < 255 && tcp.flags.reset == 0"))
        .map_err(words)
}
