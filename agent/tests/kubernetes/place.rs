//! Where the real executable runs: a network namespace of its own, from which the API server is reached all the same.
//!
//! Needs root, iproute2 and util-linux (`unshare`).

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use crate::PLENTY;
use crate::server::Server;

/// The leaf at the other end of the uplink, whether it is there or not.
pub(crate) const LEAF: &str = "[bgp]\nasn = 4200000011\n[[bgp.peer]]\naddress = \"10.122.101.0\"\nasn = 65001\n";
const PETIOLE: &str = env!("CARGO_BIN_EXE_petiole");

/// A folder with a configuration, and the network namespace of the agents that use it.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    /// Holds the namespace.
    holder: Child,
}

impl Place {
    pub(crate) fn new(server: &Server) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let up = "ip link set lo up; ip link add up0 type veth peer name leaf0; ip link set leaf0 up; ip link set up0 up; \
                  ip addr add 10.122.101.1/31 dev up0; touch \"$0\"; exec sleep 1000000";
        let ready = dir.path().join("ready");
        let mut holder = Command::new("unshare");
        holder.args(["--net", "sh", "-ec", up]).arg(&ready).stdin(Stdio::null());
        let place = Self { dir, holder: holder.spawn().unwrap() };
        wait("the namespace is there", || ready.exists().then_some(()).ok_or_else(String::new));
        // The agents' loopback leads to the API server too.
        let port = server.port();
        let net = place.net();
        let listener = thread::spawn(move || {
            move_into_link_name_space(File::open(net).unwrap().as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap()
        });
        let listener = listener.join().unwrap();
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                    relay(near, far);
                }
            }
        });
        place
    }

    pub(crate) fn net(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.holder.id()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// An agent with this configuration, the paths aside.
    pub(crate) fn start(&self, config: &str) -> Agent {
        let dir = self.dir.path().display();
        let config = format!(
            "{config}[store]\nembedded = \"{dir}/store\"\n[paths]\nstate = \"{dir}/state\"\nrun = \"{dir}/run\"\n"
        );
        fs::write(self.path("petiole.toml"), config).unwrap();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.net().display())).args([PETIOLE, "agent", "--config"]);
        Agent(command.arg(self.path("petiole.toml")).stdin(Stdio::null()).stderr(log).spawn().unwrap())
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(PETIOLE).args(arguments).arg("--config").arg(self.path("petiole.toml")).output();
        let output = output.unwrap();
        let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), words)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn status(&self) -> Result<Value, String> {
        let (_, words) = self.ask(&["status", "-o", "json"]);
        serde_json::from_str(&words).map_err(|_| format!("{words}\n{}", self.log()))
    }

    /// Waits until `petiole status` shows this state of the Node object, and problems with all of these words; the log has them too.
    pub(crate) fn says(&self, state: &str, words: &[&str]) {
        wait(state, || {
            let status = self.status()?;
            let problems = status["problems"].to_string();
            let is = status["kubernetes"]["state"] == state && words.iter().all(|it| problems.contains(it));
            is.then_some(()).ok_or_else(|| format!("{status:#}"))
        });
        let (_, shown) = self.ask(&["status"]);
        let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        let log = self.log();
        for it in words {
            assert!(shown.contains(it), "{it}: {shown}");
            assert!(log.contains(it), "{it}: {log}");
        }
    }

    /// Waits until `petiole status` shows that the API is away.
    pub(crate) fn is_away(&self) {
        wait("the API is away", || {
            let status = self.status()?;
            (status["kubernetes"]["state"] == "away").then_some(()).ok_or_else(|| format!("{status:#}"))
        });
    }

    /// Waits until the API is of use again, and nothing of these words is a problem any more.
    pub(crate) fn is_well(&self, words: &[&str]) {
        wait("it is over", || {
            let status = self.status()?;
            let problems = status["problems"].to_string();
            let is = status["kubernetes"]["state"] == "watching" && !words.iter().any(|it| problems.contains(it));
            is.then_some(()).ok_or_else(|| format!("{status:#}"))
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

pub(crate) struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn wait<T>(what: &str, mut is: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PLENTY;
    loop {
        match is() {
            Ok(it) => return it,
            Err(why) => assert!(Instant::now() < deadline, "{what}: {why}"),
        }
        thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// Both ways, until either end is done.
fn relay(near: TcpStream, far: TcpStream) {
    let (near, far) = (Arc::new(near), Arc::new(far));
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        thread::spawn(move || {
            let _ = io::copy(&mut &*from, &mut &*to);
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}
