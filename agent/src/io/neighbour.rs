//! Router discovery on unnumbered links: ICMPv6 solicitations and advertisements, sent and heard, and the links' settings.
//!
//! One raw socket per interface that the configuration names. The kernel checks the checksum, and a filter in it lets nothing
//! through but the two messages with hop limit 255, which no router forwards (RFC 4861 section 6.1).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as StdUdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use petiole_node::Input;
use petiole_node::neighbour::{
    ALL_ROUTERS, DiscoveryAction, DiscoveryEvent, LinkSysctls, ROUTER_ADVERTISEMENT, ROUTER_SOLICITATION,
};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

/// Settings are looked at that often, and a socket that cannot be had is tried again.
const LOOK: Duration = Duration::from_secs(3);
/// Between two messages that are handed on: who floods a link fills the kernel's buffer and not the agent's loop.
const BREATH: Duration = Duration::from_millis(2);
/// Longer than what fits a packet of the usual MTU; a cut message is no valid one.
const MESSAGE: usize = 2048;
const RECEIVE_BUFFER: usize = 64 * 1024;
const HOP_LIMIT: u32 = 255;

/// All unnumbered links. Belongs to the loop; what is heard goes to the inputs.
#[derive(Debug)]
pub struct Discovery {
    inputs: mpsc::Sender<Input>,
    links: BTreeMap<u32, Link>,
}

#[derive(Debug)]
struct Link {
    outgoing: mpsc::UnboundedSender<(Ipv6Addr, Vec<u8>)>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Discovery {
    /// Listens nowhere before it is told to.
    #[must_use]
    pub const fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs, links: BTreeMap::new() }
    }

    /// Do what the node wants. Never blocks.
    pub fn act(&mut self, action: DiscoveryAction) {
        match action {
            DiscoveryAction::Listen { interface, link } => {
                let (outgoing, messages) = mpsc::unbounded_channel();
                let task = tokio::spawn(run(interface, link, messages, self.inputs.clone())).abort_handle();
                self.links.insert(link, Link { outgoing, task });
            }
            DiscoveryAction::Close { link } => drop(self.links.remove(&link)),
            DiscoveryAction::Send { link, to, bytes } => {
                if let Some(link) = self.links.get(&link) {
                    let _ = link.outgoing.send((to, bytes));
                }
            }
        }
    }
}

/// Everything about one link, until it is aborted or nobody listens any more.
async fn run(
    interface: String,
    link: u32,
    mut messages: mpsc::UnboundedReceiver<(Ipv6Addr, Vec<u8>)>,
    inputs: mpsc::Sender<Input>,
) {
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut teller = Teller { link, inputs, sysctls: None, trouble: String::new() };
    let mut socket = None;
    let mut buffer = vec![0; MESSAGE];
    loop {
        let heard = async {
            match &socket {
                Some(socket) => receive(socket, &mut buffer).await,
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            _ = look.tick() => {
                if socket.is_none() {
                    match open(&interface, link) {
                        Ok(opened) => socket = Some(opened),
                        Err(e) => teller.trouble(words(&e)).await,
                    }
                }
                teller.sysctls(sysctls(&interface)).await
            }
            message = messages.recv() => {
                let Some((to, bytes)) = message else { return };
                let Some(socket) = &socket else { continue };
                match socket.send_to(&bytes, SocketAddr::V6(SocketAddrV6::new(to, 0, 0, link))).await {
                    Ok(_) => teller.trouble(String::new()).await,
                    // The address may be new, or the link just gone: the next one tells.
                    Err(e) if transient(&e) => tracing::debug!("cannot send a router advertisement by {interface}: {e}"),
                    Err(e) => teller.trouble(words(&e)).await,
                }
                Ok(())
            }
            heard = heard => match heard {
                Some((from, bytes)) => {
                    let told = teller.tell(DiscoveryEvent::Heard { link, from, bytes }).await;
                    tokio::time::sleep(BREATH).await;
                    told
                }
                None => {
                    tokio::time::sleep(BREATH).await;
                    Ok(())
                }
            },
        };
        if told.is_err() {
            return;
        }
    }
}

async fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(Ipv6Addr, Vec<u8>)> {
    match socket.recv_from(buffer).await {
        Ok((len, SocketAddr::V6(from))) => Some((*from.ip(), buffer.get(..len)?.to_vec())),
        Ok(_) | Err(_) => None,
    }
}

/// Nobody listens to what is told.
struct Closed;

/// What the node was told last of one link.
struct Teller {
    link: u32,
    inputs: mpsc::Sender<Input>,
    sysctls: Option<LinkSysctls>,
    trouble: String,
}

impl Teller {
    async fn tell(&self, event: DiscoveryEvent) -> Result<(), Closed> {
        self.inputs.send(Input::Discovery(event)).await.map_err(|_| Closed)
    }

    async fn sysctls(&mut self, sysctls: LinkSysctls) -> Result<(), Closed> {
        if self.sysctls.replace(sysctls) == Some(sysctls) {
            return Ok(());
        }
        self.tell(DiscoveryEvent::Sysctls { link: self.link, sysctls }).await
    }

    async fn trouble(&mut self, what: String) {
        if self.trouble != what {
            self.trouble.clone_from(&what);
            // Who does not listen is found out with the next settings.
            let _ = self.tell(DiscoveryEvent::Trouble { link: self.link, what }).await;
        }
    }
}

/// A socket for one interface. It is no UDP socket, but behaves as one as soon as it exists: whole messages with their sources.
fn open(interface: &str, link: u32) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&filter())?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.set_multicast_if_v6(link)?;
    socket.set_multicast_hops_v6(HOP_LIMIT)?;
    socket.set_unicast_hops_v6(HOP_LIMIT)?;
    socket.set_multicast_loop_v6(false)?;
    socket.join_multicast_v6(&ALL_ROUTERS, link)?;
    socket.set_nonblocking(true)?;
    let socket = StdUdpSocket::from(OwnedFd::from(socket));
    // What came before the filter was there.
    let mut buffer = [0; 1];
    while socket.recv_from(&mut buffer).is_ok() {}
    UdpSocket::from_std(socket)
}

/// Solicitations and advertisements with hop limit 255, as a classic BPF program (`linux/filter.h`): the message begins at 0, the
/// IPv6 header at `SKF_NET_OFF`.
fn filter() -> [SockFilter; 7] {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const NET_OFF: u32 = 0xfff0_0000;
    const HOP_LIMIT_AT: u32 = NET_OFF + 7;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 0),
        SockFilter::new(JUMP_IF_EQUAL, 1, 0, ROUTER_SOLICITATION as u32),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, ROUTER_ADVERTISEMENT as u32),
        SockFilter::new(LOAD_BYTE, 0, 0, HOP_LIMIT_AT),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, HOP_LIMIT),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

fn sysctls(interface: &str) -> LinkSysctls {
    let read = |key: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/{key}")).ok()?;
        text.trim().parse().ok()
    };
    LinkSysctls {
        disable_ipv6: read("disable_ipv6"),
        addr_gen_mode: read("addr_gen_mode"),
        accept_ra: read("accept_ra"),
        forwarding: read("forwarding"),
    }
}

fn transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::ENETDOWN | libc::ENETUNREACH | libc::ENODEV | libc::ENXIO | libc::ENOBUFS)
    )
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "a raw socket needs CAP_NET_RAW; give it to the agent, or no leaf is found there".to_owned()
        }
        _ => format!("{error}; it is tried again"),
    }
}
