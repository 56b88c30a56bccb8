//! The kernel agrees with what the leaves send, whatever changes on either side; and what is not ours stays as it is.
//!
//! What should be there is worked out here from the leaves' own tables (`advertised-routes`), by the rules of RFC 4271.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::fabric::{self, FAMILIES, Family, Member};
use petiole_labtests::{Lab, NodeHandle, Signal, check, eventually, throughout};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(60);
const CHANGES: usize = 100;
const ROUNDS: usize = 20;

/// Attributes that a leaf may give a route, as statements of a route-map.
const SHAPES: [&str; 6] = [
    "description plain",
    "set as-path prepend 64999",
    "set as-path prepend 64999 64998",
    "set metric 50",
    "set metric 7",
    "set origin incomplete",
];

/// What every leaf-side change is about. The first of each family is also an admin's, with the same metric as ours.
const PREFIXES: [&str; 22] = [
    "198.18.0.0/24",
    "198.18.1.0/24",
    "198.18.2.0/24",
    "198.18.3.0/24",
    "198.18.4.0/24",
    "198.18.4.0/25",
    "198.18.4.128/25",
    "198.18.5.0/24",
    "198.18.64.0/18",
    "198.19.0.0/16",
    "198.19.0.1/32",
    "198.19.0.2/32",
    "198.19.0.3/32",
    "203.0.113.128/26",
    "2001:db8:a::/48",
    "2001:db8:b::/48",
    "2001:db8:c::/48",
    "2001:db8:d::/48",
    "2001:db8:d:1::/64",
    "2001:db8:d::1/128",
    "2001:db8:e::/47",
    "2001:db8:f::/48",
];
const HELD: [&str; 2] = ["198.18.0.0/24", "2001:db8:a::/48"];

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not checked: needs root for network namespaces");
    }
    root
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    /// Of `LABTESTS_SEED`, else of the clock; printed, so that a failure can be had again.
    fn new() -> Result<Self> {
        let seed = match std::env::var("LABTESTS_SEED") {
            Ok(text) => text.parse().context("LABTESTS_SEED")?,
            Err(_) => SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.subsec_nanos().into(),
        };
        println!("seed {seed}: LABTESTS_SEED={seed} plays the same changes");
        Ok(Self(seed))
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap_or(0)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// A path as both sides show it: AS path and MED.
type Path = (Vec<u32>, Option<u64>);
/// Every path by prefix and leaf.
type Known = BTreeMap<(String, usize), Path>;
/// The leaves whose paths are used, by prefix.
type Used = BTreeMap<String, Vec<usize>>;
/// What the kernel has for a prefix: the gateways, or the kind of a route that has none.
type Kernel = BTreeMap<String, BTreeSet<String>>;

/// worker4 and its two leaves.
struct Field {
    member: &'static Member,
    node: NodeHandle,
    leaves: Vec<NodeHandle>,
    /// Its blocks and its own addresses: not to be learned.
    own: BTreeSet<String>,
    blocks: BTreeSet<String>,
}

impl Field {
    fn new(lab: &Lab) -> Result<Self> {
        let blocks = fabric::wait_settled(lab, SETTLE)?;
        let member = Member::named("worker4").context("no worker4")?;
        let leaves = member.links(Family::V4).iter().map(|link| lab.node(link.leaf)).collect::<Result<Vec<_>>>()?;
        let own = FAMILIES.iter().flat_map(|family| member.owns(*family, &blocks)).collect();
        let blocks = blocks.get(member.name).cloned().unwrap_or_default();
        for leaf in &leaves {
            let names = (0..SHAPES.len()).map(|n| format!("route-map SHAPE{n} permit 10"));
            let lines: Vec<String> = names.zip(SHAPES).flat_map(|(name, shape)| [name, shape.to_owned()]).collect();
            leaf.vtysh_configure(&lines.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        Ok(Self { member, node: lab.node("worker4")?, leaves, own, blocks })
    }

    /// What a leaf sends to the node, by its own table: prefix to AS path, origin and MED.
    fn sent(&self, leaf: usize) -> Result<BTreeMap<String, (Path, u8)>> {
        let links = self.member.links(Family::V4);
        let session = &links.get(leaf).context("no such uplink")?.address;
        let handle = &self.leaves[leaf];
        let commands =
            FAMILIES.map(|f| format!("show bgp {} unicast neighbors {session} advertised-routes json", f.frr()));
        let text = handle.exec(&["vtysh", "-c", &commands[0], "-c", &commands[1]])?;
        let asn = fabric::leaf_as(fabric::leaf_number(handle.name()).context("not a leaf")?);
        let mut sent = BTreeMap::new();
        for table in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            for (prefix, route) in table?["advertisedRoutes"].as_object().into_iter().flatten() {
                let path = route["path"].as_str().unwrap_or_default();
                let mut ases = vec![asn];
                for hop in path.split_ascii_whitespace() {
                    ases.push(hop.parse().with_context(|| format!("AS path {path}"))?);
                }
                let origin = match route["bgpOriginCode"].as_str() {
                    Some("i") => 0,
                    Some("e") => 1,
                    _ => 2,
                };
                sent.insert(prefix.clone(), ((ases, route["metric"].as_u64()), origin));
            }
        }
        Ok(sent)
    }

    /// All paths that should be known, and the leaves whose paths should be used, by prefix.
    fn expected(&self) -> Result<(Known, Used)> {
        let mut known = BTreeMap::new();
        let mut best: BTreeMap<String, ((usize, u8), Vec<usize>)> = BTreeMap::new();
        for leaf in 0..self.leaves.len() {
            for (prefix, (path, origin)) in self.sent(leaf)? {
                known.insert((prefix.clone(), leaf), path.clone());
                if path.0.contains(&self.member.asn()) || self.own.contains(&prefix) {
                    continue;
                }
                let rank = (path.0.len(), origin);
                let entry = best.entry(prefix).or_insert((rank, Vec::new()));
                if rank < entry.0 {
                    *entry = (rank, vec![leaf]);
                } else if rank == entry.0 {
                    entry.1.push(leaf);
                }
            }
        }
        Ok((known, best.into_iter().map(|(prefix, (_, leaves))| (prefix, leaves)).collect()))
    }

    /// The routes with our protocol in the kernel.
    fn kernel(&self) -> Result<Kernel> {
        let mut kernel = Kernel::new();
        for family in FAMILIES {
            let routes = self.node.ip_json(&[family.ip(), "route", "show", "proto", "179"])?;
            for route in routes.as_array().into_iter().flatten() {
                let dst = route["dst"].as_str().unwrap_or_default();
                let prefix = match dst {
                    "default" => family.pick("0.0.0.0/0", "::/0").to_owned(),
                    dst if dst.contains('/') => dst.to_owned(),
                    dst => format!("{dst}/{}", family.pick(32, 128)),
                };
                ensure!(route["metric"] == 1024, "{route}");
                let hops = route["nexthops"].as_array().map_or_else(|| vec![route], |hops| hops.iter().collect());
                let gateways = hops.iter().filter_map(|hop| hop["gateway"].as_str()).map(str::to_owned);
                let mut ways: BTreeSet<String> = gateways.collect();
                if ways.is_empty() {
                    ways.insert(route["type"].as_str().unwrap_or("none").to_owned());
                } else {
                    ensure!(route["prefsrc"] == self.member.address(family).as_str(), "{route}");
                }
                ensure!(kernel.insert(prefix, ways).is_none(), "twice in the kernel: {route}");
            }
        }
        Ok(kernel)
    }

    /// The leaves' tables, our Loc-RIB and the kernel say the same. `held` are prefixes that a foreign route holds.
    fn agrees(&self, held: &[&str]) -> Result<()> {
        let (known, best) = self.expected()?;
        let links = FAMILIES.map(|family| self.member.links(family));
        let received = self.node.petiole_json(&["bgp", "routes", "received"])?;
        let mut ours: BTreeMap<(String, usize), Path> = BTreeMap::new();
        let mut used: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for path in received.as_array().into_iter().flatten() {
            let prefix = path["prefix"].as_str().unwrap_or_default().to_owned();
            let leaf =
                links[0].iter().position(|link| path["peer"] == link.gateway.as_str()).context("no such peer")?;
            let as_path = path["as_path"].as_str().unwrap_or_default().split_ascii_whitespace();
            let as_path = as_path.map(str::parse).collect::<Result<Vec<u32>, _>>()?;
            if path["used"] == true {
                used.entry(prefix.clone()).or_default().push(leaf);
            }
            ours.insert((prefix, leaf), (as_path, path["med"].as_u64()));
        }
        same("paths", &known, &ours)?;
        used.values_mut().for_each(|leaves| leaves.sort_unstable());
        same("used paths", &best, &used)?;

        let mut kernel: Kernel =
            self.blocks.iter().map(|block| (block.clone(), BTreeSet::from(["blackhole".to_owned()]))).collect();
        for (prefix, leaves) in best {
            let family = Family::of(&prefix);
            let links = family.pick(&links[0], &links[1]);
            let connected = links.iter().any(|link| prefix == format!("{}/{}", link.gateway, family.pick(31, 127)));
            if !connected && !held.contains(&prefix.as_str()) {
                let ways = leaves.iter().filter_map(|leaf| links.get(*leaf)).map(|link| link.gateway.clone());
                kernel.insert(prefix, ways.collect());
            }
        }
        same("kernel's routes", &kernel, &self.kernel()?)
    }

    fn eventually_agrees(&self, what: &str, held: &[&str]) -> Result<()> {
        eventually(WITHIN, what, || self.agrees(held))
    }

    /// The routes over the admin's interface, of both families, word for word.
    fn foreign(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for family in FAMILIES {
            let routes = self.node.ip_json(&[family.ip(), "route", "show", "dev", "adm0"])?;
            let mut lines: Vec<String> = routes.as_array().into_iter().flatten().map(Value::to_string).collect();
            lines.sort();
            all.extend(lines);
        }
        Ok(all)
    }

    /// An admin's static route, a DHCP client's default, and routes with the prefix and the metric of ours.
    fn plant(&self) -> Result<Vec<String>> {
        self.node.sh("set -e
            ip link add adm0 type veth peer name adm1
            ip link set adm0 up
            ip link set adm1 up
            ip addr add 192.0.2.1/24 dev adm0
            ip addr add 2001:db8:ad::1/64 dev adm0 nodad
            ip route add 203.0.113.0/24 via 192.0.2.254 proto static
            ip route add default via 192.0.2.254 proto dhcp metric 100
            ip route add 198.18.0.0/24 via 192.0.2.254 proto static metric 1024
            ip route add 198.18.1.0/24 via 192.0.2.254 proto static metric 50
            ip route add 198.18.2.0/24 via 192.0.2.254 proto boot metric 2000
            ip -6 route add 2001:db8:77::/48 via 2001:db8:ad::fe proto static
            ip -6 route add default via 2001:db8:ad::fe proto ra metric 100
            ip -6 route add 2001:db8:a::/48 via 2001:db8:ad::fe proto static metric 1024
            ip -6 route add 2001:db8:b::/48 via 2001:db8:ad::fe proto static metric 50
            ip -6 route add 2001:db8:c::/48 via 2001:db8:ad::fe proto boot metric 2000")?;
        let planted = self.foreign()?;
        ensure!(planted.len() >= 12, "{planted:?}");
        Ok(planted)
    }
}

fn same<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: &BTreeMap<K, V>,
    seen: &BTreeMap<K, V>,
) -> Result<()> {
    let wrong = |key: &&K| expected.get(*key) != seen.get(*key);
    let keys: BTreeSet<&K> = expected.keys().chain(seen.keys()).filter(wrong).collect();
    let some: Vec<String> =
        keys.iter().take(6).map(|key| format!("{key:?}: {:?}, not {:?}", seen.get(*key), expected.get(*key))).collect();
    if some.is_empty() { Ok(()) } else { Err(anyhow!("{what}: {} differ: {}", keys.len(), some.join("; "))) }
}

/// Lines of configuration for a leaf, family by family.
fn configure(leaf: &NodeHandle, lines: &[(Family, String)]) -> Result<()> {
    let asn = fabric::leaf_as(fabric::leaf_number(leaf.name()).context("not a leaf")?);
    let mut all = vec![format!("router bgp {asn}")];
    for family in FAMILIES {
        all.push(format!("address-family {} unicast", family.frr()));
        all.extend(lines.iter().filter(|(f, _)| *f == family).map(|(_, line)| line.clone()));
        all.push("exit-address-family".to_owned());
    }
    leaf.vtysh_configure(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One round of random changes, told in words; they are made at once, not one after the other.
fn play(field: &Field, dice: &mut Dice, present: &mut [BTreeSet<&'static str>], count: usize) -> Result<Vec<String>> {
    let mut lines = vec![Vec::new(); field.leaves.len()];
    let mut on_node = Vec::new();
    let mut clears = Vec::new();
    let mut told = Vec::new();
    for _ in 0..count {
        let leaf = dice.below(field.leaves.len());
        let prefix = *dice.of(&PREFIXES);
        let family = Family::of(prefix);
        let ip = format!("ip {} route", family.ip());
        let by = &field.member.links(family)[leaf];
        let session = &field.member.links(Family::V4)[leaf].address;
        let change = match dice.below(20) {
            0..=9 => {
                let line = format!("network {prefix} route-map SHAPE{}", dice.below(SHAPES.len()));
                present[leaf].insert(prefix);
                lines[leaf].push((family, line.clone()));
                line
            }
            10..=13 if present[leaf].remove(prefix) => {
                lines[leaf].push((family, format!("no network {prefix}")));
                format!("no network {prefix}")
            }
            14 | 15 => {
                let line = format!("{ip} del {prefix} proto 179");
                on_node.push(line.clone());
                line
            }
            // `ip route change` asks for prefix and metric only: there it would change the admin's own route.
            16 | 17 if !HELD.contains(&prefix) => {
                let line =
                    format!("{ip} change {prefix} via {} dev {} proto 179 metric 1024", by.gateway, by.interface);
                on_node.push(line.clone());
                line
            }
            18 => {
                let line = format!("{ip} flush proto 179");
                on_node.push(line.clone());
                line
            }
            _ => {
                let soft = *dice.of(&["", " soft out", " soft in"]);
                let line = format!("clear bgp {session}{soft}");
                clears.push((leaf, line.clone()));
                line
            }
        };
        told.push(format!("{}: {change}", field.leaves[leaf].name()));
    }
    for (leaf, lines) in field.leaves.iter().zip(&lines).filter(|(_, lines)| !lines.is_empty()) {
        configure(leaf, lines)?;
    }
    if !on_node.is_empty() {
        // What is not there cannot be deleted or changed: no matter.
        field.node.sh(&(on_node.join(" 2>/dev/null\n") + " 2>/dev/null || true"))?;
    }
    for (leaf, line) in clears {
        field.leaves[leaf].exec(&["vtysh", "-c", &line])?;
    }
    Ok(told)
}

/// A link goes down, at the node's or at the leaf's end, and comes up again.
fn flap(field: &Field, dice: &mut Dice) -> Result<String> {
    let links = field.member.links(Family::V4);
    let link = dice.of(&links);
    let leaf = field.leaves.iter().find(|leaf| leaf.name() == link.leaf).context("no such leaf")?;
    let (end, interface) = *dice.of(&[(&field.node, &link.interface), (leaf, &link.leaf_interface)]);
    end.link_down(interface)?;
    let gone = &link.gateway;
    eventually(WITHIN, "no route of ours goes over the dead link", || {
        let kernel = field.kernel().map_err(|error| format!("{error:#}"))?;
        let left: Vec<_> = kernel.iter().filter(|(_, ways)| ways.contains(gone)).collect();
        check(left.is_empty(), format!("{left:?}"))
    })?;
    end.link_up(interface)?;
    Ok(format!("{}: {interface} down and up", end.name()))
}

#[test]
fn the_kernel_agrees_after_a_hundred_changes_and_foreign_routes_survive_everything() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let lab = fabric::clos("drift")?;
    let field = Field::new(&lab)?;
    let mut dice = Dice::new()?;
    field.eventually_agrees("they agree at the start", &HELD)?;
    let planted = field.plant()?;
    let mut present = vec![BTreeSet::new(); field.leaves.len()];
    let mut made = 0;
    for round in 1..=ROUNDS {
        let mut told = Vec::new();
        let mut count = CHANGES / ROUNDS;
        if round % 5 == 0 {
            told.push(flap(&field, &mut dice)?);
            count -= 1;
        }
        told.extend(play(&field, &mut dice, &mut present, count)?);
        made += told.len();
        field.eventually_agrees(&format!("they agree after round {round}: {told:#?}"), &HELD)?;
        let foreign = field.foreign()?;
        ensure!(foreign == planted, "round {round}: {told:#?}\nforeign routes {foreign:#?}\nplanted {planted:#?}");
    }
    ensure!(made == CHANGES, "{made} changes");
    // The flush of everything, by hand and at once; and then the agent repairs it.
    field.node.sh("ip route flush proto 179; ip -6 route flush proto 179")?;
    field.eventually_agrees("all routes come back after a flush", &HELD)?;

    // The agent goes, in both ways: its routes stay for the next one, and an admin takes them away.
    for signal in [Signal::TERM, Signal::KILL] {
        let before = field.kernel()?;
        field.node.stop("agent", signal)?;
        throughout(Duration::from_millis(500), "routes of a stopped agent stay", || {
            let now = field.kernel().map_err(|error| format!("{error:#}"))?;
            // A leaf may have said more between the first look and the end of the agent, but nothing goes.
            let gone: Vec<&String> = before.keys().filter(|prefix| !now.contains_key(*prefix)).collect();
            check(gone.is_empty(), format!("gone: {gone:?}"))?;
            let foreign = field.foreign().map_err(|error| format!("{error:#}"))?;
            check(foreign == planted, format!("{foreign:#?}"))
        })?;
        field.node.start("agent")?;
        field.eventually_agrees("they agree after a restart", &HELD)?;
        ensure!(field.foreign()? == planted);
    }
    field.node.stop("agent", Signal::TERM)?;
    field.node.sh("ip route flush proto 179; ip -6 route flush proto 179")?;
    ensure!(field.kernel()?.is_empty());
    let foreign = field.foreign()?;
    ensure!(foreign == planted, "{foreign:#?}\nplanted {planted:#?}");
    lab.down()
}

/// An admin's route over one of ours, with the same prefix and metric: it wins and stays, and ours comes back after it.
#[test]
fn a_foreign_route_over_one_of_ours_is_not_taken_back() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let lab = fabric::clos("over")?;
    let field = Field::new(&lab)?;
    let planted = field.plant()?;
    let cases = [("198.18.3.0/24", "192.0.2.254"), ("2001:db8:d::/48", "2001:db8:ad::fe")];
    let prefixes = cases.map(|(prefix, _)| prefix);
    let all = [HELD.as_slice(), &prefixes].concat();
    let announce = |shape: usize| -> Result<()> {
        for leaf in &field.leaves {
            let lines = prefixes.map(|prefix| (Family::of(prefix), format!("network {prefix} route-map SHAPE{shape}")));
            configure(leaf, &lines)?;
        }
        Ok(())
    };
    announce(0)?;
    eventually(WITHIN, "both are learned over both leaves", || {
        let kernel = field.kernel().map_err(|error| format!("{error:#}"))?;
        let learned = prefixes.iter().all(|prefix| kernel.get(*prefix).is_some_and(|ways| ways.len() == 2));
        check(learned, format!("{kernel:?}"))
    })?;
    for (prefix, via) in cases {
        let ip = Family::of(prefix).ip();
        field.node.exec(&["ip", ip, "route", "replace", prefix, "via", via, "dev", "adm0", "metric", "1024"])?;
    }
    let replaced = field.foreign()?;
    ensure!(replaced.len() == planted.len() + 2, "{replaced:#?}");
    let untouched = |what: &str| -> Result<()> {
        field.eventually_agrees(what, &all)?;
        throughout(Duration::from_millis(500), what, || {
            let foreign = field.foreign().map_err(|error| format!("{error:#}"))?;
            check(foreign == replaced, format!("{foreign:#?}\nbefore {replaced:#?}"))
        })
    };
    untouched("the admin's routes stand")?;
    for prefix in prefixes {
        let why = field.node.petiole_json(&["why", prefix])?;
        ensure!(why["kernel"]["state"] == "held by a foreign route", "{why:#}");
    }
    announce(1)?;
    untouched("also when the leaves change theirs")?;
    field.node.stop("agent", Signal::KILL)?;
    field.node.start("agent")?;
    untouched("also after a restart")?;
    for leaf in &field.leaves {
        configure(leaf, &prefixes.map(|prefix| (Family::of(prefix), format!("no network {prefix}"))))?;
    }
    untouched("also when the leaves withdraw theirs")?;
    announce(0)?;
    untouched("also when the leaves announce again")?;
    for (prefix, via) in cases {
        let ip = Family::of(prefix).ip();
        field.node.exec(&["ip", ip, "route", "del", prefix, "via", via, "metric", "1024"])?;
    }
    field.eventually_agrees("ours are back once the admin's are gone", &HELD)?;
    ensure!(field.foreign()? == planted);
    lab.down()
}
