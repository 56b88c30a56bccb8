use super::*;

mod against_bird;
mod messages;
mod properties;
mod set;

fn candidate<'a>(net: &str, ifname: Option<&'a str>) -> Candidate<'a> {
    Candidate { net: net.parse().unwrap(), ifname }
}

fn v4(text: &str) -> Filter {
    match Filter::parse(text, Family::V4) {
        Ok(filter) => filter,
        Err(error) => panic!("{text}\n{error}"),
    }
}

#[test]
fn the_operators_value_accepts_the_range_and_nothing_else() {
    let filter = v4("if ( net = 10.123.0.0/17 ) then { accept; }");
    let outcome = filter.evaluate(&candidate("10.123.0.0/17", Some("lo")));
    assert_eq!(outcome, Outcome { verdict: Verdict::Accept, at: Some(Position { line: 1, column: 35 }) });
    for other in ["10.123.0.0/18", "10.123.0.0/16", "10.122.0.11/32", "::/0"] {
        assert_eq!(filter.evaluate(&candidate(other, Some("lo"))).verdict, Verdict::FallThrough, "{other}");
    }
}

#[test]
fn calicos_known_values_do_what_their_users_meant() {
    let loopback = v4("if ( ifname = \"lo\" ) then { if net != 127.0.0.0/8 then accept; }");
    assert_eq!(loopback.evaluate(&candidate("10.122.255.1/32", Some("lo"))).verdict, Verdict::Accept);
    assert_eq!(loopback.evaluate(&candidate("127.0.0.0/8", Some("lo"))).verdict, Verdict::FallThrough);
    assert_eq!(loopback.evaluate(&candidate("10.122.255.1/32", Some("eth0"))).verdict, Verdict::FallThrough);
    let taps = v4("if ( ifname ~ \"tap*\" ) then { accept; }");
    assert_eq!(taps.evaluate(&candidate("10.65.0.1/32", Some("tap3e5a2f"))).verdict, Verdict::Accept);
    assert_eq!(taps.evaluate(&candidate("10.65.0.1/32", None)).verdict, Verdict::FallThrough);
}

#[test]
fn the_deciding_statement_is_named() {
    let filter = v4(
        "# first the exception\nif net = 10.0.0.0/8 then\n    reject;\nelse if net ~ 10.0.0.0/8 then {\n  /* all\n  of it */ accept; }\n",
    );
    let at = |net| filter.evaluate(&candidate(net, None)).at;
    assert_eq!(at("10.0.0.0/8"), Some(Position { line: 3, column: 5 }));
    assert_eq!(at("10.1.0.0/16"), Some(Position { line: 6, column: 12 }));
    assert_eq!(at("11.0.0.0/8"), None);
}

#[test]
fn the_other_family_falls_through_whatever_is_said() {
    assert_eq!(v4("accept;").evaluate(&candidate("fd00::/8", Some("lo"))).verdict, Verdict::FallThrough);
    assert_eq!(
        v4("if net != 127.0.0.0/8 then accept;").evaluate(&candidate("::1/128", None)).verdict,
        Verdict::FallThrough
    );
    let v6 = Filter::parse("accept;", Family::V6).unwrap();
    assert_eq!(v6.evaluate(&candidate("10.0.0.0/8", None)).verdict, Verdict::FallThrough);
}

#[test]
fn a_pattern_with_many_stars_is_quick() {
    let pattern = "a*".repeat(40);
    let filter = v4(&format!("if ifname ~ \"{pattern}b\" then accept;"));
    let long = "a".repeat(5000);
    assert_eq!(filter.evaluate(&candidate("10.0.0.0/8", Some(&long))).verdict, Verdict::FallThrough);
}
