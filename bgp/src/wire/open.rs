//! OPEN (RFC 4271 sections 4.2 and 6.2, RFC 5492, RFC 9072).

use std::net::Ipv4Addr;
use std::time::Duration;

use super::capability::Capability;
use super::envelope::message;
use super::iana::{AS_TRANS, MessageType};
use super::notification::{ErrorCode, Notification};

const VERSION: u8 = 4;
const PARAM_CAPABILITIES: u8 = 2;
/// The parameter type, and length, that announce extended lengths (RFC 9072 section 2).
const EXTENDED: u8 = 255;

/// An OPEN, valid in itself: version 4, an identifier that is not zero, a hold time that can be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Open {
    /// Sender's AS; from the four-octet capability where it is there (RFC 6793 section 4.1).
    pub asn: u32,
    /// Hold time proposed: zero or at least 3 s, whole seconds.
    pub hold_time: Duration,
    /// BGP Identifier.
    pub router_id: Ipv4Addr,
    /// Capabilities in the order sent.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// Reads the body of an OPEN.
    ///
    /// # Errors
    /// The NOTIFICATION that answers it (RFC 4271 section 6.2).
    pub fn decode(body: &[u8]) -> Result<Self, Notification> {
        let error = |subcode| Notification::new(ErrorCode::Open, subcode);
        let [version, as1, as2, hold1, hold2, id1, id2, id3, id4, rest @ ..] = body else {
            return Err(error(0));
        };
        if *version != VERSION {
            // The largest version we speak (section 6.2).
            return Err(error(1).with_data(&u16::from(VERSION).to_be_bytes()));
        }
        let capabilities = parameters(rest)?;
        let four_octet = capabilities.iter().find_map(|c| match c {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        let two_octet = u16::from_be_bytes([*as1, *as2]);
        let asn = four_octet.unwrap_or_else(|| two_octet.into());
        // AS_TRANS is nobody's number (RFC 6793 section 9).
        if asn == 0 || two_octet == 0 || asn == u32::from(AS_TRANS) {
            return Err(error(2));
        }
        let hold = u16::from_be_bytes([*hold1, *hold2]);
        if hold == 1 || hold == 2 {
            return Err(error(6));
        }
        let router_id = Ipv4Addr::new(*id1, *id2, *id3, *id4);
        // RFC 6286 section 2.1: any four octets but zero.
        if router_id.is_unspecified() {
            return Err(error(3));
        }
        Ok(Self { asn, hold_time: Duration::from_secs(hold.into()), router_id, capabilities })
    }

    /// Appends the whole message. Hold times are cut to whole seconds and 65,535 of them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            capability.encode(&mut capabilities);
        }
        let asn = u16::try_from(self.asn).unwrap_or(AS_TRANS);
        let hold = u16::try_from(self.hold_time.as_secs()).unwrap_or(u16::MAX);
        message(out, MessageType::Open, |out| {
            out.push(VERSION);
            out.extend_from_slice(&asn.to_be_bytes());
            out.extend_from_slice(&hold.to_be_bytes());
            out.extend_from_slice(&self.router_id.octets());
            // All in one parameter (RFC 5492 section 4); ours are a few dozen octets.
            match u8::try_from(capabilities.len()) {
                Ok(0) => out.push(0),
                Ok(len) if len <= u8::MAX - 3 => out.extend_from_slice(&[len + 2, PARAM_CAPABILITIES, len]),
                _ => {
                    let len = u16::try_from(capabilities.len()).unwrap_or(u16::MAX);
                    out.extend_from_slice(&[EXTENDED, EXTENDED]);
                    out.extend_from_slice(&len.saturating_add(3).to_be_bytes());
                    out.push(PARAM_CAPABILITIES);
                    out.extend_from_slice(&len.to_be_bytes());
                }
            }
            out.extend_from_slice(&capabilities);
        });
    }
}

fn parameters(bytes: &[u8]) -> Result<Vec<Capability>, Notification> {
    // Subcode 0, "unspecific": a malformed OPEN has no subcode of its own.
    let malformed = || Notification::new(ErrorCode::Open, 0);
    let (len, rest) = bytes.split_first().ok_or_else(malformed)?;
    let (extended, params) = match rest {
        [EXTENDED, a, b, rest @ ..] if *len != 0 => {
            let len = usize::from(u16::from_be_bytes([*a, *b]));
            if rest.len() != len {
                return Err(malformed());
            }
            (true, rest)
        }
        _ if rest.len() == usize::from(*len) => (false, rest),
        _ => return Err(malformed()),
    };
    let mut capabilities = Vec::new();
    let mut rest = params;
    while let Some((kind, tail)) = rest.split_first() {
        let (value, tail) = if extended { sized16(tail) } else { sized8(tail) }.ok_or_else(malformed)?;
        rest = tail;
        if *kind != PARAM_CAPABILITIES {
            return Err(Notification::new(ErrorCode::Open, 4));
        }
        let mut value = value;
        while let Some((code, tail)) = value.split_first() {
            let (content, tail) = sized8(tail).ok_or_else(malformed)?;
            value = tail;
            let capability = Capability::decode(*code, content);
            // The same one twice is the same as once (RFC 5492 section 4).
            if !capabilities.contains(&capability) {
                capabilities.push(capability);
            }
        }
    }
    Ok(capabilities)
}

fn sized8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

fn sized16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))
}
