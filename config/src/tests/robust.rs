//! No text whatsoever makes the reader panic, and whatever settings it gives print as text that gives them again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use petiole_prefix::{Family, Prefix};
use proptest::prelude::*;

use super::*;

/// Loads a text; checks what must hold of any outcome.
fn survive(text: &str) {
    match load(text, "petiole.toml", &Facts::new("host1")) {
        Ok((settings, _)) => {
            let printed = settings.to_toml();
            assert_eq!(
                load(&printed, "printed", &Facts::new("host1")).map(|(again, _)| again),
                Ok(settings),
                "{printed}"
            );
        }
        Err(errors) => {
            assert!(errors.iter().count() > 0);
            let mut last = None;
            for error in &errors {
                assert!(last.is_none_or(|last| last <= &error.place), "not sorted:\n{errors}");
                last = Some(&error.place);
                let Place::Text { line, column, .. } = error.place else { panic!("{error}") };
                let found = text.split('\n').nth(line - 1);
                assert!(found.is_some_and(|l| column <= l.chars().count() + 1), "{error} in\n{text}");
            }
        }
    }
}

/// Values of every kind, good and bad, for any key.
const VALUES: &[&str] = &[
    "0",
    "-1",
    "1",
    "26",
    "179",
    "65001",
    "4200000011",
    "4294967295",
    "99999999999999999999",
    "1.5",
    "nan",
    "true",
    "false",
    "1979-05-27",
    "\"\"",
    "\"9s\"",
    "\"9\"",
    "\"500ms\"",
    "\"18446744073709551615h\"",
    "\"external\"",
    "\"worker\"",
    "\"anycast\"",
    "\"service-range\"",
    "\"10.0.0.0\"",
    "\"10.0.0.1\"",
    "\"fd00::1\"",
    "\"10.0.0.1/32\"",
    "\"10.0.0.0/8\"",
    "\"10.0.0.1/8\"",
    "\"::/0\"",
    "\"fd00::/112\"",
    "\"10.0.0.0/300\"",
    "\"127.0.0.1:80\"",
    "\"[::]:179\"",
    "\"/a/b\"",
    "\"a/b\"",
    "\"\\u0000\"",
    "\"http://10.0.0.1:2379\"",
    "\"https://[::1]:6443/x?y\"",
    "\"http://[::1\"",
    "\"http://@:\"",
    "\"://\"",
    "[]",
    "{}",
    "[[]]",
    "[{}]",
    "[\"worker\", \"master\"]",
    "[\"10.0.0.1/32\"]",
    "[\"/bin/true\"]",
    "[\"http://10.0.0.1:2379\"]",
    "{ http = \"http://127.0.0.1/\" }",
    "{ tcp = \"127.0.0.1:80\", rise = 1 }",
    "{ command = [\"/bin/true\"] }",
    "{ endpoints = [\"http://10.0.0.1:2379\"] }",
    "[{ cidr = \"10.1.0.0/16\" }]",
    "{ a = { b = { c = 1 } } }",
    "\"\u{1f980} \\\"quoted\\\"\"",
    "\"ünïcödé\"",
];

fn line() -> impl Strategy<Value = String> {
    let keys: Vec<&'static str> = schema::all_keys().flatten().copied().chain(["x", "rolse", "bfd", "a.b"]).collect();
    let headers = vec![
        "[node]",
        "[store]",
        "[bgp]",
        "[[bgp.peer]]",
        "[[announce]]",
        "[announce.health]",
        "[ipam]",
        "[[ipam.pools]]",
        "[paths]",
        "[metrics]",
        "[store.etcd]",
        "[nod]",
        "[cni]",
        "[bgp.peer]",
        "# nothing",
        "",
        "[",
        "]]",
        "\"",
    ];
    prop_oneof![
        1 => prop::sample::select(headers).prop_map(str::to_owned),
        3 => (prop::sample::select(keys), prop::sample::select(VALUES)).prop_map(|(key, value)| format!("{key} = {value}")),
    ]
}

fn prefix() -> impl Strategy<Value = Prefix> {
    prop_oneof![
        (1u8..=223, any::<u32>(), 4u8..=32).prop_map(|(first, rest, len)| {
            let bits = u32::from(first) << 24 | rest >> 8;
            Prefix::truncated(Ipv4Addr::from_bits(bits).into(), len).unwrap()
        }),
        (any::<u128>(), 8u8..=128).prop_map(|(rest, len)| {
            let bits = 0xfd << 120 | rest >> 8;
            Prefix::truncated(Ipv6Addr::from_bits(bits).into(), len).unwrap()
        }),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    let ms = prop_oneof![10u64..=3_600_000, (1u64..=3600).prop_map(|s| s * 1000), (1u64..=60).prop_map(|m| m * 60_000)];
    ms.prop_map(Duration::from_millis)
}

fn path() -> impl Strategy<Value = PathBuf> {
    "/[^\\x00]{0,20}".prop_map(PathBuf::from)
}

fn check() -> impl Strategy<Value = HealthCheck> {
    prop_oneof![
        any::<Ipv4Addr>().prop_map(|a| HealthCheck::Http { url: format!("http://{a}/x"), ca: None, insecure: false }),
        path().prop_map(|ca| HealthCheck::Http { url: "https://h:1".to_owned(), ca: Some(ca), insecure: false }),
        Just(HealthCheck::Http { url: "https://[::1]/?q".to_owned(), ca: None, insecure: true }),
        (any::<Ipv6Addr>(), 1u16..).prop_map(|(a, port)| HealthCheck::Tcp((a, port).into())),
        ("/[a-z]{1,5}", prop::collection::vec("[^\\x00]{0,12}", 0..3))
            .prop_map(|(program, args)| HealthCheck::Command([vec![program], args].concat())),
    ]
}

fn announce() -> impl Strategy<Value = Announce> {
    let health = (check(), duration(), 1u32..=1000, 1u32..=1000).prop_map(|(check, d, rise, fall)| HealthSettings {
        check,
        interval: d,
        timeout: d,
        rise,
        fall,
    });
    (any::<bool>(), prefix(), communities(), prop::option::of(health)).prop_map(
        |(anycast, prefix, communities, health)| match anycast {
            true => Announce { kind: AnnounceKind::Anycast, prefix: Prefix::host(prefix.addr()), communities, health },
            false => Announce { kind: AnnounceKind::ServiceRange, prefix, communities, health },
        },
    )
}

fn communities() -> impl Strategy<Value = std::collections::BTreeSet<Community>> {
    let one = prop_oneof![
        (1u32..0xffff_0000).prop_map(Community::Standard),
        any::<[u32; 3]>().prop_map(Community::Large),
        any::<[u8; 8]>().prop_map(Community::Extended),
    ];
    prop::collection::btree_set(one, 0..3)
}

fn policy() -> impl Strategy<Value = PeerPolicy> {
    let seconds = Duration::from_secs;
    let action = prop_oneof![
        Just(MaxPrefixAction::Warn),
        (1u64..=86_400).prop_map(move |s| MaxPrefixAction::Restart(seconds(s))),
        Just(MaxPrefixAction::Idle),
    ];
    let send_hold = prop::option::of(prop_oneof![Just(0u64), 65_536u64..200_000]);
    let role = prop_oneof![Just(None), prop::sample::select(&PeerRole::ALL[..]).prop_map(Some)];
    let limits = (1u32.., action, 1u8..=100, send_hold, 0u64..=240, any::<bool>());
    (limits, role, any::<bool>(), communities()).prop_map(
        move |((limit, action, warn_at, send_hold, delay, add_path_receive), role, strict_role, communities)| {
            PeerPolicy {
                max_prefix: MaxPrefixSettings { limit, action, warn_at },
                send_hold_time: send_hold.map(seconds),
                role,
                strict_role,
                communities,
                delay_open: seconds(delay),
                add_path_receive,
            }
        },
    )
}

fn restart() -> impl Strategy<Value = GracefulRestartSettings> {
    (1u64..=4095, 1u64..=86_400, 0u64..=16_776_000).prop_map(|(restart, stale, long)| GracefulRestartSettings {
        restart_time: Duration::from_secs(restart),
        stale_time: Duration::from_secs(stale),
        long_lived_time: Duration::from_secs(long),
    })
}

fn bgp() -> impl Strategy<Value = BgpSettings> {
    let interface = "[a-zA-Z][a-zA-Z0-9._-]{0,14}".prop_filter("not the loopback", |name| name != "lo");
    let neighbour =
        prop_oneof![prefix().prop_map(|p| Neighbour::Address(p.addr())), interface.prop_map(Neighbour::Interface)];
    let ids = (any::<u8>(), any::<u8>(), any::<bool>());
    let security = (prop::option::of((path(), prop::option::of(ids))), any::<bool>(), any::<bool>());
    let bfd = (10u64..=60_000, 1u8.., any::<bool>()).prop_map(|(ms, multiplier, strict)| BfdSettings {
        interval: Duration::from_millis(ms),
        multiplier,
        strict,
    });
    let rest = ((policy(), prop::option::of(bfd)), security, prop::option::of(restart()));
    let peer = (neighbour, 1u16.., prop::option::of(1u32..23456), 3u64..=65535, any::<bool>(), rest);
    let peer = peer.prop_map(|(neighbour, port, asn, hold, passive, rest)| {
        let ((policy, bfd), (key, ttl, local), graceful_restart) = rest;
        let numbered = neighbour.address().is_some();
        PeerSettings {
            port,
            asn,
            hold_time: Duration::from_secs(hold),
            passive,
            bfd,
            policy,
            local_address: neighbour.address().filter(|_| local).map(|addr| match addr {
                IpAddr::V4(_) => Ipv4Addr::new(10, 9, 8, 7).into(),
                IpAddr::V6(_) => Ipv6Addr::new(0xfd00, 9, 8, 7, 6, 5, 4, 3).into(),
            }),
            password_file: key.clone().filter(|(_, ao)| numbered && ao.is_none()).map(|(file, _)| file),
            tcp_ao: key.filter(|_| numbered).and_then(|(key_file, ids)| {
                let (send_id, recv_id, sha) = ids?;
                let algorithm = if sha { TcpAoAlgorithm::HmacSha1 } else { TcpAoAlgorithm::Aes128Cmac };
                Some(TcpAoSettings { key_file, send_id, recv_id, algorithm })
            }),
            ttl_security: ttl,
            neighbour,
            graceful_restart,
        }
    });
    (65536u32..u32::MAX, any::<u16>(), any::<bool>(), communities(), prop::collection::vec(peer, 1..3)).prop_map(
        |(asn, port, accept_default, communities, peers)| BgpSettings {
            communities,
            asn,
            listen: (Ipv6Addr::UNSPECIFIED, port).into(),
            accept_default,
            peers,
        },
    )
}

fn settings() -> impl Strategy<Value = Settings> {
    let pool = prefix().prop_map(|cidr| {
        let (_, max) = PoolSettings::block_sizes(cidr.family());
        PoolSettings { cidr, block_size: max, node_selector: None }
    });
    let pool = (pool, prop::option::of(prop::sample::select(&["all()", "a == 'b' && !has(c.d/e)", ""][..])))
        .prop_map(|(pool, text)| PoolSettings { node_selector: text.map(str::to_owned), ..pool });
    let labels = prop::collection::btree_map("[a-z][a-z0-9_./-]{0,6}", "[A-Za-z0-9_.-]{0,6}", 0..3);
    let node = ("[a-zA-Z0-9._-]{1,30}", prop::collection::btree_set(prop::sample::select(&Role::ALL[..]), 0..3));
    let lists = (
        prop::collection::vec(announce(), 0..3),
        prop::collection::vec(pool, 0..2),
        prop::collection::vec(prefix(), 0..2),
        prop::collection::btree_set(prefix(), 0..2),
        labels,
    );
    let access = prop_oneof![path().prop_map(KubernetesAccess::Kubeconfig), Just(KubernetesAccess::InCluster)];
    let kubernetes = (access, "[a-z0-9.-]{1,30}").prop_map(|(access, node)| KubernetesSettings { access, node });
    (node, prop::option::of(bgp()), lists, path(), path(), prop::option::of(kubernetes)).prop_map(
        |((name, roles), bgp, (announce, pools, own, reserved, labels), state, folder, kubernetes)| Settings {
            node: NodeSettings {
                name,
                roles,
                router_id: None,
                addresses: own.iter().map(|p| Prefix::host(p.addr())).collect(),
                labels,
            },
            store: StoreSettings::Embedded(folder),
            bgp,
            announce,
            // The Node object says the ranges only where there is one, and no pools beside it.
            ipam: IpamSettings {
                source: match (&kubernetes, pools.as_slice()) {
                    (Some(_), []) => BlockSource::Node,
                    _ => BlockSource::Store,
                },
                pools,
                reserved: reserved.into_iter().collect(),
                grace_time: Duration::from_secs(7),
            },
            kubernetes,
            paths: Paths { state, ..Paths::default() },
            metrics_listen: Settings::METRICS_LISTEN,
        },
    )
}

proptest! {
    #[test]
    fn any_text(text in "\\PC{0,120}") {
        survive(&text);
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        match decode(&bytes, "petiole.toml") {
            Ok(text) => survive(text),
            Err(errors) => prop_assert_eq!(errors.iter().count(), 1),
        }
        survive(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_lines_of_known_words(lines in prop::collection::vec(line(), 0..30)) {
        survive(&lines.join("\n"));
    }

    #[test]
    fn an_example_with_one_character_changed(which in 0..EXAMPLES.len(), at in any::<prop::sample::Index>(), with in any::<Option<char>>()) {
        let mut text: Vec<char> = EXAMPLES[which].1.chars().collect();
        let at = at.index(text.len());
        match with {
            Some(c) => text[at] = c,
            None => drop(text.remove(at)),
        }
        survive(&text.into_iter().collect::<String>());
    }

    #[test]
    fn an_example_with_one_value_changed(which in 0..EXAMPLES.len(), at in any::<prop::sample::Index>(), value in prop::sample::select(VALUES)) {
        let lines: Vec<&str> = EXAMPLES[which].1.lines().collect();
        let with_value: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].contains(" = ") && !lines[*n].starts_with(['#', ' '])).collect();
        let at = with_value[at.index(with_value.len())];
        let changed: Vec<String> = lines.iter().enumerate().map(|(n, line)| match line.split_once(" = ") {
            Some((key, _)) if n == at => format!("{key} = {value}"),
            _ => (*line).to_owned(),
        }).collect();
        survive(&changed.join("\n"));
    }

    /// Random settings are printed and, where they break no rule between sections, come back the same.
    #[test]
    fn printed_settings_come_back(settings in settings()) {
        let printed = settings.to_toml();
        match load(&printed, "printed", &Facts::new("host1")) {
            Ok((again, _)) => prop_assert_eq!(again, settings),
            Err(errors) => for error in &errors {
                let between_sections = matches!(
                    error.problem,
                    Problem::Overlap { .. } | Problem::Twice { .. } | Problem::PeerIsSelf { .. } | Problem::UselessAddress { .. }
                        | Problem::BlockSize { .. } | Problem::ListenTwice { .. }
                );
                prop_assert!(between_sections, "{}\n{}", error, printed);
            },
        }
    }

    #[test]
    fn durations_print_and_read(ms in any::<u32>()) {
        let duration = Duration::from_millis(ms.into());
        prop_assert_eq!(duration::parse(&duration::print(duration)), Ok(duration));
    }
}

#[test]
fn hostile_nesting_is_refused() {
    for open in ["[", "{a=", "a.", "[[", "\""] {
        survive(&format!("x = {}", open.repeat(20_000)));
        survive(&open.repeat(20_000));
    }
}

#[test]
fn special_ranges_are_all_valid_prefixes() {
    // `useless` skips an entry that is no prefix, so a typo there would go unnoticed.
    assert_eq!(ranges::special().filter(|p| p.is_ok()).count(), 11);
    for family in Family::BOTH {
        assert!(ranges::useless(&Prefix::default_route(family)).is_some());
    }
}
