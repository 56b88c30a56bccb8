//! `[[announce]]` and its health check.

use std::time::Duration;

use super::{AnnounceDraft, inline, policy};
use crate::duration;
use crate::problem::{Notice, Problem};
use crate::ranges;
use crate::reader::{At, Field, Report, Section, Shape, nearest, quoted};
use crate::settings::{Announce, AnnounceKind, HealthCheck, HealthSettings};
use crate::url::{self, Url};

pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> Vec<AnnounceDraft> {
    let sections = root.sections(report, "announce", &ANNOUNCE);
    sections.iter().filter_map(|section| read_one(report, section)).collect()
}

fn read_one(report: &mut Report<'_>, section: &Section<'_>) -> Option<AnnounceDraft> {
    let kind = section.required(report, "kind", "kind = \"anycast\" or kind = \"service-range\"");
    let kind = kind.and_then(|field| read_kind(report, &field));
    let field = section.required(report, "prefix", "what is announced, prefix = \"10.122.255.1/32\"");
    let prefix = field.and_then(|field| {
        let value = match kind {
            Some(AnnounceKind::Anycast) => field.host_prefix(report)?,
            Some(AnnounceKind::ServiceRange) | None => field.prefix(report)?,
        };
        Some(At { at: field.at, value })
    });
    let health = match section.raw("health") {
        Some(_) => inline(report, section, "health", &HEALTH).and_then(|health| read_health(report, &health)),
        None => {
            if let Some(prefix) = prefix {
                report.warn(prefix.at, Notice::NoHealth(prefix.value));
            }
            None
        }
    };
    let communities = policy::communities(report, section);
    let (At { at, value: prefix }, kind) = (prefix?, kind?);
    if let Some(why) = ranges::useless(&prefix) {
        let wanted = "a prefix that the fabric can route, such as \"10.122.255.1/32\"";
        let (section, key) = (ANNOUNCE.name, "prefix");
        report.error(at, Problem::UselessAddress { section, key, addr: prefix.to_string(), why, wanted });
    }
    Some(AnnounceDraft { announce: At { at, value: Announce { kind, prefix, communities, health } } })
}

fn read_kind(report: &mut Report<'_>, field: &Field<'_>) -> Option<AnnounceKind> {
    let text = field.string(report, "\"anycast\" or \"service-range\"")?;
    let kind = AnnounceKind::from_name(text);
    if kind.is_none() {
        let near = nearest(text, &AnnounceKind::ALL.map(AnnounceKind::name));
        report.error(field.at, Problem::UnknownKind { text: quoted(text), near });
    }
    kind
}

fn read_health(report: &mut Report<'_>, health: &Section<'_>) -> Option<HealthSettings> {
    let given: Vec<Field<'_>> = CHECKS.into_iter().filter_map(|key| health.field(key)).collect();
    let check = match given.as_slice() {
        [one] => read_check(report, health, one),
        [] => {
            if !CHECKS.into_iter().any(|key| health.misspelt(key)) {
                report.error(health.at, Problem::CheckCount { found: "no check".to_owned() });
            }
            None
        }
        [_, second, ..] => {
            let names: Vec<String> = given.iter().map(|field| format!("`{}`", field.key)).collect();
            report.error(second.at, Problem::CheckCount { found: names.join(" and ") });
            None
        }
    };
    let interval = health.field("interval").map(|field| read_interval(report, &field));
    let timeout = health.field("timeout").map(|f| (f.at, f.duration(report)));
    let rise = health.field("rise").and_then(|field| read_count(report, &field)).unwrap_or(HealthSettings::RISE);
    let fall = health.field("fall").and_then(|field| read_count(report, &field)).unwrap_or(HealthSettings::FALL);
    // `None` inside: it was said but could not be read, so nothing can be said about the timeout either.
    let interval = interval.unwrap_or(Some(HealthSettings::INTERVAL));
    let timeout = match (timeout, interval) {
        (None, interval) => interval,
        (Some((at, Some(timeout))), _) if timeout.is_zero() => {
            let (section, key, value) = (HEALTH.name, "timeout", duration::print(timeout));
            report.error(at, Problem::DurationRange { section, key, value, min: "\"1ms\"", max: "the interval" });
            None
        }
        (Some((at, Some(timeout))), Some(interval)) if timeout > interval => {
            let (timeout, interval) = (duration::print(timeout), duration::print(interval));
            report.error(at, Problem::TimeoutOverInterval { timeout, interval });
            None
        }
        (Some((_, timeout)), _) => timeout,
    };
    Some(HealthSettings { check: check?, interval: interval?, timeout: timeout?, rise, fall })
}

fn read_check(report: &mut Report<'_>, health: &Section<'_>, field: &Field<'_>) -> Option<HealthCheck> {
    if field.key != "http" {
        for key in ["ca", "insecure"] {
            if let Some(other) = health.field(key) {
                report.error(other.at, Problem::NotForThisCheck { key });
            }
        }
    }
    match field.key {
        "http" => read_http(report, health, field),
        "tcp" => {
            let socket = field.socket(report, 6443)?;
            if socket.port() == 0 {
                let (section, key, text) = (field.section, field.key, quoted(&socket.to_string()));
                let wanted = format!("\"{}\"", std::net::SocketAddr::new(socket.ip(), 6443));
                report.error(field.at, Problem::BadListen { section, key, text, wanted });
            }
            Some(HealthCheck::Tcp(socket))
        }
        _ => read_command(report, field),
    }
}

fn read_http(report: &mut Report<'_>, health: &Section<'_>, field: &Field<'_>) -> Option<HealthCheck> {
    let ca = health.field("ca").and_then(|f| Some((f.at, f.path(report, "\"/etc/kubernetes/pki/ca.crt\"")?)));
    let insecure_at = health.field("insecure").map(|f| f.at);
    let insecure = health.field("insecure").and_then(|f| f.boolean(report)).unwrap_or(false);
    let text = field.string(report, "a URL such as \"https://127.0.0.1:6443/readyz\"")?;
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(why) => {
            let (section, key) = (field.section, field.key);
            let guess = format!("http://{text}");
            let near = !text.contains("://") && Url::parse(&guess).is_ok();
            let wanted =
                if near { quoted(&guess) } else { "one such as \"http://127.0.0.1:10256/healthz\"".to_owned() };
            report.error(field.at, Problem::BadUrl { section, key, text: quoted(&url::redacted(text)), why, wanted });
            return None;
        }
    };
    if url.https {
        match (&ca, insecure) {
            (None, false) if health.field("ca").is_none() => {
                report.error(field.at, Problem::CheckWithoutCa { text: quoted(text) });
            }
            (Some((at, _)), true) => report.error(insecure_at.unwrap_or(*at), Problem::CaAndInsecure),
            (None, true) => report.warn(insecure_at.unwrap_or(field.at), Notice::Insecure),
            (None | Some(_), false) => {}
        }
    } else {
        let said = [("ca", health.field("ca").map(|f| f.at)), ("insecure", insecure_at.filter(|_| insecure))];
        for (key, at) in said {
            if let Some(at) = at {
                report.error(at, Problem::TlsWithoutHttps { section: HEALTH.name, key, text: quoted(text) });
            }
        }
    }
    Some(HealthCheck::Http { url: text.to_owned(), ca: ca.map(|(_, path)| path), insecure })
}

fn read_command(report: &mut Report<'_>, field: &Field<'_>) -> Option<HealthCheck> {
    let items = field.items(report, "a list, [\"/usr/local/bin/check\", \"--quick\"]")?;
    let mut argv = Vec::new();
    for item in &items {
        argv.push(item.string(report, "strings, such as [\"/usr/local/bin/check\", \"--quick\"]")?.to_owned());
    }
    let why = match argv.first() {
        None => "is empty",
        Some(program) if !program.starts_with('/') => "does not start with an absolute path, and no shell looks for it",
        Some(_) if argv.iter().any(|arg| arg.contains('\0')) => "has a NUL character, which no argument can carry",
        Some(_) => return Some(HealthCheck::Command(argv)),
    };
    report.error(field.at, Problem::BadCommand { why });
    None
}

fn read_interval(report: &mut Report<'_>, field: &Field<'_>) -> Option<Duration> {
    let interval = field.duration(report)?;
    if (MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) {
        return Some(interval);
    }
    let (section, key, value) = (field.section, field.key, duration::print(interval));
    report.error(field.at, Problem::DurationRange { section, key, value, min: "\"10ms\"", max: "\"1h\"" });
    None
}

fn read_count(report: &mut Report<'_>, field: &Field<'_>) -> Option<u32> {
    field.number(report, "a number such as 3", 1, MAX_COUNT).and_then(|n| u32::try_from(n).ok())
}

impl HealthSettings {
    /// Default time between two probes.
    pub const INTERVAL: Duration = Duration::from_secs(1);
    /// Default successes in a row before announcing.
    pub const RISE: u32 = 2;
    /// Default failures in a row before withdrawing.
    pub const FALL: u32 = 3;
}

const MIN_INTERVAL: Duration = Duration::from_millis(10);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);
const MAX_COUNT: u64 = 1000;

const CHECKS: [&str; 3] = ["http", "tcp", "command"];
pub(super) const ANNOUNCE: Shape = Shape {
    name: "[[announce]]",
    keys: &["kind", "prefix", "communities", "health"],
    wanted: "a section with double brackets, [[announce]]",
};
pub(super) const HEALTH: Shape = Shape {
    name: "health",
    keys: &["http", "tcp", "command", "ca", "insecure", "interval", "timeout", "rise", "fall"],
    wanted: "{ http = \"http://127.0.0.1:10256/healthz\" }",
};
