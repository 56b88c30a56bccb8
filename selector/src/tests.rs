use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn labels(of: &[(&str, &str)]) -> Labels {
    of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn selects(text: &str, of: &[(&str, &str)]) -> bool {
    text.parse::<Selector>().unwrap_or_else(|e| panic!("{text}: {e}")).selects(&labels(of))
}

#[test]
fn every_test_on_a_key_that_is_there_and_on_one_that_is_not() {
    let node = [("rack", "r1"), ("disk", "nvme-2"), ("kubernetes.io/hostname", "worker1")];
    for (text, verdict) in [
        ("", true),
        ("  ", true),
        ("all()", true),
        ("global()", true),
        ("!all()", false),
        ("rack == 'r1'", true),
        ("rack == \"r2\"", false),
        ("nosuch == ''", false),
        ("rack != 'r1'", false),
        ("nosuch != 'r1'", true),
        ("has(rack)", true),
        ("!has(rack)", false),
        ("! has( nosuch )", true),
        ("rack in {'r1', 'r2'}", true),
        ("rack in {}", false),
        ("nosuch in {'r1'}", false),
        ("rack not in {'r1'}", false),
        ("rack not in { 'r2' }", true),
        ("nosuch not in {'r1'}", true),
        ("disk starts with 'nvme'", true),
        ("disk ends with \"-2\"", true),
        ("disk contains 'me-'", true),
        ("disk contains ''", true),
        ("nosuch contains ''", false),
        ("kubernetes.io/hostname == 'worker1'", true),
        ("rack == 'r1' && disk == 'x' || has(rack)", true),
        ("rack == 'r1' && (disk == 'x' || has(nosuch))", false),
        ("has(nosuch) || has(nosuch) && all()", false),
        ("!rack == 'r1'", false),
        ("!!rack == 'r1'", true),
        ("!(rack == 'r2' || has(nosuch))", true),
        ("rack=='r1'&&has(disk)", true),
    ] {
        assert_eq!(selects(text, &node), verdict, "{text}");
    }
    // Words of the grammar are keys where a key stands.
    assert!(selects("in in {'x'}", &[("in", "x")]));
    assert!(selects("not not in {'x'}", &[("not", "y")]));
    assert!(selects("all == 'x' && has == 'y'", &[("all", "x"), ("has", "y")]));
    assert!(selects("starts starts with 'x'", &[("starts", "xy")]));
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    for (text, error) in [
        (
            "rack",
            "column 5: ==, !=, in, not in, contains, starts with or ends with after rack is expected, and the text ends",
        ),
        (
            "rack = 'r1'",
            "column 6: ==, !=, in, not in, contains, starts with or ends with after rack is expected, and \"=\" stands there",
        ),
        ("rack == r1", "column 9: a text in quotes is expected, and \"r1\" stands there"),
        ("rack == 'r1", "column 9: the text that begins here has no ' at its end"),
        ("rack == 'r1' disk == 'x'", "column 14: &&, || or the end is expected, and \"disk\" stands there"),
        ("rack == 'r1' &&", "column 16: a key, has(KEY), all(), global(), ! or ( is expected, and the text ends"),
        ("(rack == 'r1'", "column 14: &&, || or ) is expected, and the text ends"),
        ("rack == 'r1')", "column 13: &&, || or the end is expected, and \")\" stands there"),
        ("any()", "column 1: any() is not known: has(KEY), all() and global() are"),
        ("has()", "column 5: a key is expected, and \")\" stands there"),
        ("all(x)", "column 5: ) is expected, and \"x\" stands there"),
        ("rack in ['r1']", "column 9: { is expected, and \"[\" stands there"),
        ("rack in {'r1' 'r2'}", "column 15: , or } is expected, and \"'\" stands there"),
        ("rack in {'r1',}", "column 15: a text in quotes is expected, and \"}\" stands there"),
        (
            "rack not 'r1'",
            "column 6: ==, !=, in, not in, contains, starts with or ends with after rack is expected, and \"not\" stands there",
        ),
        ("7rack == 'x'", "column 1: a key, has(KEY), all(), global(), ! or ( is expected, and \"7rack\" stands there"),
        ("été == 'x'", "column 1: a key, has(KEY), all(), global(), ! or ( is expected, and \"é\" stands there"),
        ("a == 'é' ~", "column 10: &&, || or the end is expected, and \"~\" stands there"),
    ] {
        assert_eq!(
            text.parse::<Selector>().map(|s| s.to_string()).map_err(|e| e.to_string()),
            Err(error.to_owned()),
            "{text}"
        );
    }
    let deep = "(".repeat(100_000);
    let error = deep.parse::<Selector>().unwrap_err();
    assert_eq!(error.to_string(), "column 33: parentheses stand in each other more than 32 deep");
    assert!(selects(&format!("{}all(){}", "(".repeat(32), ")".repeat(32)), &[]));
    assert!(!selects(&format!("{}all()", "!".repeat(100_001)), &[]));
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".to_owned()), Just("in".to_owned()), "[a-zA-Z_./-][a-zA-Z0-9_./-]{0,5}"]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab]{0,2}", "[^'\"]{0,4}", "[a']{0,3}", "[a\"]{0,3}"]
}

fn test() -> impl Strategy<Value = Test> {
    let set = || proptest::collection::btree_set(text(), 0..3);
    prop_oneof![
        text().prop_map(Test::Is),
        text().prop_map(Test::IsNot),
        set().prop_map(Test::In),
        set().prop_map(Test::NotIn),
        text().prop_map(Test::Contains),
        text().prop_map(Test::StartsWith),
        text().prop_map(Test::EndsWith),
    ]
}

fn term() -> impl Strategy<Value = Term> {
    let leaf = prop_oneof![
        Just(Term::All),
        Just(Term::Global),
        key().prop_map(Term::Has),
        (key(), test()).prop_map(|(k, t)| Term::Test(k, t)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.clone().prop_map(|t| Term::Not(Box::new(t))),
            several().prop_map(Term::And),
            several().prop_map(Term::Or),
        ]
    })
}

/// As the grammar reads it: two negations are none.
fn flat(term: Term) -> Term {
    match term {
        Term::Not(inner) => match flat(*inner) {
            Term::Not(twice) => *twice,
            other => Term::Not(Box::new(other)),
        },
        Term::And(terms) => Term::And(terms.into_iter().map(flat).collect()),
        Term::Or(terms) => Term::Or(terms.into_iter().map(flat).collect()),
        other => other,
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_within_it(text in "\\PC{0,60}|[a!&|(){}'\", =hasintl]{0,60}") {
        match text.parse::<Selector>() {
            Ok(selector) => {
                prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
            }
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column), "{}", error),
        }
    }

    #[test]
    fn what_is_written_reads_the_same(term in term()) {
        let selector = Selector(flat(term));
        prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector.clone()), "{}", selector);
    }

    /// Negation is negation, and the laws of De Morgan hold, whatever the labels.
    #[test]
    fn terms_mean_what_they_say(
        a in term(), b in term(),
        node in proptest::collection::btree_map(key(), text(), 0..4),
    ) {
        let (x, y) = (a.holds(&node), b.holds(&node));
        let both = Selector(Term::And(vec![a.clone(), b.clone()]));
        let either = Selector(Term::Or(vec![a.clone(), b.clone()]));
        prop_assert_eq!(both.selects(&node), x && y);
        prop_assert_eq!(either.selects(&node), x || y);
        let neither = format!("!({a}) && !({b})").parse::<Selector>().unwrap();
        prop_assert_eq!(neither.selects(&node), !either.selects(&node));
    }

    #[test]
    fn a_set_is_its_texts(texts in proptest::collection::btree_set("[a-c]{0,2}", 0..4), value in "[a-c]{0,2}") {
        let node = labels(&[("k", &value)]);
        let set: Vec<String> = texts.iter().map(|t| format!("'{t}'")).collect();
        let is_in = format!("k in {{{}}}", set.join(",")).parse::<Selector>().unwrap();
        let not_in = format!("k not in {{{}}}", set.join(" , ")).parse::<Selector>().unwrap();
        let known: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
        prop_assert_eq!(is_in.selects(&node), known.contains(value.as_str()));
        prop_assert_eq!(not_in.selects(&node), !is_in.selects(&node));
    }
}
