//! What may be said on the command line.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use petiole_node::bgp::PeerId;
use petiole_node::bgp::wire::ShutdownText;
use petiole_node::prefix::{Family, Prefix};
use petiole_node::view::RouteTable;

use super::cni;
use super::orders::{self, After};
use super::output::Output;
use crate::log;

/// Joins a bare-metal node to the leaf switches of a routed fabric: claims pod blocks, announces what is this node's own over
/// BGP, learns routes, and keeps the kernel in step.
#[derive(Debug, Parser)]
#[command(name = "petiole", version, max_term_width = 120, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "Examples:
  petiole agent                         run the agent with /etc/petiole/petiole.toml, or with defaults where there is none
  petiole status                        what works, what does not, and what to do next
  petiole why 10.123.128.0/26           why a prefix is announced, or not")]
pub(super) struct Cli {
    /// Configuration file; other commands take the agent's socket from it
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Socket of the agent to ask
    #[arg(long, global = true, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
    /// How answers are printed; the shape of JSON is documented in docs/cli.md and stable
    #[arg(short, long, global = true, value_name = "FORMAT", value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent in the foreground
    #[command(after_help = "Examples:
  petiole agent
  petiole agent --config ./petiole.toml --log-format json
  PETIOLE_LOG=debug petiole agent       everything that happens; info,petiole::io=debug is a filter too

SIGTERM and SIGINT stop it and leave routes and addresses in place: a stop is the first half of a restart. The exit status is 0
after a signal, 3 after `petiole stop`, and 1 where it could not begin.")]
    Agent {
        /// How the log looks on standard error; text where nothing is said
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = log::Format::Text)]
        log_format: log::Format,
    },
    /// What works, what does not, and what to do next
    #[command(after_help = "Examples:
  petiole status
  petiole status -o json | jq '.problems'
  petiole status --socket /run/petiole/api.sock")]
    Status,
    /// Sessions with the leaves, and the routes on them
    #[command(after_help = "Examples:
  petiole bgp peers
  petiole bgp routes received 10.122.101.0")]
    Bgp {
        #[command(subcommand)]
        command: Bgp,
    },
    /// Pools, blocks and addresses
    #[command(after_help = "Examples:
  petiole ipam blocks
  petiole ipam assign --handle web-0 --family v4
  petiole ipam release 10.123.128.7")]
    Ipam {
        #[command(subcommand)]
        command: Ipam,
    },
    /// What Petiole has, or wants, in the kernel's routing tables
    #[command(after_help = "Examples:
  petiole fib
  petiole fib -o json | jq '.[] | select(.state != \"in kernel\")'")]
    Fib,
    /// Why a prefix is announced, not announced, learned or unknown
    #[command(after_help = "Examples:
  petiole why 10.123.128.0/26
  petiole why 10.122.255.1/32
  petiole why 0.0.0.0/0 -o json")]
    Why {
        /// A prefix with its length, such as 10.123.128.0/26 or fd00::/64
        #[arg(value_parser = prefix)]
        prefix: Prefix,
    },
    /// Take this node out of service: leaves prefer other ways at once (RFC 8326), and forget this one a moment later
    #[command(after_help = "Examples:
  petiole drain                         announce everything with GRACEFUL_SHUTDOWN, and withdraw it after 10 s
  petiole drain --after 5m
  petiole drain --after never           withdraw only when told
  petiole drain --after 0s              withdraw now

Sessions stay, and so do routes in the kernel. The drain holds until `petiole undrain`, also over restarts and boots.")]
    Drain {
        /// When to withdraw: a time such as 10s or 5m, or `never`
        #[arg(long, value_name = "TIME", default_value = "10s", value_parser = orders::after)]
        after: After,
    },
    /// Take this node back into service
    #[command(after_help = "Examples:
  petiole undrain")]
    Undrain,
    /// Withdraw everything, end every session for good (Cease, Administrative Shutdown) and end the agent
    #[command(after_help = "Examples:
  petiole stop
  petiole stop --message 'rack 3 is moved, TICKET-7'

To restart or upgrade the agent, end it with SIGTERM (`systemctl restart petiole`) instead: leaves keep its routes then.")]
    Stop {
        /// What every leaf is told (RFC 9003); at most 255 octets
        #[arg(long, value_name = "TEXT", value_parser = orders::message)]
        message: Option<ShutdownText>,
    },
    /// The CNI plugin on this node
    #[command(after_help = "Examples:
  petiole cni install
  petiole cni install --uninstall")]
    Cni {
        #[command(subcommand)]
        command: CniCommand,
    },
    /// The configuration
    #[command(after_help = "Examples:
  petiole config check /etc/petiole/petiole.toml")]
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Bgp {
    /// Every session with its state, and why it is not up
    #[command(after_help = "Examples:
  petiole bgp peers
  petiole bgp peers -o json | jq '.[].state'")]
    Peers,
    /// Routes: the best ones; all that were received, with their fate; or those that are advertised
    #[command(after_help = "Examples:
  petiole bgp routes                         the best paths
  petiole bgp routes received                every path, used or not, and why
  petiole bgp routes advertised 10.122.101.0 what that leaf was told
  petiole bgp routes 10.122.101.0            the best paths from that leaf")]
    Routes {
        /// `received` or `advertised`, and the address of a leaf; both may be left out
        #[arg(value_name = "TABLE|PEER", num_args = 0..=2)]
        what: Vec<String>,
    },
    /// The last messages and events of one session, oldest first
    #[command(after_help = "Examples:
  petiole bgp trace 10.122.101.0
  petiole bgp trace 10.122.101.0 --last 20
  petiole bgp trace 10.122.101.0 --pcap leaf.pcap    then: wireshark leaf.pcap

The agent always keeps up to 1,024 messages of each leaf. The file holds them as TCP segments, with the addresses and ports of
the session; what the kernel's TCP did is not known to it.")]
    Trace {
        /// The leaf, as `petiole bgp peers` names it
        peer: String,
        /// Only so many, the newest
        #[arg(long, value_name = "N")]
        last: Option<usize>,
        /// Write the messages to a file for Wireshark or tshark
        #[arg(long, value_name = "FILE")]
        pcap: Option<PathBuf>,
    },
    /// End the session with a leaf until it is enabled, also over restarts of the agent
    #[command(after_help = "Examples:
  petiole bgp disable 10.122.101.0
  petiole bgp disable eth1 --message 'cable is replaced'")]
    Disable {
        /// The leaf's address, or its interface
        peer: String,
        /// What the leaf is told (RFC 9003); at most 255 octets
        #[arg(long, value_name = "TEXT", value_parser = orders::message)]
        message: Option<ShutdownText>,
    },
    /// Let a session that was disabled begin again
    #[command(after_help = "Examples:
  petiole bgp enable 10.122.101.0")]
    Enable {
        /// The leaf's address, or its interface
        peer: String,
    },
    /// Begin a session anew, whatever keeps it down; or ask the leaf for its routes again
    #[command(after_help = "Examples:
  petiole bgp clear 10.122.101.0
  petiole bgp clear 10.122.101.0 --soft        keeps the session, and asks for all routes again (RFC 2918)")]
    Clear {
        /// The leaf's address, or its interface
        peer: String,
        /// Keep the session
        #[arg(long)]
        soft: bool,
        /// What the leaf is told (RFC 9003); at most 255 octets
        #[arg(long, value_name = "TEXT", value_parser = orders::message, conflicts_with = "soft")]
        message: Option<ShutdownText>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Ipam {
    /// Pools, and every block with its owner
    #[command(after_help = "Examples:
  petiole ipam blocks
  petiole ipam blocks -o json | jq '.blocks[] | select(.ours)'")]
    Blocks,
    /// Assign an address of this node to a handle
    #[command(after_help = "Examples:
  petiole ipam assign --handle web-0                one address of each family
  petiole ipam assign --handle web-0 --family v4")]
    Assign {
        /// Who owns the address: any text without `/`
        #[arg(long)]
        handle: String,
        /// Only this family
        #[arg(long, value_enum)]
        family: Vec<FamilyName>,
    },
    /// Who holds which address, or this one
    #[command(after_help = "Examples:
  petiole ipam show
  petiole ipam show 10.123.128.7
  petiole ipam show -o json | jq '.addresses[] | select(.handle == \"k8s-pod-network.web-0\")'")]
    Show {
        /// Only this address, without a length
        #[arg(value_name = "IP", value_parser = address)]
        address: Option<IpAddr>,
    },
    /// Everything in the store that contradicts something else; exits with 1 if anything is left
    #[command(after_help = "Examples:
  petiole ipam check
  petiole ipam check --repair           set right what is surely safe; each change is bound to all that it was decided from")]
    Check {
        /// Set right what is safe to set right
        #[arg(long)]
        repair: bool,
    },
    /// Say that a node is gone for good: its peers free what it held once nobody has heard of it for `[ipam] grace_time`
    #[command(after_help = "Examples:
  petiole ipam forget worker7
  petiole ipam forget worker7 --address 10.122.0.17

A node that is only silent keeps what it has. If it comes back it takes this order away.")]
    Forget {
        /// The node's name
        node: String,
        /// An address of the node itself: while it is announced, nothing is freed
        #[arg(long, value_name = "IP", value_parser = address)]
        address: Vec<IpAddr>,
    },
    /// Give an address back
    #[command(after_help = "Examples:
  petiole ipam release 10.123.128.7")]
    Release {
        /// The address, without a length
        #[arg(value_name = "IP", value_parser = address)]
        address: IpAddr,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum CniCommand {
    /// Put the plugin and its configuration where container runtimes look for them, or remove them
    #[command(after_help = "Examples:
  petiole cni install
  petiole cni install --bin-dir /host/opt/cni/bin --conf-dir /host/etc/cni/net.d    from a container
  petiole cni install --portmap                                                    with ports of the host
  petiole cni install --uninstall

The plugin is the file petiole-cni beside this executable. Files are replaced in one step; those that are so already are left
alone. docs/cni.md says what the configuration may say.")]
    Install(cni::Install),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check a file and print every mistake with its line and column; exits with 1 if there is one
    #[command(after_help = "Examples:
  petiole config check petiole.toml
  petiole config check petiole.toml -o json")]
    Check {
        /// The file; `-` reads standard input
        file: PathBuf,
    },
}

/// A family, as it is said on the command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum FamilyName {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

pub(super) fn families(names: &[FamilyName]) -> Vec<Family> {
    let wanted = |name| names.is_empty() || names.contains(&name);
    let both = [(FamilyName::V4, Family::V4), (FamilyName::V6, Family::V6)];
    both.into_iter().filter(|&(name, _)| wanted(name)).map(|(_, family)| family).collect()
}

/// `[received|advertised] [PEER]`.
pub(super) fn routes(what: &[String]) -> Result<(RouteTable, Option<PeerId>)> {
    let (table, peer) = match what {
        [] => (RouteTable::Best, None),
        [one] => match named(one) {
            Some(table) => (table, None),
            None => (RouteTable::Best, Some(one)),
        },
        [table, peer, ..] => match named(table) {
            Some(table) => (table, Some(peer)),
            None => bail!(
                "{table:?} is no table: say `received` or `advertised`, then the leaf's address, or its interface"
            ),
        },
    };
    let peer = peer.map(|p| match p.parse() {
        Ok(peer) => Ok(peer),
        Err(_) => bail!("{p:?} is neither a table (`received`, `advertised`) nor the address or interface of a leaf; `petiole bgp peers` lists them"),
    });
    Ok((table, peer.transpose()?))
}

fn named(text: &str) -> Option<RouteTable> {
    match text {
        "received" => Some(RouteTable::Received),
        "advertised" => Some(RouteTable::Advertised),
        _ => None,
    }
}

fn prefix(text: &str) -> Result<Prefix, String> {
    text.parse().map_err(|e: petiole_node::prefix::PrefixError| e.to_string())
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| match text.parse::<Prefix>() {
        Ok(prefix) => format!("an address has no length: write {}", prefix.addr()),
        Err(_) => format!("{text:?} is no IP address"),
    })
}

#[cfg(test)]
mod tests;
