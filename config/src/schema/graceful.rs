//! `graceful_restart`, of `[bgp]` for every peer and of `[[bgp.peer]]` for one.

use std::time::Duration;

use super::inline;
use crate::duration;
use crate::problem::Problem;
use crate::reader::{Field, Report, Section, Shape};
use crate::settings::GracefulRestartSettings;

/// What a section says, on top of what holds without it.
pub(super) fn read(
    report: &mut Report<'_>,
    of: &Section<'_>,
    without: Option<GracefulRestartSettings>,
) -> Option<GracefulRestartSettings> {
    let Some(field) = of.field("graceful_restart") else { return without };
    match field.as_bool() {
        Some(true) => return Some(without.unwrap_or_default()),
        Some(false) => return None,
        None => {}
    }
    let without = without.unwrap_or_default();
    let Some(table) = inline(report, of, "graceful_restart", &GRACEFUL_RESTART) else { return Some(without) };
    let mut time = |key: &'static str, otherwise: Duration, range: Range| {
        table.field(key).and_then(|field| read_seconds(report, &field, range)).unwrap_or(otherwise)
    };
    Some(GracefulRestartSettings {
        restart_time: time("restart_time", without.restart_time, Range(1, 4095, "\"1s\"", "\"4095s\"")),
        stale_time: time("stale_time", without.stale_time, Range(1, 86_400, "\"1s\"", "\"24h\"")),
        long_lived_time: time("long_lived_time", without.long_lived_time, Range(0, 16_776_000, "\"0s\"", "\"4660h\"")),
    })
}

/// Seconds from and to, and the same in words.
#[derive(Clone, Copy)]
struct Range(u64, u64, &'static str, &'static str);

fn read_seconds(report: &mut Report<'_>, field: &Field<'_>, Range(from, to, min, max): Range) -> Option<Duration> {
    let time = field.duration(report)?;
    if time.subsec_nanos() == 0 && (from..=to).contains(&time.as_secs()) {
        return Some(time);
    }
    let (section, key, value) = (field.section, field.key, duration::print(time));
    report.error(field.at, Problem::WholeSeconds { section, key, value, min, max });
    None
}

impl Default for GracefulRestartSettings {
    fn default() -> Self {
        Self {
            restart_time: Duration::from_secs(120),
            stale_time: Duration::from_secs(360),
            long_lived_time: Duration::from_secs(86_400),
        }
    }
}

pub(super) const GRACEFUL_RESTART: Shape = Shape {
    name: "graceful_restart",
    keys: &["restart_time", "stale_time", "long_lived_time"],
    wanted: "true, false or a table, graceful_restart = { restart_time = \"120s\" }",
};
