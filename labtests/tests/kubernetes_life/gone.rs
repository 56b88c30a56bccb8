//! A node is deleted for good, and another one is away for just as long and comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::fabric::{self, Role, members};
use petiole_labtests::kubernetes::{Announced, Cluster, Scene};
use petiole_labtests::{NodeHandle, eventually, throughout};

const WITHIN: Duration = Duration::from_secs(120);
const DELETED: &str = "worker4";
const AWAY: &str = "worker3";
/// What peers do when the grace time of what is away too would be over.
const AFTER: Duration = Duration::from_secs(8);
const HISTORY: &str = "/run/history";

pub(crate) fn one_is_deleted_and_one_is_away(scene: &mut Scene) -> Result<()> {
    let before = fabric::blocks(&scene.lab, "master2")?;
    let [deleted, away] = [DELETED, AWAY].map(|node| before.get(node).cloned().unwrap_or_default());
    ensure!(!deleted.is_empty() && !away.is_empty(), "{before:?}");
    let master = scene.lab.node("master2")?;
    for node in [DELETED, AWAY] {
        eventually(WITHIN, "the node has written down which object is its own", || {
            let key = format!("/petiole/v1/node-objects/{node}");
            let found = master.exec(&["etcdctl", "get", &key])?;
            ensure!(!found.is_empty(), "{key} is not there");
            Ok::<_, anyhow::Error>(())
        })?;
    }
    let _history = master.spawn(&["sh", "-c", &format!("exec etcdctl watch /calico/ /petiole0 >{HISTORY}")])?;

    scene.power_off(AWAY)?;
    scene.power_off(DELETED)?;
    let off = Instant::now();
    let cluster = Cluster::of(&scene.lab)?;
    cluster.kubectl(&["delete", "node", DELETED])?;
    let blocks = || fabric::blocks(&scene.lab, "master2");
    let left = eventually(WITHIN, "what the deleted node held is free", || {
        let left = blocks()?;
        let free = !left.contains_key(DELETED) && left.values().flatten().all(|block| !deleted.contains(block));
        ensure!(free, "{left:?}");
        Ok::<_, anyhow::Error>(left)
    })?;
    println!("figure: what {DELETED} held is free {:.1?} after it was deleted and powered off", off.elapsed());
    ensure!(left.get(AWAY) == Some(&away), "{AWAY} had {away:?}: {left:?}");
    eventually(WITHIN, "nothing of it is left", || {
        for prefix in [format!("/calico/ipam/v2/host/{DELETED}/"), format!("/petiole/v1/forgotten/{DELETED}")] {
            let left = master.exec(&["etcdctl", "get", "--prefix", "--keys-only", &prefix])?;
            ensure!(left.trim().is_empty(), "{left}");
        }
        Ok::<_, anyhow::Error>(())
    })?;
    by_one_hand(&cluster, &master, &deleted)?;
    throughout(AFTER, "the one that is only away has its blocks", || {
        let now = blocks()?;
        ensure!(now.get(AWAY) == Some(&away), "{now:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    let notes = history(&master.read(HISTORY)?)?.remove(&format!("/petiole/v1/forgotten/{AWAY}"));
    ensure!(notes.is_none(), "{AWAY} was taken for deleted: {notes:?}");
    let was_off = off.elapsed();
    scene.power_on(AWAY)?;
    let on = Instant::now();
    let cluster = Cluster::of(&scene.lab)?;
    let announced = Announced { blocks: before, ..Announced::all(&scene.lab)? }.without(&[DELETED]);
    scene.settled(&announced)?;
    println!("figure: {AWAY} was off for {was_off:.1?}; every switch has its blocks again {:.1?} later", on.elapsed());
    eventually(WITHIN, "it is Ready", || {
        let condition = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        let is = cluster.kubectl(&["get", "node", AWAY, "-o", condition])?;
        ensure!(is == "True", "{is}");
        Ok::<_, anyhow::Error>(())
    })?;
    let now = fabric::blocks(&scene.lab, "master2")?;
    ensure!(now.get(AWAY) == Some(&away), "{AWAY} had {away:?}: {now:?}");
    scene.say(format!("{DELETED} was deleted, {AWAY} away for a while"));
    Ok(())
}

/// One peer wrote that the node is gone, and every key of what it held went once and was not written again.
fn by_one_hand(cluster: &Cluster<'_>, master: &NodeHandle, blocks: &BTreeSet<String>) -> Result<()> {
    let history = history(&master.read(HISTORY)?)?;
    let of = |key: &str| history.get(key).cloned().unwrap_or_default();
    let note = of(&format!("/petiole/v1/forgotten/{DELETED}"));
    ensure!(note == ["PUT", "DELETE"], "the note: {note:?}");
    for block in blocks {
        let family = if block.contains(':') { "ipv6" } else { "ipv4" };
        let name = block.replace('/', "-");
        let key = |of: &str| format!("/calico/ipam/v2/{of}/{family}/block/{name}");
        for key in [key("assignment"), key(&format!("host/{DELETED}"))] {
            let changes = of(&key);
            let deleted = changes.iter().filter(|change| *change == "DELETE").count();
            ensure!(deleted == 1 && changes.last().is_some_and(|last| last == "DELETE"), "{key}: {changes:?}");
        }
    }
    let mut hands = Vec::new();
    for worker in members(Role::Worker).filter(|worker| ![DELETED, AWAY].contains(&worker.name)) {
        let field = format!("--field-selector=spec.nodeName={}", worker.name);
        let pod = cluster.kubectl(&["get", "pods", "-n", "petiole-system", &field, "-o", "name"])?;
        let log = cluster.kubectl(&["logs", "-n", "petiole-system", pod.trim(), "-c", "agent"])?;
        hands.extend(
            log.lines()
                .filter(|line| line.contains(&format!("node {DELETED} is silent")))
                .map(|line| format!("{}: {line}", worker.name)),
        );
    }
    println!("  {}", hands.join("\n  "));
    ensure!(hands.len() == 1, "not one: {hands:?}");
    Ok(())
}

/// What happened to each key, out of etcdctl's words: `PUT` or `DELETE`, the key, the value, a line each.
fn history(text: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut history: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if ["PUT", "DELETE"].contains(&line) {
            let key = lines.next().context("a change without a key")?;
            history.entry(key.to_owned()).or_default().push(line.to_owned());
        }
    }
    Ok(history)
}
