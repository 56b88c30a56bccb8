use super::*;

/// Text and the exact message about it.
const WRONG: &[(&str, &str)] = &[
    ("/* äöü */ x", "line 1, column 11: the word `x` has no meaning here; expected if, accept or reject"),
    ("/* ä\nöü */ x", "line 2, column 7: the word `x` has no meaning here; expected if, accept or reject"),
    ("accept", "line 1, column 7: the text ends here; expected ; after accept"),
    ("{ accept; }", "line 1, column 1: a block without a condition; a block follows then or else: remove { and }"),
    ("if true then { accept; };", "line 1, column 25: a ; without a statement; BIRD has no empty statement: remove it"),
    (";", "line 1, column 1: a ; without a statement; BIRD has no empty statement: remove it"),
    ("if net ~ [] then accept;", "line 1, column 11: an empty set; write at least one prefix, such as [ 10.0.0.0/8+ ]"),
    (
        "if net ~ 10.0.0.0/8+ then accept;",
        "line 1, column 20: + after a prefix has a meaning in a set only; write the prefix in brackets, such as net ~ [ 10.0.0.0/8+ ]",
    ),
    ("if net = 10.0.0.1/8 then accept;", "line 1, column 10: 10.0.0.1/8 has host bits set: did you mean 10.0.0.0/8?"),
    (
        "if net ~ [10.0.0.0/8{3,2}] then accept;",
        "line 1, column 22: {3,2} is no range of lengths; write two lengths, the shorter first, neither above 32",
    ),
    (
        "if net ~ [10.0.0.0/8{3,40}] then accept;",
        "line 1, column 22: {3,40} is no range of lengths; write two lengths, the shorter first, neither above 32",
    ),
    (
        "if ifname ~ [ \"a\" ] then accept;",
        "line 1, column 15: only sets of prefixes are supported; write one such as [ 10.0.0.0/8+ ]",
    ),
    ("if TRUE then accept;", "line 1, column 4: BIRD's words are lower-case: `TRUE`; write true"),
    ("accept; /* a /* b */ */", "line 1, column 14: a comment inside a comment; BIRD does not nest them: remove it"),
    (
        "if net = 10.0.0.0/8 = true then accept;",
        "line 1, column 21: a comparison of a comparison; join two conditions with && or ||",
    ),
    (
        "if net ~ [ ::/0 ] then accept;",
        "line 1, column 12: :: is an IPv6 address, but this filter is about IPv4 routes; keep it in a key under v6",
    ),
    ("\"x\";", "line 1, column 1: unexpected `\"x\"`; expected if, accept or reject"),
    (
        "if ifname ~ \"a\nb\" then accept;",
        "line 1, column 13: this string never ends; write \" before the end of the line",
    ),
    ("if true accept;", "line 1, column 9: unexpected `accept`; expected then, && or ||"),
    ("if then accept;", "line 1, column 4: the condition before then is missing; write one such as net = 10.0.0.0/8"),
    ("if true then", "line 1, column 13: the text ends here; expected if, accept or reject"),
    (
        "else accept;",
        "line 1, column 1: this else belongs to no if; an else follows the one statement or the block of its then",
    ),
    ("}", "line 1, column 1: this } closes nothing; remove it, or open its block with {"),
    ("if true then { accept;", "line 1, column 23: the text ends here; expected } or another statement"),
    (
        "if net ~ [ 10.0.0.0/8, ] then accept;",
        "line 1, column 24: unexpected `]`; expected a prefix such as 10.0.0.0/8",
    ),
    ("if net ~ [ 10.0.0.0/8 then accept;", "line 1, column 23: unexpected `then`; expected , or ] or one of + - {m,n}"),
    (
        "if net ~ [ 10.0.0.0/33 ] then accept;",
        "line 1, column 12: /33 is longer than an IPv4 prefix can be (at most /32)",
    ),
    ("int x;", "line 1, column 1: `int`: a variable is not supported; the statements are if, accept and reject"),
    (
        "x = 5;",
        "line 1, column 1: `x`: changing an attribute or a variable is not supported; the statements are if, accept and reject",
    ),
    (
        "foo();",
        "line 1, column 1: `foo`: calling a function is not supported; the statements are if, accept and reject",
    ),
    ("if net & net then accept;", "line 1, column 8: a single & is no operator; write &&"),
    ("if net = 10.0.0.0/8 then ACCEPT;", "line 1, column 26: BIRD's words are lower-case: `ACCEPT`; write accept"),
    ("if net == 10.0.0.0/8 then accept;", "line 1, column 9: one = too many; BIRD compares with a single ="),
    ("if (net = 10.0.0.0/8 then accept;", "line 1, column 22: unexpected `then`; expected ), && or ||"),
    ("accept;\r\nreject;", "line 1, column 8: a carriage return; write the value with plain line ends"),
    ("if true then accept else reject;", "line 1, column 21: unexpected `else`; expected ; after accept"),
    ("if net = 256.0.0.0/8 then accept;", "line 1, column 10: 256.0.0.0 is no IPv4 address"),
    ("if net = 10.0.0/8 then accept;", "line 1, column 10: 10.0.0 is no IPv4 address"),
    ("/* open", "line 1, column 1: this comment never ends; write */ where it does"),
    ("if net ~ [ 10.0.0.0/99999999999 ] then accept;", "line 1, column 21: this number does not fit into 32 bits"),
    ("if ifname = \"lo then accept;", "line 1, column 13: this string never ends; write \" before the end of the line"),
    ("accept; é", "line 1, column 9: the character 'é' has no meaning here"),
    ("if net @ 1 then accept;", "line 1, column 8: the character '@' has no meaning here"),
    (
        "unset(preference);",
        "line 1, column 1: `unset`: changing an attribute is not supported; the statements are if, accept and reject",
    ),
    ("if not true then accept;", "line 1, column 4: BIRD has no word `not`; write !( ... )"),
    ("if net = 10.0.0.0/8 and true then accept;", "line 1, column 21: BIRD has no word `and`; write &&"),
    ("if net = 10.0.0.0/8 or true then accept;", "line 1, column 21: BIRD has no word `or`; write ||"),
    ("accept;;", "line 1, column 8: a ; without a statement; BIRD has no empty statement: remove it"),
    (
        "function f() { accept; }",
        "line 1, column 1: function is not a statement of a filter; a value has only statements: if, accept, reject",
    ),
    ("if net in 10.0.0.0/8 then accept;", "line 1, column 8: BIRD has no word `in`; write ~"),
    ("if ifname = lo then accept;", "line 1, column 13: `lo` is not in quotes; write \"lo\""),
    (
        "if ifname = 'lo' then accept;",
        "line 1, column 13: a single quote; write names in double quotes, such as \"lo\"",
    ),
    ("if net = 10.0.0.0/ then accept;", "line 1, column 20: unexpected `then`; expected the prefix's length"),
    (
        "if net = 10.0.0.0/255.0.0.0 then accept;",
        "line 1, column 19: unexpected `255.0.0.0`; expected the prefix's length",
    ),
    ("if net ~ [ 10.0.0.0/8{8} ] then accept;", "line 1, column 24: unexpected `}`; expected , and the longest length"),
    (
        "if net ~ [ 10.0.0.0/8{,24} ] then accept;",
        "line 1, column 23: unexpected `,`; expected the shortest length, a number",
    ),
    (
        "if net ~ 10.0.0.0/8{8,24} then accept;",
        "line 1, column 20: {m,n} after a prefix has a meaning in a set only; write the prefix in brackets, such as net ~ [ 10.0.0.0/8{8,24} ]",
    ),
    ("if net = 10.0.0.0/8 then accept; else", "line 1, column 38: the text ends here; expected if, accept or reject"),
    (
        "if net = 10.0.0.0/8 then else accept;",
        "line 1, column 26: this else belongs to no if; an else follows the one statement or the block of its then",
    ),
    ("// x\naccept;", "line 1, column 1: unexpected `/`; expected if, accept or reject; comments are # and /* */"),
    (
        "if ifname ~ \"tap**\" then accept;",
        "line 1, column 11: the pattern \"tap**\" has * before * or ?, which BIRD takes as plain characters; write a single *, or ? before *",
    ),
    (
        "if ifname ~ \"tap*?\" then accept;",
        "line 1, column 11: the pattern \"tap*?\" has * before * or ?, which BIRD takes as plain characters; write a single *, or ? before *",
    ),
    (
        "if ! net = 10.0.0.0/8 then accept;",
        "line 1, column 4: ! binds tighter than = and ~, so it would negate `net` alone; put the comparison in parentheses, or use != or !~",
    ),
    (
        "if net = [ 10.0.0.0/8 ] then accept;",
        "line 1, column 8: = compares with one prefix, not with a set; write net ~ [ ... ]",
    ),
    ("accept \"hi\";", "line 1, column 8: a message after accept is not supported; write accept;"),
    (
        "if net ~ 10.0.0.0 then accept;",
        "line 1, column 10: 10.0.0.0 has no length; for the single address write 10.0.0.0/32",
    ),
    (
        "if net.len > 24 then accept;",
        "line 1, column 7: the parts of `net` (net.len, net.ip) are not supported; match lengths with a set, such as net ~ [ 0.0.0.0/0{25,32} ]",
    ),
    (
        "if net ~ [ 1, 2 ] then accept;",
        "line 1, column 12: only sets of prefixes are supported; write one such as [ 10.0.0.0/8+ ]",
    ),
    (
        "print \"x\";",
        "line 1, column 1: `print`: printing to the log is not supported; the statements are if, accept and reject",
    ),
    (
        "if proto = \"x\" then accept;",
        "line 1, column 4: the attribute `proto` is not supported; a condition compares net or ifname",
    ),
    (
        "if source = RTS_STATIC then accept;",
        "line 1, column 4: the attribute `source` is not supported; a condition compares net or ifname",
    ),
    (
        "case net { }",
        "line 1, column 1: `case`: the case switch is not supported; the statements are if, accept and reject",
    ),
    (
        "return true;",
        "line 1, column 1: `return`: returning from a function is not supported; the statements are if, accept and reject",
    ),
    (
        "bgp_community.add((1,2));",
        "line 1, column 1: `bgp_community`: changing an attribute or a variable is not supported; the statements are if, accept and reject",
    ),
    (
        "if defined(bgp_path) then accept;",
        "line 1, column 4: `defined` is not supported; a condition compares net or ifname",
    ),
    ("if net then accept;", "line 1, column 4: `net` alone is no condition; compare it with =, !=, ~ or !~"),
    (
        "if net < 10.0.0.0/8 then accept;",
        "line 1, column 8: the operator < is not supported; the operators are =, !=, ~, !~, && and ||",
    ),
    (
        "if net = ifname then accept;",
        "line 1, column 4: = cannot compare `net` with `ifname`; compare net with a prefix or a set of prefixes, or ifname with a string",
    ),
    (
        "if 10.0.0.0/8 ~ [ 10.0.0.0/8 ] then accept;",
        "line 1, column 4: ~ cannot compare a prefix with a set of prefixes; compare net with a prefix or a set of prefixes, or ifname with a string",
    ),
    (
        "preference = 5;",
        "line 1, column 1: `preference`: changing an attribute or a variable is not supported; the statements are if, accept and reject",
    ),
    (
        "if (true) = (true) then accept;",
        "line 1, column 4: = cannot compare a condition with a condition; compare net with a prefix or a set of prefixes, or ifname with a string",
    ),
    (
        "if \"a\" = \"a\" then accept;",
        "line 1, column 4: = cannot compare a string with a string; compare net with a prefix or a set of prefixes, or ifname with a string",
    ),
    ("if net = 010.0.0.0/8 then accept;", "line 1, column 10: 010.0.0.0 is no IPv4 address"),
    (
        "if net = \"10.0.0.0/8\" then accept;",
        "line 1, column 4: = cannot compare `net` with a string; compare net with a prefix or a set of prefixes, or ifname with a string",
    ),
    ("reject \"x\", net;", "line 1, column 8: a message after reject is not supported; write reject;"),
    (
        "if net.ip = 10.0.0.0 then accept;",
        "line 1, column 7: the parts of `net` (net.len, net.ip) are not supported; match lengths with a set, such as net ~ [ 0.0.0.0/0{25,32} ]",
    ),
    (
        "if preference > 1 then accept;",
        "line 1, column 4: the attribute `preference` is not supported; a condition compares net or ifname",
    ),
    (
        "if net ~ [ fd00::/8 ] then accept;",
        "line 1, column 12: fd00:: is an IPv6 address, but this filter is about IPv4 routes; keep it in a key under v6",
    ),
    ("if (net) then accept;", "line 1, column 4: `net` alone is no condition; compare it with =, !=, ~ or !~"),
    (
        "if bgp_path ~ [= * =] then accept;",
        "line 1, column 4: the attribute `bgp_path` is not supported; a condition compares net or ifname",
    ),
    (
        "include \"x\";",
        "line 1, column 1: include is not a statement of a filter; a value has only statements: if, accept, reject",
    ),
    (
        "define x = 5;",
        "line 1, column 1: define is not a statement of a filter; a value has only statements: if, accept, reject",
    ),
    (
        "if net = 10.0.0.0/8+ then accept;",
        "line 1, column 20: + after a prefix has a meaning in a set only; write the prefix in brackets, such as net ~ [ 10.0.0.0/8+ ]",
    ),
    ("accpet;", "line 1, column 1: the word `accpet` has no meaning here; expected if, accept or reject"),
    ("if ifname = \"lo\" then accept", "line 1, column 29: the text ends here; expected ; after accept"),
    (
        "if !ifname = \"lo\" then accept;",
        "line 1, column 4: ! binds tighter than = and ~, so it would negate `ifname` alone; put the comparison in parentheses, or use != or !~",
    ),
    (
        "if net = 10.0.0.0 then accept;",
        "line 1, column 10: 10.0.0.0 has no length; for the single address write 10.0.0.0/32",
    ),
    (
        "if ifname ~ 10.0.0.0/8 then accept;",
        "line 1, column 4: ~ cannot compare `ifname` with a prefix; compare net with a prefix or a set of prefixes, or ifname with a string",
    ),
    (
        "if net ~ 10.0.0.0/8 && ifname then accept;",
        "line 1, column 24: `ifname` alone is no condition; compare it with =, !=, ~ or !~",
    ),
    (
        "if net ~ [ \"x\" ] then accept;",
        "line 1, column 12: only sets of prefixes are supported; write one such as [ 10.0.0.0/8+ ]",
    ),
    ("if ;", "line 1, column 4: unexpected `;`; expected a condition such as net = 10.0.0.0/8 or ifname ~ \"tap*\""),
    ("if net | net", "line 1, column 8: a single | is no operator; write ||"),
    ("0x", "line 1, column 1: unexpected `0`; expected if, accept or reject"),
    ("if net = 1.2.3.4.5/8 then accept;", "line 1, column 10: 1.2.3.4.5 is no IPv4 address"),
    (
        "if (1,2) then accept;",
        "line 1, column 5: unexpected `1`; expected a condition such as net = 10.0.0.0/8 or ifname ~ \"tap*\"",
    ),
    (
        "if net.type = 1 then accept;",
        "line 1, column 7: the parts of `net` (net.len, net.ip) are not supported; match lengths with a set, such as net ~ [ 0.0.0.0/0{25,32} ]",
    ),
    (
        "if net ~ [ 10.0.0.0/8 10.1.0.0/16 ] then accept;",
        "line 1, column 23: unexpected `10.1.0.0`; expected , or ] or one of + - {m,n}",
    ),
    ("if net = 10.0.0.0/8 {accept;}", "line 1, column 21: the word then is missing; write then before {"),
    (
        "bgp_local_pref = 100;",
        "line 1, column 1: `bgp_local_pref`: changing an attribute or a variable is not supported; the statements are if, accept and reject",
    ),
    (
        "if net ~ [ 10.0.0.0/8{24,8} ] then accept;",
        "line 1, column 23: {24,8} is no range of lengths; write two lengths, the shorter first, neither above 32",
    ),
    ("if net ~ [ 10.0.0.0/8{8,24 ] then accept;", "line 1, column 28: unexpected `]`; expected }"),
];

#[test]
fn every_mistake_says_where_what_and_what_to_write() {
    let mut wrong = String::new();
    for (text, expected) in WRONG {
        match Filter::parse(text, Family::V4) {
            Err(error) if error.to_string() == *expected => {}
            Err(error) => wrong += &format!("    ({text:?}, {:?}),\n", error.to_string()),
            Ok(_) => wrong += &format!("accepted: {text:?}\n"),
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
