//! What a container runtime asks, and what it is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use petiole_node::pods::{Attach, Attachment, CniAnswer, CniFailure, CniReply, CniRequest, Endpoint};
use petiole_node::store::key::{Key, Owner};
use petiole_node::store::value::{Affinity, Attribute, Block, Field, Value as _};

use super::{World, p};

/// A worker with a pool of each family.
pub const NODE: &str = worker!(
    r#"
[ipam]
pools = [{ cidr = "10.123.128.0/17" }, { cidr = "fd00:123:8000::/112" }]

[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#
);

pub fn started() -> World {
    let mut world = World::new(NODE);
    world.load_records(BTreeMap::new());
    world.run_for(Duration::from_secs(3));
    world
}

pub fn attachment(container: &str) -> Attachment {
    Attachment { container: container.to_owned(), interface: "eth0".to_owned() }
}

pub fn attach(container: &str) -> Attach {
    Attach {
        network: "petiole".to_owned(),
        attachment: attachment(container),
        netns: Some(format!("/run/netns/{container}")),
        addresses_only: false,
        bridge: None,
        pod: Some(("default".to_owned(), container.to_owned())),
        ips: Vec::new(),
        mac: None,
        mtu: None,
        pools: Vec::new(),
    }
}

pub fn add(container: &str) -> CniRequest {
    CniRequest::Add(Box::new(attach(container)))
}

/// What another plugin asks that puts its containers on a bridge.
pub fn behind(bridge: &str, container: &str) -> CniRequest {
    let bridge = Some(bridge.to_owned());
    CniRequest::Add(Box::new(Attach { addresses_only: true, bridge, ..attach(container) }))
}

pub fn add_with(container: &str, ips: &[&str], pools: &[&str]) -> CniRequest {
    let ips = ips.iter().map(|ip| super::ip(ip)).collect();
    let pools = pools.iter().map(|p| (*p).to_owned()).collect();
    CniRequest::Add(Box::new(Attach { ips, pools, ..attach(container) }))
}

pub fn del(container: &str) -> CniRequest {
    CniRequest::Del(attachment(container))
}

/// The answer that comes at once.
pub fn ask(world: &mut World, request: CniRequest) -> CniReply {
    let id = world.cni(request);
    world.settle();
    world.cni_replies.get(&id).cloned().expect("no answer")
}

/// The answer that comes in the end.
pub fn ask_and_wait(world: &mut World, request: CniRequest) -> CniReply {
    let id = world.cni(request);
    world.run_for(Duration::from_secs(12));
    world.cni_replies.get(&id).cloned().expect("no answer")
}

pub fn added(reply: CniReply) -> Endpoint {
    match reply {
        Ok(CniAnswer::Added(endpoint)) => *endpoint,
        other => panic!("{other:?}"),
    }
}

pub fn refused(reply: CniReply) -> CniFailure {
    reply.expect_err("it was served")
}

/// Another node has a block, with its first addresses held.
pub fn lend(world: &mut World, node: &str, cidr: &str, held: u16) {
    let owner = Owner::Host(node.to_owned());
    let mut block = Block::new(p(cidr), owner.clone(), 0).expect("a block");
    for n in 0..held {
        let addr: IpAddr = block.address(n).expect("an ordinal");
        let secondary = BTreeMap::from([("node".to_owned(), node.to_owned())]);
        block.attributes.get_or_insert_default().push(Attribute {
            handle_id: Field::Is(format!("petiole.{addr}")),
            secondary: Field::Is(secondary),
            ..Attribute::default()
        });
        block.allocations[usize::from(n)] = Some(n);
        block.sequence_number_for_allocation.insert(n, 0);
        block.unallocated.retain(|o| *o != n);
    }
    let encoded = String::from_utf8(block.encode()).expect("text");
    world.put(&Key::Block(p(cidr)).to_string(), &encoded);
    let affinity = Affinity::confirmed();
    let encoded = String::from_utf8(affinity.encode()).expect("text");
    world.put(&Key::Affinity { owner, block: p(cidr) }.to_string(), &encoded);
}

/// Every address that the store says is held, with its handle.
pub fn held(world: &World) -> BTreeMap<IpAddr, String> {
    let blocks = world.store.list("/calico/ipam/v2/assignment/");
    let blocks = blocks.map(|kv| Block::decode(&kv.key, &kv.value).unwrap());
    let held = blocks.flat_map(|b| {
        let live = b.live().map(|(o, a)| (b.address(o).unwrap(), a.handle_id.get().unwrap().clone()));
        live.collect::<Vec<_>>()
    });
    held.collect()
}

pub fn interfaces(world: &World) -> BTreeSet<String> {
    world.kernel.links.values().map(|l| l.name.clone()).filter(|n| n.starts_with("pet")).collect()
}

pub fn host_routes(world: &World) -> Vec<String> {
    world.kernel.ours().into_iter().filter(|r| r.starts_with("10.123.") && r.ends_with("/32")).collect()
}

pub fn nothing_is_left(world: &World) {
    assert_eq!(held(world), BTreeMap::new());
    assert_eq!(interfaces(world), BTreeSet::new());
    assert_eq!(world.records, BTreeMap::new());
    assert_eq!(host_routes(world), Vec::<String>::new());
}
