//! A leaf made by hand: as much BGP as it takes to hold a session with the agent, and any bytes between. Its codec is apart from
//! the agent's, so that the two cannot share a mistake.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::Netns;

const HEADER: usize = 19;
/// Between two of our KEEPALIVEs.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// A message of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// When its last byte was read.
    pub at: Instant,
    /// Its type: 1 OPEN, 2 UPDATE, 3 NOTIFICATION, 4 KEEPALIVE, 5 ROUTE-REFRESH.
    pub kind: u8,
    /// What follows its header.
    pub body: Vec<u8>,
}

/// What the leaf says of itself.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Its AS.
    pub asn: u32,
    /// Hold time it proposes, seconds.
    pub hold: u16,
    /// Its capabilities, each as code, length and value.
    pub capabilities: Vec<u8>,
}

impl Terms {
    /// Both families, four-octet AS numbers.
    #[must_use]
    pub fn usual(asn: u32, hold: u16) -> Self {
        let mut capabilities = vec![1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1, 65, 4];
        capabilities.extend(asn.to_be_bytes());
        Self { asn, hold, capabilities }
    }

    /// The OPEN.
    #[must_use]
    pub fn open(&self, id: Ipv4Addr) -> Vec<u8> {
        let length = u8::try_from(self.capabilities.len()).unwrap_or(u8::MAX);
        let mut body = vec![4];
        body.extend(u16::try_from(self.asn).unwrap_or(23456).to_be_bytes());
        body.extend(self.hold.to_be_bytes());
        body.extend(id.octets());
        body.extend([length + 2, 2, length]);
        body.extend(&self.capabilities);
        message(1, &body)
    }
}

/// A message with its header.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX).to_be_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

/// KEEPALIVE.
#[must_use]
pub fn keepalive() -> Vec<u8> {
    message(4, &[])
}

/// A path attribute; the extended length where the flags say so or the value needs it.
#[must_use]
pub fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let long = flags & 0x10 != 0 || value.len() > 255;
    let mut bytes = vec![if long { flags | 0x10 } else { flags }, code];
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    bytes.extend(if long { &length[..] } else { &length[1..] });
    bytes.extend(value);
    bytes
}

/// An UPDATE of these parts, whatever they are.
#[must_use]
pub fn update(withdrawn: &[u8], attributes: &[u8], prefixes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in [withdrawn, attributes] {
        body.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        body.extend(part);
    }
    body.extend(prefixes);
    message(2, &body)
}

/// A listening socket in a namespace; it stays there whoever uses it.
pub fn listen(netns: &Netns, address: SocketAddr) -> Result<TcpListener> {
    let namespace = std::fs::File::open(crate::netns::path(netns.name()))?;
    let bound = std::thread::spawn(move || -> Result<TcpListener> {
        let kind = Some(rustix::thread::LinkNameSpaceType::Network);
        rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).context("setns")?;
        TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))
    });
    bound.join().map_err(|_| anyhow!("the thread that listens panicked"))?
}

/// A session with the node, or what is left of it.
#[derive(Debug)]
pub struct Leaf {
    /// Sent and not read here.
    stream: Arc<Mutex<TcpStream>>,
    heard: Receiver<Heard>,
    deaf: Arc<AtomicBool>,
}

impl Leaf {
    /// Waits for the node to dial, and exchanges OPEN and KEEPALIVE with it.
    pub fn established(listener: &TcpListener, terms: &Terms, id: Ipv4Addr, within: Duration) -> Result<Self> {
        let leaf = Self::accept(listener, within)?;
        leaf.hear(within, 1)?;
        leaf.say(&terms.open(id))?;
        leaf.say(&keepalive())?;
        leaf.hear(within, 4)?;
        leaf.keep_alive();
        Ok(leaf)
    }

    /// Waits for the node to dial.
    pub fn accept(listener: &TcpListener, within: Duration) -> Result<Self> {
        listener.set_nonblocking(true)?;
        let end = Instant::now() + within;
        let stream = loop {
            match listener.accept() {
                Ok((stream, _)) => break stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => return Err(error).context("the node did not dial"),
            }
        };
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        // A node that does not read must not hold us for ever.
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        let (sender, heard) = channel();
        let reader = stream.try_clone()?;
        let deaf = Arc::new(AtomicBool::new(false));
        let hears = Arc::clone(&deaf);
        std::thread::spawn(move || read(reader, &sender, &hears));
        Ok(Self { stream: Arc::new(Mutex::new(stream)), heard, deaf })
    }

    /// Sends whole messages, or anything else.
    pub fn say(&self, bytes: &[u8]) -> Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.write_all(bytes).context("the node does not take it")
    }

    /// Reads nothing from now on, or at most what comes next; what it says itself goes on, KEEPALIVEs among it.
    pub fn stop_reading(&self) {
        self.deaf.store(true, Ordering::Relaxed);
    }

    /// Reads again, first of all what waited.
    pub fn read_again(&self) {
        self.deaf.store(false, Ordering::Relaxed);
    }

    /// Sends KEEPALIVEs from now on, as long as this value and the connection live.
    fn keep_alive(&self) {
        let stream = Arc::downgrade(&self.stream);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(KEEPALIVE);
                let Some(stream) = stream.upgrade() else { return };
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                if stream.write_all(&keepalive()).is_err() {
                    return;
                }
            }
        });
    }

    /// The next message of this type; others are dropped. A connection that ends first is an error.
    pub fn hear(&self, within: Duration, kind: u8) -> Result<Heard> {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let heard = self.heard.recv_timeout(left).map_err(|e| anyhow!("no message of type {kind}: {e}"))?;
            if heard.kind == kind {
                return Ok(heard);
            }
            if heard.kind == 3 {
                bail!("NOTIFICATION {:?} instead of type {kind}", heard.body);
            }
        }
    }

    /// Everything heard so far and not fetched yet. `None`: the connection is over.
    pub fn heard(&self) -> (Vec<Heard>, bool) {
        let mut all = Vec::new();
        loop {
            match self.heard.try_recv() {
                Ok(heard) => all.push(heard),
                Err(std::sync::mpsc::TryRecvError::Empty) => return (all, true),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return (all, false),
            }
        }
    }
}

fn read(mut stream: TcpStream, heard: &Sender<Heard>, deaf: &Arc<AtomicBool>) {
    let mut buffer = Vec::new();
    let mut chunk = vec![0; 65_536];
    loop {
        // A leaf that nobody has any more reads to the end.
        while deaf.load(Ordering::Relaxed) && Arc::strong_count(deaf) > 1 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let Ok(length @ 1..) = stream.read(&mut chunk) else { return };
        let at = Instant::now();
        buffer.extend_from_slice(chunk.get(..length).unwrap_or_default());
        while let Some([high, low, kind]) = buffer.get(16..HEADER).and_then(|h| <[u8; 3]>::try_from(h).ok()) {
            let length = usize::from(u16::from_be_bytes([high, low])).max(HEADER);
            if buffer.len() < length {
                break;
            }
            let message: Vec<u8> = buffer.drain(..length).collect();
            if heard.send(Heard { at, kind, body: message.get(HEADER..).unwrap_or_default().to_vec() }).is_err() {
                return;
            }
        }
    }
}
