#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;

use petiole_node::pods::{Attach, Attachment, Endpoint, EndpointState};

use super::Records;

fn endpoint(host: &str) -> Endpoint {
    Endpoint {
        version: 1,
        boot_id: "b".to_owned(),
        state: EndpointState::Live,
        attach: Attach {
            network: "n".to_owned(),
            attachment: Attachment { container: "c".to_owned(), interface: "eth0".to_owned() },
            netns: None,
            addresses_only: false,
            bridge: None,
            pod: None,
            ips: vec![],
            mac: None,
            mtu: None,
            pools: vec![],
        },
        handle: "n.c".to_owned(),
        host: host.to_owned(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        addresses: vec!["10.123.128.1".parse().unwrap()],
        gateways: vec![],
        since: 7,
    }
}

#[test]
fn records_come_back_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::in_folder(folder.path()).unwrap();
    let one = endpoint("pet00000000001");
    records.write(&one).unwrap();
    let one = Endpoint { state: EndpointState::Releasing, ..one };
    records.write(&one).unwrap();
    assert_eq!(records.read().endpoints, [one]);
    records.remove("pet00000000001").unwrap();
    records.remove("pet00000000001").unwrap();
    assert_eq!(records.read().endpoints, []);
}

#[test]
fn what_cannot_be_read_is_told_and_what_is_half_written_goes() {
    let folder = tempfile::tempdir().unwrap();
    let records = Records::in_folder(folder.path()).unwrap();
    let at = |name: &str| folder.path().join("endpoints").join(name);
    fs::write(at("pet1.json"), b"{").unwrap();
    fs::write(at("pet2.new"), b"{").unwrap();
    let found = records.read();
    assert_eq!((found.endpoints.len(), found.unreadable.len()), (0, 1));
    assert!(found.unreadable[0].contains("pet1.json"), "{}", found.unreadable[0]);
    assert!(at("pet1.json").exists() && !at("pet2.new").exists());
}
