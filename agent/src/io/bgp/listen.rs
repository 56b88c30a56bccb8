//! The socket that leaves dial.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use petiole_node::Input;
use petiole_node::bgp::{ConnId, Event};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Arrival, canonical, mark};
use crate::preflight;

const RETRY: Duration = Duration::from_secs(3);
const BACKLOG: i32 = 128;

/// Accept for ever. An address that cannot be had is tried again: the agent dials meanwhile.
pub(super) async fn run(address: SocketAddr, arrivals: mpsc::Sender<Arrival>, inputs: mpsc::Sender<Input>) {
    let mut said = String::new();
    let listener = loop {
        let words = match bind(address) {
            Ok(listener) => break listener,
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
    accept(&listener, &arrivals).await;
}

async fn accept(listener: &TcpListener, arrivals: &mpsc::Sender<Arrival>) {
    let mut number = 0;
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of descriptors, or a connection that died in the queue: neither ends the listener.
                tracing::warn!("cannot accept a BGP connection: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else { continue };
        mark(&socket2::SockRef::from(&stream), local.is_ipv6());
        let event =
            Event::Accepted { conn: ConnId::Accepted(number), local: canonical(local), remote: canonical(remote) };
        number += 1;
        // Waits while the loop is behind: strangers wait in the kernel's queue, not here.
        if arrivals.send(Arrival { event, stream: Some(stream) }).await.is_err() {
            return;
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match open(address) {
        // A kernel without IPv6 still has all of IPv4.
        Err(e) if e.raw_os_error() == Some(libc::EAFNOSUPPORT) && address.ip().is_unspecified() => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        other => other,
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // [::] takes both families; an address of its own is what it is.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
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
