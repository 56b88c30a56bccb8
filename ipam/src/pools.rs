//! Pools: which of them this node may claim from, which are to be created, and why not.

mod change;

use std::collections::BTreeMap;

use petiole_prefix::{Family, Prefix};
use petiole_selector::{Selector, SelectorError};
use petiole_store::value::{Encapsulation, Pool};

use crate::problem::Problem;
use crate::types::{IpamSettings, PoolSpec};

/// So many pools are named where none can be used; the others are counted.
const MENTIONED: usize = 3;

/// A pool that may be claimed from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Usable {
    pub(crate) name: String,
    pub(crate) cidr: Prefix,
    pub(crate) block_size: u8,
}

impl Usable {
    /// How many blocks it has.
    pub(crate) fn count(&self) -> u128 {
        self.cidr.subnet_count(self.block_size)
    }
}

/// What the pools of the store and of the configuration amount to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Pools {
    /// Those that are assigned from without being asked for, in the order of their names.
    pub(crate) usable: Vec<Usable>,
    /// Those that are assigned from only when they are named.
    pub(crate) on_demand: Vec<Usable>,
    /// Those that are not usable: name to reason, in words.
    pub(crate) refused: BTreeMap<String, String>,
    /// Those of the configuration that the store lacks.
    pub(crate) missing: Vec<PoolSpec>,
    /// What an operator should know.
    pub(crate) problems: Vec<Problem>,
}

impl Pools {
    pub(crate) fn of(store: &BTreeMap<String, Pool>, settings: &IpamSettings) -> Self {
        let mut this = Self::default();
        for (name, pool) in store {
            let cidr = pool.spec.cidr;
            if let Some(problem) = conflict(name, pool, store, settings) {
                this.refused.insert(name.clone(), problem.to_string());
                this.problems.push(problem);
            } else if let Some(why) = unsupported(pool) {
                this.refused.insert(name.clone(), why.clone());
                this.problems.push(Problem::PoolRefused { name: name.clone(), cidr, why });
            } else if let Some(why) = taken(cidr, settings).filter(|_| not_for_pods(pool).is_none()) {
                this.refused.insert(name.clone(), why.clone());
                this.problems.push(Problem::PoolRefused { name: name.clone(), cidr, why });
            } else if settings.only_these && !settings.pools.iter().any(|spec| spec.cidr == cidr) {
                this.refused.insert(name.clone(), "the Node object does not name this range (any more)".to_owned());
            } else if let Some(why) = not_for_pods(pool) {
                // What an operator decided is no problem; `petiole ipam blocks` shows the reason.
                this.refused.insert(name.clone(), why.to_owned());
            } else {
                let usable = Usable { name: name.clone(), cidr, block_size: pool.block_size() };
                let selected = is_selected(pool, settings);
                if let Err(error) = selected {
                    let text = pool.spec.node_selector.trim();
                    let why = format!(
                        "its nodeSelector {text:?} cannot be read, {error}: correct it with `calicoctl apply -f`"
                    );
                    this.refused.insert(name.clone(), why.clone());
                    this.problems.push(Problem::PoolRefused { name: name.clone(), cidr, why });
                } else if selected == Ok(false) {
                    // As in Calico, who names the pool may have it on any node.
                    this.refused.insert(name.clone(), not_selected(pool, settings));
                    this.on_demand.push(usable);
                } else if let Some(why) = only_on_demand(pool) {
                    this.refused.insert(name.clone(), why.to_owned());
                    this.on_demand.push(usable);
                } else {
                    this.usable.push(usable);
                }
            }
        }
        for spec in &settings.pools {
            let overlapping = store.iter().find(|(_, p)| p.spec.cidr.overlaps(&spec.cidr));
            match overlapping {
                None => match taken(spec.cidr, settings) {
                    None => this.missing.push(*spec),
                    Some(why) => {
                        this.problems.push(Problem::PoolRefused { name: name_for(spec.cidr), cidr: spec.cidr, why });
                    }
                },
                Some((_, pool)) if pool.spec.cidr == spec.cidr => {}
                Some((name, pool)) => this.problems.push(Problem::SettingsOverlap {
                    settings: spec.cidr,
                    name: name.clone(),
                    store: pool.spec.cidr,
                }),
            }
        }
        this
    }

    /// Those of a family.
    pub(crate) fn of_family(&self, family: Family) -> impl Iterator<Item = &Usable> {
        self.usable.iter().filter(move |p| p.cidr.family() == family)
    }

    /// The one that a block lies in.
    pub(crate) fn containing(&self, cidr: Prefix) -> Option<&Usable> {
        self.usable.iter().find(|p| p.cidr.contains(&cidr))
    }

    /// Those that may be assigned from when they are asked for.
    pub(crate) fn allowed(&self) -> impl Iterator<Item = &Usable> {
        self.usable.iter().chain(&self.on_demand)
    }

    /// Why none of a family is assigned from without being asked for: each with its reason, after "no pool can be used".
    pub(crate) fn why_none(&self, family: Family, store: &BTreeMap<String, Pool>) -> String {
        let of_family = store.iter().filter(|(_, pool)| pool.spec.cidr.family() == family);
        let words = of_family.filter_map(|(name, pool)| {
            let why = self.refused.get(name)?;
            Some(format!("{name} ({}): {why}", pool.spec.cidr))
        });
        let words: Vec<String> = words.collect();
        match words.split_at_checked(MENTIONED) {
            Some((some, more)) if !more.is_empty() => {
                format!("{}; and {} more, which `petiole ipam blocks` lists", some.join("; "), more.len())
            }
            _ if words.is_empty() => format!("the store has no {family} pool"),
            _ => words.join("; "),
        }
    }

    /// The pool that somebody asks for, by its name or its range.
    pub(crate) fn named(&self, text: &str, store: &BTreeMap<String, Pool>) -> Result<&Usable, String> {
        let range: Option<Prefix> = text.parse().ok();
        let found = store.iter().find(|(name, pool)| name.as_str() == text || range == Some(pool.spec.cidr));
        let Some((name, _)) = found else {
            return Err(format!("the store has no IP pool {text:?}; `petiole ipam blocks` lists them"));
        };
        let refused = || {
            let why = self.refused.get(name).map_or("it cannot be used", String::as_str);
            format!("nothing is assigned from pool {name}: {why}")
        };
        self.allowed().find(|p| p.name == *name).ok_or_else(refused)
    }
}

/// The name of the resource for a pool of the configuration: the same on every node that creates it.
pub(crate) fn name_for(cidr: Prefix) -> String {
    let addr: String =
        cidr.addr().to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    // A resource name ends in a letter or a digit; `::` of IPv6 leaves dashes that the length then follows.
    format!("petiole-{}-{}", addr.trim_end_matches('-'), cidr.len())
}

fn conflict(name: &str, pool: &Pool, store: &BTreeMap<String, Pool>, settings: &IpamSettings) -> Option<Problem> {
    let cidr = pool.spec.cidr;
    let other = store.iter().find(|(n, p)| n.as_str() != name && p.spec.cidr.overlaps(&cidr));
    if let Some((other, _)) = other {
        let (first, second) = if name < other.as_str() { (name, other.as_str()) } else { (other.as_str(), name) };
        return Some(Problem::PoolsOverlap { first: first.to_owned(), second: second.to_owned() });
    }
    let differs = settings.pools.iter().find(|s| s.cidr == cidr && s.block_size != pool.block_size())?;
    Some(Problem::BlockSizeDiffers { cidr, store: pool.block_size(), settings: differs.block_size })
}

fn unsupported(pool: &Pool) -> Option<String> {
    let spec = &pool.spec;
    if pool.spec.disabled || !pool.is_for_workloads() {
        return None;
    }
    let wraps = |mode: Option<Encapsulation>| mode.is_some_and(|m| m != Encapsulation::Never);
    if wraps(spec.ipip_mode) {
        return Some(
            "it asks for IP-in-IP (ipipMode), and Petiole routes without an overlay: set ipipMode to Never".into(),
        );
    }
    if wraps(spec.vxlan_mode) {
        return Some(
            "it asks for VXLAN (vxlanMode), and Petiole routes without an overlay: set vxlanMode to Never".into(),
        );
    }
    if spec.nat_outgoing {
        return Some("it asks for natOutgoing, which Petiole does not do: set natOutgoing to false".into());
    }
    None
}

/// What the addresses of a range are beside pods'.
fn taken(cidr: Prefix, settings: &IpamSettings) -> Option<String> {
    let (range, what) = settings.taken.iter().find(|(range, _)| range.overlaps(&cidr))?;
    Some(format!(
        "it overlaps {range}, {what}, so that an address would belong to both: give pods a pool of their own, and delete this one once no \
         pod has an address of it"
    ))
}

/// Whether the pool's selector takes this node.
fn is_selected(pool: &Pool, settings: &IpamSettings) -> Result<bool, SelectorError> {
    Ok(pool.spec.node_selector.parse::<Selector>()?.selects(&settings.labels))
}

fn not_selected(pool: &Pool, settings: &IpamSettings) -> String {
    let labels: Vec<String> = settings.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let labels = match labels.as_slice() {
        [] => "has no labels ([node] labels)".to_owned(),
        some => format!("has the labels {}", some.join(", ")),
    };
    let text = pool.spec.node_selector.trim();
    format!(
        "its nodeSelector {text:?} does not select this node, which {labels}: only requests that name it are served"
    )
}

fn not_for_pods(pool: &Pool) -> Option<&'static str> {
    if pool.spec.disabled {
        return Some("it is disabled");
    }
    if !pool.is_for_workloads() {
        return Some("its allowedUses do not name Workload");
    }
    None
}

fn only_on_demand(pool: &Pool) -> Option<&'static str> {
    if pool.spec.assignment_mode.as_deref().is_some_and(|m| m != "Automatic") {
        return Some("its assignmentMode is not Automatic: only requests that name it are served");
    }
    if !matches!(pool.spec.namespace_selector.trim(), "" | "all()") {
        return Some("it has a namespaceSelector: only requests that name it are served");
    }
    None
}

#[cfg(test)]
mod tests;
