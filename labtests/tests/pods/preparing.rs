//! A pair that is begun while etcd is asked for its addresses: an etcd that is stopped meanwhile makes any instant of it last.

use std::process::Child;
use std::time::Duration;

use anyhow::{Result, ensure};
use petiole_labtests::{Netns, check, eventually, throughout};
use rustix::process::Signal;

use petiole_labtests::plugin::addresses;

use super::alone::{Alone, root};
use super::{SETTLE, WITHIN};

fn etcd(node: &Alone, signal: Signal) {
    if let Some(etcd) = &node.etcd {
        etcd.signal(signal);
    }
}

/// An ADD that has made its pair, one of so many, and waits for etcd.
fn begun(node: &Alone, container: &str, pod: &Netns, pairs: usize) -> Result<Child> {
    etcd(node, Signal::STOP);
    let mut add = node.begin("ADD", container, Some(pod), None)?;
    eventually(WITHIN, "the pair is there before its addresses", || {
        let (interfaces, over) = (node.interfaces()?, add.try_wait()?);
        ensure!(interfaces.len() == pairs && over.is_none(), "{interfaces:?} {over:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(add)
}

fn said(child: Child) -> Result<(bool, String)> {
    let output = child.wait_with_output()?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

#[test]
fn a_pair_begun_before_etcd_answers_becomes_a_pod_or_goes() -> Result<()> {
    if !root("a_pair_begun_before_etcd_answers_becomes_a_pod_or_goes") {
        return Ok(());
    }
    let mut node = Alone::with(true)?;
    let pod = Netns::bare("pods-pre")?;
    let add = begun(&node, "c1", &pod, 1)?;
    ensure!(node.records()?.is_empty(), "{:?}", node.records()?);
    let inside = pod.exec(&["ip", "-o", "addr", "show", "dev", "eth0", "scope", "global"])?;
    ensure!(inside.is_empty(), "{inside}");
    let index = node.netns.ip_json(&["link", "show", "type", "veth"])?[0]["ifindex"].clone();
    etcd(&node, Signal::CONT);
    let (is_added, text) = said(add)?;
    ensure!(is_added, "{text}");
    ensure!(node.netns.ip_json(&["link", "show", "type", "veth"])?[0]["ifindex"] == index, "it was made twice");
    let first = serde_json::from_str(&text)?;
    for address in addresses(&first)? {
        node.netns.exec(&["ping", "-c", "1", "-W", "1", &address])?;
    }
    node.cni("CHECK", "c1", Some(&pod), Some(&first))?;

    // Said again, and deleted, before it is done.
    let other = Netns::bare("pods-pre")?;
    let adds = [begun(&node, "c2", &other, 2)?, node.begin("ADD", "c2", Some(&other), None)?];
    etcd(&node, Signal::CONT);
    let [(one, text), (two, again)] = adds.map(said).map(|said| said.unwrap_or_default());
    ensure!(one && two && text == again, "{text} {again}");
    node.cni("DEL", "c2", Some(&other), None)?;
    let add = begun(&node, "c3", &other, 2)?;
    let del = node.begin("DEL", "c3", Some(&other), None)?;
    // It must have been heard of before etcd answers.
    throughout(Duration::from_millis(200), "DEL waits", || {
        check(node.interfaces().is_ok_and(|i| i.len() == 2), "gone")
    })?;
    etcd(&node, Signal::CONT);
    let ((is_added, text), (is_deleted, words)) = (said(add)?, said(del)?);
    ensure!(!is_added && text.contains("deleted meanwhile") && is_deleted, "{text} {words}");
    ensure!(node.interfaces()?.len() == 1, "{:?}", node.interfaces()?);

    // The namespace goes before the addresses come.
    let add = begun(&node, "c4", &other, 2)?;
    drop(other);
    etcd(&node, Signal::CONT);
    let (_, text) = said(add)?;
    node.cni("DEL", "c4", None, None)?;
    eventually(WITHIN, "only c1 is left", || {
        let (interfaces, used) = (node.interfaces()?, node.used()?);
        ensure!(interfaces.len() == 1 && used == 2, "{interfaces:?}, {used} used, {text}");
        node.is_consistent_with(1)
    })?;

    // The agent dies between the two; etcd does not even answer the next one when it cleans up.
    let other = Netns::bare("pods-pre")?;
    let add = begun(&node, "c5", &other, 2)?;
    node.kill()?;
    let (is_added, text) = said(add)?;
    ensure!(!is_added && node.interfaces()?.len() == 2, "{text}");
    node.start()?;
    eventually(WITHIN, "the pair without a record is gone", || {
        let interfaces = node.interfaces()?;
        ensure!(interfaces.len() == 1, "{interfaces:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    etcd(&node, Signal::CONT);
    eventually(SETTLE, "its addresses are back", || node.is_consistent_with(1))?;
    for address in addresses(&first)? {
        node.netns.exec(&["ping", "-c", "1", "-W", "1", &address])?;
    }

    // No pair can be made: the name is taken in the container.
    other.exec(&["ip", "link", "add", "eth0", "type", "bridge"])?;
    let refused = node.cni("ADD", "c6", Some(&other), None).map_or_else(|e| format!("{e:#}"), |done| done.to_string());
    ensure!(refused.contains("eth0"), "{refused}");
    ensure!(node.interfaces()?.len() == 1, "{:?}", node.interfaces()?);
    node.cni("DEL", "c1", Some(&pod), None)?;
    eventually(WITHIN, "nothing is left", || node.nothing_left())
}
