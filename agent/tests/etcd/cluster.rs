//! Real etcd members on loopback ports, ended with the test.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::ports::free_port;

pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    members: Vec<Member>,
    flags: Vec<String>,
}

struct Member {
    client: u16,
    peer: u16,
    process: Option<Child>,
}

impl Cluster {
    /// Plain HTTP members that have elected a leader.
    pub(crate) fn start(count: usize) -> Self {
        Self::start_with(count, Vec::new())
    }

    /// Members with more flags of etcd's.
    pub(crate) fn start_with(count: usize, flags: Vec<String>) -> Self {
        let members = (0..count).map(|_| Member { client: free_port(), peer: free_port(), process: None }).collect();
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), members, flags };
        for n in 0..count {
            cluster.spawn(n);
        }
        for n in 0..count {
            cluster.await_healthy(n);
        }
        cluster
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|m| format!("{}://127.0.0.1:{}", self.scheme(), m.client)).collect()
    }

    fn scheme(&self) -> &'static str {
        if self.with_tls() { "https" } else { "http" }
    }

    fn with_tls(&self) -> bool {
        self.flags.iter().any(|flag| flag == "--cert-file")
    }

    pub(crate) fn kill(&mut self, n: usize) {
        if let Some(mut process) = self.members[n].process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Stopped in the middle of whatever it does: its connections stay open and say nothing.
    pub(crate) fn freeze(&self, n: usize) {
        let process = self.members[n].process.as_ref().unwrap();
        kill_process(Pid::from_child(process), Signal::STOP).unwrap();
    }

    /// Goes on where it was stopped.
    pub(crate) fn thaw(&self, n: usize) {
        let process = self.members[n].process.as_ref().unwrap();
        kill_process(Pid::from_child(process), Signal::CONT).unwrap();
    }

    pub(crate) fn restart(&mut self, n: usize) {
        self.spawn(n);
    }

    fn spawn(&mut self, n: usize) {
        let name = |n: usize| format!("m{n}");
        let initial: Vec<String> =
            self.members.iter().enumerate().map(|(n, m)| format!("{}=http://127.0.0.1:{}", name(n), m.peer)).collect();
        let member = &self.members[n];
        let client = format!("{}://127.0.0.1:{}", self.scheme(), member.client);
        let peer = format!("http://127.0.0.1:{}", member.peer);
        let log = File::create(self.dir.path().join(format!("{}.log", name(n)))).unwrap();
        let process = Command::new("etcd")
            .args(["--name", &name(n), "--data-dir"])
            .arg(self.dir.path().join(name(n)))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &initial.join(","), "--log-level", "warn", "--logger", "zap"])
            // The disk of a test machine is shared: what counts here is not durability.
            .arg("--unsafe-no-fsync")
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd is not installed: `cargo xtask test` installs it");
        self.members[n].process = Some(process);
    }

    pub(crate) fn await_healthy(&self, n: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let port = self.members[n].client;
        while Instant::now() < deadline {
            // Behind TLS, listening is all that can be seen from here.
            let ready =
                if self.with_tls() { TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() } else { healthy(port) };
            if ready {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("etcd does not come up:\n{}", read(&self.dir.path().join(format!("m{n}.log"))));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for n in 0..self.members.len() {
            self.kill(n);
        }
    }
}

fn healthy(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains("\"true\""))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
