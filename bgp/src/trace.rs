//! The last messages of a neighbour, as they were on the wire, and the states it went through.
//!
//! Bounded twice, by number and by octets, so that a full table costs no more than a quiet session; what is older falls out.
//! Octets lie in one ring, so that recording allocates nothing once the ring has grown.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use petiole_prefix::Family;
use serde::Serialize;

use crate::config::ConnId;
use crate::view::SessionState;
use crate::wire::{self, NlriField, Notification, Open, RouteRefresh, Sections};

/// Entries kept of each neighbour.
const ENTRIES: usize = 1024;

/// Octets of messages kept of each neighbour.
const OCTETS: usize = 128 * 1024;

/// Of one message at most this much is kept: its beginning, with all attributes of any sensible UPDATE.
const OF_ONE: usize = 4096;

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TraceEntry {
    /// When.
    pub at: Duration,
    /// What.
    pub what: Traced,
}

/// What is traced.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Traced {
    /// The neighbour's state changed to this.
    State(SessionState),
    /// A message.
    Message {
        /// Over which connection.
        conn: ConnId,
        /// Whether it was ours.
        sent: bool,
        /// Our end.
        local: SocketAddr,
        /// Their end.
        remote: SocketAddr,
        /// Octets of the whole message.
        len: usize,
        /// The families whose prefixes have path identifiers in it (RFC 7911 section 3).
        path_ids: Vec<Family>,
        /// The message, or its beginning.
        bytes: Vec<u8>,
    },
}

#[derive(Clone, Copy)]
struct Message {
    conn: ConnId,
    sent: bool,
    ends: (SocketAddr, SocketAddr),
    len: usize,
    kept: usize,
    /// In the order of [`Family::BOTH`].
    path_ids: [bool; 2],
}

#[derive(Clone, Copy)]
enum What {
    State(SessionState),
    Message(Message),
}

/// The ring of one neighbour.
#[derive(Default)]
pub(crate) struct Trace {
    entries: VecDeque<(Duration, What)>,
    octets: VecDeque<u8>,
}

impl Trace {
    pub(crate) fn state(&mut self, state: SessionState, at: Duration) {
        self.push(at, What::State(state));
    }

    /// Records one whole message; `path_ids` says whose prefixes have identifiers in it, in the order of [`Family::BOTH`].
    #[inline]
    pub(crate) fn message(
        &mut self,
        (conn, sent): (ConnId, bool),
        ends: (SocketAddr, SocketAddr),
        path_ids: [bool; 2],
        bytes: &[u8],
        at: Duration,
    ) {
        let kept = bytes.get(..OF_ONE).unwrap_or(bytes);
        while self.octets.len() + kept.len() > OCTETS {
            self.drop_oldest();
        }
        self.octets.extend(kept);
        self.push(at, What::Message(Message { conn, sent, ends, len: bytes.len(), kept: kept.len(), path_ids }));
    }

    fn push(&mut self, at: Duration, what: What) {
        if self.entries.len() >= ENTRIES {
            self.drop_oldest();
        }
        self.entries.push_back((at, what));
    }

    fn drop_oldest(&mut self) {
        if let Some((_, What::Message(m))) = self.entries.pop_front() {
            self.octets.drain(..m.kept.min(self.octets.len()));
        }
    }

    /// Everything kept, oldest first.
    pub(crate) fn entries(&self) -> Vec<TraceEntry> {
        let mut octets = self.octets.iter().copied();
        self.entries
            .iter()
            .map(|(at, what)| TraceEntry {
                at: *at,
                what: match *what {
                    What::State(state) => Traced::State(state),
                    What::Message(Message { conn, sent, ends: (local, remote), len, kept, path_ids }) => {
                        let with = Family::BOTH.into_iter().zip(path_ids).filter(|(_, has)| *has);
                        let path_ids = with.map(|(family, _)| family).collect();
                        let bytes = octets.by_ref().take(kept).collect();
                        Traced::Message { conn, sent, local, remote, len, path_ids, bytes }
                    }
                },
            })
            .collect()
    }
}

/// A message, or its beginning, in words. `path_ids` are the families whose prefixes have path identifiers in it, as the two
/// sides agreed on (RFC 7911 section 4): the message does not tell.
#[must_use]
pub fn describe(bytes: &[u8], path_ids: &[Family]) -> String {
    let Some(kind) = bytes.get(18) else { return "cut short".to_owned() };
    let body = bytes.get(wire::HEADER_LEN..).unwrap_or_default();
    match kind {
        1 => match Open::decode(body) {
            Ok(open) => {
                let offers: Vec<String> = open.capabilities.iter().map(ToString::to_string).collect();
                format!(
                    "OPEN: AS {}, identifier {}, hold time {} s; {}",
                    open.asn,
                    open.router_id,
                    open.hold_time.as_secs(),
                    if offers.is_empty() { "no capabilities".to_owned() } else { offers.join(", ") }
                )
            }
            Err(error) => format!("OPEN that can't be accepted: {error}"),
        },
        2 => update(body, path_ids),
        3 => format!("NOTIFICATION: {}", Notification::decode(body)),
        4 => "KEEPALIVE".to_owned(),
        5 => match RouteRefresh::decode(body) {
            Ok(refresh) => refresh_words(&refresh),
            Err(error) => format!("ROUTE-REFRESH that can't be read: {error}"),
        },
        other => format!("message of type {other}"),
    }
}

fn refresh_words(refresh: &RouteRefresh) -> String {
    let what = match refresh.subtype {
        0 => "asks for everything again",
        1 => "begins to send everything again",
        2 => "has sent everything again",
        other => return format!("ROUTE-REFRESH of subtype {other}"),
    };
    match refresh.family() {
        Some(family) => format!("ROUTE-REFRESH: {family}, {what}"),
        None => format!("ROUTE-REFRESH: another family, {what}"),
    }
}

fn update(body: &[u8], path_ids: &[Family]) -> String {
    let Ok(sections) = Sections::split(body) else {
        return "UPDATE, kept or sent only in part".to_owned();
    };
    let mut parts = Vec::new();
    let part = |parts: &mut Vec<String>, verb: &str, family: Family, field: &[u8]| {
        part(parts, verb, family, field, path_ids.contains(&family));
    };
    part(&mut parts, "withdraws", Family::V4, sections.withdrawn);
    part(&mut parts, "announces", Family::V4, sections.nlri);
    let mut attributes = 0;
    let mut rest = sections.attributes;
    while let [flags, code, tail @ ..] = rest {
        let header = if flags & 0x10 == 0 { 1 } else { 2 };
        let Some((len, tail)) = tail.split_at_checked(header) else { break };
        let len = len.iter().fold(0, |n, octet| n << 8 | usize::from(*octet));
        let Some((value, tail)) = tail.split_at_checked(len) else { break };
        rest = tail;
        attributes += 1;
        match (code, value) {
            (14, [_, afi, 1, next_hop, tail @ ..]) => {
                // One reserved octet between the next hop and the prefixes (RFC 4760 section 3).
                let field = tail.get(usize::from(*next_hop) + 1..).unwrap_or_default();
                part(&mut parts, "announces", if *afi == 1 { Family::V4 } else { Family::V6 }, field);
            }
            (15, [0, afi, 1, field @ ..]) => {
                let family = if *afi == 1 { Family::V4 } else { Family::V6 };
                if field.is_empty() {
                    parts.push(format!("End-of-RIB of {family}"));
                }
                part(&mut parts, "withdraws", family, field);
            }
            _ => {}
        }
    }
    match (parts.is_empty(), attributes) {
        (true, 0) => format!("UPDATE: End-of-RIB of {}", Family::V4),
        (true, n) => format!("UPDATE: {n} attributes and no prefix"),
        (false, _) => format!("UPDATE: {}", parts.join("; ")),
    }
}

fn part(parts: &mut Vec<String>, verb: &str, family: Family, field: &[u8], path_ids: bool) {
    if field.is_empty() {
        return;
    }
    let read = if path_ids { NlriField::with_path_ids } else { NlriField::new };
    let Some(field) = read(family, field) else {
        return parts.push(format!("{verb} {family} prefixes that can't be read"));
    };
    let some: Vec<String> = if path_ids {
        let paths = field.paths().take(3);
        paths.flat_map(|(id, one)| one.prefixes().map(move |prefix| format!("{prefix} path {id}"))).collect()
    } else {
        field.prefixes().take(3).map(|prefix| prefix.to_string()).collect()
    };
    let count = field.count();
    let more = match count.saturating_sub(some.len()) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    parts.push(format!("{verb} {}{more}", some.join(", ")));
}

#[cfg(test)]
mod tests;
