mod ao;
mod gtsm;
mod md5;

use bytes::Bytes;
use petiole_node::config::{Neighbour, PeerPolicy, PeerSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const PLENTY: Duration = Duration::from_secs(20);

struct Rig {
    connections: Connections,
    arrivals: mpsc::Receiver<Arrival>,
    inputs: mpsc::Receiver<Input>,
}

/// A leaf at this address, with nothing special about it.
fn leaf(address: &str) -> PeerSettings {
    PeerSettings {
        neighbour: Neighbour::Address(address.parse().unwrap()),
        port: 179,
        asn: None,
        hold_time: PeerSettings::HOLD_TIME,
        passive: false,
        bfd: None,
        policy: PeerPolicy::default(),
        local_address: None,
        password_file: None,
        tcp_ao: None,
        ttl_security: false,
        graceful_restart: None,
    }
}

impl Rig {
    fn new(listen: Option<SocketAddr>) -> Self {
        Self::with(listen, vec![leaf("127.0.0.1")])
    }

    fn with(listen: Option<SocketAddr>, peers: Vec<PeerSettings>) -> Self {
        let (sender, inputs) = mpsc::channel(16);
        let listen = listen.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        let settings =
            BgpSettings { asn: 65001, listen, accept_default: false, communities: Default::default(), peers };
        let (connections, arrivals) = Connections::start(Some(&settings), sender);
        Self { connections, arrivals, inputs }
    }

    async fn next(&mut self) -> Event {
        let arrival = tokio::time::timeout(PLENTY, self.arrivals.recv()).await.unwrap().unwrap();
        self.connections.admit(arrival)
    }

    /// Skips what the driver suspects: tests that run beside this one make the same counters grow.
    async fn next_but_hints(&mut self) -> Event {
        loop {
            match self.next().await {
                Event::Hint { .. } => {}
                event => return event,
            }
        }
    }

    /// Skips what happens on the connections before.
    async fn next_accepted(&mut self) -> Event {
        loop {
            match self.next().await {
                event @ Event::Accepted { .. } => return event,
                Event::Closed { .. } | Event::Received { .. } | Event::Hint { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Skips what the kernel took.
    async fn next_but_written(&mut self) -> Event {
        loop {
            match self.next().await {
                Event::Written { .. } => {}
                event => return event,
            }
        }
    }
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn connect_to(remote: SocketAddr) -> Action {
    Action::Connect {
        conn: ConnId::Dialled(1),
        peer: PeerId::of_address(remote.ip()),
        local: Some("127.0.0.2".parse().unwrap()),
        remote,
    }
}

async fn dialled() -> (Rig, TcpStream) {
    let leaf = TcpListener::bind(loopback()).await.unwrap();
    let mut rig = Rig::new(None);
    rig.connections.act(connect_to(leaf.local_addr().unwrap()));
    let (stream, from) = leaf.accept().await.unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.2", "the local address was not bound");
    let Event::Connected { conn: ConnId::Dialled(1), local, remote } = rig.next().await else {
        panic!("not connected")
    };
    assert_eq!((local, remote), (from, leaf.local_addr().unwrap()));
    (rig, stream)
}

const CONN: ConnId = ConnId::Dialled(1);

fn send(bytes: &'static [u8]) -> Action {
    Action::Send { conn: CONN, bytes: Bytes::from_static(bytes) }
}

#[tokio::test]
async fn what_is_sent_before_a_close_arrives_before_the_end() {
    let (mut rig, mut leaf) = dialled().await;
    // Unread bytes on our side must not turn the close into a reset: more than the loop's channel takes.
    for _ in 0..8 {
        let _ = tokio::time::timeout(Duration::from_millis(100), leaf.write(&vec![0; 1 << 20])).await;
    }
    rig.connections.act(send(b"first "));
    rig.connections.act(send(b"last"));
    rig.connections.act(Action::Close { conn: CONN });
    tokio::spawn(async move { while rig.arrivals.recv().await.is_some() {} });
    let mut all = Vec::new();
    tokio::time::timeout(PLENTY, leaf.read_to_end(&mut all)).await.unwrap().unwrap();
    assert_eq!(all, b"first last");
}

#[tokio::test]
async fn bytes_come_in_order_and_then_the_end() {
    let (mut rig, mut leaf) = dialled().await;
    let sent: Vec<u8> = (0..300_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let copy = sent.clone();
    tokio::spawn(async move {
        leaf.write_all(&copy).await.unwrap();
    });
    let mut got = Vec::new();
    loop {
        match rig.next().await {
            Event::Received { conn: CONN, bytes } => got.extend_from_slice(&bytes),
            Event::Closed { conn: CONN, error: None } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
}

#[tokio::test]
async fn written_adds_up_to_what_was_sent() {
    let (mut rig, mut leaf) = dialled().await;
    let big = Bytes::from(vec![7; 3_000_000]);
    rig.connections.act(Action::Send { conn: CONN, bytes: big.clone() });
    let reader = tokio::spawn(async move {
        let mut all = vec![0; 3_000_000];
        leaf.read_exact(&mut all).await.unwrap();
        leaf
    });
    let mut written = 0;
    while written < big.len() {
        let Event::Written { conn: CONN, bytes } = rig.next().await else { panic!("not written") };
        written += bytes;
    }
    assert_eq!(written, big.len());
    reader.await.unwrap();
}

#[tokio::test]
async fn a_reset_aborts_even_a_blocked_writer() {
    let (mut rig, mut leaf) = dialled().await;
    // More than both kernels' buffers take: the writer hangs, for the leaf does not read.
    rig.connections.act(Action::Send { conn: CONN, bytes: Bytes::from(vec![0; 64 << 20]) });
    let Event::Written { .. } = rig.next().await else { panic!("not written") };
    rig.connections.act(Action::Reset { conn: CONN });
    let mut sink = vec![0; 1 << 20];
    let end = tokio::time::timeout(PLENTY, async {
        loop {
            match leaf.read(&mut sink).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(e) => return Some(e.kind()),
            }
        }
    });
    assert_eq!(end.await.unwrap(), Some(std::io::ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn the_last_words_of_a_leaf_come_before_its_end() {
    let (mut rig, mut leaf) = dialled().await;
    leaf.write_all(b"notification").await.unwrap();
    leaf.set_zero_linger().unwrap();
    let Event::Received { bytes, .. } = rig.next().await else { panic!("not received") };
    assert_eq!(&bytes[..], b"notification");
    drop(leaf);
    let Event::Closed { conn: CONN, error: Some(words) } = rig.next_but_written().await else { panic!("not closed") };
    assert!(words.contains("reset"), "{words}");
}

#[tokio::test]
async fn a_refused_dial_is_reported() {
    let leaf = TcpListener::bind(loopback()).await.unwrap();
    let remote = leaf.local_addr().unwrap();
    drop(leaf);
    let mut rig = Rig::new(None);
    rig.connections.act(connect_to(remote));
    let Event::ConnectFailed { conn: CONN, error } = rig.next().await else { panic!("did not fail") };
    assert_eq!(error, format!("{remote} refused the connection: nothing listens there"));
}

#[tokio::test]
async fn the_backlog_of_a_loop_that_is_behind_is_bounded() {
    let (rig, mut leaf) = dialled().await;
    let mut sent = 0_usize;
    let chunk = vec![0; 1 << 20];
    // Nobody takes arrivals: the leaf can write until all buffers are full, and no further.
    while let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(300), leaf.write(&chunk)).await {
        sent += n;
        assert!(sent < 64 << 20, "the reader never stops");
    }
    drop(rig);
}

#[tokio::test]
async fn accepted_connections_speak_after_they_were_admitted() {
    // Find a free port; nobody else takes it in between on a loopback address of our own.
    let address: SocketAddr = {
        let probe = TcpListener::bind("127.0.0.3:0").await.unwrap();
        probe.local_addr().unwrap()
    };
    let mut rig = Rig::new(Some(address));
    let mut leaf = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    leaf.write_all(b"open").await.unwrap();
    let Event::Accepted { conn, local, remote } = rig.next().await else { panic!("not accepted") };
    assert_eq!((conn, local, remote), (ConnId::Accepted(0), address, leaf.local_addr().unwrap()));
    let Event::Received { bytes, .. } = rig.next().await else { panic!("not received") };
    assert_eq!(&bytes[..], b"open");
    // A stranger gets a closed socket and nothing else.
    rig.connections.act(Action::Close { conn });
    assert_eq!(leaf.read(&mut [0; 8]).await.unwrap(), 0);
}

#[tokio::test]
async fn a_taken_port_is_trouble_with_words_and_not_the_end() {
    let taken = TcpListener::bind("127.0.0.4:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let mut rig = Rig::new(Some(address));
    let input = tokio::time::timeout(PLENTY, rig.inputs.recv()).await.unwrap().unwrap();
    let Input::Trouble { part, what } = input else { panic!("no trouble") };
    assert_eq!(part, "listen");
    assert!(what.contains(&format!("port {} is taken by another process", address.port())), "{what}");
    assert!(what.contains("sessions that this node dials are not affected"), "{what}");
    drop(taken);
    let input = tokio::time::timeout(PLENTY, rig.inputs.recv()).await.unwrap().unwrap();
    assert!(matches!(input, Input::Trouble { what, .. } if what.is_empty()), "trouble is not over");
}
