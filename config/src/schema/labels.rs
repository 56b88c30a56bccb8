//! `labels` of `[node]`.

use std::collections::BTreeMap;

use serde_spanned::Spanned;
use toml::de::DeValue;

use crate::problem::Problem;
use crate::reader::{Report, clip, found, quoted};

/// The longest key and the longest value that Kubernetes takes: a DNS name, a slash and a name; a name.
const LONGEST: (usize, usize) = (253 + 1 + 63, 63);

pub(super) fn read(report: &mut Report<'_>, value: &Spanned<DeValue<'_>>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let wanted = "a table such as { rack = \"r1\" }";
    let DeValue::Table(table) = value.get_ref() else {
        let found = found(value.get_ref());
        report.error(value.span().start, Problem::WrongType { section: "[node]", key: "labels", found, wanted });
        return labels;
    };
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if let Some(why) = useless(name) {
            report.error(key.span().start, Problem::LabelKey { text: quoted(name), why });
            continue;
        }
        match value.get_ref().as_str() {
            Some(text) if is_value(text) => drop(labels.insert(name.to_owned(), text.to_owned())),
            Some(text) => {
                report.error(value.span().start, Problem::LabelValue { key: clip(name), text: quoted(text) });
            }
            None => {
                let found = found(value.get_ref());
                report.error(value.span().start, Problem::LabelType { key: clip(name), found });
            }
        }
    }
    labels
}

/// Why no selector could name this key.
fn useless(key: &str) -> Option<&'static str> {
    let is_of_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-');
    match key {
        "" => Some("is empty"),
        _ if key.len() > LONGEST.0 => Some("is longer than 317 characters"),
        _ if !key.chars().all(is_of_key) => Some("has other characters than letters, digits and _ . / -"),
        _ if key.starts_with(|c: char| c.is_ascii_digit()) => {
            Some("begins with a digit, so that no selector can name it")
        }
        _ => None,
    }
}

fn is_value(text: &str) -> bool {
    text.len() <= LONGEST.1 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
