//! From the runtime's environment and standard input to one request, and from its response to what is printed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::conf::{self, Conf};
use crate::id::is_id;
use crate::rpc::{Code, Command, Failure, Mode, Pod, Request, Response, VERSION};
use crate::spec::Spec;

/// The longest name of an interface, in octets: `IFNAMSIZ` of the kernel's `if.h` less the zero at its end.
const LONGEST_INTERFACE: usize = 15;

/// What the runtime wants of the plugin.
#[derive(Debug)]
pub enum Order {
    /// VERSION, answered at once with this.
    Version(Value),
    /// Everything else: the agent is asked.
    Ask(Box<Ask>),
}

/// A question to the agent, and what is needed to print its answer.
#[derive(Debug)]
pub struct Ask {
    /// What to send.
    pub request: Request,
    /// Where to.
    pub socket: PathBuf,
    /// How long all of it may take.
    pub timeout: Duration,
    /// The version in which the answer is printed.
    pub spec: Spec,
    dns: Option<Value>,
}

/// Why there is nothing to ask, and the version in which that is printed.
#[derive(Debug)]
pub struct Refusal {
    /// The configuration's, where it said one that is spoken here.
    pub spec: Spec,
    /// What is wrong.
    pub failure: Failure,
}

/// Reads the environment and the configuration. `called` is the name of the executable, without its folder.
///
/// # Errors
/// The first thing that is wrong, as an error of the specification.
pub fn read(env: &dyn Fn(&str) -> Option<String>, called: &str, stdin: &[u8]) -> Result<Order, Refusal> {
    let mut spec = Spec::LATEST;
    order(env, called, stdin, &mut spec).map_err(|failure| Refusal { spec, failure })
}

fn order(env: &dyn Fn(&str) -> Option<String>, called: &str, stdin: &[u8], spec: &mut Spec) -> Result<Order, Failure> {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    let command = env("CNI_COMMAND");
    if command.as_deref() == Some("VERSION") {
        let conf = Conf::read(stdin).ok();
        return Ok(Order::Version(Spec::versions(conf.as_ref().and_then(|conf| conf.version().ok()?))));
    }
    let command = self::command(command.as_deref())?;
    must_be_there(command, &env)?;
    let conf = Conf::read(stdin)?;
    *spec = version(&conf, command)?;
    let network = conf.name()?.to_owned();
    let mode = conf.mode(called)?;
    let needs_container = matches!(command, Command::Add | Command::Del | Command::Check);
    let [container, interface] =
        ["CNI_CONTAINERID", "CNI_IFNAME"].map(|name| env(name).filter(|_| needs_container).unwrap_or_default());
    if needs_container {
        container_id(&container)?;
        interface_name(&interface)?;
    }
    let mut request = Request {
        version: VERSION,
        command,
        mode,
        under: conf.under(mode)?,
        bridge: None,
        network,
        container,
        interface,
        netns: env("CNI_NETNS").filter(|_| needs_container),
        pod: None,
        ips: Vec::new(),
        mac: None,
        mtu: None,
        pools: Vec::new(),
        prev: None,
        valid: Vec::new(),
        patience_ms: 0,
    };
    let arguments = env("CNI_ARGS").unwrap_or_default();
    match command {
        Command::Add => {
            let arguments = Arguments::read(&arguments)?;
            if mode == Mode::Wire && conf.has_previous() {
                let msg = format!(
                    "petiole makes the interface, so it has to be the first plugin of the network {:?}: move it to the \
                     front of \"plugins\"",
                    request.network
                );
                return Err(Failure::new(Code::CONFIG, msg));
            }
            request.pod = arguments.pod()?;
            request.ips = conf.ips()?;
            for ip in arguments.ips()? {
                if !request.ips.contains(&ip) {
                    request.ips.push(ip);
                }
            }
            request.mac = match conf.mac()? {
                None => arguments.mac()?,
                mac => mac,
            };
            request.mtu = conf.mtu()?;
            request.pools = conf.pools()?;
            if request.under.as_deref() == Some("bridge") {
                request.bridge = Some(conf.bridge()?);
            }
        }
        Command::Check => {
            request.pod = Arguments::read(&arguments)?.pod()?;
            request.prev = Some(conf.previous()?);
        }
        // What is gone is gone whatever else the runtime says.
        Command::Del => request.pod = Arguments::read(&arguments).ok().and_then(|a| a.pod().ok()).flatten(),
        Command::Gc => request.valid = conf.valid()?,
        Command::Status => {}
    }
    let timeout = conf.timeout()?;
    request.patience_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
    let dns = conf.dns().filter(|_| mode == Mode::Wire).cloned();
    Ok(Order::Ask(Box::new(Ask { request, socket: conf.socket()?, timeout, spec: *spec, dns })))
}

impl Ask {
    /// What is printed on standard output for this response: nothing, but for ADD.
    ///
    /// # Errors
    /// The agent's failure, or a response that answers another question.
    pub fn answer(&self, response: Response) -> Result<Option<Value>, Failure> {
        match (self.request.command, response) {
            (_, Response::Failed(failure)) => Err(failure),
            (Command::Add, Response::Added(added)) => {
                Ok(Some(self.spec.result(&added, self.request.netns.as_deref(), self.dns.as_ref())))
            }
            (Command::Del | Command::Check | Command::Status | Command::Gc, Response::Done) => Ok(None),
            (command, response) => Err(Failure::new(
                Code::INTERNAL,
                format!("the agent's answer to {} is none: this is a fault of Petiole", name(command)),
            )
            .details(format!("{response:?}"))),
        }
    }
}

/// As `CNI_COMMAND` says it.
#[must_use]
pub const fn name(command: Command) -> &'static str {
    match command {
        Command::Add => "ADD",
        Command::Del => "DEL",
        Command::Check => "CHECK",
        Command::Status => "STATUS",
        Command::Gc => "GC",
    }
}

fn command(said: Option<&str>) -> Result<Command, Failure> {
    let Some(said) = said else {
        let msg = "CNI_COMMAND is not set: this is a CNI plugin, which container runtimes run; see docs/cni.md";
        return Err(Failure::new(Code::ENVIRONMENT, msg));
    };
    let all = [Command::Add, Command::Del, Command::Check, Command::Status, Command::Gc];
    all.into_iter().find(|command| name(*command) == said).ok_or_else(|| {
        let msg = format!("CNI_COMMAND is {said:?}: it has to be ADD, DEL, CHECK, STATUS, GC or VERSION");
        Failure::new(Code::ENVIRONMENT, msg)
    })
}

/// Names all that is missing at once.
fn must_be_there(command: Command, env: &dyn Fn(&str) -> Option<String>) -> Result<(), Failure> {
    let needed: &[&str] = match command {
        Command::Add | Command::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
        Command::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
        Command::Status | Command::Gc => &[],
    };
    let missing: Vec<&str> = needed.iter().copied().filter(|name| env(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let msg = format!("{} needs environment variables that are not set: {}", name(command), missing.join(", "));
    Err(Failure::new(Code::ENVIRONMENT, msg))
}

fn version(conf: &Conf, command: Command) -> Result<Spec, Failure> {
    // What says no version is from before there were any.
    let said = conf.version()?.filter(|version| !version.is_empty()).unwrap_or("0.1.0");
    let spec = Spec::named(said).ok_or_else(|| {
        let all: Vec<&str> = Spec::ALL.into_iter().map(Spec::name).collect();
        Failure::new(Code::VERSION, format!("the network configuration's cniVersion {said:?} is not supported"))
            .details(format!("supported are {}", all.join(", ")))
    })?;
    let first = Spec::first_with(command);
    if spec < first {
        let msg = format!("cniVersion {said:?} has no {}: {} is the first", name(command), first.name());
        return Err(Failure::new(Code::VERSION, msg));
    }
    Ok(spec)
}

fn container_id(id: &str) -> Result<(), Failure> {
    if is_id(id) {
        return Ok(());
    }
    let msg = format!(
        "CNI_CONTAINERID is {id:?}: an id begins with a letter or a digit, and goes on with letters, digits, '_', '.' and '-'"
    );
    Err(Failure::new(Code::ENVIRONMENT, msg))
}

fn interface_name(name: &str) -> Result<(), Failure> {
    let why = if name.len() > LONGEST_INTERFACE {
        format!("a name has at most {LONGEST_INTERFACE} octets")
    } else if matches!(name, "." | "..") {
        "the kernel keeps that name for itself".to_owned()
    } else if name.contains(|c: char| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control()) {
        "a name has no '/', no ':' and no white space".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::new(Code::ENVIRONMENT, format!("CNI_IFNAME is {name:?}: {why}")))
}

/// `CNI_ARGS`: pairs with semicolons between them. Keys that are not known are passed over.
struct Arguments<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Arguments<'a> {
    fn read(text: &'a str) -> Result<Self, Failure> {
        let pairs = text.split(';').filter(|pair| !pair.is_empty());
        let pair = |pair: &'a str| {
            pair.split_once('=').ok_or_else(|| {
                let msg = format!("CNI_ARGS has {pair:?}: it has to be KEY=VALUE, with semicolons between pairs");
                Failure::new(Code::ENVIRONMENT, msg)
            })
        };
        Ok(Self(pairs.map(pair).collect::<Result<_, _>>()?))
    }

    fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(k, _)| *k == key).map(|(_, value)| *value).filter(|value| !value.is_empty())
    }

    /// A name without a namespace is no pod of Kubernetes: podman says the container's name so.
    fn pod(&self) -> Result<Option<Pod>, Failure> {
        let owned = |key| self.get(key).map(str::to_owned);
        match (self.get("K8S_POD_NAMESPACE"), self.get("K8S_POD_NAME")) {
            (Some(namespace), Some(name)) => Ok(Some(Pod {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                uid: owned("K8S_POD_UID"),
                infra_container: owned("K8S_POD_INFRA_CONTAINER_ID"),
            })),
            (None, _) => Ok(None),
            (Some(_), None) => {
                let msg = "CNI_ARGS has K8S_POD_NAMESPACE without K8S_POD_NAME";
                Err(Failure::new(Code::ENVIRONMENT, msg))
            }
        }
    }

    /// `IP`: one address, or several with commas between them.
    fn ips(&self) -> Result<Vec<IpAddr>, Failure> {
        let all = self.get("IP").into_iter().flat_map(|all| all.split(','));
        all.map(|ip| {
            let msg = || format!("CNI_ARGS has IP={ip:?}, which is no address");
            conf::address(ip).ok_or_else(|| Failure::new(Code::ENVIRONMENT, msg()))
        })
        .collect()
    }

    fn mac(&self) -> Result<Option<crate::Mac>, Failure> {
        let Some(said) = self.get("MAC") else { return Ok(None) };
        let wrong = |why| Failure::new(Code::ENVIRONMENT, format!("CNI_ARGS has MAC={said}: {why}"));
        conf::unicast(said).map(Some).map_err(wrong)
    }
}

#[cfg(test)]
mod tests;
