use super::*;

fn set_of(values: &[(&str, &str)]) -> FilterSet {
    let mut set = FilterSet::new(Family::V4);
    update(&mut set, values);
    set
}

fn update(set: &mut FilterSet, values: &[(&str, &str)]) -> bool {
    set.update(values.iter().map(|(key, value)| (*key, value.as_bytes())))
}

fn decided(set: &FilterSet, net: &str) -> String {
    let decision = set.evaluate(&candidate(net, Some("lo")));
    match decision.by {
        Some((key, at)) => format!("{:?} by {key} {}:{}", decision.verdict, at.line, at.column),
        None => format!("{:?}", decision.verdict),
    }
}

fn rejected(set: &FilterSet) -> Vec<String> {
    set.rejected().map(|r| format!("{} {} {}", r.key, r.last_good_in_force, r.error)).collect()
}

#[test]
fn keys_are_asked_in_their_order_and_the_first_decision_counts() {
    let set = set_of(&[("services", "accept;"), ("a", "if net = 10.0.0.0/8 then reject;"), ("b", "")]);
    assert_eq!(decided(&set, "10.0.0.0/8"), "Reject by a 1:26");
    assert_eq!(decided(&set, "10.1.0.0/16"), "Accept by services 1:1");
    assert_eq!(decided(&FilterSet::new(Family::V4), "10.1.0.0/16"), "FallThrough");
}

#[test]
fn a_broken_value_leaves_the_last_good_one_of_its_key_in_force() {
    let mut set = set_of(&[("a", "if net = 10.0.0.0/8 then accept;"), ("b", "reject;")]);
    let changed = update(&mut set, &[("a", "if net = 10.0.0.0/8 then accept"), ("b", "accept;")]);
    assert!(changed, "b changed");
    assert_eq!(decided(&set, "10.0.0.0/8"), "Accept by a 1:26");
    assert_eq!(decided(&set, "10.1.0.0/16"), "Accept by b 1:1");
    assert_eq!(rejected(&set), ["a true line 1, column 32: the text ends here; expected ; after accept"]);

    assert!(!update(&mut set, &[("a", "garbage"), ("b", "accept;")]), "what is in force stays");
    assert_eq!(decided(&set, "10.0.0.0/8"), "Accept by a 1:26");

    assert!(
        !update(&mut set, &[("a", "if net = 10.0.0.0/8 then accept;"), ("b", "accept;")]),
        "back to what is in force"
    );
    assert_eq!(rejected(&set), [""; 0]);
}

#[test]
fn a_key_that_never_parsed_has_nothing_in_force() {
    let set = set_of(&[("a", "proto"), ("b", "accept;")]);
    assert_eq!(decided(&set, "10.0.0.0/8"), "Accept by b 1:1");
    assert_eq!(rejected(&set).len(), 1);
    assert!(rejected(&set)[0].starts_with("a false "));
}

#[test]
fn a_deleted_key_is_gone_with_its_last_good_value() {
    let mut set = set_of(&[("a", "accept;")]);
    assert!(!set.update_key("a", Some(b"accept")));
    assert_eq!(decided(&set, "10.0.0.0/8"), "Accept by a 1:1");
    assert!(set.update_key("a", None));
    assert_eq!(set, FilterSet::new(Family::V4));
    let mut set = set_of(&[("a", "accept;")]);
    assert!(update(&mut set, &[]));
    assert!(set.is_empty());
}

#[test]
fn one_key_at_a_time_comes_to_the_same_as_all_at_once() {
    let values = [("a", "accept"), ("b", "if net = 10.0.0.0/8 then accept;"), ("c", "reject;")];
    let mut single = FilterSet::new(Family::V4);
    for (key, value) in values {
        single.update_key(key, Some(value.as_bytes()));
    }
    assert_eq!(single, set_of(&values));
}

#[test]
fn bytes_that_are_no_text_are_named_with_their_place() {
    let mut set = FilterSet::new(Family::V4);
    set.update([("a", b"accept;\n# \xff".as_slice())]);
    assert_eq!(rejected(&set), ["a false line 2, column 3: this byte is not UTF-8; write the value as plain text"]);
}

#[test]
fn a_set_survives_being_saved() {
    let mut set = set_of(&[("a", "if net = 10.0.0.0/8 then accept;"), ("b", "reject;"), ("c", "print 1;")]);
    set.update_key("b", Some(b"rejct;"));
    let json = serde_json::to_string(&set).unwrap();
    assert_eq!(serde_json::from_str::<FilterSet>(&json).unwrap(), set);
}

#[test]
fn a_saved_text_that_this_version_cannot_read_is_reported_not_fatal() {
    let json = r#"{"family":"v4","keys":{"a":{"text":"if net.len > 24 then reject;"},"b":{"text":"accept;"}}}"#;
    let set: FilterSet = serde_json::from_str(json).unwrap();
    assert_eq!(decided(&set, "10.0.0.0/8"), "Accept by b 1:1");
    assert_eq!(rejected(&set).len(), 1);
}
