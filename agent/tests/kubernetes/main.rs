//! The driver of the Kubernetes API against a real kube-apiserver.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share fail like tests"
)]

mod bad_input;
mod leaf;
mod place;
#[path = "../ports/mod.rs"]
mod ports;
mod ranges;
mod server;

use std::path::{Path, PathBuf};
use std::time::Duration;

use petiole::io::kubernetes::Kubernetes;
use petiole_node::Input;
use petiole_node::config::{BlockSource, KubernetesAccess, KubernetesSettings};
use petiole_node::kubernetes::{Away, Condition, KubernetesAction, KubernetesEvent, Note};
use serde_json::json;
use tokio::sync::mpsc;

use server::Server;

/// For what must happen; a loaded machine may take its time.
const PLENTY: Duration = Duration::from_secs(60);

/// A driver and what it says.
struct Rig {
    inputs: mpsc::Receiver<Input>,
    driver: Kubernetes,
}

impl Rig {
    fn new(kubeconfig: PathBuf) -> Self {
        let (sender, inputs) = mpsc::channel(64);
        let settings =
            KubernetesSettings { access: KubernetesAccess::Kubeconfig(kubeconfig), node: "worker1".to_owned() };
        // Waits for as short as it may.
        Self { inputs, driver: Kubernetes::start(settings, BlockSource::Store, 0, sender) }
    }

    async fn next(&mut self) -> KubernetesEvent {
        let said = tokio::time::timeout(PLENTY, self.inputs.recv()).await.expect("the driver says nothing");
        let Some(Input::Kubernetes(event)) = said else { panic!("{said:?}") };
        event
    }

    /// The next one that is about the object; the API may have been away before.
    async fn object(&mut self) -> KubernetesEvent {
        loop {
            match self.next().await {
                KubernetesEvent::Watching
                | KubernetesEvent::Cluster(_)
                | KubernetesEvent::Services(_)
                | KubernetesEvent::Away(_) => {}
                event => return event,
            }
        }
    }

    async fn rack(&mut self) -> Option<String> {
        let event = self.object().await;
        let KubernetesEvent::Node { mut labels, .. } = event else { panic!("{event:?}") };
        labels.remove("rack")
    }

    async fn cluster(&mut self) -> String {
        loop {
            if let KubernetesEvent::Cluster(identity) = self.next().await {
                return identity;
            }
        }
    }

    async fn ask(&mut self, object: &str) -> Option<(String, bool)> {
        self.driver.act(KubernetesAction::Ask { object: object.to_owned() });
        loop {
            if let KubernetesEvent::Asked { object: of, answer } = self.next().await {
                assert_eq!(of, object);
                return answer;
            }
        }
    }

    async fn told(&mut self, action: KubernetesAction) -> Result<(), Away> {
        self.driver.act(action);
        loop {
            if let KubernetesEvent::Told(result) = self.next().await {
                return result;
            }
        }
    }

    async fn away(&mut self) -> Away {
        loop {
            if let KubernetesEvent::Away(why) = self.next().await {
                return why;
            }
        }
    }
}

fn node(name: &str) -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": { "rack": "r1" } } })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nodes_labels_come_from_a_real_api_server_and_it_is_asked_little() {
    let name = "the_nodes_labels_come_from_a_real_api_server_and_it_is_asked_little";
    let Some(mut server) = Server::start(name) else { return };
    let mut rig = Rig::new(server.kubeconfig("agent"));
    assert_eq!(rig.object().await, KubernetesEvent::Missing);
    server.create(&node("another"));
    server.create(&node("worker1"));
    assert_eq!(rig.rack().await.as_deref(), Some("r1"));
    server.kubectl(&["label", "--overwrite", "node", "worker1", "rack=r2"]);
    assert_eq!(rig.rack().await.as_deref(), Some("r2"));
    server.kubectl(&["delete", "node", "worker1"]);
    assert_eq!(rig.object().await, KubernetesEvent::Deleted);
    server.create(&node("worker1"));
    assert_eq!(rig.rack().await.as_deref(), Some("r1"));

    server.kill();
    let why = rig.away().await;
    assert!(matches!(why, Away::Unreachable(_)), "{why:?}");
    server.run();
    server.kubectl(&["label", "--overwrite", "node", "worker1", "rack=r3"]);
    while rig.rack().await.as_deref() != Some("r3") {}

    let asked = server.asked();
    let about_nodes = || asked.iter().filter(|(_, what)| what.starts_with("/api/v1/nodes"));
    let is_one = |what: &str| what.contains("fieldSelector=metadata.name%3Dworker1");
    assert!(about_nodes().all(|(_, what)| is_one(what)), "{asked:#?}");
    let lists = about_nodes().filter(|(verb, _)| verb == "list").count();
    // One at the beginning; one at most where the new server has no history from before its start.
    assert!((1..=2).contains(&lists), "{asked:#?}");
    assert!(about_nodes().all(|(verb, _)| verb == "list" || verb == "watch"), "{asked:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_says_which_cluster_it_is_and_whether_a_node_was_deleted() {
    let name = "a_real_api_server_says_which_cluster_it_is_and_whether_a_node_was_deleted";
    let Some(mut server) = Server::start(name) else { return };
    server.create(&node("worker4"));
    let mut rig = Rig::new(server.kubeconfig("agent"));
    let own = rig.cluster().await;
    assert_eq!(own, server.kubectl(&["get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}"]));
    assert_eq!(rig.next().await, KubernetesEvent::Services(Ok(vec!["10.123.0.0/17".to_owned()])));
    assert_eq!(rig.ask("worker4").await, Some((own.clone(), true)));
    server.kubectl(&["delete", "node", "worker4"]);
    assert_eq!(rig.ask("worker4").await, Some((own, false)));
    server.kill();
    assert_eq!(rig.ask("worker4").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_real_api_server_refuses_is_said_and_better_credentials_are_found() {
    let name = "what_a_real_api_server_refuses_is_said_and_better_credentials_are_found";
    let Some(server) = Server::start(name) else { return };
    server.create(&node("worker1"));
    let forbidden = Rig::new(server.kubeconfig("stranger")).away().await;
    let Away::Forbidden(words) = &forbidden else { panic!("{forbidden:?}") };
    assert!(words.contains("cannot get resource \"namespaces\""), "{words}");

    let file = server.kubeconfig("expired");
    let mut rig = Rig::new(file.clone());
    assert_eq!(rig.away().await, Away::Unauthorized);
    std::fs::copy(server.kubeconfig("agent"), &file).unwrap();
    assert_eq!(rig.rack().await.as_deref(), Some("r1"));

    let none = Rig::new(Path::new("/nowhere/kube.conf").to_owned()).away().await;
    let Away::Access(words) = &none else { panic!("{none:?}") };
    assert!(words.contains("/nowhere/kube.conf"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_is_told_how_the_network_is_and_why() {
    let name = "a_real_api_server_is_told_how_the_network_is_and_why";
    let Some(server) = Server::start(name) else { return };
    server.create(&node("worker1"));
    let ready =
        json!([{ "op": "add", "path": "/status/conditions", "value": [{ "type": "Ready", "status": "True" }] }]);
    server.kubectl(&["patch", "node", "worker1", "--subresource=status", "--type=json", "-p", &ready.to_string()]);
    let conditions = || -> Vec<(String, String, String, String)> {
        let node: serde_json::Value =
            serde_json::from_str(&server.kubectl(&["get", "node", "worker1", "-o=json"])).unwrap();
        let word = |of: &serde_json::Value, key: &str| of[key].as_str().unwrap_or_default().to_owned();
        let all = node["status"]["conditions"].as_array().unwrap().iter();
        all.map(|it| (word(it, "type"), word(it, "status"), word(it, "reason"), word(it, "lastTransitionTime")))
            .collect()
    };
    let condition = |unavailable, reason: &str| {
        let message = "no session with a leaf is Established".to_owned();
        KubernetesAction::Condition(Condition { unavailable, reason: reason.to_owned(), message })
    };
    let mut rig = Rig::new(server.kubeconfig("agent"));
    assert_eq!(rig.told(condition(true, "NoUplink")).await, Ok(()));
    let first = conditions();
    assert_eq!(first.len(), 2, "the kubelet's stays: {first:?}");
    let since = first.iter().find(|it| it.0 == "NetworkUnavailable").unwrap();
    assert_eq!((since.1.as_str(), since.2.as_str()), ("True", "NoUplink"));
    // Another life says the same: nothing is written.
    assert_eq!(rig.told(condition(true, "NoUplink")).await, Ok(()));
    assert_eq!(rig.told(condition(false, "PetioleIsReady")).await, Ok(()));
    let last = conditions();
    let over = last.iter().find(|it| it.0 == "NetworkUnavailable").unwrap();
    assert_eq!((last.len(), over.1.as_str(), over.2.as_str()), (2, "False", "PetioleIsReady"));
    let patches = server.asked().iter().filter(|(verb, _)| verb == "patch").count();
    assert_eq!(patches, 2);

    let at = 1_800_000_000_000_000_000;
    let note = Note { warning: true, reason: "NoUplink".to_owned(), message: "eth1 is down".to_owned(), at };
    assert_eq!(rig.told(KubernetesAction::Note(note)).await, Ok(()));
    let described = server.kubectl(&["describe", "node", "worker1"]);
    let line = described.lines().find(|line| line.contains("eth1 is down")).expect(&described);
    assert!(line.contains("Warning") && line.contains("NoUplink") && line.contains("petiole"), "{line}");
    let events: serde_json::Value = serde_json::from_str(&server.kubectl(&["get", "events", "-o=json"])).unwrap();
    assert_eq!(events["items"][0]["lastTimestamp"], "2027-01-15T08:00:00Z");

    // What the role does not give is refused.
    let file = server.kubeconfig("stranger");
    let why = Rig::new(file).told(condition(true, "NoUplink")).await;
    assert!(matches!(&why, Err(Away::Forbidden(words)) if words.contains("worker1")), "{why:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_sets_token_writes_the_status_of_its_own_node_and_no_other() {
    let name = "the_daemon_sets_token_writes_the_status_of_its_own_node_and_no_other";
    let Some(server) = Server::start(name) else { return };
    server.create(&node("worker1"));
    server.create(&node("worker2"));
    server.apply("namespace.yaml");
    server.kubectl(&["create", "serviceaccount", "petiole", "-n", "petiole-system"]);
    server.apply("admission.yaml");
    let token_on = |node: &str| {
        server.create(&json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": format!("on-{node}"), "namespace": "petiole-system" },
            "spec": {
                "nodeName": node,
                "serviceAccountName": "petiole",
                "containers": [{ "name": "agent", "image": "petiole" }],
            },
        }));
        let pod = format!("--bound-object-name=on-{node}");
        let token =
            server.kubectl(&["create", "token", "petiole", "-n=petiole-system", "--bound-object-kind=Pod", &pod]);
        server.kubeconfig(token.trim())
    };
    let words = |reason: &str| {
        let condition = Condition { unavailable: true, reason: reason.to_owned(), message: "it is".to_owned() };
        KubernetesAction::Condition(condition)
    };
    // The server takes a moment to heed the policy.
    let mut foreign = Rig::new(token_on("worker2"));
    let mut turn = 0;
    let why = loop {
        turn += 1;
        match foreign.told(words(&format!("Turn{turn}"))).await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(why) => break why,
        }
        assert!(turn < 600, "a foreign node's status can be written");
    };
    assert!(format!("{why:?}").contains("of the node that it runs on, and of no other"), "{why:?}");

    let own = token_on("worker1");
    assert_eq!(Rig::new(own.clone()).told(words("NoUplink")).await, Ok(()));
    // kubectl reads the status first, which the agent has no right to.
    server.kubectl(&["create", "clusterrole", "reads", "--verb=get", "--resource=nodes/status"]);
    let whom = "--serviceaccount=petiole-system:petiole";
    server.kubectl(&["create", "clusterrolebinding", "reads", "--clusterrole=reads", whom]);
    let patch = json!({ "status": { "capacity": { "cpu": "1000" } } }).to_string();
    let refused = server.kubectl_as(&own, &["patch", "node", "worker1", "--subresource=status", "-p", &patch]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("and nothing else of a node's status"), "{words}");
}
