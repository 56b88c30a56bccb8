//! One real etcd member on loopback, and what it counts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

/// How long it may take to serve.
const WITHIN: Duration = Duration::from_secs(60);

/// A member that ends with this value.
pub(super) struct Etcd {
    folder: TempDir,
    client: u16,
    peer: u16,
    process: Option<Child>,
}

impl Etcd {
    pub(super) fn start() -> Result<Self> {
        let mut etcd = Self { folder: TempDir::new()?, client: free_port()?, peer: free_port()?, process: None };
        etcd.run()?;
        Ok(etcd)
    }

    fn run(&mut self) -> Result<()> {
        let client = self.endpoint();
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let process = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "warn", "--logger", "zap"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.folder.path().join("log"))?)
            .spawn()
            .context("etcd cannot be started")?;
        self.process = Some(process);
        let start = Instant::now();
        while !self.get("/health").is_ok_and(|answer| answer.contains("\"true\"")) {
            ensure!(start.elapsed() < WITHIN, "etcd does not come up");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Killed, and started again over the same data.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.kill();
        self.run()
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ended = process.kill().and_then(|()| process.wait());
        }
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    /// What its own tool prints.
    pub(super) fn ctl(&self, args: &[&str]) -> Result<String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.endpoint()))
            .args(args)
            .output()
            .context("etcdctl")?;
        ensure!(output.status.success(), "etcdctl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.client))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub(super) fn counts(&self) -> Result<Counts> {
        let text = self.get("/metrics")?;
        let mut counts = Counts::default();
        for line in text.lines() {
            let Some((name, value)) = line.rsplit_once(' ') else { continue };
            let value: f64 = value.parse().unwrap_or(0.0);
            if name == "process_cpu_seconds_total" {
                counts.cpu = value;
            }
            let Some(method) = name.split_once("grpc_method=\"").and_then(|(_, rest)| rest.split('"').next()) else {
                continue;
            };
            // A unary call is one message; on a stream each question is one.
            if name.starts_with("grpc_server_msg_received_total{") {
                *counts.asked.entry(method.to_owned()).or_default() += value as u64;
            }
        }
        Ok(counts)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Messages that clients sent, by method: requests, and questions on streams.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    asked: BTreeMap<String, u64>,
    /// Processor seconds since its start.
    pub(super) cpu: f64,
}

impl Counts {
    pub(super) fn of(&self, method: &str) -> u64 {
        self.asked.get(method).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> u64 {
        self.asked.values().sum()
    }

    pub(super) fn since(&self, before: &Self) -> Self {
        let asked = self.asked.iter().map(|(method, n)| (method.clone(), n.saturating_sub(before.of(method))));
        Self { asked: asked.filter(|(_, n)| *n > 0).collect(), cpu: self.cpu - before.cpu }
    }

    /// `12 Status, 3 Txn`.
    pub(super) fn words(&self) -> String {
        let each: Vec<String> =
            self.asked.iter().filter(|(_, n)| **n > 0).map(|(method, n)| format!("{n} {method}")).collect();
        if each.is_empty() { "none".to_owned() } else { each.join(", ") }
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
