//! Whether the member in use still answers, knows a leader, and can write.
//!
//! What is asked here is nearly all that an idle node costs etcd, so it is asked seldom, and a fleet that started at the same
//! moment is spread. HTTP/2 pings would not do: etcd hangs up on clients that send them often (`--grpc-keepalive-min-time`), and
//! they say nothing of a leader. Time is monotonic here: a clock that is set changes nothing.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::members::{Member, Members, PATIENCE_ALONE};
use super::spread::pause;
use super::words;

/// Between two questions while nothing else is asked: 0.8 to 1.2 times this.
const IDLE: Duration = Duration::from_secs(15);
/// How long a member may be silent before the others are asked.
const PATIENCE: Duration = Duration::from_millis(1500);
/// Between two questions while answers are late.
const BUSY: Duration = Duration::from_secs(1);

/// Ask whether the member still answers until it does not, or has failed otherwise.
pub(super) async fn run(member: Member, members: Arc<Members>) {
    let (mut client, spread) = (member.client.clone(), members.spread);
    let beat = async {
        // The first one anywhere in the interval.
        let mut pause = pause(spread, 0, Duration::ZERO, IDLE);
        let mut round = 0;
        loop {
            round += 1;
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = member.pulse.doubted() => {}
            }
            match answer(&member, &members, client.status()).await {
                None => {
                    members.strain.grow();
                    return format!("{} has stopped answering", member.endpoint);
                }
                // It answers; whoever has something to ask logs in.
                Some(Err(e)) if words::is(&e, words::STALE_TOKEN) => {}
                Some(Err(e)) => return words::describe(&e, &member.endpoint, &members.settings),
                Some(Ok(status)) if status.leader() == 0 => return format!("{} has lost its leader", member.endpoint),
                Some(Ok(status)) => {
                    members.strain.ease();
                    member.pulse.learn_term(status.raft_term());
                    members.alarms.report(&member.endpoint, status.errors()).await;
                }
            }
            tokio::time::sleep(BUSY).await;
            pause = self::pause(spread, round, IDLE.mul_f32(0.8), IDLE.mul_f32(1.2)).saturating_sub(BUSY);
        }
    };
    tokio::select! {
        why = beat => member.fail(&why),
        _ = member.failed() => {}
    }
}

/// The answer; `None` when the member is silent and another one is not, or all have been for long: whoever leaves a slow
/// member for nobody has gained nothing.
async fn answer<T>(member: &Member, members: &Members, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    if let Some(answer) = member.pulse.unless_silent(&mut answer, members.strain.patience(PATIENCE)).await {
        return Some(answer);
    }
    tokio::select! {
        biased;
        answer = member.pulse.unless_silent(answer, members.strain.patience(PATIENCE_ALONE)) => answer,
        () = members.another_than(&member.endpoint) => None,
    }
}

#[cfg(test)]
mod tests;
