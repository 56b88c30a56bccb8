//! Users, passwords and permissions of a real etcd.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use etcd_client::{Client, ConnectOptions, Permission};
use petiole_node::config::{EtcdLogin, EtcdSettings};
use petiole_node::store::watch::{WatchEnd, WatchEvent};
use petiole_node::store::{Op, StoreError, Txn, TxnOutcome};
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::tls::{Authority, said, serving};
use crate::{PLENTY, Rig};

/// An etcd that demands a login, and what its administrator does.
struct Guarded {
    cluster: Cluster,
    root: Client,
    folder: TempDir,
}

/// A file that its owner alone can read, whole from the first moment.
fn secret(folder: &Path, text: &str) -> PathBuf {
    let file = folder.join("etcd.password");
    let new = folder.join("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    fs::rename(new, &file).unwrap();
    file
}

impl Guarded {
    /// User `petiole` with password `first` may use what is under `/calico/` and `/petiole/`.
    async fn start(flags: &[&str]) -> Self {
        let cluster = Cluster::start_with(1, flags.iter().map(|flag| (*flag).to_owned()).collect());
        Self::over(cluster, None).await
    }

    async fn over(cluster: Cluster, options: Option<ConnectOptions>) -> Self {
        let mut root = Client::connect(cluster.endpoints(), options.clone()).await.unwrap();
        root.user_add("root", "root", None).await.unwrap();
        root.user_grant_role("root", "root").await.unwrap();
        root.user_add("petiole", "first", None).await.unwrap();
        root.role_add("node").await.unwrap();
        let grant = |prefix: &str| Permission::read_write(prefix).with_prefix();
        root.role_grant_permission("node", grant("/calico/")).await.unwrap();
        root.role_grant_permission("node", grant("/petiole/")).await.unwrap();
        root.user_grant_role("petiole", "node").await.unwrap();
        root.auth_enable().await.unwrap();
        let options = options.unwrap_or_default().with_user("root", "root");
        let root = Client::connect(cluster.endpoints(), Some(options)).await.unwrap();
        Self { cluster, root, folder: tempfile::tempdir().unwrap() }
    }

    fn settings(&self, password: &str) -> EtcdSettings {
        let password_file = secret(self.folder.path(), password);
        let login = Some(EtcdLogin { user: "petiole".to_owned(), password_file });
        EtcdSettings { endpoints: self.cluster.endpoints(), login, ..EtcdSettings::default() }
    }

    fn member(&self) -> String {
        self.cluster.endpoints().remove(0)
    }
}

fn write(key: &str) -> Txn {
    Txn { then: vec![Op::Put { key: key.into(), value: Vec::new() }], ..Txn::default() }
}

async fn denied(rig: &mut Rig, key: &str) -> String {
    match rig.txn(write(key)).await {
        Err(StoreError::Refused(words)) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_user_with_a_role_reads_writes_and_watches_its_prefixes_and_no_others() {
    let guarded = Guarded::start(&[]).await;
    let mut rig = Rig::new(guarded.settings("first\n"));
    rig.put("/calico/a", "1").await;
    let WatchEvent::Listed { kvs, .. } = rig.list("/calico/").await else { panic!("not listed") };
    assert_eq!(kvs.len(), 1);
    assert!(matches!(rig.watch(10, "/petiole/v1/", 0).await, WatchEvent::Started { .. }));

    let (member, words) = (guarded.member(), denied(&mut rig, "/other").await);
    assert_eq!(
        words,
        format!(
            "{member} does not let user \"petiole\" write /other: grant a role of that user `readwrite` on the prefixes /calico/ \
             and /petiole/ (etcdctl role grant-permission ROLE --prefix readwrite PREFIX)"
        )
    );
    let WatchEvent::ListFailed { error, .. } = rig.list("/registry/").await else { panic!("listed") };
    assert!(error.starts_with(&format!("{member} does not let user \"petiole\" read /registry/: grant")), "{error}");
    let WatchEvent::Ended { reason: WatchEnd::Cancelled(why), .. } = rig.watch(11, "/registry/", 1).await else {
        panic!("watched")
    };
    assert_eq!(why, error);
}

#[tokio::test]
async fn a_missing_login_and_a_wrong_password_are_named() {
    let guarded = Guarded::start(&[]).await;
    let member = guarded.member();
    let nobody = EtcdSettings { endpoints: guarded.cluster.endpoints(), ..EtcdSettings::default() };
    let words = said(nobody).await.unwrap_err();
    assert!(
        words.starts_with(&format!("{member} demands a login: set `user` and `password_file` in [store] etcd")),
        "{words}"
    );

    let settings = guarded.settings("wrong");
    let file = guarded.folder.path().join("etcd.password").display().to_string();
    let mut rig = Rig::new(settings);
    let expected = format!(
        "{member} refuses the login of user \"petiole\": its password is not the one in {file}, or there is no such user; write \
         the right one into the file, or set it with `etcdctl user passwd petiole`"
    );
    let start = Instant::now();
    for _ in 0..50 {
        let WatchEvent::ListFailed { error, .. } = rig.list("/calico/").await else { panic!("listed") };
        assert_eq!(error, expected);
    }
    // etcd hashes a password for a tenth of a second: one that was refused is not tried each time.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    // The right one counts at once, without a restart.
    secret(guarded.folder.path(), "first");
    rig.put("/calico/a", "1").await;
}

#[tokio::test]
async fn a_changed_password_costs_no_request() {
    let mut guarded = Guarded::start(&[]).await;
    let mut rig = Rig::new(guarded.settings("first"));
    rig.put("/calico/a", "1").await;
    // The new one is in the file before or after etcd knows it; with it etcd forgets the token.
    secret(guarded.folder.path(), "second");
    rig.put("/calico/a", "2").await;
    guarded.root.user_change_password("petiole", "second").await.unwrap();
    rig.put("/calico/a", "3").await;
    guarded.root.user_change_password("petiole", "third").await.unwrap();
    assert!(denied(&mut rig, "/calico/a").await.contains("refuses the login of user \"petiole\""));
    secret(guarded.folder.path(), "third");
    rig.put("/calico/a", "4").await;
}

/// Quiet for longer than tokens live, several times; every request that follows works.
async fn outlives_its_tokens(guarded: Guarded, quiet: Duration) {
    let mut rig = Rig::new(guarded.settings("first"));
    let mut revision = rig.put("/calico/a", "0").await.revision;
    let mut watcher = Rig::new(guarded.settings("first"));
    watcher.watch(10, "/calico/", revision + 1).await;
    for round in 0..2 {
        tokio::time::sleep(quiet).await;
        let TxnOutcome { revision: now, .. } = rig.put("/calico/a", "again").await;
        assert_eq!(now, revision + 1, "round {round}: written twice or not at all");
        revision = now;
        tokio::time::sleep(quiet).await;
        let WatchEvent::Listed { revision: listed, .. } = rig.list("/calico/").await else {
            panic!("round {round}: not listed")
        };
        assert_eq!(listed, revision);
        tokio::time::sleep(quiet).await;
        // A watch with an expired token is denied by etcd, as if the user had no permission.
        let id = 100 + round;
        let opened = rig.watch(id, "/petiole/", revision).await;
        assert!(matches!(opened, WatchEvent::Started { .. }), "round {round}: {opened:?}");
    }
    let mut told = 0;
    while told < 2 {
        let WatchEvent::Changes { changes, .. } = watcher.event().await else { continue };
        told += changes.len();
    }
    assert_eq!(told, 2, "the old watch tells each change once");
}

#[tokio::test]
async fn simple_tokens_that_expire_are_renewed_without_losing_anything() {
    let guarded = Guarded::start(&["--auth-token", "simple", "--auth-token-ttl", "1"]).await;
    outlives_its_tokens(guarded, Duration::from_millis(2500)).await;
}

#[tokio::test]
async fn jwt_tokens_that_expire_or_are_older_than_the_roles_are_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("jwt.key");
    fs::write(&key, "a secret of the members, long enough for HMAC").unwrap();
    let token = format!("jwt,priv-key={},sign-method=HS256,ttl=2s", key.display());
    let mut guarded = Guarded::start(&["--auth-token", &token]).await;
    let mut rig = Rig::new(guarded.settings("first"));
    rig.put("/calico/a", "1").await;
    // Any change of users or roles makes all these tokens old.
    guarded.root.role_add("another").await.unwrap();
    rig.put("/calico/a", "2").await;
    outlives_its_tokens(guarded, Duration::from_millis(2500)).await;
}

#[tokio::test]
async fn login_and_permission_are_given_taken_and_given_again_while_the_agent_runs() {
    let cluster = Cluster::start(1);
    let folder = tempfile::tempdir().unwrap();
    let login = Some(EtcdLogin { user: "petiole".to_owned(), password_file: secret(folder.path(), "first") });
    let settings = EtcdSettings { endpoints: cluster.endpoints(), login, ..EtcdSettings::default() };
    // Nobody has to log in yet: the configuration may come first.
    let mut rig = Rig::new(settings);
    rig.put("/calico/a", "1").await;
    let mut guarded = Guarded::over(cluster, None).await;
    rig.put("/calico/a", "2").await;

    guarded.root.user_revoke_role("petiole", "node").await.unwrap();
    let words = denied(&mut rig, "/calico/a").await;
    assert!(words.contains("does not let user \"petiole\" write /calico/a"), "{words}");
    let WatchEvent::Ended { reason: WatchEnd::Cancelled(why), .. } = rig.watch(5, "/calico/", 1).await else {
        panic!("watched")
    };
    assert!(why.contains("does not let user \"petiole\" read /calico/"), "{why}");
    guarded.root.user_grant_role("petiole", "node").await.unwrap();
    rig.put("/calico/a", "3").await;
    assert!(matches!(rig.watch(6, "/calico/", 1).await, WatchEvent::Started { .. }));
    guarded.root.auth_disable().await.unwrap();
    rig.put("/calico/a", "4").await;
}

#[tokio::test]
async fn a_login_and_a_client_certificate_go_together_and_a_certificate_may_be_the_login() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new(dir.path(), "etcd-ca");
    let server = ours.issue(dir.path(), "server", "127.0.0.1");
    let client = ours.issue(dir.path(), "client", "127.0.0.1");
    // The common name of this one is a user of etcd's.
    let petiole = ours.issue_to(dir.path(), "petiole");
    let cluster = Cluster::start_with(1, serving(&server, Some(&ours)));
    let pem = |file: &Path| fs::read(file).unwrap();
    let tls = etcd_client::TlsOptions::new()
        .ca_certificate(etcd_client::Certificate::from_pem(pem(&ours.file)))
        .identity(etcd_client::Identity::from_pem(pem(&client.0), pem(&client.1)));
    let guarded = Guarded::over(cluster, Some(ConnectOptions::new().with_tls(tls))).await;
    let with = |files: &(PathBuf, PathBuf), login| EtcdSettings {
        endpoints: guarded.cluster.endpoints(),
        ca: Some(ours.file.clone()),
        cert: Some(files.0.clone()),
        key: Some(files.1.clone()),
        login,
    };
    let login = guarded.settings("first").login;
    Rig::new(with(&client, login)).put("/calico/a", "1").await;
    let mut rig = Rig::new(with(&petiole, None));
    rig.put("/calico/a", "2").await;
    assert!(matches!(rig.watch(6, "/calico/", 1).await, WatchEvent::Started { .. }));
    let words = denied(&mut rig, "/other").await;
    let certificate = petiole.0.display();
    assert!(
        words.contains(&format!("does not let the user that the common name of {certificate} stands for write /other")),
        "{words}"
    );
    let start = Instant::now();
    let words = denied(&mut Rig::new(with(&client, None)), "/calico/a").await;
    assert!(words.contains("demands a login") || words.contains("does not let"), "{words}");
    assert!(start.elapsed() < PLENTY);
}
