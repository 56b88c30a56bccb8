//! The driver of an etcd cluster.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Compare as Cmp, CompareOp, Error, EventType, GetOptions, Txn as EtcdTxn, TxnOp, TxnOpResponse, WatchOptions,
    WatchResponse,
};
use petiole_node::Input;
use petiole_node::config::EtcdSettings;
use petiole_node::store::watch::{WatchAction, WatchEnd, WatchEvent, WatchId};
use petiole_node::store::{Change, Compare, KeyValue, Op, OpResult, Revision, StoreError, Txn, TxnOutcome};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::login::Why;
use super::members::{Member, Members};
use super::quiet::{Due, Quiet};
use super::{Order, done, words};

/// Keys a page: a few megabytes of the largest values there are.
const PAGE: i64 = 1000;
/// How long a page of a list, or the beginning of a watch, may take from a member that shows signs of life all the time.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a transaction may take when etcd has had a new leader since. One that was sent to a leader that died is lost:
/// waiting longer only delays the reading back.
const NEW_LEADER: Duration = Duration::from_secs(2);
/// No answer of etcd is larger; the library's own limit is less than a page of full blocks.
const LARGEST: usize = 256 << 20;

/// Serve orders until nobody can order any more.
pub(super) async fn run(
    settings: EtcdSettings,
    spread: u64,
    mut orders: mpsc::UnboundedReceiver<Order>,
    inputs: mpsc::Sender<Input>,
) {
    let members = Arc::new(Members::new(settings, spread, inputs.clone()));
    let mut running: BTreeMap<WatchId, AbortOnDrop> = BTreeMap::new();
    while let Some(order) = orders.recv().await {
        running.retain(|_, task| !task.0.is_finished());
        let (members, inputs) = (Arc::clone(&members), inputs.clone());
        match order {
            Order::Txn(id, txn) => {
                tokio::spawn(async move {
                    let result = run_txn(&members, &txn).await;
                    let _ = inputs.send(done(id, result)).await;
                });
            }
            Order::Watch(WatchAction::List { id, prefix }) => {
                let task = tokio::spawn(async move {
                    let event = match list(&members, &prefix).await {
                        Ok((revision, kvs)) => WatchEvent::Listed { id, revision, kvs },
                        Err(error) => WatchEvent::ListFailed { id, error },
                    };
                    let _ = inputs.send(Input::Store(event)).await;
                });
                running.insert(id, AbortOnDrop(task.abort_handle()));
            }
            Order::Watch(WatchAction::Watch { id, prefix, from }) => {
                let task = tokio::spawn(async move {
                    let reason = match watch(&members, id, &prefix, from, &inputs).await {
                        Ok(end) | Err(end) => end,
                    };
                    let _ = inputs.send(Input::Store(WatchEvent::Ended { id, reason })).await;
                });
                running.insert(id, AbortOnDrop(task.abort_handle()));
            }
            Order::Watch(WatchAction::Cancel { id }) => drop(running.remove(&id)),
        }
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run_txn(members: &Arc<Members>, txn: &Txn) -> Result<TxnOutcome, StoreError> {
    let member = members.member().await.map_err(StoreError::Refused)?;
    let seen = member.token().await;
    match ask_txn(members, &member, txn).await {
        // etcd looks at the token before anything else, so nothing was done.
        Err(Asked::StaleToken(words)) => match members.renew(&member, seen, Why::Expired).await {
            Ok(true) => ask_txn(members, &member, txn).await,
            Ok(false) => Err(Asked::Failed(StoreError::Refused(words))),
            Err(words) => Err(Asked::Failed(StoreError::Refused(words))),
        },
        answer => answer,
    }
    .map_err(|asked| match asked {
        Asked::StaleToken(words) => StoreError::Refused(words),
        Asked::Failed(error) => error,
    })
}

/// Why a request has no answer.
enum Asked<E> {
    /// Nobody looked at it, because the token is not good any more; in words.
    StaleToken(String),
    Failed(E),
}

async fn ask_txn(members: &Arc<Members>, member: &Member, txn: &Txn) -> Result<TxnOutcome, Asked<StoreError>> {
    let mut kv = member.client.kv_client().max_decoding_message_size(LARGEST);
    let unknown = |why| Err(Asked::Failed(StoreError::Unknown(why)));
    // What is read back for nothing is one more thing for an etcd that is slow anyway.
    let (new_leader, patience) = (member.pulse.another_term(), member.pulse.unusually_long());
    let lost = async {
        tokio::join!(new_leader, tokio::time::sleep(NEW_LEADER));
    };
    let answer = tokio::select! {
        answer = member.answer(kv.txn(request(txn))) => answer,
        () = lost => return unknown(format!("no answer from {}, and etcd has a new leader", member.endpoint)),
        // Says nothing about the member, which may have done all it could: its heartbeat judges it.
        () = tokio::time::sleep(patience) => {
            return unknown(format!("no answer from {} within {:.0} s", member.endpoint, patience.as_secs_f32()));
        }
    };
    match answer {
        Err(why) => unknown(why),
        Ok(Err(error)) if words::is(&error, words::STALE_TOKEN) => {
            Err(Asked::StaleToken(words::describe(&error, &member.endpoint, &members.settings)))
        }
        Ok(Err(error)) if words::is(&error, &[words::DENIED]) => {
            let key = txn.then.first().map_or_else(|| txn.when.first().map_or("", Compare::key), Op::key);
            let verb = if txn.is_read() { "read" } else { "write" };
            let words = words::denied(&member.endpoint, &members.settings, verb, key);
            Err(Asked::Failed(StoreError::Refused(words)))
        }
        Ok(Err(error)) => {
            let outcome = words::txn_error(&error, &member.endpoint, &members.settings);
            if words::is_members_fault(&error) {
                member.fail(&outcome.to_string());
            }
            Err(Asked::Failed(outcome))
        }
        Ok(Ok(answer)) => {
            let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
            let branch = if answer.succeeded() { &txn.then } else { &txn.otherwise };
            let results: Vec<OpResult> = answer.op_responses().into_iter().map(result).collect();
            if results.len() != branch.len() {
                let (got, wanted) = (results.len(), branch.len());
                return unknown(format!("{} answered {got} of {wanted} operations", member.endpoint));
            }
            Ok(TxnOutcome { succeeded: answer.succeeded(), revision, results })
        }
    }
}

fn request(txn: &Txn) -> EtcdTxn {
    let when: Vec<Cmp> = txn
        .when
        .iter()
        .map(|compare| match compare {
            Compare::Absent(key) => Cmp::version(key.as_str(), CompareOp::Equal, 0),
            Compare::ModRevision(key, revision) => Cmp::mod_revision(key.as_str(), CompareOp::Equal, *revision),
        })
        .collect();
    let operations = |ops: &[Op]| -> Vec<TxnOp> {
        ops.iter()
            .map(|op| match op {
                Op::Put { key, value } => TxnOp::put(key.as_str(), value.as_slice(), None),
                Op::Delete(key) => TxnOp::delete(key.as_str(), None),
                Op::Get(key) => TxnOp::get(key.as_str(), None),
            })
            .collect()
    };
    EtcdTxn::new().when(when).and_then(operations(&txn.then)).or_else(operations(&txn.otherwise))
}

fn result(response: TxnOpResponse) -> OpResult {
    match response {
        TxnOpResponse::Put(_) => OpResult::Put,
        TxnOpResponse::Delete(deleted) => OpResult::Deleted(u64::try_from(deleted.deleted()).unwrap_or(0)),
        TxnOpResponse::Get(got) => OpResult::Got(got.kvs().first().and_then(key_value)),
        // Never asked for.
        TxnOpResponse::Txn(_) => OpResult::Got(None),
    }
}

/// Every key under the prefix, at the revision of the first page.
async fn list(members: &Arc<Members>, prefix: &str) -> Result<(Revision, Vec<KeyValue>), String> {
    let member = members.member().await?;
    let end = prefix_end(prefix);
    let mut from = prefix.as_bytes().to_vec();
    let mut revision = 0;
    let mut kvs = Vec::new();
    loop {
        let mut options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
        if revision > 0 {
            options = options.with_revision(revision);
        }
        let page = get(members, &member, prefix, from, options).await?;
        if revision == 0 {
            revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
        }
        let Some(last) = page.kvs().last() else { return Ok((revision, kvs)) };
        from = [last.key(), &[0]].concat();
        kvs.extend(page.kvs().iter().filter_map(key_value));
        if !page.more() {
            return Ok((revision, kvs));
        }
    }
}

async fn get(
    members: &Arc<Members>,
    member: &Member,
    prefix: &str,
    from: Vec<u8>,
    options: GetOptions,
) -> Result<etcd_client::GetResponse, String> {
    let seen = member.token().await;
    match ask_page(members, member, prefix, from.clone(), options.clone()).await {
        Err(Asked::StaleToken(words)) => {
            if !members.renew(member, seen, Why::Expired).await? {
                return Err(words);
            }
            ask_page(members, member, prefix, from, options).await
        }
        answer => answer,
    }
    .map_err(|asked| match asked {
        Asked::StaleToken(words) | Asked::Failed(words) => words,
    })
}

async fn ask_page(
    members: &Arc<Members>,
    member: &Member,
    prefix: &str,
    from: Vec<u8>,
    options: GetOptions,
) -> Result<etcd_client::GetResponse, Asked<String>> {
    let mut kv = member.client.kv_client().max_decoding_message_size(LARGEST);
    match tokio::time::timeout(PATIENCE, member.answer(kv.get(from, Some(options)))).await {
        Ok(Ok(Ok(page))) => Ok(page),
        Ok(Ok(Err(error))) if words::is(&error, words::STALE_TOKEN) => {
            Err(Asked::StaleToken(words::describe(&error, &member.endpoint, &members.settings)))
        }
        Ok(Ok(Err(error))) if words::is(&error, &[words::DENIED]) => {
            Err(Asked::Failed(words::denied(&member.endpoint, &members.settings, "read", prefix)))
        }
        Ok(Ok(Err(error))) => Err(Asked::Failed(failed(members, member, &error))),
        Ok(Err(why)) => Err(Asked::Failed(why)),
        Err(_) => {
            let why = format!("no answer from {} within {} s", member.endpoint, PATIENCE.as_secs());
            member.fail(&why);
            Err(Asked::Failed(why))
        }
    }
}

fn failed(members: &Arc<Members>, member: &Member, error: &Error) -> String {
    let why = words::describe(error, &member.endpoint, &members.settings);
    if words::is_members_fault(error) {
        member.fail(&why);
    }
    why
}

async fn watch(
    members: &Arc<Members>,
    id: WatchId,
    prefix: &str,
    from: Revision,
    inputs: &mpsc::Sender<Input>,
) -> Result<WatchEnd, WatchEnd> {
    let member = members.member().await.map_err(WatchEnd::Disconnected)?;
    let seen = member.token().await;
    let end = follow(members, &member, id, prefix, from, inputs).await;
    let Some(why) = refused(&end) else { return end };
    // What is told twice by a second watch from the same revision is not news to anybody.
    let renewed = members.renew(&member, seen, why).await.map_err(WatchEnd::Cancelled)?;
    let end = if renewed { follow(members, &member, id, prefix, from, inputs).await } else { end };
    match refused(&end) {
        Some(_) => Err(WatchEnd::Cancelled(match (&end, &members.settings.login) {
            (Ok(WatchEnd::Cancelled(why)) | Err(WatchEnd::Cancelled(why)), _) if why.contains(words::DENIED) => {
                words::denied(&member.endpoint, &members.settings, "read", prefix)
            }
            (_, None) => words::no_login(&member.endpoint),
            (_, Some(_)) => format!("{} does not know its own token of a moment ago", member.endpoint),
        })),
        None => end,
    }
}

/// Whether a watch ended because of this node's user.
fn refused(end: &Result<WatchEnd, WatchEnd>) -> Option<Why> {
    match end {
        Ok(WatchEnd::Cancelled(reason)) | Err(WatchEnd::Cancelled(reason)) => Why::of_cancel(reason),
        _ => None,
    }
}

async fn follow(
    members: &Arc<Members>,
    member: &Member,
    id: WatchId,
    prefix: &str,
    from: Revision,
    inputs: &mpsc::Sender<Input>,
) -> Result<WatchEnd, WatchEnd> {
    // Not fragmented: a revision cut in two could be lost by half when the stream breaks between.
    let options = WatchOptions::new().with_prefix().with_start_revision(from).with_progress_notify();
    let mut client = member.client.watch_client().max_decoding_message_size(LARGEST);
    let follow = async {
        let opened = tokio::time::timeout(PATIENCE, member.pulse.answer(client.watch(prefix, Some(options)))).await;
        let mut stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(broken(members, member, &error)),
            Err(_) => return Err(WatchEnd::Disconnected(format!("{} does not open a watch", member.endpoint))),
        };
        let mut quiet = Quiet::new(members.spread ^ id.0, Instant::now());
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                () = tokio::time::sleep_until(quiet.until()) => match quiet.due(Instant::now()) {
                    Due::Ask => {
                        if let Err(error) = stream.request_progress().await {
                            return Err(broken(members, member, &error));
                        }
                        continue;
                    }
                    Due::GiveUp => {
                        let why = format!("{} says nothing on the watch of {prefix}", member.endpoint);
                        return Err(WatchEnd::Disconnected(why));
                    }
                },
            };
            quiet.heard(Instant::now());
            match message {
                Ok(Some(answer)) => {
                    member.pulse.heard();
                    let (event, end) = translate(id, &answer);
                    if let Some(event) = event {
                        let _ = inputs.send(Input::Store(event)).await;
                    }
                    if let Some(end) = end {
                        return Ok(end);
                    }
                }
                Ok(None) => return Err(WatchEnd::Disconnected(format!("{} ended the watch", member.endpoint))),
                Err(error) => return Err(broken(members, member, &error)),
            }
        }
    };
    tokio::select! {
        biased;
        end = follow => end,
        why = member.failed() => Err(WatchEnd::Disconnected(why)),
    }
}

fn broken(members: &Arc<Members>, member: &Member, error: &Error) -> WatchEnd {
    if let Error::GRpcStatus(status) = error
        && Why::of_cancel(status.message()).is_some()
    {
        return WatchEnd::Cancelled(status.message().to_owned());
    }
    WatchEnd::Disconnected(failed(members, member, error))
}

fn translate(id: WatchId, answer: &WatchResponse) -> (Option<WatchEvent>, Option<WatchEnd>) {
    let revision = answer.header().map_or(0, etcd_client::ResponseHeader::revision);
    if answer.canceled() {
        let end = match answer.compact_revision() {
            0 => WatchEnd::Cancelled(answer.cancel_reason().to_owned()),
            at => WatchEnd::Compacted { at },
        };
        return (None, Some(end));
    }
    if answer.created() {
        return (Some(WatchEvent::Started { id, revision }), None);
    }
    let changes: Vec<Change> = answer.events().iter().filter_map(change).collect();
    let event = match (changes.is_empty(), answer.events().is_empty()) {
        (false, _) => WatchEvent::Changes { id, revision, changes },
        // Also what answers a question, which belongs to no watch: there is one watch on each stream.
        (true, true) => WatchEvent::Progress { id, revision },
        // Only keys that are no text: none of ours.
        (true, false) => return (None, None),
    };
    (Some(event), None)
}

fn change(event: &etcd_client::Event) -> Option<Change> {
    let kv = event.kv()?;
    match event.event_type() {
        EventType::Put => key_value(kv).map(Change::Put),
        EventType::Delete => {
            Some(Change::Delete { key: kv.key_str().ok()?.to_owned(), mod_revision: kv.mod_revision() })
        }
    }
}

/// `None` for a key that is no text: neither Calico nor Petiole writes such keys.
fn key_value(kv: &etcd_client::KeyValue) -> Option<KeyValue> {
    Some(KeyValue {
        key: kv.key_str().ok()?.to_owned(),
        value: kv.value().to_vec(),
        create_revision: kv.create_revision(),
        mod_revision: kv.mod_revision(),
    })
}

/// The first key after all that start with the prefix; `\0` means the end of the keyspace (etcd's `RangeRequest`).
fn prefix_end(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

#[cfg(test)]
mod tests;
