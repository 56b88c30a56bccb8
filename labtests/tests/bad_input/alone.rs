//! One agent without switches.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::{check, eventually, throughout};
use serde_json::Value;

use crate::{Place, root, said};

const LEAF: &str =
    "[store]\nembedded = \"/s\"\n[bgp]\nasn = 4200000011\n[[bgp.peer]]\naddress = \"10.122.101.0\"\nasn = 65001\n";

/// A configuration, and words of what is said of it, the next step among them.
fn mistakes() -> Vec<(String, [&'static str; 2])> {
    let leaf = |from: &str, to: &str| LEAF.replace(from, to);
    vec![
        ("[node]\nrolse = [\"worker\"]\n".to_owned(), ["rolse", "roles"]),
        ("[nodes]\nname = \"x\"\n".to_owned(), ["nodes", "node"]),
        (leaf("asn = 65001", "asn = 65001\nholdtime = \"9s\""), ["holdtime", "hold_time"]),
        ("[node]\nroles = [\"leader\"]\n".to_owned(), ["leader", "worker, master"]),
        ("[node]\nroles = [\"Worker\"]\n".to_owned(), ["Worker", "worker"]),
        (
            "[ipam]\npools = [{ cidr = \"10.123.128.0/17\" }, { cidr = \"10.123.192.0/18\" }]\n".to_owned(),
            ["overlaps pool 10.123.128.0/17", "own range"],
        ),
        ("[ipam]\npools = [{ cidr = \"10.123.128.7/17\" }]\n".to_owned(), ["host bits", "10.123.128.0/17"]),
        ("[node]\naddresses = [\"fd00:122::11/64\"]\n".to_owned(), ["fd00:122::11/64", "/128"]),
        (leaf("asn = 4200000011", "asn = 0"), ["no speaker may use", "write the AS number of the node"]),
        (leaf("asn = 65001", "asn = 0"), ["no speaker may use", "write the AS number of the leaf"]),
        (leaf("10.122.101.0", "127.0.0.1"), ["this node itself", "write the leaf's address"]),
        ("[node\nname = 1".to_owned(), ["", ""]),
    ]
}

#[test]
fn a_mistake_is_told_with_its_place_before_anything_is_touched() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let place = Place::new("")?;
    let file = place.text("petiole.toml");
    let kernel = || place.netns.exec(&["ip", "-d", "address"]);
    let before = kernel()?;
    for (config, words) in mistakes() {
        place.configure(&config)?;
        let check = place.run(&["config", "check", &file, "-o", "json"])?;
        let answer: Value = serde_json::from_slice(&check.stdout).with_context(|| format!("{config}: {check:?}"))?;
        let error = &answer["errors"][0];
        let message = error["message"].as_str().unwrap_or_default();
        ensure!(check.status.code() == Some(1) && answer["ok"] == false, "{config}: {answer}");
        ensure!(error["line"].as_u64() > Some(0) && error["column"].as_u64() > Some(0), "{config}: {answer}");
        ensure!(!message.is_empty() && words.iter().all(|word| message.contains(word)), "{config}: {answer}");

        let agent = place.run(&["agent", "--config", &file])?;
        let complaint = String::from_utf8_lossy(&agent.stderr);
        ensure!(agent.status.code() == Some(1), "{config}: {agent:?}");
        ensure!(complaint.contains(message) && complaint.contains("petiole config check"), "{config}: {complaint}");
        ensure!(!complaint.contains("panicked"), "{complaint}");
    }
    // Neither text nor a file: said, and no panic.
    fs::write(&file, [0xff, 0xfe, 0, 0x80])?;
    for path in [file.as_str(), "/"] {
        for args in [["config", "check", path], ["agent", "--config", path]] {
            let output = place.run(&args)?;
            let complaint = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(1) && complaint.contains(path), "{args:?}: {output:?}");
        }
    }
    ensure!(!place.path("run").exists() && !place.path("state").exists(), "it left something behind");
    ensure!(kernel()? == before);
    Ok(())
}

#[test]
fn a_peer_that_is_this_node_is_told_until_the_address_is_the_leafs() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let place = Place::new("")?;
    let store = place.text("store");
    place.configure(&LEAF.replace("/s", &store))?;
    place.netns.exec(&[
        "sh",
        "-ec",
        "ip link add eth1 type veth peer name leaf; ip link set eth1 up; ip link set leaf up",
    ])?;
    place.netns.exec(&["ip", "addr", "add", "10.122.101.0/31", "dev", "eth1"])?;
    let agent = place.start("")?;
    let words = ["peer 10.122.101.0 is an address of this node", "[[bgp.peer]] address"];
    let status = place.problem(&words)?;
    ensure!(status["peers"][0]["state"] == "Idle", "{status:#}");
    ensure!(status["peers"][0]["last_error"].as_str().is_some_and(|text| text.contains(words[0])), "{status:#}");
    let foreign = place.netns.exec(&["ip", "-4", "addr", "show", "dev", "eth1"])?;
    ensure!(foreign.contains("10.122.101.0/31"), "{foreign}");
    // The operator sees that both ends were mixed up.
    place.netns.exec(&["sh", "-ec", "ip addr del 10.122.101.0/31 dev eth1; ip addr add 10.122.101.1/31 dev eth1"])?;
    let status = place.solved(&words)?;
    ensure!(status["peers"][0]["uplink"] == "eth1", "{status:#}");
    place.end(agent)
}

#[test]
fn a_state_directory_that_cannot_be_written_is_told_and_nothing_is_lost_by_it() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let place = Place::new("")?;
    let (store, healthy) = (place.text("store"), place.text("healthy"));
    fs::write(&healthy, "")?;
    place.configure(&format!(
        "[store]\nembedded = \"{store}\"\n[[announce]]\nkind = \"anycast\"\nprefix = \"10.122.255.1/32\"\n\
         health = {{ command = [\"/usr/bin/test\", \"-e\", \"{healthy}\"], interval = \"2s\", rise = 1, fall = 1 }}\n"
    ))?;
    let state = place.text("state");
    let mount = |options: &str| format!("mkdir -p {state}; mount -t tmpfs -o {options} tmpfs {state};");
    let refused = place.start(&mount("ro"))?.wait()?;
    ensure!(refused.status.code() == Some(1), "{refused:?} {}", place.log());
    let log = place.log();
    ensure!(log.contains(&format!("cannot write the state directory {state}: Read-only file system")), "{log}");
    ensure!(log.contains("make it writable") && log.contains("[paths] state"), "{log}");

    // It becomes read-only while the agent runs, as a file system with errors does.
    let agent = place.start(&mount("rw"))?;
    let pid = agent.pid().context("no agent")?.to_string();
    let saved = || -> Result<Value> {
        let read = ["nsenter", "--mount", "-t", &pid, "cat", &format!("{state}/last-known-good.json")];
        Ok(serde_json::from_str(&place.netns.exec(&read)?)?)
    };
    let verdict_saved = |healthy: bool| {
        eventually(Duration::from_secs(30), "the verdict is saved", || {
            let saved = saved().map_err(said)?;
            check(saved["gates"]["10.122.255.1/32"] == healthy, &saved)
        })
    };
    verdict_saved(true)?;
    let remount = |options: &str| {
        place.netns.exec(&["nsenter", "--mount", "-t", &pid, "mount", "-o", &format!("remount,{options}"), &state])
    };
    remount("ro")?;
    let old = saved()?;
    fs::remove_file(&healthy)?;
    let words = ["cannot save the last known good state", "Read-only file system", "writable"];
    place.problem(&words)?;
    throughout(Duration::from_millis(300), "the agent goes on, and the old state is there", || {
        let status = place.status().map_err(said)?;
        check(status["gates"][0]["state"] == "unhealthy", &status)?;
        check(saved().map_err(said)? == old, "the old state is gone")
    })?;
    remount("rw")?;
    place.solved(&words)?;
    verdict_saved(false)?;
    place.end(agent)
}
