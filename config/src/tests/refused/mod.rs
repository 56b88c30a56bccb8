//! Everything that is refused, with the exact message.

use super::*;

mod announce;
mod bgp;
mod ipam;
mod keys;
mod kubernetes;
mod later;
mod node;
mod policy;
mod store;

/// Holds the messages about each text, one per line and without the file's name, against what is expected.
fn check(text_of: impl Fn(&str) -> String, cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (part, expected) in cases {
        let text = text_of(part);
        let messages = match load(&text, "petiole.toml", &Facts::new("host1")) {
            Ok(_) => "accepted".to_owned(),
            Err(errors) => errors.iter().map(short).collect::<Vec<_>>().join("\n"),
        };
        if messages != *expected {
            wrong += &format!("\n{text}\n  says\n{messages}\n  not\n{expected}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

fn short(error: &ConfigError) -> String {
    let text = error.to_string();
    text.strip_prefix("petiole.toml:").unwrap_or(&text).to_owned()
}

fn as_it_is(text: &str) -> String {
    text.to_owned()
}

/// A peer with this line more.
fn peer(line: &str) -> String {
    let asn = if line.contains("asn") { "" } else { "asn = 65001\n" };
    format!(
        "[store]\nembedded = \"/s\"\n[bgp]\nasn = 4200000011\n[[bgp.peer]]\naddress = \"10.122.101.0\"\n{asn}{line}"
    )
}

/// A peer with this address.
fn peer_at(address: &str) -> String {
    format!("[store]\nembedded = \"/s\"\n[bgp]\nasn = 4200000011\n[[bgp.peer]]\naddress = {address}\nasn = 65001\n")
}

fn own_asn(asn: &str) -> String {
    format!("[bgp]\nasn = {asn}\n")
}

fn etcd(table: &str) -> String {
    format!("[store]\netcd = {table}\n")
}

fn health(table: &str) -> String {
    format!("[[announce]]\nkind = \"service-range\"\nprefix = \"10.123.0.0/17\"\nhealth = {table}\n")
}

fn anycast(prefix: &str) -> String {
    format!("[[announce]]\nkind = \"anycast\"\nprefix = {prefix}\n")
}

fn service_range(prefix: &str) -> String {
    format!("[[announce]]\nkind = \"service-range\"\nprefix = {prefix}\n")
}

fn pools(list: &str) -> String {
    format!("[ipam]\npools = [{list}]\n")
}

#[test]
fn all_mistakes_come_at_once_sorted_by_place() {
    let text = r#"[node]
rolse = ["worker"]
router_id = "0.0.0.0"

[bgp]
asn = 0

[[bgp.peer]]
address = "10.122.101.1"
asn = 0
hold_time = "2s"
bfd = { interval = "1ms" }

[[announce]]
kind = "anycast"
prefix = "10.122.255.1/24"
"#;
    let expected = r#"petiole.toml:2:1: [node] has no key "rolse": did you mean "roles"? Its keys are name, roles, router_id, addresses, labels
petiole.toml:3:13: `router_id` in [node] is 0.0.0.0, which shares addresses with 0.0.0.0/8 (no destinations): write the node's own stable IPv4 address, such as "10.122.0.11"
petiole.toml:6:7: `asn` in [bgp] is 0, which no speaker may use (RFC 7607): write the AS number of the node, such as 4200000011
petiole.toml:8:1: there are peers but no [store]: with a store of its own this node could claim a block that another node owns; write [store] with etcd = { endpoints = ["http://10.122.0.1:2379"] }, or embedded = "/var/lib/petiole/store" if no other node shares these pools
petiole.toml:10:7: `asn` in [[bgp.peer]] is 0, which no speaker may use (RFC 7607): write the AS number of the leaf, such as 65001
petiole.toml:11:13: `hold_time` is 2s: BGP (RFC 4271, section 4.2) allows whole seconds, at least "3s" and at most "65535s", or "0s" for a session without keepalives
petiole.toml:12:20: `interval` in bfd is 1ms: write "10ms" to "60s"
petiole.toml:16:10: `prefix` in [[announce]] is 10.122.255.1/24, which is more than one address: write "10.122.255.1/32""#;
    assert_eq!(bad(text), expected);
}

#[test]
fn the_hosts_name_and_the_environments_are_checked_too() {
    let message = |facts: &Facts| load("", "petiole.toml", facts).unwrap_err().to_string();
    assert_eq!(
        message(&Facts::new("")),
        "host name: the node's name is empty: write `name` in [node], such as \"worker1\""
    );
    let mut facts = Facts::new("host1");
    facts.environment.insert(NODE_NAME.to_owned(), "a/b".to_owned());
    assert_eq!(
        message(&facts),
        "environment variable PETIOLE_NODE_NAME: the node's name has the character '/': names are parts of keys in the store, so use letters, digits, '.', '-' and '_'"
    );
    facts.environment.insert(NODE_NAME.to_owned(), String::new());
    assert!(message(&facts).starts_with("environment variable PETIOLE_NODE_NAME: the node's name is empty"));
}

#[test]
fn bytes_that_are_no_text_are_placed() {
    let error = decode(b"[node]\nname = \"\xff\"", "petiole.toml").unwrap_err();
    assert_eq!(error.to_string(), "petiole.toml:2:9: this byte is not UTF-8: write the file as plain UTF-8 text");
    assert_eq!(decode("[node]".as_bytes(), "petiole.toml").unwrap(), "[node]");
}

#[test]
fn mistakes_are_json_for_machines() {
    let errors = load("nod = 1", "petiole.toml", &Facts::new("host1")).unwrap_err();
    let error = errors.iter().next().unwrap();
    let json = toml::Value::try_from(error).unwrap();
    assert_eq!(json["place"].as_str(), Some("petiole.toml"));
    assert_eq!((json["line"].as_integer(), json["column"].as_integer()), (Some(1), Some(1)));
    assert!(json["message"].as_str().unwrap().starts_with("there is no section \"nod\""));
}
