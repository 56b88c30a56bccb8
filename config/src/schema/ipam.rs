//! `[ipam]`.

use petiole_prefix::{Family, Prefix};
use petiole_selector::Selector;

use super::open;
use crate::problem::Problem;
use crate::ranges;
use crate::reader::{At, Field, Report, Section, Shape};
use crate::settings::PoolSettings;

/// Pools, and reserved ranges.
pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> (Vec<At<PoolSettings>>, Vec<At<Prefix>>) {
    let Some(ipam) = open(report, root, "ipam", &IPAM) else { return (Vec::new(), Vec::new()) };
    let pools = ipam.sections(report, "pools", &POOL);
    let pools = pools.iter().filter_map(|pool| read_pool(report, pool)).collect();
    (pools, ipam.field("reserved").map(|field| read_reserved(report, &field)).unwrap_or_default())
}

fn read_reserved(report: &mut Report<'_>, field: &Field<'_>) -> Vec<At<Prefix>> {
    let mut reserved: Vec<At<Prefix>> = Vec::new();
    for item in field.items(report, "a list such as [\"10.123.128.0/28\"]").unwrap_or_default() {
        let Some(range) = item.prefix(report) else { continue };
        if let Some(why) = ranges::useless(&range) {
            let (section, key, wanted) =
                (item.section, item.key, "a range of one of the pools, such as \"10.123.128.0/28\"");
            report.error(item.at, Problem::UselessAddress { section, key, addr: range.to_string(), why, wanted });
        } else if let Some(known) = reserved.iter().find(|known| known.value == range) {
            let first = report.line(known.at);
            report.error(item.at, Problem::Twice { what: format!("range {range}"), first });
        } else {
            reserved.push(At { at: item.at, value: range });
        }
    }
    reserved
}

fn read_pool(report: &mut Report<'_>, pool: &Section<'_>) -> Option<At<PoolSettings>> {
    let field = pool.required(report, "cidr", "the pool's prefix, cidr = \"10.123.128.0/17\"");
    let block = pool.field("block_size");
    let field = field?;
    let cidr = field.prefix(report)?;
    if let Some(why) = ranges::useless(&cidr) {
        let (section, key, wanted) =
            (POOL.name, "cidr", "a prefix that the fabric can route, such as \"10.123.128.0/17\"");
        report.error(field.at, Problem::UselessAddress { section, key, addr: cidr.to_string(), why, wanted });
        return None;
    }
    let (shortest, max) = PoolSettings::block_sizes(cidr.family());
    let min = shortest.max(cidr.len());
    let default = PoolSettings::default_block_size(cidr.family());
    let block_size = match block {
        None if default < min => {
            report.error(field.at, Problem::PoolBelowDefaultBlock { cidr, default, min, max });
            default
        }
        None => default,
        Some(block) => {
            let number = block.number(report, "a number such as 26", 0, u64::from(u8::MAX));
            let size = number.and_then(|n| u8::try_from(n).ok())?;
            if !(min..=max).contains(&size) {
                let shorter = size < cidr.len();
                report.error(block.at, Problem::BlockSize { cidr, size: size.to_string(), min, max, shorter });
            }
            size
        }
    };
    let node_selector = match pool.field("node_selector") {
        None => None,
        Some(field) => {
            let text = field.string(report, "a selector such as \"rack == 'r1'\"")?;
            if let Err(error) = text.parse::<Selector>() {
                report.error(field.at, Problem::BadSelector { cidr, error });
                return None;
            }
            Some(text.to_owned())
        }
    };
    Some(At { at: field.at, value: PoolSettings { cidr, block_size, node_selector } })
}

impl PoolSettings {
    /// Shortest and longest block of a family: 20 to 32, 116 to 128, as Calico has them.
    #[must_use]
    pub const fn block_sizes(family: Family) -> (u8, u8) {
        match family {
            Family::V4 => (20, 32),
            Family::V6 => (116, 128),
        }
    }

    /// The block length where none is said: 26 or 122, which is 64 addresses.
    #[must_use]
    pub const fn default_block_size(family: Family) -> u8 {
        match family {
            Family::V4 => 26,
            Family::V6 => 122,
        }
    }
}

pub(super) const IPAM: Shape = Shape { name: "[ipam]", keys: &["pools", "reserved"], wanted: "a section, [ipam]" };
pub(super) const POOL: Shape = Shape {
    name: "[[ipam.pools]]",
    keys: &["cidr", "block_size", "node_selector"],
    wanted: "a list, pools = [{ cidr = \"10.123.128.0/17\", block_size = 26 }]",
};
