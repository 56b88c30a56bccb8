use super::*;
use petiole_store::KeyValue;

const SERVICES: &str = "/calico/bgp/v1/global/custom_filters/v4/services";

fn put(key: &str, value: &str) -> Fact {
    Fact::Put(KeyValue { key: key.to_owned(), value: value.as_bytes().to_vec(), create_revision: 1, mod_revision: 1 })
}

fn range() -> Prefix {
    "10.123.0.0/17".parse().unwrap()
}

const OPERATORS: &str = "if ( net = 10.123.0.0/17 ) then { accept; }";

#[test]
fn the_operators_value_accepts_the_range_and_deleting_it_ends_that() {
    let mut filters = Filters::new();
    filters.handle_fact(&put(SERVICES, OPERATORS));
    assert_eq!(filters.judge(&range(), Some("lo")), FilterVerdict::Accept(format!("{SERVICES} (line 1, column 35)")));
    filters.handle_fact(&Fact::Deleted { key: SERVICES.to_owned(), mod_revision: 2 });
    assert_eq!(filters.judge(&range(), Some("lo")), FilterVerdict::FallThrough);
}

#[test]
fn the_last_good_value_stays_in_force_beside_a_problem_with_its_place() {
    let mut filters = Filters::new();
    filters.handle_fact(&put(SERVICES, OPERATORS));
    filters.handle_fact(&put(SERVICES, "if ( net = 10.123.0.0/17 then accept;"));
    assert!(matches!(filters.judge(&range(), Some("lo")), FilterVerdict::Accept(_)));
    let problems = filters.problems().join("\n");
    assert!(
        problems.contains(SERVICES) && problems.contains("line 1, column 26") && problems.contains("stays in force"),
        "{problems}"
    );
    assert_eq!(filters.mistakes().collect::<Vec<_>>(), [(SERVICES, 1, 26)]);
    assert_eq!(filters.texts().get(SERVICES).map(String::as_str), Some(OPERATORS));
    filters.handle_fact(&put(SERVICES, OPERATORS));
    assert_eq!(filters.mistakes().count(), 0);
}

#[test]
fn saved_filters_hold_until_the_store_is_in_sync_without_them() {
    let mut filters = Filters::new();
    filters.restore(&BTreeMap::from([(SERVICES.to_owned(), OPERATORS.to_owned())]));
    assert!(matches!(filters.judge(&range(), Some("lo")), FilterVerdict::Accept(_)));
    filters.settle();
    assert_eq!(filters.judge(&range(), Some("lo")), FilterVerdict::FallThrough);
    filters.restore(&BTreeMap::from([(SERVICES.to_owned(), OPERATORS.to_owned())]));
    filters.handle_fact(&put(SERVICES, OPERATORS));
    filters.settle();
    assert!(matches!(filters.judge(&range(), Some("lo")), FilterVerdict::Accept(_)));
}

#[test]
fn a_key_of_no_family_is_named() {
    let mut filters = Filters::new();
    filters.handle_fact(&put("/calico/bgp/v1/global/custom_filters/services", "accept;"));
    assert!(filters.problems().join("").contains("custom_filters/services is not used"));
}
