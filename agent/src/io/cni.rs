//! The CNI plugin's socket: one request and one answer a connection, the network namespace beside the request.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use petiole_cni::rpc::{self, Code, Command, Failure, Incoming, Mode, Request, Response};
use petiole_cni::socket;
use petiole_node::Input;
use petiole_node::pods::{Attach, Attachment, CniFailure, CniFault, CniId, CniReply, CniRequest};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};

mod answer;

/// How long a plugin may take to say what it wants.
const SAYING: Duration = Duration::from_secs(5);
/// How long the node may take; each of its own patiences is shorter.
const PATIENCE: Duration = Duration::from_secs(60);
/// Octets that are read at once: nearly every request is shorter.
const CHUNK: usize = 8192;

/// Where requests wait for their answers, with the namespaces that came with them.
#[derive(Clone, Debug)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    inputs: mpsc::Sender<Input>,
    /// The node's own address: what pods under `ptp` take for their router.
    router: Option<Ipv4Addr>,
    waiting: Mutex<BTreeMap<CniId, Waiting>>,
    next: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    netns: Option<Arc<OwnedFd>>,
    answer: oneshot::Sender<CniReply>,
}

impl Desk {
    /// A desk that puts requests on this channel.
    #[must_use]
    pub fn new(inputs: mpsc::Sender<Input>, router: Option<Ipv4Addr>) -> Self {
        Self(Arc::new(Inner { inputs, router, waiting: Mutex::default(), next: AtomicU64::new(0) }))
    }

    /// The node's answer; the namespace is closed with it, once nothing works in it any more.
    pub fn reply(&self, id: CniId, result: CniReply) {
        if let Some(waiting) = self.waiting(|waiting| waiting.remove(&id)) {
            // Whoever hung up does not want to know; the runtime's DEL cleans up.
            let _ = waiting.answer.send(result);
        }
    }

    /// The namespace that came with a request.
    #[must_use]
    pub fn netns(&self, id: CniId) -> Option<Arc<OwnedFd>> {
        self.waiting(|waiting| waiting.get(&id).and_then(|w| w.netns.clone()))
    }

    async fn ask(&self, request: CniRequest, netns: Option<OwnedFd>) -> CniReply {
        let id = CniId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        self.waiting(|waiting| waiting.insert(id, Waiting { netns: netns.map(Arc::new), answer }));
        let asked = async {
            self.0.inputs.send(Input::Cni { id, request }).await.ok()?;
            answered.await.ok()
        };
        let again = |words: &str| Err(CniFailure { kind: CniFault::TryAgain, words: words.to_owned() });
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Some(reply)) => reply,
            Ok(None) => again("the agent is stopping; try again"),
            // The entry stays: the node still answers it, and may need the namespace.
            Err(_) => again("the agent did not answer in time; try again"),
        }
    }

    fn waiting<R>(&self, with: impl FnOnce(&mut BTreeMap<CniId, Waiting>) -> R) -> R {
        with(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serve plugins until the agent ends.
pub async fn serve(listener: UnixListener, desk: Desk) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = desk.clone();
                tokio::spawn(async move {
                    if let Err(e) = attend(stream, &desk).await {
                        tracing::debug!("a CNI plugin hung up: {e}");
                    }
                });
            }
            Err(e) => {
                // Out of descriptors, most likely: others are closed meanwhile.
                tracing::warn!("cannot take a connection of a CNI plugin: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn attend(mut stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let read = tokio::time::timeout(SAYING, request(&stream)).await.map_err(io::Error::from)?;
    let response = match read? {
        Err(failure) => Response::Failed(failure),
        Ok((request, netns)) => {
            let (mode, under, interface) = (request.mode, request.under.clone(), request.interface.clone());
            let router = desk.0.router.filter(|_| under.as_deref() == Some("ptp"));
            answer::response(desk.ask(asked(request), netns).await, mode, router, &interface)
        }
    };
    let frame = rpc::encode(&response).map_err(io::Error::other)?;
    stream.write_all(&frame).await?;
    stream.shutdown().await
}

/// One request, with its namespace; the inner error is the plugin's to be told.
async fn request(stream: &UnixStream) -> io::Result<Result<(Request, Option<OwnedFd>), Failure>> {
    let mut incoming = Incoming::default();
    let mut netns = None;
    let mut buffer = vec![0; CHUNK];
    loop {
        stream.readable().await?;
        let received = stream.try_io(Interest::READABLE, || socket::receive(stream, &mut buffer));
        let (count, fd) = match received {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
            other => other?,
        };
        if netns.is_none() {
            netns = fd;
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let message =
            incoming.extend(buffer.get(..count).unwrap_or_default()).and_then(|()| incoming.message::<Request>());
        match message {
            Ok(None) => {}
            Ok(Some(request)) if request.version > rpc::VERSION => {
                let words = format!(
                    "the plugin speaks version {} of the agent's socket, the agent version {}: install the agent's own plugin",
                    request.version,
                    rpc::VERSION
                );
                return Ok(Err(Failure::new(Code::VERSION, words)));
            }
            Ok(Some(request)) => return Ok(Ok((request, netns))),
            Err(e) => return Ok(Err(Failure::new(Code::DECODE, format!("the plugin's request makes no sense: {e}")))),
        }
    }
}

fn asked(request: Request) -> CniRequest {
    let attachment = Attachment { container: request.container, interface: request.interface };
    match request.command {
        Command::Add => CniRequest::Add(Box::new(Attach {
            network: request.network,
            attachment,
            netns: request.netns,
            addresses_only: request.mode == Mode::Ipam,
            bridge: request.bridge,
            pod: request.pod.map(|p| (p.namespace, p.name)),
            ips: request.ips,
            mac: request.mac.map(|m| m.0),
            mtu: request.mtu,
            pools: request.pools,
        })),
        Command::Del => CniRequest::Del(attachment),
        Command::Check => {
            let prev = request.prev.unwrap_or_default();
            CniRequest::Check { attachment, addresses: prev.ips.iter().map(|ip| ip.address.address()).collect() }
        }
        Command::Status => CniRequest::Status,
        Command::Gc => {
            let valid = request.valid.into_iter();
            let valid = valid.map(|a| Attachment { container: a.container, interface: a.interface });
            CniRequest::Gc { network: request.network, valid: valid.collect() }
        }
    }
}
