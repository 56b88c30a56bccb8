//! A real kube-apiserver and its etcd on loopback ports, ended with the test.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::ports::free_port;

/// Who the agent is in a cluster.
const AGENT: &str = "system:serviceaccount:petiole-system:petiole";
const AUDIT: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{ level: Metadata }]\n";

pub(crate) struct Server {
    dir: tempfile::TempDir,
    programs: PathBuf,
    etcd_port: u16,
    port: u16,
    etcd: Child,
    server: Option<Child>,
}

impl Server {
    /// `None`, with words, where the programs are not built.
    pub(crate) fn start(test: &str) -> Option<Self> {
        let own = std::env::current_exe().unwrap();
        let programs = own.ancestors().nth(3).unwrap().join("kubernetes/bin");
        if !programs.join("kube-apiserver").is_file() || !programs.join("kubectl").is_file() {
            println!("not checked: {test}: no kube-apiserver is built; `cargo xtask kubernetes` says how");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        write_credentials(dir.path());
        let (etcd_port, peer) = (free_port(), free_port());
        let url = format!("http://127.0.0.1:{etcd_port}");
        let peer = format!("http://127.0.0.1:{peer}");
        let etcd = Command::new("etcd")
            .arg("--data-dir")
            .arg(dir.path().join("etcd"))
            .args(["--listen-client-urls", &url, "--advertise-client-urls", &url])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("etcd.log")).unwrap())
            .spawn()
            .expect("etcd is not installed: `cargo xtask test` installs it");
        let mut server = Self { dir, programs, etcd_port, port: free_port(), etcd, server: None };
        server.run();
        server.apply("clusterrole.yaml");
        Some(server)
    }

    /// Applies a file of the manifests.
    pub(crate) fn apply(&self, name: &str) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes/base").join(name);
        self.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    }

    /// Starts the API server, and waits until it is ready.
    pub(crate) fn run(&mut self) {
        let place = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        let log = fs::OpenOptions::new().create(true).append(true).open(place("apiserver.log")).unwrap();
        let process = Command::new(self.programs.join("kube-apiserver"))
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .args(["--bind-address=127.0.0.1", "--advertise-address=10.122.255.1"])
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--tls-cert-file={}", place("server.crt")))
            .arg(format!("--tls-private-key-file={}", place("server.key")))
            .arg("--service-account-issuer=https://petiole.test")
            .arg(format!("--service-account-signing-key-file={}", place("server.key")))
            .arg(format!("--service-account-key-file={}", place("server.pub")))
            .arg("--service-cluster-ip-range=10.123.0.0/17")
            .args(["--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition"])
            .arg(format!("--token-auth-file={}", place("tokens.csv")))
            .arg(format!("--audit-policy-file={}", place("audit.yaml")))
            .arg(format!("--audit-log-path={}", place("audit.log")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(process);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.try_kubectl(&["get", "--raw", "/readyz"]).status.success() {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap().is_some();
            if ended || Instant::now() > deadline {
                let log = fs::read_to_string(place("apiserver.log")).unwrap();
                panic!("kube-apiserver is not ready: {}", log.lines().last().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Where it listens.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// A kubeconfig with this token: `agent`, `stranger` (known, without rights), or another one, which is as an expired one.
    pub(crate) fn kubeconfig(&self, token: &str) -> PathBuf {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: it\n\
             clusters: [{{ name: it, cluster: {{ server: 'https://127.0.0.1:{}', certificate-authority: {} }} }}]\n\
             users: [{{ name: it, user: {{ token: {token} }} }}]\n\
             contexts: [{{ name: it, context: {{ cluster: it, user: it }} }}]\n",
            self.port,
            self.dir.path().join("ca.crt").display(),
        );
        // A token may be longer than the name of a file.
        let name: String = token.chars().rev().take(60).collect();
        let file = self.dir.path().join(format!("{name}.conf"));
        fs::write(&file, text).unwrap();
        file
    }

    /// As an administrator.
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let output = self.try_kubectl(args);
        assert!(output.status.success(), "kubectl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn try_kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_as(&self.kubeconfig("admin"), args)
    }

    /// As whoever the kubeconfig says.
    pub(crate) fn kubectl_as(&self, kubeconfig: &Path, args: &[&str]) -> Output {
        Command::new(self.programs.join("kubectl")).arg("--kubeconfig").arg(kubeconfig).args(args).output().unwrap()
    }

    /// Makes an object.
    pub(crate) fn create(&self, object: &Value) {
        let file = self.dir.path().join("object.json");
        fs::write(&file, object.to_string()).unwrap();
        self.kubectl(&["create", "-f", file.to_str().unwrap()]);
    }

    /// What the agent asked, as the server itself wrote it down: verb and address.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.dir.path().join("audit.log")).unwrap_or_default();
        let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        entries
            .filter(|entry| {
                entry["user"]["username"] == AGENT && entry["stage"] != "ResponseComplete" || is_short(entry)
            })
            .map(|entry| (entry["verb"].as_str().unwrap().to_owned(), entry["requestURI"].as_str().unwrap().to_owned()))
            .collect()
    }
}

/// Not a watch, which is written down when it begins and when it ends.
fn is_short(entry: &Value) -> bool {
    entry["user"]["username"] == AGENT && entry["verb"] != "watch"
}

fn write_credentials(dir: &Path) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(dir.join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(dir.join("server.crt"), server.pem()).unwrap();
    fs::write(dir.join("server.key"), key.serialize_pem()).unwrap();
    fs::write(dir.join("server.pub"), key.public_key_pem()).unwrap();
    fs::write(dir.join("audit.yaml"), AUDIT).unwrap();
    let mut tokens = File::create(dir.join("tokens.csv")).unwrap();
    writeln!(tokens, "admin,admin,1,system:masters\nagent,{AGENT},2\nstranger,stranger,3").unwrap();
}

impl Drop for Server {
    fn drop(&mut self) {
        for process in self.server.iter_mut().chain([&mut self.etcd]) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
