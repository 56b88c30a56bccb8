//! `[node]`.

use std::net::{IpAddr, Ipv4Addr};

use petiole_prefix::Prefix;

use super::{NodeDraft, labels, open};
use crate::problem::Problem;
use crate::ranges;
use crate::reader::{At, Field, Report, Section, Shape, nearest, quoted};
use crate::settings::Role;

pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> NodeDraft {
    let mut draft = NodeDraft {
        name: None,
        name_said: false,
        roles: Vec::new(),
        router_id: None,
        addresses: Vec::new(),
        labels: std::collections::BTreeMap::new(),
    };
    let Some(node) = open(report, root, "node", &NODE) else { return draft };
    draft.name_said = node.raw("name").is_some();
    if let Some(field) = node.field("name")
        && let Some(name) = field.string(report, "a name such as \"worker1\"")
    {
        match check_name(name) {
            Ok(()) => draft.name = Some(At { at: field.at, value: name.to_owned() }),
            Err(problem) => report.error(field.at, problem),
        }
    }
    if let Some(field) = node.field("roles") {
        draft.roles = read_roles(report, &field);
    }
    if let Some(field) = node.field("router_id") {
        draft.router_id = read_router_id(report, &field).map(|value| At { at: field.at, value });
    }
    if let Some(field) = node.field("addresses") {
        draft.addresses = read_addresses(report, &field);
    }
    if let Some(value) = node.raw("labels") {
        draft.labels = labels::read(report, value);
    }
    draft
}

/// Whether a name can be part of a key in the store.
///
/// Upper case stays as it is: the name must equal the one under which the node's blocks were claimed.
pub(crate) fn check_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() {
        return Err(Problem::NameEmpty);
    }
    if name.len() > MAX_NAME {
        return Err(Problem::NameTooLong(name.len()));
    }
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_')) {
        Some(c) => Err(Problem::NameCharacter(c)),
        None => Ok(()),
    }
}

fn read_roles(report: &mut Report<'_>, field: &Field<'_>) -> Vec<At<Role>> {
    let mut roles: Vec<At<Role>> = Vec::new();
    let wanted = "a list such as [\"worker\"]";
    for item in field.items(report, wanted).unwrap_or_default() {
        let Some(text) = item.string(report, "roles as strings, such as [\"worker\"]") else { continue };
        let Some(role) = Role::from_name(text) else {
            let near = nearest(text, &Role::ALL.map(Role::name));
            report.error(item.at, Problem::UnknownRole { text: quoted(text), near });
            continue;
        };
        match roles.iter().find(|known| known.value == role) {
            Some(known) => {
                let first = report.line(known.at);
                report.error(item.at, Problem::Twice { what: format!("role {:?}", role.name()), first });
            }
            None => roles.push(At { at: item.at, value: role }),
        }
    }
    roles
}

fn read_router_id(report: &mut Report<'_>, field: &Field<'_>) -> Option<Ipv4Addr> {
    let (section, key) = (field.section, field.key);
    let wanted = "the node's own stable IPv4 address, such as \"10.122.0.11\"";
    match field.address(report, "10.122.0.11")? {
        IpAddr::V4(id) => match ranges::useless(&Prefix::host(IpAddr::V4(id))) {
            None => Some(id),
            Some(why) => {
                report.error(field.at, Problem::UselessAddress { section, key, addr: id.to_string(), why, wanted });
                None
            }
        },
        IpAddr::V6(addr) => {
            let why = "but a router id is an IPv4 address (RFC 6286)";
            report.error(field.at, Problem::UselessAddress { section, key, addr: addr.to_string(), why, wanted });
            None
        }
    }
}

fn read_addresses(report: &mut Report<'_>, field: &Field<'_>) -> Vec<At<Prefix>> {
    let mut addresses: Vec<At<Prefix>> = Vec::new();
    for item in field.items(report, "a list such as [\"10.122.0.11/32\", \"fd00:122::11/128\"]").unwrap_or_default() {
        let Some(prefix) = item.host_prefix(report) else { continue };
        if let Some(why) = ranges::useless(&prefix) {
            let wanted = "an address that the fabric can route, such as \"10.122.0.11/32\"";
            let (section, key) = (item.section, item.key);
            report.error(item.at, Problem::UselessAddress { section, key, addr: prefix.to_string(), why, wanted });
        } else if let Some(known) = addresses.iter().find(|known| known.value == prefix) {
            let first = report.line(known.at);
            report.error(item.at, Problem::Twice { what: format!("address {prefix}"), first });
        } else {
            addresses.push(At { at: item.at, value: prefix });
        }
    }
    addresses
}

pub(super) const NODE: Shape =
    Shape { name: "[node]", keys: &["name", "roles", "router_id", "addresses", "labels"], wanted: "a section, [node]" };

/// Calico and Kubernetes both take DNS names; RFC 1123 ends them here.
const MAX_NAME: usize = 253;
