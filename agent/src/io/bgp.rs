//! TCP connections for the speaker: dialled, accepted, read, written and closed, as it says and in its order.
//!
//! Every connection has two tasks, one that reads and one that writes. Both report on one bounded channel, so a loop that is
//! behind stops the readers, and the kernel's window then slows the leaf down. The loop itself never waits for a connection.

mod connection;
mod counters;
mod key;
mod listen;
mod neighbours;
mod signature;
mod sockopt;
mod ttl;
mod watch;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use petiole_node::Input;
use petiole_node::bgp::{Action, ConnId, Event, PeerId};
use petiole_node::config::BgpSettings;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

use self::connection::{Command, Links};
use self::neighbours::Neighbours;
use super::health::connect_words;

/// Class selector 6, internetwork control: what RFC 4271 asks of its packets' precedence, as switches queue it today.
const CS6: u32 = 48 << 2;
/// After that long nobody will answer; the speaker gives up sooner, this only frees the socket if it forgot.
const CONNECT_BACKSTOP: Duration = Duration::from_secs(60);
/// How long a leaf may take to read what was sent before a close.
const FLUSH: Duration = Duration::from_secs(5);
/// How often a stopping agent looks whether the last words are written.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// Chunks of received bytes that may wait for the loop: few, for each may hold 64 KiB.
const WAITING: usize = 16;

/// Something for the loop, with the socket where it is a new one.
#[derive(Debug)]
pub struct Arrival {
    /// What the node is told.
    pub event: Event,
    stream: Option<Accepted>,
}

/// An accepted connection, with what resets it.
#[derive(Debug)]
struct Accepted {
    stream: Arc<TcpStream>,
    reset: Arc<Notify>,
}

/// All connections of the agent. Belongs to the loop; what happens to them arrives on the channel of [`Connections::start`].
#[derive(Debug)]
pub struct Connections {
    open: BTreeMap<ConnId, Open>,
    /// Connections that still write their last words.
    closing: Vec<AbortHandle>,
    arrivals: mpsc::Sender<Arrival>,
    neighbours: Arc<Neighbours>,
}

#[derive(Debug)]
struct Open {
    commands: mpsc::UnboundedSender<Command>,
    reading: tokio::sync::watch::Sender<bool>,
    reset: Arc<Notify>,
    /// Set once there is one.
    socket: Arc<OnceLock<Weak<TcpStream>>>,
    task: AbortHandle,
}

impl Connections {
    /// Begin to listen, where there is an address for it, and to watch the keys; troubles with either go to `inputs` as they come
    /// and go.
    #[must_use]
    pub fn start(settings: Option<&BgpSettings>, inputs: mpsc::Sender<Input>) -> (Self, mpsc::Receiver<Arrival>) {
        let (arrivals, receiver) = mpsc::channel(WAITING);
        let neighbours = Arc::new(Neighbours::new(settings.map(|s| s.peers.as_slice()).unwrap_or_default()));
        if let Some(address) = settings.map(|s| s.listen).filter(|a| a.port() != 0) {
            tokio::spawn(listen::run(address, Arc::clone(&neighbours), arrivals.clone(), inputs.clone()));
        }
        if settings.is_some() {
            tokio::spawn(watch::run(Arc::clone(&neighbours), arrivals.clone(), inputs));
        }
        (Self { open: BTreeMap::new(), closing: Vec::new(), arrivals, neighbours }, receiver)
    }

    /// Take in what arrived: the event is the node's, and whatever the node then says about the connection will be heard.
    pub fn admit(&mut self, arrival: Arrival) -> Event {
        match (&arrival.event, arrival.stream) {
            (Event::Accepted { conn, .. }, Some(Accepted { stream, reset })) => {
                let conn = *conn;
                self.begin(conn, reset, |arrivals, links| connection::run(conn, stream, arrivals, links));
            }
            (Event::Closed { conn, .. } | Event::ConnectFailed { conn, .. }, _) => {
                self.open.remove(conn);
            }
            _ => {}
        }
        arrival.event
    }

    /// Do what the speaker wants. Never blocks; what cannot be done any more needs no doing.
    pub fn act(&mut self, action: Action) {
        match action {
            Action::Connect { conn, peer, local, remote } => {
                let neighbours = Arc::clone(&self.neighbours);
                let reset = Arc::default();
                self.begin(conn, reset, move |arrivals, links| {
                    dial(conn, peer, local, remote, neighbours, arrivals, links)
                });
            }
            Action::Send { conn, bytes } => self.command(conn, Command::Send(bytes)),
            Action::Close { conn } => {
                if let Some(open) = self.open.remove(&conn) {
                    // The writer finishes by itself, unless the leaf does not take what is left.
                    let _ = open.commands.send(Command::Close);
                    self.closing.retain(|task| !task.is_finished());
                    self.closing.push(open.task.clone());
                    tokio::spawn(async move {
                        tokio::time::sleep(FLUSH).await;
                        open.reset.notify_one();
                    });
                }
            }
            Action::Reset { conn } => {
                if let Some(open) = self.open.remove(&conn) {
                    open.reset.notify_one();
                }
            }
            Action::PauseReading { conn } => self.read(conn, false),
            Action::ResumeReading { conn } => self.read(conn, true),
        }
    }

    /// Wait until the last words of every closed connection are written, or leaves took too long to read them.
    pub async fn said_goodbye(&self) {
        let said = async {
            while self.closing.iter().any(|task| !task.is_finished()) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        let _ = tokio::time::timeout(FLUSH, said).await;
    }

    /// What the kernel knows of a connection that seems to be silent.
    #[must_use]
    pub fn look(&self, conn: ConnId) -> Option<Event> {
        let stream = self.open.get(&conn)?.socket.get()?.upgrade()?;
        let unread = rustix::io::ioctl_fionread(&*stream).ok()?;
        Some(Event::Looked { conn, unread, silent: sockopt::last_received(&*stream).ok()? })
    }

    fn command(&self, conn: ConnId, command: Command) {
        if let Some(open) = self.open.get(&conn) {
            let _ = open.commands.send(command);
        }
    }

    fn read(&self, conn: ConnId, on: bool) {
        if let Some(open) = self.open.get(&conn) {
            let _ = open.reading.send(on);
        }
    }

    fn begin<F>(&mut self, conn: ConnId, reset: Arc<Notify>, life: impl FnOnce(mpsc::Sender<Arrival>, Links) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (commands, commanded) = mpsc::unbounded_channel();
        let (reading, may_read) = tokio::sync::watch::channel(true);
        let socket = Arc::default();
        let links =
            Links { commands: commanded, reading: may_read, reset: Arc::clone(&reset), socket: Arc::clone(&socket) };
        let task = tokio::spawn(life(self.arrivals.clone(), links)).abort_handle();
        self.open.insert(conn, Open { commands, reading, reset, socket, task });
    }
}

impl Drop for Connections {
    /// Closing the sockets is all that a stopping agent says to its leaves.
    fn drop(&mut self) {
        for open in self.open.values() {
            open.task.abort();
        }
    }
}

async fn dial(
    conn: ConnId,
    peer: PeerId,
    local: Option<IpAddr>,
    remote: SocketAddr,
    neighbours: Arc<Neighbours>,
    arrivals: mpsc::Sender<Arrival>,
    mut links: Links,
) {
    let dialling = neighbours.dialling(peer, conn);
    let attempt = tokio::time::timeout(CONNECT_BACKSTOP, connect(peer, local, remote, &neighbours));
    let connected = tokio::select! {
        biased;
        // Nothing but a close can be meant for a connection that is not there yet; a reset ends the channel.
        _ = links.commands.recv() => return,
        connected = attempt => connected.unwrap_or_else(|_| Err(format!("no answer from {remote}"))),
    };
    drop(dialling);
    let failed = |error| Arrival { event: Event::ConnectFailed { conn, error }, stream: None };
    let adopted = connected.and_then(|stream| {
        neighbours.adopt(peer, conn, &stream, &links.reset)?;
        match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(remote)) => Ok((stream, local, remote)),
            (Err(e), _) | (_, Err(e)) => Err(connect_words(&remote.to_string(), &e)),
        }
    });
    match adopted {
        Err(error) => drop(arrivals.send(failed(error)).await),
        Ok((stream, local, remote)) => {
            let event = Event::Connected { conn, local: canonical(local), remote: canonical(remote) };
            if arrivals.send(Arrival { event, stream: None }).await.is_ok() {
                connection::run(conn, stream, arrivals, links).await;
            }
        }
    }
}

async fn connect(
    peer: PeerId,
    local: Option<IpAddr>,
    remote: SocketAddr,
    neighbours: &Neighbours,
) -> Result<Arc<TcpStream>, String> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(|e| format!("cannot make a socket: {e}"))?;
    mark(&socket2::SockRef::from(&socket), remote.is_ipv6());
    neighbours.secure(peer, remote.ip(), &socket)?;
    if let Some(local) = local {
        // A link-local address is one only together with its link, which is the neighbour's.
        let local = match (local, remote) {
            (IpAddr::V6(local), SocketAddr::V6(remote)) if local.is_unicast_link_local() => {
                SocketAddr::V6(SocketAddrV6::new(local, 0, 0, remote.scope_id()))
            }
            (local, _) => SocketAddr::new(local, 0),
        };
        socket.bind(local).map_err(|e| format!("cannot dial from {local}: {e}"))?;
    }
    socket.connect(remote).await.map(Arc::new).map_err(|e| connect_words(&remote.to_string(), &e))
}

/// The highest TTL, so that the leaf may insist on it (RFC 5082 section 3); small messages at once, and as network control.
fn mark(socket: &socket2::SockRef<'_>, v6: bool) {
    // None is worth a session: where the system refuses them, it still works, only less well.
    let _ = socket.set_ttl_v4(255);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tos_v4(CS6);
    if v6 {
        let _ = socket.set_unicast_hops_v6(255);
        let _ = socket.set_tclass_v6(CS6);
    }
}

/// An IPv4 address as such, also where the socket speaks both families; a link-local one keeps its link.
fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::new(IpAddr::V4(v4), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests;
