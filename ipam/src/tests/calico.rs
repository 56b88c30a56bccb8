//! A node that still runs Calico, in the steps that `calico-etcd-history.jsonl` shows: one key a transaction, so that it can
//! be overtaken, or die, between any two of them.

use petiole_store::Owner;
use petiole_store::value::{Affinity, AffinityState, Attribute, Block, Field, Handle, Value};

use super::*;

pub(super) struct Calico {
    /// Empty once the node is one of ours.
    pub(super) name: String,
    /// The node's name, whoever runs on it.
    pub(super) home: String,
    pool: Prefix,
    size: u8,
    job: Option<Job>,
    /// What its pods hold.
    pub(super) holds: BTreeMap<String, IpAddr>,
    /// Handles of jobs that it was doing when it died.
    pub(super) unsure: BTreeSet<String>,
}

#[derive(Clone, Debug)]
enum Job {
    Find(String, usize),
    Pending(String, usize, Prefix),
    PendingAgain(String, usize, Prefix, Revision),
    Create(String, usize, Prefix, Revision),
    Confirm(String, usize, Prefix, Revision),
    Take(String, usize, Prefix),
    Write(String, usize, IpAddr, Revision, Box<Block>),
    Decrement(String, usize, Prefix),
    Free(String, Prefix),
    FreeHandle(String, Prefix),
    GiveBack(Prefix),
    Drop(Prefix, Revision),
    Forget(Prefix, Revision),
}

impl Calico {
    pub(super) fn new(name: &str, pool: PoolSpec) -> Self {
        let (name, home, pool, size) = (name.to_owned(), name.to_owned(), pool.cidr, pool.block_size);
        Self { name, home, pool, size, job: None, holds: BTreeMap::new(), unsure: BTreeSet::new() }
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.job.is_none()
    }

    pub(super) fn assign(&mut self, handle: &str) {
        if !self.holds.contains_key(handle) && !self.unsure.contains(handle) {
            self.job = Some(Job::Find(handle.to_owned(), 0));
        }
    }

    pub(super) fn release(&mut self, handle: &str, world: &World) {
        let Some(addr) = self.holds.remove(handle) else { return };
        let block = world.blocks().into_keys().find(|b| b.contains_addr(addr));
        self.job = block.map(|b| Job::Free(handle.to_owned(), b));
    }

    pub(super) fn give_back(&mut self, world: &World) {
        let mine = world.blocks().into_iter().find(|(_, b)| b.owner().is_some_and(|o| o.is_host(&self.name)));
        self.job = mine.map(|(cidr, _)| Job::GiveBack(cidr));
    }

    /// It dies. What it was doing stays half done.
    pub(super) fn die(&mut self) {
        if let Some(job) = self.job.take() {
            self.unsure.extend(job.handle().map(str::to_owned));
        }
    }

    /// One key is written, or read.
    pub(super) fn step(&mut self, world: &mut World) {
        let Some(job) = self.job.take() else { return };
        self.job = self.next(job, world);
    }

    fn next(&mut self, job: Job, world: &mut World) -> Option<Job> {
        let owner = Owner::Host(self.name.clone());
        let affinity = |cidr| Key::host_affinity(&self.name, cidr);
        let state = |state| Affinity { state, ..Affinity::default() }.encode();
        Some(match job {
            Job::Find(_, 20..) => return None,
            Job::Find(handle, tries) => {
                let tries = tries + 1;
                let blocks = world.blocks();
                let mine = world.keys(&format!("/calico/ipam/v2/host/{}/", self.name));
                let mine: Vec<Prefix> = mine.iter().filter_map(|(k, ..)| block_of(k)).collect();
                for cidr in mine {
                    match blocks.get(&cidr) {
                        None => return Some(Job::Pending(handle, tries, cidr)),
                        Some(b) if b.owner().as_ref() == Some(&owner) && b.free() > 0 => {
                            let (_, value, _) = world.keys(&affinity(cidr).to_string()).swap_remove(0);
                            let is_confirmed = Affinity::decode(&affinity(cidr).to_string(), &value).unwrap().state
                                == AffinityState::Confirmed;
                            return Some(if is_confirmed {
                                Job::Take(handle, tries, cidr)
                            } else {
                                Job::Pending(handle, tries, cidr)
                            });
                        }
                        Some(_) => {}
                    }
                }
                let count = self.pool.subnet_count(self.size);
                let free = (0..count).filter_map(|i| self.pool.subnet(self.size, i)).find(|c| !blocks.contains_key(c));
                Job::Pending(handle, tries, free?)
            }
            Job::Pending(handle, tries, cidr) => {
                let key = affinity(cidr);
                let txn = match world.revision_of(&key) {
                    None => Txn::new().absent(&key),
                    Some(at) => Txn::new().unchanged(&key, at),
                };
                let done = world.transact(&txn.put(&key, state(AffinityState::Pending)));
                Job::PendingAgain(handle, tries, cidr, done.revision)
            }
            Job::PendingAgain(handle, tries, cidr, at) => {
                let key = affinity(cidr);
                let done = world.transact(&Txn::new().unchanged(&key, at).put(&key, state(AffinityState::Pending)));
                if done.succeeded { Job::Create(handle, tries, cidr, done.revision) } else { Job::Find(handle, tries) }
            }
            Job::Create(handle, tries, cidr, at) => {
                let key = Key::Block(cidr);
                let block = Block::new(cidr, owner.clone(), world.wall()).unwrap();
                let created = world.transact(&Txn::new().absent(&key).put(&key, block.encode())).succeeded;
                if created || world.blocks().get(&cidr).is_some_and(|b| b.owner() == Some(owner)) {
                    Job::Confirm(handle, tries, cidr, at)
                } else {
                    world.transact(&Txn::new().unchanged(affinity(cidr), at).delete(affinity(cidr)));
                    Job::Find(handle, tries)
                }
            }
            Job::Confirm(handle, tries, cidr, at) => {
                let key = affinity(cidr);
                let done = world.transact(&Txn::new().unchanged(&key, at).put(&key, state(AffinityState::Confirmed)));
                if done.succeeded { Job::Take(handle, tries, cidr) } else { Job::Find(handle, tries) }
            }
            Job::Take(handle, tries, cidr) => {
                let (Some(at), Some(mut block)) = (world.revision_of(&Key::Block(cidr)), world.blocks().remove(&cidr))
                else {
                    return Some(Job::Find(handle, tries));
                };
                let secondary = BTreeMap::from([("node".to_owned(), self.name.clone())]);
                let attribute = Attribute {
                    handle_id: Field::Is(handle.clone()),
                    secondary: Field::Is(secondary),
                    ..Attribute::default()
                };
                let ordinal =
                    if block.owner() == Some(owner) { block::assign(&mut block, attribute, &[]) } else { None };
                let Some(addr) = ordinal.and_then(|o| block.address(o)) else { return Some(Job::Find(handle, tries)) };
                count(world, &handle, |h| h.add(cidr));
                Job::Write(handle, tries, addr, at, Box::new(block))
            }
            Job::Write(handle, tries, addr, at, block) => {
                let key = Key::Block(block.cidr);
                if world.transact(&Txn::new().unchanged(&key, at).put(&key, block.encode())).succeeded {
                    self.holds.insert(handle, addr);
                    return None;
                }
                Job::Decrement(handle, tries, block.cidr)
            }
            Job::Decrement(handle, tries, cidr) => {
                count(world, &handle, |h| h.remove(cidr));
                Job::Find(handle, tries)
            }
            Job::Free(handle, cidr) => {
                let key = Key::Block(cidr);
                let (at, mut block) = (world.revision_of(&key)?, world.blocks().remove(&cidr)?);
                let held = block.held_by(&handle);
                let ordinals: Vec<u16> = held.into_iter().filter_map(|a| block.ordinal(a)).collect();
                block::release(&mut block, &ordinals, block::By::Handle, world.wall());
                block::collect(&mut block, Duration::ZERO, world.wall());
                let is_over = block.owner().is_none() && block.used() == 0;
                let txn = Txn::new().unchanged(&key, at);
                let txn = if is_over { txn.delete(&key) } else { txn.put(&key, block.encode()) };
                if world.transact(&txn).succeeded { Job::FreeHandle(handle, cidr) } else { Job::Free(handle, cidr) }
            }
            Job::FreeHandle(handle, cidr) => {
                count(world, &handle, |h| h.remove(cidr));
                return None;
            }
            Job::GiveBack(cidr) => {
                let (key, at) = (affinity(cidr), world.revision_of(&affinity(cidr))?);
                let block = world.blocks().remove(&cidr)?;
                if block.owner() != Some(owner) {
                    return None;
                }
                let done =
                    world.transact(&Txn::new().unchanged(&key, at).put(&key, state(AffinityState::PendingDeletion)));
                Job::Drop(cidr, done.revision)
            }
            Job::Drop(cidr, affinity_at) => {
                let key = Key::Block(cidr);
                let (at, mut block) = (world.revision_of(&key)?, world.blocks().remove(&cidr)?);
                if block.owner() != Some(owner) {
                    return None;
                }
                let txn = Txn::new().unchanged(&key, at);
                let txn = if block.used() == 0 {
                    txn.delete(&key)
                } else {
                    block.affinity = None;
                    block.affinity_claim_time = None;
                    block.sequence_number += 1;
                    txn.put(&key, block.encode())
                };
                if !world.transact(&txn).succeeded {
                    return None;
                }
                Job::Forget(cidr, affinity_at)
            }
            Job::Forget(cidr, at) => {
                world.transact(&Txn::new().unchanged(affinity(cidr), at).delete(affinity(cidr)));
                return None;
            }
        })
    }
}

impl Job {
    fn handle(&self) -> Option<&str> {
        match self {
            Self::Find(h, ..) | Self::Pending(h, ..) | Self::PendingAgain(h, ..) | Self::Create(h, ..) => Some(h),
            Self::Confirm(h, ..) | Self::Take(h, ..) | Self::Write(h, ..) | Self::Decrement(h, ..) => Some(h),
            Self::Free(h, ..) | Self::FreeHandle(h, ..) => Some(h),
            Self::GiveBack(..) | Self::Drop(..) | Self::Forget(..) => None,
        }
    }
}

fn block_of(key: &str) -> Option<Prefix> {
    match Key::parse(key) {
        Ok(Key::Affinity { block, .. }) => Some(block),
        _ => None,
    }
}

/// Changes a handle by compare and swap, as often as it takes.
fn count(world: &mut World, name: &str, change: impl Fn(&mut Handle)) {
    let key = Key::Handle(name.to_owned());
    let found = world.keys(&key.to_string()).into_iter().find(|(k, ..)| *k == key.to_string());
    let (txn, mut handle) = match found {
        None => (Txn::new().absent(&key), Handle::default()),
        Some((k, value, at)) => (Txn::new().unchanged(&key, at), Handle::decode(&k, &value).unwrap()),
    };
    change(&mut handle);
    world.transact(&if handle.is_empty() { txn.delete(&key) } else { txn.put(&key, handle.encode()) });
}
