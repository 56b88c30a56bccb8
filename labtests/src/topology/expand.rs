//! `${V}`, `${V:-default}` and `${V:=default}`, expanded in the text before it is read as YAML.

use super::TopologyError;

/// Expands the variables of a topology text. A variable without a value and without a default stays as it is written,
/// as in containerlab.
pub fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, TopologyError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let line_at = |rest: &str| text[..text.len() - rest.len()].matches('\n').count() + 1;
    while let Some(at) = rest.find(['$', '{']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{{") {
            return Err(TopologyError::Expand {
                line: line_at(rest),
                text: "{{".to_owned(),
                why: "Go templates are not honoured by this runner",
            });
        }
        let Some(body) = rest.strip_prefix("${") else {
            out.push_str(&rest[..1]);
            rest = &rest[1..];
            continue;
        };
        let refuse = |text: &str, why| TopologyError::Expand { line: line_at(rest), text: text.to_owned(), why };
        let Some(end) = body.find(['}', '\n']).filter(|&end| body[end..].starts_with('}')) else {
            return Err(refuse("${", "has no closing brace on its line"));
        };
        let (whole, inside) = (&rest[..end + 3], &body[..end]);
        let name_len = inside.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let (name, tail) = inside.split_at(name_len);
        if name.is_empty() {
            return Err(refuse(whole, "has no variable name"));
        }
        let value = lookup(name).filter(|value| !value.is_empty());
        match (value, tail) {
            (Some(value), _) if tail.is_empty() || tail.starts_with(":=") || tail.starts_with(":-") => {
                out.push_str(&value);
            }
            (None, "") => out.push_str(whole),
            (None, _) if tail.starts_with(":=") || tail.starts_with(":-") => out.push_str(&tail[2..]),
            _ => return Err(refuse(whole, "only ${V}, ${V:-default} and ${V:=default} are honoured by this runner")),
        }
        rest = &rest[whole.len()..];
    }
    out.push_str(rest);
    Ok(out)
}
