//! The reference plugins of Debian beside ours: ptp and bridge ask it for addresses, tuning and portmap take its result.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use petiole_cni::rpc::{self, Added, Address, Response, Route};
use serde_json::{Value, json};

use crate::added;
use crate::scripted::{Agent, Run, Script};

/// Where Debian puts them (package containernetworking-plugins).
const REFERENCE: &str = "/usr/lib/cni";

/// A node and a container's namespace, with names of their own.
struct Namespaces {
    node: String,
    pod: String,
    bin: tempfile::TempDir,
}

impl Namespaces {
    fn new(test: &str) -> Self {
        let name = |part: &str| format!("petcni-{test}-{part}-{}", std::process::id());
        let bin = tempfile::tempdir().unwrap();
        fs::copy(env!("CARGO_BIN_EXE_petiole-cni"), bin.path().join("petiole")).unwrap();
        let these = Self { node: name("node"), pod: name("pod"), bin };
        for name in [&these.node, &these.pod] {
            ip(&["netns", "add", name]);
            ip(&["-n", name, "link", "set", "lo", "up"]);
        }
        these
    }

    fn netns(&self) -> String {
        format!("/run/netns/{}", self.pod)
    }

    /// Runs a reference plugin on the node.
    fn run(&self, plugin: &str, command: &str, conf: &Value) -> Option<Value> {
        let path = Path::new(REFERENCE).join(plugin);
        assert!(path.exists(), "{} is not there: apt-get install containernetworking-plugins", path.display());
        let mut child = Command::new("ip")
            .args(["netns", "exec", &self.node])
            .arg(path)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", "container-1")
            .env("CNI_NETNS", self.netns())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", self.bin.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(conf.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{plugin} {command}: {said} {}", String::from_utf8_lossy(&output.stderr));
        (!said.is_empty()).then(|| serde_json::from_str(&said).unwrap())
    }

    /// The addresses of the pod's `eth0` as the kernel has them.
    fn addresses(&self) -> Vec<String> {
        let links: Value =
            serde_json::from_str(&ip(&["-n", &self.pod, "-json", "address", "show", "dev", "eth0"])).unwrap();
        let all = links[0]["addr_info"].as_array().unwrap();
        let global = all.iter().filter(|entry| entry["scope"] == "global");
        global.map(|entry| format!("{}/{}", entry["local"].as_str().unwrap(), entry["prefixlen"])).collect()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in [&self.node, &self.pod] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

#[track_caller]
fn ip(args: &[&str]) -> String {
    let output = Command::new("ip").args(args).output().unwrap();
    assert!(output.status.success(), "ip {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Addresses alone, for one that wires by itself.
fn given() -> Response {
    let gateway = |text: &str| Some(text.parse().unwrap());
    Response::Added(Added {
        addresses: vec![
            Address { address: "10.123.128.2/26".parse().unwrap(), gateway: gateway("10.123.128.1") },
            Address { address: "fd00:123:8000::2/122".parse().unwrap(), gateway: gateway("fd00:123:8000::1") },
        ],
        routes: ["0.0.0.0/0", "::/0"].map(|dst| Route { dst: dst.parse().unwrap(), gateway: None }).into(),
        ..Added::default()
    })
}

#[test]
fn ptp_and_bridge_take_their_addresses_from_us() {
    for (kind, version) in [("ptp", "0.3.1"), ("ptp", "1.0.0"), ("bridge", "0.4.0"), ("bridge", "1.0.0")] {
        let these = Namespaces::new(kind);
        let agent = Agent::new(Script::Respond(given()));
        let mut conf = agent.conf(version);
        conf["type"] = json!(kind);
        conf["bridge"] = json!("br0");
        conf["isGateway"] = json!(true);
        conf["ipam"] = json!({ "type": "petiole", "pools": ["blue"] });
        let result = these.run(kind, "ADD", &conf).unwrap();
        assert_eq!(these.addresses(), ["10.123.128.2/26", "fd00:123:8000::2/122"], "{kind}: {result}");
        assert_eq!(result["ips"][0]["address"], "10.123.128.2/26");
        let (request, netns) = agent.heard();
        assert_eq!((request.command, request.mode, netns), (rpc::Command::Add, rpc::Mode::Ipam, true));
        assert_eq!(request.bridge.as_deref(), (kind == "bridge").then_some("br0"));
        assert_eq!((request.container.as_str(), request.pools), ("container-1", vec!["blue".to_owned()]));

        let agent = Agent::new(Script::Respond(Response::Done));
        conf["socket"] = agent.conf(version)["socket"].take();
        if version != "0.3.1" {
            // What the other plugin made of our result comes back to us.
            conf["prevResult"] = result.clone();
            these.run(kind, "CHECK", &conf);
            let (request, _) = agent.heard();
            let previous = request.prev.unwrap();
            assert_eq!((request.command, previous.ips.len()), (rpc::Command::Check, 2));
            assert!(previous.interfaces.iter().any(|interface| interface.sandbox == Some(these.netns())));
            let agent = Agent::new(Script::Respond(Response::Done));
            conf["socket"] = agent.conf(version)["socket"].take();
            these.run(kind, "DEL", &conf);
            assert_eq!(agent.heard().0.command, rpc::Command::Del);
        } else {
            these.run(kind, "DEL", &conf);
            assert_eq!(agent.heard().0.command, rpc::Command::Del);
        }
    }
}

#[test]
fn plugins_behind_us_take_our_result_and_hand_it_on() {
    for version in ["0.3.1", "0.4.0", "1.0.0"] {
        let these = Namespaces::new("chain");
        // What the agent would have made.
        ip(&["-n", &these.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "pet0", "netns", &these.node]);
        let agent = Agent::new(Script::Respond(Response::Added(added())));
        let result = Run::new("ADD").netns(&these.netns()).conf(agent.conf(version)).go().succeeded().unwrap();
        let mut conf = json!({ "cniVersion": version, "name": "pods", "type": "tuning", "prevResult": result });
        conf["mtu"] = json!(1400);
        let tuned = these.run("tuning", "ADD", &conf).unwrap();
        assert_eq!((&tuned["ips"], &tuned["routes"]), (&result["ips"], &result["routes"]), "{version}");
        let links: Value =
            serde_json::from_str(&ip(&["-n", &these.pod, "-json", "link", "show", "dev", "eth0"])).unwrap();
        assert_eq!(links[0]["mtu"], 1400);
        let conf = json!({
            "cniVersion": version, "name": "pods", "type": "portmap", "prevResult": tuned,
            "runtimeConfig": { "portMappings": [] },
        });
        let mapped = these.run("portmap", "ADD", &conf).unwrap();
        assert_eq!(mapped["interfaces"], tuned["interfaces"], "{version}");
        if version != "0.3.1" {
            // CHECK comes to us with what they made of it.
            let agent = Agent::new(Script::Respond(Response::Done));
            let mut conf = agent.conf(version);
            conf["prevResult"] = mapped;
            assert_eq!(Run::new("CHECK").netns(&these.netns()).conf(conf).go().succeeded(), None);
            let previous = agent.heard().0.prev.unwrap();
            assert_eq!(previous.ips[0].address.to_string(), "10.123.128.2/32");
            assert_eq!(previous.ips[0].interface, Some(1));
        }
    }
}
