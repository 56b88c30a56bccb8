//! A plugin as a runtime runs it, and a ping without a process.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto, recv, sendto, socket_with};
use serde_json::Value;

use crate::{Netns, netns};

/// After that long a ping counts as lost.
const LOST: Duration = Duration::from_secs(2);

/// One run of a plugin, from before its process was made until it had ended.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) begin: Instant,
    pub(super) end: Instant,
    stdout: Vec<u8>,
}

impl Called {
    pub(super) fn took(&self) -> Duration {
        self.end.saturating_duration_since(self.begin)
    }

    /// The addresses of the result.
    pub(super) fn addresses(&self) -> Result<Vec<IpAddr>> {
        let result: Value = serde_json::from_slice(&self.stdout)?;
        let ips = result["ips"].as_array().context("a result without addresses")?;
        let hosts = ips.iter().filter_map(|ip| ip["address"].as_str()?.split('/').next());
        hosts.map(|host| host.parse().with_context(|| host.to_owned())).collect()
    }
}

/// Runs `work` in a namespace, on a thread of its own.
pub(super) fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let done = scope.spawn(|| {
            enter(netns)?;
            work()
        });
        done.join().map_err(|_| anyhow!("a thread of the bench panicked"))?
    })
}

/// Moves this thread into a namespace.
pub(super) fn enter(netns: &Netns) -> Result<()> {
    let namespace = File::open(netns::path(netns.name()))?;
    let kind = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(namespace.as_fd(), kind).context("setns")
}

/// Runs a plugin in this thread's namespace.
pub(super) fn plugin(plugin: &Path, conf: &Path, command: &str, container: &str, pod: &Netns) -> Result<Called> {
    let conf = File::open(conf)?;
    let mut run = Command::new(plugin);
    run.env_clear().env("CNI_COMMAND", command).env("CNI_CONTAINERID", container).env("CNI_IFNAME", "eth0");
    run.env("CNI_NETNS", netns::path(pod.name())).env("CNI_PATH", "/usr/lib/cni").env("PATH", "/usr/sbin:/usr/bin");
    run.stdin(Stdio::from(conf)).stdout(Stdio::piped()).stderr(Stdio::null());
    let begin = Instant::now();
    let mut child = run.spawn().with_context(|| plugin.display().to_string())?;
    let mut stdout = Vec::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut stdout)?;
    }
    let status = child.wait()?;
    let end = Instant::now();
    if !status.success() {
        bail!("{command} {container} by {}: {}", plugin.display(), String::from_utf8_lossy(&stdout));
    }
    Ok(Called { begin, end, stdout })
}

/// Where a ping comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum From {
    /// The pod's own node.
    Node,
    /// The leaf: the node forwards it.
    Leaf,
}

/// Raw sockets of one namespace, open before there is anything to measure.
#[derive(Debug)]
pub(super) struct Pinger {
    v4: OwnedFd,
    v6: OwnedFd,
}

impl Pinger {
    pub(super) fn open(netns: &Netns) -> Result<Self> {
        inside(netns, || {
            let open = |family, protocol| -> Result<OwnedFd> {
                let socket = socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
                set_socket_timeout(&socket, Timeout::Recv, Some(LOST))?;
                Ok(socket)
            };
            Ok(Self { v4: open(AddressFamily::INET, ipproto::ICMP)?, v6: open(AddressFamily::INET6, ipproto::ICMPV6)? })
        })
    }

    /// Sends one echo request; when its answer was read, or when it counts as lost. RFC 792, RFC 4443 section 4.
    pub(super) fn ping(&self, to: IpAddr, number: u16) -> Result<Instant> {
        let (socket, request, reply, header) = match to {
            IpAddr::V4(_) => (&self.v4, 8, 0, 20),
            // The kernel keeps the IPv6 header to itself, and writes the checksum.
            IpAddr::V6(_) => (&self.v6, 128, 129, 0),
        };
        let [high, low] = number.to_be_bytes();
        let mut echo = [request, 0, 0, 0, 0x5e, 0x71, high, low];
        if to.is_ipv4() {
            let [a, b] = checksum(&echo).to_be_bytes();
            echo[2..4].copy_from_slice(&[a, b]);
        }
        sendto(socket, &echo, SendFlags::empty(), &SocketAddr::new(to, 0)).with_context(|| format!("ping {to}"))?;
        let mut buffer = [0; 2048];
        let end = Instant::now() + LOST;
        while Instant::now() < end {
            let length = match recv(socket, &mut buffer, RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).with_context(|| format!("ping {to}")),
            };
            let at = Instant::now();
            let icmp = buffer.get(header..length).unwrap_or_default();
            if icmp.first() == Some(&reply) && icmp.get(4..8) == echo.get(4..8) {
                return Ok(at);
            }
        }
        Ok(Instant::now())
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(u16::MAX)
}
