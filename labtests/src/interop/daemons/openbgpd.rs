//! OpenBGPD's portable version, asked through `bgpctl -j`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use crate::Spawned;
use crate::interop::daemon::{Daemon, Place, Received, Session, unsupported};
use crate::interop::wanted::{LEAF_ASN, LEAF_ID, Link, NODE_ASN, Route, Transport, Wanted};

/// The home of `_openbgpd` in Debian.
const HOME: &str = "/run/openbgpd";

#[derive(Debug)]
pub(crate) struct OpenBgpd {
    place: Place,
    transport: Transport,
    process: Option<Spawned>,
}

impl OpenBgpd {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, transport: Transport::V4, process: None }
    }

    fn bgpctl(&self, words: &[&str]) -> Result<String> {
        let socket = self.place.path("bgpd.sock");
        self.place.exec(&[&["bgpctl", "-s", &socket], words].concat())
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        let socket = self.place.path("bgpd.sock");
        self.place.json(&[&["bgpctl", "-j", "-s", &socket], words].concat())
    }
}

/// The attributes of a `network`, as words.
fn attributes(route: &Route) -> Vec<String> {
    let mut words = Vec::new();
    if let Some((a, b)) = route.community {
        words.push(format!("community {a}:{b}"));
    }
    if let Some((a, b, c)) = route.large {
        words.push(format!("large-community {a}:{b}:{c}"));
    }
    if let Some((a, b)) = route.target {
        words.push(format!("ext-community rt {a}:{b}"));
    }
    words
}

fn configuration(wanted: &Wanted, socket: &str) -> String {
    let mut text = format!(
        "AS {LEAF_ASN}\nrouter-id {LEAF_ID}\nsocket \"{socket}\"\nfib-update no\nholdtime {}\nconnect-retry 1\n",
        wanted.leaf_hold
    );
    for link in wanted.links() {
        let _ = writeln!(text, "listen on {}", link.leaf(wanted.transport));
    }
    if let Some(prefix) = wanted.several_paths {
        let _ = writeln!(text, "network {prefix}");
    }
    for route in &wanted.routes {
        let words = attributes(route);
        let set = if words.is_empty() { String::new() } else { format!(" set {{ {} }}", words.join(" ")) };
        let _ = writeln!(text, "network {}{set}", route.prefix);
    }
    for link in wanted.links() {
        let _ = write!(
            text,
            "neighbor {} {{\n  remote-as {NODE_ASN}\n  descr node{}\n  local-address {}\n  announce IPv4 unicast\n  \
             announce IPv6 unicast\n",
            link.node(wanted.transport),
            link.0,
            link.leaf(wanted.transport)
        );
        if wanted.leaf_passive {
            text.push_str("  passive\n");
        }
        if wanted.leaf_two_octet {
            text.push_str("  announce as-4byte no\n");
        }
        if let Some(role) = wanted.leaf_role {
            let _ = writeln!(text, "  announce policy {role}");
        }
        if wanted.several_paths.is_some() {
            text.push_str("  announce add-path send all\n");
        }
        if let Some(key) = wanted.leaf_key {
            let _ = writeln!(text, "  tcp md5sig password {key}");
        }
        if wanted.ttl_security {
            text.push_str("  ttl-security yes\n");
        }
        text.push_str("}\n");
    }
    text.push_str("allow from any\nallow to any\n");
    text
}

impl Daemon for OpenBgpd {
    fn start(&mut self, wanted: &Wanted) -> Result<()> {
        if wanted.bfd {
            return Err(unsupported("it has no BFD"));
        }
        if wanted.unnumbered {
            return Err(unsupported("it sends no router advertisements, by which the node would find it"));
        }
        if wanted.leaf_restarts {
            return Err(unsupported(
                "its graceful restart capability is for End-of-RIB only: it keeps nothing over a restart",
            ));
        }
        self.configure(wanted)?;
        // Its processes lock themselves up in their user's home, which a service's start would make.
        self.place.exec(&["mkdir", "-p", HOME])?;
        self.revive()
    }

    fn session(&self, link: Link) -> Result<Session> {
        let all = self.json(&["show", "neighbor", &link.node(self.transport)])?;
        let peer = &all["neighbors"][0];
        let state = peer["state"].as_str().unwrap_or("unknown").to_owned();
        let hold = ["timers", "session"].iter().find_map(|key| peer[key]["holdtime"].as_u64());
        Ok(Session { established: state == "Established", state, hold: hold.or_else(|| peer["holdtime"].as_u64()) })
    }

    fn received(&self) -> Result<BTreeMap<String, Received>> {
        let all = self.json(&["show", "rib", "detail", "in", "neighbor", &Link(0).node(self.transport)])?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let routes = all["rib"].as_array().into_iter().flatten();
        Ok(routes
            .map(|route| {
                let next_hop = text(&route["exit_nexthop"]);
                let kinds = ["communities", "large_communities", "extended_communities"];
                let communities = kinds.map(|kind| route[kind].to_string()).join(" ");
                (text(&route["prefix"]), Received { next_hop, as_path: text(&route["aspath"]), communities })
            })
            .collect())
    }

    fn table(&self) -> Result<BTreeSet<String>> {
        let all = self.json(&["show", "rib"])?;
        let routes = all["rib"].as_array().into_iter().flatten();
        Ok(routes.filter_map(|route| route["prefix"].as_str().map(str::to_owned)).collect())
    }

    fn reset(&mut self) -> Result<()> {
        self.bgpctl(&["neighbor", &Link(0).node(self.transport), "clear"]).map(drop)
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn configure(&mut self, wanted: &Wanted) -> Result<()> {
        self.transport = wanted.transport;
        let config = self.place.write("bgpd.conf", &configuration(wanted, &self.place.path("bgpd.sock")))?;
        // It insists that only its owner may read what may hold secrets.
        self.place.exec(&["chmod", "600", &config]).map(drop)
    }

    fn has_several_paths(&self) -> Result<(), &'static str> {
        Err("one path, with its identifier: of what it announces itself it has one of each prefix")
    }

    fn revive(&mut self) -> Result<()> {
        let config = self.place.path("bgpd.conf");
        self.process = Some(self.place.spawn("bgpd.log", &["/usr/sbin/bgpd", "-d", "-v", "-f", &config])?);
        self.place.listening(179)
    }

    fn announce(&mut self, route: &Route) -> Result<()> {
        self.bgpctl(&["network", "add", &route.prefix]).map(drop)
    }

    fn withdraw(&mut self, route: &Route) -> Result<()> {
        self.bgpctl(&["network", "delete", &route.prefix]).map(drop)
    }

    fn refresh(&mut self) -> Result<()> {
        self.bgpctl(&["neighbor", &Link(0).node(self.transport), "refresh"]).map(drop)
    }

    fn shutdown(&mut self, words: &str) -> Result<()> {
        self.bgpctl(&["neighbor", &Link(0).node(self.transport), "down", words]).map(drop)
    }

    fn announces_other_family(&self) -> Result<(), &'static str> {
        Err(
            "the leaf's routes are checked in the session's own family only: the portable version puts ::1 or 127.0.0.1 \
             into the next hop of the other one, which the node refuses",
        )
    }

    fn log(&self) -> String {
        self.place.tail("bgpd.log")
    }
}
