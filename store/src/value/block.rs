//! Blocks: who owns a range, and who holds its addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use petiole_prefix::Prefix;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Field, Unknown, Value, by_text, null_as_default};
use crate::UnixNanos;
use crate::key::{Key, Owner};
use crate::time::rfc3339;

/// Blocks larger than this many bits of addresses do not fit into a value of etcd.
const MAX_HOST_BITS: u8 = 12;

/// Who holds an address, and what is known about the holder.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Attribute {
    /// The handle; absent in a tombstone.
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub handle_id: Field<String>,
    /// `node`, `timestamp`, `pod`, `namespace`, `type`, ...
    #[serde(default, skip_serializing_if = "Field::is_absent")]
    pub secondary: Field<BTreeMap<String, String>>,
    /// Of KubeVirt's live migration; kept.
    #[serde(default, rename = "alternateOwnerAttrs", skip_serializing_if = "Field::is_absent")]
    pub alternate_owner_attrs: Field<BTreeMap<String, String>>,
    /// Set in a tombstone: since when (RFC 3339) the address has been cooling down.
    #[serde(default, rename = "releasedAt", skip_serializing_if = "Field::is_absent")]
    pub released_at: Field<String>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Attribute {
    /// What a released address points to until it may be assigned again.
    #[must_use]
    pub fn tombstone(released: UnixNanos) -> Self {
        Self { released_at: Field::Is(rfc3339(released)), ..Self::default() }
    }

    /// Whether the address is cooling down: nobody holds it.
    #[must_use]
    pub const fn is_tombstone(&self) -> bool {
        self.released_at.get().is_some()
    }
}

/// The value of [`Key::Block`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Block {
    /// Its range.
    pub cidr: Prefix,
    /// Who owns it.
    #[serde(default, serialize_with = "write_owner", deserialize_with = "read_owner")]
    pub affinity: Option<Owner>,
    /// Since when (RFC 3339); absent on old blocks and on those without an owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity_claim_time: Option<String>,
    /// For each address, in order: `None` when nobody holds it, else the index of its attribute.
    pub allocations: Vec<Option<u16>>,
    /// The ordinals that can be assigned: from the front, and given back at the end, so that the address that has been free
    /// for longest comes first.
    #[serde(deserialize_with = "null_as_default")]
    pub unallocated: Vec<u16>,
    /// `None`, JSON's `null`, in a block that never had an allocation.
    #[serde(default)]
    pub attributes: Option<Vec<Attribute>>,
    /// Grows with every allocation, release, and change of owner; the clock's nanoseconds at the block's creation.
    #[serde(rename = "sequenceNumber", default)]
    pub sequence_number: u64,
    /// For each allocated ordinal, the block's number before it was allocated.
    #[serde(rename = "sequenceNumberForAllocation", default, with = "by_text")]
    pub sequence_number_for_allocation: BTreeMap<u16, u64>,
    /// Always false in etcd.
    #[serde(default)]
    pub deleted: bool,
    /// What very old versions wrote instead of `affinity`.
    #[serde(default, rename = "hostAffinity", skip_serializing_if = "Option::is_none")]
    pub host_affinity: Option<String>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub unknown: Unknown,
}

impl Block {
    /// A new, empty block of this owner; `None` when it would have more addresses than fit into a value.
    #[must_use]
    pub fn new(cidr: Prefix, owner: Owner, wall: UnixNanos) -> Option<Self> {
        let size = size(cidr)?;
        Some(Self {
            cidr,
            affinity: Some(owner),
            affinity_claim_time: Some(rfc3339(wall)),
            allocations: vec![None; usize::from(size)],
            unallocated: (0..size).collect(),
            attributes: None,
            sequence_number: wall,
            sequence_number_for_allocation: BTreeMap::new(),
            deleted: false,
            host_affinity: None,
            unknown: Unknown::new(),
        })
    }

    /// Who owns it.
    #[must_use]
    pub fn owner(&self) -> Option<Owner> {
        self.affinity.clone().or_else(|| self.host_affinity.clone().map(Owner::Host))
    }

    /// How many addresses are held, those cooling down included.
    #[must_use]
    pub fn used(&self) -> usize {
        self.allocations.iter().flatten().count()
    }

    /// How many addresses can be assigned.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.unallocated.len()
    }

    /// The attribute of an ordinal that is held.
    #[must_use]
    pub fn attribute(&self, ordinal: u16) -> Option<&Attribute> {
        let index = (*self.allocations.get(usize::from(ordinal))?)?;
        self.attributes.as_ref()?.get(usize::from(index))
    }

    /// The ordinals that somebody holds, tombstones left out, with their attributes.
    pub fn live(&self) -> impl Iterator<Item = (u16, &Attribute)> {
        (0u16..).take(self.allocations.len()).filter_map(|ordinal| {
            let attribute = self.attribute(ordinal)?;
            (!attribute.is_tombstone()).then_some((ordinal, attribute))
        })
    }

    /// The addresses that this handle holds, in order.
    #[must_use]
    pub fn held_by(&self, handle: &str) -> Vec<IpAddr> {
        let mine = self.live().filter(|(_, a)| a.handle_id.get().is_some_and(|h| h == handle));
        mine.filter_map(|(ordinal, _)| self.address(ordinal)).collect()
    }

    /// The address of an ordinal.
    #[must_use]
    pub fn address(&self, ordinal: u16) -> Option<IpAddr> {
        Some(self.cidr.subnet(self.cidr.family().max_len(), u128::from(ordinal))?.addr())
    }

    /// The ordinal of an address of this block.
    #[must_use]
    pub fn ordinal(&self, addr: IpAddr) -> Option<u16> {
        if !self.cidr.contains_addr(addr) {
            return None;
        }
        match (self.cidr.addr(), addr) {
            (IpAddr::V4(net), IpAddr::V4(a)) => u16::try_from(a.to_bits() - net.to_bits()).ok(),
            (IpAddr::V6(net), IpAddr::V6(a)) => u16::try_from(a.to_bits() - net.to_bits()).ok(),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }
}

impl Value for Block {
    const KIND: &'static str = "block";

    fn check(&self, key: &Key) -> Result<Option<()>, String> {
        let Key::Block(cidr) = key else { return Ok(None) };
        if *cidr != self.cidr {
            return Err(format!("its range is {}", self.cidr));
        }
        let size = size(*cidr).ok_or_else(|| format!("{cidr} is too large for a block"))?;
        if self.allocations.len() != usize::from(size) {
            return Err(format!("it has {} allocations instead of {size}", self.allocations.len()));
        }
        let attributes = self.attributes.as_ref().map_or(0, Vec::len);
        if let Some(index) = self.allocations.iter().flatten().find(|i| usize::from(**i) >= attributes) {
            return Err(format!("an allocation points to attribute {index} of {attributes}"));
        }
        let mut queued = BTreeSet::new();
        for ordinal in &self.unallocated {
            if !queued.insert(ordinal) {
                return Err(format!("ordinal {ordinal} is free twice"));
            }
            match self.allocations.get(usize::from(*ordinal)) {
                None => return Err(format!("ordinal {ordinal} is free but outside of the block")),
                Some(Some(_)) => return Err(format!("ordinal {ordinal} is both free and allocated")),
                Some(None) => {}
            }
        }
        Ok(Some(()))
    }
}

/// How many addresses a block has.
fn size(cidr: Prefix) -> Option<u16> {
    let bits = cidr.family().max_len() - cidr.len();
    (bits <= MAX_HOST_BITS).then(|| 1 << bits)
}

fn write_owner<S: Serializer>(owner: &Option<Owner>, serializer: S) -> Result<S::Ok, S::Error> {
    owner.as_ref().map(ToString::to_string).serialize(serializer)
}

fn read_owner<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Owner>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|t| t.parse().map_err(de::Error::custom)).transpose()
}
