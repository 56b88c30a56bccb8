//! `[nodes.NAME]`: one file for many nodes. What stands there goes before what the rest of the file says, for that node only.
//!
//! Tables are merged key by key; everything else, lists too, is replaced. It happens before any value is read, so that what
//! a node's own section lacks and what contradicts the rest is found, and named at its place in the file.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Notice, Problem};
use crate::reader::{Report, clip, found};
use crate::schema::{self, NODES};
use crate::{Facts, NODE_NAME};

/// The file as it is for one node: without the sections, and with what the node's own one says.
pub(crate) fn apply<'a>(report: &mut Report<'_>, mut file: DeTable<'a>, facts: &Facts) -> DeTable<'a> {
    let Some((_, sections)) = file.remove_entry(NODES) else { return file };
    let at = sections.span().start;
    let mut sections = match sections.into_inner() {
        DeValue::Table(sections) => sections,
        other => {
            let found = found(&other);
            report.error(at, Problem::NotATable { section: "[nodes]", found, wanted: "[nodes.worker1]" });
            return file;
        }
    };
    for (name, section) in sections.iter() {
        if let Err(problem) = schema::check_name(name.get_ref()) {
            report.error(name.span().start, problem);
        }
        let DeValue::Table(section) = section.get_ref() else {
            let found = found(section.get_ref());
            report.error(
                name.span().start,
                Problem::NotATable { section: "[nodes.NAME]", found, wanted: "[nodes.worker1]" },
            );
            continue;
        };
        if let Some((nested, _)) = section.get_key_value(NODES) {
            let key = clip(NODES);
            report.error(nested.span().start, Problem::UnknownSection { key, near: None, valid: schema::sections() });
        }
    }
    let name = name(&file, facts);
    match sections.remove_entry(name.as_str()) {
        Some((_, own)) => {
            if let DeValue::Table(own) = own.into_inner() {
                merge(&mut file, own);
                file.remove_entry(NODES);
            }
        }
        None => report.warn(at, Notice::NotAmongNodes(name)),
    }
    file
}

/// The names of the sections, in order; none where there are none, or the text cannot be read.
pub(crate) fn names(text: &str) -> Vec<String> {
    let (file, _) = DeTable::parse_recoverable(text);
    let sections = file.get_ref().get(NODES).and_then(|sections| sections.get_ref().as_table());
    sections.into_iter().flat_map(DeTable::keys).map(|name| name.get_ref().to_string()).collect()
}

/// Whose section counts: by the same precedence as that of the name in force.
fn name(file: &DeTable<'_>, facts: &Facts) -> String {
    let in_file = || file.get("node")?.get_ref().as_table()?.get("name")?.get_ref().as_str();
    let name = facts.environment.get(NODE_NAME).map(String::as_str).or_else(in_file);
    name.unwrap_or(&facts.hostname).to_owned()
}

fn merge<'a>(under: &mut DeTable<'a>, over: DeTable<'a>) {
    for (key, value) in over {
        let name: &str = key.get_ref();
        match under.get_mut(name).map(Spanned::get_mut) {
            Some(DeValue::Table(there)) if value.get_ref().is_table() => {
                if let DeValue::Table(value) = value.into_inner() {
                    merge(there, value);
                }
            }
            _ => {
                // With its key, whose place messages name.
                under.remove(name);
                under.insert(key, value);
            }
        }
    }
}
