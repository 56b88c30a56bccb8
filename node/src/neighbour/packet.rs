//! Router solicitations and advertisements (RFC 4861 sections 4.1 and 4.2) as ICMPv6 bytes. The kernel fills and checks the
//! checksum, and its filter lets only packets with hop limit 255 through.

use std::net::Ipv6Addr;
use std::time::Duration;

/// All nodes on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// All routers on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// ICMPv6 type of a router solicitation.
pub const ROUTER_SOLICITATION: u8 = 133;
/// ICMPv6 type of a router advertisement.
pub const ROUTER_ADVERTISEMENT: u8 = 134;

const SOLICITATION_LEN: usize = 8;
const ADVERTISEMENT_LEN: usize = 16;
const OPTION_PREFIX: u8 = 3;
/// `A` of a prefix information option: hosts may make themselves an address of it (section 4.6.2).
const AUTONOMOUS: u8 = 0x40;

/// A message that a router or a host sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Message {
    /// "Which routers are there?"
    Solicitation,
    /// "I am a router."
    Advertisement(Advertisement),
}

/// What matters of a router advertisement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Advertisement {
    /// For how long hosts may use the router as a default; zero: not at all, which says nothing about its being there.
    pub(super) router_lifetime: Duration,
    /// Whether it has a prefix of which hosts may make addresses.
    pub(super) autonomous_prefix: bool,
}

/// Why a message is dropped silently (sections 6.1.1 and 6.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Invalid {
    /// Another ICMPv6 type.
    Type,
    /// A code other than 0.
    Code,
    /// Shorter than its fixed part.
    Short,
    /// An option of length 0, or one that goes on behind the end.
    Options,
    /// An advertisement from an address that is not link-local.
    Source,
}

/// Reads an ICMPv6 message from `source`.
pub(super) fn decode(source: Ipv6Addr, bytes: &[u8]) -> Result<Message, Invalid> {
    let [kind, code, ..] = bytes else { return Err(Invalid::Short) };
    let fixed = match *kind {
        ROUTER_SOLICITATION => SOLICITATION_LEN,
        ROUTER_ADVERTISEMENT => ADVERTISEMENT_LEN,
        _ => return Err(Invalid::Type),
    };
    if *code != 0 {
        return Err(Invalid::Code);
    }
    let options = bytes.get(fixed..).ok_or(Invalid::Short)?;
    let autonomous_prefix = read_options(options)?;
    if *kind == ROUTER_SOLICITATION {
        return Ok(Message::Solicitation);
    }
    if !source.is_unicast_link_local() {
        return Err(Invalid::Source);
    }
    let lifetime = bytes.get(6..8).and_then(|b| b.first_chunk().copied()).map_or(0, u16::from_be_bytes);
    let router_lifetime = Duration::from_secs(u64::from(lifetime));
    Ok(Message::Advertisement(Advertisement { router_lifetime, autonomous_prefix }))
}

/// Whether one of the options is a prefix for addresses; each is in units of eight bytes (section 4.6).
fn read_options(mut options: &[u8]) -> Result<bool, Invalid> {
    let mut autonomous = false;
    while let Some(kind) = options.first() {
        let len = options.get(1).map_or(0, |units| usize::from(*units) * 8);
        if len == 0 {
            return Err(Invalid::Options);
        }
        let option = options.get(..len).ok_or(Invalid::Options)?;
        autonomous |= *kind == OPTION_PREFIX && option.get(3).is_some_and(|flags| flags & AUTONOMOUS != 0);
        options = options.get(len..).unwrap_or_default();
    }
    Ok(autonomous)
}

/// A solicitation without options.
pub(super) fn solicitation() -> Vec<u8> {
    let mut bytes = vec![0; SOLICITATION_LEN];
    bytes[0] = ROUTER_SOLICITATION;
    bytes
}

/// An advertisement of a router that nobody may take for a default: router lifetime 0, and nothing else specified.
pub(super) fn advertisement() -> Vec<u8> {
    let mut bytes = vec![0; ADVERTISEMENT_LEN];
    bytes[0] = ROUTER_ADVERTISEMENT;
    bytes
}
