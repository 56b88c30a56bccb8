//! UPDATE (RFC 4271 section 4.3, RFC 4760, RFC 7606).

use std::collections::BTreeSet;

use petiole_prefix::{Family, Prefix};

use super::attr::{Attributes, Scan};
use super::error::{Fault, Treatment, UpdateFault};
use super::nlri::{self, Bits, Bits6};
use super::notification::{ErrorCode, Notification};

/// What of the session an UPDATE is read by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UpdateContext {
    /// AS numbers have four octets (RFC 6793).
    pub four_octet_as: bool,
    /// The families negotiated; what comes for others is left out.
    pub families: BTreeSet<Family>,
    /// IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The families whose prefixes come with a path identifier before them (RFC 7911).
    pub add_path: BTreeSet<Family>,
}

impl UpdateContext {
    /// A field of prefixes as it comes on this session; `None` if one can't be read.
    #[must_use]
    pub fn field<'a>(&self, family: Family, bytes: &'a [u8]) -> Option<NlriField<'a>> {
        NlriField::read(family, bytes, self.add_path.contains(&family))
    }
}

/// The three fields of an UPDATE, unread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sections<'a> {
    /// Withdrawn IPv4 prefixes.
    pub withdrawn: &'a [u8],
    /// Path attributes.
    pub attributes: &'a [u8],
    /// Announced IPv4 prefixes.
    pub nlri: &'a [u8],
}

impl<'a> Sections<'a> {
    /// Cuts the body of an UPDATE in three.
    ///
    /// # Errors
    /// When a length points past the end of the message: what lies where can't be told any more (RFC 4271 section 6.3).
    pub fn split(body: &'a [u8]) -> Result<Self, Reset> {
        let sections = || {
            let (withdrawn, rest) = sized(body)?;
            let (attributes, nlri) = sized(rest)?;
            Some(Self { withdrawn, attributes, nlri })
        };
        sections().ok_or_else(|| Reset::new(None, Fault::Overrun, 1, &[]))
    }
}

/// A fault that ends the session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reset {
    /// What was wrong.
    pub fault: UpdateFault,
    /// What to tell the peer.
    pub notification: Notification,
}

impl Reset {
    pub(super) fn new(attribute: Option<u8>, what: Fault, subcode: u8, data: &[u8]) -> Self {
        Self {
            fault: UpdateFault { attribute, what },
            notification: Notification::new(ErrorCode::Update, subcode).with_data(data),
        }
    }
}

/// A field of prefixes, checked to be readable as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NlriField<'a> {
    family: Family,
    bytes: &'a [u8],
    count: usize,
    /// Four octets of path identifier come before each prefix (RFC 7911 section 3).
    path_ids: bool,
}

/// Octets of a path identifier.
const PATH_ID: usize = 4;

impl<'a> NlriField<'a> {
    /// A field, if every prefix of it can be read.
    #[must_use]
    pub fn new(family: Family, bytes: &'a [u8]) -> Option<Self> {
        Self::read(family, bytes, false)
    }

    /// The same, with a path identifier before every prefix.
    #[must_use]
    pub fn with_path_ids(family: Family, bytes: &'a [u8]) -> Option<Self> {
        Self::read(family, bytes, true)
    }

    fn read(family: Family, bytes: &'a [u8], path_ids: bool) -> Option<Self> {
        let skip = if path_ids { PATH_ID } else { 0 };
        let count = match family {
            Family::V4 => nlri::count::<u32>(bytes, skip)?,
            Family::V6 => nlri::count::<Bits6>(bytes, skip)?,
        };
        Some(Self { family, bytes, count, path_ids })
    }

    /// The family of its prefixes.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// How many prefixes it has.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// The prefixes, as keys of this family; none for keys of the other one.
    pub fn keys<K: Bits>(&self) -> impl Iterator<Item = (K, u8)> + use<'a, K> {
        let skip = if self.path_ids { PATH_ID } else { 0 };
        nlri::prefixes(if K::FAMILY == self.family { self.bytes } else { &[] }, skip)
    }

    /// Whether path identifiers come before the prefixes.
    #[must_use]
    pub const fn has_path_ids(&self) -> bool {
        self.path_ids
    }

    /// Each prefix as a field of its own, without its path identifier, which is given beside it; none where there are none.
    pub fn paths(&self) -> impl Iterator<Item = (u32, NlriField<'a>)> + use<'a> {
        let family = self.family;
        let mut rest = if self.path_ids { self.bytes } else { &[] };
        std::iter::from_fn(move || {
            let (id, tail) = rest.split_first_chunk::<PATH_ID>()?;
            let octets = 1 + usize::from(tail.first()?.div_ceil(8));
            let (bytes, tail) = tail.split_at_checked(octets)?;
            rest = tail;
            Some((u32::from_be_bytes(*id), NlriField { family, bytes, count: 1, path_ids: false }))
        })
    }

    /// The prefixes.
    pub fn prefixes(&self) -> impl Iterator<Item = Prefix> + use<'a> {
        let v4 = self.keys::<u32>().map(|(key, len)| (key.addr(), len));
        let all = v4.chain(self.keys::<Bits6>().map(|(key, len)| (key.addr(), len)));
        all.filter_map(|(addr, len)| Prefix::truncated(addr, len).ok())
    }
}

/// Prefixes with the attributes they are announced with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Announcement<'a> {
    /// The prefixes.
    pub field: NlriField<'a>,
    /// Their attributes.
    pub attributes: Attributes,
}

/// An UPDATE taken apart. What was wrong with it has been decided on already: routes whose announcement is malformed are among
/// the withdrawn (RFC 7606 section 2).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Update<'a> {
    /// Fields of prefixes that are gone. To be worked off before what is announced.
    pub withdrawn: [Option<NlriField<'a>>; 4],
    /// Announced in the classic field: IPv4.
    pub announced: Option<Announcement<'a>>,
    /// Announced in MP_REACH_NLRI.
    pub mp_announced: Option<Announcement<'a>>,
    /// An End-of-RIB marker (RFC 4724 section 2).
    pub end_of_rib: Option<Family>,
    /// Faults that leave the session up, with what was done.
    pub faults: Vec<(Treatment, UpdateFault)>,
}

impl<'a> Update<'a> {
    /// Reads an UPDATE.
    ///
    /// # Errors
    /// The faults that end the session (RFC 7606 sections 3 and 5).
    pub fn decode(sections: &Sections<'a>, ctx: &UpdateContext) -> Result<Self, Reset> {
        let Sections { withdrawn, attributes, nlri } = *sections;
        let unreadable = || Reset::new(None, Fault::Nlri, 10, &[]);
        let classic_withdrawn = ctx.field(Family::V4, withdrawn).ok_or_else(unreadable)?;
        let classic = ctx.field(Family::V4, nlri).ok_or_else(unreadable)?;
        let mut scan = Scan::of(attributes, ctx)?;

        if classic_withdrawn.count == 0 && classic.count == 0 && scan.mp_reach.is_none() && scan.faults.is_empty() {
            let end_of_rib = match scan.mp_unreach {
                None if attributes.is_empty() => Some(Family::V4),
                Some(field) if field.count == 0 && scan.attributes_seen == 1 => Some(field.family),
                _ => None,
            };
            if end_of_rib.is_some() {
                return Ok(Self { end_of_rib, ..Self::default() });
            }
        }

        let wanted = |f: NlriField<'a>| (f.count > 0 && ctx.families.contains(&f.family)).then_some(f);
        let classic = wanted(classic);
        let mp_reach = scan.mp_reach.and_then(|(field, next_hop)| Some((wanted(field)?, next_hop)));
        let mut update = Self {
            withdrawn: [wanted(classic_withdrawn), scan.mp_unreach.and_then(wanted), None, None],
            ..Self::default()
        };
        scan.require_mandatory(classic.is_some(), mp_reach.is_some());
        if scan.faults.iter().any(|(treatment, _)| *treatment >= Treatment::Withdraw) {
            update.withdrawn[2] = classic;
            update.withdrawn[3] = mp_reach.map(|(field, _)| field);
        } else {
            update.mp_announced = mp_reach.and_then(|(field, next_hop)| {
                let attributes = scan.attributes(next_hop.global, next_hop.link_local)?;
                Some(Announcement { field, attributes })
            });
            update.announced = classic.and_then(|field| {
                let attributes = scan.attributes(scan.next_hop?.into(), None)?;
                Some(Announcement { field, attributes })
            });
        }
        update.faults = scan.faults;
        Ok(update)
    }
}

/// A field with a two-octet length before it, and what follows.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
