//! What an operator reads when the API and the configuration disagree: the real executable against a real kube-apiserver.

use std::fs;
use std::path::Path;

use crate::node;
use crate::place::{LEAF, Place, wait};
use crate::server::Server;

fn config(node: &str, kubeconfig: &Path, pool: &str) -> String {
    format!(
        "[node]\nname = \"worker1\"\nrouter_id = \"10.122.0.11\"\nroles = [\"worker\"]\n\
         [ipam]\npools = [{{ cidr = \"{pool}\", block_size = 26 }}]\n\
         [kubernetes]\nkubeconfig = \"{}\"\nnode = \"{node}\"\n",
        kubeconfig.display()
    )
}

/// The node's addresses are given all the same.
fn assigns(place: &Place, handle: &str) {
    wait("an address is assigned", || {
        let (done, words) = place.ask(&["ipam", "assign", "--handle", handle, "--family", "v4"]);
        done.then_some(()).ok_or(words)
    });
}

#[test]
fn a_name_that_the_api_does_not_know_a_token_that_expired_and_rights_that_lack_are_said_in_words() {
    let name = "a_name_that_the_api_does_not_know_a_token_that_expired_and_rights_that_lack_are_said_in_words";
    let Some(server) = Server::start(name) else { return };
    server.create(&node("worker1.example"));
    server.create(&node("worker1"));
    let place = Place::new(&server);
    const POOL: &str = "10.123.128.0/17";

    let words = ["the Kubernetes API has no Node object wroker1: set `node` in [kubernetes]"];
    let agent = place.start(&config("wroker1", &server.kubeconfig("agent"), POOL));
    place.says("missing", &words);
    assigns(&place, "misnamed");
    drop(agent);
    let agent = place.start(&config("worker1.example", &server.kubeconfig("agent"), POOL));
    place.is_well(&words);
    drop(agent);

    // A token that the server takes no more; the file with the next one is found without a restart.
    let file = server.kubeconfig("expired");
    let words = ["does not accept this node's credentials (401), which have expired or are another cluster's: renew "];
    let _agent = place.start(&config("worker1", &file, POOL));
    place.says("away", &words);
    assigns(&place, "expired");

    // Of somebody who may nothing, then only read, then all that the manifests give.
    fs::copy(server.kubeconfig("stranger"), &file).unwrap();
    let may_nothing = [
        "forbids (403): ",
        "cannot get resource",
        "give this account the rights of deploy/kubernetes/base/clusterrole.yaml",
    ];
    place.says("away", &may_nothing);
    assigns(&place, "forbidden");
    server.kubectl(&["create", "clusterrole", "reader", "--verb=get,list,watch", "--resource=nodes,namespaces"]);
    server.kubectl(&["create", "clusterrolebinding", "reader", "--clusterrole=reader", "--user=stranger"]);
    let may_read = [
        "nobody can tell whether a pool overlaps the service range",
        "the Node object worker1 does not say how this node's network is",
        "cannot patch resource",
    ];
    place.says("watching", &may_read);
    server.kubectl(&["create", "clusterrolebinding", "all", "--clusterrole=petiole", "--user=stranger"]);
    place.is_well(&may_read[1..]);
    let of_network = r#"jsonpath={.status.conditions[?(@.type=="NetworkUnavailable")].reason}"#;
    assert_eq!(server.kubectl(&["get", "node", "worker1", "--output", of_network]), "PetioleIsReady");
}

#[test]
fn a_pool_that_overlaps_services_or_the_nodes_network_is_said_in_words() {
    let name = "a_pool_that_overlaps_services_or_the_nodes_network_is_said_in_words";
    let Some(server) = Server::start(name) else { return };
    server.create(&node("worker1"));
    let place = Place::new(&server);
    let file = server.kubeconfig("agent");

    // Before the API is there nobody knows the service range: what was given stays.
    let away = place.path("none.conf");
    let agent = place.start(&config("worker1", &away, "10.123.0.0/16"));
    place.says("away", &["no access to the Kubernetes API: ", "none.conf"]);
    assigns(&place, "early");
    fs::copy(&file, &away).unwrap();
    let words =
        ["it overlaps 10.123.0.0/17, the service range of the Kubernetes API, so that an address would belong to both"];
    place.says("watching", &words);
    let (done, refused) = place.ask(&["ipam", "assign", "--handle", "late", "--family", "v4"]);
    assert!(!done && refused.contains("the service range of the Kubernetes API"), "{refused}");
    let held = place.ask(&["ipam", "blocks", "-o", "json"]).1;
    assert!(held.contains("10.123."), "{held}");
    let of_network =
        r#"jsonpath={range .status.conditions[?(@.type=="NetworkUnavailable")]}{.status} {.reason} {.message}{end}"#;
    wait("the Node object says it", || {
        let said = server.kubectl(&["get", "node", "worker1", "--output", of_network]);
        (said.starts_with("True NoAddresses") && said.contains(words[0])).then_some(()).ok_or(said)
    });
    wait("an event says it", || {
        let said = server.kubectl(&["describe", "node", "worker1"]);
        let is = said.lines().any(|line| line.contains("Warning") && line.contains("NoAddresses"));
        is.then_some(()).ok_or(said)
    });
    drop(agent);

    // A pool of the store, before the configuration names a leaf.
    let place = Place::new(&server);
    let agent = place.start(&config("worker1", &file, "10.122.101.0/24"));
    place.is_well(&["overlaps"]);
    assigns(&place, "early");
    drop(agent);
    let with_leaf = config("worker1", &file, "10.125.0.0/24") + LEAF;
    let _agent = place.start(&with_leaf);
    place.says("watching", &["it overlaps 10.122.101.0/31, the subnet of the uplink up0"]);
    assigns(&place, "of the other pool");
}
