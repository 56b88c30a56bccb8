//! Faults of a real etcd that is there: a full database, a slow disk, members that die one after another.

use std::time::{Duration, Instant};

use petiole_node::store::watch::{WatchAction, WatchEvent, WatchId};
use petiole_node::store::{Compare, Op, OpResult, StoreError, Txn};
use petiole_node::{Done, Input};

use crate::cluster::Cluster;
use crate::{PLENTY, Rig, again};

fn write(key: &str, value: Vec<u8>) -> Txn {
    Txn { then: vec![Op::Put { key: key.into(), value }], ..Txn::default() }
}

/// The next trouble that the driver tells by itself.
async fn trouble(rig: &mut Rig) -> String {
    loop {
        if let Input::Trouble { part, what } = rig.next().await {
            assert_eq!(part, "etcd");
            return what;
        }
    }
}

#[tokio::test]
async fn a_full_database_is_named_and_its_end_is_noticed_while_watches_go_on() {
    let flags = ["--quota-backend-bytes", "1000000"].map(str::to_owned).to_vec();
    let cluster = Cluster::start_with(1, flags);
    let mut rig = Rig::of(cluster.endpoints());
    let first = rig.put("/calico/a", "1").await.revision;
    let mut watcher = Rig::of(cluster.endpoints());
    watcher.watch(1, "/calico/", first + 1).await;
    let mut full = None;
    for _ in 0..200 {
        if let Err(error) = rig.txn(write("/fill", vec![b'x'; 50_000])).await {
            full = Some(error);
            break;
        }
    }
    // Surely not written: nothing has to be read back.
    let Some(StoreError::Refused(words)) = full else { panic!("{full:?}") };
    let member = &cluster.endpoints()[0];
    assert!(words.starts_with(&format!("{member}: the database of etcd has reached its quota")), "{words}");
    assert!(words.contains("etcdctl defrag") && words.contains("etcdctl alarm disarm"), "{words}");
    // Also a node that writes nothing says so, in the words of the next question.
    assert_eq!(trouble(&mut watcher).await, words);
    // Reading goes on.
    let listed = rig.list("/calico/").await;
    let WatchEvent::Listed { revision, kvs, .. } = &listed else { panic!("{listed:?}") };
    assert_eq!(kvs.len(), 1);

    let mut root = etcd_client::Client::connect(cluster.endpoints(), None).await.unwrap();
    let physical = etcd_client::CompactionOptions::new().with_physical();
    root.compact(*revision, Some(physical)).await.unwrap();
    root.maintenance_client().defragment().await.unwrap();
    let alarm = etcd_client::AlarmType::Nospace;
    let mut whose = etcd_client::AlarmOptions::new();
    for member in root.alarm(etcd_client::AlarmAction::Get, alarm, None).await.unwrap().alarms() {
        whose.with_member(member.member_id());
    }
    root.alarm(etcd_client::AlarmAction::Deactivate, alarm, Some(whose)).await.unwrap();
    rig.put("/calico/a", "2").await;
    assert_eq!(trouble(&mut watcher).await, "", "its end");
}

/// Stopped and continued in a rhythm, as a member whose disk hangs again and again.
#[tokio::test]
async fn with_a_disk_that_hangs_every_write_is_done_once_or_not_at_all() {
    let cluster = Cluster::start(1);
    let mut rig = Rig::of(cluster.endpoints());
    let mut revision = rig.put("/slow/n", "0").await.revision;
    let mut watcher = Rig::of(cluster.endpoints());
    watcher.watch(1, "/slow/", revision + 1).await;
    let (mut unknown, mut done) = (0, 0);
    // Shorter and longer than the driver's patience, which grows with the answers that it waited for.
    for stopped in [200, 900, 2_600, 16_000, 200, 900] {
        cluster.freeze(0);
        let id = rig.next_id();
        let guarded = Txn {
            when: vec![Compare::ModRevision("/slow/n".into(), revision)],
            then: vec![Op::Put { key: "/slow/n".into(), value: done.to_string().into_bytes() }],
            otherwise: vec![Op::Get("/slow/n".into())],
        };
        rig.store.txn(id, guarded);
        tokio::time::sleep(Duration::from_millis(stopped)).await;
        cluster.thaw(0);
        let outcome = loop {
            if let Input::Done { id: answered, result: Done::Txn(result) } = rig.next().await
                && answered == id
            {
                break result;
            }
        };
        match outcome {
            Ok(outcome) if outcome.succeeded => {
                assert_eq!(outcome.revision, revision + 1, "written twice");
                revision = outcome.revision;
                done += 1;
            }
            // The one before was carried out after all: as who asked again learns.
            Ok(outcome) => {
                let [OpResult::Got(Some(kv))] = &outcome.results[..] else { panic!("{outcome:?}") };
                assert_eq!(kv.mod_revision, revision + 1, "written twice");
                revision = kv.mod_revision;
            }
            Err(StoreError::Unknown(_)) => unknown += 1,
            Err(StoreError::Refused(_)) => {}
        }
    }
    assert!(done > 2 && unknown > 0, "{done} done, {unknown} without an answer");
}

#[tokio::test]
async fn members_that_die_one_after_another_are_left_one_after_another() {
    let mut cluster = Cluster::start(3);
    let mut rig = Rig::of(cluster.endpoints());
    let mut revision = rig.put("/n", "0").await.revision;
    for round in 0..6_usize {
        let victim = round % 3;
        cluster.kill(victim);
        let deadline = Instant::now() + PLENTY;
        loop {
            let guarded = Txn {
                when: vec![Compare::ModRevision("/n".into(), revision)],
                then: vec![Op::Put { key: "/n".into(), value: vec![b'x'] }],
                otherwise: vec![Op::Get("/n".into())],
            };
            match rig.txn(guarded).await {
                Ok(outcome) if outcome.succeeded => {
                    revision = outcome.revision;
                    break;
                }
                Ok(outcome) => {
                    let [OpResult::Got(Some(kv))] = &outcome.results[..] else { panic!("{outcome:?}") };
                    assert_eq!(kv.mod_revision, revision + 1, "an attempt of unknown outcome was carried out, once");
                    revision = kv.mod_revision;
                    break;
                }
                Err(error) => again(deadline, "a write", &error).await,
            }
        }
        // The next one dies as soon as this one is back.
        cluster.restart(victim);
        cluster.await_healthy(victim);
    }
    rig.store.watch(WatchAction::Watch { id: WatchId(9), prefix: "/n".into(), from: revision });
    loop {
        match rig.event().await {
            WatchEvent::Changes { changes, .. } => {
                assert_eq!(changes.len(), 1);
                return;
            }
            WatchEvent::Started { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}
