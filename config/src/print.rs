//! Settings as the text that gives them.

mod policy;

use std::fmt::Write;
use std::path::Path;

use crate::duration;
use crate::settings::{
    Announce, BfdSettings, BgpSettings, BlockSource, EtcdSettings, GracefulRestartSettings, HealthCheck,
    HealthSettings, IpamSettings, KubernetesAccess, Neighbour, Settings, StoreSettings,
};

impl Settings {
    /// The settings as TOML, every value written out; [`load`](crate::load) gives the same settings back.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail; the `fmt::Result` is there only for `?`.
        let _ = self.write_toml(&mut out);
        out
    }

    fn write_toml(&self, out: &mut String) -> std::fmt::Result {
        let node = &self.node;
        writeln!(out, "[node]\nname = {}", string(&node.name))?;
        writeln!(out, "roles = {}", list(node.roles.iter().map(|role| string(role.name()))))?;
        if let Some(id) = node.router_id {
            writeln!(out, "router_id = \"{id}\"")?;
        }
        writeln!(out, "addresses = {}", list(node.addresses.iter().map(|addr| format!("\"{addr}\""))))?;
        if !node.labels.is_empty() {
            let labels: Vec<String> =
                node.labels.iter().map(|(key, value)| format!("{} = {}", string(key), string(value))).collect();
            writeln!(out, "labels = {{ {} }}", labels.join(", "))?;
        }

        out.push_str("\n[store]\n");
        match &self.store {
            StoreSettings::Etcd(etcd) => writeln!(out, "etcd = {}", inline_etcd(etcd))?,
            StoreSettings::Embedded(folder) => writeln!(out, "embedded = {}", path(folder))?,
        }
        if let Some(bgp) = &self.bgp {
            write_bgp(out, bgp)?;
        }
        for announce in &self.announce {
            write_announce(out, announce)?;
        }
        let pools = self.ipam.pools.iter();
        let pools = pools.map(|pool| {
            let selector = pool.node_selector.as_deref();
            let selector = selector.map_or_else(String::new, |text| format!(", node_selector = {}", string(text)));
            format!("{{ cidr = \"{}\", block_size = {}{selector} }}", pool.cidr, pool.block_size)
        });
        writeln!(out, "\n[ipam]")?;
        match self.ipam.source {
            BlockSource::Store => writeln!(out, "pools = {}", list(pools))?,
            // No pools go with it.
            source @ BlockSource::Node => writeln!(out, "source = \"{}\"", source.name())?,
        }
        if !self.ipam.reserved.is_empty() {
            let reserved = self.ipam.reserved.iter().map(|range| format!("\"{range}\""));
            writeln!(out, "reserved = {}", list(reserved))?;
        }
        if self.ipam.grace_time != IpamSettings::GRACE_TIME {
            writeln!(out, "grace_time = \"{}\"", duration::print(self.ipam.grace_time))?;
        }
        if let Some(kubernetes) = &self.kubernetes {
            let access = match &kubernetes.access {
                KubernetesAccess::Kubeconfig(file) => format!("kubeconfig = {}", path(file)),
                KubernetesAccess::InCluster => "in_cluster = true".to_owned(),
            };
            writeln!(out, "\n[kubernetes]\n{access}\nnode = {}", string(&kubernetes.node))?;
        }
        writeln!(out, "\n[paths]\nstate = {}\nrun = {}", path(&self.paths.state), path(&self.paths.run))?;
        writeln!(out, "\n[metrics]\nlisten = \"{}\"", self.metrics_listen)
    }
}

fn write_bgp(out: &mut String, bgp: &BgpSettings) -> std::fmt::Result {
    writeln!(out, "\n[bgp]\nasn = {}\nlisten = \"{}\"", bgp.asn, bgp.listen)?;
    writeln!(out, "accept_default = {}", bgp.accept_default)?;
    policy::write_communities(out, &bgp.communities)?;
    for peer in &bgp.peers {
        let asn = peer.asn.map_or_else(|| "\"external\"".to_owned(), |asn| asn.to_string());
        let who = match &peer.neighbour {
            Neighbour::Address(addr) => format!("address = \"{addr}\""),
            Neighbour::Interface(name) => format!("interface = {}", string(name)),
        };
        writeln!(out, "\n[[bgp.peer]]\n{who}\nport = {}\nasn = {asn}", peer.port)?;
        writeln!(out, "hold_time = \"{}\"\npassive = {}", duration::print(peer.hold_time), peer.passive)?;
        if let Some(bfd) = peer.bfd {
            let (interval, BfdSettings { multiplier, strict, .. }) = (duration::print(bfd.interval), bfd);
            writeln!(out, "bfd = {{ interval = \"{interval}\", multiplier = {multiplier}, strict = {strict} }}")?;
        }
        policy::write(out, &peer.policy)?;
        if let Some(local) = peer.local_address {
            writeln!(out, "local_address = \"{local}\"")?;
        }
        if let Some(file) = &peer.password_file {
            writeln!(out, "password_file = {}", path(file))?;
        }
        if let Some(ao) = &peer.tcp_ao {
            let (file, send, recv, name) = (path(&ao.key_file), ao.send_id, ao.recv_id, ao.algorithm.name());
            writeln!(
                out,
                "tcp_ao = {{ key_file = {file}, send_id = {send}, recv_id = {recv}, algorithm = \"{name}\" }}"
            )?;
        }
        writeln!(out, "ttl_security = {}", peer.ttl_security)?;
        match &peer.graceful_restart {
            Some(restart) => writeln!(out, "graceful_restart = {}", inline_restart(restart))?,
            None => writeln!(out, "graceful_restart = false")?,
        }
    }
    Ok(())
}

fn write_announce(out: &mut String, announce: &Announce) -> std::fmt::Result {
    writeln!(out, "\n[[announce]]\nkind = \"{}\"\nprefix = \"{}\"", announce.kind.name(), announce.prefix)?;
    policy::write_communities(out, &announce.communities)?;
    match &announce.health {
        Some(health) => writeln!(out, "health = {}", inline_health(health)),
        None => Ok(()),
    }
}

fn inline_restart(restart: &GracefulRestartSettings) -> String {
    let GracefulRestartSettings { restart_time, stale_time, long_lived_time } = restart;
    let times = [("restart_time", restart_time), ("stale_time", stale_time), ("long_lived_time", long_lived_time)];
    let parts = times.map(|(key, time)| format!("{key} = \"{}\"", duration::print(*time)));
    format!("{{ {} }}", parts.join(", "))
}

fn inline_etcd(etcd: &EtcdSettings) -> String {
    let mut parts = vec![format!("endpoints = {}", list(etcd.endpoints.iter().map(|url| string(url))))];
    for (key, file) in [("ca", &etcd.ca), ("cert", &etcd.cert), ("key", &etcd.key)] {
        parts.extend(file.as_ref().map(|file| format!("{key} = {}", path(file))));
    }
    if let Some(login) = &etcd.login {
        parts.push(format!("user = {}, password_file = {}", string(&login.user), path(&login.password_file)));
    }
    format!("{{ {} }}", parts.join(", "))
}

fn inline_health(health: &HealthSettings) -> String {
    let mut parts = Vec::new();
    match &health.check {
        HealthCheck::Http { url, ca, insecure } => {
            parts.push(format!("http = {}", string(url)));
            parts.extend(ca.as_ref().map(|ca| format!("ca = {}", path(ca))));
            parts.extend(insecure.then(|| "insecure = true".to_owned()));
        }
        HealthCheck::Tcp(socket) => parts.push(format!("tcp = \"{socket}\"")),
        HealthCheck::Command(argv) => parts.push(format!("command = {}", list(argv.iter().map(|arg| string(arg))))),
    }
    parts.push(format!("interval = \"{}\"", duration::print(health.interval)));
    parts.push(format!("timeout = \"{}\"", duration::print(health.timeout)));
    parts.push(format!("rise = {}, fall = {}", health.rise, health.fall));
    format!("{{ {} }}", parts.join(", "))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// A TOML string, quoted and escaped.
fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Paths come from TOML strings, so they are UTF-8.
fn path(path: &Path) -> String {
    string(&path.to_string_lossy())
}
