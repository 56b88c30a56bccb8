//! ExaBGP 4 and 5: it says what happens as JSON lines to a process of its configuration, and takes commands from it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::Spawned;
use crate::interop::daemon::{Daemon, Place, Received, Session, unsupported};
use crate::interop::wanted::{LEAF_ASN, LEAF_ID, Link, NODE_ASN, Route, Transport, Wanted};

const CONFIG: &str = "exabgp.conf";

/// What stands for a number of four octets (RFC 6793, section 9).
const AS_TRANS: u32 = 23_456;

#[derive(Debug)]
pub(crate) struct ExaBgp {
    place: Place,
    program: Vec<String>,
    argv: Vec<String>,
    transport: Transport,
    process: Option<Spawned>,
}

impl ExaBgp {
    /// `program` is the executable and the words before the configuration file.
    pub(crate) fn new(place: Place, program: Vec<String>) -> Self {
        Self { place, program, argv: Vec::new(), transport: Transport::V4, process: None }
    }

    fn command(&self, text: &str) -> Result<()> {
        let path = self.place.folder.join("commands");
        let mut file = OpenOptions::new().append(true).open(&path).with_context(|| path.display().to_string())?;
        Ok(writeln!(file, "{text}")?)
    }

    /// Everything it said of its session over a link, oldest first.
    fn events(&self, link: Link) -> Vec<Value> {
        let text = fs::read_to_string(self.place.folder.join("events")).unwrap_or_default();
        let node = link.node(self.transport);
        let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["neighbor"]["address"]["peer"] == node.as_str()).collect()
    }
}

fn route_text(route: &Route, transport: Transport) -> String {
    let own = if route.is_v6() { Transport::V6 } else { Transport::V4 };
    let hop = if own == transport { "self".to_owned() } else { Link(0).leaf(own) };
    let mut text = format!("route {} next-hop {hop}", route.prefix);
    if let Some((a, b)) = route.community {
        let _ = write!(text, " community [{a}:{b}]");
    }
    if let Some((a, b, c)) = route.large {
        let _ = write!(text, " large-community [{a}:{b}:{c}]");
    }
    if let Some((a, b)) = route.target {
        let _ = write!(text, " extended-community [target:{a}:{b}]");
    }
    text
}

fn configuration(wanted: &Wanted, script: &str) -> String {
    let mut text = format!("process watch {{\n  run /bin/sh {script};\n  encoder json;\n}}\n");
    for link in wanted.links() {
        let _ = write!(
            text,
            "neighbor {} {{\n  router-id {LEAF_ID};\n  local-address {};\n  local-as {LEAF_ASN};\n  peer-as {};\n  \
             hold-time {};\n  passive {};\n  family {{ ipv4 unicast; ipv6 unicast; }}\n  capability {{ asn4 {}; \
             route-refresh enable;{}{} }}\n  api {{ processes [ watch ]; neighbor-changes; receive {{ parsed; open; update; \
             notification; refresh; }} }}\n  static {{\n",
            link.node(wanted.transport),
            link.leaf(wanted.transport),
            if wanted.leaf_two_octet { AS_TRANS } else { NODE_ASN },
            wanted.leaf_hold,
            wanted.leaf_passive,
            if wanted.leaf_two_octet { "disable" } else { "enable" },
            wanted.graceful.map(|seconds| format!(" graceful-restart {seconds};")).unwrap_or_default(),
            if wanted.several_paths.is_some() { " add-path send;" } else { "" },
        );
        for route in &wanted.routes {
            let _ = writeln!(text, "    {};", route_text(route, wanted.transport));
        }
        if let Some(prefix) = wanted.several_paths {
            for number in 1..=2 {
                let _ =
                    writeln!(text, "    route {prefix} next-hop self path-information 0.0.0.{number} med {number};");
            }
        }
        text.push_str("  }\n");
        if let Some(key) = wanted.leaf_key {
            let _ = writeln!(text, "  md5-password \"{key}\";");
        }
        if wanted.ttl_security {
            text.push_str("  outgoing-ttl 255;\n  incoming-ttl 255;\n");
        }
        text.push_str("}\n");
    }
    text
}

impl Daemon for ExaBgp {
    fn start(&mut self, wanted: &Wanted) -> Result<()> {
        if wanted.bfd {
            return Err(unsupported("it has no BFD"));
        }
        if wanted.unnumbered {
            return Err(unsupported("it sends no router advertisements, by which the node would find it"));
        }
        if wanted.graceful.is_some() && !wanted.leaf_restarts {
            return Err(unsupported("it has no table: it hands what it hears to a process, and forwards nothing"));
        }
        if wanted.long_lived.is_some() {
            return Err(unsupported("it has no long-lived graceful restart"));
        }
        if wanted.leaf_role.is_some() {
            return Err(unsupported("it has no roles"));
        }
        self.transport = wanted.transport;
        let (events, commands) = (self.place.write("events", "")?, self.place.write("commands", "")?);
        let script = format!("tail -n +1 -f {commands} &\nexec cat >>{events}\n");
        self.place.write("watch.sh", &script)?;
        self.configure(wanted)?;
        let mut argv = vec!["env".to_owned(), "TMPDIR=/tmp".to_owned()];
        let listen: Vec<String> = wanted.links().map(|link| link.leaf(wanted.transport)).collect();
        for (key, value) in [
            ("tcp.bind", listen.join(" ").as_str()),
            ("tcp.port", "179"),
            ("daemon.drop", "false"),
            ("daemon.user", "root"),
            ("api.cli", "false"),
            ("api.ack", "false"),
            ("log.destination", "stdout"),
            ("log.level", "INFO"),
        ] {
            argv.push(format!("exabgp.{key}={value}"));
        }
        argv.extend(self.program.iter().cloned());
        argv.push(self.place.path(CONFIG));
        self.argv = argv;
        self.revive()
    }

    fn session(&self, link: Link) -> Result<Session> {
        let events = self.events(link);
        let state = events.iter().rev().find_map(|event| event["neighbor"]["state"].as_str());
        let offered = |direction: &str| {
            let mut opens = events.iter().rev().filter(|event| event["type"] == "open");
            let open = opens.find(|event| event["neighbor"]["direction"] == direction)?;
            open["neighbor"]["message"]["open"]["hold_time"].as_u64()
        };
        let hold = offered("send").zip(offered("receive")).map(|(ours, theirs)| ours.min(theirs));
        let state = state.unwrap_or("unknown").to_owned();
        Ok(Session { established: state == "up", state, hold })
    }

    fn received(&self) -> Result<BTreeMap<String, Received>> {
        let mut found = BTreeMap::new();
        for event in self.events(Link(0)) {
            if event["neighbor"]["state"] == "down" {
                found.clear();
            }
            let update = &event["neighbor"]["message"]["update"];
            let numbers = &update["attribute"]["as-path"];
            // Version 4 writes a list, version 5 segments by number.
            let segments =
                numbers.as_object().into_iter().flat_map(|all| all.values()).filter_map(|s| s["value"].as_array());
            let numbers = numbers.as_array().into_iter().chain(segments).flatten();
            let as_path = numbers.map(Value::to_string).collect::<Vec<_>>().join(" ");
            let kinds = ["community", "large-community", "extended-community"];
            let communities = kinds.map(|kind| update["attribute"][kind].to_string()).join(" ");
            for family in ["ipv4 unicast", "ipv6 unicast"] {
                for (hop, list) in update["announce"][family].as_object().into_iter().flatten() {
                    for prefix in list.as_array().into_iter().flatten().filter_map(|entry| entry["nlri"].as_str()) {
                        found.insert(
                            prefix.to_owned(),
                            Received {
                                next_hop: hop.clone(),
                                as_path: as_path.clone(),
                                communities: communities.clone(),
                            },
                        );
                    }
                }
                for entry in update["withdraw"][family].as_array().into_iter().flatten() {
                    entry["nlri"].as_str().map(|prefix| found.remove(prefix));
                }
            }
        }
        Ok(found)
    }

    fn reset(&mut self) -> Result<()> {
        self.command(&format!("neighbor {} teardown 4", Link(0).node(self.transport)))
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn configure(&mut self, wanted: &Wanted) -> Result<()> {
        let text = configuration(wanted, &self.place.path("watch.sh"));
        self.place.write(CONFIG, &text).map(drop)
    }

    fn revive(&mut self) -> Result<()> {
        let argv: Vec<&str> = self.argv.iter().map(String::as_str).collect();
        self.process = Some(self.place.spawn("exabgp.log", &argv)?);
        self.place.listening(179)
    }

    fn announce(&mut self, route: &Route) -> Result<()> {
        self.command(&format!("announce {}", route_text(route, self.transport)))
    }

    fn withdraw(&mut self, route: &Route) -> Result<()> {
        self.command(&format!("withdraw {}", route_text(route, self.transport)))
    }

    fn refresh(&mut self) -> Result<()> {
        self.command("announce route-refresh ipv4 unicast")?;
        self.command("announce route-refresh ipv6 unicast")
    }

    fn shutdown(&mut self, _words: &str) -> Result<()> {
        // It says words of its own.
        self.command(&format!("neighbor {} teardown 2", Link(0).node(self.transport)))
    }

    fn log(&self) -> String {
        self.place.tail("exabgp.log")
    }
}
