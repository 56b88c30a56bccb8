//! The command line.

mod agent;
mod args;
mod check;
pub mod client;
mod cni;
mod orders;
mod output;
mod pcap;
mod show;
mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use petiole_node::view::{
    AdvertisedView, BlocksView, CheckView, FibEntry, ForgottenView, PathView, PeerView, RouteTable, ShowView,
    StatusView, TraceView, WhyView,
};
use serde_json::Value;

use self::args::{Bgp, Cli, CniCommand, Command, ConfigCommand, Ipam};
use self::output::{Output, emit, print};
use crate::io::api::orders::Order;
use crate::io::api::{Addresses, AssignRequest, ForgetRequest, ReleaseRequest};
use crate::log;

/// Read the arguments and do what they say.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let failed = match run(cli) {
        Ok(code) => return code,
        Err(e) => format!("{e:#}"),
    };
    let _ = writeln!(anstream::stderr(), "{}error:{} {failed}", table::RED, table::PLAIN);
    ExitCode::FAILURE
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Agent { log_format } => {
            let flush = log::start(log_format)?;
            let result = agent::run(cli.config.as_deref());
            if let (Err(e), log::Format::Json) = (&result, log_format) {
                // A collector of objects can make nothing of a bare line.
                tracing::error!("{e:#}");
                return Ok(ExitCode::FAILURE);
            }
            drop(flush);
            result
        }
        Command::Config { command: ConfigCommand::Check { file } } => check::run(&file, cli.output),
        Command::Cni { command: CniCommand::Install(install) } => {
            cni::run(&install, &agent::paths(cli.config.as_deref()).cni_socket(), cli.output)?;
            Ok(ExitCode::SUCCESS)
        }
        command => {
            let socket = cli.socket.unwrap_or_else(|| agent::socket(cli.config.as_deref()));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(command, socket, cli.output))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn ask(command: Command, socket: PathBuf, output: Output) -> Result<()> {
    let socket = socket.as_path();
    let get = |path: String| async move { client::get(socket, &path).await };
    match command {
        Command::Status => print(get("/v1/status".into()).await?, output, |v: StatusView| show::status::status(&v)),
        Command::Bgp { command: Bgp::Peers } => {
            print(get("/v1/bgp/peers".into()).await?, output, |v: Vec<PeerView>| show::bgp::peers(&v))
        }
        Command::Bgp { command: Bgp::Routes { what } } => {
            let (table, peer) = args::routes(&what)?;
            let name = match table {
                RouteTable::Best => "best",
                RouteTable::Received => "received",
                RouteTable::Advertised => "advertised",
            };
            let peer = peer.map(|p| format!("&peer={}", in_query(&p.to_string()))).unwrap_or_default();
            let answer = get(format!("/v1/bgp/routes?table={name}{peer}")).await?;
            match table {
                RouteTable::Advertised => print(answer, output, |v: Vec<AdvertisedView>| show::bgp::advertised(&v)),
                RouteTable::Best | RouteTable::Received => {
                    print(answer, output, |v: Vec<PathView>| show::bgp::received(&v, table))
                }
            }
        }
        Command::Bgp { command: Bgp::Trace { peer, last, pcap } } => {
            let answer = get(format!("/v1/bgp/trace?peer={peer}")).await?;
            let Some(file) = pcap else {
                return print(answer, output, |v: Vec<TraceView>| show::trace::trace(&v, last));
            };
            let views: Vec<TraceView> =
                serde_json::from_value(answer).context("the agent's answer is not understood")?;
            let written = pcap::write(&file, &views).with_context(|| format!("cannot write {}", file.display()))?;
            emit(&format!("{written} messages written to {}\n", file.display()))
        }
        Command::Bgp { command: Bgp::Disable { peer, message } } => {
            orders::peer(socket, &peer, Order::Disable, message, output).await
        }
        Command::Bgp { command: Bgp::Enable { peer } } => {
            orders::peer(socket, &peer, Order::Enable, None, output).await
        }
        Command::Bgp { command: Bgp::Clear { peer, soft, message } } => {
            let order = if soft { Order::Refresh } else { Order::Clear };
            orders::peer(socket, &peer, order, message, output).await
        }
        Command::Drain { after } => orders::drain(socket, after, output).await,
        Command::Undrain => orders::undrain(socket, output).await,
        Command::Stop { message } => orders::stop(socket, message, output).await,
        Command::Ipam { command: Ipam::Blocks } => {
            print(get("/v1/ipam/blocks".into()).await?, output, |v: BlocksView| show::ipam::blocks(&v))
        }
        Command::Ipam { command: Ipam::Assign { handle, family } } => {
            if handle.is_empty() || handle.contains('/') {
                bail!("a handle is any text without `/`, such as k8s-pod-network.web-0; {handle:?} is none");
            }
            let request = AssignRequest { handle, families: args::families(&family) };
            let answer = client::post(socket, "/v1/ipam/assign", &serde_json::to_value(request)?).await?;
            print(answer, output, |v: Addresses| show::ipam::assigned(&v.addresses))
        }
        Command::Ipam { command: Ipam::Show { address } } => {
            let address = address.map(|a| format!("?address={}", in_query(&a.to_string()))).unwrap_or_default();
            print(get(format!("/v1/ipam/show{address}")).await?, output, |v: ShowView| show::ipam::held(&v))
        }
        Command::Ipam { command: Ipam::Check { repair } } => {
            let answer = if repair {
                client::post(socket, "/v1/ipam/repair", &Value::Null).await?
            } else {
                get("/v1/ipam/check".into()).await?
            };
            let is_clean = answer.get("clean").and_then(Value::as_bool).unwrap_or_default();
            print(answer, output, |v: CheckView| show::ipam::check(&v))?;
            if !is_clean {
                bail!("the store contradicts itself: see above; `petiole ipam check --repair` sets right what is safe");
            }
            Ok(())
        }
        Command::Ipam { command: Ipam::Forget { node, address } } => {
            let addresses = address.into_iter().map(petiole_node::prefix::Prefix::host).collect();
            let request = serde_json::to_value(ForgetRequest { node, addresses })?;
            let answer = client::post(socket, "/v1/ipam/forget", &request).await?;
            print(answer, output, |v: ForgottenView| show::ipam::forgotten(&v))
        }
        Command::Ipam { command: Ipam::Release { address } } => {
            let answer =
                client::post(socket, "/v1/ipam/release", &serde_json::to_value(ReleaseRequest { address })?).await?;
            print(answer, output, |v: Addresses| show::ipam::released(address, &v.addresses))
        }
        Command::Fib => print(get("/v1/fib".into()).await?, output, |v: Vec<FibEntry>| show::fib::fib(&v)),
        Command::Why { prefix } => {
            let path = format!("/v1/why?prefix={}", prefix.to_string().replace('/', "%2F"));
            print(get(path).await?, output, |v: WhyView| show::why::why(&v))
        }
        // Served before a socket was looked for.
        Command::Agent { .. } | Command::Cni { .. } | Command::Config { .. } => Ok(()),
    }
}

/// An interface's name may have characters that mean something in a query (RFC 3986 section 2.1).
fn in_query(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".:-_".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
