//! What a container runtime asks, and what it is answered.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use petiole_node::pods::{Attach, Attachment, CniAnswer, CniFailure, CniReply, CniRequest, Endpoint};
use petiole_node::store::key::{Key, Owner};
use petiole_node::store::value::{Affinity, Attribute, Block, Field, Value as _};

use super::{World, p};

pub fn attachment(container: &str) -> Attachment {
    Attachment { container: container.to_owned(), interface: "eth0".to_owned() }
}

pub fn attach(container: &str) -> Attach {
    Attach {
        network: "petiole".to_owned(),
        attachment: attachment(container),
        netns: Some(format!("/run/netns/{container}")),
        addresses_only: false,
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
