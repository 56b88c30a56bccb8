//! The control packet (RFC 5880 section 4.1): bytes to values and back.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The UDP port control packets go to (RFC 5881 section 4).
pub const PORT: u16 = 3784;
/// The TTL or hop limit that they leave and arrive with (RFC 5881 section 5).
pub const TTL: u8 = 255;
/// The source ports that a session may use (RFC 5881 section 4).
pub const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;
/// Octets of a packet without authentication.
pub const LEN: usize = 24;
/// The shortest packet that has an authentication section.
const LEN_WITH_AUTH: usize = 26;

/// The state of a session (RFC 5880 section 4.1, field Sta).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Held down by an operator.
    AdminDown = 0,
    /// No contact yet, or lost.
    #[default]
    Down = 1,
    /// The other side is heard, but has not heard us yet.
    Init = 2,
    /// Both hear each other.
    Up = 3,
}

impl State {
    /// The two bits of the field; every value is a state.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    /// The RFC's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a session was last moved from Up, as told to the other side (RFC 5880 section 4.1, field Diag). Codes that have no name
/// are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// Nothing to say.
    pub const NONE: Self = Self(0);
    /// Nothing was heard for the detection time.
    pub const DETECTION_TIME_EXPIRED: Self = Self(1);
    /// The other side said that it is Down, or AdminDown.
    pub const NEIGHBOR_SIGNALED_DOWN: Self = Self(3);
    /// The operator took it down.
    pub const ADMINISTRATIVELY_DOWN: Self = Self(7);

    /// The five bits of the field.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0x1f)
    }

    /// The code.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            code => return write!(f, "diagnostic {code}"),
        })
    }
}

/// A control packet. Times are in microseconds, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Packet {
    /// Why the sender last left Up.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// P: asks for an answer with F.
    pub poll: bool,
    /// F: answers P.
    pub final_: bool,
    /// C: the sender's BFD lives on when its control plane dies.
    pub control_plane_independent: bool,
    /// A: an authentication section follows. Never sent.
    pub authenticated: bool,
    /// D: the sender wants no periodic packets while both are Up. Never sent.
    pub demand: bool,
    /// How many intervals without a packet are silence.
    pub detect_mult: u8,
    /// The sender's name for the session.
    pub my_discriminator: u32,
    /// The receiver's name for it; 0 if unknown.
    pub your_discriminator: u32,
    /// How often the sender would like to send.
    pub desired_min_tx: u32,
    /// How often it can receive; 0: never.
    pub required_min_rx: u32,
    /// How often it would loop echo packets back; 0: not at all.
    pub required_min_echo_rx: u32,
}

/// Why bytes are no control packet that a receiver may look at (RFC 5880 section 6.8.6, the checks that need no session).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// Not version 1.
    #[error("version {0}, not 1")]
    Version(u8),
    /// The length field is below the minimum, or beyond the datagram.
    #[error("length field {said} in a datagram of {have} octets")]
    Length {
        /// What the field says.
        said: u8,
        /// What arrived.
        have: usize,
    },
    /// A detection multiplier of zero.
    #[error("detection multiplier 0")]
    DetectMult,
    /// The multipoint bit is set.
    #[error("multipoint bit set")]
    Multipoint,
    /// The sender has no discriminator.
    #[error("my discriminator is 0")]
    MyDiscriminator,
    /// Nobody is known, and the state says otherwise.
    #[error("your discriminator is 0 in state {0}")]
    YourDiscriminator(State),
}

impl Packet {
    /// Reads a datagram's payload.
    ///
    /// # Errors
    /// The first check of RFC 5880 section 6.8.6 that it fails.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let have = bytes.len();
        let Some(&fixed) = bytes.first_chunk::<LEN>() else {
            return Err(match bytes.first() {
                Some(first) if first >> 5 != 1 => Malformed::Version(first >> 5),
                _ => Malformed::Length { said: bytes.get(3).copied().unwrap_or(0), have },
            });
        };
        let [first, flags, detect_mult, said, rest @ ..] = fixed;
        if first >> 5 != 1 {
            return Err(Malformed::Version(first >> 5));
        }
        let set = |bit: u8| flags & bit != 0;
        let authenticated = set(0x04);
        let least = if authenticated { LEN_WITH_AUTH } else { LEN };
        if usize::from(said) < least || usize::from(said) > have {
            return Err(Malformed::Length { said, have });
        }
        if detect_mult == 0 {
            return Err(Malformed::DetectMult);
        }
        if set(0x01) {
            return Err(Malformed::Multipoint);
        }
        let [my_discriminator, your_discriminator, desired_min_tx, required_min_rx, required_min_echo_rx] = words(rest);
        if my_discriminator == 0 {
            return Err(Malformed::MyDiscriminator);
        }
        let state = State::from_bits(flags >> 6);
        if your_discriminator == 0 && !matches!(state, State::Down | State::AdminDown) {
            return Err(Malformed::YourDiscriminator(state));
        }
        Ok(Self {
            diagnostic: Diagnostic::from_bits(first),
            state,
            poll: set(0x20),
            final_: set(0x10),
            control_plane_independent: set(0x08),
            authenticated,
            demand: set(0x02),
            detect_mult,
            my_discriminator,
            your_discriminator,
            desired_min_tx,
            required_min_rx,
            required_min_echo_rx,
        })
    }

    /// The packet as bytes, without an authentication section whatever [`Self::authenticated`] says.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let mut bytes = [0; LEN];
        let flags = (self.state as u8) << 6
            | bit(self.poll, 0x20)
            | bit(self.final_, 0x10)
            | bit(self.control_plane_independent, 0x08)
            | bit(self.demand, 0x02);
        let head = [1 << 5 | self.diagnostic.code(), flags, self.detect_mult, 24];
        let words = [
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (to, from) in bytes.iter_mut().zip(head.into_iter().chain(words.into_iter().flat_map(u32::to_be_bytes))) {
            *to = from;
        }
        bytes
    }
}

fn words(bytes: [u8; 20]) -> [u32; 5] {
    let (chunks, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|n| chunks.get(n).copied().map_or(0, u32::from_be_bytes))
}

#[cfg(test)]
mod tests;
