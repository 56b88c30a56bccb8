//! A dump: every link, address and route that is mirrored.

use std::io;
use std::time::Duration;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::Socket;
use petiole_node::dataplane::ident::{TABLE_LOCAL, TABLE_MAIN};
use petiole_node::dataplane::{KernelEvent, Route, RouteKey};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::Sender;

use super::parse;
use super::socket::{DATAGRAM, NLMSG_DONE, NLMSG_ERROR, RTM_NEWROUTE, messages, register, request};

/// How a dump failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum DumpError {
    /// The tables changed so much that the kernel could not show them in one piece (`NLM_F_DUMP_INTR`).
    #[error("the kernel's tables changed during the dump")]
    Interrupted,
    /// The kernel refused.
    #[error("cannot dump {what}: {source}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        source: io::Error,
    },
    /// The agent's loop is gone.
    #[error("nobody listens to kernel events any more")]
    Closed,
}

/// Sends `DumpBegin`, the facts in batches, and `DumpEnd`. After an error the caller must start again: the receiver takes a
/// second `DumpBegin` for what it is.
pub(super) async fn dump(events: &Sender<Vec<KernelEvent>>) -> Result<(), DumpError> {
    let opened = request().and_then(|(socket, _)| {
        // Lets the kernel filter by table; an old one dumps all of them, and `parse` leaves out the rest.
        socket.set_netlink_get_strict_chk(true).ok();
        register(socket)
    });
    let socket = opened.map_err(|source| DumpError::Refused { what: "anything", source })?;
    let mut begin = vec![KernelEvent::DumpBegin];
    for (sequence, (what, request)) in (1..).zip(requests()) {
        one(&socket, sequence, what, request, &mut begin, events).await?;
    }
    begin.push(KernelEvent::DumpEnd);
    events.send(begin).await.map_err(|_| DumpError::Closed)
}

/// Links before addresses before routes, so that each finds what it refers to.
fn requests() -> impl Iterator<Item = (&'static str, RouteNetlinkMessage)> {
    let routes = |family, table: u32| {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.attributes.push(RouteAttribute::Table(table));
        RouteNetlinkMessage::GetRoute(message)
    };
    [
        ("links", RouteNetlinkMessage::GetLink(LinkMessage::default())),
        ("addresses", RouteNetlinkMessage::GetAddress(AddressMessage::default())),
        ("IPv4 routes of table local", routes(AddressFamily::Inet, TABLE_LOCAL)),
        ("IPv6 routes of table local", routes(AddressFamily::Inet6, TABLE_LOCAL)),
        ("IPv4 routes of table main", routes(AddressFamily::Inet, TABLE_MAIN)),
        ("IPv6 routes of table main", routes(AddressFamily::Inet6, TABLE_MAIN)),
    ]
    .into_iter()
}

async fn one(
    socket: &AsyncFd<Socket>,
    sequence: u32,
    what: &'static str,
    request: RouteNetlinkMessage,
    batch: &mut Vec<KernelEvent>,
    events: &Sender<Vec<KernelEvent>>,
) -> Result<(), DumpError> {
    let refused = |source| DumpError::Refused { what, source };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.get_ref().send(&bytes, 0).map_err(refused)?;

    let mut interrupted = false;
    let mut sibling: Option<(RouteKey, Route)> = None;
    let mut datagram = Vec::with_capacity(DATAGRAM);
    loop {
        datagram.clear();
        let mut ready = socket.readable().await.map_err(refused)?;
        match ready.try_io(|s| s.get_ref().recv(&mut datagram, 0)) {
            Ok(received) => received.map_err(refused)?,
            Err(_would_block) => continue,
        };
        let mut done = false;
        for message in messages(&datagram).filter(|m| m.sequence_number() == sequence) {
            let payload = message.payload();
            let flags = message.flags();
            interrupted |= flags & NLM_F_DUMP_INTR != 0;
            match message.message_type() {
                NLMSG_DONE | NLMSG_ERROR => {
                    match payload.first_chunk().copied().map_or(0, i32::from_ne_bytes) {
                        // A table that nobody has put a route into yet does not exist.
                        0 | MINUS_ENOENT => {}
                        code => return Err(refused(io::Error::from_raw_os_error(code.saturating_abs()))),
                    }
                    done = true;
                }
                RTM_NEWROUTE => {
                    let Some(route) = parse::route(payload) else { continue };
                    match &mut sibling {
                        Some(first) if parse::are_siblings(first, &route) => {
                            first.1.hops.extend(route.1.hops);
                            first.1.hops.sort_unstable();
                        }
                        _ => batch.extend(sibling.replace(route).map(|(k, r)| KernelEvent::Route(k, r))),
                    }
                }
                other => batch.extend(parse::event(other, 0, payload)),
            }
        }
        if done {
            batch.extend(sibling.map(|(k, r)| KernelEvent::Route(k, r)));
            return if interrupted { Err(DumpError::Interrupted) } else { Ok(()) };
        }
        if batch.len() >= BATCH_EVENTS {
            events.send(std::mem::take(batch)).await.map_err(|_| DumpError::Closed)?;
        }
    }
}

/// How long to wait before a dump that failed is begun again.
pub(super) const AGAIN: Duration = Duration::from_millis(100);

/// Facts per batch.
const BATCH_EVENTS: usize = 1024;

const NLM_F_DUMP_INTR: u16 = 0x10;
const MINUS_ENOENT: i32 = -2;
