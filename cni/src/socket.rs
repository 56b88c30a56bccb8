//! The socket between plugin and agent: octets, and an open namespace beside the first of them.
//!
//! These are the plain system calls, for blocking sockets and for those that a runtime polls: on the latter they fail with
//! [`std::io::ErrorKind::WouldBlock`].

use std::io::{IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Sends octets, the namespace beside the first one, and says how many went: at least one, perhaps not all. The rest is
/// sent without the namespace.
///
/// # Errors
/// As `sendmsg(2)`. A peer that is gone is an error, never a signal.
pub fn send(stream: impl AsFd, bytes: &[u8], netns: Option<BorrowedFd<'_>>) -> Result<usize> {
    let fds: &[BorrowedFd<'_>] = match &netns {
        Some(netns) => std::slice::from_ref(netns),
        None => &[],
    };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    // The space is exactly that of one descriptor.
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(std::io::ErrorKind::OutOfMemory.into());
    }
    let octets = [IoSlice::new(bytes)];
    Ok(retry_on_intr(|| sendmsg(&stream, &octets, &mut ancillary, SendFlags::NOSIGNAL))?)
}

/// Receives octets, and the namespace if it came with them. Zero octets are the end of the stream.
///
/// The descriptor is closed on exec. Where several came, the first is kept and the others are closed.
///
/// # Errors
/// As `recvmsg(2)`.
pub fn receive(stream: impl AsFd, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut octets = [IoSliceMut::new(buffer)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = retry_on_intr(|| recvmsg(&stream, &mut octets, &mut ancillary, flags))?;
    let mut netns = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            for fd in fds {
                netns.get_or_insert(fd);
            }
        }
    }
    Ok((received.bytes, netns))
}

#[cfg(test)]
mod tests;
