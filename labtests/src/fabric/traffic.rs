//! Packets: pods wired by hand, and streams of pings that count what is lost.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::NodeHandle;
use crate::command::Spawned;
use crate::fabric::Family;

/// A network namespace on a worker with an address of each family from the worker's blocks, as a CNI plugin would wire it:
/// a veth pair, the addresses as host routes on both ends.
#[derive(Debug)]
pub struct Pod {
    node: NodeHandle,
    name: String,
    addresses: [String; 2],
}

/// `$1` is the name, `$2` and `$3` the addresses.
const WIRE: &str = "
set -e
ip netns add $1
ip link add name $1 mtu 1500 type veth peer name eth0 netns $1
ip link set $1 up
ip address add 169.254.1.1/32 dev $1 scope link
ip -6 address add fe80::1/64 dev $1 nodad
ip -n $1 link set lo up
ip -n $1 link set eth0 up
ip -n $1 address add $2/32 dev eth0
ip -n $1 -6 address add $3/128 dev eth0 nodad
ip -n $1 route add 169.254.1.1 dev eth0 scope link
ip -n $1 route add default via 169.254.1.1 dev eth0
ip -n $1 -6 route add default via fe80::1 dev eth0
ip route add $2/32 dev $1 proto static
ip -6 route add $3/128 dev $1 proto static
";

impl Pod {
    /// Gets addresses by `petiole ipam assign` and wires them. The name is the interface's, too: 15 characters.
    pub fn wire(node: &NodeHandle, name: &str) -> Result<Self> {
        let answer = node.petiole_json(&["ipam", "assign", "--handle", name])?;
        let address = |family: Family| {
            let all = answer["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let mut mine = all.filter(|text| Family::of(text) == family);
            let prefix = mine.next().ok_or_else(|| anyhow!("{}: no {family:?} address: {answer}", node.name()))?;
            let (address, len) = prefix.split_once('/').unwrap_or((prefix, ""));
            if len != family.pick("32", "128") {
                bail!("{}: not one address: {prefix}", node.name());
            }
            Ok(address.to_owned())
        };
        let addresses = [address(Family::V4)?, address(Family::V6)?];
        node.exec(&["sh", "-c", WIRE, "sh", name, &addresses[0], &addresses[1]])?;
        Ok(Self { node: node.clone(), name: name.to_owned(), addresses })
    }

    /// The worker that it is on.
    pub fn node(&self) -> &NodeHandle {
        &self.node
    }

    /// Its address.
    pub fn address(&self, family: Family) -> &str {
        let [v4, v6] = &self.addresses;
        family.pick(v4, v6)
    }

    fn inside<'a>(&'a self, argv: &[&'a str]) -> Vec<&'a str> {
        [&["ip", "netns", "exec", &self.name], argv].concat()
    }

    /// Runs a command inside to its end.
    pub fn exec(&self, argv: &[&str]) -> Result<String> {
        self.node.exec(&self.inside(argv))
    }

    /// Starts a command inside.
    pub fn spawn(&self, argv: &[&str]) -> Result<Spawned> {
        self.node.spawn(&self.inside(argv))
    }

    /// Pings as [`NodeHandle::ping`] does.
    pub fn ping(&self, address: &str, size: u32, count: u32) -> Result<()> {
        self.node.ping_by(&self.inside(&[]), address, size, count)
    }
}

/// Pings that go on until they are ended.
#[derive(Debug)]
pub struct Stream {
    ping: Spawned,
    /// From whom to whom.
    pub name: String,
}

/// Between two pings of a stream.
const BEAT: Duration = Duration::from_millis(5);

/// What a stream saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Pings sent.
    pub sent: u32,
    /// Pings that were not answered.
    pub lost: u32,
}

impl Loss {
    /// For how long nothing came through, if all losses were in one piece.
    pub fn outage(self) -> Duration {
        BEAT * self.lost
    }
}

impl Stream {
    /// Starts one, from this source address.
    pub fn start(node: &NodeHandle, source: &str, address: &str) -> Result<Self> {
        Self::start_by(node, &[], source, address)
    }

    /// The same, with the beginning of a command that runs `ping` elsewhere in the node.
    pub(crate) fn start_by(node: &NodeHandle, by: &[&str], source: &str, address: &str) -> Result<Self> {
        let beat = BEAT.as_secs_f64().to_string();
        let argv = ["ping", "-n", "-q", "-i", &beat, "-I", source, address];
        let ping = node.spawn(&[by, &argv].concat())?;
        Ok(Self { ping, name: format!("{} {source} to {address}", node.name()) })
    }

    /// Ends it and counts.
    pub fn end(self) -> Result<Loss> {
        let output = self.ping.end(Signal::INT)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let [sent, received] = counts(&text).with_context(|| format!("{}: {text}", self.name))?;
        // The last one may still be under way.
        Ok(Loss { sent, lost: sent.saturating_sub(received).saturating_sub(1) })
    }
}

/// Sent and received, of ping's last lines.
fn counts(text: &str) -> Option<[u32; 2]> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    let before = |words: &str| line.split(", ").find(|part| part.contains(words))?.split(' ').next()?.parse().ok();
    Some([before("packets transmitted")?, before("received")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_ping_is_read() {
        let text =
            "--- 10.0.0.1 ping statistics ---\n30 packets transmitted, 28 received, 6.6% packet loss, time 29ms\n";
        assert_eq!(counts(text), Some([30, 28]));
        let text = "30 packets transmitted, 20 received, +3 errors, 33% packet loss, time 29ms\n";
        assert_eq!(counts(text), Some([30, 20]));
        assert_eq!(counts("ping: connect: Network is unreachable"), None);
    }
}
