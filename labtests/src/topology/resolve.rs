//! From the file's four levels to what each node is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::raw::{self, Level, Scalar};
use super::{Bind, End, Link, Node, Topology, TopologyError};

/// containerlab's MTU for a link that says nothing.
const DEFAULT_MTU: u32 = 9500;
/// IFNAMSIZ less the NUL (linux/if.h).
const MAX_INTERFACE: usize = 15;

pub(super) fn resolve(file: raw::File, dir: &Path, name: Option<&str>) -> Result<Topology, TopologyError> {
    let name = name.map_or(file.name, str::to_owned);
    check_name("name", &name)?;
    let prefix = match file.prefix.as_deref() {
        None => format!("clab-{name}-"),
        Some("") => String::new(),
        Some("__lab-name") => format!("{name}-"),
        Some(other) => {
            check_name("prefix", other)?;
            format!("{other}-{name}-")
        }
    };
    let body = file.topology;
    let place = Place { lab: &name, dir };
    let mut nodes = BTreeMap::new();
    for (node, own) in &body.nodes {
        let at = format!("topology.nodes.{node}");
        check_name(&at, node)?;
        let own = own.clone().unwrap_or_default();
        nodes.insert(node.clone(), place.node(node, &at, &own, &body)?);
    }
    if nodes.is_empty() {
        return refuse("topology.nodes", "has no node");
    }
    let links = links(&body.links, &nodes)?;
    Ok(Topology { name, prefix, dir: dir.to_owned(), nodes, links })
}

/// What the magic variables and the relative paths stand for.
struct Place<'a> {
    lab: &'a str,
    dir: &'a Path,
}

impl Place<'_> {
    fn node(&self, name: &str, at: &str, own: &Level, body: &raw::Body) -> Result<Node, TopologyError> {
        let empty = Level::default();
        let kind = own.kind.clone().or_else(|| body.defaults.kind.clone());
        let Some(kind) = kind else {
            return refuse(&format!("{at}.kind"), "is required, here or under topology.defaults");
        };
        if kind != "linux" {
            return refuse(&format!("{at}.kind"), format!("`{kind}` is not honoured by this runner, only `linux`"));
        }
        let of_kind = body.kinds.get(&kind).unwrap_or(&empty);
        let group = own.group.as_ref().or(of_kind.group.as_ref()).or(body.defaults.group.as_ref());
        let of_group = group.and_then(|group| body.groups.get(group)).unwrap_or(&empty);
        // Nearest first.
        let levels = [own, of_group, of_kind, &body.defaults];

        let scalar = |get: fn(&Level) -> Option<&String>| levels.iter().find_map(|level| get(level)).cloned();
        let only = |field: &str, value: Option<String>, allowed: &[&str], why: &str| match value {
            Some(value) if !allowed.contains(&value.as_str()) => {
                refuse(&format!("{at}.{field}"), format!("`{value}` is not honoured by this runner: {why}"))
            }
            _ => Ok(()),
        };
        let mode = scalar(|l| l.network_mode.as_ref());
        if mode.is_none() {
            return refuse(
                &format!("{at}.network-mode"),
                "is missing: the runner has no management network, so say `network-mode: none`",
            );
        }
        only("network-mode", mode, &["none"], "say `none`")?;
        only(
            "restart-policy",
            scalar(|l| l.restart_policy.as_ref()),
            &["no", "No"],
            "a node whose PID 1 died stays dead, say \"no\"",
        )?;
        only(
            "image-pull-policy",
            scalar(|l| l.image_pull_policy.as_ref()),
            &["IfNotPresent", "ifnotpresent", "Never", "never"],
            "nothing is ever pulled, say `IfNotPresent` or `Never`",
        )?;
        let privileged = levels.iter().find_map(|level| level.privileged).map(|p| p.to_string());
        only("privileged", privileged, &["true"], "nodes have every capability")?;
        let Some(image) = scalar(|l| l.image.as_ref()) else {
            return refuse(&format!("{at}.image"), "is required");
        };

        let sysctls = merge(&levels, |l| &l.sysctls);
        if let Some(key) = sysctls.keys().find(|key| !is_net_sysctl(key)) {
            return refuse(
                &format!("{at}.sysctls"),
                format!("`{key}` is not honoured by this runner, only settings of a network namespace (net.*)"),
            );
        }
        let mut argv = Vec::new();
        for (field, text) in [("entrypoint", scalar(|l| l.entrypoint.as_ref())), ("cmd", scalar(|l| l.cmd.as_ref()))] {
            if let Some(text) = text {
                argv.extend(words(&format!("{at}.{field}"), &text)?);
            }
        }
        if argv.is_empty() {
            argv = vec!["sleep".to_owned(), "infinity".to_owned()];
        }
        // The farthest level first; a nearer bind of the same target takes its place.
        let mut binds: Vec<Bind> = Vec::new();
        let mut exec = Vec::new();
        for level in levels.iter().rev() {
            for text in &level.binds {
                let bind = self.bind(name, &format!("{at}.binds"), text)?;
                binds.retain(|known| known.target != bind.target);
                binds.push(bind);
            }
            for line in &level.exec {
                let at = format!("{at}.exec");
                let line = self.magic(&at, line, name, Magic::Exec)?;
                exec.push(words(&at, &line)?);
            }
        }
        Ok(Node {
            group: group.cloned(),
            image,
            hostname: scalar(|l| l.hostname.as_ref()).unwrap_or_else(|| name.to_owned()),
            env: merge(&levels, |l| &l.env),
            labels: merge(&levels, |l| &l.labels),
            kind,
            sysctls,
            argv,
            binds,
            exec,
        })
    }

    fn bind(&self, node: &str, at: &str, text: &str) -> Result<Bind, TopologyError> {
        let text = self.magic(at, text, node, Magic::Bind)?;
        let mut parts = text.split(':');
        let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
            return refuse(
                at,
                format!("`{text}`: an anonymous volume is not honoured by this runner, say SOURCE:TARGET"),
            );
        };
        let mut read_only = false;
        for option in parts.flat_map(|options| options.split(',')) {
            match option {
                "ro" => read_only = true,
                "rw" => read_only = false,
                other => return refuse(at, format!("`{text}`: option `{other}` is not honoured by this runner")),
            }
        }
        if source.starts_with('~') {
            return refuse(at, format!("`{text}`: `~` is not honoured by this runner"));
        }
        let target = PathBuf::from(target);
        if !target.is_absolute() || target.components().any(|part| part.as_os_str() == "..") {
            return refuse(at, format!("`{text}`: the target has to be an absolute path"));
        }
        let source = self.dir.join(source);
        match source.canonicalize() {
            Ok(source) => Ok(Bind { source, target, read_only }),
            Err(error) => refuse(at, format!("`{text}`: {}: {error}", source.display())),
        }
    }

    fn magic(&self, at: &str, text: &str, node: &str, place: Magic) -> Result<String, TopologyError> {
        let mut out = text.replace("__clabNodeName__", node);
        if matches!(place, Magic::Exec) {
            let lab = format!("clab-{}", self.lab);
            out = out.replace("__clabDir__", &self.dir.join(&lab).to_string_lossy()).replace("__clabLabName__", &lab);
        }
        if let Some(start) = out.find("__clab") {
            let end = out[start + 2..].find("__").map_or(out.len(), |end| start + 2 + end + 2);
            return refuse(at, format!("the magic variable `{}` is not honoured here", &out[start..end]));
        }
        Ok(out)
    }
}

/// Which magic variables a field may use.
#[derive(Clone, Copy)]
enum Magic {
    Bind,
    Exec,
}

fn links(raw: &[raw::Link], nodes: &BTreeMap<String, Node>) -> Result<Vec<Link>, TopologyError> {
    let mut seen = BTreeSet::new();
    let mut links = Vec::new();
    for (index, link) in raw.iter().enumerate() {
        let at = format!("topology.links[{index}]");
        if let Some(kind) = link.kind.as_deref().filter(|kind| *kind != "veth") {
            return refuse(&format!("{at}.type"), format!("`{kind}` is not honoured by this runner, only `veth`"));
        }
        let at = format!("{at}.endpoints");
        let [a, b] = link.endpoints.as_slice() else {
            return refuse(&at, format!("has {} ends, a link has two", link.endpoints.len()));
        };
        let mtu = link.mtu.unwrap_or(DEFAULT_MTU);
        // 68 is IPv4's least (RFC 791), 65535 the schema's most.
        if !(68..=65535).contains(&mtu) {
            return refuse(&format!("topology.links[{index}].mtu"), format!("{mtu} is not between 68 and 65535"));
        }
        let link = Link { a: end(&at, a)?, b: end(&at, b)?, mtu };
        for end in [&link.a, &link.b] {
            if !nodes.contains_key(&end.node) {
                return refuse(&at, format!("there is no node `{}`", end.node));
            }
            if !seen.insert((end.node.clone(), end.interface.clone())) {
                return refuse(&at, format!("`{}:{}` is used twice", end.node, end.interface));
            }
        }
        links.push(link);
    }
    Ok(links)
}

fn end(at: &str, raw: &raw::Endpoint) -> Result<End, TopologyError> {
    let end = match raw {
        raw::Endpoint::Long(long) => {
            End { node: long.node.clone(), interface: long.interface.clone(), mac: long.mac.clone() }
        }
        raw::Endpoint::Short(text) => match text.split_once(':') {
            Some((node, interface)) => End { node: node.to_owned(), interface: interface.to_owned(), mac: None },
            None => return refuse(at, format!("`{text}` is not NODE:INTERFACE")),
        },
    };
    if matches!(end.node.as_str(), "host" | "mgmt-net" | "macvlan") {
        return refuse(at, format!("`{}:{}`: only links between nodes are honoured", end.node, end.interface));
    }
    let name = end.interface.as_str();
    let plain = name.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':');
    if name.is_empty() || name.len() > MAX_INTERFACE || !plain || matches!(name, "." | ".." | "lo") {
        return refuse(at, format!("`{name}` is not an interface name of 1 to {MAX_INTERFACE} bytes"));
    }
    let mac = |text: &str| text.len() == 17 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
    if let Some(text) = end.mac.as_deref().filter(|text| !mac(text)) {
        return refuse(at, format!("`{text}` is not a MAC address"));
    }
    Ok(end)
}

fn merge(levels: &[&Level; 4], get: fn(&Level) -> &BTreeMap<String, Scalar>) -> BTreeMap<String, String> {
    let far_first = levels.iter().rev().flat_map(|level| get(level));
    far_first.map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

fn words(at: &str, text: &str) -> Result<Vec<String>, TopologyError> {
    match shell_words::split(text) {
        Ok(words) if words.is_empty() => refuse(at, "is empty"),
        Ok(words) => Ok(words),
        Err(error) => refuse(at, format!("`{text}`: {error}")),
    }
}

/// `net.` and then plain parts, so that a key can never leave `/proc/sys/net`.
fn is_net_sysctl(key: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'/'))
    };
    key.strip_prefix("net.").is_some_and(|rest| rest.split('.').all(plain))
}

/// Names become file names and namespace names: the schema's own pattern, and a length that leaves room for a prefix.
fn check_name(at: &str, name: &str) -> Result<(), TopologyError> {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if plain && starts && name.len() <= 64 {
        return Ok(());
    }
    refuse(
        at,
        format!("`{name}` is not a name: letters, digits, `-`, `.` and `_`, at most 64, not starting with a sign"),
    )
}

fn refuse<T>(at: &str, why: impl Into<String>) -> Result<T, TopologyError> {
    Err(TopologyError::Value { at: at.to_owned(), why: why.into() })
}
