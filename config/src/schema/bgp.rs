//! `[bgp]` and `[[bgp.peer]]`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::{BgpDraft, PeerDraft, bfd, graceful, open, policy, tcp_ao};
use crate::duration;
use crate::problem::{Notice, Problem};
use crate::reader::{At, Field, Report, Section, Shape, quoted};
use crate::settings::{BgpSettings, GracefulRestartSettings, Neighbour, PeerSettings, TcpAoSettings};

pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> Option<BgpDraft> {
    let bgp = open(report, root, "bgp", &BGP)?;
    let peers = bgp.sections(report, "peer", &PEER);
    let restart = graceful::read(report, &bgp, Some(GracefulRestartSettings::default()));
    let asn = bgp.required(report, "asn", "the node's own AS number, asn = 4200000011");
    let listen = bgp.field("listen").and_then(|f| Some(At { at: f.at, value: f.socket(report, BgpSettings::PORT)? }));
    Some(BgpDraft {
        at: bgp.at,
        asn: asn.and_then(|field| read_own_asn(report, &field)),
        listen,
        communities: policy::communities(report, &bgp),
        accept_default: bgp.field("accept_default").and_then(|f| f.boolean(report)).unwrap_or(false),
        first_peer: peers.first().map(|peer| peer.at),
        peers: peers.iter().filter_map(|peer| read_peer(report, peer, restart)).collect(),
    })
}

fn read_peer(
    report: &mut Report<'_>,
    peer: &Section<'_>,
    restart: Option<GracefulRestartSettings>,
) -> Option<PeerDraft> {
    let neighbour = read_neighbour(report, peer);
    let asn =
        peer.required(report, "asn", "the leaf's AS number, asn = 65001, or asn = \"external\" for any but our own");
    let hold_time = peer.field("hold_time").and_then(|f| read_hold_time(report, &f)).unwrap_or(PeerSettings::HOLD_TIME);
    let settings = PeerSettings {
        neighbour: neighbour.as_ref().map_or(Neighbour::Interface(String::new()), |n| n.value.clone()),
        port: peer.field("port").and_then(|f| read_port(report, &f)).unwrap_or(BgpSettings::PORT),
        asn: asn.and_then(|field| read_peer_asn(report, &field)),
        hold_time,
        passive: peer.field("passive").and_then(|f| f.boolean(report)).unwrap_or(false),
        bfd: bfd::read(report, peer),
        policy: policy::read(report, peer, hold_time),
        local_address: of_address(
            report,
            peer,
            &neighbour,
            "local_address",
            "an unnumbered session has the link's own",
        )
        .and_then(|f| read_local_address(report, &f, neighbour.as_ref().and_then(|n| n.value.address()))),
        password_file: of_address(
            report,
            peer,
            &neighbour,
            "password_file",
            "the key of a signature hangs on an address",
        )
        .and_then(|f| f.path(report, "\"/etc/petiole/leaf.key\"")),
        tcp_ao: of_address(report, peer, &neighbour, "tcp_ao", "the key of a signature hangs on an address")
            .and_then(|f| read_tcp_ao(report, peer, &f)),
        ttl_security: peer.field("ttl_security").and_then(|f| f.boolean(report)).unwrap_or(false),
        graceful_restart: graceful::read(report, peer, restart),
    };
    Some(PeerDraft { peer: At { at: neighbour?.at, value: settings }, asn_at: asn.map_or(peer.at, |field| field.at) })
}

/// One way to authenticate a segment, not two (RFC 5925 section 8).
fn read_tcp_ao(report: &mut Report<'_>, peer: &Section<'_>, field: &Field<'_>) -> Option<TcpAoSettings> {
    if peer.field("password_file").is_some() {
        report.error(field.at, Problem::TwoSignatures);
        return None;
    }
    tcp_ao::read(report, peer)
}

/// A key that only a neighbour with an address may have.
fn of_address<'a>(
    report: &mut Report<'_>,
    peer: &Section<'a>,
    neighbour: &Option<At<Neighbour>>,
    key: &'static str,
    why: &'static str,
) -> Option<Field<'a>> {
    let field = peer.field(key)?;
    if let Some(At { value: Neighbour::Interface(_), .. }) = neighbour {
        report.error(field.at, Problem::NotWithInterface { key, why });
        return None;
    }
    Some(field)
}

/// Exactly one of `address` and `interface`.
fn read_neighbour(report: &mut Report<'_>, peer: &Section<'_>) -> Option<At<Neighbour>> {
    if let Some(field) = peer.field("interface") {
        if let Some(address) = peer.field("address") {
            report.error(address.at, Problem::AddressAndInterface);
            return None;
        }
        return Some(At { at: field.at, value: Neighbour::Interface(read_interface(report, &field)?) });
    }
    if peer.misspelt("interface") {
        return None;
    }
    let field = peer.required(
        report,
        "address",
        "the leaf's address on that uplink, address = \"10.122.101.0\", or interface = \"eth1\" for the router heard there",
    )?;
    Some(At { at: field.at, value: Neighbour::Address(read_peer_address(report, &field)?) })
}

/// A name that Linux allows for an interface (`dev_valid_name` of `net/core/dev.c`) and that can't be taken for an address.
fn read_interface(report: &mut Report<'_>, field: &Field<'_>) -> Option<String> {
    let name = field.string(report, "an interface such as \"eth1\"")?;
    let why = match name {
        "" => "which is empty",
        "." | ".." => "which no interface can have for its name",
        "lo" => "which is this node itself",
        _ if name.len() > 15 => "which is longer than the 15 bytes of an interface's name",
        _ if name.contains(|c: char| c == '/' || c == ':' || c == '\0' || c.is_ascii_whitespace()) => {
            "which has a character that no interface's name has"
        }
        _ if name.parse::<IpAddr>().is_ok() => "which is an address: write it as `address`",
        _ => return Some(name.to_owned()),
    };
    report.error(field.at, Problem::BadInterface { text: quoted(name), why });
    None
}

fn read_peer_address(report: &mut Report<'_>, field: &Field<'_>) -> Option<IpAddr> {
    let addr = field.address(report, "10.122.101.0")?;
    let why = match addr {
        IpAddr::V4(a) if a.is_unspecified() => "which is no destination",
        IpAddr::V4(a) if a.is_broadcast() => "which is everybody on the link",
        IpAddr::V6(a) if a.is_unspecified() => "which is no destination",
        IpAddr::V6(a) if a.is_unicast_link_local() => "which is link-local",
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => "which is an IPv4 address written as IPv6",
        addr if addr.is_loopback() => "which is this node itself",
        addr if addr.is_multicast() => "which is multicast",
        addr => return Some(addr),
    };
    let wanted = match addr {
        IpAddr::V6(a) if a.is_unicast_link_local() => {
            "interface = \"eth1\" instead, and the leaf is found on that link"
        }
        _ => "the leaf's address on that uplink, such as \"10.122.101.0\"",
    };
    let (section, key) = (field.section, field.key);
    report.error(field.at, Problem::UselessAddress { section, key, addr: addr.to_string(), why, wanted });
    None
}

fn read_local_address(report: &mut Report<'_>, field: &Field<'_>, peer: Option<IpAddr>) -> Option<IpAddr> {
    let addr = field.address(report, "10.122.101.1")?;
    let why = match addr {
        addr if peer.is_some_and(|peer| peer.is_ipv4() != addr.is_ipv4()) => "and `address` is of the other family",
        addr if addr.is_unspecified() => "which is every address; without the key it is the uplink's",
        IpAddr::V4(a) if a.is_broadcast() => "which is everybody on the link",
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => "which is an IPv4 address written as IPv6",
        addr if addr.is_loopback() => "which no leaf can answer",
        addr if addr.is_multicast() => "which is multicast",
        addr => return Some(addr),
    };
    let (section, key, wanted) = (field.section, field.key, "an address of this node, of the family of `address`");
    report.error(field.at, Problem::UselessAddress { section, key, addr: addr.to_string(), why, wanted });
    None
}

fn read_own_asn(report: &mut Report<'_>, field: &Field<'_>) -> Option<At<u32>> {
    let asn = read_asn(report, field, "the node's own AS number, such as 4200000011", "of the node", "4200000011")?;
    Some(At { at: field.at, value: asn })
}

fn read_peer_asn(report: &mut Report<'_>, field: &Field<'_>) -> Option<u32> {
    match field.as_str() {
        Some("external") => None,
        Some(text) => {
            report.error(field.at, Problem::BadPeerAsn { text: quoted(text) });
            None
        }
        None => read_asn(report, field, "a number such as 65001, or \"external\"", "of the leaf", "65001"),
    }
}

fn read_asn(
    report: &mut Report<'_>,
    field: &Field<'_>,
    wanted: &'static str,
    whose: &'static str,
    example: &'static str,
) -> Option<u32> {
    let Some(asn) = field.as_number().and_then(|n| u32::try_from(n).ok()) else {
        match field.is_integer() {
            true => field.out_of_range(report, 1, u64::from(u32::MAX) - 1),
            false => field.wrong_type(report, wanted),
        }
        return None;
    };
    let why = match asn {
        0 => "which no speaker may use (RFC 7607)",
        23456 => "AS_TRANS, the stand-in for numbers that need four octets (RFC 6793)",
        65535 | u32::MAX => "the last of its range and reserved (RFC 7300)",
        _ => return Some(asn),
    };
    report.error(field.at, Problem::ReservedAsn { section: field.section, asn, why, whose, example });
    None
}

fn read_port(report: &mut Report<'_>, field: &Field<'_>) -> Option<u16> {
    field.number(report, "a port such as 179", 1, u64::from(u16::MAX)).and_then(|n| u16::try_from(n).ok())
}

fn read_hold_time(report: &mut Report<'_>, field: &Field<'_>) -> Option<Duration> {
    let hold = field.duration(report)?;
    if hold.subsec_millis() != 0 || hold.as_secs() > u64::from(u16::MAX) || matches!(hold.as_secs(), 1 | 2) {
        report.error(field.at, Problem::HoldTime(duration::print(hold)));
        return None;
    }
    if hold.is_zero() {
        report.warn(field.at, Notice::NoKeepalives);
    }
    Some(hold)
}

impl BgpSettings {
    /// BGP's port (RFC 4271, section 8.2.1).
    pub const PORT: u16 = 179;
    /// Where sessions are accepted by default: every address, both families.
    pub const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), Self::PORT);
}

impl PeerSettings {
    /// The hold time offered by default.
    pub const HOLD_TIME: Duration = Duration::from_secs(9);
}

pub(super) const BGP: Shape = Shape {
    name: "[bgp]",
    keys: &["asn", "listen", "accept_default", "graceful_restart", "communities", "peer"],
    wanted: "a section, [bgp]",
};
pub(super) const PEER: Shape = Shape {
    name: "[[bgp.peer]]",
    keys: &[
        "address",
        "interface",
        "asn",
        "hold_time",
        "port",
        "passive",
        "bfd",
        "max_prefix",
        "role",
        "strict_role",
        "communities",
        "send_hold_time",
        "delay_open",
        "add_path_receive",
        "local_address",
        "password_file",
        "tcp_ao",
        "ttl_security",
        "graceful_restart",
    ],
    wanted: "a section with double brackets, [[bgp.peer]]",
};
