//! FRRouting: zebra and bgpd, asked through vtysh.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::interop::daemon::{Daemon, Place, Received, Session};
use crate::interop::wanted::{LEAF_ASN, LEAF_ID, Link, NODE_ASN, Route, Transport, Wanted};
use crate::{Spawned, check, eventually};

const PROGRAMS: &str = "/usr/lib/frr";

#[derive(Debug)]
pub(crate) struct Frr {
    place: Place,
    transport: Transport,
    unnumbered: bool,
    processes: Vec<Spawned>,
}

impl Frr {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, transport: Transport::V4, unnumbered: false, processes: Vec::new() }
    }

    /// The neighbour's name.
    fn node(&self, link: Link) -> String {
        if self.unnumbered { link.interface() } else { link.node(self.transport) }
    }

    fn run(&self, program: &str) -> Result<Spawned> {
        let folder = self.place.folder.to_string_lossy();
        let argv = [
            &format!("{PROGRAMS}/{program}"),
            "-f",
            &self.place.path(&format!("{program}.conf")),
            "-i",
            &self.place.path(&format!("{program}.pid")),
            "-z",
            &self.place.path("zserv"),
            "--vty_socket",
            &folder,
            "-P",
            "0",
        ];
        let control = ["--bfdctl", &self.place.path("bfd.sock")];
        let more: &[&str] = if program == "bfdd" { &control } else { &[] };
        self.place.spawn(&format!("{program}.log"), &[&argv[..], more].concat())
    }

    fn vtysh(&self, lines: &[&str]) -> Result<String> {
        let folder = self.place.folder.to_string_lossy();
        let mut argv = vec!["vtysh", "--vty_socket", &folder];
        for line in lines {
            argv.extend(["-c", line]);
        }
        self.place.exec(&argv)
    }

    fn json(&self, line: &str) -> Result<Value> {
        let text = self.vtysh(&[line])?;
        serde_json::from_str(&text).map_err(|error| anyhow!("{line}: {error}: {text}"))
    }

    fn change(&self, family: &Route, line: &str) -> Result<()> {
        let bgp = format!("router bgp {LEAF_ASN}");
        let family = if family.is_v6() { "address-family ipv6 unicast" } else { "address-family ipv4 unicast" };
        self.vtysh(&["configure terminal", &bgp, family, line]).map(drop)
    }
}

fn configuration(wanted: &Wanted) -> String {
    let mut text = format!(
        "frr defaults datacenter\nlog stdout informational\nrouter bgp {LEAF_ASN}\n bgp router-id {LEAF_ID}\n \
         bgp log-neighbor-changes\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n \
         no bgp network import-check\n"
    );
    if let Some(seconds) = wanted.graceful {
        let _ = write!(
            text,
            " bgp graceful-restart\n bgp graceful-restart preserve-fw-state\n bgp graceful-restart notification\n \
             bgp graceful-restart restart-time {seconds}\n"
        );
    }
    if let Some(seconds) = wanted.long_lived {
        let _ = writeln!(text, " bgp long-lived-graceful-restart stale-time {seconds}");
    }
    if wanted.gentle_resets {
        text.push_str(" no bgp hard-administrative-reset\n");
    }
    let name = |link: Link| if wanted.unnumbered { link.interface() } else { link.node(wanted.transport) };
    let nodes: Vec<String> = wanted.links().map(name).collect();
    for node in &nodes {
        let hold = wanted.leaf_hold;
        let remote = if wanted.leaf_two_octet { "external".to_owned() } else { NODE_ASN.to_string() };
        let _ = write!(
            text,
            " neighbor {node} {}remote-as {remote}\n neighbor {node} advertisement-interval 0\n \
             neighbor {node} timers {} {hold}\n neighbor {node} timers connect 1\n",
            if wanted.unnumbered { "interface " } else { "" },
            hold / 3
        );
        if let Some(key) = wanted.leaf_key {
            let _ = writeln!(text, " neighbor {node} password {key}");
        }
        if wanted.bfd {
            let _ = writeln!(text, " neighbor {node} bfd 3 100 100");
        }
        if wanted.ttl_security {
            let _ = writeln!(text, " neighbor {node} ttl-security hops 1");
        }
        if wanted.leaf_passive {
            let _ = writeln!(text, " neighbor {node} passive");
        }
        if let Some(role) = wanted.leaf_role {
            let _ = writeln!(text, " neighbor {node} local-role {role}");
        }
        if wanted.leaf_two_octet {
            let _ = writeln!(text, " neighbor {node} dont-capability-negotiate");
        }
    }
    for (family, v6) in [("ipv4", false), ("ipv6", true)] {
        let _ = writeln!(text, " address-family {family} unicast");
        for (number, route) in (0..).zip(&wanted.routes).filter(|(_, route)| route.is_v6() == v6) {
            let map = if has_communities(route) { format!(" route-map r{number}") } else { String::new() };
            let _ = writeln!(text, "  network {}{map}", route.prefix);
        }
        // What it has of an address of its own is another path than what it is told to announce.
        if let Some(prefix) = wanted.several_paths.filter(|_| !v6) {
            let _ = writeln!(text, "  network {prefix}\n  redistribute connected route-map connected");
        }
        for node in nodes.iter().filter(|_| !(wanted.leaf_two_octet && v6)) {
            let _ = writeln!(text, "  neighbor {node} activate\n  neighbor {node} soft-reconfiguration inbound");
            if wanted.several_paths.is_some() {
                let _ = writeln!(text, "  neighbor {node} addpath-tx-all-paths");
            }
        }
        text.push_str(" exit-address-family\n");
    }
    text.push_str("exit\n");
    if let Some(prefix) = wanted.several_paths {
        let _ = write!(
            text,
            "ip prefix-list several permit {prefix}\nroute-map connected permit 10\n match ip address prefix-list several\nexit\n"
        );
    }
    for (number, route) in (0..).zip(&wanted.routes).filter(|(_, route)| has_communities(route)) {
        let _ = writeln!(text, "route-map r{number} permit 10");
        if let Some((a, b)) = route.community {
            let _ = writeln!(text, " set community {a}:{b}");
        }
        if let Some((a, b, c)) = route.large {
            let _ = writeln!(text, " set large-community {a}:{b}:{c}");
        }
        if let Some((a, b)) = route.target {
            let _ = writeln!(text, " set extcommunity rt {a}:{b}");
        }
        text.push_str("exit\n");
    }
    text
}

fn has_communities(route: &Route) -> bool {
    route.community.is_some() || route.large.is_some() || route.target.is_some()
}

impl Daemon for Frr {
    fn start(&mut self, wanted: &Wanted) -> Result<()> {
        (self.transport, self.unnumbered) = (wanted.transport, wanted.unnumbered);
        // It gives root up at once, and makes its sockets as its own user.
        self.place.exec(&["chown", "frr:frr", &self.place.folder.to_string_lossy()])?;
        self.place.write("zebra.conf", "log stdout informational\n")?;
        self.configure(wanted)?;
        if let Some(prefix) = wanted.several_paths {
            self.place.exec(&["ip", "address", "add", prefix, "dev", "lo"])?;
        }
        self.processes.push(self.run("zebra")?);
        let socket = self.place.path("zserv");
        eventually(Duration::from_secs(10), "zebra answers", || check(Path::new(&socket).exists(), "no socket"))?;
        if wanted.bfd {
            self.place.write("bfdd.conf", "log stdout informational\n")?;
            self.processes.push(self.run("bfdd")?);
            let socket = self.place.path("bfdd.vty");
            eventually(Duration::from_secs(10), "bfdd answers", || check(Path::new(&socket).exists(), "no socket"))?;
        }
        self.processes.push(self.run("bgpd")?);
        self.place.listening(179)
    }

    fn session(&self, link: Link) -> Result<Session> {
        let node = self.node(link);
        let all = self.json(&format!("show bgp neighbors {node} json"))?;
        let peer = &all[&node];
        let state = peer["bgpState"].as_str().unwrap_or("unknown").to_owned();
        let hold = peer["bgpTimerHoldTimeMsecs"].as_u64().map(|ms| ms / 1000);
        Ok(Session { established: state == "Established", state, hold })
    }

    fn received(&self) -> Result<BTreeMap<String, Received>> {
        let node = self.node(Link(0));
        let mut found = BTreeMap::new();
        for family in ["ipv4", "ipv6"] {
            let all = self.json(&format!("show bgp {family} unicast neighbors {node} received-routes json"))?;
            for (prefix, route) in all["receivedRoutes"].as_object().into_iter().flatten() {
                let next_hop = ["nextHopGlobal", "nextHop"].iter().find_map(|key| route[key].as_str());
                let as_path = route["path"].as_str().unwrap_or_default().to_owned();
                let next_hop = next_hop.unwrap_or_default().to_owned();
                let best = self.json(&format!("show bgp {family} unicast {prefix} json"))?;
                let kinds = ["community", "largeCommunity", "extendedCommunity"];
                let communities = kinds.map(|kind| best["paths"][0][kind].to_string()).join(" ");
                found.insert(prefix.clone(), Received { next_hop, as_path, communities });
            }
        }
        Ok(found)
    }

    fn table(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for family in ["ipv4", "ipv6"] {
            let all = self.json(&format!("show bgp {family} unicast json"))?;
            found.extend(all["routes"].as_object().into_iter().flatten().map(|(prefix, _)| prefix.clone()));
        }
        Ok(found)
    }

    fn reset(&mut self) -> Result<()> {
        self.vtysh(&[&format!("clear bgp {}", self.node(Link(0)))]).map(drop)
    }

    fn kill(&mut self) {
        self.processes.pop();
    }

    fn configure(&mut self, wanted: &Wanted) -> Result<()> {
        self.place.write("bgpd.conf", &configuration(wanted)).map(drop)
    }

    fn revive(&mut self) -> Result<()> {
        self.processes.push(self.run("bgpd")?);
        self.place.listening(179)
    }

    fn announce(&mut self, route: &Route) -> Result<()> {
        self.change(route, &format!("network {}", route.prefix))
    }

    fn withdraw(&mut self, route: &Route) -> Result<()> {
        self.change(route, &format!("no network {}", route.prefix))
    }

    fn refresh(&mut self) -> Result<()> {
        let node = Link(0).node(self.transport);
        // With the routes kept as received it would not ask.
        for family in ["ipv4", "ipv6"] {
            let (bgp, family) = (format!("router bgp {LEAF_ASN}"), format!("address-family {family} unicast"));
            let line = format!("no neighbor {node} soft-reconfiguration inbound");
            self.vtysh(&["configure terminal", &bgp, &family, &line])?;
        }
        self.vtysh(&[&format!("clear bgp {node} in")]).map(drop)
    }

    fn shutdown(&mut self, words: &str) -> Result<()> {
        let node = Link(0).node(self.transport);
        let bgp = format!("router bgp {LEAF_ASN}");
        self.vtysh(&["configure terminal", &bgp, &format!("neighbor {node} shutdown message {words}")]).map(drop)
    }

    fn log(&self) -> String {
        self.place.tail("bgpd.log")
    }
}
