//! The service range: from the ingress nodes, from any node by an operator's two commands, and never in the way of the
//! service proxy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::fabric::{self, FAMILIES, Family, LEAVES, MEMBERS, Member, Pod, Role, SPINES};
use petiole_labtests::{Lab, NodeHandle, eventually, throughout};
use serde_json::Value;

const SETTLE: Duration = Duration::from_secs(60);
/// From an operator's command to the leaf's table.
const EFFECT: Duration = Duration::from_secs(1);
const SERVICE: &str = "10.123.79.211";
const SERVICE6: &str = "fd00:123::79";
const ADDRESS: &str = "ip addr add 10.123.0.0/17 dev lo";
const FILTER: &str = "etcdctl put /calico/bgp/v1/global/custom_filters/v4/services \
                      'if ( net = 10.123.0.0/17 ) then { accept; }'";
const KEY: &str = "/calico/bgp/v1/global/custom_filters/v4/services";

#[test]
fn services_are_reached_by_those_who_say_so() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: services_are_reached_by_those_who_say_so: needs root");
        return Ok(());
    }
    let lab = fabric::clos("services")?;
    fabric::wait_settled(&lab, SETTLE)?;
    spines_share_the_load_over_both_ingress_nodes(&lab)?;
    a_client_reaches_a_service(&lab, &["ingress1", "ingress2"])?;
    an_operators_two_commands_add_an_origin(&lab)?;
    a_bad_filter_is_named_and_the_last_good_one_stays(&lab)?;
    nothing_stands_in_the_way_of_the_service_proxy(&lab)?;
    lab.down()
}

fn spines_share_the_load_over_both_ingress_nodes(lab: &Lab) -> Result<()> {
    for spine in SPINES {
        for family in FAMILIES {
            let paths = fabric::paths(&lab.node(spine)?, fabric::services(family))?;
            let used: Vec<&[u32]> = paths.iter().filter(|path| path.used).map(|path| path.as_path.as_slice()).collect();
            let two: [&[u32]; 2] = [&[65_003, 4_200_000_004], &[65_004, 4_200_000_005]];
            ensure!(used == two, "{spine}: {paths:?}");
            let gateways = fabric::gateways(&lab.node(spine)?, fabric::services(family))?;
            ensure!(gateways.len() == 2, "{spine}: {gateways:?}");
        }
    }
    Ok(())
}

/// The first line that somebody who answers on port 80 sends: its name and who it sees as the client.
fn greeting(node: &NodeHandle, address: &str) -> Result<[String; 2]> {
    let script = "exec 3<>/dev/tcp/$0/80 && head -n 1 <&3";
    let line = node.exec(&["timeout", "3", "bash", "-c", script, address])?;
    let (name, client) = line.trim().split_once(' ').ok_or_else(|| anyhow!("no greeting: {line:?}"))?;
    Ok([name.to_owned(), client.to_owned()])
}

fn a_client_reaches_a_service(lab: &Lab, answer: &[&str]) -> Result<()> {
    let client1 = lab.node("client1")?;
    for (address, own) in [(SERVICE, "10.120.201.10"), (SERVICE6, "fd00:120:201:1::10")] {
        let [name, client] = greeting(&client1, address)?;
        ensure!(answer.contains(&name.as_str()) && client == own, "{address} was answered by {name} to {client}");
    }
    Ok(())
}

/// Whether the leaf has the IPv4 range from worker4.
fn from_worker4(leaf: &NodeHandle) -> Result<bool> {
    let paths = fabric::paths(leaf, fabric::services(Family::V4))?;
    Ok(paths.iter().any(|path| path.used && path.as_path == [4_200_000_014]))
}

fn wait_worker4(lab: &Lab, announced: bool) -> Result<()> {
    for leaf in ["leaf3", "leaf4"] {
        let leaf = lab.node(leaf)?;
        eventually(EFFECT, &format!("{}: worker4 announces the range: {announced}", leaf.name()), || {
            let found = from_worker4(&leaf)?;
            ensure!(found == announced, "{found}");
            Ok(())
        })?;
    }
    Ok(())
}

fn an_operators_two_commands_add_an_origin(lab: &Lab) -> Result<()> {
    let worker4 = lab.node("worker4")?;
    let origins: Vec<&Member> = fabric::members(Role::Ingress).chain(Member::named("worker4")).collect();
    worker4.sh(ADDRESS)?;
    // Nobody said so yet.
    throughout(Duration::from_millis(500), "an address alone is not announced", || {
        let found = from_worker4(&lab.node("leaf4")?)?;
        ensure!(!found, "it is");
        Ok(())
    })?;
    let start = Instant::now();
    worker4.sh(FILTER)?;
    wait_worker4(lab, true)?;
    let took = start.elapsed();
    println!("figure: worker4 announces the range {took:.2?} after the operator began to type");
    ensure!(took <= EFFECT, "{took:?}");
    for switch in LEAVES.iter().chain(&SPINES) {
        let switch = lab.node(switch)?;
        let what = format!("{}: three origins", switch.name());
        eventually(EFFECT, &what, || fabric::check_owners(&switch, fabric::services(Family::V4), &origins))?;
    }
    // Both are used where worker4 is beside an ingress node.
    for leaf in ["leaf3", "leaf4"] {
        let gateways = fabric::gateways(&lab.node(leaf)?, fabric::services(Family::V4))?;
        ensure!(gateways.len() == 2, "{leaf}: {gateways:?}");
    }
    a_client_reaches_a_service(lab, &["ingress1", "ingress2", "worker4"])?;
    // The same filter holds on every node, and all of them have learned the range: nobody else announces it.
    for member in &MEMBERS {
        for link in member.links(Family::V4) {
            let told = fabric::told(&lab.node(link.leaf)?, member, Family::V4)?;
            let tells = told.contains_key(fabric::services(Family::V4));
            ensure!(tells == origins.contains(&member), "{} tells {}: {told:?}", member.name, link.leaf);
        }
    }

    let start = Instant::now();
    worker4.exec(&["etcdctl", "del", KEY])?;
    wait_worker4(lab, false)?;
    let took = start.elapsed();
    println!("figure: worker4 withdraws the range {took:.2?} after the operator began to type");
    ensure!(took <= EFFECT, "{took:?}");
    spines_share_the_load_over_both_ingress_nodes(lab)?;
    // The operator's address is the operator's.
    let own = worker4.ip_json(&["address", "show", "dev", "lo", "to", "10.123.0.0/17"])?;
    ensure!(own.as_array().is_some_and(|links| links.iter().any(|link| link["ifname"] == "lo")), "{own}");
    Ok(())
}

fn problems(node: &NodeHandle) -> Result<String> {
    let status = node.petiole_json(&["status"])?;
    Ok(status["problems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"))
}

fn metrics(node: &NodeHandle) -> Result<String> {
    node.exec(&["curl", "--silent", "--show-error", "--fail", "http://127.0.0.1:9179/metrics"])
}

fn a_bad_filter_is_named_and_the_last_good_one_stays(lab: &Lab) -> Result<()> {
    let worker4 = lab.node("worker4")?;
    worker4.sh(FILTER)?;
    wait_worker4(lab, true)?;
    eventually(Duration::from_secs(2), "nothing is wrong before", || {
        let (problems, metrics) = (problems(&worker4)?, metrics(&worker4)?);
        let errors = metrics.lines().find(|line| line.starts_with("petiole_filter_errors ")).unwrap_or_default();
        ensure!(problems.is_empty() && errors.starts_with("petiole_filter_errors 0"), "{problems} {errors}");
        Ok(())
    })?;

    // The mistake is the `the` of the second line.
    worker4.exec(&["etcdctl", "put", KEY, "# services\nif ( net = 10.123.0.0/17 ) the { accept; }"])?;
    eventually(Duration::from_secs(2), "status and metrics say where the mistake is", || {
        let problems = problems(&worker4)?;
        ensure!(problems.contains(KEY) && problems.contains("line 2, column 28"), "{problems}");
        let metrics = metrics(&worker4)?;
        let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with("petiole_filter_error")).collect();
        let place = format!("petiole_filter_error{{key=\"{KEY}\",line=\"2\",column=\"28\"}} 1");
        let found = |wanted: &str| lines.iter().any(|line| line.starts_with(wanted));
        ensure!(found("petiole_filter_errors 1") && found(&place), "{lines:?}");
        Ok(())
    })?;
    throughout(EFFECT, "the last good value stays in force", || {
        let found = from_worker4(&lab.node("leaf4")?)?;
        ensure!(found, "the range is withdrawn");
        Ok(())
    })?;
    worker4.exec(&["etcdctl", "del", KEY])?;
    wait_worker4(lab, false)?;
    eventually(Duration::from_secs(2), "nothing is wrong any more", || {
        let problems = problems(&worker4)?;
        ensure!(problems.is_empty(), "{problems}");
        Ok(())
    })?;
    worker4.sh("ip addr del 10.123.0.0/17 dev lo").map(drop)
}

/// What a service proxy does on an ingress node, for connections that come by it and for its own: the destination is
/// rewritten to a pod. What is forwarded has to come back by the same node; a node's own connections have the node's own
/// address, so nothing need be done for those.
fn nothing_stands_in_the_way_of_the_service_proxy(lab: &Lab) -> Result<()> {
    let pod = Pod::wire(&lab.node("worker1")?, "pod0")?;
    let _echo = pod.spawn(&["petiole-lab", "echo", "--listen", "[::]:80"])?;
    let client1 = lab.node("client1")?;
    eventually(Duration::from_secs(5), "the pod answers", || greeting(&client1, pod.address(Family::V4)))?;
    let (v4, v6) = (pod.address(Family::V4), pod.address(Family::V6));
    let rewrite = format!(
        "ip daddr {SERVICE} tcp dport 80 dnat ip to {v4}\n ip6 daddr {SERVICE6} tcp dport 80 dnat ip6 to {v6}\n"
    );
    let rules = format!(
        "table inet proxy {{
            chain prerouting {{ type nat hook prerouting priority dstnat; {rewrite} }}
            chain output {{ type nat hook output priority -100; {rewrite} }}
            chain postrouting {{ type nat hook postrouting priority srcnat; iifname eth1 ct status dnat masquerade; }}
        }}"
    );
    let mut links = BTreeSet::new();
    for ingress in fabric::members(Role::Ingress) {
        let node = lab.node(ingress.name)?;
        node.write("/run/proxy.nft", &rules)?;
        node.exec(&["nft", "--file", "/run/proxy.nft"])?;
        links.extend(FAMILIES.into_iter().flat_map(|family| ingress.links(family)).map(|link| link.address));
    }
    for address in [SERVICE, SERVICE6] {
        let [name, client] = greeting(&client1, address)?;
        ensure!(name == "worker1", "{address} from client1 was answered by {name}");
        ensure!(links.contains(&client), "{address}: {client} is not one of {links:?}");
    }
    for ingress in fabric::members(Role::Ingress) {
        let node = lab.node(ingress.name)?;
        for (family, address) in [(Family::V4, SERVICE), (Family::V6, SERVICE6)] {
            let [name, client] = greeting(&node, address).with_context(|| format!("{address} on {}", ingress.name))?;
            ensure!(name == "worker1", "{address} on {} was answered by {name}", ingress.name);
            ensure!(client == ingress.address(family), "{address} on {}: came from {client}", ingress.name);
        }
        // No rule stands in the way, and the address that nobody serves is refused, not swallowed.
        let refused = greeting(&node, "10.123.1.1").map_err(|error| format!("{error:#}"));
        ensure!(refused.is_ok_and(|[name, _]| name == ingress.name), "the rest of the range is not the node's own");
    }
    Ok(())
}
