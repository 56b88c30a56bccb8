//! Who is who in the reference fabric, by its address plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::fabric::LEAVES;

/// Both address families, in the order in which tests go through them.
pub const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of a prefix or an address in text.
    pub fn of(text: &str) -> Self {
        if text.contains(':') { Self::V6 } else { Self::V4 }
    }

    /// As FRR calls it.
    pub fn frr(self) -> &'static str {
        self.pick("ipv4", "ipv6")
    }

    /// As an option of `ip`.
    pub fn ip(self) -> &'static str {
        self.pick("-4", "-6")
    }

    /// The one or the other.
    pub fn pick<T>(self, v4: T, v6: T) -> T {
        match self {
            Self::V4 => v4,
            Self::V6 => v6,
        }
    }
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Has pod blocks.
    Worker,
    /// Has the anycast address, and a member of etcd.
    Master,
    /// Has the service range.
    Ingress,
}

/// A node with an agent.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name in the topology.
    pub name: &'static str,
    /// Its number in the plan.
    pub number: u32,
    /// What it is for.
    pub role: Role,
    /// Its uplinks from eth1 on: leaf (from 1) and port on that leaf (from 0).
    pub uplinks: &'static [(u32, u32)],
}

/// One end of a link, both ends' addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    /// The leaf's name.
    pub leaf: &'static str,
    /// The leaf's interface.
    pub leaf_interface: String,
    /// The node's interface.
    pub interface: String,
    /// The leaf's address.
    pub gateway: String,
    /// The node's address.
    pub address: String,
}

const fn member(name: &'static str, number: u32, role: Role, uplinks: &'static [(u32, u32)]) -> Member {
    Member { name, number, role, uplinks }
}

/// All nodes with an agent.
pub const MEMBERS: [Member; 9] = [
    member("master1", 1, Role::Master, &[(1, 1)]),
    member("master2", 2, Role::Master, &[(2, 1)]),
    member("master3", 3, Role::Master, &[(3, 1)]),
    member("ingress1", 4, Role::Ingress, &[(3, 2)]),
    member("ingress2", 5, Role::Ingress, &[(4, 1)]),
    member("worker1", 11, Role::Worker, &[(1, 0)]),
    member("worker2", 12, Role::Worker, &[(2, 0)]),
    member("worker3", 13, Role::Worker, &[(3, 0)]),
    member("worker4", 14, Role::Worker, &[(4, 0), (3, 3)]),
];

/// The members of a role.
pub fn members(role: Role) -> impl Iterator<Item = &'static Member> {
    MEMBERS.iter().filter(move |member| member.role == role)
}

/// The anycast address as a prefix.
pub fn anycast(family: Family) -> &'static str {
    family.pick("10.122.255.1/32", "fd00:122:ffff::1/128")
}

/// The service range.
pub fn services(family: Family) -> &'static str {
    family.pick("10.123.0.0/17", "fd00:123::/112")
}

/// AS 65000+l.
pub fn leaf_as(leaf: u32) -> u32 {
    65_000 + leaf
}

/// The number of a leaf by its name, or None for another switch.
pub fn leaf_number(switch: &str) -> Option<u32> {
    switch.strip_prefix("leaf")?.parse().ok()
}

impl Member {
    /// Of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        MEMBERS.iter().find(|member| member.name == name)
    }

    /// Its AS.
    pub fn asn(&self) -> u32 {
        4_200_000_000 + self.number
    }

    /// Its own address, which is also its router id and the source of its learned routes.
    pub fn address(&self, family: Family) -> String {
        family.pick(format!("10.122.0.{}", self.number), format!("fd00:122::{}", self.number))
    }

    /// The same as a host route.
    pub fn host(&self, family: Family) -> String {
        format!("{}/{}", self.address(family), family.pick(32, 128))
    }

    /// Its links to leaves.
    pub fn links(&self, family: Family) -> Vec<Uplink> {
        let link = |(own, (leaf, port)): (u32, &(u32, u32))| {
            let end = |last: u32| match family {
                Family::V4 => format!("10.122.{}.{}", 100 + leaf, 2 * port + last),
                // As the kernel and FRR write it: the longest run of zeros is left out.
                Family::V6 if *port == 0 && last == 0 => format!("fd00:122:{}::", 100 + leaf),
                Family::V6 if *port == 0 => format!("fd00:122:{}::{last}", 100 + leaf),
                Family::V6 if last == 0 => format!("fd00:122:{}:{port}::", 100 + leaf),
                Family::V6 => format!("fd00:122:{}:{port}::{last}", 100 + leaf),
            };
            Uplink {
                leaf: LEAVES.get(*leaf as usize - 1).copied().unwrap_or_default(),
                leaf_interface: format!("eth{}", 3 + port),
                interface: format!("eth{own}"),
                gateway: end(0),
                address: end(1),
            }
        };
        (1..).zip(self.uplinks).map(link).collect()
    }

    /// The numbers of its leaves.
    pub fn leaves(&self) -> impl Iterator<Item = u32> {
        self.uplinks.iter().map(|(leaf, _)| *leaf)
    }

    /// What it has a right to announce, with these blocks.
    pub fn owns(&self, family: Family, blocks: &Blocks) -> BTreeSet<String> {
        let mut owns = BTreeSet::from([self.host(family)]);
        match self.role {
            Role::Worker => {
                let blocks = blocks.get(self.name).into_iter().flatten();
                owns.extend(blocks.filter(|block| Family::of(block) == family).cloned());
            }
            Role::Master => drop(owns.insert(anycast(family).to_owned())),
            Role::Ingress => drop(owns.insert(services(family).to_owned())),
        }
        owns
    }

    /// The gateways by which it should reach a prefix that these announce: the uplinks with the shortest AS path.
    pub fn gateways_to(&self, owners: &[&Self], family: Family) -> Vec<String> {
        let hops = |leaf: u32| if owners.iter().any(|owner| owner.leaves().any(|l| l == leaf)) { 2 } else { 4 };
        let shortest = self.leaves().map(hops).min();
        let links = self.leaves().zip(self.links(family));
        let mut gateways: Vec<String> =
            links.filter(|(leaf, _)| Some(hops(*leaf)) == shortest).map(|(_, link)| link.gateway).collect();
        gateways.sort();
        gateways
    }
}

/// Blocks by the name of the node that they belong to.
pub type Blocks = BTreeMap<String, BTreeSet<String>>;

/// Which prefix belongs to whom, by these blocks: everything that any node announces.
pub fn owners(family: Family, blocks: &Blocks) -> BTreeMap<String, Vec<&'static Member>> {
    let mut owners: BTreeMap<String, Vec<&'static Member>> = BTreeMap::new();
    for member in &MEMBERS {
        for prefix in member.owns(family, blocks) {
            owners.entry(prefix).or_default().push(member);
        }
    }
    owners
}

/// The AS paths that a switch may use for a prefix that these members announce, and how many it must use: by its place
/// in the fabric, its own rack's members first.
pub fn positions(switch: &str, owners: &[&Member]) -> (BTreeSet<Vec<u32>>, usize) {
    let Some(own) = leaf_number(switch) else {
        // A spine: one path by each leaf of an owner. A leaf with two owners tells of one of them.
        let racks: BTreeSet<u32> = owners.iter().flat_map(|owner| owner.leaves()).collect();
        let path = |owner: &&Member| {
            let asn = owner.asn();
            owner.leaves().map(move |leaf| vec![leaf_as(leaf), asn]).collect::<Vec<_>>()
        };
        return (owners.iter().flat_map(path).collect(), racks.len());
    };
    let near: BTreeSet<Vec<u32>> =
        owners.iter().filter(|owner| owner.leaves().any(|leaf| leaf == own)).map(|owner| vec![owner.asn()]).collect();
    if !near.is_empty() {
        let count = near.len();
        return (near, count);
    }
    let far = |owner: &&Member| {
        let asn = owner.asn();
        owner.leaves().map(move |leaf| vec![64_600, leaf_as(leaf), asn]).collect::<Vec<_>>()
    };
    // One by each spine.
    (owners.iter().flat_map(far).collect(), 2)
}
