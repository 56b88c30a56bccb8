//! `bfd = { ... }` of `[[bgp.peer]]`.

use std::time::Duration;

use super::inline;
use crate::duration;
use crate::problem::Problem;
use crate::reader::{Field, Report, Section, Shape};
use crate::settings::BfdSettings;

pub(super) fn read(report: &mut Report<'_>, peer: &Section<'_>) -> Option<BfdSettings> {
    let table = inline(report, peer, "bfd", &BFD)?;
    let interval = table.field("interval").and_then(|f| read_interval(report, &f));
    let multiplier = table.field("multiplier").and_then(|f| f.number(report, "a number such as 3", 1, 255));
    Some(BfdSettings {
        interval: interval.unwrap_or(BfdSettings::INTERVAL),
        multiplier: multiplier.and_then(|n| u8::try_from(n).ok()).unwrap_or(BfdSettings::MULTIPLIER),
        strict: table.field("strict").and_then(|f| f.boolean(report)).unwrap_or(false),
    })
}

fn read_interval(report: &mut Report<'_>, field: &Field<'_>) -> Option<Duration> {
    let interval = field.duration(report)?;
    if (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&interval) {
        return Some(interval);
    }
    let (section, key, value) = (field.section, field.key, duration::print(interval));
    report.error(field.at, Problem::DurationRange { section, key, value, min: "\"10ms\"", max: "\"60s\"" });
    None
}

pub(super) const BFD: Shape = Shape {
    name: "bfd",
    keys: &["interval", "multiplier", "strict"],
    wanted: "{ interval = \"100ms\", multiplier = 3 }",
};
