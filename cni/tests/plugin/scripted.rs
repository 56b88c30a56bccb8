//! A runtime that runs the plugin once, and an agent that does as it is told.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use petiole_cni::rpc::{Code, Incoming, Request, Response, encode};
use petiole_cni::socket::receive;
use serde_json::{Value, json};

/// What the agent does with a connection.
#[derive(Clone, Debug)]
pub(crate) enum Script {
    /// Answers.
    Respond(Response),
    /// Writes these octets, and hangs up.
    Write(Vec<u8>),
    /// Writes these octets one by one.
    Pieces(Vec<u8>),
    /// Hangs up before it has read anything.
    HangUpAtOnce,
    /// Reads the request, and hangs up.
    HangUpAfterRequest,
    /// Reads the request, and says nothing.
    Silence,
    /// Reads the request, and says an octet of an endless response now and then.
    Drip,
    /// Its queue is full: connecting never ends.
    NeverAccept,
}

/// The agent's socket, in a folder of its own.
pub(crate) struct Agent {
    folder: tempfile::TempDir,
    heard: Receiver<(Request, bool)>,
    /// What fills the queue of an agent that never accepts.
    _queue: Vec<UnixStream>,
}

impl Agent {
    /// An agent that serves one connection.
    pub(crate) fn new(script: Script) -> Self {
        Self::serving(1, script)
    }

    /// An agent that serves one after the other.
    pub(crate) fn many(script: Script) -> Self {
        Self::serving(usize::MAX, script)
    }

    fn serving(connections: usize, script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cni.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut queue = Vec::new();
        if matches!(script, Script::NeverAccept) {
            rustix::net::listen(&listener, 0).unwrap();
            queue.push(UnixStream::connect(&path).unwrap());
        }
        let (sender, heard) = channel();
        // It ends with the test's process: nothing waits for it.
        std::thread::spawn(move || {
            if matches!(script, Script::NeverAccept) {
                std::thread::park();
            }
            for stream in listener.incoming().take(connections) {
                serve(stream.unwrap(), &script, &sender);
            }
        });
        Self { folder, heard, _queue: queue }
    }

    /// A configuration that names this agent's socket.
    pub(crate) fn conf(&self, version: &str) -> Value {
        conf(version, &self.folder.path().join("cni.sock"))
    }

    /// The next request, and whether an open namespace came with it.
    pub(crate) fn heard(&self) -> (Request, bool) {
        self.heard.recv_timeout(Duration::from_secs(30)).expect("the agent was asked")
    }
}

fn serve(mut stream: UnixStream, script: &Script, heard: &Sender<(Request, bool)>) {
    if matches!(script, Script::HangUpAtOnce) {
        return;
    }
    let mut incoming = Incoming::default();
    let mut netns = false;
    let mut buffer = [0; 4096];
    let request = loop {
        let (octets, fd) = receive(&stream, &mut buffer).unwrap();
        assert_ne!(octets, 0, "the plugin hung up before its request was complete");
        assert!(fd.is_none() || incoming.is_empty(), "the namespace comes with the first octet");
        netns |= fd.is_some();
        incoming.extend(&buffer[..octets]).unwrap();
        if let Some(request) = incoming.message().unwrap() {
            break request;
        }
    };
    let _ = heard.send((request, netns));
    match script {
        Script::Respond(response) => stream.write_all(&encode(response).unwrap()).unwrap(),
        Script::Write(bytes) => stream.write_all(bytes).unwrap(),
        Script::Pieces(bytes) => bytes.iter().for_each(|octet| stream.write_all(&[*octet]).unwrap()),
        Script::Silence => std::thread::park(),
        Script::Drip => {
            let mut octets = [200_u8, 0, 0, 0].into_iter().chain(std::iter::repeat(b' '));
            // Until the plugin has had enough.
            while octets.next().is_some_and(|octet| stream.write_all(&[octet]).is_ok()) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Script::HangUpAtOnce | Script::HangUpAfterRequest | Script::NeverAccept => {}
    }
}

/// A configuration with this socket.
pub(crate) fn conf(version: &str, socket: &Path) -> Value {
    json!({ "cniVersion": version, "name": "pods", "type": "petiole", "socket": socket })
}

/// One run of the plugin.
pub(crate) struct Run {
    env: Vec<(&'static str, String)>,
    stdin: String,
}

impl Run {
    pub(crate) fn new(command: &str) -> Self {
        let env = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", "container-1"),
            ("CNI_NETNS", super::NETNS),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", "/opt/cni/bin"),
        ];
        Self { env: env.map(|(name, value)| (name, value.to_owned())).into(), stdin: String::new() }
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.env.retain(|(key, _)| *key != name);
        self
    }

    pub(crate) fn set(mut self, name: &'static str, value: &str) -> Self {
        self = self.without(name);
        self.env.push((name, value.to_owned()));
        self
    }

    pub(crate) fn netns(self, path: &str) -> Self {
        self.set("CNI_NETNS", path)
    }

    pub(crate) fn conf(mut self, conf: Value) -> Self {
        self.stdin = conf.to_string();
        self
    }

    pub(crate) fn stdin(mut self, text: &str) -> Self {
        text.clone_into(&mut self.stdin);
        self
    }

    pub(crate) fn go(self) -> Outcome {
        let mut child = Command::new(env!("CARGO_BIN_EXE_petiole-cni"))
            .env_clear()
            .envs(self.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It stops reading where there is too much.
        let _ = child.stdin.take().unwrap().write_all(self.stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        Outcome { code: output.status.code(), stdout: String::from_utf8(output.stdout).unwrap() }
    }
}

/// How it ended.
pub(crate) struct Outcome {
    code: Option<i32>,
    stdout: String,
}

impl Outcome {
    /// What was printed, if anything.
    #[track_caller]
    pub(crate) fn succeeded(&self) -> Option<Value> {
        assert_eq!(self.code, Some(0), "{}", self.stdout);
        (!self.stdout.is_empty()).then(|| serde_json::from_str(&self.stdout).unwrap())
    }

    /// The error that was printed on standard output.
    #[track_caller]
    pub(crate) fn failed(&self, code: Code) -> Value {
        assert_eq!(self.code, Some(1), "{}", self.stdout);
        let error: Value = serde_json::from_str(&self.stdout).unwrap();
        assert_eq!(error["code"], json!(code), "{error}");
        assert!(error["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{error}");
        error
    }
}
