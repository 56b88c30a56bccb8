//! The lab runner's command line, and the programs it runs inside nodes.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use petiole_labtests::{
    Binaries, Lab, NodeHandle, Progress, Topology, bench, churn, connections, datagrams, demo, down, existing, interop,
    kubernetes, sandbox, serve, state,
};
use serde_json::{Value, json};

/// The topology that is meant where none is named.
const DEFAULT_TOPOLOGY: &str = "containerlab/clos.clab.yml";

#[global_allocator]
static ALLOCATOR: bench::Counting = bench::Counting;

#[derive(Debug, Parser)]
#[command(name = "petiole-lab", about = "Runs a containerlab topology in network namespaces, without Docker")]
struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring a lab up
    Up {
        #[command(flatten)]
        which: Which,
        /// The agent's binary [default: PETIOLE_BIN, else `petiole` beside this program]
        #[arg(long, value_name = "PATH", conflicts_with = "no_agent")]
        agent: Option<PathBuf>,
        /// Leave the agent out
        #[arg(long)]
        no_agent: bool,
    },
    /// Take a lab down, also one whose `up` was interrupted
    Down {
        #[command(flatten)]
        which: Which,
        /// Every lab on this machine, but those of tests that run
        #[arg(long, conflicts_with_all = ["name", "topology"])]
        all: bool,
    },
    /// Run a command in a node
    Exec {
        /// Lab name [default: the one that is up]
        #[arg(long)]
        name: Option<String>,
        /// Node name
        node: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Show a lab's nodes
    Status {
        #[command(flatten)]
        which: Which,
        /// How to show them
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Bring the reference fabric up, show on one screen what it does, and take it down; exit 0 only if all was observed
    Demo(demo::Options),
    /// Measure against targets; exit 0 only if all are met
    Bench(bench::Options),
    /// Run every feature against every daemon as the leaf; exit 0 only if none failed
    Interop(interop::Options),
    /// Churn pods while members of etcd, agents and plugins are killed, paused and partitioned; exit 0 only if everything held
    Churn(churn::Options),
    /// Answer HTTP with 200 while a file exists, with 503 while it does not
    Health {
        /// Address and port
        #[arg(long)]
        listen: String,
        /// The file
        #[arg(long)]
        file: PathBuf,
    },
    /// Answer TCP with this node's name, then send back what comes
    Echo {
        /// Address and port
        #[arg(long)]
        listen: String,
    },
    /// Send UDP datagrams back to where they come from
    Reflect {
        /// Address and port
        #[arg(long)]
        listen: String,
    },
    /// Send numbered UDP datagrams to a `reflect` for as long as a file exists, and count what comes back, as JSON
    Stream {
        /// Address and port
        #[arg(long)]
        to: SocketAddr,
        /// Datagrams a second
        #[arg(long, default_value_t = 1000)]
        rate: u32,
        /// The file
        #[arg(long)]
        file: PathBuf,
    },
    /// Open connections to a URL for as long as a file exists, one question each, and say what became of them, as JSON
    Connect {
        /// What to get, over HTTP or HTTPS
        #[arg(long, value_name = "URL")]
        to: String,
        /// The authority that signed the server's certificate
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Connections a second
        #[arg(long, default_value_t = 100)]
        rate: u32,
        /// The file
        #[arg(long)]
        file: PathBuf,
    },
    /// Be the receiver of `bench rib`
    #[command(hide = true)]
    RibReceiver {
        /// Address and port
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Become a node's PID 1
    #[command(name = sandbox::SUBCOMMAND, hide = true)]
    Node {
        /// What the node is
        spec: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Lab name [default: the topology's, or the one lab that is up]
    #[arg(long)]
    name: Option<String>,
    /// The topology file
    topology: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Table,
    Json,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("petiole-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Up { which, agent, no_agent } => up(&which, agent, no_agent)?,
        Verb::Down { which, all } => {
            let names = if all { labs_of_nobody()? } else { vec![which.existing_name()?] };
            for name in names {
                println!("lab {name}: {}", if down(&name)? { "taken down" } else { "is not up" });
            }
        }
        Verb::Exec { name, node, command } => {
            let name = Which { name, topology: None }.existing_name()?;
            let argv: Vec<&str> = command.iter().map(String::as_str).collect();
            let mut command = Lab::attach(&name)?.node(&node)?.command(&argv)?;
            if let Some(term) = std::env::var_os("TERM") {
                command.env("TERM", term);
            }
            let status = command.status().context("nsenter")?;
            let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)));
        }
        Verb::Status { which, output } => status(&which, output)?,
        Verb::Demo(options) => return demo::run(&options),
        Verb::Bench(options) => return bench::run(&options),
        Verb::Interop(options) => return interop::run(&options),
        Verb::Churn(options) => return churn::run(&options),
        Verb::Health { listen, file } => serve::health(&listen, &file)?,
        Verb::Echo { listen } => {
            let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
            serve::echo(&listen, &name)?;
        }
        Verb::Reflect { listen } => datagrams::reflect(&listen)?,
        Verb::Stream { to, rate, file } => {
            println!("{}", serde_json::to_string(&datagrams::stream(to, rate, &file)?)?);
        }
        Verb::Connect { to, ca, rate, file } => {
            println!("{}", serde_json::to_string(&connections::open(&to, ca.as_deref(), rate, &file)?)?);
        }
        Verb::RibReceiver { listen } => bench::receive(listen)?,
        Verb::Node { spec } => match sandbox::enter(&spec)? {},
    }
    Ok(ExitCode::SUCCESS)
}

impl Which {
    /// The topology's file: a word that is no file is the name of one of ours.
    fn file(&self) -> PathBuf {
        let path = self.topology.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_TOPOLOGY));
        let ours = Path::new("containerlab").join(&path).with_extension("clab.yml");
        if !path.is_file() && ours.is_file() { ours } else { path }
    }

    fn load(&self) -> Result<Topology> {
        kubernetes::load(&self.file(), self.name.as_deref())
    }

    /// The lab that is meant where it has to exist already.
    fn existing_name(&self) -> Result<String> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        if self.topology.is_some() {
            return Ok(self.load()?.name);
        }
        let labs = labs_of_nobody()?;
        match labs.as_slice() {
            [one] => Ok(one.clone()),
            [] => bail!("no lab is up"),
            many => bail!("which one? --name {}", many.join(" | ")),
        }
    }
}

/// All labs but those of tests that run: they are the tests' own affair.
fn labs_of_nobody() -> Result<Vec<String>> {
    let mut labs = state::labs()?;
    labs.retain(|name| {
        let owner = state::read(name).ok().flatten().and_then(|record| record.owner);
        owner.is_none_or(|owner| !owner.alive())
    });
    Ok(labs)
}

fn up(which: &Which, agent: Option<PathBuf>, no_agent: bool) -> Result<()> {
    let topology = which.load()?;
    let mut binaries = Binaries::find()?;
    if no_agent {
        binaries.agent = None;
    } else if let Some(path) = agent {
        binaries.agent = Some(existing(&path).context("--agent")?);
    } else if binaries.agent.is_none() {
        eprintln!("petiole-lab: no agent: build it (cargo build -p petiole) or say --agent PATH; going on without");
    }
    let cluster = kubernetes::wanted(&topology);
    if cluster {
        kubernetes::prepare()?;
    }
    let screen = Screen { terminal: std::io::stderr().is_terminal(), open: Mutex::new(false) };
    let lab = Lab::up_kept(&topology, &binaries, &|progress| screen.show(&topology.name, &progress))?;
    if cluster {
        kubernetes::Cluster::start(&lab, &|stage, took| {
            eprintln!("lab {}: {:.1} s: {}", topology.name, took.as_secs_f64(), stage.words());
        })?;
        println!("petiole-lab exec --name {} client1 kubectl get nodes,pods -A -o wide", topology.name);
    }
    println!("petiole-lab status --name {0}\npetiole-lab exec --name {0} NODE COMMAND...", topology.name);
    Ok(())
}

/// One line that counts on a terminal, a line per stage elsewhere.
struct Screen {
    terminal: bool,
    open: Mutex<bool>,
}

impl Screen {
    fn show(&self, lab: &str, progress: &Progress<'_>) {
        let (text, last) = match progress {
            Progress::Nodes(done, total) => (format!("lab {lab}: {done} of {total} nodes"), done == total),
            Progress::Links(count) => (format!("lab {lab}: {count} links"), true),
            Progress::ExecFailed(node, why) => (format!("lab {lab}: {node}: exec failed: {why}"), true),
            Progress::Up(took) => (format!("lab {lab}: up after {:.1} s", took.as_secs_f64()), true),
        };
        if !self.terminal && !last {
            return;
        }
        let Ok(mut open) = self.open.lock() else { return };
        let start = if self.terminal && *open { "\r\x1b[K" } else { "" };
        eprint!("{start}{text}{}", if last { "\n" } else { "" });
        let _shown = std::io::stderr().flush();
        *open = !last;
    }
}

fn status(which: &Which, output: Format) -> Result<()> {
    let lab = Lab::attach(&which.existing_name()?)?;
    let nodes: Vec<Value> = std::thread::scope(|scope| {
        let rows: Vec<_> = lab.nodes().map(|node| scope.spawn(move || node_status(&node))).collect();
        rows.into_iter().filter_map(|row| row.join().ok()).collect()
    });
    let record = lab.record();
    match output {
        Format::Json => {
            let all = json!({ "lab": record.name, "complete": record.complete, "nodes": nodes });
            println!("{}", serde_json::to_string_pretty(&all)?);
        }
        Format::Table => {
            if !record.complete {
                println!("lab {}: its up did not come to an end; take it down", record.name);
            }
            let mut rows = vec![["NODE", "KIND", "PID", "STATE", "LINKS"].map(str::to_owned)];
            rows.extend(nodes.iter().map(row));
            print_table(&rows);
        }
    }
    Ok(())
}

fn node_status(node: &NodeHandle) -> Value {
    let record = node.record();
    let pid = node.pid();
    let shown = node.ip_json(&["link", "show", "up"]).unwrap_or_default();
    let up: BTreeSet<&str> = shown
        .as_array()
        .into_iter()
        .flatten()
        .filter(|link| link["operstate"] == "UP")
        .filter_map(|link| link["ifname"].as_str())
        .collect();
    let links: Vec<Value> = record
        .links
        .iter()
        .map(|(own, far)| json!({ "interface": own, "peer": far, "up": up.contains(own.as_str()) }))
        .collect();
    json!({
        "node": record.name,
        "kind": record.kind,
        "container": record.container,
        "pid": pid,
        "state": if pid.is_some() { "running" } else { "dead" },
        "links": links,
    })
}

fn row(node: &Value) -> [String; 5] {
    let text = |key: &str| node[key].as_str().unwrap_or("-").to_owned();
    let link = |link: &Value| {
        let [own, far] = ["interface", "peer"].map(|key| link[key].as_str().unwrap_or("-"));
        format!("{own}={far}{}", if link["up"] == true { "" } else { "(down)" })
    };
    let links: Vec<String> = node["links"].as_array().into_iter().flatten().map(link).collect();
    let pid = node["pid"].as_i64().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
    [text("node"), text("kind"), pid, text("state"), links.join(" ")]
}

fn print_table(rows: &[[String; 5]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let [node, kind, pid, state] = [0, 1, 2, 3].map(width);
    for [a, b, c, d, e] in rows {
        println!("{a:node$}  {b:kind$}  {c:>pid$}  {d:state$}  {e}");
    }
}
