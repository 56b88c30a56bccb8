//! The real executable, as a runtime runs it, against an agent on a socket that does as a test says.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test fails where it finds something else"
)]

#[path = "plugin/reference.rs"]
mod reference;
#[path = "plugin/scripted.rs"]
mod scripted;

use std::time::{Duration, Instant};

use petiole_cni::rpc::{
    Added, Address, Attachment, Code, Command, Failure, Interface, MAX_BODY, Mode, Response, Route, encode,
};
use petiole_cni::{Cidr, Mac};
use scripted::{Agent, Run, Script};
use serde_json::{Value, json};

const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// An open namespace that every process has.
const NETNS: &str = "/proc/self/ns/net";

fn added() -> Added {
    let cidr = |text: &str| text.parse::<Cidr>().unwrap();
    let gateway = "169.254.1.1".parse().unwrap();
    Added {
        host: Some(Interface { name: "pet0123456789a".into(), mac: Mac([0xee; 6]) }),
        container: Some(Interface { name: "eth0".into(), mac: Mac([2, 0, 0, 0, 0, 1]) }),
        addresses: vec![
            Address { address: cidr("10.123.128.2/32"), gateway: Some(gateway) },
            Address { address: cidr("fd00:123:8000::2/128"), gateway: None },
        ],
        routes: vec![Route { dst: cidr("0.0.0.0/0"), gateway: Some(gateway) }],
        mtu: Some(1500),
    }
}

fn fails(code: Code, msg: &str) -> Script {
    Script::Respond(Response::Failed(Failure::new(code, msg).details("of the agent")))
}

#[test]
fn add_prints_the_result_in_the_version_of_the_configuration() {
    for version in VERSIONS {
        let agent = Agent::new(Script::Respond(Response::Added(added())));
        let run = Run::new("ADD").conf(agent.conf(version)).go();
        let result = run.succeeded().unwrap();
        assert_eq!(result["cniVersion"], version);
        assert_eq!(result["interfaces"][1]["sandbox"], NETNS);
        assert_eq!(result["ips"][0]["address"], "10.123.128.2/32");
        assert_eq!(result["ips"][0].get("version").is_some(), version < "1.0.0");
        assert_eq!(result["interfaces"][0].get("mtu").is_some(), version >= "1.1.0");
        let (request, netns) = agent.heard();
        assert_eq!((request.command, request.mode), (Command::Add, Mode::Wire));
        assert_eq!((request.container.as_str(), request.interface.as_str()), ("container-1", "eth0"));
        assert_eq!(request.network, "pods");
        assert!(netns, "the namespace comes with the request");
    }
}

#[test]
fn del_check_status_and_gc_print_nothing() {
    for (command, heard) in
        [("DEL", Command::Del), ("CHECK", Command::Check), ("STATUS", Command::Status), ("GC", Command::Gc)]
    {
        let agent = Agent::new(Script::Respond(Response::Done));
        let mut conf = agent.conf("1.1.0");
        conf["prevResult"] = json!({
            "cniVersion": "1.1.0",
            "interfaces": [{ "name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": NETNS }],
            "ips": [{ "address": "10.123.128.2/32", "interface": 0 }],
        });
        conf["cni.dev/valid-attachments"] = json!([{ "containerID": "c-9", "ifname": "eth1" }]);
        assert_eq!(Run::new(command).conf(conf).go().succeeded(), None);
        let (request, _) = agent.heard();
        assert_eq!(request.command, heard);
        assert_eq!(request.prev.is_some(), command == "CHECK");
        let kept = Attachment { container: "c-9".into(), interface: "eth1".into() };
        assert_eq!(request.valid, if command == "GC" { vec![kept] } else { vec![] });
    }
}

#[test]
fn delegated_it_gives_addresses_alone() {
    let only = Added { host: None, container: None, mtu: None, ..added() };
    let agent = Agent::new(Script::Respond(Response::Added(only)));
    let mut conf = agent.conf("1.0.0");
    conf["type"] = json!("ptp");
    conf["ipam"] = json!({ "type": "petiole", "pools": ["blue"] });
    let result = Run::new("ADD").conf(conf).go().succeeded().unwrap();
    assert!(result.get("interfaces").is_none() && result["ips"][0].get("interface").is_none(), "{result}");
    let (request, _) = agent.heard();
    assert_eq!((request.mode, request.pools), (Mode::Ipam, vec!["blue".to_owned()]));
}

#[test]
fn the_agents_failure_is_printed_with_its_code() {
    for command in ["ADD", "DEL", "STATUS"] {
        let agent = Agent::new(fails(Code::LIMITED, "etcd has been away for 3 s: wait"));
        let error = Run::new(command).conf(agent.conf("1.1.0")).go().failed(Code::LIMITED);
        assert_eq!(error["msg"], "etcd has been away for 3 s: wait");
        assert_eq!((&error["details"], &error["cniVersion"]), (&json!("of the agent"), &json!("1.1.0")));
    }
}

#[test]
fn version_is_answered_without_an_agent() {
    let run = Run::new("VERSION").conf(json!({ "cniVersion": "0.4.0" })).without("CNI_NETNS").go();
    let answer = run.succeeded().unwrap();
    assert_eq!((&answer["cniVersion"], &answer["supportedVersions"]), (&json!("0.4.0"), &json!(VERSIONS)));
    assert!(Run::new("VERSION").stdin("").go().succeeded().is_some());
}

#[test]
fn an_agent_that_is_away_is_an_error_that_the_runtime_tries_again() {
    let folder = tempfile::tempdir().unwrap();
    for (path, why) in [("none.sock", "does not exist"), ("dead.sock", "nobody listens")] {
        let path = folder.path().join(path);
        if why == "nobody listens" {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        }
        for (command, code) in [
            ("ADD", Code::TRY_AGAIN),
            ("DEL", Code::TRY_AGAIN),
            ("CHECK", Code::TRY_AGAIN),
            ("GC", Code::TRY_AGAIN),
            ("STATUS", Code::NOT_AVAILABLE),
        ] {
            let mut conf = scripted::conf("1.1.0", &path);
            conf["cni.dev/valid-attachments"] = json!([]);
            if command == "CHECK" {
                conf["prevResult"] = json!({});
            }
            let error = Run::new(command).conf(conf).go().failed(code);
            let msg = error["msg"].as_str().unwrap();
            assert!(
                msg.contains(why) && msg.contains(path.to_str().unwrap()) && msg.contains("petiole status"),
                "{msg}"
            );
        }
    }
}

#[test]
fn an_agent_that_hangs_up_is_tried_again() {
    let half = encode(&Response::Added(added())).unwrap();
    let half = half[..half.len() / 2].to_vec();
    for (script, how) in [
        (Script::HangUpAtOnce, "agent"),
        (Script::HangUpAfterRequest, "without a response"),
        (Script::Write(half), "in the middle of its response"),
        (Script::Write(vec![1, 0]), "in the middle of its response"),
    ] {
        let agent = Agent::new(script.clone());
        let error = Run::new("ADD").conf(agent.conf("1.0.0")).go().failed(Code::TRY_AGAIN);
        assert!(error["msg"].as_str().unwrap().contains(how), "{error}");
        let agent = Agent::new(script);
        Run::new("STATUS").conf(agent.conf("1.1.0")).go().failed(Code::NOT_AVAILABLE);
    }
}

#[test]
fn a_response_that_is_none_is_an_error() {
    let mut trailing = encode(&Response::Done).unwrap();
    trailing.extend(b"more");
    let garbage = [&8_u32.to_le_bytes()[..], b"not json"].concat();
    let long = u32::try_from(MAX_BODY + 1).unwrap().to_le_bytes().to_vec();
    for bytes in [trailing, garbage, long, vec![0xff; 4]] {
        let agent = Agent::new(Script::Write(bytes));
        let error = Run::new("DEL").conf(agent.conf("1.0.0")).go().failed(Code::DECODE);
        assert!(error["msg"].as_str().unwrap().contains("same version"), "{error}");
    }
    let agent = Agent::new(Script::Respond(Response::Done));
    Run::new("ADD").conf(agent.conf("1.0.0")).go().failed(Code::INTERNAL);
}

#[test]
fn a_response_may_come_in_pieces() {
    let agent = Agent::new(Script::Pieces(encode(&Response::Added(added())).unwrap()));
    assert!(Run::new("ADD").conf(agent.conf("1.0.0")).go().succeeded().is_some());
}

#[test]
fn the_time_is_that_of_the_whole_call() {
    for script in [Script::Silence, Script::NeverAccept, Script::Drip] {
        let agent = Agent::new(script.clone());
        let mut conf = agent.conf("1.0.0");
        conf["timeout"] = json!("300ms");
        let begun = Instant::now();
        let error = Run::new("ADD").conf(conf).go().failed(Code::TRY_AGAIN);
        assert!(error["msg"].as_str().unwrap().contains("within 300ms"), "{error}");
        // Not before, and not by the time of every read anew; the machine may be busy.
        assert!(begun.elapsed() >= Duration::from_millis(290), "{script:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{script:?}");
    }
}

#[test]
fn a_namespace_that_is_gone_fails_add_and_check_but_not_del() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone").to_str().unwrap().to_owned();
    let stale = folder.path().join("stale").to_str().unwrap().to_owned();
    std::fs::write(&stale, "").unwrap();
    for netns in [&gone, &stale] {
        for command in ["ADD", "CHECK"] {
            let agent = Agent::new(Script::Silence);
            let mut conf = agent.conf("1.0.0");
            if command == "CHECK" {
                conf["prevResult"] = json!({});
            }
            let error = Run::new(command).netns(netns).conf(conf).go().failed(Code::ENVIRONMENT);
            assert!(error["msg"].as_str().unwrap().contains(netns.as_str()), "{error}");
        }
        let agent = Agent::new(Script::Respond(Response::Done));
        assert_eq!(Run::new("DEL").netns(netns).conf(agent.conf("1.0.0")).go().succeeded(), None);
        let (request, open) = agent.heard();
        assert_eq!((request.netns.as_deref(), open), (Some(netns.as_str()), false));
    }
    let agent = Agent::new(Script::Respond(Response::Done));
    assert_eq!(Run::new("DEL").without("CNI_NETNS").conf(agent.conf("1.0.0")).go().succeeded(), None);
    assert_eq!(agent.heard().0.netns, None);
}

#[test]
fn del_twice_is_asked_twice() {
    for _ in 0..2 {
        let agent = Agent::new(Script::Respond(Response::Done));
        assert_eq!(Run::new("DEL").conf(agent.conf("0.3.1")).go().succeeded(), None);
    }
}

#[test]
fn what_the_runtime_says_wrong_never_reaches_the_agent() {
    let good = || scripted::conf("1.0.0", "/nonexistent/petiole.sock".as_ref());
    let set = |key: &str, value: Value| {
        let mut conf = good();
        conf[key] = value;
        conf
    };
    let mut unversioned = good();
    unversioned.as_object_mut().unwrap().remove("cniVersion");
    for (run, code) in [
        (Run::new("ADD").stdin(""), Code::DECODE),
        (Run::new("ADD").stdin("{"), Code::DECODE),
        (Run::new("ADD").stdin("[1]"), Code::DECODE),
        (Run::new("ADD").conf(set("cniVersion", json!("9.9.9"))), Code::VERSION),
        (Run::new("ADD").conf(unversioned), Code::VERSION),
        (Run::new("CHECK").conf(set("cniVersion", json!("0.3.1"))), Code::VERSION),
        (Run::new("GC").conf(good()), Code::VERSION),
        (Run::new("STATUS").conf(good()), Code::VERSION),
        (Run::new("ADD").conf(set("name", json!("a b"))), Code::CONFIG),
        (Run::new("ADD").conf(set("ipam", json!({ "type": "host-local" }))), Code::UNSUPPORTED),
        (Run::new("ADD").conf(set("prevResult", json!({}))), Code::CONFIG),
        (Run::new("CHECK").conf(good()), Code::CONFIG),
        (Run::new("PING").conf(good()), Code::ENVIRONMENT),
        (Run::new("ADD").without("CNI_COMMAND").conf(good()), Code::ENVIRONMENT),
        (Run::new("ADD").without("CNI_IFNAME").conf(good()), Code::ENVIRONMENT),
        (Run::new("ADD").set("CNI_CONTAINERID", "a/b").conf(good()), Code::ENVIRONMENT),
        (Run::new("ADD").set("CNI_IFNAME", "sixteen_octets_x").conf(good()), Code::ENVIRONMENT),
        (Run::new("ADD").set("CNI_ARGS", "IP").conf(good()), Code::ENVIRONMENT),
    ] {
        run.go().failed(code);
    }
}

#[test]
fn a_configuration_of_a_megabyte_is_read() {
    let agent = Agent::new(Script::Respond(Response::Added(added())));
    let mut conf = agent.conf("1.1.0");
    conf["padding"] = json!("x".repeat(1 << 20));
    conf["deep"] = serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
    assert!(Run::new("ADD").conf(conf).go().succeeded().is_some());
    // Without end it is not read to the end.
    Run::new("ADD").stdin(&" ".repeat((16 << 20) + 1)).go().failed(Code::DECODE);
    Run::new("ADD").stdin(&"[".repeat(100_000)).go().failed(Code::DECODE);
}

#[test]
fn a_list_that_makes_no_frame_is_refused_and_removes_nothing() {
    let agent = Agent::new(Script::Silence);
    let mut conf = agent.conf("1.1.0");
    let entry = json!({ "containerID": "c".repeat(64), "ifname": "eth0" });
    conf["cni.dev/valid-attachments"] = json!(vec![entry; 20_000]);
    let error = Run::new("GC").conf(conf).go().failed(Code::DECODE);
    assert!(error["msg"].as_str().unwrap().contains("longer than"), "{error}");
}

#[test]
fn closed_standard_input_and_output_are_errors_and_no_panic() {
    let output = std::process::Command::new("sh")
        .args(["-c", "exec \"$0\" <&-", env!("CARGO_BIN_EXE_petiole-cni")])
        .env("CNI_COMMAND", "STATUS")
        .output()
        .unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &error["code"]), (Some(1), &json!(6)));
    let output = std::process::Command::new("sh")
        .args(["-c", "exec \"$0\" </dev/null >/dev/full", env!("CARGO_BIN_EXE_petiole-cni")])
        .env("CNI_COMMAND", "VERSION")
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(1), true));
}

#[test]
fn many_at_once_are_many_requests() {
    let agent = Agent::many(Script::Respond(Response::Added(added())));
    let conf = agent.conf("1.0.0");
    std::thread::scope(|scope| {
        for id in 0..40 {
            let conf = conf.clone();
            scope.spawn(move || {
                let run = Run::new("ADD").set("CNI_CONTAINERID", &format!("c{id}")).conf(conf).go();
                assert!(run.succeeded().is_some());
            });
        }
    });
    let mut ids: Vec<String> = (0..40).map(|_| agent.heard().0.container).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 40);
}
