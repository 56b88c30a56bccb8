//! What plugin and agent say to each other.
//!
//! A connection to the unix stream socket [`SOCKET`] carries one request and one response. Each is a frame: the length of
//! the body in octets, as u32 little-endian and at most [`MAX_BODY`], and the body, JSON. The open network namespace of
//! `CNI_NETNS`, where there is one, travels with the first octet of the request (see [`crate::socket`]): so an agent in
//! a container, with a mount namespace of its own, needs no path.
//!
//! During an upgrade plugin and agent may be of different versions: fields that are not known are passed over, fields that
//! are missing are empty. [`VERSION`] grows only when an old reader would do the wrong thing.

use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Cidr, Mac};

/// Where the agent listens unless it is told otherwise.
pub const SOCKET: &str = "/run/petiole/cni.sock";

/// The version of requests and responses that this crate speaks.
pub const VERSION: u32 = 1;

/// The longest body of a frame, in octets.
pub const MAX_BODY: usize = 1 << 20;

/// Octets before the body: its length.
pub const HEADER: usize = 4;

/// What the runtime wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`] of the plugin. An agent that does not know it answers [`Code::VERSION`].
    pub version: u32,
    /// The operation.
    pub command: Command,
    /// Who asks: the runtime, or another plugin for addresses alone.
    pub mode: Mode,
    /// The plugin that wants addresses in [`Mode::Ipam`]: `type` of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<String>,
    /// The bridge that the other plugin puts the container on and gives an address: `bridge`, under the plugin of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<String>,
    /// The name of the network, from the configuration: `name`.
    pub network: String,
    /// `CNI_CONTAINERID`: not empty but for STATUS and GC.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// `CNI_IFNAME`, the interface's name in the container: not empty but for STATUS and GC.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub interface: String,
    /// `CNI_NETNS` as the runtime said it, for the record: the namespace itself comes beside the request, and may be gone
    /// at DEL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// The pod, where the runtime is Kubernetes'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// The addresses asked for by name: `runtimeConfig.ips`, `args.cni.ips` and `IP` of `CNI_ARGS`, in this order, without
    /// repeats. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ips: Vec<IpAddr>,
    /// The link-layer address asked for: `runtimeConfig.mac`, else `args.cni.mac`, else `MAC` of `CNI_ARGS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The MTU that the configuration asks for, in octets. `None`: the uplink's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The names or prefixes of the pools that the configuration allows, `ipam.pools`. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
    /// What ADD once answered, changed perhaps by plugins after us. Always there for CHECK, never for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<Previous>,
    /// What GC leaves: everything else of this network goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub valid: Vec<Attachment>,
    /// How long the plugin will wait for the response, in milliseconds. Zero: it does not say.
    #[serde(default)]
    pub patience_ms: u64,
}

/// An operation of the CNI specification. VERSION is answered without the agent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Command {
    /// Attach a container.
    Add,
    /// Detach it, and give its addresses back.
    Del,
    /// Say whether the attachment is as ADD left it.
    Check,
    /// Say whether ADD would be served.
    Status,
    /// Detach everything that is not listed as valid.
    Gc,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `"type": "petiole"`: interface, routes and addresses.
    Wire,
    /// `"ipam": {"type": "petiole"}` below another plugin, such as ptp or bridge: addresses only, and the other plugin
    /// touches the namespace.
    Ipam,
}

/// The pod that the container is the sandbox of: `K8S_POD_*` of `CNI_ARGS`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pod {
    /// `K8S_POD_NAMESPACE`.
    pub namespace: String,
    /// `K8S_POD_NAME`.
    pub name: String,
    /// `K8S_POD_UID`, which older runtimes leave out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// `K8S_POD_INFRA_CONTAINER_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infra_container: Option<String>,
}

/// One attachment of a container: what addresses belong to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Attachment {
    /// The container's id.
    pub container: String,
    /// The interface's name in the container.
    pub interface: String,
}

/// A result of ADD, reduced to what CHECK needs.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Previous {
    /// The interfaces, in their order: `ips` point into it.
    #[serde(default)]
    pub interfaces: Vec<PreviousInterface>,
    /// The addresses.
    #[serde(default)]
    pub ips: Vec<PreviousAddress>,
    /// The routes in the container.
    #[serde(default)]
    pub routes: Vec<Route>,
}

/// An interface of a [`Previous`] result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreviousInterface {
    /// Its name.
    pub name: String,
    /// Its link-layer address, where the result said one that can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The path of the namespace it is in. `None`: the host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
}

/// An address of a [`Previous`] result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreviousAddress {
    /// Address and length.
    pub address: Cidr,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The index of its interface in [`Previous::interfaces`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<u32>,
}

/// What the agent answers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// ADD is done.
    Added(Added),
    /// DEL, CHECK, STATUS or GC is done, and there is nothing to complain of.
    Done,
    /// It is not done.
    Failed(Failure),
}

/// What ADD has made.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Added {
    /// The end in the host's namespace. `None` in [`Mode::Ipam`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Interface>,
    /// The end in the container; its namespace is the request's. `None` in [`Mode::Ipam`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Interface>,
    /// The container's addresses.
    #[serde(default)]
    pub addresses: Vec<Address>,
    /// The container's routes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// The MTU of both ends, in octets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// An interface that ADD has made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: Mac,
}

/// An address that ADD has given.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Address {
    /// Address and length: /32 and /128 unless another plugin does the wiring.
    pub address: Cidr,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// A route in the container.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Route {
    /// Where it leads.
    pub dst: Cidr,
    /// Over which gateway. `None`: the destination is on the link, or the address's gateway serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// Why it was not done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("{msg}")]
pub struct Failure {
    /// What the runtime acts on.
    pub code: Code,
    /// Whose fault, where, and what to do: one sentence.
    pub msg: String,
    /// More, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub details: String,
}

impl Failure {
    /// A failure without details.
    pub fn new(code: Code, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into(), details: String::new() }
    }

    /// The same with details.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }
}

/// An error code of the CNI specification. Its number is the whole of it: codes from 100 on are ours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Code(pub u32);

impl Code {
    /// 1: the version of the configuration, or of the request, is not spoken here.
    pub const VERSION: Self = Self(1);
    /// 2: a field of the configuration is not supported; the message says key and value.
    pub const UNSUPPORTED: Self = Self(2);
    /// 3: the container is not known or does not exist: the runtime need not call DEL.
    pub const UNKNOWN_CONTAINER: Self = Self(3);
    /// 4: the environment is wrong: a name is missing, or its value is not valid.
    pub const ENVIRONMENT: Self = Self(4);
    /// 5: reading or writing failed.
    pub const IO: Self = Self(5);
    /// 6: what was read is not what it should be: JSON, or a frame.
    pub const DECODE: Self = Self(6);
    /// 7: the configuration is wrong.
    pub const CONFIG: Self = Self(7);
    /// 11: not now; the runtime should try again.
    pub const TRY_AGAIN: Self = Self(11);
    /// 50: ADD would not be served.
    pub const NOT_AVAILABLE: Self = Self(50);
    /// 51: ADD would not be served, and containers that exist may be cut off.
    pub const LIMITED: Self = Self(51);
    /// 100: CHECK found that the attachment is not as ADD left it.
    pub const NOT_AS_LEFT: Self = Self(100);
    /// 101: the interface, or the addresses of it, exist already and are not this attachment's.
    pub const EXISTS: Self = Self(101);
    /// 102: the kernel refused.
    pub const KERNEL: Self = Self(102);
    /// 103: there is no address to be had, and trying again soon will not change that.
    pub const EXHAUSTED: Self = Self(103);
    /// 104: the address asked for is held by another.
    pub const ADDRESS_IN_USE: Self = Self(104);
    /// 199: a fault of Petiole.
    pub const INTERNAL: Self = Self(199);
}

/// Why bytes are no frame, or a message makes none.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The body is longer than [`MAX_BODY`].
    #[error("a frame of {0} octets is longer than the {MAX_BODY} that are allowed")]
    TooLong(usize),
    /// There are octets behind the frame.
    #[error("{0} octets follow the one frame that a connection carries in each direction")]
    Trailing(usize),
    /// The body is no JSON of the expected shape.
    #[error("the body of the frame cannot be read: {0}")]
    Body(#[from] serde_json::Error),
}

/// A message as a frame.
///
/// # Errors
/// [`FrameError::TooLong`], and [`FrameError::Body`] for a message that has no JSON.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; HEADER];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len().saturating_sub(HEADER);
    let header = u32::try_from(length).ok().filter(|_| length <= MAX_BODY).ok_or(FrameError::TooLong(length))?;
    if let Some(place) = frame.first_chunk_mut() {
        *place = header.to_le_bytes();
    }
    Ok(frame)
}

/// Collects the octets of one frame, in whatever pieces they come.
#[derive(Default, Debug)]
pub struct Incoming {
    bytes: Vec<u8>,
}

impl Incoming {
    /// Takes octets in.
    ///
    /// # Errors
    /// As soon as the frame is longer than allowed, or octets follow it: nothing that comes later can mend it.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        // Bounded before it is stored, so that no more than one frame and one read are ever held.
        self.bytes.extend_from_slice(bytes);
        let Some(length) = self.length() else { return Ok(()) };
        if length > MAX_BODY {
            return Err(FrameError::TooLong(length));
        }
        match self.bytes.len().saturating_sub(HEADER).saturating_sub(length) {
            0 => Ok(()),
            more => Err(FrameError::Trailing(more)),
        }
    }

    /// The message, once all of it is there.
    ///
    /// # Errors
    /// When the frame is complete and its body cannot be read.
    pub fn message<T: DeserializeOwned>(&self) -> Result<Option<T>, FrameError> {
        let body = self.bytes.get(HEADER..).unwrap_or_default();
        if self.length() != Some(body.len()) {
            return Ok(None);
        }
        Ok(Some(serde_json::from_slice(body)?))
    }

    /// Whether not one octet has come.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn length(&self) -> Option<usize> {
        let header = self.bytes.first_chunk::<HEADER>()?;
        usize::try_from(u32::from_le_bytes(*header)).ok()
    }
}

#[cfg(test)]
mod tests;
