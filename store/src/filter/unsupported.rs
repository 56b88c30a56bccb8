//! What BIRD 1.6 knows and a node has no use for, by name, so that an operator learns that the text is right but not for here.

use super::lexer::{Token, cut};
use super::{FilterError, Position};

/// A word that begins a statement.
pub(super) fn statement(at: Position, word: &str, after: Option<&Token<'_>>) -> FilterError {
    let what = match word {
        "print" | "printn" => "printing to the log",
        "case" => "the case switch",
        "return" => "returning from a function",
        "error" | "quitbird" => "stopping BIRD",
        "unset" | "add" | "delete" | "filter" => "changing an attribute",
        "function" | "define" | "protocol" | "include" => {
            let message = format!("{word} is not a statement of a filter");
            return FilterError::new(at, message, "a value has only statements: if, accept, reject");
        }
        "int" | "bool" | "ip" | "prefix" | "pair" | "quad" | "ec" | "lc" | "string" | "bgpmask" | "bgppath"
        | "clist" | "eclist" | "lclist" => "a variable",
        _ if is_attribute(word) || matches!(after, Some(Token::Sign("." | "="))) => {
            "changing an attribute or a variable"
        }
        _ if matches!(after, Some(Token::Sign("("))) => "calling a function",
        _ => return unknown(at, word, "expected if, accept or reject"),
    };
    FilterError::new(at, format!("`{}`: {what} is not supported", cut(word)), SUPPORTED)
}

/// A word in a condition.
pub(super) fn operand(at: Position, word: &str) -> FilterError {
    match word {
        "defined" | "roa_check" => FilterError::new(at, format!("`{word}` is not supported"), OPERANDS),
        "then" => FilterError::new(at, "the condition before then is missing", "write one such as net = 10.0.0.0/8"),
        _ if is_attribute(word) => {
            let message = format!("the attribute `{}` is not supported", cut(word));
            FilterError::new(at, message, OPERANDS)
        }
        _ => unknown(at, word, OPERANDS),
    }
}

/// What follows an operand or a comparison and is no operator of ours; `None` where it ends the condition.
pub(super) fn after_operand(at: Position, token: &Token<'_>, after_net: bool) -> Option<FilterError> {
    Some(match token {
        Token::Sign(".") if after_net => {
            let expected = "match lengths with a set, such as net ~ [ 0.0.0.0/0{25,32} ]";
            FilterError::new(at, "the parts of `net` (net.len, net.ip) are not supported", expected)
        }
        Token::Sign(sign @ ("+" | "-")) => lengths(at, sign),
        Token::Sign(sign @ ("<" | ">" | "<=" | ">=" | "*" | "/" | "%" | ".")) => {
            let expected = "the operators are =, !=, ~, !~, && and ||";
            FilterError::new(at, format!("the operator {sign} is not supported"), expected)
        }
        Token::Word("in") => FilterError::new(at, "BIRD has no word `in`", "write ~"),
        _ => return None,
    })
}

/// A range of lengths outside a set.
pub(super) fn lengths(at: Position, sign: &str) -> FilterError {
    let expected = format!(
        "write the prefix in brackets, such as net ~ [ 10.0.0.0/8{} ]",
        if sign == "{m,n}" { "{8,24}" } else { sign }
    );
    FilterError::new(at, format!("{sign} after a prefix has a meaning in a set only"), expected)
}

fn unknown(at: Position, word: &str, expected: &str) -> FilterError {
    if word == "not" {
        return FilterError::new(at, "BIRD has no word `not`", "write !( ... )");
    }
    let lower = word.to_ascii_lowercase();
    let keyword =
        ["if", "then", "else", "accept", "reject", "net", "ifname", "true", "false"].contains(&lower.as_str());
    if keyword && lower != word {
        return FilterError::new(at, format!("BIRD's words are lower-case: `{word}`"), format!("write {lower}"));
    }
    FilterError::new(at, format!("the word `{}` has no meaning here", cut(word)), expected)
}

/// Route attributes of BIRD 1.6, static and by protocol.
fn is_attribute(word: &str) -> bool {
    let known = [
        "proto",
        "source",
        "from",
        "gw",
        "scope",
        "cast",
        "dest",
        "ifindex",
        "preference",
        "rip_metric",
        "rip_tag",
        "igp_metric",
        "babel_metric",
        "radv_preference",
        "radv_lifetime",
    ];
    known.contains(&word) || ["bgp_", "ospf_", "krt_", "rip_"].iter().any(|family| word.starts_with(family))
}

const SUPPORTED: &str = "the statements are if, accept and reject";
const OPERANDS: &str = "a condition compares net or ifname";
