//! NOTIFICATION messages (RFC 4271 sections 4.5 and 6, RFC 4486), the text in them (RFC 9003), and Hard Resets (RFC 8538).

use std::fmt;

use petiole_prefix::Family;
use serde::{Deserialize, Serialize};

use super::iana::{Afi, Safi};

/// Error codes (RFC 4271 section 4.5, RFC 7313, RFC 9687).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ErrorCode {
    /// Message Header Error.
    Header = 1,
    /// OPEN Message Error.
    Open = 2,
    /// UPDATE Message Error.
    Update = 3,
    /// Hold Timer Expired.
    HoldTimer = 4,
    /// Finite State Machine Error; subcodes of RFC 6608.
    Fsm = 5,
    /// Cease; subcodes of RFC 4486.
    Cease = 6,
    /// ROUTE-REFRESH Message Error (RFC 7313).
    RouteRefresh = 7,
    /// Send Hold Timer Expired (RFC 9687).
    SendHoldTimer = 8,
}

/// Subcodes of Cease (RFC 4486 section 3, RFC 8538, RFC 9384).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum CeaseSubcode {
    /// Maximum Number of Prefixes Reached.
    MaximumPrefixes = 1,
    /// Administrative Shutdown.
    AdministrativeShutdown = 2,
    /// Peer De-configured.
    PeerDeconfigured = 3,
    /// Administrative Reset.
    AdministrativeReset = 4,
    /// Connection Rejected.
    ConnectionRejected = 5,
    /// Other Configuration Change.
    OtherConfigurationChange = 6,
    /// Connection Collision Resolution.
    ConnectionCollision = 7,
    /// Out of Resources.
    OutOfResources = 8,
    /// Hard Reset (RFC 8538).
    HardReset = 9,
    /// BFD Down (RFC 9384).
    BfdDown = 10,
}

/// Why a session is ended, as said to the other side.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notification {
    /// Error code; see [`ErrorCode`] for those that have a name.
    pub code: u8,
    /// Error subcode, 0 where unspecific.
    pub subcode: u8,
    /// What belongs to it: the offending value, or text in a Cease (RFC 9003).
    pub data: Vec<u8>,
}

/// A text for the people on the other side of a session that is shut down or reset (RFC 9003): at most 255 octets of UTF-8.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShutdownText(String);

impl ShutdownText {
    /// The most octets of a text (RFC 9003 section 2).
    pub const MAX: usize = 255;

    /// A text.
    ///
    /// # Errors
    /// When it is longer than the message can say.
    pub fn new(text: impl Into<String>) -> Result<Self, ShutdownTextTooLong> {
        let text = text.into();
        if text.len() > Self::MAX {
            return Err(ShutdownTextTooLong { octets: text.len() });
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ShutdownText {
    type Error = ShutdownTextTooLong;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::new(text)
    }
}

impl From<ShutdownText> for String {
    fn from(text: ShutdownText) -> Self {
        text.0
    }
}

/// A text that no NOTIFICATION can carry.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the message has {octets} octets, and a NOTIFICATION carries 255 at most (RFC 9003): say it shorter")]
pub struct ShutdownTextTooLong {
    /// Its length.
    pub octets: usize,
}

impl Notification {
    /// One without data.
    #[must_use]
    pub const fn new(code: ErrorCode, subcode: u8) -> Self {
        Self { code: code as u8, subcode, data: Vec::new() }
    }

    /// A Cease.
    #[must_use]
    pub const fn cease(subcode: CeaseSubcode) -> Self {
        Self::new(ErrorCode::Cease, subcode as u8)
    }

    /// The same with data.
    #[must_use]
    pub fn with_data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    /// Reads the body of a NOTIFICATION. Nothing in it can be answered by an error (RFC 4271 section 6.4): what is missing
    /// reads as 0.
    #[must_use]
    pub fn decode(body: &[u8]) -> Self {
        Self {
            code: body.first().copied().unwrap_or(0),
            subcode: body.get(1).copied().unwrap_or(0),
            data: body.get(2..).unwrap_or_default().to_vec(),
        }
    }

    /// Appends the whole message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let room = super::MAX_MESSAGE_LEN - super::HEADER_LEN - 2;
        let data = self.data.get(..room).unwrap_or(&self.data);
        super::envelope::message(out, super::MessageType::Notification, |out| {
            out.extend_from_slice(&[self.code, self.subcode]);
            out.extend_from_slice(data);
        });
    }

    /// A Cease because of too many prefixes, with the family and the limit (RFC 4486 section 4).
    #[must_use]
    pub fn max_prefixes(family: Family, limit: u32) -> Self {
        let [a, b] = u16::from(Afi::of(family)).to_be_bytes();
        let [c, d, e, f] = limit.to_be_bytes();
        Self::cease(CeaseSubcode::MaximumPrefixes).with_data(&[a, b, Safi::Unicast.into(), c, d, e, f])
    }

    /// The same with a text for the people on the other side (RFC 9003 section 2). Only an Administrative Shutdown or Reset may
    /// carry one.
    #[must_use]
    pub fn with_text(mut self, text: Option<&ShutdownText>) -> Self {
        if let (true, Some(text)) = (self.carries_text(), text) {
            // A text is never longer than its length octet can say.
            self.data = vec![u8::try_from(text.as_str().len()).unwrap_or(u8::MAX)];
            self.data.extend_from_slice(text.as_str().as_bytes());
        }
        self
    }

    /// The same inside a Hard Reset: the other side is to forget our routes at once, although NOTIFICATIONs restart gracefully
    /// on this session (RFC 8538 section 3.1).
    #[must_use]
    pub fn into_hard_reset(self) -> Self {
        let mut data = vec![self.code, self.subcode];
        data.extend_from_slice(&self.data);
        Self { data, ..Self::cease(CeaseSubcode::HardReset) }
    }

    /// What a Hard Reset carries. `None` if this is none, or an empty one.
    #[must_use]
    pub fn inside_hard_reset(&self) -> Option<Self> {
        let hard = self.code == ErrorCode::Cease as u8 && self.subcode == CeaseSubcode::HardReset as u8;
        let [code, subcode, data @ ..] = self.data.as_slice() else { return None };
        hard.then(|| Self { code: *code, subcode: *subcode, data: data.to_vec() })
    }

    const fn carries_text(&self) -> bool {
        let shutdown = CeaseSubcode::AdministrativeShutdown as u8;
        let reset = CeaseSubcode::AdministrativeReset as u8;
        self.code == ErrorCode::Cease as u8 && (self.subcode == shutdown || self.subcode == reset)
    }

    /// The text of a shutdown or reset (RFC 9003 section 2), also of one inside a Hard Reset, with control characters made
    /// harmless. `None` if there is none. One that is cut short or no UTF-8 is shown in hexadecimal, as section 4 proposes.
    #[must_use]
    pub fn shutdown_communication(&self) -> Option<String> {
        if let Some(inside) = self.inside_hard_reset() {
            return inside.own_text();
        }
        self.own_text()
    }

    fn own_text(&self) -> Option<String> {
        let (len, rest) = self.data.split_first().filter(|_| self.carries_text())?;
        let text = rest.get(..usize::from(*len)).map(std::str::from_utf8);
        match text {
            Some(Ok("")) => None,
            Some(Ok(text)) => Some(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()),
            // More than the longest text there is would only be noise.
            Some(Err(_)) | None => {
                let octets: Vec<String> = rest.iter().take(usize::from(u8::MAX)).map(|b| format!("{b:02x}")).collect();
                Some(format!("(malformed text) {}", octets.join(" ")))
            }
        }
    }

    fn words(&self) -> (&'static str, &'static str) {
        match (self.code, self.subcode) {
            (1, 1) => ("message header error", "connection not synchronised"),
            (1, 2) => ("message header error", "bad message length"),
            (1, 3) => ("message header error", "bad message type"),
            (1, _) => ("message header error", ""),
            (2, 1) => ("OPEN error", "unsupported version"),
            (2, 2) => ("OPEN error", "bad peer AS"),
            (2, 3) => ("OPEN error", "bad BGP identifier"),
            (2, 4) => ("OPEN error", "unsupported optional parameter"),
            (2, 6) => ("OPEN error", "unacceptable hold time"),
            (2, 7) => ("OPEN error", "unsupported capability"),
            (2, 11) => ("OPEN error", "role mismatch"),
            (2, _) => ("OPEN error", ""),
            (3, 1) => ("UPDATE error", "malformed attribute list"),
            (3, 2) => ("UPDATE error", "unrecognised well-known attribute"),
            (3, 3) => ("UPDATE error", "missing well-known attribute"),
            (3, 4) => ("UPDATE error", "attribute flags"),
            (3, 5) => ("UPDATE error", "attribute length"),
            (3, 6) => ("UPDATE error", "invalid ORIGIN"),
            (3, 8) => ("UPDATE error", "invalid NEXT_HOP"),
            (3, 9) => ("UPDATE error", "optional attribute"),
            (3, 10) => ("UPDATE error", "invalid network field"),
            (3, 11) => ("UPDATE error", "malformed AS_PATH"),
            (3, _) => ("UPDATE error", ""),
            (4, _) => ("hold timer expired", ""),
            (5, 1) => ("state machine error", "unexpected message in OpenSent"),
            (5, 2) => ("state machine error", "unexpected message in OpenConfirm"),
            (5, 3) => ("state machine error", "unexpected message in Established"),
            (5, _) => ("state machine error", ""),
            (6, 1) => ("cease", "maximum number of prefixes reached"),
            (6, 2) => ("cease", "administrative shutdown"),
            (6, 3) => ("cease", "peer de-configured"),
            (6, 4) => ("cease", "administrative reset"),
            (6, 5) => ("cease", "connection rejected"),
            (6, 6) => ("cease", "other configuration change"),
            (6, 7) => ("cease", "connection collision"),
            (6, 8) => ("cease", "out of resources"),
            (6, 9) => ("cease", "hard reset"),
            (6, 10) => ("cease", "BFD down"),
            (6, _) => ("cease", ""),
            (7, 1) => ("ROUTE-REFRESH error", "invalid message length"),
            (7, _) => ("ROUTE-REFRESH error", ""),
            (8, _) => ("send hold timer expired", ""),
            _ => ("unknown error", ""),
        }
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, subcode) = self.words();
        f.write_str(code)?;
        if !subcode.is_empty() {
            write!(f, ": {subcode}")?;
        }
        write!(f, " ({}/{})", self.code, self.subcode)?;
        if let Some(inside) = self.inside_hard_reset() {
            // One level: a Hard Reset inside a Hard Reset says nothing more.
            let (code, subcode) = inside.words();
            write!(f, " carrying {code}")?;
            if !subcode.is_empty() {
                write!(f, ": {subcode}")?;
            }
            write!(f, " ({}/{})", inside.code, inside.subcode)?;
        }
        match self.shutdown_communication() {
            Some(text) => write!(f, ", saying {text:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
