//! TCP MD5 signatures over the loopback, the leaf being a plain socket.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::super::sockopt;
use super::*;

/// An address for each test, so that what one listens on is nobody else's.
struct Desk {
    folder: TempDir,
    leaf: IpAddr,
    node: IpAddr,
}

impl Desk {
    fn new(leaf: &str, node: &str) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), leaf: leaf.parse().unwrap(), node: node.parse().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("leaf.key")
    }

    fn write(&self, key: &str) {
        write(&self.path(), key);
    }

    fn settings(&self) -> PeerSettings {
        PeerSettings { password_file: Some(self.path()), ..leaf(&self.leaf.to_string()) }
    }

    /// The leaf's listening socket.
    fn listen(&self, key: Option<&str>) -> TcpListener {
        let socket = self.socket(key);
        socket.listen(8).unwrap();
        TcpListener::from_std(socket.into()).unwrap()
    }

    fn socket(&self, key: Option<&str>) -> Socket {
        let at = SocketAddr::new(self.leaf, 0);
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        if let Some(key) = key {
            sockopt::sign(&socket, self.leaf.is_ipv6(), self.node, key.as_bytes()).unwrap();
        }
        socket.bind(&at.into()).unwrap();
        socket
    }

    /// The leaf dials.
    async fn dial(&self, key: Option<&str>, port: u16) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::from_std_stream(self.socket(key).into());
        let connect = socket.connect(SocketAddr::new(self.node, port));
        match tokio::time::timeout(Duration::from_millis(700), connect).await {
            Ok(connected) => connected,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }

    /// The leaf dials until it is answered.
    async fn dial_in_time(&self, key: &str, port: u16) -> TcpStream {
        for _ in 0..20 {
            if let Ok(stream) = self.dial(Some(key), port).await {
                return stream;
            }
        }
        panic!("{} is not answered with the right key", self.leaf)
    }

    fn connect_to(&self, listener: &TcpListener) -> Action {
        Action::Connect {
            conn: CONN,
            peer: PeerId::of_address(self.leaf),
            local: Some(self.node),
            remote: listener.local_addr().unwrap(),
        }
    }
}

fn write(path: &Path, key: &str) {
    let new = path.with_extension("new");
    fs::write(&new, key).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, path).unwrap();
}

/// A free port that only this test listens on.
fn port(node: IpAddr) -> u16 {
    std::net::TcpListener::bind((node, 0)).unwrap().local_addr().unwrap().port()
}

async fn hint(rig: &mut Rig, needle: &str) {
    loop {
        match rig.next().await {
            Event::Hint { conn: CONN, what } if what.contains(needle) => return,
            Event::Hint { .. } | Event::Written { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn trouble(rig: &mut Rig, needle: &str) {
    let found = async {
        loop {
            match rig.inputs.recv().await {
                Some(Input::Trouble { what, .. }) if what.contains(needle) => return,
                Some(Input::Trouble { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::time::timeout(PLENTY, found).await.unwrap();
}

#[tokio::test]
async fn rfc2385_2_a_dialled_connection_is_signed_both_ways() {
    for (leaf, node) in [("127.0.1.1", "127.0.1.2"), ("::1", "::1")] {
        let desk = Desk::new(leaf, node);
        desk.write("secret\n");
        let listener = desk.listen(Some("secret"));
        let mut rig = Rig::with(None, vec![desk.settings()]);
        rig.connections.act(desk.connect_to(&listener));
        let (mut stream, _) = tokio::time::timeout(PLENTY, listener.accept()).await.unwrap().unwrap();
        let Event::Connected { .. } = rig.next().await else { panic!("not connected") };
        rig.connections.act(send(b"open"));
        let mut got = [0; 4];
        stream.read_exact(&mut got).await.unwrap();
        stream.write_all(b"too").await.unwrap();
        let Event::Received { bytes, .. } = rig.next_but_written().await else { panic!("not received") };
        assert_eq!((&got[..], &bytes[..]), (&b"open"[..], &b"too"[..]));
    }
}

#[tokio::test]
async fn rfc2385_4_1_no_key_or_another_gives_no_connection_and_says_what_is_known() {
    for (theirs, words) in [(Some("another"), "the keys differ"), (None, "the leaf has no key for us")] {
        let desk = Desk::new("127.0.1.5", "127.0.1.6");
        desk.write("secret");
        let listener = desk.listen(theirs);
        let at = port(desk.node);
        let mut rig = Rig::with(Some(SocketAddr::new(desk.node, at)), vec![desk.settings()]);
        rig.connections.act(desk.connect_to(&listener));
        hint(&mut rig, "no answer from 127.0.1.5").await;
        // What the leaf dials is dropped here, and counted.
        assert!(desk.dial(theirs, at).await.is_err(), "connected with {theirs:?}");
        hint(&mut rig, words).await;
        // The counters are those of all tests here, so either may come first.
        trouble(&mut rig, "what arrives has").await;
        let none = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(none.is_err(), "the leaf got an unsigned connection");
    }
}

#[tokio::test]
async fn rfc2385_4_1_a_leaf_that_signs_towards_us_without_a_key_is_said() {
    let desk = Desk::new("127.0.1.9", "127.0.1.10");
    let at = port(desk.node);
    let listener = desk.listen(Some("theirs"));
    let unsigned = PeerSettings { password_file: None, ..desk.settings() };
    let mut rig = Rig::with(Some(SocketAddr::new(desk.node, at)), vec![unsigned]);
    rig.connections.act(desk.connect_to(&listener));
    assert!(desk.dial(Some("theirs"), at).await.is_err());
    hint(&mut rig, "and there is no password_file").await;
    trouble(&mut rig, "set password_file").await;
}

#[tokio::test]
async fn rfc2385_accepted_connections_are_signed_on_a_listener_of_both_families() {
    let v4 = Desk::new("127.0.1.13", "127.0.1.14");
    let v6 = Desk::new("::1", "::1");
    v4.write("four");
    v6.write("six");
    let at = port("::".parse().unwrap());
    let unsigned = leaf("127.0.1.15");
    let mut rig =
        Rig::with(Some(SocketAddr::new("::".parse().unwrap(), at)), vec![v4.settings(), v6.settings(), unsigned]);
    for (desk, key, wrong) in [(&v4, "four", "six"), (&v6, "six", "four")] {
        let mut stream = desk.dial_in_time(key, at).await;
        stream.write_all(b"open").await.unwrap();
        let Event::Accepted { remote, .. } = rig.next_accepted().await else { panic!("not accepted") };
        assert_eq!(remote.ip(), desk.leaf);
        let Event::Received { bytes, .. } = rig.next().await else { panic!("not received") };
        assert_eq!(&bytes[..], b"open");
        assert!(desk.dial(Some(wrong), at).await.is_err(), "a wrong key for {} connects", desk.leaf);
        assert!(desk.dial(None, at).await.is_err(), "{} connects unsigned", desk.leaf);
    }
    // Another leaf has no key, and needs none.
    let desk = Desk::new("127.0.1.15", "127.0.1.14");
    desk.dial(None, at).await.unwrap();
}

#[tokio::test]
async fn without_a_usable_key_nothing_is_dialled_or_accepted_until_there_is_one() {
    let desk = Desk::new("127.0.1.17", "127.0.1.18");
    let at = port(desk.node);
    let listener = desk.listen(None);
    let mut rig = Rig::with(Some(SocketAddr::new(desk.node, at)), vec![desk.settings()]);
    rig.connections.act(desk.connect_to(&listener));
    let Event::ConnectFailed { error, .. } = rig.next().await else { panic!("dialled") };
    assert!(error.starts_with("no TCP MD5 key: ") && error.contains("does not exist"), "{error}");
    trouble(&mut rig, "no session with 127.0.1.17: ").await;
    assert!(desk.dial(None, at).await.is_err(), "an unsigned connection was taken");
    assert!(desk.dial(Some("secret"), at).await.is_err());
    desk.write("secret");
    trouble(&mut rig, "").await;
    let mut stream = desk.dial_in_time("secret", at).await;
    stream.write_all(b"open").await.unwrap();
    let Event::Accepted { .. } = rig.next().await else { panic!("not accepted") };
}

#[tokio::test]
async fn a_new_key_in_the_file_is_used_on_the_living_connection() {
    let desk = Desk::new("127.0.1.21", "127.0.1.22");
    desk.write("old");
    let listener = desk.listen(Some("old"));
    let mut rig = Rig::with(None, vec![desk.settings()]);
    rig.connections.act(desk.connect_to(&listener));
    let (mut stream, _) = tokio::time::timeout(PLENTY, listener.accept()).await.unwrap().unwrap();
    let Event::Connected { .. } = rig.next().await else { panic!("not connected") };
    desk.write("new");
    // The kernel repeats what has the new key's signature until the node has that key too.
    sockopt::sign(&stream, false, desk.node, b"new").unwrap();
    stream.write_all(b"before").await.unwrap();
    let received = rig.next_but_hints().await;
    let Event::Received { bytes, .. } = received else { panic!("the connection is gone: {received:?}") };
    assert_eq!(&bytes[..], b"before");
    sockopt::sign(&stream, false, desk.node, b"old").unwrap();
    stream.write_all(b"after").await.unwrap();
    let silence = tokio::time::timeout(Duration::from_millis(700), rig.next_but_hints()).await;
    assert!(silence.is_err(), "what has the old key's signature is heard: {silence:?}");
    sockopt::sign(&stream, false, desk.node, b"new").unwrap();
    let received = rig.next_but_hints().await;
    let Event::Received { bytes, .. } = received else { panic!("the connection is gone: {received:?}") };
    assert_eq!(&bytes[..], b"after");
}

#[tokio::test]
async fn a_key_that_is_gone_ends_the_living_connection_in_words() {
    let desk = Desk::new("127.0.1.25", "127.0.1.26");
    desk.write("secret");
    let listener = desk.listen(Some("secret"));
    let mut rig = Rig::with(None, vec![desk.settings()]);
    rig.connections.act(desk.connect_to(&listener));
    let (mut stream, _) = tokio::time::timeout(PLENTY, listener.accept()).await.unwrap().unwrap();
    let Event::Connected { .. } = rig.next().await else { panic!("not connected") };
    fs::remove_file(desk.path()).unwrap();
    let Event::Closed { error: Some(words), .. } = rig.next_but_hints().await else { panic!("not closed") };
    assert!(words.contains("no TCP MD5 key") && words.contains("does not exist"), "{words}");
    // The reset is signed, or the leaf would not take it.
    let end = tokio::time::timeout(PLENTY, stream.read(&mut [0; 8])).await.unwrap();
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}
