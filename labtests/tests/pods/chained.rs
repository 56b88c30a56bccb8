//! A network of several plugins as a runtime calls it, each with the result of the one before, and what the first refuses.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use petiole_labtests::plugin::{Call, addresses};
use petiole_labtests::{Netns, eventually};
use serde_json::{Value, json};

use super::WITHIN;
use super::alone::{Alone, ETCD, root};

/// Debian's plugins that follow ours, in their order.
fn followers() -> [Value; 3] {
    let port = json!([{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]);
    [
        json!({ "type": "portmap", "runtimeConfig": { "portMappings": port } }),
        json!({ "type": "bandwidth", "ingressRate": 80_000_000, "ingressBurst": 8_000_000 }),
        json!({ "type": "tuning", "sysctl": { "net.core.somaxconn": "500" } }),
    ]
}

/// Calls ours first and then the others with the last one's result, or for DEL the other way round.
fn all(node: &Alone, command: &str, pod: &Netns, prev: Option<&Value>) -> Result<Value> {
    let ours = |prev: Option<&Value>| {
        let mut conf = node.conf(prev);
        conf["cniVersion"] = json!("1.0.0");
        node.call(command, "chained", Some(pod), conf).run()
    };
    let run = |plugin: &Value, prev: &Value| {
        let mut conf = json!({ "cniVersion": "1.0.0", "name": "pods", "prevResult": prev });
        conf.as_object_mut().context("no object")?.extend(plugin.as_object().cloned().unwrap_or_default());
        let path = PathBuf::from("/usr/lib/cni").join(plugin["type"].as_str().unwrap_or_default());
        let call = Call::new(&path, command, "chained", conf).on(&node.netns);
        call.netns(format!("/run/netns/{}", pod.name())).run()
    };
    match (command, prev) {
        ("ADD", _) => followers().iter().try_fold(ours(None)?, |prev, plugin| run(plugin, &prev)),
        ("DEL", prev) => {
            let prev = prev.cloned().unwrap_or_default();
            followers().iter().rev().try_for_each(|plugin| run(plugin, &prev).map(drop))?;
            ours(Some(&prev))
        }
        (_, prev) => {
            let prev = prev.context("CHECK needs the result")?;
            ours(Some(prev))?;
            // Debian's portmap (1.1.1) looks for the rules of IPv4 in the tables of IPv6 too, and fails after any plugin.
            let others = followers().into_iter().filter(|plugin| plugin["type"] != "portmap");
            others.map(|plugin| run(&plugin, prev)).try_for_each(|checked| checked.map(drop))?;
            Ok(Value::Null)
        }
    }
}

fn in_chain(node: &Alone) -> Result<()> {
    let pod = Netns::bare("pods-c")?;
    let result = all(node, "ADD", &pod, None)?;
    let address = addresses(&result)?.first().cloned().context("no address")?;
    // What the others add stands behind ours.
    ensure!(
        result["ips"][0]["interface"] == 1 && result["interfaces"].as_array().is_some_and(|i| i.len() >= 2),
        "{result}"
    );
    all(node, "CHECK", &pod, Some(&result))?;
    let checked = |words: &str| -> Result<()> {
        let failure = node.call("CHECK", "chained", Some(&pod), node.conf(Some(&result))).answer()?;
        let failure = failure.err().with_context(|| format!("CHECK finds nothing, not {words:?}"))?;
        let msg = failure["msg"].as_str().unwrap_or_default();
        ensure!(failure["code"] == 100 && msg.contains(words), "{failure}");
        Ok(())
    };
    let host = result["interfaces"][0]["name"].as_str().context("no name")?.to_owned();
    node.netns.exec(&["ip", "link", "set", &host, "down"])?;
    checked(&host)?;
    node.netns.exec(&["ip", "link", "set", &host, "up"])?;
    eventually(WITHIN, "CHECK is content again", || all(node, "CHECK", &pod, Some(&result)).map(drop))?;
    pod.exec(&["ip", "route", "del", "default"])?;
    checked("default")?;
    pod.exec(&["ip", "route", "add", "default", "via", "169.254.1.1", "dev", "eth0"])?;
    pod.exec(&["ip", "addr", "del", &format!("{address}/32"), "dev", "eth0"])?;
    checked(&address)?;
    all(node, "DEL", &pod, Some(&result))?;
    all(node, "DEL", &pod, Some(&result))?;
    eventually(WITHIN, "nothing is left", || node.nothing_left())
}

/// A pool of the store, as `calicoctl` writes it.
fn put_pool(node: &Alone, name: &str, cidr: &str, spec: &Value) -> Result<()> {
    let mut whole = json!({
        "cidr": cidr, "blockSize": 30, "ipipMode": "Never", "vxlanMode": "Never", "natOutgoing": false,
        "nodeSelector": "all()", "allowedUses": ["Workload"],
    });
    whole.as_object_mut().context("no object")?.extend(spec.as_object().cloned().unwrap_or_default());
    let value = json!({
        "kind": "IPPool", "apiVersion": "projectcalico.org/v3",
        "metadata": { "name": name, "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z" }, "spec": whole,
    });
    let key = format!("/calico/resources/v3/projectcalico.org/ippools/{name}");
    let endpoint = format!("--endpoints={ETCD}");
    let argv = ["env", "ETCDCTL_API=3", "etcdctl", &endpoint, "put", &key, &value.to_string()];
    node.netns.exec(&argv).map(drop)
}

fn refusals(node: &Alone) -> Result<()> {
    for (name, cidr, spec) in [
        ("ipip", "10.124.0.0/24", json!({ "ipipMode": "Always" })),
        ("vxlan", "10.124.1.0/24", json!({ "vxlanMode": "CrossSubnet" })),
        ("nat", "10.124.2.0/24", json!({ "natOutgoing": true })),
        ("off", "10.124.3.0/24", json!({ "disabled": true })),
        ("tiny", "10.124.4.0/30", json!({})),
    ] {
        put_pool(node, name, cidr, &spec)?;
    }
    let pod = Netns::bare("pods-r")?;
    let add = |container: &str, pools: &[&str], ips: &[&str]| {
        let mut conf = node.conf(None);
        conf["ipam"] = json!({ "pools": pools });
        conf["runtimeConfig"] = json!({ "ips": ips });
        node.call("ADD", container, Some(&pod), conf).answer()
    };
    let mut taken = String::new();
    for n in 0..4 {
        let holder = Netns::bare("pods-t")?;
        let mut conf = node.conf(None);
        conf["ipam"] = json!({ "pools": ["tiny"] });
        let result = node.call("ADD", &format!("t{n}"), Some(&holder), conf).run()?;
        taken = addresses(&result)?.first().cloned().context("no address")?;
    }
    let held = format!("{taken} is held by pods.t3 on node worker1: release it first, or name another");
    let overlay = "and Petiole routes without an overlay: set";
    let ipip =
        format!("nothing is assigned from pool ipip: it asks for IP-in-IP (ipipMode), {overlay} ipipMode to Never");
    let vxlan =
        format!("nothing is assigned from pool vxlan: it asks for VXLAN (vxlanMode), {overlay} vxlanMode to Never");
    let nat = "nothing is assigned from pool nat: it asks for natOutgoing, which Petiole does not do: set natOutgoing to false";
    for (pools, ips, code, words) in [
        (&["ipip"][..], &[][..], 7, ipip.as_str()),
        (&["vxlan"], &[], 7, &vxlan),
        (&["nat"], &[], 7, nat),
        (&["off"], &[], 7, "nothing is assigned from pool off: it is disabled"),
        (&["nosuch"], &[], 7, "the store has no IP pool \"nosuch\""),
        (&[], &["10.124.3.7"], 7, "nothing is assigned from pool off: it is disabled"),
        (&["tiny"], &["10.123.128.9"], 7, "lies in pool petiole-10-123-128-0-17 (10.123.128.0/17), not in tiny"),
        (&[], &["10.9.9.9"], 7, "10.9.9.9 lies in no IP pool of the store"),
        (&[], &["10.9.9"], 7, "write addresses, such as 10.1.2.3"),
        (&["tiny"], &[], 11, "no free IPv4 address on this node"),
        (&[], &[&taken], 104, &held),
    ] {
        let failure = add("refused", pools, ips)?.err().with_context(|| format!("{pools:?} {ips:?} was served"))?;
        let msg = failure["msg"].as_str().unwrap_or_default();
        ensure!(failure["code"] == code && msg.contains(words), "{pools:?} {ips:?}: {code} {words:?}, not {failure}");
        ensure!(failure["cniVersion"] == "1.1.0", "{failure}");
    }
    // What was made ready while the address was asked for goes when the answer is given already.
    eventually(WITHIN, "nothing is left of those that were refused", || {
        let (interfaces, records) = (node.interfaces()?, node.records()?);
        ensure!(interfaces.is_empty() && records.len() == 4, "{interfaces:?} {records:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    for n in 0..4 {
        node.cni("DEL", &format!("t{n}"), None, None)?;
    }
    eventually(WITHIN, "nothing is left", || node.nothing_left())
}

#[test]
fn a_chain_is_checked_and_refusals_say_code_and_words() -> Result<()> {
    if !root("a_chain_is_checked_and_refusals_say_code_and_words") {
        return Ok(());
    }
    let node = Alone::with(true)?;
    in_chain(&node).and_then(|()| refusals(&node)).with_context(|| node.log())
}
