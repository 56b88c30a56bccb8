//! Whole screens: a change of one is seen where it is reviewed.

use petiole_node::view::*;

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn view() -> StatusView {
    StatusView {
        version: "0.1.0".into(),
        node: "worker1".into(),
        roles: vec!["worker".into()],
        router_id: Some("10.122.0.11".parse().unwrap()),
        asn: Some(4_200_000_011),
        uptime_seconds: 3725.0,
        ready: true,
        not_ready: Vec::new(),
        store: StoreView {
            kind: "etcd http://10.122.0.1:2379".into(),
            state: "in sync".into(),
            error: Some("an old one".into()),
        },
        kubernetes: None,
        peers: vec![
            PeerLine {
                peer: "10.122.101.0".parse().unwrap(),
                asn: Some(65001),
                state: "Established".into(),
                uplink: Some("eth1".into()),
                last_error: Some("old".into()),
            },
            PeerLine {
                peer: "10.122.103.0".parse().unwrap(),
                asn: None,
                state: "Active".into(),
                uplink: None,
                last_error: Some("no route".into()),
            },
        ],
        gates: vec![GateView {
            prefix: "10.122.255.1/32".parse().unwrap(),
            check: "GET https://127.0.0.1:6443/readyz".into(),
            state: "unhealthy".into(),
            streak: -3,
            last: Some("127.0.0.1:6443 refused the connection".into()),
        }],
        blocks: vec!["10.123.128.0/26".parse().unwrap()],
        announcements: vec![
            announcement("10.123.128.0/26", true, "owned", "this node owns the block"),
            announcement("127.0.0.0/8", false, "not_announceable", "it never leaves the host"),
        ],
        drain: DrainView { state: "none".to_owned(), ..Default::default() },
        pods: PodsView { attached: 3, releasing: 1 },
        settings: Vec::new(),
        addresses: vec![AddressesView {
            pool: "10.123.128.0/17".parse().unwrap(),
            used: 5,
            lent: 1,
            free: 58,
            cooling: 1,
            reserved: 0,
            borrowed: 2,
        }],
        adds_refused: Some("the store is being read".into()),
        routes_learned: 12,
        routes_in_kernel: 12,
        problems: vec!["leaf 10.122.103.0 has no uplink".into()],
        next_steps: Vec::new(),
    }
}

fn announcement(prefix: &str, announced: bool, code: &str, reason: &str) -> AnnouncementView {
    AnnouncementView {
        prefix: prefix.parse().unwrap(),
        kind: "block".into(),
        announced,
        code: code.into(),
        reason: reason.into(),
        since: 0,
    }
}

#[test]
fn status_of_a_worker() {
    let expected = "\
Node    worker1 (worker, AS 4200000011, router id 10.122.0.11)
Agent   petiole 0.1.0, up 1 h 2 m
Ready   yes
Store   etcd http://10.122.0.1:2379, in sync
Blocks  10.123.128.0/26
Pods    3 attached, 1 gone whose addresses wait for the store
IPs     10.123.128.0/17: 5 used, 58 free, 1 held on other nodes, 2 borrowed from other nodes, 1 kept back for a while
ADD     refused: the store is being read
Routes  12 learned, 12 in the kernel

PEER          AS        STATE        UPLINK  LAST ERROR
10.122.101.0  65001     Established  eth1
10.122.103.0  external  Active       -       no route

PREFIX           KIND   ANNOUNCED  WHY
10.123.128.0/26  block  yes        this node owns the block

HEALTH OF        STATE      STREAK  CHECK                             LAST PROBE
10.122.255.1/32  unhealthy  -3      GET https://127.0.0.1:6443/readyz  127.0.0.1:6443 refused the connection

Problems
  - leaf 10.122.103.0 has no uplink
";
    let shown = plain(&super::status::status(&view()));
    // The heading's padding follows the widest cell.
    let expected =
        expected.replace("CHECK                             LAST", "CHECK                              LAST");
    assert_eq!(shown, expected);
}

#[test]
fn status_of_a_node_that_has_nothing_to_do() {
    let view = StatusView {
        roles: Vec::new(),
        router_id: None,
        asn: None,
        ready: false,
        not_ready: vec!["the store has not been read yet".into()],
        store: StoreView {
            kind: "etcd http://10.122.0.1:2379".into(),
            state: "frozen".into(),
            error: Some("no answer".into()),
        },
        peers: Vec::new(),
        gates: Vec::new(),
        blocks: Vec::new(),
        announcements: Vec::new(),
        problems: Vec::new(),
        next_steps: vec!["no leaf is configured".into()],
        uptime_seconds: 0.25,
        drain: DrainView { state: "none".to_owned(), ..Default::default() },
        pods: PodsView::default(),
        addresses: Vec::new(),
        adds_refused: None,
        routes_learned: 0,
        routes_in_kernel: 0,
        ..view()
    };
    let expected = "\
Node    worker1 (no roles)
Agent   petiole 0.1.0, up 0.2 s
Ready   no: the store has not been read yet
Store   etcd http://10.122.0.1:2379, frozen: no answer
Routes  0 learned, 0 in the kernel

What to do next
  - no leaf is configured
";
    assert_eq!(plain(&super::status::status(&view)), expected);
}

#[test]
fn peers_say_why_they_are_down() {
    let up = PeerView {
        peer: "10.122.101.0".into(),
        configured_asn: "65001".into(),
        asn: Some(65001),
        state: "Established".into(),
        state_seconds: 75.0,
        uplink: Some("eth1".into()),
        families: vec!["IPv4".into(), "IPv6".into()],
        hold_time_seconds: Some(9.0),
        prefixes_received: 40,
        prefixes_advertised: 3,
        ..PeerView::default()
    };
    let down = PeerView {
        peer: "10.122.103.0".into(),
        configured_asn: "external".into(),
        state: "Active".into(),
        state_reason: Some("waits for the next attempt".into()),
        last_error: Some("the peer refused".into()),
        retry_in_seconds: Some(1.5),
        ..PeerView::default()
    };
    let expected = "\
PEER          AS        STATE        FOR       UPLINK  FAMILIES   RECEIVED  SENT  HOLD
10.122.101.0  65001     Established  1 m 15 s  eth1    IPv4 IPv6  40        3     9 s
10.122.103.0  external  Active       0.0 s     -       -          0         0     -

10.122.103.0: waits for the next attempt; last error: the peer refused; next attempt in 1.5 s
";
    assert_eq!(plain(&super::bgp::peers(&[up, down])), expected);
    assert!(super::bgp::peers(&[]).contains("[[bgp.peer]]"));
}

#[test]
fn peers_show_bfd_where_it_is_used() {
    let bfd = BfdView { state: "Up".into(), detection_time_seconds: Some(0.3), ..BfdView::default() };
    let up =
        PeerView { peer: "10.122.101.0".into(), state: "Established".into(), bfd: Some(bfd), ..PeerView::default() };
    let bfd = BfdView {
        state: "Down".into(),
        last_failure_seconds: Some(2.0),
        diagnostic: "control detection time expired".into(),
        ..BfdView::default()
    };
    let down = PeerView { peer: "10.122.103.0".into(), state: "Idle".into(), bfd: Some(bfd), ..PeerView::default() };
    let admin = BfdView { state: "Down".into(), remote_state: Some("AdminDown".into()), ..BfdView::default() };
    let admin =
        PeerView { peer: "10.122.104.0".into(), state: "Established".into(), bfd: Some(admin), ..PeerView::default() };
    let without = PeerView { peer: "10.122.105.0".into(), state: "Established".into(), ..PeerView::default() };
    let shown = plain(&super::bgp::peers(&[up, down, admin, without]));
    let last: Vec<&str> = shown.lines().take(5).map(|l| l.rsplit("  ").next().unwrap_or_default()).collect();
    assert_eq!(last, ["BFD", "Up, 300 ms", "Down", "Down", "-"], "{shown}");
    assert!(
        shown.contains("10.122.103.0: BFD is Down: failed 2.0 s ago (control detection time expired)\n"),
        "{shown}"
    );
    assert!(shown.contains("10.122.104.0: BFD is taken down by the operator of the leaf\n"), "{shown}");
}

fn path() -> PathView {
    PathView {
        communities: Vec::new(),
        only_to_customer: None,
        prefix: "10.123.129.0/26".parse().unwrap(),
        peer: "10.122.101.0".into(),
        path_id: None,
        used: true,
        why: "best: shortest AS path".into(),
        next_hop: Some("10.122.101.0".parse().unwrap()),
        as_path: "65001 64600 65002 4200000012".into(),
        med: None,
        stale_seconds: None,
        kept_because: None,
    }
}

#[test]
fn paths_carry_their_fate() {
    let loser = PathView {
        used: false,
        why: "loses: longer AS path".into(),
        peer: "10.122.103.0".into(),
        next_hop: None,
        ..path()
    };
    let expected = "\x20  PREFIX           NEXT HOP      PEER          MED  AS PATH                       WHY
*  10.123.129.0/26  10.122.101.0  10.122.101.0  -    65001 64600 65002 4200000012  best: shortest AS path
   10.123.129.0/26  -             10.122.103.0  -    65001 64600 65002 4200000012  loses: longer AS path
";
    assert_eq!(plain(&super::bgp::received(&[path(), loser], RouteTable::Received)), expected);
    assert!(!super::bgp::received(&[path()], RouteTable::Best).contains("best:"));
}

#[test]
fn advertisements_say_what_was_told_or_why_not() {
    let told = AdvertisedView {
        communities: Vec::new(),
        prefix: "10.123.128.0/26".parse().unwrap(),
        peer: "10.122.101.0".into(),
        ownership: "block".into(),
        next_hop: Some("10.122.101.1".parse().unwrap()),
        age_seconds: Some(4.0),
        not_announced: None,
    };
    let untold = AdvertisedView {
        peer: "10.122.103.0".into(),
        next_hop: None,
        age_seconds: None,
        not_announced: Some("no session".into()),
        ..told.clone()
    };
    let expected = "\
PREFIX           PEER          NEXT HOP      TOLD            OURS AS
10.123.128.0/26  10.122.101.0  10.122.101.1  4.0 s ago       block
10.123.128.0/26  10.122.103.0  -             no: no session  block
";
    assert_eq!(plain(&super::bgp::advertised(&[told, untold])), expected);
}

#[test]
fn pools_and_blocks() {
    let view = BlocksView {
        pools: vec![PoolView {
            name: "pods".into(),
            cidr: "10.123.128.0/17".parse().unwrap(),
            block_size: 26,
            total: 512,
            claimed: 2,
            refused: None,
        }],
        blocks: vec![
            BlockView {
                cidr: "10.123.128.0/26".parse().unwrap(),
                owner: Some("worker1".into()),
                ours: true,
                used: 3,
                size: 64,
            },
            BlockView { cidr: "10.123.128.64/26".parse().unwrap(), owner: None, ours: false, used: 0, size: 64 },
        ],
    };
    let expected = "\
POOL  CIDR             BLOCK SIZE  BLOCKS  CLAIMED  NEW BLOCKS
pods  10.123.128.0/17  /26         512     2        allowed

BLOCK             OWNER                USED  OF
10.123.128.0/26   worker1 (this node)  3     64
10.123.128.64/26  nobody               0     64
";
    assert_eq!(plain(&super::ipam::blocks(&view)), expected);
}

fn entry() -> FibEntry {
    FibEntry {
        prefix: "10.123.129.0/26".parse().unwrap(),
        kind: "learned".into(),
        hops: vec!["via 10.122.101.0 dev eth1".into(), "via 10.122.103.0 dev eth2".into()],
        prefsrc: Some("10.122.0.11".parse().unwrap()),
        state: "in kernel".into(),
        reason: String::new(),
    }
}

#[test]
fn ways_out_stand_below_each_other() {
    let block = FibEntry {
        prefix: "10.123.128.0/26".parse().unwrap(),
        kind: "block".into(),
        hops: Vec::new(),
        prefsrc: None,
        ..entry()
    };
    let expected = "\
PREFIX           KIND     STATE      SOURCE       WAY OUT                    WHY
10.123.128.0/26  block    in kernel  -            blackhole
10.123.129.0/26  learned  in kernel  10.122.0.11  via 10.122.101.0 dev eth1
                                                  via 10.122.103.0 dev eth2
";
    assert_eq!(plain(&super::fib::fib(&[block, entry()])), expected);
}

#[test]
fn why_tells_the_whole_chain() {
    let view = WhyView {
        prefix: "10.123.129.0/26".parse().unwrap(),
        verdict: "learned".into(),
        summary: "Learned from 10.122.101.0 and in the kernel.".into(),
        steps: vec![
            WhyStep {
                question: "import".into(),
                pass: true,
                code: "accepted".into(),
                detail: "no rule refuses it".into(),
            },
            WhyStep {
                question: "fib".into(),
                pass: false,
                code: "foreign".into(),
                detail: "held by a foreign route".into(),
            },
        ],
        received: vec![path()],
        advertised: Vec::new(),
        kernel: Some(entry()),
    };
    let expected = "\
10.123.129.0/26: learned
Learned from 10.122.101.0 and in the kernel.

   QUESTION  CODE      ANSWER
+  import    accepted  no rule refuses it
x  fib       foreign   held by a foreign route

Received
   PREFIX           NEXT HOP      PEER          MED  AS PATH                       WHY
*  10.123.129.0/26  10.122.101.0  10.122.101.0  -    65001 64600 65002 4200000012  best: shortest AS path

Kernel
PREFIX           KIND     STATE      SOURCE       WAY OUT                    WHY
10.123.129.0/26  learned  in kernel  10.122.0.11  via 10.122.101.0 dev eth1
                                                  via 10.122.103.0 dev eth2
";
    assert_eq!(plain(&super::why::why(&view)), expected);
}
