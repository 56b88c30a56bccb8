//! Everybody who only wants to disturb, at once: a stranger that connects as fast as it can, and neighbours that read nothing, say a
//! byte a second, or claim messages of 65,535 bytes. A session beside them must not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::{eventually, procs};
use socket2::{Domain, Socket, Type};

use super::ground::{Frr, Ground, LEAF_ASN, NODE_ASN, V4, WITHIN, root, words};

const NODE: &str = "10.122.102.1";
const STRANGER: &str = "10.122.102.9";
const MUTE: &str = "10.122.102.2";
const SLOW: &str = "10.122.102.3";
const LONG: &str = "10.122.102.4";
/// What the flood lasts.
const PERIOD: Duration = Duration::from_secs(8);
/// What the stranger tries.
const PER_SECOND: u64 = 10_000;
const THREADS: u64 = 6;

fn connect(from: &str) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from.parse::<IpAddr>()?, 0).into())?;
    socket.connect_timeout(&SocketAddr::new(NODE.parse::<IpAddr>()?, 179).into(), Duration::from_secs(1))?;
    Ok(socket.into())
}

/// An OPEN of AS 65002 without capabilities (RFC 4271 section 4.2).
fn open() -> Vec<u8> {
    [&[0xff; 16][..], &[0, 29, 1, 4, 0xfd, 0xea, 0, 180, 10, 122, 102, 2, 0]].concat()
}

/// Runs in the leaf's namespace until told to end.
fn there(ground: &Ground, what: impl FnOnce() -> Result<u64>) -> Result<u64> {
    let namespace = std::fs::File::open(format!("/run/netns/{}", ground.leaf.name()))?;
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).context("setns")?;
    what()
}

/// Connects at the rate and lets go at once; says how often it was answered.
fn stranger(end: &AtomicBool) -> Result<u64> {
    let (start, mut done) = (Instant::now(), 0_u64);
    while !end.load(Ordering::Relaxed) {
        let due = u64::try_from(start.elapsed().as_micros())? * PER_SECOND / THREADS / 1_000_000;
        if done >= due {
            thread::sleep(Duration::from_micros(200));
            continue;
        }
        if let Ok(stream) = connect(STRANGER) {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        done += 1;
    }
    Ok(done)
}

/// Gets as far as Established, and reads nothing.
fn mute(end: &AtomicBool) -> Result<u64> {
    let mut stream = connect(MUTE)?;
    stream.write_all(&open())?;
    while !end.load(Ordering::Relaxed) {
        stream.write_all(&[&[0xff; 16][..], &[0, 19, 4]].concat())?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(1)
}

/// A byte of its OPEN each second.
fn slow(end: &AtomicBool) -> Result<u64> {
    let mut stream = connect(SLOW)?;
    for byte in open().chunks(1) {
        if end.load(Ordering::Relaxed) {
            break;
        }
        stream.write_all(byte)?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(1)
}

/// An OPEN that claims 65,535 bytes, which none may have, and a whole UPDATE of as many before any OPEN, in turn (RFC 8654 sections 4
/// and 5); says how often the NOTIFICATION for it came: bad message length, and unexpected message in OpenSent (RFC 6608).
fn long(end: &AtomicBool) -> Result<u64> {
    let mut refused = 0;
    while !end.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
        for (kind, notification) in [(1, [3, 1, 2]), (2, [3, 5, 1])] {
            let Ok(mut stream) = connect(LONG) else { continue };
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            let _ = stream.write_all(&[&[0xff; 16][..], &[0xff, 0xff, kind], &[0; 65_535 - 19]].concat());
            let mut answer = Vec::new();
            match stream.read_to_end(&mut answer) {
                Ok(_) => {}
                Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::WouldBlock) => {}
                Err(e) => return Err(e.into()),
            }
            refused += u64::from(answer.windows(3).any(|w| w == notification));
        }
    }
    Ok(refused)
}

fn flood() -> Result<()> {
    let ground = Ground::new()?;
    for (netns, addresses) in [(&ground.leaf, &[MUTE, SLOW, LONG, STRANGER][..]), (&ground.node, &[NODE])] {
        for address in addresses {
            netns.exec(&["ip", "address", "add", &format!("{address}/28"), "dev", "eth1"])?;
        }
    }
    // A keepalive each second, at most.
    let frr = Frr::start(&ground, V4, &format!("neighbor {} timers 1 3", V4.node))?;
    let peers = [MUTE, SLOW, LONG].map(|a| format!("[[bgp.peer]]\naddress = \"{a}\"\nasn = 65002\npassive = true\n"));
    let agent = ground.agent("node", &ground.node, NODE_ASN, (V4.leaf, LEAF_ASN), &peers.concat())?;
    frr.established()?;
    let pid = agent.pid().context("the agent ended")?;
    let before = procs::resident(pid).context("no memory to see")?;
    let began = ground.sent()?.len();
    let (end, refused, tried) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let most = thread::scope(|scope| -> Result<u64> {
        let strangers = [(); THREADS as usize].map(|()| scope.spawn(|| there(&ground, || stranger(&end))));
        let others = [mute, slow].map(|run| {
            let (ground, end) = (&ground, &end);
            scope.spawn(move || there(ground, || run(end)))
        });
        let long = scope.spawn(|| there(&ground, || long(&end)));
        let (start, mut most) = (Instant::now(), 0);
        while start.elapsed() < PERIOD {
            most = most.max(procs::resident(pid).unwrap_or_default());
            thread::sleep(Duration::from_millis(50));
        }
        end.store(true, Ordering::Relaxed);
        for stranger in strangers {
            tried.fetch_add(stranger.join().map_err(|_| anyhow::anyhow!("panicked"))??, Ordering::Relaxed);
        }
        for other in others {
            other.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        }
        refused.store(long.join().map_err(|_| anyhow::anyhow!("panicked"))??, Ordering::Relaxed);
        Ok(most)
    })?;
    let (tried, refused) = (tried.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    let sent = ground.sent()?;
    let during = sent.get(began.saturating_sub(1)..).unwrap_or_default();
    let gap = during.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    println!(
        "{tried} connections of strangers in {PERIOD:?}, {refused} messages of 65,535 bytes refused; longest time between two \
         messages to the leaf {gap:.3} s of at most 1.000 s; resident memory {} KiB before, {} KiB at most",
        before / 1024,
        most / 1024
    );
    ensure!(tried > 4_000, "the stranger came only {tried} times");
    ensure!(
        refused > 3,
        "messages of 65,535 bytes were refused {refused} times: {:#}",
        ground.ask("node", &ground.node, &["bgp", "peers"])?
    );
    ensure!(during.len() >= 6, "only {} messages went to the leaf", during.len());
    ensure!(gap < 1.5, "a keepalive was {gap:.3} s after the last message");
    ensure!(most < before + (24 << 20), "the agent grew from {before} to {most} bytes");
    eventually(WITHIN, "the agent answers", || ground.said())?;
    let peers = ground.ask("node", &ground.node, &["bgp", "peers"])?;
    let leaf = peers.as_array().into_iter().flatten().find(|peer| peer["peer"] == V4.leaf);
    ensure!(leaf.is_some_and(|peer| peer["established_count"] == 1), "the session was dropped: {peers:#}");
    let lines = ground.log("node");
    ensure!(lines.matches("no configured leaf has this address").count() <= 2, "a line for each stranger: {lines}");
    Ok(())
}

#[test]
fn strangers_and_disturbers_are_not_noticed_by_the_session_beside() -> Result<(), String> {
    if root() { flood().map_err(words) } else { Ok(()) }
}
