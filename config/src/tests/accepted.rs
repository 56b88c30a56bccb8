use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::*;

/// The shape that the contract fixes, without the keys whose features come later.
const CONTRACT: &str = r#"
[node]
name = "worker1"                     # default: the hostname
roles = ["worker"]                   # any of worker, master, ingress
router_id = "10.122.0.11"            # also the preferred source of learned routes
addresses = ["10.122.0.11/32", "fd00:122::11/128"]   # kept on lo, announced as the node's own

[store]
etcd = { endpoints = ["http://10.122.0.1:2379"] }

[bgp]
asn = 4200000011

[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
hold_time = "9s"

[[announce]]
kind = "anycast"
prefix = "10.122.255.1/32"
health = { http = "https://127.0.0.1:6443/readyz", interval = "1s", rise = 2, fall = 3, insecure = true }

[[announce]]
kind = "service-range"
prefix = "10.123.0.0/17"
health = { http = "http://127.0.0.1:10256/healthz" }

[ipam]
pools = [{ cidr = "10.123.128.0/17", block_size = 26 }]
"#;

#[test]
fn the_contracts_shape_is_read() {
    let settings = good(CONTRACT);
    assert_eq!(settings.node.name, "worker1");
    assert_eq!(settings.node.roles.iter().copied().collect::<Vec<_>>(), [Role::Worker]);
    assert_eq!(settings.node.router_id, Some("10.122.0.11".parse().unwrap()));
    assert_eq!(settings.node.addresses.len(), 2);
    let etcd = EtcdSettings { endpoints: vec!["http://10.122.0.1:2379".to_owned()], ..EtcdSettings::default() };
    assert_eq!(settings.store, StoreSettings::Etcd(etcd));
    let bgp = settings.bgp.unwrap();
    assert_eq!((bgp.asn, bgp.accept_default), (4_200_000_011, false));
    assert_eq!(bgp.listen, "[::]:179".parse::<SocketAddr>().unwrap());
    let peer = PeerSettings {
        neighbour: Neighbour::Address("10.122.101.0".parse().unwrap()),
        port: 179,
        asn: Some(65001),
        hold_time: Duration::from_secs(9),
        passive: false,
        bfd: None,
        policy: PeerPolicy::default(),
        local_address: None,
        password_file: None,
        tcp_ao: None,
        ttl_security: false,
        graceful_restart: Some(GracefulRestartSettings::default()),
    };
    assert_eq!(bgp.peers, [peer]);
    let health = settings.announce[1].health.clone().unwrap();
    assert_eq!((health.interval, health.timeout), (Duration::from_secs(1), Duration::from_secs(1)));
    assert_eq!((health.rise, health.fall), (2, 3));
    assert_eq!(
        settings.ipam.pools,
        [PoolSettings { cidr: "10.123.128.0/17".parse().unwrap(), block_size: 26, node_selector: None }]
    );
}

/// Of `[bgp]` for every peer; a peer's own says only what is different.
#[test]
fn graceful_restart_is_said_for_all_and_for_one() {
    let secs = Duration::from_secs;
    let default = GracefulRestartSettings::default();
    let all = "{ restart_time = \"5m\", long_lived_time = \"0s\" }";
    let short = GracefulRestartSettings { restart_time: secs(300), long_lived_time: secs(0), ..default };
    for (of_all, of_one, expected) in [
        ("true", "true", Some(default)),
        ("false", "false", None),
        ("false", "true", Some(default)),
        ("true", "false", None),
        (all, "true", Some(short)),
        (all, "false", None),
        (all, "{ restart_time = \"9s\" }", Some(GracefulRestartSettings { restart_time: secs(9), ..short })),
        ("false", "{ stale_time = \"20s\" }", Some(GracefulRestartSettings { stale_time: secs(20), ..default })),
    ] {
        let text = format!(
            "[store]\nembedded = \"/s\"\n[bgp]\nasn = 65010\ngraceful_restart = {of_all}\n[[bgp.peer]]\naddress = \"10.0.0.1\"\nasn = 65001\ngraceful_restart = {of_one}"
        );
        let peers = good(&text).bgp.unwrap().peers;
        assert_eq!(peers[0].graceful_restart, expected, "{of_all} {of_one}");
    }
}

#[test]
fn a_sessions_security_is_read() {
    let said = "local_address = \"10.122.101.1\"\npassword_file = \"/etc/petiole/leaf.key\"\nttl_security = true\n";
    let settings = good(&CONTRACT.replace("hold_time = \"9s\"\n", said));
    let peer = &settings.bgp.unwrap().peers[0];
    assert_eq!(peer.local_address, Some("10.122.101.1".parse().unwrap()));
    assert_eq!(peer.password_file, Some("/etc/petiole/leaf.key".into()));
    assert!(peer.ttl_security);
    let read = |table: &str| {
        let settings = good(&CONTRACT.replace("hold_time = \"9s\"\n", &format!("tcp_ao = {table}\n")));
        settings.bgp.unwrap().peers[0].tcp_ao.clone().unwrap()
    };
    let (key_file, id) = (PathBuf::from("/k"), TcpAoSettings::ID);
    let least = TcpAoSettings { key_file, send_id: id, recv_id: id, algorithm: TcpAoAlgorithm::HmacSha1 };
    assert_eq!(read("{ key_file = \"/k\" }"), least);
    let all = "{ key_file = \"/k\", send_id = 0, recv_id = 255, algorithm = \"aes-128-cmac-96\" }";
    assert_eq!(read(all), TcpAoSettings { send_id: 0, recv_id: 255, algorithm: TcpAoAlgorithm::Aes128Cmac, ..least });
}

#[test]
fn no_text_gives_the_defaults() {
    assert_eq!(good(""), Settings::defaults("host1"));
    let settings = good("");
    assert_eq!(settings.store, StoreSettings::Embedded("/var/lib/petiole/store".into()));
    assert_eq!(settings.metrics_listen, "127.0.0.1:9179".parse::<SocketAddr>().unwrap());
    assert_eq!(settings.paths.api_socket().to_str(), Some("/run/petiole/api.sock"));
    assert!(settings.bgp.is_none() && settings.node.roles.is_empty());
}

#[test]
fn the_examples_are_valid_and_raise_no_warning() {
    for (name, text) in EXAMPLES {
        match load(text, name, &Facts::new("host1")) {
            Ok((_, warnings)) => assert_eq!(warnings, [], "{name}"),
            Err(errors) => panic!("{errors}"),
        }
    }
}

/// The annotated example must not lag behind: it names every key, and where it says "Default: this", that is the default.
#[test]
fn the_annotated_example_has_every_key_and_the_true_defaults() {
    let (_, text) = EXAMPLES[0];
    for keys in schema::all_keys() {
        for key in keys {
            let said = text.lines().any(|line| {
                let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
                words.contains(key)
            });
            assert!(said, "{key} is missing");
        }
    }
    let (example, default) = (good(text), good(""));
    assert_eq!(example.paths, default.paths);
    assert_eq!(example.metrics_listen, default.metrics_listen);
    let bgp = example.bgp.unwrap();
    assert_eq!(bgp.listen, BgpSettings::LISTEN);
    assert_eq!((bgp.peers[0].port, bgp.peers[0].hold_time), (BgpSettings::PORT, PeerSettings::HOLD_TIME));
    assert_eq!(bgp.peers[0].graceful_restart, Some(GracefulRestartSettings::default()));
    let health = example.announce[0].health.clone().unwrap();
    assert_eq!(
        (health.interval, health.rise, health.fall),
        (HealthSettings::INTERVAL, HealthSettings::RISE, HealthSettings::FALL)
    );
}

#[test]
fn the_environments_name_goes_before_the_files_and_says_so() {
    let mut facts = Facts::new("host1");
    facts.environment.insert(NODE_NAME.to_owned(), "node7".to_owned());
    let (settings, warnings) = load("[node]\nname = \"worker1\"", "petiole.toml", &facts).unwrap();
    assert_eq!(settings.node.name, "node7");
    let texts: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["petiole.toml:2:8: the node's name is \"node7\" from PETIOLE_NODE_NAME, not \"worker1\" from the file"]
    );
    let (settings, warnings) = load("", "petiole.toml", &facts).unwrap();
    assert_eq!((settings.node.name.as_str(), warnings.len()), ("node7", 0));
    assert_eq!(good("").node.name, "host1");
    assert_eq!(good("[node]\nname = \"Worker-1.rack_2\"").node.name, "Worker-1.rack_2", "upper case stays");
}

#[test]
fn the_embedded_store_follows_the_state_folder() {
    let settings = good("[paths]\nstate = \"/srv/petiole\"\nrun = \"/srv/run\"");
    assert_eq!(settings.store, StoreSettings::Embedded("/srv/petiole/store".into()));
    assert_eq!(settings.paths.cni_socket().to_str(), Some("/srv/run/cni.sock"));
    let settings = good("[store]\nembedded = \"/elsewhere\"");
    assert_eq!(settings.store, StoreSettings::Embedded("/elsewhere".into()));
}

#[test]
fn every_kind_of_check_is_read() {
    let check = |table: &str| {
        let text = format!("[[announce]]\nkind = \"service-range\"\nprefix = \"10.123.0.0/17\"\nhealth = {table}");
        good(&text).announce[0].health.clone().unwrap()
    };
    let http = check(r#"{ http = "https://[::1]:6443/readyz?verbose", ca = "/ca.crt", interval = "100ms" }"#);
    let url = "https://[::1]:6443/readyz?verbose".to_owned();
    assert_eq!(http.check, HealthCheck::Http { url, ca: Some("/ca.crt".into()), insecure: false });
    assert_eq!((http.interval, http.timeout), (Duration::from_millis(100), Duration::from_millis(100)));
    let tcp = check(r#"{ tcp = "[::1]:6443", interval = "1h", timeout = "1ms", rise = 1, fall = 1000 }"#);
    assert_eq!(tcp.check, HealthCheck::Tcp("[::1]:6443".parse().unwrap()));
    assert_eq!(
        (tcp.interval, tcp.timeout, tcp.rise, tcp.fall),
        (Duration::from_secs(3600), Duration::from_millis(1), 1, 1000)
    );
    let command = check(r#"{ command = ["/bin/sh", "-c", "exit 0"] }"#);
    assert_eq!(command.check, HealthCheck::Command(vec!["/bin/sh".into(), "-c".into(), "exit 0".into()]));
}

#[test]
fn tables_may_be_written_in_any_way_toml_knows() {
    let sections = good(
        "[store]\nembedded = \"/s\"\n[bgp]\nasn = 65010\n[[bgp.peer]]\naddress = \"10.0.0.0\"\nasn = \"external\"\nhold_time = \"0s\"\npassive = true\nport = 1790",
    );
    let inline = good(
        "store.embedded = \"/s\"\nbgp = { asn = 0xfdf2, peer = [{ address = \"10.0.0.0\", asn = \"external\", hold_time = \"0h\", passive = true, port = 1_790 }] }",
    );
    assert_eq!(sections, inline);
    let turned = good(
        "[[bgp.peer]]\naddress = \"10.0.0.0\"\nasn = \"external\"\nhold_time = \"0ms\"\npassive = true\nport = 1790\n[bgp]\nasn = 65010\n[store]\nembedded = \"/s\"",
    );
    assert_eq!(sections, turned);
}

#[test]
fn announcements_may_lie_inside_each_other() {
    let text = "[[announce]]\nkind = \"service-range\"\nprefix = \"10.123.0.0/17\"\n[[announce]]\nkind = \"service-range\"\nprefix = \"10.123.64.0/24\"\n[[announce]]\nkind = \"anycast\"\nprefix = \"10.123.0.1/32\"";
    assert_eq!(good(text).announce.len(), 3);
}

#[test]
fn a_bgp_section_without_peers_speaks_to_nobody() {
    assert_eq!(good("[bgp]\nasn = 65010").bgp, None);
    assert_eq!(
        warned("[bgp]\nasn = 65010"),
        "petiole.toml:1:1: [bgp] has no peer, so this node announces and learns nothing: write one [[bgp.peer]] per uplink"
    );
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    let peer = "[store]\nembedded = \"/s\"\n[bgp]\nasn = 65010\n[[bgp.peer]]\naddress = \"10.0.0.0\"\nasn = 65001\n";
    assert_eq!(
        warned(&format!("{peer}hold_time = \"0s\"\n")),
        "petiole.toml:8:13: a hold time of 0 turns keepalives off: a leaf that dies silently is noticed only when TCP gives up"
    );
    let range = "[[announce]]\nkind = \"service-range\"\nprefix = \"10.123.0.0/17\"\n";
    assert_eq!(
        warned(&format!("{range}health = {{ tcp = \"127.0.0.1:80\" }}")),
        "petiole.toml:3:10: 10.123.0.0/17 is never announced, for no peer is configured: write one [[bgp.peer]] per uplink"
    );
    assert_eq!(
        warned(&format!("{peer}{range}")),
        "petiole.toml:10:10: 10.123.0.0/17 has no `health`, so it is announced whether its service works or not"
    );
    assert_eq!(
        warned(&format!("{peer}{range}health = {{ http = \"https://127.0.0.1/\", insecure = true }}")),
        "petiole.toml:11:52: `insecure` takes any certificate: whoever answers at that address decides whether this node announces"
    );
    assert_eq!(
        warned(&format!("{peer}[node]\nroles = [\"master\", \"ingress\"]\n")),
        "petiole.toml:9:10: role master has no [[announce]] of kind anycast: this node announces nothing for it\n\
         petiole.toml:9:20: role ingress has no [[announce]] of kind service-range: this node announces nothing for it"
    );
}

#[test]
fn settings_print_as_the_text_that_gives_them() {
    let mut texts: Vec<&str> = EXAMPLES.iter().map(|(_, text)| *text).collect();
    texts.extend(["", CONTRACT, "[node]\nrouter_id = \"10.0.0.1\"\n[metrics]\nlisten = \"[::1]:0\""]);
    for text in texts {
        let settings = good(text);
        assert_eq!(good(&settings.to_toml()), settings, "{}", settings.to_toml());
    }
}

#[test]
fn a_peer_that_is_found_on_an_interface() {
    let text =
        "[store]\nembedded = \"/s\"\n[bgp]\nasn = 65010\n[[bgp.peer]]\ninterface = \"eth1.100\"\nasn = \"external\"\n";
    let peer = good(text).bgp.unwrap().peers.remove(0);
    assert_eq!((peer.neighbour, peer.asn), (Neighbour::Interface("eth1.100".to_owned()), None));
}

#[test]
fn what_limits_a_leaf_is_read() {
    let text = "[store]\nembedded = \"/s\"\n[bgp]\nasn = 65010\n[[bgp.peer]]\naddress = \"10.0.0.1\"\nasn = 65001\n";
    let policy = |more: &str| good(&format!("{text}{more}")).bgp.unwrap().peers[0].policy.clone();
    assert_eq!(policy(""), PeerPolicy::default());
    let max = |limit, action, warn_at| MaxPrefixSettings { limit, action, warn_at };
    let seconds = Duration::from_secs;
    for (written, read) in [
        ("{ limit = 5 }", max(5, MaxPrefixAction::Warn, 75)),
        ("{ limit = 5, action = \"idle\", warn_at = 90 }", max(5, MaxPrefixAction::Idle, 90)),
        ("{ limit = 5, action = \"restart\" }", max(5, MaxPrefixAction::Restart(seconds(60)), 75)),
        (
            "{ limit = 5, action = \"restart\", restart_after = \"1h\" }",
            max(5, MaxPrefixAction::Restart(seconds(3600)), 75),
        ),
    ] {
        assert_eq!(policy(&format!("max_prefix = {written}")).max_prefix, read);
    }
    assert!(!policy("").add_path_receive);
    let policy = policy("send_hold_time = \"90s\"\ndelay_open = \"5s\"\nadd_path_receive = true");
    assert_eq!((policy.send_hold_time, policy.delay_open), (Some(seconds(90)), seconds(5)));
    assert!(policy.add_path_receive);
}

#[test]
fn how_a_leaf_is_watched_is_read() {
    let text = "[store]\nembedded = \"/s\"\n[bgp]\nasn = 65010\n[[bgp.peer]]\naddress = \"10.0.0.1\"\nasn = 65001\n";
    let bfd = |more: &str| good(&format!("{text}{more}")).bgp.unwrap().peers[0].bfd;
    let watched =
        |ms, multiplier, strict| Some(BfdSettings { interval: Duration::from_millis(ms), multiplier, strict });
    assert_eq!(bfd(""), None);
    assert_eq!(bfd("bfd = {}"), watched(300, 3, false));
    assert_eq!(bfd("bfd = { interval = \"50ms\", multiplier = 5, strict = true }"), watched(50, 5, true));
}

#[test]
fn communities_and_roles_are_read() {
    let text = r#"[store]
embedded = "/s"
[bgp]
asn = 65010
communities = ["65000:1", "65000:1"]
[[bgp.peer]]
address = "10.0.0.1"
asn = 65001
communities = ["65000:1:2"]
role = false
[[bgp.peer]]
address = "10.0.1.1"
asn = 65001
role = "rs-client"
strict_role = true
[[announce]]
kind = "service-range"
prefix = "10.123.0.0/17"
communities = ["rt:65000:1", "no-export"]
"#;
    let settings = good(text);
    let written = |set: &std::collections::BTreeSet<Community>| set.iter().map(ToString::to_string).collect::<Vec<_>>();
    let bgp = settings.bgp.unwrap();
    assert_eq!(written(&bgp.communities), ["65000:1"]);
    assert_eq!(written(&bgp.peers[0].policy.communities), ["65000:1:2"]);
    assert_eq!(bgp.peers[0].policy.role, None);
    assert_eq!(bgp.peers[1].policy.role, Some(PeerRole::RouteServerClient));
    assert!(bgp.peers[1].policy.strict_role);
    assert_eq!(written(&settings.announce[0].communities), ["no-export", "rt:65000:1"]);
}
