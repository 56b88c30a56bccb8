//! BIRD 2, asked through birdc, which writes for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use crate::Spawned;
use crate::interop::daemon::{Daemon, Place, Received, Session};
use crate::interop::wanted::{LEAF_ASN, LEAF_ID, Link, NODE_ASN, Route, Transport, Wanted};

#[derive(Debug)]
pub(crate) struct Bird {
    place: Place,
    wanted: Wanted,
    process: Option<Spawned>,
}

impl Bird {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, wanted: Wanted::default(), process: None }
    }

    fn run(&mut self, more: &[&str]) -> Result<()> {
        let [config, socket, pid] = ["bird.conf", "bird.ctl", "bird.pid"].map(|name| self.place.path(name));
        let argv = ["bird", "-f", "-c", &config, "-s", &socket, "-P", &pid];
        self.process = Some(self.place.spawn("bird.out", &[&argv, more].concat())?);
        self.place.listening(179)
    }

    /// The session's name; one that came of a range of neighbours has its own.
    fn protocol(&self, link: Link) -> String {
        if self.wanted.unnumbered { format!("dynbgp{}", link.0 + 1) } else { format!("node{}", link.0) }
    }

    fn birdc(&self, words: &[&str]) -> Result<String> {
        let socket = self.place.path("bird.ctl");
        self.place.exec(&[&["birdc", "-s", &socket], words].concat())
    }

    fn reconfigure(&self) -> Result<()> {
        self.place.write("bird.conf", &configuration(&self.wanted, &self.place.path("bird.log")))?;
        self.birdc(&["configure"]).map(drop)
    }
}

fn configuration(wanted: &Wanted, log: &str) -> String {
    let mut text = format!("log \"{log}\" all;\nrouter id {LEAF_ID};\nprotocol device {{}}\n");
    for (family, v6) in [("ipv4", false), ("ipv6", true)] {
        let _ = writeln!(text, "protocol static routes_{family} {{\n  {family};");
        for route in wanted.routes.iter().filter(|route| route.is_v6() == v6) {
            let _ = write!(text, "  route {} blackhole {{", route.prefix);
            if let Some((a, b)) = route.community {
                let _ = write!(text, " bgp_community.add(({a}, {b}));");
            }
            if let Some((a, b, c)) = route.large {
                let _ = write!(text, " bgp_large_community.add(({a}, {b}, {c}));");
            }
            if let Some((a, b)) = route.target {
                let _ = write!(text, " bgp_ext_community.add((rt, {a}, {b}));");
            }
            text.push_str(" };\n");
        }
        text.push_str("}\n");
    }
    if let Some(prefix) = wanted.several_paths {
        for number in 1..=2 {
            let _ = writeln!(
                text,
                "protocol static path{number} {{ ipv4 {{ preference {number}; }}; route {prefix} blackhole; }}"
            );
        }
    }
    if wanted.bfd {
        text.push_str(
            "protocol bfd { interface \"eth*\" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }\n",
        );
    }
    if wanted.unnumbered {
        for link in wanted.links() {
            let _ = writeln!(
                text,
                "protocol radv {{ interface \"{}\" {{ min ra interval 3; max ra interval 4; default lifetime 0; }}; }}",
                link.interface()
            );
        }
    }
    for link in wanted.links() {
        let (leaf, node) = (link.leaf(wanted.transport), link.node(wanted.transport));
        let remote = if wanted.leaf_two_octet { "external".to_owned() } else { format!("as {NODE_ASN}") };
        let ends = if wanted.unnumbered {
            format!("local as {LEAF_ASN}; neighbor range fe80::/10 external; interface \"{}\";", link.interface())
        } else {
            format!("local {leaf} as {LEAF_ASN}; neighbor {node} {remote};")
        };
        let _ = writeln!(
            text,
            "protocol bgp node{} {{\n  {ends}\n  hold time {};\n  \
             connect retry time 1;\n  connect delay time 1;\n  error wait time 1, 2;",
            link.0, wanted.leaf_hold
        );
        if wanted.leaf_passive {
            text.push_str("  passive on;\n");
        }
        if wanted.leaf_two_octet {
            text.push_str("  enable as4 off;\n");
        }
        if let Some(seconds) = wanted.graceful {
            let _ = writeln!(text, "  graceful restart on;\n  graceful restart time {seconds};");
        }
        if let Some(seconds) = wanted.long_lived {
            let _ = writeln!(text, "  long lived graceful restart on;\n  long lived stale time {seconds};");
        }
        if let Some(role) = wanted.leaf_role {
            let _ = writeln!(text, "  local role {role};");
        }
        if let Some(key) = wanted.leaf_key {
            let _ = writeln!(text, "  password \"{key}\";");
        }
        if wanted.bfd {
            text.push_str("  bfd on;\n");
        }
        if wanted.ttl_security {
            text.push_str("  ttl security on;\n");
        }
        for (family, other) in [("ipv4", Transport::V4), ("ipv6", Transport::V6)] {
            let own = if other == wanted.transport { String::new() } else { link.leaf(other) };
            let own = if wanted.unnumbered { String::new() } else { own };
            let extended = if wanted.unnumbered && family == "ipv4" { " extended next hop on;" } else { "" };
            let paths = if wanted.several_paths.is_some() { " add paths tx;" } else { "" };
            let hop = if own.is_empty() { own } else { format!(" next hop address {own};") };
            let _ =
                writeln!(text, "  {family} {{ import all; export where source = RTS_STATIC;{hop}{extended}{paths} }};");
        }
        text.push_str("}\n");
    }
    text
}

/// The text after a label of `show protocols all`.
fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.trim().strip_prefix(label)?.trim()))
}

impl Daemon for Bird {
    fn start(&mut self, wanted: &Wanted) -> Result<()> {
        self.configure(wanted)?;
        self.run(&[])
    }

    fn session(&self, link: Link) -> Result<Session> {
        let text = self.birdc(&["show", "protocols", "all", &self.protocol(link)])?;
        let state = after(&text, "BGP state:").unwrap_or("unknown").to_owned();
        // `Hold timer: 7.093/9`: what is left, and the whole.
        let hold = after(&text, "Hold timer:").and_then(|timer| timer.split_once('/')?.1.trim().parse().ok());
        Ok(Session { established: state == "Established", state, hold })
    }

    fn received(&self) -> Result<BTreeMap<String, Received>> {
        let text = self.birdc(&["show", "route", "all", "protocol", &self.protocol(Link(0))])?;
        let mut found: BTreeMap<String, Received> = BTreeMap::new();
        let mut prefix = String::new();
        for line in text.lines() {
            let first = line.split_ascii_whitespace().next().unwrap_or_default();
            if !line.starts_with(['\t', ' ']) && first.contains('/') {
                first.clone_into(&mut prefix);
                found.insert(prefix.clone(), Received::default());
            } else if let Some(route) = found.get_mut(&prefix) {
                if let Some(path) = line.trim().strip_prefix("BGP.as_path:") {
                    path.trim().clone_into(&mut route.as_path);
                } else if let Some((_, all)) = line.split_once("community:") {
                    let _ = write!(route.communities, "{} ", all.trim());
                } else if let Some(hop) = line.trim().strip_prefix("BGP.next_hop:") {
                    hop.split_ascii_whitespace()
                        .find(|word| *word != "::")
                        .unwrap_or_default()
                        .clone_into(&mut route.next_hop);
                }
            }
        }
        Ok(found)
    }

    fn reset(&mut self) -> Result<()> {
        self.birdc(&["restart", &self.protocol(Link(0))]).map(drop)
    }

    fn kill(&mut self) {
        self.process = None;
    }

    fn configure(&mut self, wanted: &Wanted) -> Result<()> {
        self.wanted = wanted.clone();
        self.place.write("bird.conf", &configuration(wanted, &self.place.path("bird.log"))).map(drop)
    }

    fn revive(&mut self) -> Result<()> {
        self.run(&["-R"])
    }

    fn announce(&mut self, route: &Route) -> Result<()> {
        self.wanted.routes.push(route.clone());
        self.reconfigure()
    }

    fn withdraw(&mut self, route: &Route) -> Result<()> {
        self.wanted.routes.retain(|known| known != route);
        self.reconfigure()
    }

    fn refresh(&mut self) -> Result<()> {
        self.birdc(&["reload", "in", "node0"]).map(drop)
    }

    fn shutdown(&mut self, words: &str) -> Result<()> {
        self.birdc(&["disable", "node0", &format!("\"{words}\"")]).map(drop)
    }

    fn log(&self) -> String {
        self.place.tail("bird.log")
    }
}
