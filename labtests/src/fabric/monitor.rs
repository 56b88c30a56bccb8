//! What happens to a node's routes and addresses, event by event: `ip monitor`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::NodeHandle;
use crate::command::Spawned;
use crate::wait::{check, eventually};

/// How long the kernel's news may take to `ip monitor` and its file, on a machine that is busy.
const NEWS: Duration = Duration::from_secs(10);
/// Routes that say where in the stream of events a test is: a table that nothing looks at, a prefix of documentation.
const SENTINELS: &str = "192.0.2.";

/// A recording of all changes of a node's routes and addresses, in every table, of both families.
#[derive(Debug)]
pub struct Monitor {
    node: NodeHandle,
    file: String,
    _ip: Spawned,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it was printed, in seconds since the Unix epoch.
    pub at: f64,
    /// Whether something went.
    pub deleted: bool,
    /// The route or address as `ip` shows it.
    pub what: String,
}

impl Monitor {
    /// Starts recording; when this returns, nothing is missed any more.
    pub fn start(node: &NodeHandle) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let file = format!("/run/monitor-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Times are printed in local time.
        let script = format!("TZ=UTC exec ip -o -ts monitor route address >{file}");
        let monitor = Self { node: node.clone(), _ip: node.spawn(&["sh", "-c", &script])?, file };
        // The first sentinels may come before `ip` listens.
        eventually(NEWS, "ip monitor listens", || monitor.sentinel(Duration::from_millis(100)))?;
        Ok(monitor)
    }

    /// Makes an event and waits until it is recorded: then everything before it is, too.
    fn sentinel(&self, within: Duration) -> Result<()> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed) % 254 + 1;
        let sentinel = format!("{SENTINELS}{number}");
        let all = self.node.read(&self.file)?.len();
        for verb in ["add", "del"] {
            self.node.exec(&["ip", "route", verb, "blackhole", &sentinel, "table", "7"])?;
        }
        let gone = format!("Deleted blackhole {sentinel} ");
        eventually(within, "the sentinel is recorded", || {
            let text = self.node.read(&self.file).map_err(|error| format!("{error:#}"))?;
            let news = text.get(all..).unwrap_or_default();
            check(news.contains(&gone), news)
        })
    }

    /// Everything that happened until now.
    pub fn events(&self) -> Result<Vec<Event>> {
        self.sentinel(NEWS)?;
        let text = self.node.read(&self.file)?;
        let events = text.lines().filter(|line| !line.contains(&format!("blackhole {SENTINELS}")));
        events.map(event).collect()
    }

    /// Everything that went until now.
    pub fn deletions(&self) -> Result<Vec<String>> {
        Ok(self.events()?.into_iter().filter(|event| event.deleted).map(|event| event.what).collect())
    }
}

fn event(line: &str) -> Result<Event> {
    // [2026-11-22T17:12:40.952868] Deleted 10.99.0.0/16 via ...
    let parts = || {
        let (stamp, what) = line.strip_prefix('[')?.split_once("] ")?;
        let (what, deleted) = match what.strip_prefix("Deleted ") {
            Some(what) => (what, true),
            None => (what, false),
        };
        Some(Event { at: seconds(stamp)?, deleted, what: what.trim().to_owned() })
    };
    parts().ok_or_else(|| anyhow!("not an event of ip monitor: {line}"))
}

/// Seconds since the Unix epoch of `2026-11-22T17:12:40.952868`, UTC.
fn seconds(stamp: &str) -> Option<f64> {
    let (date, time) = stamp.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':').map(|part| part.parse::<f64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // Days from the civil date, with the year beginning in March so that a leap day is its last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 719_469;
    #[expect(clippy::cast_precision_loss, reason = "a number of days is small")]
    let days = days as f64;
    Some(((days * 24.0 + hour) * 60.0 + minute) * 60.0 + second)
}

/// When the kernel last changed a folder's entries, in seconds since the Unix epoch: the instant at which a file in it was
/// made or removed.
pub fn changed(node: &NodeHandle, folder: &str) -> Result<f64> {
    let text = node.exec(&["stat", "--format", "%.9Y", folder])?;
    text.trim().parse().with_context(|| format!("stat of {folder}: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read() {
        let line = "[2026-11-22T17:12:40.500000] Deleted 10.99.0.0/16 via 10.122.101.0 dev eth1 ";
        let what = "10.99.0.0/16 via 10.122.101.0 dev eth1".to_owned();
        assert_eq!(event(line).unwrap(), Event { at: 1_795_367_560.5, deleted: true, what });
        assert!(event("10.99.0.0/16").is_err());
        // date --utc --date 2024-02-29T00:00:00 +%s
        assert_eq!(seconds("2024-02-29T00:00:00"), Some(1_709_164_800.0));
        assert_eq!(seconds("1970-01-01T00:00:01"), Some(1.0));
    }
}
