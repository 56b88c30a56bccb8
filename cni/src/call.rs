//! One call of the agent: connect, send the request, wait for the response; all of it within one time.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::ask::{Ask, name};
use crate::rpc::{self, Code, Command, Failure, Incoming, Response};
use crate::socket::send;

/// `f_type` of a file that is a namespace: `NSFS_MAGIC` of the kernel's `linux/magic.h`.
const NSFS: u64 = 0x6e73_6673;

/// What to look at when the agent does not answer.
const NEXT: &str = "is the agent running on this node? `petiole status` says";

/// Asks the agent.
///
/// # Errors
/// What goes wrong on the way, as an error of the specification: the agent being away is [`Code::TRY_AGAIN`], and
/// [`Code::NOT_AVAILABLE`] for STATUS.
pub fn call(ask: &Ask) -> Result<Response, Failure> {
    let deadline = Instant::now() + ask.timeout;
    let netns = netns(ask)?;
    let frame = rpc::encode(&ask.request)
        .map_err(|error| Failure::new(Code::DECODE, format!("the request cannot be sent: {error}")))?;
    let path = ask.socket.display();
    let stream = open(&ask.socket, left(ask, deadline)?).map_err(|error| match error.kind() {
        ErrorKind::NotFound => away(ask, format!("the agent's socket {path} does not exist: {NEXT}")),
        ErrorKind::ConnectionRefused => away(ask, format!("nobody listens on the agent's socket {path}: {NEXT}")),
        ErrorKind::WouldBlock => late(ask),
        ErrorKind::PermissionDenied => Failure::new(
            Code::IO,
            format!("the agent's socket {path} may not be used ({error}): the plugin has to run as root"),
        ),
        _ => away(ask, format!("cannot connect to the agent's socket {path}: {error}")),
    })?;
    write(ask, &stream, &frame, netns.as_ref().map(AsFd::as_fd), deadline)?;
    read(ask, &stream, deadline)
}

/// The open namespace. At DEL it may be gone, which is no error.
fn netns(ask: &Ask) -> Result<Option<OwnedFd>, Failure> {
    let Some(path) = &ask.request.netns else { return Ok(None) };
    let found = match File::open(path) {
        Ok(file) => rustix::fs::fstatfs(&file)
            .ok()
            .filter(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| kind == NSFS))
            .map(|_| OwnedFd::from(file))
            // What `ip netns` leaves behind when a namespace is unmounted, or the node was booted.
            .ok_or_else(|| "the file is no network namespace, or no more".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match found {
        Ok(fd) => Ok(Some(fd)),
        Err(_) if ask.request.command == Command::Del => Ok(None),
        Err(why) => Err(Failure::new(Code::ENVIRONMENT, format!("CNI_NETNS is {path:?}: {why}"))),
    }
}

/// A stream that is connected. Where the agent's queue is full the kernel waits, for as long as the socket may.
fn open(path: &Path, time: Duration) -> std::io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Send, Some(time))?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

fn write(
    ask: &Ask,
    stream: &UnixStream,
    frame: &[u8],
    mut netns: Option<BorrowedFd<'_>>,
    deadline: Instant,
) -> Result<(), Failure> {
    let mut rest = frame;
    while !rest.is_empty() {
        let time = left(ask, deadline)?;
        let sent = stream.set_write_timeout(Some(time)).and_then(|()| send(stream, rest, netns.take()));
        match sent {
            Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late(ask)),
            // An agent that ends before it has read the request may have said why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(away(ask, format!("the request could not be sent to the agent: {error}"))),
        }
    }
    Ok(())
}

fn read(ask: &Ask, mut stream: &UnixStream, deadline: Instant) -> Result<Response, Failure> {
    let bad = |error: rpc::FrameError| {
        let msg = "the agent's response cannot be read: are plugin and agent of the same version?";
        Failure::new(if ask.request.command == Command::Status { Code::NOT_AVAILABLE } else { Code::DECODE }, msg)
            .details(error.to_string())
    };
    let mut incoming = Incoming::default();
    let mut buffer = [0; 8192];
    loop {
        let time = left(ask, deadline)?;
        let octets = match stream.set_read_timeout(Some(time)).and_then(|()| stream.read(&mut buffer)) {
            Ok(0) => {
                let how = if incoming.is_empty() { "without a response" } else { "in the middle of its response" };
                return Err(away(ask, format!("the agent hung up {how}: it may have been restarted")));
            }
            Ok(octets) => octets,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(late(ask)),
            Err(error) => return Err(away(ask, format!("the connection to the agent broke: {error}"))),
        };
        incoming.extend(buffer.get(..octets).unwrap_or_default()).map_err(bad)?;
        if let Some(response) = incoming.message().map_err(bad)? {
            return Ok(response);
        }
    }
}

/// What is left of the time; never zero, which would mean for ever.
fn left(ask: &Ask, deadline: Instant) -> Result<Duration, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left < Duration::from_millis(1) { Err(late(ask)) } else { Ok(left) }
}

fn late(ask: &Ask) -> Failure {
    let msg = format!("the agent did not answer {} within {:?}: {NEXT}", name(ask.request.command), ask.timeout);
    away(ask, msg)
}

fn away(ask: &Ask, msg: String) -> Failure {
    let code = if ask.request.command == Command::Status { Code::NOT_AVAILABLE } else { Code::TRY_AGAIN };
    Failure::new(code, msg)
}
