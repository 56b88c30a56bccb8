//! Ctrl-C and its kin: asked for between two steps, so that what was begun is taken down in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// The first signal that asked for the end; 0 while there was none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<AtomicI32>);

impl Interrupt {
    /// Listens from now on, in a thread of its own; signals kill the process no more.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().context("signals")?;
        let mut streams = Vec::new();
        {
            let _inside = runtime.enter();
            for number in [Signal::INT, Signal::TERM, Signal::HUP].map(Signal::as_raw) {
                streams.push((number, signal(SignalKind::from_raw(number)).context("signals")?));
            }
        }
        let flag = interrupt.clone();
        thread::spawn(move || {
            runtime.block_on(async move {
                let tasks = streams.into_iter().map(|(number, mut stream)| {
                    let flag = flag.clone();
                    async move {
                        while stream.recv().await.is_some() {
                            let _first = flag.0.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
                        }
                    }
                });
                let local = tokio::task::LocalSet::new();
                for task in tasks {
                    local.spawn_local(task);
                }
                local.await;
            });
        });
        Ok(interrupt)
    }

    /// The signal that came, by number.
    pub(crate) fn came(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|number| *number != 0)
    }

    /// An error once a signal came.
    pub(crate) fn check(&self) -> Result<()> {
        self.came().map_or(Ok(()), |number| Err(anyhow!("stopped by signal {number}")))
    }
}
