//! Certificates that do not fit, and what the driver says of them.

use std::path::{Path, PathBuf};

use petiole_node::config::EtcdSettings;
use petiole_node::store::watch::WatchEvent;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use crate::Rig;
use crate::cluster::Cluster;

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        let file = dir.join(format!("{name}.pem"));
        std::fs::write(&file, certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), file }
    }

    /// Files of a certificate and its key.
    pub(crate) fn issue(&self, dir: &Path, name: &str, address: &str) -> (PathBuf, PathBuf) {
        self.sign(dir, name, CertificateParams::new(vec![address.to_owned()]).unwrap())
    }

    /// Files of a certificate for this common name, and its key.
    pub(crate) fn issue_to(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        self.sign(dir, name, params)
    }

    fn sign(&self, dir: &Path, name: &str, mut params: CertificateParams) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        files
    }
}

pub(crate) fn serving(files: &(PathBuf, PathBuf), clients: Option<&Authority>) -> Vec<String> {
    let mut flags = vec![
        "--cert-file".to_owned(),
        files.0.display().to_string(),
        "--key-file".to_owned(),
        files.1.display().to_string(),
    ];
    if let Some(clients) = clients {
        flags.extend([
            "--client-cert-auth".to_owned(),
            "--trusted-ca-file".to_owned(),
            clients.file.display().to_string(),
        ]);
    }
    flags
}

/// What a list says: nothing, or why not.
pub(crate) async fn said(settings: EtcdSettings) -> Result<(), String> {
    match Rig::new(settings).list("/").await {
        WatchEvent::Listed { .. } => Ok(()),
        WatchEvent::ListFailed { error, .. } => Err(error),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "etcd-ca");
    let other = Authority::new(dir.path(), "other-ca");
    let cluster = Cluster::start_with(1, serving(&ours.issue(dir.path(), "server", "127.0.0.1"), None));
    let endpoint = cluster.endpoints().remove(0);
    let with = |ca: Option<&Path>| EtcdSettings {
        endpoints: vec![endpoint.clone()],
        ca: ca.map(Path::to_owned),
        ..EtcdSettings::default()
    };

    assert_eq!(said(with(Some(&ours.file))).await, Ok(()));
    let words = said(with(Some(&other.file))).await.unwrap_err();
    let expected = format!(
        "the certificate of {endpoint} is not signed by an authority in CA file {} ([store] etcd ca): give the CA file that signed it",
        other.file.display()
    );
    assert_eq!(words, expected);
    let absent = dir.path().join("absent.pem");
    let words = said(with(Some(&absent))).await.unwrap_err();
    assert!(
        words.starts_with(&format!("cannot read {}", absent.display())) && words.contains("[store] etcd ca"),
        "{words}"
    );
    let plain = endpoint.replace("https://", "http://");
    let words = said(EtcdSettings { endpoints: vec![plain.clone()], ..EtcdSettings::default() }).await.unwrap_err();
    assert!(words.starts_with(&format!("{plain} speaks TLS: write https://")), "{words}");
}

#[tokio::test]
async fn a_certificate_for_another_address_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "etcd-ca");
    let cluster = Cluster::start_with(1, serving(&ours.issue(dir.path(), "server", "10.122.0.1"), None));
    let endpoints = cluster.endpoints();
    let words = said(EtcdSettings { endpoints: endpoints.clone(), ca: Some(ours.file), ..EtcdSettings::default() })
        .await
        .unwrap_err();
    assert!(words.starts_with(&format!("the certificate of {} is for ", endpoints[0])), "{words}");
    assert!(words.contains("10.122.0.1"), "{words}");
}

#[tokio::test]
async fn a_demanded_client_certificate_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "etcd-ca");
    let other = Authority::new(dir.path(), "other-ca");
    let cluster = Cluster::start_with(1, serving(&ours.issue(dir.path(), "server", "127.0.0.1"), Some(&ours)));
    let with = |files: Option<(PathBuf, PathBuf)>| {
        let (cert, key) = files.unzip();
        EtcdSettings { endpoints: cluster.endpoints(), ca: Some(ours.file.clone()), cert, key, login: None }
    };
    assert_eq!(said(with(Some(ours.issue(dir.path(), "client", "127.0.0.1")))).await, Ok(()));
    let words = said(with(None)).await.unwrap_err();
    assert!(words.contains("demand a client certificate: set `cert` and `key`"), "{words}");
    let words = said(with(Some(other.issue(dir.path(), "stranger", "127.0.0.1")))).await.unwrap_err();
    assert!(words.contains("refused our client certificate"), "{words}");
}

#[tokio::test]
async fn https_to_a_plain_member_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "etcd-ca");
    let cluster = Cluster::start(1);
    let endpoint = cluster.endpoints().remove(0).replace("http://", "https://");
    let words =
        said(EtcdSettings { endpoints: vec![endpoint.clone()], ca: Some(ours.file), ..EtcdSettings::default() })
            .await
            .unwrap_err();
    assert_eq!(words, format!("{endpoint} does not speak TLS: write http:// instead of https://"));
}
