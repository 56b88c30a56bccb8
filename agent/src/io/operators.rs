//! Questions of operators on their way to the node and back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use petiole_node::view::{Answer, Query};
use petiole_node::{Input, QueryId};
use tokio::sync::{mpsc, oneshot};

/// An assignment waits for the store this long at most; everything else is answered at once.
const PATIENCE: Duration = Duration::from_secs(10);

type Waiting = BTreeMap<QueryId, oneshot::Sender<Result<Answer, String>>>;

/// The desk where questions wait for their answers.
#[derive(Clone, Debug)]
pub struct Operators(Arc<Desk>);

#[derive(Debug)]
struct Desk {
    inputs: mpsc::Sender<Input>,
    waiting: Mutex<Waiting>,
    next: AtomicU64,
}

impl Operators {
    /// A desk that puts its questions on this channel.
    #[must_use]
    pub fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self(Arc::new(Desk { inputs, waiting: Mutex::default(), next: AtomicU64::new(0) }))
    }

    /// Ask the node.
    ///
    /// # Errors
    /// In words, ending with the next step: the node's refusal, or that it does not answer.
    pub async fn ask(&self, query: Query) -> Result<Answer, String> {
        let id = QueryId(self.0.next.fetch_add(1, Ordering::Relaxed));
        let (sender, answer) = oneshot::channel();
        self.waiting(|waiting| waiting.insert(id, sender));
        let asked = async {
            self.0.inputs.send(Input::Query { id, query }).await.ok()?;
            answer.await.ok()
        };
        let answered = tokio::time::timeout(PATIENCE, asked).await;
        match answered {
            Ok(Some(answer)) => answer,
            Ok(None) => Err("the agent is stopping; ask again when it runs".to_owned()),
            Err(_) => {
                self.waiting(|waiting| waiting.remove(&id));
                Err(format!(
                    "no answer within {} s; is the store reachable? `petiole status` says so",
                    PATIENCE.as_secs()
                ))
            }
        }
    }

    /// The node's answer.
    pub fn reply(&self, id: QueryId, answer: Result<Answer, String>) {
        if let Some(asker) = self.waiting(|waiting| waiting.remove(&id)) {
            // Whoever hung up does not want to know.
            let _ = asker.send(answer);
        }
    }

    fn waiting<R>(&self, with: impl FnOnce(&mut Waiting) -> R) -> R {
        with(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
