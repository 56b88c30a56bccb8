//! A leaf that sends what it must not: the default route, this node's own prefixes, ends of its links, martians. None of it harms
//! the node, which is asserted on its kernel's tables, on what the leaf has from it, and on packets; and each is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::fabric::{self, Family, Member, Pod, Stream};
use petiole_labtests::{Lab, NodeHandle, Signal, check, eventually, throughout};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(60);
const FAMILIES: [Family; 2] = fabric::FAMILIES;

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: needs root for network namespaces");
    }
    root
}

fn words(error: anyhow::Error) -> String {
    format!("{error:#}")
}

/// A node and the leaf that is hostile to it.
struct Victim {
    member: &'static Member,
    node: NodeHandle,
    leaf: NodeHandle,
    /// The node's address on that leaf.
    session: String,
}

/// What must not change: the kernel's routes of all tables and its addresses; what the leaf was told, and in how many messages.
#[derive(Debug, PartialEq)]
struct Seen {
    kernel: BTreeSet<String>,
    told: BTreeMap<String, String>,
    updates: u64,
}

impl Victim {
    fn new(lab: &Lab, name: &str, leaf: &str) -> Result<Self> {
        let member = Member::named(name).context("no such node")?;
        let link = member.links(Family::V4).into_iter().find(|link| link.leaf == leaf).context("no such link")?;
        Ok(Self { member, node: lab.node(name)?, leaf: lab.node(leaf)?, session: link.address })
    }

    /// Routes to `others` are left out.
    fn seen(&self, others: &[String]) -> Result<Seen> {
        let mut kernel = BTreeSet::new();
        for family in FAMILIES {
            let routes = self.node.ip_json(&[family.ip(), "route", "show", "table", "all"])?;
            for route in routes.as_array().into_iter().flatten() {
                let dst = route["dst"].as_str().unwrap_or_default();
                let host = format!("{dst}/{}", family.pick(32, 128));
                if !others.iter().any(|other| other == dst || *other == host) {
                    kernel.insert(route.to_string());
                }
            }
        }
        for link in self.node.ip_json(&["address"])?.as_array().into_iter().flatten() {
            for address in link["addr_info"].as_array().into_iter().flatten() {
                kernel.insert(format!("{} {} {}", link["ifname"], address["local"], address["scope"]));
            }
        }
        let mut told = fabric::told(&self.leaf, self.member, Family::V4)?;
        told.extend(fabric::told(&self.leaf, self.member, Family::V6)?);
        let session = self.leaf.vtysh_json(&format!("show bgp neighbors {} json", self.session))?;
        let updates = session[&self.session]["messageStats"]["updatesRecv"].as_u64().context("no count of updates")?;
        Ok(Seen { kernel, told, updates })
    }

    /// The prefixes that the leaf's own table says it sends to this node, both families.
    fn sent(&self) -> Result<BTreeSet<String>> {
        let mut sent = BTreeSet::new();
        for family in FAMILIES {
            let command =
                format!("show bgp {} unicast neighbors {} advertised-routes json", family.frr(), self.session);
            let table = self.leaf.vtysh_json(&command)?;
            sent.extend(table["advertisedRoutes"].as_object().into_iter().flatten().map(|(prefix, _)| prefix.clone()));
        }
        Ok(sent)
    }

    fn received(&self) -> Result<BTreeSet<String>> {
        let table = self.node.petiole_json(&["bgp", "routes", "received"])?;
        let prefixes = table.as_array().into_iter().flatten().filter_map(|path| path["prefix"].as_str());
        Ok(prefixes.map(str::to_owned).collect())
    }

    /// The verdict and the code or words in `why`, and the state in `fib`, are as they should be.
    fn explained(&self, prefix: &str, expected: Expected) -> Result<()> {
        let why = self.node.petiole_json(&["why", prefix])?;
        let fib = self.node.petiole_json(&["fib"])?;
        let entry = |kind: &str| {
            let mut entries = fib.as_array().into_iter().flatten();
            entries.find(|entry| entry["prefix"] == prefix && entry["kind"] == kind)
        };
        let steps = why["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
        let stopped_by = |code: &str| steps.iter().any(|step| step["code"] == code && step["pass"] == false);
        let seen = || format!("{}: {prefix} should be {expected:?}: {why:#}", self.node.name());
        let path = why["received"].as_array().and_then(|paths| paths.first()).with_context(seen)?;
        ensure!(path["used"] == matches!(expected, Expected::KeptOut(_)), seen());
        let said = path["why"].as_str().unwrap_or_default();
        match expected {
            Expected::Own(kind) => {
                ensure!(why["verdict"] == "announced" && stopped_by("not_used"), seen());
                ensure!(said.contains("local beats learned") || said.contains("our own AS"), seen());
                let summary = why["summary"].as_str().unwrap_or_default();
                ensure!(summary.contains("leaves send it back, which changes nothing"), seen());
                ensure!(entry("learned").is_none(), "{}: {prefix} in fib: {fib:#}", self.node.name());
                if let Some(kind) = kind {
                    let state = entry(kind).map(|entry| &entry["state"]);
                    ensure!(state == Some(&Value::from("in kernel")), "{}: {prefix}: {fib:#}", self.node.name());
                }
            }
            Expected::KeptOut(code) => {
                ensure!(why["verdict"] == "learned" && stopped_by(code), seen());
                let entry = entry("learned").with_context(|| format!("{prefix} is not in fib"))?;
                ensure!(entry["state"] == "not installed", "{entry:#}");
                ensure!(entry["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{entry:#}");
            }
            Expected::Rejected(reason) => {
                ensure!(said.contains(reason) && stopped_by("not_used"), seen());
                ensure!(entry("learned").is_none(), "{}: {prefix} in fib: {fib:#}", self.node.name());
            }
        }
        Ok(())
    }
}

/// What becomes of a hostile route.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// It is the node's own, and stays so; with the kind that `fib` shows.
    Own(Option<&'static str>),
    /// In the Loc-RIB, but not in the kernel: the step's code.
    KeptOut(&'static str),
    /// Not even compared: words of the reason.
    Rejected(&'static str),
}

const MARTIAN: Expected = Expected::Rejected("not routable unicast");

/// `network` statements for these prefixes, or their removal.
fn networks(leaf: &NodeHandle, prefixes: &[String], no: bool) -> Result<()> {
    let asn = fabric::leaf_as(fabric::leaf_number(leaf.name()).context("not a leaf")?);
    let mut lines = vec![format!("router bgp {asn}")];
    for family in FAMILIES {
        lines.push(format!("address-family {} unicast", family.frr()));
        let mine = prefixes.iter().filter(|prefix| Family::of(prefix) == family);
        lines.extend(mine.map(|prefix| format!("{}network {prefix}", if no { "no " } else { "" })));
        lines.push("exit-address-family".to_owned());
    }
    leaf.vtysh_configure(&lines.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A leaf that announces a prefix does not send its packets on by BGP any more: it gets a route by hand, so that packets show
/// what the node does with them.
fn keep_forwarding(victim: &Victim, prefix: &str) -> Result<()> {
    let family = Family::of(prefix);
    let links = victim.member.links(family);
    let link = links.iter().find(|link| link.leaf == victim.leaf.name()).context("no link")?;
    victim.leaf.exec(&["ip", family.ip(), "route", "replace", prefix, "via", &link.address]).map(drop)
}

fn half(block: &str) -> Result<String> {
    let (address, len) = block.split_once('/').context("no prefix")?;
    Ok(format!("{address}/{}", len.parse::<u8>()? + 1))
}

/// Everything that a leaf can send against this node, with what becomes of it.
fn attack(victim: &Victim, own: &[(String, Option<&'static str>)]) -> Vec<(String, Expected)> {
    let mut sent: Vec<(String, Expected)> =
        own.iter().map(|(prefix, kind)| (prefix.clone(), Expected::Own(*kind))).collect();
    for family in FAMILIES {
        let host = victim.member.host(family);
        sent.push((host, Expected::Own(None)));
        sent.push((family.pick("0.0.0.0/0", "::/0").to_owned(), Expected::KeptOut("default_refused")));
        for link in victim.member.links(family).iter().filter(|link| link.leaf == victim.leaf.name()) {
            // FRR writes a /31 and a /127 by their even end, which is the leaf's.
            sent.push((format!("{}/{}", link.gateway, family.pick(31, 127)), Expected::KeptOut("connected")));
            for end in [&link.gateway, &link.address] {
                sent.push((format!("{end}/{}", family.pick(32, 128)), Expected::KeptOut("inside_uplink")));
            }
        }
    }
    sent
}

fn martians() -> Vec<(String, Expected)> {
    let v4 = ["0.0.0.0/8", "127.0.0.0/8", "169.254.7.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32"];
    // FRR itself refuses to announce what is link-local.
    let v6 = ["::1/128", "ff05::/16"];
    v4.iter().chain(&v6).map(|prefix| ((*prefix).to_owned(), MARTIAN)).collect()
}

#[test]
fn nothing_that_a_leaf_sends_harms_the_node_and_all_of_it_is_explained() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let lab = fabric::clos("hostile")?;
    let blocks = fabric::wait_settled(&lab, SETTLE)?;
    let (worker, master) = (Victim::new(&lab, "worker1", "leaf1")?, Victim::new(&lab, "master1", "leaf1")?);
    let ingress = Victim::new(&lab, "ingress1", "leaf3")?;
    let pod = Pod::wire(&worker.node, "pod1")?;

    let own_blocks: Vec<String> = blocks.get("worker1").context("worker1 has no blocks")?.iter().cloned().collect();
    let mut worker_sent: Vec<(String, Option<&'static str>)> =
        own_blocks.iter().map(|block| (block.clone(), Some("block"))).collect();
    worker_sent.sort();
    let anycast: Vec<_> = FAMILIES.map(|family| (fabric::anycast(family).to_owned(), None)).into();
    let range: Vec<_> = FAMILIES.map(|family| (fabric::services(family).to_owned(), Some("range"))).into();
    let mut attacks = [
        (&worker, attack(&worker, &worker_sent)),
        (&master, attack(&master, &anycast)),
        (&ingress, attack(&ingress, &range)),
    ];
    for block in &own_blocks {
        attacks[0].1.push((half(block)?, Expected::KeptOut("inside_own_block")));
    }
    attacks[0].1.extend(martians());

    for (victim, sent) in &attacks {
        for (prefix, _) in sent.iter().filter(|(_, expected)| matches!(expected, Expected::Own(_))) {
            keep_forwarding(victim, prefix)?;
        }
    }
    let all: Vec<String> = attacks.iter().flat_map(|(_, sent)| sent.iter().map(|(prefix, _)| prefix.clone())).collect();
    // A node may well learn what is another's: only its own part must stay as it is.
    let others = |sent: &[(String, Expected)]| -> Vec<String> {
        all.iter().filter(|prefix| !sent.iter().any(|(own, _)| own == *prefix)).cloned().collect()
    };
    let before = |(victim, sent): &(&Victim, Vec<(String, Expected)>)| victim.seen(&others(sent));
    let befores: Vec<Seen> = attacks.iter().map(before).collect::<Result<_>>()?;

    let (kafka1, client1) = (lab.node("kafka1")?, lab.node("client1")?);
    let mut streams = Vec::new();
    for (node, to) in [
        (&kafka1, worker.member.address(Family::V4)),
        (&kafka1, worker.member.address(Family::V6)),
        (&kafka1, pod.address(Family::V4).to_owned()),
        (&kafka1, pod.address(Family::V6).to_owned()),
        (&kafka1, "10.122.255.1".to_owned()),
        (&client1, "10.123.79.211".to_owned()),
        (&client1, "fd00:123::4fd3".to_owned()),
    ] {
        node.ping(&to, 1500, 2)?;
        let (v4, v6) = if node.name() == "kafka1" {
            ("10.120.201.33", "fd00:120:201:4::33")
        } else {
            ("10.120.201.10", "fd00:120:201:1::10")
        };
        streams.push(Stream::start(node, Family::of(&to).pick(v4, v6), &to)?);
    }

    // Two victims are on the same leaf, and both get a default.
    let all_at_once = |no: bool| -> Result<()> {
        let mut by_leaf: BTreeMap<&str, (&NodeHandle, BTreeSet<String>)> = BTreeMap::new();
        for (victim, sent) in &attacks {
            let entry = by_leaf.entry(victim.leaf.name()).or_insert_with(|| (&victim.leaf, BTreeSet::new()));
            entry.1.extend(sent.iter().map(|(prefix, _)| prefix.clone()));
        }
        by_leaf.values().try_for_each(|(leaf, sent)| networks(leaf, &sent.iter().cloned().collect::<Vec<_>>(), no))
    };
    all_at_once(false)?;
    for (victim, sent) in &attacks {
        let prefixes: BTreeSet<String> = sent.iter().map(|(prefix, _)| prefix.clone()).collect();
        eventually(WITHIN, "the leaf sends it all, and the node has it", || {
            for (whose, table) in [("sent", victim.sent()), ("received", victim.received())] {
                let table = table.map_err(words)?;
                let missing: Vec<&String> = prefixes.difference(&table).collect();
                check(missing.is_empty(), format!("{}: not {whose}: {missing:?}", victim.node.name()))?;
            }
            Ok::<(), String>(())
        })?;
        for (prefix, expected) in sent {
            victim.explained(prefix, *expected)?;
        }
    }
    // To the worker the anycast address and the range are what they always were: learned, by the same leaf.
    for prefix in FAMILIES.iter().flat_map(|family| [fabric::anycast(*family), fabric::services(*family)]) {
        let why = worker.node.petiole_json(&["why", prefix])?;
        ensure!(why["verdict"] == "learned" && why["kernel"]["state"] == "in kernel", "{why:#}");
    }
    throughout(Duration::from_secs(1), "the nodes are as they were", || {
        for ((victim, sent), before) in attacks.iter().zip(&befores) {
            let now = victim.seen(&others(sent)).map_err(words)?;
            check(now == *before, format!("{}: {}", victim.node.name(), difference(before, &now)))?;
        }
        Ok::<(), String>(())
    })?;
    // A default goes everywhere, and into no kernel.
    for name in fabric::AGENTS {
        for family in FAMILIES {
            let node = lab.node(name)?;
            let routes = node.ip_json(&[family.ip(), "route", "show", "default"])?;
            let static_only = routes.as_array().into_iter().flatten().all(|route| route["protocol"] == "static");
            ensure!(static_only, "{name}: {routes}");
        }
    }
    // What comes afterwards still goes into the kernel: the gateway itself has not gone behind a gateway.
    let late = ["198.51.100.0/24".to_owned(), "fd00:dead::/48".to_owned()];
    networks(&worker.leaf, &late, false)?;
    for prefix in &late {
        eventually(WITHIN, "a fair route is installed beside the hostile ones", || {
            let gateways = fabric::gateways(&worker.node, prefix).map_err(words)?;
            let links = worker.member.links(Family::of(prefix));
            check(gateways == [links[0].gateway.clone()], format!("{prefix}: {gateways:?}"))
        })?;
    }
    networks(&worker.leaf, &late, true)?;

    all_at_once(true)?;
    eventually(WITHIN, "all is as before, and the fabric too", || {
        for ((victim, sent), before) in attacks.iter().zip(&befores) {
            let now = victim.seen(&others(sent)).map_err(words)?;
            check(now == *before, difference(before, &now))?;
            let left = victim.node.petiole_json(&["fib"]).map_err(words)?.to_string();
            check(!left.contains("a default route"), left)?;
        }
        Ok::<(), String>(())
    })?;
    for stream in streams {
        let name = stream.name.clone();
        let loss = stream.end()?;
        ensure!(loss.lost == 0 && loss.sent > 100, "{name}: {loss:?}");
    }
    lab.down()
}

fn difference(before: &Seen, now: &Seen) -> String {
    let gone: Vec<_> = before.kernel.difference(&now.kernel).collect();
    let new: Vec<_> = now.kernel.difference(&before.kernel).collect();
    format!(
        "kernel: gone {gone:?}, new {new:?}; told: {:?}, then {:?}; updates {} and {}",
        before.told, now.told, before.updates, now.updates
    )
}

/// A leaf draws the link, and so the session, of another leaf to itself.
#[test]
fn a_leaf_gets_no_hold_of_another_leafs_link() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let lab = fabric::clos("hijack")?;
    fabric::wait_settled(&lab, SETTLE)?;
    let victim = Victim::new(&lab, "worker4", "leaf3")?;
    let mut stolen = Vec::new();
    for family in FAMILIES {
        for link in victim.member.links(family).iter().filter(|link| link.leaf == "leaf4") {
            let ends = [&link.gateway, &link.address].map(|end| format!("{end}/{}", family.pick(32, 128)));
            stolen.extend(ends);
        }
    }
    let before = victim.seen(&[])?;
    networks(&victim.leaf, &stolen, false)?;
    eventually(WITHIN, "worker4 knows them all", || {
        let received = victim.received().map_err(words)?;
        let missing: Vec<&String> = stolen.iter().filter(|prefix| !received.contains(*prefix)).collect();
        check(missing.is_empty(), format!("{missing:?}"))
    })?;
    for prefix in &stolen {
        victim.explained(prefix, Expected::KeptOut("inside_uplink"))?;
    }
    throughout(Duration::from_secs(1), "worker4 is as it was", || {
        let now = victim.seen(&[]).map_err(words)?;
        check(now == before, difference(&before, &now))
    })?;
    for family in FAMILIES {
        for link in victim.member.links(family) {
            let way = victim.node.ip_json(&[family.ip(), "route", "get", &link.gateway])?;
            ensure!(way[0]["dev"] == link.interface.as_str() && way[0]["gateway"].is_null(), "{way}");
        }
    }
    lab.down()
}

/// The default routes of a family: gateway, protocol, metric and source.
fn defaults(node: &NodeHandle, family: Family) -> Result<BTreeSet<String>> {
    let routes = node.ip_json(&[family.ip(), "route", "show", "default"])?;
    let line = |route: &Value| {
        let field = |name: &str| route[name].as_str().map_or_else(|| route[name].to_string(), str::to_owned);
        format!("{} {} metric {} src {}", field("gateway"), field("protocol"), field("metric"), field("prefsrc"))
    };
    Ok(routes.as_array().into_iter().flatten().map(line).collect())
}

#[test]
fn a_default_that_is_wanted_never_takes_the_place_of_a_foreign_one() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let lab = fabric::clos("default")?;
    fabric::wait_settled(&lab, SETTLE)?;
    let victim = Victim::new(&lab, "worker2", "leaf2")?;
    let node = &victim.node;
    node.sh("ip link add adm0 type veth peer name adm1; ip link set adm0 up; ip link set adm1 up")?;
    node.sh("ip addr add 192.0.2.1/24 dev adm0; ip addr add 2001:db8:ad::1/64 dev adm0 nodad")?;
    let foreign = |family: Family| family.pick("192.0.2.254", "2001:db8:ad::fe");
    let by_hand = |verb: &str, family: Family, protocol: &str, metric: &str| {
        let via = foreign(family);
        let line = [
            "ip",
            family.ip(),
            "route",
            verb,
            "default",
            "via",
            via,
            "dev",
            "adm0",
            "proto",
            protocol,
            "metric",
            metric,
        ];
        node.exec(&line).map(drop)
    };
    // One from DHCP, which wins; later one from an admin with the very metric of ours.
    for family in FAMILIES {
        by_hand("add", family, "dhcp", "100")?;
        by_hand("add", family, "static", "1024")?;
    }
    let before = [defaults(node, Family::V4)?, defaults(node, Family::V6)?];
    ensure!(before.iter().all(|defaults| defaults.len() == 3), "{before:?}");

    let config = node.read("/etc/petiole/petiole.toml")?;
    let wanted = config.replacen("[bgp]\n", "[bgp]\naccept_default = true\n", 1);
    ensure!(wanted != config, "no [bgp] in {config}");
    node.write("/etc/petiole/petiole.toml", &wanted)?;
    node.stop("agent", Signal::TERM)?;
    node.start("agent")?;
    networks(&victim.leaf, &["0.0.0.0/0".to_owned(), "::/0".to_owned()], false)?;
    let fib = |family: Family| -> Result<Value> {
        let fib = node.petiole_json(&["fib"])?;
        let default = family.pick("0.0.0.0/0", "::/0");
        let entry = fib.as_array().into_iter().flatten().find(|entry| entry["prefix"] == default);
        entry.cloned().context("no default in fib")
    };
    for (family, before) in FAMILIES.into_iter().zip(&before) {
        eventually(WITHIN, "the leaf's default waits for the foreign one with its metric", || {
            let entry = fib(family).map_err(words)?;
            check(entry["state"] == "held by a foreign route", &entry)
        })?;
        let now = defaults(node, family)?;
        ensure!(now == *before, "{now:?}, before {before:?}");
        let why = node.petiole_json(&["why", family.pick("0.0.0.0/0", "::/0")])?;
        ensure!(why["kernel"]["state"] == "held by a foreign route", "{why:#}");
    }

    for (family, before) in FAMILIES.into_iter().zip(&before) {
        by_hand("del", family, "static", "1024")?;
        let links = victim.member.links(family);
        // iproute2 shows route protocol 179 by its number, which /etc/iproute2/rt_protos does not name.
        let ours = format!("{} 179 metric 1024 src {}", links[0].gateway, victim.member.address(family));
        let mut expected: BTreeSet<String> =
            before.iter().filter(|line| !line.contains("static metric 1024")).cloned().collect();
        expected.insert(ours.clone());
        eventually(WITHIN, "the leaf's default is in the kernel at last, and beside it the foreign ones", || {
            let now = defaults(node, family).map_err(words)?;
            check(now == expected, format!("{now:?}, expected {expected:?}"))
        })?;
        // An admin puts it back: the kernel replaces nothing unless told so, and neither do we.
        networks(&victim.leaf, &[family.pick("0.0.0.0/0", "::/0").to_owned()], true)?;
        expected.remove(&ours);
        eventually(WITHIN, "the leaf's default goes, the foreign ones stay", || {
            let now = defaults(node, family).map_err(words)?;
            check(now == expected, format!("{now:?}, expected {expected:?}"))
        })?;
    }
    lab.down()
}
