use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn the_namespace_comes_with_the_first_octet() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let netns = File::open("/proc/self/ns/net").unwrap();
    assert_eq!(send(&ours, b"first", Some(netns.as_fd())).unwrap(), 5);
    assert_eq!(send(&ours, b"second", None).unwrap(), 6);
    let mut buffer = [0; 64];
    let (octets, fd) = receive(&theirs, &mut buffer[..1]).unwrap();
    assert_eq!((octets, buffer[0]), (1, b'f'));
    let fd = fd.unwrap();
    let link = |fd: i32| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    assert_eq!(link(fd.as_raw_fd()), link(netns.as_raw_fd()));
    assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
    let (octets, fd) = receive(&theirs, &mut buffer).unwrap();
    assert_eq!((&buffer[..octets], fd.is_none()), (&b"irstsecond"[..], true));
}

#[test]
fn more_descriptors_than_one_are_closed() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let files: Vec<File> = (0..3).map(|_| File::open("/dev/null").unwrap()).collect();
    let fds: Vec<BorrowedFd<'_>> = files.iter().map(File::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(&ours, &[IoSlice::new(b"x")], &mut ancillary, SendFlags::empty()).unwrap();
    let (octets, fd) = receive(&theirs, &mut [0; 8]).unwrap();
    assert!(octets == 1 && fd.is_some());
}

#[test]
fn a_peer_that_is_gone_is_an_error_and_no_signal() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert_eq!(send(&ours, b"x", None).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    drop(ours);
    assert_eq!(theirs.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(receive(&theirs, &mut [0; 8]).unwrap().0, 0);
}
