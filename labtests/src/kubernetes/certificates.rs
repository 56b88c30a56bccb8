//! One authority, and what it signs: who may ask the API for what is a certificate's name, as Kubernetes has it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::fabric::{MEMBERS, Member, Role};

/// Where nodes see the folder.
pub const PLACE: &str = "/usr/local/lib/kubernetes";
/// Every client's way to the API: the anycast address.
const API: &str = "https://10.122.255.1:6443";
/// What is made: another number here makes it anew.
const EDITION: &str = "1";

/// A certificate to be.
pub(super) struct Wanted<'a> {
    /// File name without ending, in the node's folder.
    pub(super) file: &'a str,
    /// The user, or the server.
    pub(super) name: &'a str,
    /// The user's group.
    pub(super) group: Option<&'a str>,
    /// Names and addresses of a server.
    pub(super) hosts: Vec<String>,
    /// Whether a kubeconfig goes with it.
    pub(super) kubeconfig: bool,
}

/// Makes everything in `FOLDER/pki`, unless it is there.
pub(super) fn make(folder: &Path) -> Result<()> {
    let pki = folder.join("pki");
    if fs::read_to_string(pki.join("edition")).is_ok_and(|edition| edition == EDITION) {
        return Ok(());
    }
    // Beside it first: a lab that starts at the same time sees all or nothing.
    let fresh = folder.join(format!("pki.{}", std::process::id()));
    fs::create_dir_all(&fresh)?;
    let authority = Authority::new(&fresh)?;
    for member in &MEMBERS {
        authority.member(&fresh, member)?;
    }
    let admin = Wanted::user("admin", "kubernetes-admin", Some("system:masters"));
    authority.issue(&fresh, "client1", &admin)?;
    fs::write(fresh.join("edition"), EDITION)?;
    if pki.exists() {
        fs::remove_dir_all(&pki)?;
    }
    fs::rename(&fresh, &pki).with_context(|| pki.display().to_string())
}

impl<'a> Wanted<'a> {
    fn user(file: &'a str, name: &'a str, group: Option<&'a str>) -> Self {
        Self { file, name, group, hosts: Vec::new(), kubeconfig: true }
    }
}

/// A certificate authority.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes one; its certificate is `ca.crt` in this folder.
    pub(super) fn new(pki: &Path) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = named("petiole-lab", None);
        fs::write(pki.join("ca.crt"), params.self_signed(&key)?.pem())?;
        let tokens = KeyPair::generate()?;
        fs::write(pki.join("sa.key"), tokens.serialize_pem())?;
        fs::write(pki.join("sa.pub"), tokens.public_key_pem())?;
        Ok(Self { issuer: Issuer::new(params, key) })
    }

    fn member(&self, pki: &Path, member: &Member) -> Result<()> {
        let own = [format!("10.122.0.{}", member.number), format!("fd00:122::{}", member.number)];
        let issue = |wanted: &Wanted<'_>| self.issue(pki, member.name, wanted);
        match member.role {
            Role::Master => {
                let mut hosts = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
                    .into_iter()
                    .chain(["kubernetes.default.svc.cluster.local", "127.0.0.1", "::1"])
                    .chain(["10.122.255.1", "fd00:122:ffff::1", "10.123.0.1", "fd00:123::1"])
                    .map(str::to_owned)
                    .collect::<Vec<_>>();
                hosts.extend(own);
                let server =
                    Wanted { file: "apiserver", name: "kube-apiserver", group: None, hosts, kubeconfig: false };
                issue(&server)?;
                let (file, group) = ("apiserver-kubelet", Some("system:masters"));
                let client = Wanted { file, name: "kube-apiserver", group, hosts: Vec::new(), kubeconfig: false };
                issue(&client)?;
                issue(&Wanted::user("controller-manager", "system:kube-controller-manager", None))?;
                issue(&Wanted::user("scheduler", "system:kube-scheduler", None))
            }
            Role::Worker => {
                let name = format!("system:node:{}", member.name);
                let hosts = own.into_iter().chain([member.name.to_owned()]).collect();
                let group = Some("system:nodes");
                issue(&Wanted { file: "kubelet", name: &name, group, hosts, kubeconfig: true })?;
                issue(&Wanted::user("kube-proxy", "system:kube-proxy", None))
            }
            Role::Ingress => issue(&Wanted::user("kube-proxy", "system:kube-proxy", None)),
        }
    }

    /// Certificate, key and, for a user, the kubeconfig that names both where the nodes see them.
    pub(super) fn issue(&self, pki: &Path, node: &str, wanted: &Wanted<'_>) -> Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(wanted.hosts.clone())?;
        params.distinguished_name = named(wanted.name, wanted.group);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let folder = pki.join(node);
        fs::create_dir_all(&folder)?;
        let file = wanted.file;
        fs::write(folder.join(format!("{file}.crt")), certificate.pem())?;
        fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?;
        if wanted.kubeconfig {
            fs::write(folder.join(format!("{file}.kubeconfig")), kubeconfig(node, file))?;
        }
        Ok(())
    }
}

fn named(name: &str, group: Option<&str>) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    if let Some(group) = group {
        distinguished.push(DnType::OrganizationName, group);
    }
    distinguished
}

fn kubeconfig(node: &str, file: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
         contexts: [{{ name: lab, context: {{ cluster: lab, user: lab }} }}]\n\
         clusters: [{{ name: lab, cluster: {{ server: \"{API}\", certificate-authority: {PLACE}/pki/ca.crt }} }}]\n\
         users: [{{ name: lab, user: {{ client-certificate: {PLACE}/pki/{node}/{file}.crt, \
         client-key: {PLACE}/pki/{node}/{file}.key }} }}]\n"
    )
}
