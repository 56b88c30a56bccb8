//! The keys of `[[bgp.peer]]` that limit a leaf.

use std::collections::BTreeSet;
use std::time::Duration;

use super::inline;
use crate::community::Community;
use crate::duration;
use crate::problem::Problem;
use crate::reader::{Field, Report, Section, Shape, nearest, quoted};
use crate::settings::{MaxPrefixAction, MaxPrefixSettings, PeerPolicy, PeerRole};

pub(super) fn read(report: &mut Report<'_>, peer: &Section<'_>, hold_time: Duration) -> PeerPolicy {
    let max_prefix = inline(report, peer, "max_prefix", &MAX_PREFIX).map(|table| read_max_prefix(report, &table));
    PeerPolicy {
        max_prefix: max_prefix.unwrap_or_default(),
        send_hold_time: peer.field("send_hold_time").and_then(|f| read_send_hold(report, &f, hold_time)),
        role: match peer.field("role") {
            Some(field) => read_role(report, &field),
            None => PeerPolicy::default().role,
        },
        strict_role: peer.field("strict_role").and_then(|f| f.boolean(report)).unwrap_or(false),
        communities: communities(report, peer),
        delay_open: peer.field("delay_open").and_then(|f| read_delay_open(report, &f)).unwrap_or_default(),
        add_path_receive: peer.field("add_path_receive").and_then(|f| f.boolean(report)).unwrap_or(false),
    }
}

/// `communities = [...]`, which three sections have.
pub(super) fn communities(report: &mut Report<'_>, section: &Section<'_>) -> BTreeSet<Community> {
    let Some(field) = section.field("communities") else { return BTreeSet::new() };
    let items = field.items(report, "a list such as [\"65000:1\", \"65000:1:2\", \"rt:65000:1\"]").unwrap_or_default();
    let mut communities = BTreeSet::new();
    for item in &items {
        let Some(text) = item.string(report, "strings, such as [\"65000:1\"]") else { continue };
        match text.parse::<Community>() {
            Ok(community) if community.is_drain() => {
                report.error(item.at, Problem::DrainCommunity { section: item.section });
            }
            Ok(community) => {
                communities.insert(community);
            }
            Err(why) => {
                let (section, text) = (item.section, quoted(text));
                report.error(item.at, Problem::BadCommunity { section, text, why });
            }
        }
    }
    if communities.len() > MOST_COMMUNITIES {
        let (section, count) = (field.section, communities.len());
        report.error(field.at, Problem::TooManyCommunities { section, count, max: MOST_COMMUNITIES });
    }
    communities
}

fn read_role(report: &mut Report<'_>, field: &Field<'_>) -> Option<PeerRole> {
    let Some(text) = field.as_str() else {
        if field.boolean(report) == Some(true) {
            report.error(field.at, Problem::BadRole { text: "true".to_owned() });
        }
        return None;
    };
    let role = PeerRole::ALL.into_iter().find(|role| role.name() == text);
    if role.is_none() {
        report.error(field.at, Problem::BadRole { text: quoted(text) });
    }
    role
}

fn read_max_prefix(report: &mut Report<'_>, table: &Section<'_>) -> MaxPrefixSettings {
    let limit = table.required(report, "limit", "the most prefixes of one family, limit = 10000");
    let limit = limit.and_then(|f| f.number(report, "a number such as 10000", 1, u64::from(u32::MAX)));
    let warn_at = table.field("warn_at").and_then(|f| f.number(report, "a percentage such as 75", 1, 100));
    let after = table.field("restart_after");
    let action = table.field("action").map(|f| (f.at, read_action(report, &f)));
    let wait = after.and_then(|f| read_restart_after(report, &f)).unwrap_or(MaxPrefixSettings::RESTART_AFTER);
    let action = match action {
        Some((_, Some("restart"))) => MaxPrefixAction::Restart(wait),
        Some((_, Some("idle"))) => MaxPrefixAction::Idle,
        Some((_, Some(_) | None)) | None => MaxPrefixAction::Warn,
    };
    if let (Some(after), MaxPrefixAction::Warn | MaxPrefixAction::Idle) = (after, action) {
        // Where the action could not be read, that is the mistake.
        if table.field("action").is_none_or(|f| f.as_str() == Some(action.name())) {
            report.error(after.at, Problem::RestartAfterWithoutRestart { action: action.name() });
        }
    }
    MaxPrefixSettings {
        limit: limit.and_then(|n| u32::try_from(n).ok()).unwrap_or(MaxPrefixSettings::LIMIT),
        action,
        warn_at: warn_at.and_then(|n| u8::try_from(n).ok()).unwrap_or(MaxPrefixSettings::WARN_AT),
    }
}

fn read_action(report: &mut Report<'_>, field: &Field<'_>) -> Option<&'static str> {
    let text = field.string(report, "\"warn\", \"restart\" or \"idle\"")?;
    let known = MaxPrefixAction::NAMES.into_iter().find(|name| *name == text);
    if known.is_none() {
        let near = nearest(text, &MaxPrefixAction::NAMES);
        report.error(field.at, Problem::UnknownAction { text: quoted(text), near });
    }
    known
}

fn read_restart_after(report: &mut Report<'_>, field: &Field<'_>) -> Option<Duration> {
    within(report, field, Duration::from_secs(1), Duration::from_secs(86_400), ("\"1s\"", "\"24h\""))
}

fn read_delay_open(report: &mut Report<'_>, field: &Field<'_>) -> Option<Duration> {
    within(report, field, Duration::ZERO, Duration::from_secs(240), ("\"0s\"", "\"4m\""))
}

/// RFC 9687 section 3.1: a send hold time below the hold time would end sessions that the hold timer would keep.
fn read_send_hold(report: &mut Report<'_>, field: &Field<'_>, hold_time: Duration) -> Option<Duration> {
    let time = field.duration(report)?;
    if !time.is_zero() && time <= hold_time {
        let (time, hold) = (duration::print(time), duration::print(hold_time));
        report.error(field.at, Problem::SendHoldBelowHold { time, hold });
        return None;
    }
    Some(time)
}

fn within(
    report: &mut Report<'_>,
    field: &Field<'_>,
    least: Duration,
    most: Duration,
    (min, max): (&'static str, &'static str),
) -> Option<Duration> {
    let time = field.duration(report)?;
    if (least..=most).contains(&time) {
        return Some(time);
    }
    let (section, key, value) = (field.section, field.key, duration::print(time));
    report.error(field.at, Problem::DurationRange { section, key, value, min, max });
    None
}

/// Three lists of so many leave a message room for prefixes, whatever their kind.
const MOST_COMMUNITIES: usize = 64;

pub(super) const MAX_PREFIX: Shape = Shape {
    name: "max_prefix",
    keys: &["limit", "action", "warn_at", "restart_after"],
    wanted: "{ limit = 10000, action = \"warn\" }",
};
