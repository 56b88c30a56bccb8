//! The speaker behind plain sockets, in a process of its own: reads of 64 KiB, one loop, everything drained after each call.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use petiole_bgp::{Action, ConnId, Event, LocalConfig, PeerConfig, PeerId, RemoteAsn, Speaker};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

use super::counting;
use super::feed::{Leaf, NODE, NODE_ASN};

/// What is read at once.
const CHUNK: usize = 65_536;

/// What the receiver says of itself when it is asked. Times are of the processor, not of the clock on the wall: others may
/// run on the machine. All since the last time it was asked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Prefixes announced by the leaves since the start.
    pub(crate) announced: u64,
    /// Paths held.
    pub(crate) paths: u64,
    /// Changes of routes handed out since the start.
    pub(crate) changes: u64,
    /// Bytes on the heap.
    pub(crate) held: u64,
    /// Seconds in calls that take something in: bytes to decided routes.
    pub(crate) working: f64,
    /// Seconds in calls that hand changed routes out.
    pub(crate) draining: f64,
    /// The longest call of each kind, seconds.
    pub(crate) longest_work: f64,
    pub(crate) longest_drain: f64,
    /// The longest time between two looks at the timers, by the wall clock, seconds: no KEEPALIVE is later than that.
    pub(crate) longest_turn: f64,
}

struct Receiver {
    speaker: Speaker,
    epoch: Instant,
    streams: BTreeMap<ConnId, TcpStream>,
    accepted: u64,
    report: Report,
}

/// Listens on the address for leaves, and on the next port for questions; ends with its process.
pub fn run(listen: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
    let questions = TcpListener::bind(SocketAddr::new(listen.ip(), listen.port() + 1))?;
    listener.set_nonblocking(true)?;
    questions.set_nonblocking(true)?;
    let local = LocalConfig { asn: NODE_ASN, router_id: NODE };
    let mut speaker = Speaker::new(local, [7; 32], Duration::ZERO);
    let peers = Leaf::BOTH.map(|leaf| {
        let config = PeerConfig::new(leaf.address().into(), RemoteAsn::Is(leaf.asn().into()));
        (PeerId::of_address(leaf.address().into()), PeerConfig { passive: true, ..config })
    });
    speaker.set_peers(peers.into(), Duration::ZERO);
    let (epoch, streams) = (Instant::now(), BTreeMap::new());
    let mut receiver = Receiver { speaker, epoch, streams, accepted: 0, report: Report::default() };
    let mut chunk = vec![0; CHUNK];
    loop {
        receiver.wait(&listener, &questions)?;
        let begin = Instant::now();
        receiver.accept(&listener, &questions)?;
        receiver.read(&mut chunk);
        if receiver.speaker.poll_timeout().is_some_and(|(due, _)| due <= receiver.epoch.elapsed()) {
            receiver.work(|speaker, now| speaker.handle_timeout(now));
        }
        receiver.report.longest_turn = receiver.report.longest_turn.max(begin.elapsed().as_secs_f64());
    }
}

impl Receiver {
    /// Until there is something to read, or a timer is due.
    fn wait(&self, listener: &TcpListener, questions: &TcpListener) -> Result<()> {
        let timeout = self.speaker.poll_timeout().map(|(due, _)| due.saturating_sub(self.epoch.elapsed()));
        let timeout = timeout.map(Timespec::try_from).transpose()?;
        let sockets = self.streams.values().map(|stream| PollFd::new(stream, PollFlags::IN));
        let mut sockets: Vec<PollFd<'_>> =
            sockets.chain([listener, questions].map(|listener| PollFd::new(listener, PollFlags::IN))).collect();
        match poll(&mut sockets, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn accept(&mut self, listener: &TcpListener, questions: &TcpListener) -> Result<()> {
        if let Ok((mut stream, _)) = questions.accept() {
            stream.write_all(&serde_json::to_vec(&self.answer())?)?;
            self.report = Report { changes: self.report.changes, ..Report::default() };
        }
        if let Ok((stream, remote)) = listener.accept() {
            stream.set_nonblocking(true)?;
            let local = stream.local_addr()?;
            self.accepted += 1;
            let conn = ConnId::Accepted(self.accepted);
            self.streams.insert(conn, stream);
            self.work(|speaker, now| speaker.handle_event(Event::Accepted { conn, local, remote }, now));
        }
        Ok(())
    }

    fn answer(&self) -> Report {
        let mut report = Report { held: counting::held() as u64, ..self.report.clone() };
        for peer in self.speaker.peers() {
            report.announced += peer.counters.announced_in;
            report.paths += peer.session.map_or(0, |session| session.prefixes_received);
        }
        report
    }

    /// One read of every connection.
    fn read(&mut self, chunk: &mut [u8]) {
        let conns: Vec<ConnId> = self.streams.keys().copied().collect();
        for conn in conns {
            let Some(stream) = self.streams.get_mut(&conn) else { continue };
            let event = match stream.read(chunk) {
                Ok(0) => Event::Closed { conn, error: None },
                Ok(length) => {
                    let bytes = chunk.get(..length).unwrap_or_default().to_vec().into();
                    Event::Received { conn, bytes }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => Event::Closed { conn, error: Some(error.to_string()) },
            };
            if matches!(event, Event::Closed { .. }) {
                self.streams.remove(&conn);
            }
            self.work(|speaker, now| speaker.handle_event(event, now));
        }
    }

    /// One call, timed, and everything that follows from it.
    fn work(&mut self, call: impl FnOnce(&mut Speaker, Duration)) {
        let now = self.epoch.elapsed();
        let begin = cpu();
        call(&mut self.speaker, now);
        let spent = cpu() - begin;
        self.report.working += spent;
        self.report.longest_work = self.report.longest_work.max(spent);
        while let Some(action) = self.speaker.poll_action() {
            match action {
                Action::Send { conn, bytes } => {
                    // A few dozen octets per session: the socket takes them.
                    let sent = self.streams.get_mut(&conn).map(|stream| stream.write_all(&bytes));
                    if let Some(Ok(())) = sent {
                        self.speaker.handle_event(Event::Written { conn, bytes: bytes.len() }, now);
                    }
                }
                Action::Close { conn } | Action::Reset { conn } => {
                    self.streams.remove(&conn);
                }
                // The next read comes when this one is worked off.
                Action::PauseReading { .. } | Action::ResumeReading { .. } | Action::Connect { .. } => {}
            }
        }
        while self.speaker.poll_event().is_some() {}
        loop {
            let begin = cpu();
            let batch = self.speaker.poll_route_changes();
            let spent = cpu() - begin;
            self.report.draining += spent;
            self.report.longest_drain = self.report.longest_drain.max(spent);
            let Some(batch) = batch else { break };
            self.report.changes += batch.changes.len() as u64;
        }
    }
}

/// Seconds that this thread has had of a processor.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
