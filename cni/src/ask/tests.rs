use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::rpc::Added;

const ALL: [&str; 5] = ["ADD", "DEL", "CHECK", "STATUS", "GC"];

fn environment(command: &str) -> Vec<(&'static str, String)> {
    vec![
        ("CNI_COMMAND", command.to_owned()),
        ("CNI_CONTAINERID", "container-1".to_owned()),
        ("CNI_NETNS", "/run/netns/x".to_owned()),
        ("CNI_IFNAME", "eth0".to_owned()),
        ("CNI_PATH", "/opt/cni/bin".to_owned()),
    ]
}

fn conf(version: &str) -> Value {
    json!({
        "cniVersion": version, "name": "pods", "type": "petiole", "prevResult": null,
        "cni.dev/valid-attachments": [],
    })
}

fn read_with(env: &[(&str, String)], conf: &Value) -> Result<Order, Refusal> {
    let env = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    read(&env, "petiole", conf.to_string().as_bytes())
}

fn ask_with(env: &[(&str, String)], conf: &Value) -> Ask {
    match read_with(env, conf) {
        Ok(Order::Ask(ask)) => *ask,
        other => panic!("{other:?}"),
    }
}

fn refused(env: &[(&str, String)], conf: &Value) -> Failure {
    read_with(env, conf).unwrap_err().failure
}

/// The environment of a command with one variable changed, or taken out where it is empty.
fn with(command: &str, name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut env = environment(command);
    env.retain(|(key, _)| *key != name);
    env.push((name, value.to_owned()));
    env
}

#[test]
fn all_missing_variables_are_named_at_once() {
    let env = [("CNI_COMMAND", "ADD".to_owned())];
    let failure = refused(&env, &conf("1.0.0"));
    assert_eq!(failure.code, Code::ENVIRONMENT);
    assert!(failure.msg.ends_with("CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME"), "{failure}");
    let failure = refused(&[("CNI_COMMAND", "DEL".to_owned())], &conf("1.0.0"));
    assert!(failure.msg.ends_with("CNI_CONTAINERID, CNI_IFNAME"), "{failure}");
}

#[test]
fn each_command_needs_its_variables_and_no_others() {
    let previous = json!({ "cniVersion": "1.1.0", "ips": [] });
    for command in ALL {
        let mut conf = conf("1.1.0");
        if command == "CHECK" {
            conf["prevResult"] = previous.clone();
        }
        for (name, needed) in [
            ("CNI_CONTAINERID", matches!(command, "ADD" | "DEL" | "CHECK")),
            ("CNI_NETNS", matches!(command, "ADD" | "CHECK")),
            ("CNI_IFNAME", matches!(command, "ADD" | "DEL" | "CHECK")),
            ("CNI_PATH", false),
            ("CNI_ARGS", false),
        ] {
            let result = read_with(&with(command, name, ""), &conf);
            match result {
                Err(refusal) if needed => {
                    assert_eq!(refusal.failure.code, Code::ENVIRONMENT);
                    assert!(refusal.failure.msg.contains(name), "{command} {name}: {}", refusal.failure);
                }
                result => assert!(!needed && result.is_ok(), "{command} {name}: {result:?}"),
            }
        }
    }
}

#[test]
fn a_command_is_one_of_the_specifications() {
    for command in ["", "PING", "add", "ADD "] {
        assert_eq!(refused(&with("", "CNI_COMMAND", command), &conf("1.0.0")).code, Code::ENVIRONMENT);
    }
}

#[test]
fn ids_have_the_characters_of_the_specification() {
    for id in ["a/b", "-a", ".a", "_a", "a b", "a\u{e9}", "..", "a\n", "a;b"] {
        for command in ["ADD", "DEL"] {
            assert_eq!(refused(&with(command, "CNI_CONTAINERID", id), &conf("1.0.0")).code, Code::ENVIRONMENT, "{id}");
        }
    }
    ask_with(&with("ADD", "CNI_CONTAINERID", "1a_B.c-d"), &conf("1.0.0"));
}

#[test]
fn interface_names_are_ones_that_the_kernel_takes() {
    for name in [".", "..", "a/b", "a:b", "a b", "a\tb", "a\u{a0}b", "sixteen_octets_x", "\u{7f}"] {
        assert_eq!(refused(&with("ADD", "CNI_IFNAME", name), &conf("1.0.0")).code, Code::ENVIRONMENT, "{name}");
    }
    ask_with(&with("ADD", "CNI_IFNAME", "fifteen_octets_"), &conf("1.0.0"));
}

#[test]
fn versions_are_0_3_0_to_1_1_0() {
    for spec in Spec::ALL {
        assert_eq!(ask_with(&environment("ADD"), &conf(spec.name())).spec, spec);
    }
    for version in ["0.1.0", "0.2.0", "0.3.2", "1.2.0", "9.9.9", "1", "x"] {
        let failure = refused(&environment("ADD"), &conf(version));
        assert_eq!(failure.code, Code::VERSION);
        assert!(failure.msg.contains(version) && failure.details.contains("1.1.0"), "{failure:?}");
    }
    assert_eq!(refused(&environment("ADD"), &json!({ "cniVersion": 1.0, "name": "n" })).code, Code::DECODE);
}

#[test]
fn no_version_is_0_1_0() {
    let mut conf = conf("1.0.0");
    conf.as_object_mut().unwrap().remove("cniVersion");
    let failure = refused(&environment("ADD"), &conf);
    assert_eq!(failure.code, Code::VERSION);
    assert!(failure.msg.contains("0.1.0"), "{failure}");
}

#[test]
fn check_begins_with_0_4_0_and_gc_and_status_with_1_1_0() {
    let previous = |version: &str| {
        let mut conf = conf(version);
        conf["prevResult"] = json!({ "cniVersion": version });
        conf
    };
    assert_eq!(refused(&environment("CHECK"), &previous("0.3.1")).code, Code::VERSION);
    ask_with(&environment("CHECK"), &previous("0.4.0"));
    for command in ["GC", "STATUS"] {
        assert_eq!(refused(&environment(command), &conf("1.0.0")).code, Code::VERSION);
        ask_with(&environment(command), &conf("1.1.0"));
    }
}

#[test]
fn errors_are_printed_in_the_configurations_version() {
    let mut conf = conf("0.4.0");
    conf["name"] = json!("a/b");
    let refusal = read_with(&environment("ADD"), &conf).unwrap_err();
    assert_eq!((refusal.spec, refusal.failure.code), (Spec::V0_4_0, Code::CONFIG));
}

#[test]
fn version_needs_nothing_at_all() {
    let env = |name: &str| (name == "CNI_COMMAND").then(|| "VERSION".to_owned());
    for stdin in [&b""[..], b"{", b"{}", br#"{"cniVersion":3}"#] {
        let Ok(Order::Version(answer)) = read(&env, "petiole", stdin) else { panic!() };
        assert_eq!(answer["cniVersion"], "1.1.0");
    }
}

#[test]
fn a_request_has_what_the_runtime_said() {
    let mut env = environment("ADD");
    let args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_INFRA_CONTAINER_ID=abc;K8S_POD_UID=u-1;\
                IP=10.1.2.4,fd00::4;MAC=02:00:00:00:00:09;Other=x=y";
    env.push(("CNI_ARGS", args.to_owned()));
    let mut conf = conf("1.1.0");
    conf["runtimeConfig"] = json!({ "ips": ["10.1.2.3"], "mac": "02:00:00:00:00:01", "portMappings": [] });
    conf["mtu"] = json!(1400);
    conf["ipam"] = json!({ "pools": ["default-ipv4"] });
    conf["timeout"] = json!("1500ms");
    conf["socket"] = json!("/run/x.sock");
    conf["unheard"] = json!({ "of": [1] });
    let ask = ask_with(&env, &conf);
    let pod = Pod {
        namespace: "ns".into(),
        name: "web-0".into(),
        uid: Some("u-1".into()),
        infra_container: Some("abc".into()),
    };
    let expected = Request {
        version: VERSION,
        command: Command::Add,
        mode: Mode::Wire,
        under: None,
        bridge: None,
        network: "pods".into(),
        container: "container-1".into(),
        interface: "eth0".into(),
        netns: Some("/run/netns/x".into()),
        pod: Some(pod),
        ips: ["10.1.2.3", "10.1.2.4", "fd00::4"].map(|ip| ip.parse().unwrap()).into(),
        mac: Some(crate::Mac([2, 0, 0, 0, 0, 1])),
        mtu: Some(1400),
        pools: vec!["default-ipv4".into()],
        prev: None,
        valid: Vec::new(),
        patience_ms: 1500,
    };
    assert_eq!(ask.request, expected);
    assert_eq!((ask.socket, ask.timeout), ("/run/x.sock".into(), Duration::from_millis(1500)));
}

#[test]
fn arguments_that_are_none_are_refused_but_not_at_del() {
    for args in ["IP", "K8S_POD_NAMESPACE=a", "IP=x", "MAC=01:00:00:00:00:00", "a;b=c"] {
        assert_eq!(refused(&with("ADD", "CNI_ARGS", args), &conf("1.0.0")).code, Code::ENVIRONMENT, "{args}");
        ask_with(&with("DEL", "CNI_ARGS", args), &conf("1.0.0"));
    }
    ask_with(&with("ADD", "CNI_ARGS", ";;a=;b=c=d;"), &conf("1.0.0"));
}

/// What podman 4.3 says of a container that no pod of Kubernetes has.
#[test]
fn a_name_without_a_namespace_is_no_pod() {
    let ask = ask_with(&with("ADD", "CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web"), &conf("0.4.0"));
    assert_eq!(ask.request.pod, None);
}

#[test]
fn del_asks_whatever_the_rest_of_the_configuration_says() {
    let mut conf = conf("0.3.1");
    conf["prevResult"] = json!("garbage");
    conf["runtimeConfig"] = json!(3);
    conf["mtu"] = json!("x");
    ask_with(&environment("DEL"), &conf);
}

#[test]
fn wiring_comes_first_in_a_chain() {
    let mut conf = conf("1.0.0");
    conf["prevResult"] = json!({ "cniVersion": "1.0.0", "ips": [] });
    let failure = refused(&environment("ADD"), &conf);
    assert_eq!(failure.code, Code::CONFIG);
    assert!(failure.msg.contains("first plugin"), "{failure}");
    conf["type"] = json!("ptp");
    conf["ipam"] = json!({ "type": "petiole" });
    let request = ask_with(&environment("ADD"), &conf).request;
    assert_eq!((request.mode, request.under.as_deref()), (Mode::Ipam, conf["type"].as_str()));
}

#[test]
fn a_bridge_has_to_be_its_pods_router() {
    let conf = |more: Value| {
        let mut conf = conf("1.0.0");
        conf["type"] = json!("bridge");
        conf["ipam"] = json!({ "type": "petiole" });
        conf.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        conf
    };
    let bridge = |more| ask_with(&environment("ADD"), &conf(more)).request.bridge;
    assert_eq!(bridge(json!({ "isGateway": true })).as_deref(), Some("cni0"));
    let more = json!({ "bridge": "br7", "isDefaultGateway": true, "isGateway": false, "vlan": 0 });
    assert_eq!(bridge(more).as_deref(), Some("br7"));
    for (more, code, word) in [
        (json!({}), Code::CONFIG, "\"isGateway\": true"),
        (json!({ "isGateway": false, "isDefaultGateway": null }), Code::CONFIG, "\"isGateway\": true"),
        (json!({ "isGateway": true, "vlan": 7 }), Code::CONFIG, "\"vlan\""),
        (json!({ "isGateway": "yes" }), Code::DECODE, "isGateway"),
    ] {
        let failure = refused(&environment("ADD"), &conf(more.clone()));
        assert_eq!(failure.code, code, "{more}: {failure}");
        assert!(failure.msg.contains(word), "{failure}");
        // What was made by another configuration goes all the same.
        assert_eq!(ask_with(&environment("DEL"), &conf(more)).request.bridge, None);
    }
}

#[test]
fn answers_belong_to_their_questions() {
    let add = ask_with(&environment("ADD"), &conf("1.0.0"));
    assert!(add.answer(Response::Added(Added::default())).unwrap().is_some());
    assert_eq!(add.answer(Response::Done).unwrap_err().code, Code::INTERNAL);
    let del = ask_with(&environment("DEL"), &conf("1.0.0"));
    assert_eq!(del.answer(Response::Done).unwrap(), None);
    assert_eq!(del.answer(Response::Added(Added::default())).unwrap_err().code, Code::INTERNAL);
    let failure = Failure::new(Code::EXHAUSTED, "none left");
    assert_eq!(add.answer(Response::Failed(failure.clone())).unwrap_err(), failure);
}

proptest! {
    #[test]
    fn no_environment_panics(
        command in prop_oneof![prop::sample::select(ALL.to_vec()).prop_map(str::to_owned), any::<String>()],
        container: String, interface: String, args: String, netns: String, stdin: Vec<u8>,
    ) {
        let env = |name: &str| Some(match name {
            "CNI_COMMAND" => command.clone(),
            "CNI_CONTAINERID" => container.clone(),
            "CNI_IFNAME" => interface.clone(),
            "CNI_ARGS" => args.clone(),
            _ => netns.clone(),
        });
        let _ = read(&env, "petiole", &stdin);
        let _ = read(&env, "petiole", conf("1.1.0").to_string().as_bytes());
    }

    #[test]
    fn what_is_asked_has_a_valid_id_and_interface(container in "[a-z./:_ -]{0,18}", interface in "[a-z./:_ -]{0,18}") {
        let mut env = with("ADD", "CNI_CONTAINERID", &container);
        env.retain(|(name, _)| *name != "CNI_IFNAME");
        env.push(("CNI_IFNAME", interface));
        if let Ok(Order::Ask(ask)) = read_with(&env, &conf("1.0.0")) {
            prop_assert!(ask.request.container.starts_with(|c: char| c.is_ascii_lowercase()));
            prop_assert!(!ask.request.container.contains(['/', ':', ' ']));
            prop_assert!((1..=15).contains(&ask.request.interface.len()));
            prop_assert!(!ask.request.interface.contains(['/', ':', ' ']));
        }
    }
}
