//! The life of one connection that exists.

use std::io;
use std::net::Shutdown;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use petiole_node::bgp::{ConnId, Event};
use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};

use super::Arrival;

/// The most that one event carries.
const CHUNK: usize = 64 * 1024;
/// Below this much room a new buffer is better than a short read.
const ROOM: usize = 8 * 1024;
/// How long a leaf may take to read our last words, and then to close its side.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the loop tells a connection.
#[derive(Debug)]
pub(super) enum Command {
    Send(Bytes),
    Close,
}

/// The loop's end of a connection, as the connection sees it.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) reading: watch::Receiver<bool>,
    pub(super) reset: Arc<Notify>,
    pub(super) socket: Arc<OnceLock<Weak<TcpStream>>>,
}

/// How the writer ended.
enum Last {
    /// The loop wants the connection closed; everything before was written.
    Closed,
    /// The loop wants it gone.
    Reset,
    /// The loop itself is gone.
    Forgotten,
}

/// Read and write until either side ends it.
pub(super) async fn run(conn: ConnId, stream: Arc<TcpStream>, arrivals: mpsc::Sender<Arrival>, links: Links) {
    let Links { mut commands, reading, reset, socket } = links;
    let _ = socket.set(Arc::downgrade(&stream));
    let broken = Arc::new(OnceLock::new());
    let reader = tokio::spawn(read_all(conn, Arc::clone(&stream), arrivals.clone(), reading, Arc::clone(&broken)));
    // Ends with this task: an aborted connection has no reader that lives on.
    let reader = AbortOnDrop(reader);
    let last = tokio::select! {
        biased;
        () = reset.notified() => Last::Reset,
        last = write_all(conn, &stream, &mut commands, &arrivals, &broken) => last,
    };
    match last {
        Last::Closed => farewell(&stream, reader).await,
        // Closed once the reader, which goes with this task, has let go of it.
        Last::Reset => drop(SockRef::from(&*stream).set_linger(Some(Duration::ZERO))),
        Last::Forgotten => {}
    }
}

async fn write_all(
    conn: ConnId,
    stream: &TcpStream,
    commands: &mut mpsc::UnboundedReceiver<Command>,
    arrivals: &mpsc::Sender<Arrival>,
    broken: &OnceLock<String>,
) -> Last {
    let mut works = true;
    while let Some(command) = commands.recv().await {
        let mut bytes = match command {
            Command::Send(bytes) => bytes,
            Command::Close => return Last::Closed,
        };
        while works && !bytes.is_empty() {
            match write(stream, &bytes).await {
                Ok(n) => {
                    let _ = bytes.split_to(n);
                    let event = Event::Written { conn, bytes: n };
                    if arrivals.send(Arrival { event, stream: None }).await.is_err() {
                        return Last::Forgotten;
                    }
                }
                // Not reported here: what the leaf said before it went is still to be read, and the reader meets the same end.
                Err(e) => {
                    let _ = broken.set(e.to_string());
                    works = false;
                }
            }
        }
    }
    Last::Forgotten
}

async fn write(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    loop {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            written => return written,
        }
    }
}

async fn read(stream: &TcpStream, buffer: &mut BytesMut) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read_buf(buffer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Close so that our last message arrives: unread bytes on our side would turn the close into a reset, which may overtake it.
async fn farewell(stream: &TcpStream, reader: AbortOnDrop) {
    drop(reader);
    let _ = SockRef::from(stream).shutdown(Shutdown::Write);
    let mut sink = BytesMut::with_capacity(ROOM);
    let drain = async {
        while read(stream, &mut sink).await.is_ok_and(|n| n > 0) {
            sink.clear();
        }
    };
    let _: Result<(), _> = tokio::time::timeout(FAREWELL, drain).await;
}

async fn read_all(
    conn: ConnId,
    stream: Arc<TcpStream>,
    arrivals: mpsc::Sender<Arrival>,
    mut reading: watch::Receiver<bool>,
    broken: Arc<OnceLock<String>>,
) {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    let error = loop {
        if reading.wait_for(|&on| on).await.is_err() {
            return;
        }
        if buffer.capacity() - buffer.len() < ROOM {
            buffer = BytesMut::with_capacity(CHUNK);
        }
        match read(&stream, &mut buffer).await {
            Ok(0) => break broken.get().cloned(),
            Ok(_) => {
                let event = Event::Received { conn, bytes: buffer.split().freeze() };
                if arrivals.send(Arrival { event, stream: None }).await.is_err() {
                    return;
                }
            }
            Err(e) => break Some(broken.get().cloned().unwrap_or_else(|| e.to_string())),
        }
    };
    let _ = arrivals.send(Arrival { event: Event::Closed { conn, error }, stream: None }).await;
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
