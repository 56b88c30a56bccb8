//! The leaf of the bench: listens, opens every session it is offered, notes when each UPDATE arrives, says nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::wire::{self, Message};

/// The leaf's AS.
pub(crate) const ASN: u16 = 65_001;
/// How long a session lives without a word, seconds.
const HOLD: u16 = 90;
/// Between two KEEPALIVEs; a third of the shortest hold time that BGP allows.
const KEEPALIVE: Duration = Duration::from_secs(1);

/// Something the leaf saw, and when the bytes had been read.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: Instant,
    /// Which connection, counted from 1.
    pub(crate) session: u64,
    pub(crate) what: What,
}

/// What the leaf saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// OPEN and KEEPALIVE came, and ours are out.
    Established,
    /// An UPDATE.
    Update { announced: Vec<String>, withdrawn: Vec<String> },
    /// The connection is over.
    Closed,
}

/// The events of all sessions, in order.
#[derive(Debug)]
pub(crate) struct Peer {
    events: Receiver<Event>,
    latest: u64,
}

impl Peer {
    /// Listens; the thread ends with the process.
    pub(crate) fn listen(address: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let (sender, events) = channel();
        thread::spawn(move || {
            let mut previous: Option<TcpStream> = None;
            for (session, stream) in (1..).zip(listener.incoming()) {
                let Ok(stream) = stream else { return };
                // The node dials anew only when its old connection is over, whether or not that could be said.
                if let Some(old) = previous.take() {
                    let _gone = old.shutdown(std::net::Shutdown::Both);
                }
                previous = stream.try_clone().ok();
                let sender = sender.clone();
                thread::spawn(move || {
                    let _over = serve(stream, session, &sender);
                    let _unheard = sender.send(Event { at: Instant::now(), session, what: What::Closed });
                });
            }
        });
        Ok(Self { events, latest: 0 })
    }

    /// The next event for which `wanted` has a value; others are dropped, and so is what an older session still says.
    pub(crate) fn wait<T>(
        &mut self,
        within: Duration,
        what: &str,
        mut wanted: impl FnMut(&Event) -> Option<T>,
    ) -> Result<T> {
        let end = Instant::now() + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else { bail!("not within {within:?}: {what}") };
            if event.session < self.latest {
                continue;
            }
            self.latest = event.session;
            if let Some(value) = wanted(&event) {
                return Ok(value);
            }
        }
    }

    /// Everything seen and not fetched yet.
    pub(crate) fn seen(&mut self) -> Vec<Event> {
        let seen: Vec<Event> = self.events.try_iter().collect();
        self.latest = seen.iter().map(|event| event.session).fold(self.latest, u64::max);
        seen
    }

    /// Forgets what was seen so far.
    pub(crate) fn drain(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.latest = self.latest.max(event.session);
        }
    }
}

fn serve(mut stream: TcpStream, session: u64, events: &Sender<Event>) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(KEEPALIVE))?;
    let mut buffer = Vec::new();
    let mut chunk = [0; 65_536];
    let mut established = false;
    let mut spoken = Instant::now();
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let at = Instant::now();
                buffer.extend(chunk.get(..length).unwrap_or_default());
                while let Some(message) = wire::take(&mut buffer).map_err(anyhow::Error::msg)? {
                    let what = match message {
                        Message::Open => {
                            let id = Ipv4Addr::new(10, 121, 0, 11);
                            stream.write_all(&[wire::open(ASN, id, HOLD), wire::keepalive()].concat())?;
                            continue;
                        }
                        Message::Keepalive if !established => {
                            established = true;
                            What::Established
                        }
                        Message::Update { announced, withdrawn } => What::Update { announced, withdrawn },
                        Message::Keepalive => continue,
                        Message::Other(_) => return Ok(()),
                    };
                    events.send(Event { at, session, what })?;
                }
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        if established && spoken.elapsed() >= KEEPALIVE {
            stream.write_all(&wire::keepalive())?;
            spoken = Instant::now();
        }
    }
}
