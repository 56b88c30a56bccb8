//! `deploy/kubernetes`: what kustomize makes of it is what a cluster needs, and nothing names what is not there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it finds something else")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use petiole_node::config::{self, Facts, Settings};
use serde::Deserialize as _;
use serde_json::Value;

const FOLDERS: [&str; 3] = ["base", "with-kube-proxy", "migrate-from-calico"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes").join(name)
}

fn documents(text: &str) -> Vec<Value> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn read(path: &Path) -> Vec<Value> {
    documents(&std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// What `kubectl apply -k` would send; none where this machine has no kubectl.
fn built(name: &str) -> Option<Vec<Value>> {
    let own = std::env::current_exe().unwrap();
    // The one that the cluster's lab builds, or any.
    let lab = own.ancestors().nth(3).unwrap().join("kubernetes/bin/kubectl");
    let kubectl = if lab.is_file() { lab } else { PathBuf::from("kubectl") };
    let output = Command::new(kubectl).arg("kustomize").arg(folder(name)).output().ok()?;
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Some(documents(&String::from_utf8(output.stdout).unwrap()))
}

fn one<'a>(all: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is = |it: &&Value| it["kind"] == kind && it["metadata"]["name"].as_str().is_some_and(|n| n.starts_with(name));
    let found: Vec<&Value> = all.iter().filter(is).collect();
    assert_eq!(found.len(), 1, "{kind} {name}");
    found[0]
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn daemon_set() -> Value {
    one(&read(&folder("base/daemonset.yaml")), "DaemonSet", "petiole").clone()
}

#[test]
fn kustomize_builds_the_base_and_every_overlay() {
    for name in FOLDERS {
        let Some(all) = built(name) else {
            println!("not checked: kustomize_builds_the_base_and_every_overlay: there is no kubectl");
            return;
        };
        let agent = one(&all, "DaemonSet", "petiole");
        let pod = &agent["spec"]["template"]["spec"];
        let map = one(&all, "ConfigMap", "petiole");
        let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == "config").unwrap();
        assert_eq!(volume["configMap"]["name"], map["metadata"]["name"], "{name}: a changed file makes a new name");
        let image = concat!("localhost/petiole:", env!("CARGO_PKG_VERSION"));
        for container in list(&pod["containers"]).iter().chain(list(&pod["initContainers"])) {
            assert_eq!(container["image"], image, "{name}");
        }
        assert_eq!(agent["metadata"]["namespace"], "petiole-system");
        let only_migrated = pod["nodeSelector"]["petiole/agent"] == "daemonset";
        assert_eq!(only_migrated, name == "migrate-from-calico");
        for of in all.iter().filter(|it| it["kind"] == "DaemonSet") {
            let (wanted, pod) = (&of["spec"]["selector"]["matchLabels"], &of["spec"]["template"]["metadata"]["labels"]);
            for (key, value) in wanted.as_object().unwrap() {
                assert_eq!(&pod[key], value, "{name}: its selector selects its pods");
            }
            let account = of["spec"]["template"]["spec"]["serviceAccountName"].as_str().unwrap();
            let account = one(&all, "ServiceAccount", account);
            let (name, namespace) = (&account["metadata"]["name"], &account["metadata"]["namespace"]);
            if name == "petiole" {
                let mut bindings = all.iter().filter(|it| it["kind"] == "ClusterRoleBinding");
                let bound =
                    bindings.find(|it| it["roleRef"]["name"] == "petiole").map(|it| &it["subjects"][0]).unwrap();
                assert_eq!((&bound["name"], &bound["namespace"]), (name, namespace));
            }
        }
        let proxies = all.iter().filter(|it| it["kind"] == "DaemonSet").count() - 1;
        assert_eq!(proxies, usize::from(name == "with-kube-proxy"));
    }
}

#[test]
fn the_configuration_is_right_for_every_node_that_it_names() {
    let file = folder("base/petiole.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let nodes = config::nodes(&text);
    assert_eq!(nodes, ["worker1", "worker2", "worker3", "worker4"]);
    for name in nodes {
        let environment = [(config::NODE_NAME.to_owned(), name.clone())].into();
        let facts = Facts { hostname: "host".into(), environment };
        let (settings, warnings) = config::load(&text, "petiole.toml", &facts).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
        // The very settings that the lab's nodes have.
        let lab = folder("../../containerlab/clos").join(&name).join("petiole.toml");
        let lab = std::fs::read_to_string(lab).unwrap();
        let (same, _) = config::load(&lab, "petiole.toml", &Facts::new("host")).unwrap();
        assert!(settings.kubernetes.is_some(), "{name}");
        assert_eq!(Settings { kubernetes: None, ..settings }, same, "{name}");
    }
}

#[test]
fn the_pod_agrees_with_the_agents_defaults() {
    let set = daemon_set();
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!((&pod["hostNetwork"], &pod["priorityClassName"]), (&true.into(), &"system-node-critical".into()));
    assert_eq!(pod["tolerations"], serde_json::json!([{ "operator": "Exists" }]), "it runs where nothing else may");
    // Two agents never share a node.
    let update = &set["spec"]["updateStrategy"]["rollingUpdate"];
    assert_eq!((&update["maxSurge"], &update["maxUnavailable"]), (&0.into(), &1.into()));
    let defaults = Settings::defaults("host");
    let agent = &pod["containers"][0];
    for (probe, path) in [("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        let get = &agent[probe]["httpGet"];
        let listen = format!("{}:{}", get["host"].as_str().unwrap(), get["port"]);
        assert_eq!((listen, get["path"].as_str()), (defaults.metrics_listen.to_string(), Some(path)));
    }
    let named: BTreeSet<&str> = list(&pod["volumes"]).iter().map(|volume| volume["name"].as_str().unwrap()).collect();
    let mut mounted = BTreeSet::new();
    for container in list(&pod["containers"]).iter().chain(list(&pod["initContainers"])) {
        mounted.extend(list(&container["volumeMounts"]).iter().map(|mount| mount["name"].as_str().unwrap()));
        let name = &container["env"][0];
        assert_eq!(
            (&name["name"], &name["valueFrom"]["fieldRef"]["fieldPath"]),
            (&config::NODE_NAME.into(), &"spec.nodeName".into())
        );
    }
    assert_eq!(named, mounted);
    for (volume, path) in [("state", &defaults.paths.state), ("run", &defaults.paths.run)] {
        let volume = list(&pod["volumes"]).iter().find(|it| it["name"] == volume).unwrap();
        assert_eq!(volume["hostPath"]["path"].as_str(), path.to_str(), "host and pod see the same folder");
    }
    // Only the agent gets the token.
    assert_eq!(pod["automountServiceAccountToken"], false);
    let token = list(&agent["volumeMounts"]).iter().find(|it| it["name"] == "api").unwrap();
    assert_eq!(token["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount", "where every client looks");
    assert!(list(&pod["initContainers"][0]["volumeMounts"]).iter().all(|it| it["name"] != "api"));
}

#[test]
fn what_the_files_name_is_there() {
    for name in FOLDERS {
        let file = read(&folder(name).join("kustomization.yaml")).remove(0);
        let mut named: Vec<&Value> = list(&file["resources"]).iter().collect();
        named.extend(list(&file["configMapGenerator"]).iter().flat_map(|map| list(&map["files"])));
        named.extend(list(&file["patches"]).iter().map(|patch| &patch["path"]));
        for path in named {
            let path = folder(name).join(path.as_str().unwrap());
            assert!(path.exists(), "{name}: there is no {}", path.display());
        }
    }
    let readme = std::fs::read_to_string(folder("README.md")).unwrap();
    let paths = readme.split(['`', ' ', '\n', '(', ')', ';', ':', ',']).filter(|word| word.starts_with("deploy/"));
    for path in paths {
        let path = path.trim_end_matches('.');
        assert!(folder("../..").join(path).exists(), "README.md: there is no {path}");
    }
}
