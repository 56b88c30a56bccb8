use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const NOWHERE: Position = Position { line: 0, column: 0 };

/// The statements without their places.
fn placeless(statements: &[Statement]) -> Vec<Statement> {
    let block = |(condition, block): &(Condition, Vec<Statement>)| (condition.clone(), placeless(block));
    let one = |statement: &Statement| match statement {
        Statement::Accept(_) => Statement::Accept(NOWHERE),
        Statement::Reject(_) => Statement::Reject(NOWHERE),
        Statement::If { arms, otherwise } => Statement::If {
            arms: arms.iter().map(block).collect(),
            otherwise: otherwise.as_ref().map(|statements| placeless(statements)),
        },
    };
    statements.iter().map(one).collect()
}

fn prefix(family: Family) -> impl Strategy<Value = Prefix> {
    // Few different leading bits, so that prefixes meet.
    let bits = prop_oneof![Just(0u128), Just(0x0a00), Just(0x0a7b), Just(0xfd00), any::<u128>()];
    (bits, any::<bool>(), 0..=family.max_len()).prop_map(move |(bits, low, len)| {
        let v4 = u32::try_from(bits & 0xffff_ffff).unwrap();
        let addr = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from_bits(if low { v4 } else { v4 << 16 })),
            Family::V6 => IpAddr::V6(Ipv6Addr::from_bits(if low { bits } else { bits << 112 })),
        };
        Prefix::truncated(addr, len).unwrap()
    })
}

fn pattern(family: Family) -> impl Strategy<Value = Pattern> {
    let max = family.max_len();
    let lengths = prop_oneof![
        Just(Lengths::Own),
        Just(Lengths::OrLonger),
        Just(Lengths::OrShorter),
        (0..=max, 0..=max).prop_map(|(a, b)| Lengths::Between(a.min(b), a.max(b))),
    ];
    (prefix(family), lengths).prop_map(|(prefix, lengths)| Pattern { prefix, lengths })
}

/// Names and patterns that the matcher reads as BIRD does: no `*` directly before `*` or `?`.
fn glob() -> impl Strategy<Value = String> {
    r"(\*?[a-c0\\]|\?){0,6}\*?".prop_filter("a * before * or ?", |p| !p.contains("**") && !p.contains("*?"))
}

fn condition(family: Family) -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Condition::Constant),
        (any::<bool>(), prefix(family)).prop_map(|(yes, p)| Condition::NetIs(yes, p)),
        (any::<bool>(), prefix(family)).prop_map(|(yes, p)| Condition::NetIn(yes, p)),
        (any::<bool>(), prop::collection::vec(pattern(family), 1..4)).prop_map(|(yes, s)| Condition::NetInSet(yes, s)),
        (any::<bool>(), "[a-z0-9*?\\\\.é-]{0,8}").prop_map(|(yes, name)| Condition::IfnameIs(yes, name)),
        (any::<bool>(), glob()).prop_map(|(yes, glob)| Condition::IfnameLike(yes, glob)),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let junction = prop_oneof![Just(Junction::And), Just(Junction::Or)];
        prop_oneof![
            inner.clone().prop_map(|c| Condition::Not(Box::new(c))),
            (inner.clone(), prop::collection::vec((junction, inner), 1..4))
                .prop_map(|(first, rest)| Condition::Chain { first: Box::new(first), rest }),
        ]
    })
}

fn statements(family: Family) -> impl Strategy<Value = Vec<Statement>> {
    let leaf = prop_oneof![Just(Statement::Accept(NOWHERE)), Just(Statement::Reject(NOWHERE))];
    let statement = leaf.prop_recursive(4, 24, 4, move |inner| {
        let block = prop::collection::vec(inner, 0..3);
        let arms = prop::collection::vec((condition(family), block.clone()), 1..4);
        (arms, prop::option::of(block)).prop_map(|(arms, otherwise)| Statement::If { arms, otherwise })
    });
    prop::collection::vec(statement, 0..4)
}

fn any_family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

/// What a set means, bit by bit and with nothing shared with the evaluator.
fn naive_match(pattern: &Pattern, net: &Prefix) -> bool {
    let bits = |p: &Prefix| match p.addr() {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let bit = |bytes: &[u8], n: usize| bytes[n / 8] >> (7 - n % 8) & 1;
    let (a, b) = (bits(&pattern.prefix), bits(net));
    let common = usize::from(pattern.prefix.len().min(net.len()));
    let own = pattern.prefix.len();
    let (low, high) = match pattern.lengths {
        Lengths::Own => (own, own),
        Lengths::OrLonger => (own, if a.len() == 4 { 32 } else { 128 }),
        Lengths::OrShorter => (0, own),
        Lengths::Between(m, n) => (m, n),
    };
    (0..common).all(|n| bit(&a, n) == bit(&b, n)) && low <= net.len() && net.len() <= high
}

/// Shell-like matching by trying everything.
fn naive_like(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|n| naive_like(rest, &text[n..])),
        ['?', rest @ ..] => !text.is_empty() && naive_like(rest, &text[1..]),
        ['\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && naive_like(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn printing_and_reading_gives_the_same_statements((family, body) in any_family().prop_flat_map(|f| (Just(f), statements(f)))) {
        let filter = Filter { text: String::new(), family, body };
        let text = filter.to_string();
        let again = Filter::parse(&text, family);
        prop_assert!(again.is_ok(), "{}\n{}", text, again.unwrap_err());
        prop_assert_eq!(placeless(again.unwrap().body()), filter.body);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}", family in any_family()) {
        if let Ok(filter) = Filter::parse(&text, family) {
            let again = Filter::parse(&filter.to_string(), family).unwrap();
            prop_assert_eq!(placeless(again.body()), placeless(filter.body()));
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut set = FilterSet::new(Family::V4);
        set.update([("k", bytes.as_slice())]);
        prop_assert_eq!(set.in_force().count() + set.rejected().count(), 1);
    }

    #[test]
    fn any_words_are_read_or_refused(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        let text = words.join(" ");
        match Filter::parse(&text, Family::V4) {
            Ok(filter) => {
                let again = Filter::parse(&filter.to_string(), Family::V4).unwrap();
                prop_assert_eq!(placeless(again.body()), placeless(filter.body()));
            }
            Err(error) => prop_assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty()),
        }
    }

    #[test]
    fn a_broken_filter_never_panics((body, at, with) in (statements(Family::V4), any::<prop::sample::Index>(), any::<char>())) {
        let mut text: Vec<char> = Filter { text: String::new(), family: Family::V4, body }.to_string().chars().collect();
        if !text.is_empty() {
            let at = at.index(text.len());
            text[at] = with;
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = Filter::parse(&text, Family::V4) {
            let line = text.split('\n').nth(error.line - 1).unwrap();
            prop_assert!(error.column <= line.chars().count() + 1, "{} in\n{}", error, text);
        }
    }

    #[test]
    fn sets_match_as_the_naive_model_does(
        (patterns, net) in any_family().prop_flat_map(|f| (prop::collection::vec(pattern(f), 1..5), prefix(f))),
    ) {
        let naive = patterns.iter().any(|p| naive_match(p, &net));
        let candidate = Candidate { net, ifname: None };
        prop_assert_eq!(Condition::NetInSet(true, patterns.clone()).holds(&candidate), naive);
        prop_assert_eq!(Condition::NetInSet(false, patterns).holds(&candidate), !naive);
    }

    #[test]
    fn patterns_match_as_the_naive_model_does(glob in glob(), name in r"[a-c0\\]{0,6}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let naive = naive_like(&chars(&glob), &chars(&name));
        let candidate = Candidate { net: Prefix::default_route(Family::V4), ifname: Some(&name) };
        prop_assert_eq!(Condition::IfnameLike(true, glob).holds(&candidate), naive);
    }
}

const WORDS: &[&str] = &[
    "if",
    "then",
    "else",
    "accept",
    "reject",
    ";",
    "accept;",
    "reject;",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "net",
    "ifname",
    "=",
    "!=",
    "~",
    "!~",
    "!",
    "&&",
    "||",
    "10.0.0.0/8",
    "10.0.0.0/8+",
    "{8,24}",
    ",",
    "\"lo\"",
    "\"tap*\"",
    "true",
    "false",
    "/*",
    "*/",
    "#",
    "\n",
    "-",
    "+",
    "8",
    "/",
    "net.len",
    "proto",
    "bgp_path",
];

#[test]
fn nesting_is_bounded() {
    for open in
        ["(", "!", "if true then ", "if true then { ", "if true then reject; else { ", "if net ~ [ 10.0.0.0/8 ] && ("]
    {
        let text = open.repeat(Filter::MAX_LEN / open.len());
        let text = if open.starts_with("if") { text } else { format!("if {text}") };
        let text = text.get(..Filter::MAX_LEN).unwrap_or(&text);
        assert!(Filter::parse(text, Family::V4).is_err(), "{open}");
    }
    let error = Filter::parse(&format!("if {}true", "!".repeat(1000)), Family::V4).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1, column 67: nested more than 64 levels deep; flatten it with && or several statements"
    );
}

#[test]
fn long_flat_texts_are_no_problem() {
    let chain = "true && ".repeat(30_000);
    let filter = Filter::parse(&format!("if {chain}net = 10.0.0.0/8 then accept;"), Family::V4).unwrap();
    assert_eq!(filter.evaluate(&candidate("10.0.0.0/8", None)).verdict, Verdict::Accept);
    let elses = "if false then reject; else ".repeat(7_000);
    let filter = Filter::parse(&format!("{elses}accept;"), Family::V4).unwrap();
    assert_eq!(filter.evaluate(&candidate("10.0.0.0/8", None)).verdict, Verdict::Accept);
    assert_eq!(placeless(Filter::parse(&filter.to_string(), Family::V4).unwrap().body()), placeless(filter.body()));
}
