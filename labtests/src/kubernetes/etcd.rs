//! An etcd that asks for client certificates, beside the way in that the lab's API servers and nodes take.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::certificates::{Authority, Wanted};
use crate::Topology;
use crate::fabric::{Role, members};
use crate::topology::Bind;

/// Where masters and client1 see the folder.
const PLACE: &str = "/usr/local/lib/etcd";
/// Where members answer with TLS.
const PORT: u16 = 2390;

/// Certificates for it, in a folder of the host that goes with this value.
#[derive(Debug)]
pub struct Guarded {
    folder: TempDir,
}

/// A client certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Signed by the authority that etcd trusts.
    Ours,
    /// Signed by another one.
    Stranger,
}

impl Client {
    fn folder(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Stranger => "stranger",
        }
    }
}

impl Guarded {
    /// Makes the certificates, and has the masters of a lab that is yet to start ask for them.
    pub fn prepare(topology: &mut Topology) -> Result<Self> {
        let guarded = Self { folder: tempfile::Builder::new().prefix("etcd-").tempdir()? };
        let folder = guarded.folder.path();
        let server = members(Role::Master).map(|master| format!("10.122.0.{}", master.number)).collect();
        let authorities = folder.join("authorities");
        for client in [Client::Ours, Client::Stranger] {
            let own = authorities.join(client.folder());
            fs::create_dir_all(&own)?;
            let authority = Authority::new(&own)?;
            let wanted = |name, hosts| Wanted { file: "tls", name, group: None, hosts, kubeconfig: false };
            authority.issue(folder, client.folder(), &wanted("petiole", Vec::new()))?;
            if client == Client::Ours {
                authority.issue(folder, "server", &wanted("etcd", Vec::clone(&server)))?;
                fs::copy(own.join("ca.crt"), folder.join("ca.crt"))?;
            }
        }
        for name in members(Role::Master).map(|master| master.name).chain(["client1"]) {
            let node = topology.nodes.get_mut(name).with_context(|| format!("no node `{name}`"))?;
            node.binds.push(Bind { source: folder.to_owned(), target: Path::new(PLACE).to_owned(), read_only: true });
            if name == "client1" {
                continue;
            }
            let urls = node.env.get_mut("ETCD_LISTEN_CLIENT_URLS").context("no etcd")?;
            *urls = format!("{urls},https://0.0.0.0:{PORT}");
            for (variable, value) in [
                ("ETCD_TRUSTED_CA_FILE", format!("{PLACE}/ca.crt")),
                ("ETCD_CERT_FILE", format!("{PLACE}/server/tls.crt")),
                ("ETCD_KEY_FILE", format!("{PLACE}/server/tls.key")),
                ("ETCD_CLIENT_CERT_AUTH", "true".to_owned()),
            ] {
                node.env.insert(variable.to_owned(), value);
            }
        }
        Ok(guarded)
    }

    /// What `petiole.toml` says where the files of the Secret petiole-etcd are to be used.
    pub fn setting() -> String {
        let members = members(Role::Master).map(|master| format!("\"https://10.122.0.{}:{PORT}\"", master.number));
        let endpoints = members.collect::<Vec<_>>().join(", ");
        let [ca, cert, key] = ["ca.crt", "tls.crt", "tls.key"].map(|file| format!("\"/etc/petiole-etcd/{file}\""));
        format!("etcd = {{ endpoints = [{endpoints}], ca = {ca}, cert = {cert}, key = {key} }}")
    }

    /// The command that puts what the Secret is made of into the working folder, on client1.
    pub fn fetch(client: Client) -> String {
        let own = client.folder();
        format!("cp {PLACE}/ca.crt {PLACE}/{own}/tls.crt {PLACE}/{own}/tls.key .")
    }
}
