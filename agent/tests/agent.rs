//! The real executable, each agent in a network namespace of its own.
//!
//! Needs root, iproute2 and util-linux (`unshare`, `nsenter`, `setpriv`).
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share fail like tests"
)]

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PETIOLE: &str = env!("CARGO_BIN_EXE_petiole");
const PLENTY: Duration = Duration::from_secs(30);

/// A folder with a configuration, and the agents that use it.
struct Place {
    dir: tempfile::TempDir,
}

struct Agent {
    process: Child,
    notified: UnixDatagram,
}

impl Place {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("{more}\n[paths]\nstate = \"{0}/state\"\nrun = \"{0}/run\"\n", dir.path().display());
        fs::write(dir.path().join("petiole.toml"), text).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The agent's command line behind `wrapper`.
    fn command(&self, wrapper: &[&str]) -> Command {
        let line: Vec<&str> = wrapper.iter().copied().chain([PETIOLE]).collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg("agent").arg("--config").arg(self.path("petiole.toml")).stdin(Stdio::null());
        command
    }

    /// An agent in a namespace of its own that says it is ready.
    fn start(&self) -> Agent {
        self.start_behind(&["unshare", "-n", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"])
    }

    fn start_behind(&self, wrapper: &[&str]) -> Agent {
        let socket = self.path("notify");
        let _ = fs::remove_file(&socket);
        let notified = UnixDatagram::bind(&socket).unwrap();
        notified.set_read_timeout(Some(PLENTY)).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let process = self.command(wrapper).env("NOTIFY_SOCKET", &socket).stderr(log).spawn().unwrap();
        let agent = Agent { process, notified };
        assert_eq!(agent.notice().as_deref(), Some("READY=1"), "{}", self.log());
        agent
    }

    /// An agent that cannot begin: what it says.
    fn refused(&self, wrapper: &[&str]) -> String {
        let output = self.command(wrapper).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        Command::new(PETIOLE).args(arguments).arg("--config").arg(self.path("petiole.toml")).output().unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["-o", "json"]].concat());
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The status, once it is as wanted.
    fn status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PLENTY;
        loop {
            let status = self.json(&["status"]);
            if wanted(&status) {
                return status;
            }
            assert!(Instant::now() < deadline, "{status:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Agent {
    fn notice(&self) -> Option<String> {
        let mut buffer = [0; 256];
        let n = self.notified.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..n]).trim().to_owned())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn end(mut self, signal: Signal) -> Option<i32> {
        self.signal(signal);
        self.process.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn contains(value: &Value, words: &str) -> bool {
    value.as_array().is_some_and(|list| list.iter().any(|v| v.as_str().is_some_and(|s| s.contains(words))))
}

#[test]
fn one_node_runs_with_nothing_configured() {
    let place = Place::new("");
    let agent = place.start();
    let status = place.status(|s| s["ready"] == true);
    assert_eq!(status["store"]["state"], "in sync");
    assert!(status["store"]["kind"].as_str().unwrap().starts_with("embedded "));
    assert!(contains(&status["next_steps"], "[[bgp.peer]]"), "{status:#}");
    let shown = text(&place.ask(&["status"]));
    assert!(shown.contains("What to do next\n  - no leaf is configured"), "{shown}");
    assert!(!shown.contains('\x1b'), "colour without a terminal: {shown:?}");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(place.path("run/api.sock")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(place.json(&["why", "10.0.0.0/8"])["verdict"], "unknown");
    // A reload that is not built yet is said to be so, and does no harm.
    agent.signal(Signal::HUP);
    place.status(|_| place.log().contains("SIGHUP: reloading is not built yet; restart the agent instead"));
    assert_eq!(agent.end(Signal::TERM), Some(0));
    let words = text(&place.ask(&["status"]));
    assert!(words.contains("has stopped; start it with `systemctl start petiole`"), "{words}");
}

#[test]
fn what_a_killed_worker_owned_is_there_when_it_comes_back() {
    let place = Place::new(
        "[node]\nname = \"worker1\"\nroles = [\"worker\"]\n[ipam]\npools = [{ cidr = \"10.123.128.0/24\", block_size = 26 }]\n",
    );
    let agent = place.start();
    let before = place.status(|s| s["blocks"].as_array().is_some_and(|b| !b.is_empty()));
    let address = place.json(&["ipam", "assign", "--handle", "web-0", "--family", "v4"]);
    agent.end(Signal::KILL);
    let _agent = place.start();
    let after = place.status(|s| s["blocks"].as_array().is_some_and(|b| !b.is_empty()));
    assert_eq!(before["blocks"], after["blocks"]);
    let blocks = place.json(&["ipam", "blocks"]);
    assert!(blocks["blocks"][0]["used"].as_u64().unwrap() >= 1, "{blocks:#}");
    let next = place.json(&["ipam", "assign", "--handle", "web-1", "--family", "v4"]);
    assert_ne!(address["addresses"], next["addresses"]);
    let released = address["addresses"][0].as_str().unwrap().trim_end_matches("/32").to_owned();
    assert_eq!(text(&place.ask(&["ipam", "release", &released])), format!("{released} released\n"));
}

#[test]
fn the_second_agent_names_the_first() {
    let place = Place::new("");
    let first = place.start();
    let words = place.refused(&["env"]);
    let expected = format!("another agent runs on this node with process id {}", first.process.id());
    assert!(words.contains(&expected) && words.contains("stop it first"), "{words}");
    // The one that was refused has not touched the socket of the first.
    place.status(|s| s["ready"] == true);
}

#[test]
fn without_net_admin_it_says_what_to_grant() {
    let place = Place::new("");
    let words = place.refused(&["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]);
    assert!(words.contains("needs CAP_NET_ADMIN") && words.contains("AmbientCapabilities="), "{words}");
    assert!(!place.path("run").exists(), "it left something behind");
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let place = Place::new("");
    // Root may write anywhere, but not below a file.
    fs::write(place.path("state"), "").unwrap();
    let words = place.refused(&["env"]);
    let state = place.path("state");
    assert!(words.contains(&format!("cannot write the state directory {}: ", state.display())), "{words}");
    assert!(words.contains("[paths] state"), "{words}");
    fs::remove_dir_all(place.path("run")).unwrap();
    fs::write(place.path("run"), "").unwrap();
    let words = place.refused(&["env"]);
    assert!(words.contains("cannot write the run directory ") && words.contains("[paths] run"), "{words}");
}

const LEAF: &str = "[node]\nrouter_id = \"10.122.0.11\"\n[bgp]\nasn = 4200000011\n[[bgp.peer]]\naddress = \"10.122.101.0\"\nasn = 65001\n";

#[test]
fn a_taken_port_179_is_a_problem_and_not_the_end() {
    let stores = tempfile::tempdir().unwrap();
    let with_store = |name| Place::new(&format!("[store]\nembedded = \"{}/{name}\"\n{LEAF}", stores.path().display()));
    let (first, second) = (with_store("first"), with_store("second"));
    let agent = first.start();
    first.status(|s| s["store"]["state"] == "in sync");
    let pid = agent.process.id().to_string();
    let _other = second.start_behind(&["nsenter", "-n", "-t", &pid]);
    let status = second.status(|s| contains(&s["problems"], "port 179 is taken by another process"));
    assert!(contains(&status["problems"], "ss -ltnp"), "{status:#}");
    // Also the address of the metrics is taken: said, and no more.
    second.status(|s| contains(&s["problems"], "cannot serve metrics on 127.0.0.1:9179"));
    // The first one ends, and the second one listens.
    agent.end(Signal::TERM);
    second.status(|s| !contains(&s["problems"], "port 179"));
}

/// A node with one uplink: its configuration, its own address, and its end of the link.
fn node(stores: &Path, number: u8, peer: &str) -> Place {
    Place::new(&format!(
        "[store]\nembedded = \"{}/{number}\"\n[node]\nname = \"node{number}\"\nrouter_id = \"10.122.0.{number}\"\naddresses = [\"10.122.0.{number}/32\"]\n\
         [bgp]\nasn = 420000000{number}\n[[bgp.peer]]\naddress = \"{peer}\"\nasn = \"external\"\nrole = false\n",
        stores.display()
    ))
}

fn inside(agent: &Agent, line: &str) -> String {
    let pid = agent.process.id().to_string();
    let output = Command::new("nsenter").args(["-n", "-t", &pid, "sh", "-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn two_agents_tell_each_other_their_addresses_and_leave_routes_when_they_stop() {
    let stores = tempfile::tempdir().unwrap();
    let (one, two) = (node(stores.path(), 1, "10.122.101.1"), node(stores.path(), 2, "10.122.101.0"));
    let (first, second) = (one.start(), two.start());
    let pid = second.process.id();
    inside(&first, &format!("ip link add up0 type veth peer name up0 netns {pid}"));
    inside(&first, "ip addr add 10.122.101.0/31 dev up0; ip link set up0 up");
    inside(&second, "ip addr add 10.122.101.1/31 dev up0; ip link set up0 up");
    one.status(|s| s["ready"] == true && s["routes_in_kernel"] == 1);
    two.status(|s| s["ready"] == true && s["routes_in_kernel"] == 1);
    let route = inside(&second, "ip route show 10.122.0.1");
    assert!(route.contains("via 10.122.101.0 dev up0 proto 179 src 10.122.0.2"), "{route}");
    let peers = one.json(&["bgp", "peers"]);
    assert_eq!((&peers[0]["state"], &peers[0]["asn"]), (&"Established".into(), &4_200_000_002_u32.into()), "{peers:#}");
    assert_eq!(one.json(&["bgp", "routes"])[0]["prefix"], "10.122.0.2/32");
    assert_eq!(two.json(&["why", "10.122.0.1/32"])["verdict"], "learned");
    // The other end of a stopped agent lives on in this namespace, so that what it left can be seen.
    let mut holder = Command::new("nsenter");
    holder.args(["-n", "-t", &pid.to_string(), "sh", "-c", "echo; exec sleep 1000"]).stdout(Stdio::piped());
    let mut holder = Agent { process: holder.spawn().unwrap(), notified: UnixDatagram::unbound().unwrap() };
    holder.process.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    assert_eq!(second.end(Signal::TERM), Some(0));
    let route = inside(&holder, "ip route show 10.122.0.1; ip addr show dev lo");
    assert!(route.contains("via 10.122.101.0") && route.contains("10.122.0.2/32"), "{route}");
    one.status(|s| s["peers"][0]["state"] != "Established");
}

#[test]
fn an_etcd_that_is_away_is_named_and_waited_for() {
    let place = Place::new(&format!("[store]\netcd = {{ endpoints = [\"http://127.0.0.1:1\"] }}\n{LEAF}"));
    let _agent = place.start();
    let status = place.status(|s| s["store"]["error"].is_string());
    assert_eq!(status["store"]["error"], "http://127.0.0.1:1 refused the connection: nothing listens there");
    assert_eq!(status["ready"], false);
}

#[test]
fn mistakes_in_the_configuration_come_all_at_once_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    fs::write(&file, "[node]\nroles = [\"wroker\"]\nadresses = []\n").unwrap();
    let check = |file: &Path| Command::new(PETIOLE).args(["config", "check"]).arg(file).output().unwrap();
    let output = check(&file);
    let words = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains(&format!("{}:2:10: ", file.display())) && words.contains("worker"), "{words}");
    assert!(words.contains(&format!("{}:3:1: ", file.display())) && words.contains("addresses"), "{words}");
    assert!(words.ends_with("2 mistakes\n"), "{words}");
    let output = Command::new(PETIOLE).arg("agent").arg("--config").arg(&file).output().unwrap();
    assert!(text(&output).contains("correct them, and check with `petiole config check "), "{}", text(&output));
    fs::write(&file, "[node]\nname = \"worker1\"\nroles = [\"worker\"]\n").unwrap();
    let output = check(&file);
    assert!(output.status.success());
    let words = text(&output);
    assert!(words.starts_with("ok\n  node       worker1 (worker)\n"), "{words}");
    let words = text(&check(&dir.path().join("absent.toml")));
    assert!(words.contains("cannot read ") && words.contains("absent.toml"), "{words}");
}
