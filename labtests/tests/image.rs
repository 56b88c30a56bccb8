//! `cargo xtask lab image` and `cargo xtask image`: what they build starts under a real Docker engine, the first with the commands
//! of the topology.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it finds something else")]

#[path = "image/engine.rs"]
mod engine;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use engine::Engine;
use petiole_labtests::{Topology, check, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Builds the image into an engine, as a developer would.
fn build(engine: &Engine) -> Result<()> {
    let mut command = match std::env::var_os("PETIOLE_XTASK") {
        Some(built) => Command::new(built),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--package", "xtask", "--"]);
            cargo
        }
    };
    command.args(["lab", "image", "containerlab/clos.clab.yml"]).current_dir(root()).env("DOCKER_HOST", engine.host());
    let output = command.output()?;
    if !output.status.success() {
        bail!("lab image: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Starts a node as containerlab would, but for its links and for `--privileged`, which needs a capability that not
/// every root has; it gets those that its programs need.
fn start(engine: &Engine, topology: &Topology, name: &str) -> Result<()> {
    let node = &topology.nodes[name];
    let mut words = vec!["run".to_owned(), "--detach".into(), "--network=none".into(), format!("--name={name}")];
    words.push(format!("--hostname={}", node.hostname));
    words.extend(["NET_ADMIN", "NET_RAW", "SYS_ADMIN"].map(|capability| format!("--cap-add={capability}")));
    words.extend(node.env.iter().map(|(key, value)| format!("--env={key}={value}")));
    words.extend(node.sysctls.iter().map(|(key, value)| format!("--sysctl={key}={value}")));
    for bind in &node.binds {
        let mode = if bind.read_only { "ro" } else { "rw" };
        words.push(format!("--volume={}:{}:{mode}", bind.source.display(), bind.target.display()));
    }
    words.push(node.image.clone());
    words.extend(node.argv.iter().cloned());
    engine.docker(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
    // Links come after PID 1, as with containerlab; their far ends stay in the container, unconnected.
    for link in &topology.links {
        for end in [&link.a, &link.b].into_iter().filter(|end| end.node == name) {
            let far = format!("{}-far", end.interface);
            let mtu = link.mtu.to_string();
            engine.docker(&[
                "exec",
                name,
                "ip",
                "link",
                "add",
                &end.interface,
                "mtu",
                &mtu,
                "type",
                "veth",
                "peer",
                "name",
                &far,
            ])?;
            for interface in [&end.interface, &far] {
                engine.docker(&["exec", name, "ip", "link", "set", interface, "up"])?;
            }
        }
    }
    Ok(())
}

/// Runs a command in a running container and reads its output as JSON.
fn json(engine: &Engine, container: &str, command: &[&str]) -> Result<Value> {
    let words: Vec<&str> = ["exec", container].iter().chain(command).copied().collect();
    let text = engine.docker(&words)?;
    serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
}

/// What a container said, for the error of a test that waited in vain.
fn said(engine: &Engine, container: &str) -> String {
    let logs = engine.output(&["logs", "--tail=20", container]);
    let files = engine.output(&["exec", container, "sh", "-c", "tail -n 20 /run/lab/*.log"]);
    let text = |output: Result<std::process::Output>| match output {
        Ok(output) => String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        Err(error) => error.to_string(),
    };
    format!("{container} said:\n{}{}", text(logs), text(files))
}

#[test]
fn the_image_starts_a_leaf_and_a_worker_of_the_topology() -> Result<()> {
    let topology = Topology::load(&root().join("containerlab/clos.clab.yml"), Some("image"), &|_| None)?;
    let engine = Engine::start()?;
    build(&engine)?;

    let image = &topology.nodes["leaf1"].image;
    for (program, expected) in
        [("petiole", "petiole "), ("/usr/lib/frr/zebra", "zebra version "), ("etcd", "etcd Version: 3.")]
    {
        let printed = engine.docker(&["run", "--rm", "--network=none", image, program, "--version"])?;
        assert!(printed.contains(expected), "{program} --version: {printed}");
    }

    start(&engine, &topology, "leaf1")?;
    eventually(PATIENCE, "leaf1's bgpd has its configuration", || {
        let summary = json(&engine, "leaf1", &["vtysh", "-c", "show bgp ipv4 unicast summary json"])?;
        check(summary["as"] == 65001, &summary).map_err(anyhow::Error::msg)
    })
    .with_context(|| said(&engine, "leaf1"))?;
    eventually(PATIENCE, "leaf1's zebra has the addresses of its links", || {
        let routes = json(&engine, "leaf1", &["vtysh", "-c", "show ip route connected json"])?;
        check(routes.get("10.122.101.0/31").is_some(), &routes).map_err(anyhow::Error::msg)
    })
    .with_context(|| said(&engine, "leaf1"))?;

    let version = engine.output(&["exec", "leaf1", "vtysh", "-c", "show version"])?;
    assert_eq!(String::from_utf8_lossy(&version.stderr), "", "vtysh has what it needs, and complains of nothing");

    start(&engine, &topology, "worker1")?;
    eventually(PATIENCE, "worker1's agent answers", || {
        let status = json(&engine, "worker1", &["petiole", "status", "-o", "json"])?;
        check(status.is_object(), &status).map_err(anyhow::Error::msg)
    })
    .with_context(|| said(&engine, "worker1"))?;

    for container in ["leaf1", "worker1"] {
        // PID 1 takes SIGTERM for an end, so this does not last the ten seconds after which Docker kills.
        engine.docker(&["stop", "--time=10", container])?;
        let state = engine.docker(&["inspect", "--format={{.State.ExitCode}}", container])?;
        assert_eq!(state.trim(), "0", "{container} was killed");
    }
    Ok(())
}

#[test]
fn the_products_image_is_loaded_by_docker() -> Result<()> {
    let engine = Engine::start()?;
    let folder = tempfile::tempdir()?;
    let archive = petiole_labtests::runtimes::product(folder.path())?;
    engine.docker(&["load", "--input", &archive.display().to_string()])?;
    let image = concat!("localhost/petiole:", env!("CARGO_PKG_VERSION"));
    let run = ["run", "--rm", "--network=none", "--read-only", image];
    let printed = engine.docker(&[&run[..], &["--version"]].concat())?;
    assert_eq!(printed.trim(), concat!("petiole ", env!("CARGO_PKG_VERSION")));
    let refused = engine.output(&run)?;
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(words.contains("CAP_NET_ADMIN"), "without words it is the agent: {words}");
    Ok(())
}
