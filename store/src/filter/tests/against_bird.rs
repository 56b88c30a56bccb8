//! Our verdicts against those of BIRD 1.6.8, recorded in `vectors/bird-1.6.8.json`.

use super::*;

#[derive(Deserialize)]
struct Recorded {
    routes: Vec<(String, Option<String>)>,
    results: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    /// BIRD's message, where it refused the text.
    refused: Option<String>,
    /// One letter per route, where it did not.
    verdicts: Option<String>,
}

fn recorded(family: Family) -> Recorded {
    let mut all: serde_json::Value = serde_json::from_str(include_str!("../vectors/bird-1.6.8.json")).unwrap();
    serde_json::from_value(all[if family == Family::V4 { "v4" } else { "v6" }].take()).unwrap()
}

fn ours(filter: &Filter, routes: &[(String, Option<String>)]) -> String {
    let letter =
        |(net, ifname): &(String, Option<String>)| match filter.evaluate(&candidate(net, ifname.as_deref())).verdict {
            Verdict::Accept => 'A',
            Verdict::Reject => 'R',
            Verdict::FallThrough => '-',
        };
    routes.iter().map(letter).collect()
}

#[test]
fn whatever_is_accepted_means_what_bird_means() {
    for family in Family::BOTH {
        let Recorded { routes, results } = recorded(family);
        for case in results {
            if let (Ok(filter), Some(theirs)) = (Filter::parse(&case.text, family), &case.verdicts) {
                assert_eq!(ours(&filter, &routes), *theirs, "{}", case.text);
            }
        }
    }
}

#[test]
fn whatever_bird_refuses_is_refused() {
    for family in Family::BOTH {
        for case in recorded(family).results {
            if let Some(theirs) = case.refused {
                assert!(Filter::parse(&case.text, family).is_err(), "BIRD says {theirs}: {}", case.text);
            }
        }
    }
}

/// What BIRD takes and we do not: its other features, and what it would trip over when a route comes along.
#[test]
fn what_bird_takes_and_we_refuse_is_known() {
    let mut refused = Vec::new();
    for family in Family::BOTH {
        for case in recorded(family).results {
            if case.refused.is_none() && Filter::parse(&case.text, family).is_err() {
                refused.push(case.text);
            }
        }
    }
    let known = [
        "if ifname ~ \"tap**\" then accept;",
        "if ifname ~ \"tap*?\" then accept;",
        "if ! net = 10.0.0.0/8 then accept;",
        "if net = [ 10.0.0.0/8 ] then accept;",
        "accept \"hi\";",
        "if net ~ 10.0.0.0 then accept;",
        "if net.len > 24 then accept;",
        "if net ~ [ 1, 2 ] then accept;",
        "print \"x\";",
        "if proto = \"x\" then accept;",
        "if source = RTS_STATIC then accept;",
        "case net { }",
        "return true;",
        "bgp_community.add((1,2));",
        "if defined(bgp_path) then accept;",
        "if net then accept;",
        "if net < 10.0.0.0/8 then accept;",
        "if net = ifname then accept;",
        "if 10.0.0.0/8 ~ [ 10.0.0.0/8 ] then accept;",
        "preference = 5;",
        "if (true) = (true) then accept;",
        "if \"a\" = \"a\" then accept;",
        "if net = 010.0.0.0/8 then accept;",
        "if net = \"10.0.0.0/8\" then accept;",
        "reject \"x\", net;",
        "if net.ip = 10.0.0.0 then accept;",
        "if preference > 1 then accept;",
    ];
    assert_eq!(refused, known);
}
