//! `[ipam]`.

use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use petiole_selector::Selector;

use super::open;
use crate::duration;
use crate::problem::Problem;
use crate::ranges;
use crate::reader::{At, Field, Report, Section, Shape};
use crate::settings::{BlockSource, PoolSettings};

/// `[ipam]` as far as it was said.
#[derive(Default)]
pub(crate) struct IpamDraft {
    pub(crate) source: Option<At<BlockSource>>,
    pub(crate) pools: Vec<At<PoolSettings>>,
    pub(crate) reserved: Vec<At<Prefix>>,
    pub(crate) grace_time: Option<Duration>,
}

/// Where blocks come from, pools, reserved ranges, and the grace time.
pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> IpamDraft {
    let Some(ipam) = open(report, root, "ipam", &IPAM) else { return IpamDraft::default() };
    let pools = ipam.sections(report, "pools", &POOL);
    IpamDraft {
        source: ipam.field("source").and_then(|field| read_source(report, &field)),
        pools: pools.iter().filter_map(|pool| read_pool(report, pool)).collect(),
        reserved: ipam.field("reserved").map(|field| read_reserved(report, &field)).unwrap_or_default(),
        grace_time: ipam.field("grace_time").and_then(|field| read_grace_time(report, &field)),
    }
}

fn read_source(report: &mut Report<'_>, field: &Field<'_>) -> Option<At<BlockSource>> {
    let text = field.string(report, "\"store\" or \"node\"")?;
    let found = [BlockSource::Store, BlockSource::Node].into_iter().find(|source| source.name() == text);
    if found.is_none() {
        report.error(field.at, Problem::BadSource(text.to_owned()));
    }
    found.map(|value| At { at: field.at, value })
}

fn read_grace_time(report: &mut Report<'_>, field: &Field<'_>) -> Option<Duration> {
    let time = field.duration(report)?;
    if time.subsec_nanos() == 0 && (5..=86_400).contains(&time.as_secs()) {
        return Some(time);
    }
    let (section, key, value) = (field.section, field.key, duration::print(time));
    report.error(field.at, Problem::WholeSeconds { section, key, value, min: "\"5s\"", max: "\"24h\"" });
    None
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

pub(super) const IPAM: Shape =
    Shape { name: "[ipam]", keys: &["source", "pools", "reserved", "grace_time"], wanted: "a section, [ipam]" };
pub(super) const POOL: Shape = Shape {
    name: "[[ipam.pools]]",
    keys: &["cidr", "block_size", "node_selector"],
    wanted: "a list, pools = [{ cidr = \"10.123.128.0/17\", block_size = 26 }]",
};
