//! AS_PATH (RFC 4271 section 5.1.2, RFC 6793).

use std::fmt;

use serde::{Serialize, Serializer};

/// Kinds of path segments (RFC 4271 section 4.3 b, RFC 5065 section 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum SegmentKind {
    /// AS_SET: unordered.
    Set = 1,
    /// AS_SEQUENCE: ordered, the nearest first.
    Sequence = 2,
    /// AS_CONFED_SEQUENCE.
    ConfedSequence = 3,
    /// AS_CONFED_SET.
    ConfedSet = 4,
}

impl SegmentKind {
    const fn from_code(code: u32) -> Option<Self> {
        Some(match code {
            1 => Self::Set,
            2 => Self::Sequence,
            3 => Self::ConfedSequence,
            4 => Self::ConfedSet,
            _ => return None,
        })
    }
}

/// One segment of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment<'a> {
    /// Its kind.
    pub kind: SegmentKind,
    /// Its AS numbers; 1 to 255 on the wire.
    pub asns: &'a [u32],
}

/// A path of ASes. One allocation: per segment a word of kind and count, then the AS numbers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AsPath(Box<[u32]>);

impl AsPath {
    /// A path of one AS_SEQUENCE. Empty for no AS numbers at all.
    #[must_use]
    pub fn sequence(asns: &[u32]) -> Self {
        let mut path = AsPathBuilder::default();
        for part in asns.chunks(usize::from(u8::MAX)) {
            path.push(SegmentKind::Sequence, part);
        }
        path.finish()
    }

    /// Its segments in order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let mut words: &[u32] = &self.0;
        std::iter::from_fn(move || {
            let (head, rest) = words.split_first()?;
            let kind = SegmentKind::from_code(head >> 16)?;
            let (asns, rest) = rest.split_at_checked(usize::try_from(head & 0xffff).ok()?)?;
            words = rest;
            Some(Segment { kind, asns })
        })
    }

    /// Length as the decision process counts it: a set is one, confederation segments are none (RFC 4271 section 9.1.2.2 a,
    /// RFC 5065 section 5.3).
    #[must_use]
    pub fn hops(&self) -> usize {
        self.segments()
            .map(|s| match s.kind {
                SegmentKind::Sequence => s.asns.len(),
                SegmentKind::Set => 1,
                SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
            })
            .sum()
    }

    /// Whether an AS occurs anywhere in it.
    #[must_use]
    pub fn contains(&self, asn: u32) -> bool {
        self.segments().any(|s| s.asns.contains(&asn))
    }

    /// The AS of the neighbour it came from: the first of a leading sequence.
    #[must_use]
    pub fn first(&self) -> Option<u32> {
        match self.segments().next()? {
            Segment { kind: SegmentKind::Sequence, asns } => asns.first().copied(),
            _ => None,
        }
    }

    /// The AS that originated the route: the last of a trailing sequence.
    #[must_use]
    pub fn origin_as(&self) -> Option<u32> {
        match self.segments().last()? {
            Segment { kind: SegmentKind::Sequence, asns } => asns.last().copied(),
            _ => None,
        }
    }

    /// Whether it has no segment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Collects segments.
#[derive(Default)]
pub(crate) struct AsPathBuilder(Vec<u32>);

impl AsPathBuilder {
    /// Appends a segment; counts beyond 65,535 can't come from the wire and are cut.
    pub(crate) fn push(&mut self, kind: SegmentKind, asns: &[u32]) {
        let count = u16::try_from(asns.len()).unwrap_or(u16::MAX);
        self.0.push((kind as u32) << 16 | u32::from(count));
        self.0.extend(asns.iter().take(usize::from(count)));
    }

    pub(crate) fn finish(self) -> AsPath {
        AsPath(self.0.into_boxed_slice())
    }
}

impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for segment in self.segments() {
            let (open, close, between) = match segment.kind {
                SegmentKind::Sequence => ("", "", " "),
                SegmentKind::Set => ("{", "}", ","),
                SegmentKind::ConfedSequence => ("(", ")", " "),
                SegmentKind::ConfedSet => ("[", "]", ","),
            };
            f.write_str(if first { "" } else { " " })?;
            first = false;
            f.write_str(open)?;
            for (i, asn) in segment.asns.iter().enumerate() {
                write!(f, "{}{asn}", if i == 0 { "" } else { between })?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

impl fmt::Debug for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsPath({self})")
    }
}

impl Serialize for AsPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
