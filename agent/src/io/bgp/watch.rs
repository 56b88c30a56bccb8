//! Looks at key files and at what the kernel dropped, every second.

use std::sync::Arc;
use std::time::Duration;

use petiole_node::Input;
use petiole_node::bgp::Event;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::Arrival;
use super::counters::Dropped;
use super::key::Key;
use super::neighbours::{Finding, Neighbours};

const EVERY: Duration = Duration::from_secs(1);

/// Look for ever.
pub(super) async fn run(neighbours: Arc<Neighbours>, arrivals: mpsc::Sender<Arrival>, inputs: mpsc::Sender<Input>) {
    let files = neighbours.key_files();
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let files = files.clone();
        // A file may lie on a disk that hangs: then keys stay as they are, and everything else goes on.
        let read =
            tokio::task::spawn_blocking(move || files.into_iter().map(|(id, path)| (id, Key::read(&path))).collect());
        let Ok(read) = read.await else { return };
        for finding in neighbours.look(read, Dropped::now()) {
            let told = match finding {
                Finding::Ended(conn, words) => tell(&arrivals, Event::Closed { conn, error: Some(words) }).await,
                Finding::Hint(conn, what) => tell(&arrivals, Event::Hint { conn, what }).await,
                Finding::Trouble(id, what) => {
                    inputs.send(Input::Trouble { part: format!("session with {id}"), what }).await.is_ok()
                }
            };
            if !told {
                return;
            }
        }
    }
}

async fn tell(arrivals: &mpsc::Sender<Arrival>, event: Event) -> bool {
    arrivals.send(Arrival { event, stream: None }).await.is_ok()
}
