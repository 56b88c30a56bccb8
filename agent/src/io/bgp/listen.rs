//! The socket that leaves dial.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use petiole_node::Input;
use petiole_node::bgp::{ConnId, Event};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::neighbours::{Listener, Neighbours};
use super::{Accepted, Arrival, canonical, mark, sockopt};
use crate::preflight;

const RETRY: Duration = Duration::from_secs(3);
/// Connections that may wait to be accepted: what strangers send while the agent is not on a processor must not keep a leaf out.
const BACKLOG: i32 = 1024;
/// Connections that are accepted in one turn of the task: about a millisecond of strangers.
const AT_ONCE: usize = 64;
/// How often a line is written about connections that were refused.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Accept for ever. An address that cannot be had is tried again: the agent dials meanwhile.
pub(super) async fn run(
    address: SocketAddr,
    neighbours: Arc<Neighbours>,
    arrivals: mpsc::Sender<Arrival>,
    inputs: mpsc::Sender<Input>,
) {
    let mut said = String::new();
    let listener = loop {
        let words = match bind(address, &neighbours) {
            Ok(listener) => break Arc::new(listener),
            Err(e) => words(address, &e),
        };
        if words != said {
            said.clone_from(&words);
            if inputs.send(trouble(words)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(RETRY).await;
    };
    if !said.is_empty() && inputs.send(trouble(String::new())).await.is_err() {
        return;
    }
    let v6_socket = listener.get_ref().domain().is_ok_and(|domain| domain == Domain::IPV6);
    neighbours.set_listener(&listener, v6_socket);
    accept(&listener, v6_socket, &neighbours, &arrivals).await;
}

async fn accept(listener: &Listener, v6_socket: bool, neighbours: &Neighbours, arrivals: &mpsc::Sender<Arrival>) {
    let mut number = 0;
    let (mut strangers, mut refused) = (Refused::default(), Refused::default());
    loop {
        let mut ready = match listener.readable().await {
            Ok(ready) => ready,
            Err(e) => return tracing::error!("cannot wait for BGP connections: {e}"),
        };
        for _ in 0..AT_ONCE {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let (socket, remote) = match ready.try_io(|l| Ok(acceptfrom_with(l.get_ref(), flags)?)) {
                Ok(Ok((socket, Some(remote)))) => (socket, SocketAddr::try_from(remote)),
                Ok(Ok((_, None))) => continue,
                Ok(Err(e)) => {
                    // Out of descriptors, or a connection that died in the queue: neither ends the listener.
                    tracing::warn!("cannot accept a BGP connection: {e}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                Err(_would_block) => break,
            };
            let Ok(remote) = remote.map(canonical) else { continue };
            let Some(peer) = neighbours.whose(remote, &socket) else {
                drop(socket);
                strangers.refuse(remote, "no configured leaf has this address");
                continue;
            };
            let conn = ConnId::Accepted(number);
            let accepted = match take(socket, v6_socket, |stream, reset| neighbours.adopt(peer, conn, stream, reset)) {
                Ok((accepted, local)) => (accepted, canonical(local)),
                Err(words) => {
                    refused.refuse(remote, &words);
                    continue;
                }
            };
            number += 1;
            let event = Event::Accepted { conn, local: accepted.1, remote };
            // Waits while the loop is behind: more connections wait in the kernel's queue, not here.
            if arrivals.send(Arrival { event, stream: Some(accepted.0) }).await.is_err() {
                return;
            }
        }
        // However many wait: everything else has its turn before the next ones.
        tokio::task::yield_now().await;
    }
}

/// Make a leaf's connection one that a close ends in order. One that cannot be taken is reset.
fn take(
    socket: OwnedFd,
    v6_socket: bool,
    adopt: impl FnOnce(&Arc<TcpStream>, &Arc<Notify>) -> Result<(), String>,
) -> Result<(Accepted, SocketAddr), String> {
    let gone = |e: io::Error| format!("the connection is gone: {e}");
    let stream = TcpStream::from_std(socket.into()).map_err(gone)?;
    let local = stream.local_addr().map_err(gone)?;
    mark(&SockRef::from(&stream), v6_socket);
    let (stream, reset) = (Arc::new(stream), Arc::new(Notify::new()));
    adopt(&stream, &reset)?;
    SockRef::from(&stream).set_linger(None).map_err(gone)?;
    Ok((Accepted { stream, reset }, local))
}

/// Connections that got nothing but a reset.
#[derive(Default)]
struct Refused {
    since_said: u64,
    said: Option<Instant>,
}

impl Refused {
    /// Neither a message nor a socket is left of it, however many come.
    fn refuse(&mut self, remote: SocketAddr, why: &str) {
        self.since_said += 1;
        if self.said.is_none_or(|at| at.elapsed() >= SAY_EVERY) {
            let n = self.since_said;
            tracing::warn!("closed {n} connection(s) to the BGP port, the last from {remote}: {why}");
            *self = Self { since_said: 0, said: Some(Instant::now()) };
        }
    }
}

fn bind(address: SocketAddr, neighbours: &Neighbours) -> io::Result<Listener> {
    match open(address, neighbours) {
        // A kernel without IPv6 still has all of IPv4.
        Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.ip().is_unspecified() => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), neighbours)
        }
        other => other,
    }
}

fn open(address: SocketAddr, neighbours: &Neighbours) -> io::Result<Listener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // [::] takes both families; an address of its own is what it is.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    mark(&SockRef::from(&socket), address.is_ipv6());
    socket.bind(&address.into())?;
    // Before it listens: a connection that came earlier would be one that nothing vouches for.
    neighbours.secure_listener(&socket, address.is_ipv6());
    // Accepted sockets inherit it: a stranger's is reset by its close alone.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.listen(BACKLOG)?;
    sockopt::register(socket)
}

fn trouble(what: String) -> Input {
    Input::Trouble { part: "listen".to_owned(), what }
}

/// Why nobody can dial this node, and what to do.
fn words(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    let goes_on = "sessions that this node dials are not affected";
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen for BGP on {address}: port {port} is taken by another process; find it with `ss -ltnp sport = :{port}` \
             and stop it, or set [bgp] listen; {goes_on}"
        ),
        io::ErrorKind::PermissionDenied if !preflight::may_bind_low_ports() => format!(
            "cannot listen for BGP on {address}: port {port} needs CAP_NET_BIND_SERVICE; give it to the agent, or set [bgp] \
             listen to a port above 1023; {goes_on}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("cannot listen for BGP on {address}: no interface has this address; set [bgp] listen; {goes_on}")
        }
        _ => format!("cannot listen for BGP on {address}: {error}; {goes_on}"),
    }
}
