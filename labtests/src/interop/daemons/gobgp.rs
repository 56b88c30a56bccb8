//! GoBGP 3 and 4, asked through `gobgp -j`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::interop::daemon::{Daemon, Place, Received, Session, unsupported};
use crate::interop::wanted::{LEAF_ASN, LEAF_ID, Link, NODE_ASN, Route, Transport, Wanted};
use crate::{Spawned, eventually};

/// So many routes are added one by one; each costs a process.
const FEW: usize = 100;

#[derive(Debug)]
pub(crate) struct GoBgp {
    place: Place,
    programs: PathBuf,
    wanted: Wanted,
    transport: Transport,
    process: Option<Spawned>,
}

impl GoBgp {
    /// With `gobgp` and `gobgpd` of a folder.
    pub(crate) fn new(place: Place, programs: &Path) -> Self {
        Self {
            place,
            programs: programs.to_owned(),
            wanted: Wanted::default(),
            transport: Transport::V4,
            process: None,
        }
    }

    fn program(&self, name: &str) -> String {
        self.programs.join(name).to_string_lossy().into_owned()
    }

    fn gobgp(&self, words: &[&str]) -> Result<String> {
        self.place.exec(&[&[self.program("gobgp").as_str()], words].concat())
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        self.place.json(&[&[self.program("gobgp").as_str(), "-j"], words].concat())
    }

    fn run(&mut self, more: &[&str]) -> Result<()> {
        let (program, config) = (self.program("gobgpd"), self.place.path("gobgpd.toml"));
        let argv = [&program, "-f", &config, "--api-hosts", "127.0.0.1:50051", "--pprof-disable"];
        self.process = Some(self.place.spawn("gobgpd.log", &[&argv, more].concat())?);
        self.place.listening(50_051)?;
        self.place.listening(179)
    }

    fn fill(&self, wanted: &Wanted) -> Result<()> {
        if wanted.routes.len() > FEW {
            let file = self.place.folder.join("routes.mrt");
            fs::write(&file, table_dump(&wanted.routes)?)?;
            return eventually(Duration::from_secs(30), "the table takes all routes", || {
                self.gobgp(&["mrt", "inject", "global", &file.to_string_lossy()])?;
                let summary = self.json(&["global", "rib", "summary"])?;
                let there = ["num_path", "num_destination"].iter().find_map(|key| summary[key].as_u64()).unwrap_or(0);
                ensure!(there >= wanted.routes.len() as u64, "{there}: {summary}");
                Ok(())
            });
        }
        if let Some(prefix) = wanted.several_paths {
            for number in ["1", "2"] {
                self.gobgp(&["global", "rib", "-a", "ipv4", "add", prefix, "identifier", number, "med", number])?;
            }
        }
        wanted.routes.iter().try_for_each(|route| self.rib("add", route))
    }

    fn rib(&self, verb: &str, route: &Route) -> Result<()> {
        let family = if route.is_v6() { ("ipv6", Transport::V6) } else { ("ipv4", Transport::V4) };
        // An unspecified next hop becomes the session's own address, which is of the transport's family.
        let own = if route.is_v6() { "::" } else { "0.0.0.0" };
        let hop = if family.1 == self.transport { own.to_owned() } else { Link(0).leaf(family.1) };
        let mut words =
            ["global", "rib", "-a", family.0, verb, &route.prefix, "nexthop", &hop].map(str::to_owned).to_vec();
        if let Some((a, b)) = route.community {
            words.extend(["community".to_owned(), format!("{a}:{b}")]);
        }
        if let Some((a, b, c)) = route.large {
            words.extend(["large-community".to_owned(), format!("{a}:{b}:{c}")]);
        }
        if let Some((a, b)) = route.target {
            words.extend(["rt".to_owned(), format!("{a}:{b}")]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.gobgp(&words).map(drop)
    }
}

fn configuration(wanted: &Wanted) -> String {
    let listen: Vec<String> = wanted.links().map(|link| format!("\"{}\"", link.leaf(wanted.transport))).collect();
    let mut text = format!(
        "[global.config]\n  as = {LEAF_ASN}\n  router-id = \"{LEAF_ID}\"\n  local-address-list = [{}]\n",
        listen.join(", ")
    );
    for link in wanted.links() {
        let hold = wanted.leaf_hold;
        let _ = write!(
            text,
            "[[neighbors]]\n  [neighbors.config]\n    neighbor-address = \"{}\"\n    peer-as = {NODE_ASN}\n  \
             [neighbors.timers.config]\n    hold-time = {hold}\n    keepalive-interval = {}\n    connect-retry = 1\n    \
             idle-hold-time-after-reset = 1\n  [neighbors.transport.config]\n    passive-mode = {}\n    \
             local-address = \"{}\"\n",
            link.node(wanted.transport),
            hold / 3,
            wanted.leaf_passive,
            link.leaf(wanted.transport)
        );
        if let Some(key) = wanted.leaf_key {
            text = text.replace("    peer-as", &format!("    auth-password = \"{key}\"\n    peer-as"));
        }
        if wanted.ttl_security {
            text.push_str("  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255\n");
        }
        if let Some(seconds) = wanted.graceful {
            let _ = write!(
                text,
                "  [neighbors.graceful-restart.config]\n    enabled = true\n    notification-enabled = true\n    \
                 restart-time = {seconds}\n    deferral-time = 3\n    long-lived-enabled = {}\n",
                wanted.long_lived.is_some()
            );
        }
        for family in ["ipv4-unicast", "ipv6-unicast"] {
            let _ = write!(
                text,
                "  [[neighbors.afi-safis]]\n    [neighbors.afi-safis.config]\n      afi-safi-name = \"{family}\"\n"
            );
            if wanted.graceful.is_some() {
                text.push_str("    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true\n");
            }
            if wanted.several_paths.is_some() {
                text.push_str("    [neighbors.afi-safis.add-paths.config]\n      send-max = 8\n");
            }
            if let Some(seconds) = wanted.long_lived {
                let _ = write!(
                    text,
                    "    [neighbors.afi-safis.long-lived-graceful-restart.config]\n      enabled = true\n      \
                     restart-time = {seconds}\n"
                );
            }
        }
    }
    text
}

/// IPv4 routes as an MRT table dump of one peer (RFC 6396, section 4.3).
fn table_dump(routes: &[Route]) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut record = |subtype: u16, body: &[u8]| -> Result<()> {
        file.extend([0; 4]);
        file.extend([13_u16, subtype].map(u16::to_be_bytes).concat());
        file.extend(u32::try_from(body.len())?.to_be_bytes());
        file.extend(body);
        Ok(())
    };
    let id: Ipv4Addr = LEAF_ID.parse()?;
    let hop: Ipv4Addr = Link(0).leaf(Transport::V4).parse()?;
    let peer = [&id.octets()[..], &[0, 0, 0, 1, 2], &id.octets(), &id.octets(), &LEAF_ASN.to_be_bytes()].concat();
    record(1, &peer)?;
    // The last ones may be lost: version 3 ends before all of them are taken.
    for (number, route) in (0_u32..).zip(routes.iter().chain(routes.iter().take(2_000))) {
        let Some((network, length)) = route.prefix.split_once('/') else { bail!("{} has no length", route.prefix) };
        let (network, length): (Ipv4Addr, u8) = (network.parse()?, length.parse()?);
        let octets = network.octets();
        let network = octets.get(..usize::from(length.div_ceil(8))).unwrap_or(&octets);
        // ORIGIN IGP, an empty AS_PATH, NEXT_HOP.
        let attributes = [&[0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4][..], &hop.octets()].concat();
        let entry = [&[0; 6][..], &u16::try_from(attributes.len())?.to_be_bytes(), &attributes].concat();
        record(2, &[&number.to_be_bytes()[..], &[length], network, &[0, 1], &entry].concat())?;
    }
    Ok(file)
}

/// Protobuf's names differ between versions: `session_state: 6`, and words.
fn established(state: &Value) -> bool {
    state.as_u64() == Some(6) || state.as_str().is_some_and(|word| word.eq_ignore_ascii_case("established"))
}

impl Daemon for GoBgp {
    fn start(&mut self, wanted: &Wanted) -> Result<()> {
        if wanted.leaf_two_octet {
            return Err(unsupported("no setting turns the four-octet AS capability off"));
        }
        if wanted.bfd {
            return Err(unsupported("it has no BFD that this version's configuration could turn on"));
        }
        if wanted.unnumbered {
            return Err(unsupported("it sends no router advertisements, by which the node would find it"));
        }
        if wanted.leaf_role.is_some() {
            return Err(unsupported("it has no roles"));
        }
        self.configure(wanted)?;
        self.run(&[])?;
        self.fill(wanted)
    }

    fn session(&self, link: Link) -> Result<Session> {
        let peer = self.json(&["neighbor", &link.node(self.transport)])?;
        let state = &peer["state"]["session_state"];
        let hold = ["negotiated_hold_time", "hold_time"].iter().find_map(|key| peer["timers"]["state"][key].as_f64());
        Ok(Session { established: established(state), state: state.to_string(), hold: hold.map(|hold| hold as u64) })
    }

    fn received(&self) -> Result<BTreeMap<String, Received>> {
        let node = Link(0).node(self.transport);
        let mut found = BTreeMap::new();
        for family in ["ipv4", "ipv6"] {
            let all = self.json(&["neighbor", &node, "adj-in", "-a", family])?;
            for (prefix, paths) in all.as_object().into_iter().flatten() {
                let Some(path) = paths.get(0) else { bail!("{prefix} has no path") };
                let mut route = Received::default();
                for attribute in path["attrs"].as_array().into_iter().flatten() {
                    match attribute["type"].as_u64() {
                        Some(2) => {
                            let numbers = attribute["as_paths"].as_array().into_iter().flatten();
                            let numbers = numbers.flat_map(|segment| segment["asns"].as_array().into_iter().flatten());
                            route.as_path = numbers.map(Value::to_string).collect::<Vec<_>>().join(" ");
                        }
                        Some(3 | 14) => {
                            attribute["nexthop"].as_str().unwrap_or_default().clone_into(&mut route.next_hop);
                        }
                        Some(8 | 16 | 32) => {
                            let kinds = ["communities", "value"].map(|key| attribute[key].to_string());
                            let _ = write!(route.communities, "{} ", kinds.join(" "));
                        }
                        _ => {}
                    }
                }
                found.insert(prefix.clone(), route);
            }
        }
        Ok(found)
    }

    fn table(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        for family in ["ipv4", "ipv6"] {
            let all = self.json(&["global", "rib", "-a", family])?;
            found.extend(all.as_object().into_iter().flatten().map(|(prefix, _)| prefix.clone()));
        }
        Ok(found)
    }

    fn reset(&mut self) -> Result<()> {
        self.gobgp(&["neighbor", &Link(0).node(self.transport), "reset"]).map(drop)
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn configure(&mut self, wanted: &Wanted) -> Result<()> {
        (self.transport, self.wanted) = (wanted.transport, wanted.clone());
        self.place.write("gobgpd.toml", &configuration(wanted)).map(drop)
    }

    fn revive(&mut self) -> Result<()> {
        // Its routes are no part of its configuration: without the wait it would say End-of-RIB before it has them.
        let rules = "add table inet filling; add chain inet filling input { type filter hook input priority 0; }; \
                     add rule inet filling input tcp dport 179 drop";
        self.place.exec(&["nft", rules])?;
        self.run(&["-r"])?;
        self.fill(&self.wanted)?;
        self.place.exec(&["nft", "delete table inet filling"]).map(drop)
    }

    fn announce(&mut self, route: &Route) -> Result<()> {
        self.rib("add", route)
    }

    fn withdraw(&mut self, route: &Route) -> Result<()> {
        self.rib("del", route)
    }

    fn refresh(&mut self) -> Result<()> {
        self.gobgp(&["neighbor", &Link(0).node(self.transport), "softresetin"]).map(drop)
    }

    fn shutdown(&mut self, words: &str) -> Result<()> {
        self.gobgp(&["neighbor", &Link(0).node(self.transport), "shutdown", "--reason", words]).map(drop)
    }

    fn log(&self) -> String {
        self.place.tail("gobgpd.log")
    }
}
