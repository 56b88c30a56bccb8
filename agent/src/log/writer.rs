//! Lines go to standard error from a thread of their own: a collector that has stopped reading must not stop the agent.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the collector; more are dropped and counted.
const WAITING: usize = 4096;
/// How long the end of the process waits for a collector.
const PATIENCE: Duration = Duration::from_millis(500);

/// Takes lines and never waits.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    End,
}

/// Ends the thread once everything before was written, or the collector's time is over.
#[derive(Debug)]
pub struct Flush {
    lines: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A writer in front of `sink`.
pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<(Lines, Flush)> {
    let (sender, receiver) = sync_channel(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn(move || write(sink, &receiver, &counted))?;
    Ok((Lines { lines: sender.clone(), lost }, Flush { lines: sender, thread: Mutex::new(Some(thread)) }))
}

fn write(mut sink: impl Write, lines: &Receiver<Message>, lost: &AtomicU64) {
    while let Ok(Message::Line(line)) = lines.recv() {
        // A standard error that is closed has nobody to tell so.
        let _ = sink.write_all(&line);
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(sink, "{lost} log lines were lost here: whoever reads the log was too slow");
        }
    }
    let _ = sink.flush();
}

impl Drop for Flush {
    fn drop(&mut self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let deadline = Instant::now() + PATIENCE;
        let mut told = false;
        while let Some(thread) = thread.as_ref()
            && !thread.is_finished()
            && Instant::now() < deadline
        {
            told = told || self.lines.try_send(Message::End).is_ok();
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Write for Lines {
    /// One call is one line: the subscriber formats a whole event first.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_before_the_end() {
        let sink = Sink::default();
        let (mut lines, flush) = start(sink.clone()).unwrap();
        for n in 0..100 {
            writeln!(lines, "{n}").unwrap();
        }
        drop(flush);
        let expected: String = (0..100).map(|n| format!("{n}\n")).collect();
        assert_eq!(String::from_utf8(sink.0.lock().unwrap().clone()).unwrap(), expected);
    }

    #[test]
    fn a_stuck_collector_stops_nobody_and_the_loss_is_counted() {
        let sink = Sink::default();
        let stuck = sink.0.lock().unwrap();
        let (mut lines, flush) = start(sink.clone()).unwrap();
        for _ in 0..WAITING + 100 {
            lines.write_all(b"x\n").unwrap();
        }
        drop(stuck);
        drop(flush);
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("log lines were lost here"), "nothing was lost");
    }
}
