//! The store's driver against real etcd members on loopback.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the functions that tests share fail like tests"
)]

mod auth;
mod cluster;
mod faults;
#[path = "../ports/mod.rs"]
mod ports;
mod tls;

use std::time::{Duration, Instant};

use petiole::io::store::Store;
use petiole_node::config::{EtcdSettings, StoreSettings};
use petiole_node::store::watch::{WatchAction, WatchEnd, WatchEvent, WatchId};
use petiole_node::store::{Change, Compare, Op, OpResult, StoreError, Txn, TxnOutcome};
use petiole_node::{Done, EffectId, Input};
use tokio::sync::mpsc;

use cluster::Cluster;

/// For what must happen; a loaded machine may take its time.
const PLENTY: Duration = Duration::from_secs(30);

/// A driver and what it says.
struct Rig {
    store: Store,
    inputs: mpsc::Receiver<Input>,
    next: u64,
}

impl Rig {
    fn new(settings: EtcdSettings) -> Self {
        let (sender, inputs) = mpsc::channel(64);
        Self { store: Store::start(&StoreSettings::Etcd(settings), 0, sender).unwrap(), inputs, next: 1 }
    }

    fn of(endpoints: Vec<String>) -> Self {
        Self::new(EtcdSettings { endpoints, ..EtcdSettings::default() })
    }

    async fn next(&mut self) -> Input {
        tokio::time::timeout(PLENTY, self.inputs.recv())
            .await
            .expect("the driver says nothing")
            .expect("the driver is gone")
    }

    async fn event(&mut self) -> WatchEvent {
        loop {
            match self.next().await {
                Input::Store(event) => return event,
                // An alarm of the cluster may come at any time.
                Input::Trouble { .. } => {}
                other => panic!("not of a watch: {other:?}"),
            }
        }
    }

    fn next_id(&mut self) -> EffectId {
        self.next += 1;
        EffectId(self.next)
    }

    async fn txn(&mut self, txn: Txn) -> Result<TxnOutcome, StoreError> {
        let id = self.next_id();
        self.store.txn(id, txn);
        loop {
            if let Input::Done { id: done, result: Done::Txn(result) } = self.next().await
                && done == id
            {
                return result;
            }
        }
    }

    async fn put(&mut self, key: &str, value: &str) -> TxnOutcome {
        let op = Op::Put { key: key.into(), value: value.into() };
        self.txn(Txn { then: vec![op], ..Txn::default() }).await.unwrap()
    }

    async fn list(&mut self, prefix: &str) -> WatchEvent {
        self.next += 1;
        self.store.watch(WatchAction::List { id: WatchId(self.next), prefix: prefix.into() });
        self.event().await
    }

    async fn watch(&mut self, id: u64, prefix: &str, from: i64) -> WatchEvent {
        self.store.watch(WatchAction::Watch { id: WatchId(id), prefix: prefix.into(), from });
        self.event().await
    }
}

#[tokio::test]
async fn transactions_compare_write_and_read() {
    let cluster = Cluster::start(1);
    let mut rig = Rig::of(cluster.endpoints());
    let claim = |value: &str| Txn {
        when: vec![Compare::Absent("/a".into())],
        then: vec![Op::Put { key: "/a".into(), value: value.into() }, Op::Get("/b".into())],
        otherwise: vec![Op::Get("/a".into()), Op::Delete("/c".into())],
    };
    let first = rig.txn(claim("1")).await.unwrap();
    assert!(first.succeeded);
    assert_eq!(first.results, [OpResult::Put, OpResult::Got(None)]);
    let second = rig.txn(claim("2")).await.unwrap();
    assert!(!second.succeeded);
    let [OpResult::Got(Some(kv)), OpResult::Deleted(0)] = &second.results[..] else { panic!("{second:?}") };
    assert_eq!((kv.value.as_slice(), kv.create_revision, kv.mod_revision), (&b"1"[..], first.revision, first.revision));
    let guarded = Txn {
        when: vec![Compare::ModRevision("/a".into(), first.revision)],
        then: vec![Op::Delete("/a".into())],
        ..Txn::default()
    };
    let third = rig.txn(guarded.clone()).await.unwrap();
    assert_eq!((third.succeeded, &third.results[..]), (true, &[OpResult::Deleted(1)][..]));
    assert!(!rig.txn(guarded).await.unwrap().succeeded);
}

#[tokio::test]
async fn what_etcd_refuses_is_surely_not_done() {
    let cluster = Cluster::start(1);
    let mut rig = Rig::of(cluster.endpoints());
    let twice = Op::Put { key: "/a".into(), value: Vec::new() };
    let refused = rig.txn(Txn { then: vec![twice.clone(), twice], ..Txn::default() }).await;
    let Err(StoreError::Refused(words)) = refused else { panic!("{refused:?}") };
    assert!(words.ends_with("duplicate key given in txn request"), "{words}");
}

#[tokio::test]
async fn lists_have_every_page_at_one_revision() {
    let cluster = Cluster::start(1);
    let mut rig = Rig::of(cluster.endpoints());
    let mut revision = 0;
    for batch in 0..25 {
        let put = |n: u32| Op::Put { key: format!("/many/{:04}", batch * 100 + n), value: vec![b'x'; 100] };
        revision = rig.txn(Txn { then: (0..100).map(put).collect(), ..Txn::default() }).await.unwrap().revision;
    }
    rig.put("/manyother", "not under the prefix").await;
    let WatchEvent::Listed { revision: listed, kvs, .. } = rig.list("/many/").await else { panic!("not listed") };
    assert_eq!(kvs.len(), 2500);
    assert!(kvs.is_sorted_by(|a, b| a.key < b.key));
    assert_eq!(listed, revision + 1);
    let WatchEvent::Listed { kvs, .. } = rig.list("/nothing/").await else { panic!("not listed") };
    assert!(kvs.is_empty());
}

#[tokio::test]
async fn pages_do_not_mix_revisions() {
    let cluster = Cluster::start(1);
    let mut rig = Rig::of(cluster.endpoints());
    for batch in 0..25 {
        let put = |n: u32| Op::Put { key: format!("/many/{:04}", batch * 100 + n), value: vec![b'x'; 1000] };
        rig.txn(Txn { then: (0..100).map(put).collect(), ..Txn::default() }).await.unwrap();
    }
    let mut writer = Rig::of(cluster.endpoints());
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut written = 0;
        while stopped.try_recv().is_err() {
            writer.put("/many/2499", "later").await;
            written += 1;
        }
        written
    });
    for _ in 0..5 {
        let WatchEvent::Listed { revision, kvs, .. } = rig.list("/many/").await else { panic!("not listed") };
        let latest = kvs.iter().map(|kv| kv.mod_revision).max();
        assert!(latest <= Some(revision), "a later page is of {latest:?}, the first of {revision}");
    }
    stop.send(()).unwrap();
    assert!(writing.await.unwrap() > 5);
}

#[tokio::test]
async fn watches_tell_history_then_changes() {
    let cluster = Cluster::start(1);
    let mut rig = Rig::of(cluster.endpoints());
    let first = rig.put("/w/a", "1").await.revision;
    let started = rig.watch(100, "/w/", first).await;
    assert!(matches!(started, WatchEvent::Started { id: WatchId(100), .. }), "{started:?}");
    let WatchEvent::Changes { changes, .. } = rig.event().await else { panic!("no history") };
    assert!(matches!(&changes[..], [Change::Put(kv)] if kv.key == "/w/a" && kv.mod_revision == first), "{changes:?}");
    let deleted = Txn { then: vec![Op::Delete("/w/a".into())], ..Txn::default() };
    rig.store.txn(EffectId(1), deleted);
    let (mut answered, mut told) = (None, None);
    while answered.is_none() || told.is_none() {
        match rig.next().await {
            Input::Done { result: Done::Txn(Ok(outcome)), .. } => answered = Some(outcome.revision),
            Input::Store(WatchEvent::Changes { changes, .. }) => match &changes[..] {
                [Change::Delete { key, mod_revision }] => told = Some((key.clone(), *mod_revision)),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, Some(("/w/a".to_owned(), answered.unwrap())));
}

#[tokio::test]
async fn a_compacted_revision_ends_the_watch_with_the_oldest_one_left() {
    let cluster = Cluster::start(1);
    let mut rig = Rig::of(cluster.endpoints());
    for n in 0..5 {
        rig.put("/c", &n.to_string()).await;
    }
    let mut client = etcd_client::Client::connect(cluster.endpoints(), None).await.unwrap();
    client.compact(5, None).await.unwrap();
    let mut event = rig.watch(7, "/c", 2).await;
    if let WatchEvent::Started { .. } = event {
        event = rig.event().await;
    }
    assert_eq!(event, WatchEvent::Ended { id: WatchId(7), reason: WatchEnd::Compacted { at: 5 } });
}

#[tokio::test]
async fn a_cancelled_watch_is_silent() {
    let cluster = Cluster::start(1);
    let mut rig = Rig::of(cluster.endpoints());
    rig.watch(1, "/x/", 0).await;
    rig.store.watch(WatchAction::Cancel { id: WatchId(1) });
    rig.put("/x/a", "1").await;
    rig.watch(2, "/x/", 0).await;
    rig.store
        .txn(EffectId(99), Txn { then: vec![Op::Put { key: "/x/b".into(), value: Vec::new() }], ..Txn::default() });
    loop {
        match rig.next().await {
            Input::Store(WatchEvent::Changes { id: WatchId(2), .. }) => break,
            Input::Done { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn nobody_there_is_refused_in_words() {
    let endpoint = format!("http://127.0.0.1:{}", ports::free_port());
    let mut rig = Rig::of(vec![endpoint.clone()]);
    let refused = rig.txn(Txn::default()).await;
    let words = format!("{endpoint} refused the connection: nothing listens there");
    assert_eq!(refused, Err(StoreError::Refused(words.clone())));
    let failed = rig.list("/").await;
    assert!(matches!(&failed, WatchEvent::ListFailed { error, .. } if *error == words), "{failed:?}");
    let ended = rig.watch(9, "/", 1).await;
    assert_eq!(ended, WatchEvent::Ended { id: WatchId(9), reason: WatchEnd::Disconnected(words) });
}

/// A pause before the next attempt at what is waited for; past the deadline the test fails with the last answer.
async fn again(deadline: Instant, what: &str, answer: &impl std::fmt::Debug) {
    assert!(Instant::now() < deadline, "{what} does not work yet: {answer:?}");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// From the moment that the member in use goes, by `fault`, until a write works and a new watch tells it.
async fn failover(asking: bool, fault: impl FnOnce(&mut Cluster)) -> Duration {
    let mut cluster = Cluster::start(3);
    let mut rig = Rig::of(cluster.endpoints());
    rig.put("/f/a", "1").await;
    rig.watch(1000, "/f/", 0).await;
    let start = Instant::now();
    fault(&mut cluster);
    if asking {
        rig.store.txn(EffectId(0), Txn { then: vec![Op::Get("/f/a".into())], ..Txn::default() });
    }
    let mut answered = !asking;
    let words = loop {
        match rig.next().await {
            Input::Store(WatchEvent::Ended { reason: WatchEnd::Disconnected(words), .. }) => break words,
            Input::Done { id: EffectId(0), result: Done::Txn(Err(StoreError::Unknown(_))) } => answered = true,
            other => panic!("{other:?}"),
        }
    };
    while !answered {
        answered = matches!(rig.next().await, Input::Done { id: EffectId(0), .. });
    }
    assert!(words.contains("http://127.0.0.1:"), "{words}");
    // The members elect a new leader; whoever asks too early is told so. The node waits between attempts as well.
    let deadline = start + PLENTY;
    let mut watch = 2001;
    loop {
        let event = rig.watch(watch, "/f/", 0).await;
        if let WatchEvent::Started { .. } = event {
            break;
        }
        again(deadline, "a new watch", &event).await;
        watch += 1;
    }
    loop {
        let put = Op::Put { key: "/f/b".into(), value: Vec::new() };
        let Err(error) = rig.txn(Txn { then: vec![put], ..Txn::default() }).await else { break };
        again(deadline, "a write", &error).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_killed_member_is_replaced() {
    let took = failover(false, |cluster| cluster.kill(0)).await;
    // With the election of a new leader, where the dead one was it: a second of etcd's default timeouts.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn a_member_that_went_silent_is_replaced() {
    let took = failover(true, |cluster| cluster.freeze(0)).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// Asking often would cost etcd more than all the rest; what is missed meanwhile is told afterwards.
#[tokio::test]
async fn a_member_that_went_silent_while_nobody_asked_is_replaced_later() {
    let took = failover(false, |cluster| cluster.freeze(0)).await;
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test]
async fn without_a_majority_nothing_is_claimed_and_the_way_back_is_found() {
    let mut cluster = Cluster::start(3);
    let mut rig = Rig::of(cluster.endpoints());
    rig.put("/m/a", "1").await;
    cluster.kill(1);
    cluster.kill(2);
    let failed = loop {
        match rig.list("/m/").await {
            // The last lease of the old majority.
            WatchEvent::Listed { .. } => {}
            WatchEvent::ListFailed { error, .. } => break error,
            other => panic!("{other:?}"),
        }
    };
    assert!(failed.contains("leader") || failed.contains("timed out") || failed.contains("no answer"), "{failed}");
    let claim = rig.txn(Txn { then: vec![Op::Put { key: "/m/b".into(), value: Vec::new() }], ..Txn::default() }).await;
    assert!(claim.is_err(), "{claim:?}");
    cluster.restart(1);
    cluster.restart(2);
    loop {
        if let WatchEvent::Listed { kvs, .. } = rig.list("/m/").await {
            assert!(kvs.iter().any(|kv| kv.key == "/m/a"));
            return;
        }
    }
}
