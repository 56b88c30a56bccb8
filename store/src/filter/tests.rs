use super::*;

fn candidate<'a>(net: &str, ifname: Option<&'a str>) -> Candidate<'a> {
    Candidate { net: net.parse().unwrap(), ifname }
}

#[test]
fn the_operators_value_accepts_the_range_and_nothing_else() {
    let filter = Filter::parse("if ( net = 10.123.0.0/17 ) then { accept; }", Family::V4).unwrap();
    let outcome = filter.evaluate(&candidate("10.123.0.0/17", Some("lo")));
    assert_eq!(outcome, Outcome { verdict: Verdict::Accept, at: Some(Position { line: 1, column: 35 }) });
    for other in ["10.123.0.0/18", "10.123.0.0/16", "10.122.0.11/32", "::/0"] {
        assert_eq!(filter.evaluate(&candidate(other, Some("lo"))).verdict, Verdict::FallThrough, "{other}");
    }
}
