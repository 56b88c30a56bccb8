use proptest::prelude::*;
use serde_json::json;

use super::*;

fn conf(value: Value) -> Conf {
    Conf::read(value.to_string().as_bytes()).unwrap()
}

#[test]
fn what_is_no_json_object_is_not_decoded() {
    for bytes in [&b""[..], b" \n", b"{", b"[]", b"3", b"{\"a\":\xff}", b"{} {}"] {
        assert_eq!(Conf::read(bytes).unwrap_err().code, Code::DECODE);
    }
    assert!(Conf::read(b"").unwrap_err().msg.contains("empty"));
}

#[test]
fn the_network_needs_a_name() {
    for name in [json!(null), json!(""), json!("-a"), json!("a/b"), json!("a b"), json!("\u{e9}")] {
        assert_eq!(conf(json!({ "name": name })).name().unwrap_err().code, Code::CONFIG, "{name}");
    }
    assert_eq!(conf(json!({ "name": 3 })).name().unwrap_err().code, Code::DECODE);
    assert_eq!(conf(json!({ "name": "k8s-pod_network.1" })).name().unwrap(), "k8s-pod_network.1");
}

#[test]
fn type_and_ipam_type_say_what_is_asked() {
    let mode = |value| conf(value).mode("petiole-cni").map_err(|failure| failure.code);
    assert_eq!(mode(json!({ "type": "petiole" })), Ok(Mode::Wire));
    assert_eq!(mode(json!({ "type": "petiole-cni" })), Ok(Mode::Wire));
    assert_eq!(mode(json!({ "type": "petiole", "ipam": { "pools": ["a"] } })), Ok(Mode::Wire));
    assert_eq!(mode(json!({ "type": "petiole", "ipam": { "type": "petiole" } })), Ok(Mode::Wire));
    assert_eq!(mode(json!({ "type": "ptp", "ipam": { "type": "petiole" } })), Ok(Mode::Ipam));
    assert_eq!(mode(json!({ "type": "petiole", "ipam": { "type": "host-local" } })), Err(Code::UNSUPPORTED));
    assert_eq!(mode(json!({ "type": "ptp", "ipam": { "type": "host-local" } })), Err(Code::CONFIG));
    assert_eq!(mode(json!({})), Err(Code::CONFIG));
    assert_eq!(mode(json!({ "type": "petiole", "ipam": 3 })), Err(Code::DECODE));
}

#[test]
fn code_2_names_key_and_value() {
    let failure = conf(json!({ "type": "petiole", "ipam": { "type": "dhcp" } })).mode("").unwrap_err();
    assert!(failure.msg.contains("\"ipam\": {\"type\": \"dhcp\"}"), "{failure}");
}

#[test]
fn times_have_a_unit_and_bounds() {
    let timeout = |value| conf(json!({ "timeout": value })).timeout().map_err(|failure| failure.code);
    assert_eq!(conf(json!({})).timeout().unwrap(), TIMEOUT);
    assert_eq!(timeout(json!("250ms")), Ok(Duration::from_millis(250)));
    assert_eq!(timeout(json!("2m")), Ok(Duration::from_secs(120)));
    for wrong in ["30", "s", "", "1h", "-1s", "1.5s", "99ms", "601s", "99999999999999999999s", "18446744073709551615m"]
    {
        assert_eq!(timeout(json!(wrong)), Err(Code::CONFIG), "{wrong}");
    }
    assert_eq!(timeout(json!(30)), Err(Code::DECODE));
}

#[test]
fn the_socket_is_an_absolute_path_that_fits() {
    let socket = |value| conf(json!({ "socket": value })).socket().map_err(|failure| failure.code);
    assert_eq!(conf(json!({})).socket().unwrap(), PathBuf::from(SOCKET));
    assert_eq!(socket(json!("/x/y")), Ok("/x/y".into()));
    assert_eq!(socket(json!("x/y")), Err(Code::CONFIG));
    assert_eq!(socket(json!("/x\u{0}y")), Err(Code::CONFIG));
    assert_eq!(socket(json!(format!("/{}", "x".repeat(106)))).map(|path| path.as_os_str().len()), Ok(107));
    assert_eq!(socket(json!(format!("/{}", "x".repeat(107)))), Err(Code::CONFIG));
}

#[test]
fn an_mtu_is_one_that_an_interface_can_have() {
    let mtu = |value| conf(json!({ "mtu": value })).mtu().map_err(|failure| failure.code);
    assert_eq!([mtu(json!(null)), mtu(json!(0)), mtu(json!(9000))], [Ok(None), Ok(None), Ok(Some(9000))]);
    assert_eq!([mtu(json!(67)), mtu(json!(65536)), mtu(json!(u64::MAX))], [Err(Code::CONFIG); 3]);
    assert_eq!([mtu(json!("1500")), mtu(json!(-1)), mtu(json!(1.5))], [Err(Code::DECODE); 3]);
}

#[test]
fn addresses_come_from_runtime_and_arguments_without_repeats() {
    let both = json!({
        "runtimeConfig": { "ips": ["10.1.0.5/16", "fd00::5"] },
        "args": { "cni": { "ips": ["10.1.0.5", "10.1.0.6"] } },
    });
    let ips: Vec<String> = conf(both).ips().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(ips, ["10.1.0.5", "fd00::5", "10.1.0.6"]);
    assert_eq!(conf(json!({ "runtimeConfig": { "ips": ["x"] } })).ips().unwrap_err().code, Code::CONFIG);
    assert_eq!(conf(json!({ "runtimeConfig": { "ips": "10.1.0.5" } })).ips().unwrap_err().code, Code::DECODE);
}

#[test]
fn a_link_layer_address_is_one_interfaces() {
    let mac = |value: &str| conf(json!({ "runtimeConfig": { "mac": value } })).mac();
    assert_eq!(mac("c2:11:22:33:44:55").unwrap(), Some(Mac([0xc2, 0x11, 0x22, 0x33, 0x44, 0x55])));
    assert_eq!(mac("").unwrap(), None);
    for wrong in ["01:00:5e:00:00:01", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "x"] {
        assert_eq!(mac(wrong).unwrap_err().code, Code::CONFIG, "{wrong}");
    }
    let args = json!({ "args": { "cni": { "mac": "c2:11:22:33:44:55" } } });
    assert!(conf(args).mac().unwrap().is_some());
}

#[test]
fn a_previous_result_is_reduced_to_what_check_needs() {
    let result = json!({ "prevResult": {
        "cniVersion": "0.4.0",
        "interfaces": [{ "name": "pet0", "mac": "not ours" }, { "name": "eth0", "mac": "c2:11:22:33:44:55", "sandbox": "/x" }],
        "ips": [{ "version": "4", "address": "10.1.2.3/32", "gateway": "169.254.1.1", "interface": 1 }],
        "routes": [{ "dst": "0.0.0.0/0", "gw": "169.254.1.1" }, { "dst": "10.0.0.0/8" }],
        "dns": {}, "else": [1, 2],
    } });
    let previous = conf(result).previous().unwrap();
    assert_eq!(previous.interfaces.len(), 2);
    assert_eq!((&previous.interfaces[0].mac, &previous.interfaces[0].sandbox), (&None, &None));
    assert_eq!(previous.interfaces[1].sandbox.as_deref(), Some("/x"));
    assert_eq!((previous.ips[0].address.to_string(), previous.ips[0].interface), ("10.1.2.3/32".into(), Some(1)));
    assert_eq!(previous.routes[1].gateway, None);
}

#[test]
fn a_previous_result_that_cannot_be_read_is_said() {
    for wrong in [
        json!({ "ips": [{ "address": "10.1.2.3" }] }),
        json!({ "ips": [{}] }),
        json!({ "ips": {} }),
        json!({ "interfaces": ["eth0"] }),
        json!({ "routes": [{ "dst": "0.0.0.0/0", "gw": "x" }] }),
    ] {
        assert_eq!(conf(json!({ "prevResult": wrong })).previous().unwrap_err().code, Code::DECODE, "{wrong}");
    }
    assert_eq!(conf(json!({})).previous().unwrap_err().code, Code::CONFIG);
}

#[test]
fn gc_without_a_list_removes_nothing() {
    let key = "cni.dev/valid-attachments";
    assert_eq!(conf(json!({})).valid().unwrap_err().code, Code::CONFIG);
    assert_eq!(conf(json!({ key: null })).valid().unwrap(), []);
    assert_eq!(conf(json!({ key: [{ "containerID": "a" }] })).valid().unwrap_err().code, Code::DECODE);
    let valid = conf(json!({ key: [{ "containerID": "a", "ifname": "eth0" }] })).valid().unwrap();
    assert_eq!((valid[0].container.as_str(), valid[0].interface.as_str()), ("a", "eth0"));
}

#[test]
fn of_a_key_that_is_there_twice_the_last_counts() {
    assert_eq!(Conf::read(br#"{"name":"a","name":"b"}"#).unwrap().name().unwrap(), "b");
}

#[test]
fn a_long_value_is_cut_in_the_message() {
    let failure = conf(json!({ "name": ["\u{e9}".repeat(5000)] })).name().unwrap_err();
    assert!(failure.msg.len() < 400, "{failure}");
}

/// Any JSON, with the keys that are looked at.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("10.1.2.3/24")),
        Just(json!("02:00:00:00:00:01")),
    ];
    let key = prop::sample::select(vec![
        "cniVersion",
        "name",
        "type",
        "ipam",
        "pools",
        "socket",
        "timeout",
        "mtu",
        "runtimeConfig",
        "ips",
        "mac",
        "args",
        "cni",
        "dns",
        "prevResult",
        "interfaces",
        "address",
        "gateway",
        "routes",
        "dst",
        "gw",
        "sandbox",
        "interface",
        "cni.dev/valid-attachments",
        "containerID",
        "ifname",
    ]);
    leaf.prop_recursive(4, 48, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..8)
                .prop_map(|map| map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_configuration_panics(value in value()) {
        let Ok(conf) = Conf::read(value.to_string().as_bytes()) else { return Ok(()) };
        let _ = (conf.version(), conf.name(), conf.mode("petiole-cni"), conf.socket(), conf.timeout(), conf.mtu());
        let _ = (conf.pools(), conf.ips(), conf.mac(), conf.dns(), conf.previous(), conf.valid());
    }

    #[test]
    fn no_octets_panic(bytes: Vec<u8>) {
        let _ = Conf::read(&bytes);
    }
}
