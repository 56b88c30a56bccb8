//! Whose fault it was that a hold timer expired.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What was known when a hold timer expired (RFC 4271 section 8.1.3, event 10).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct HoldVerdict {
    /// The hold time.
    pub hold_time: Duration,
    /// Since the last whole message was read; `None` where there was none.
    pub heard: Option<Duration>,
    /// Since data last reached this node, read or not; `None` where nobody has looked.
    pub arrived: Option<Duration>,
    /// Bytes that had arrived and were not read.
    pub unread: u64,
    /// For how long this node stood still within the hold time.
    pub stalled: Duration,
    /// Why nothing may have arrived, in the driver's words.
    pub hint: Option<String>,
}

impl HoldVerdict {
    /// Whether the peer had spoken, and it was this node that did not listen in time.
    #[must_use]
    pub fn we_were_late(&self) -> bool {
        self.unread > 0 || self.arrived.is_some_and(|arrived| arrived < self.hold_time)
    }
}

impl fmt::Display for HoldVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
        let stood = |f: &mut fmt::Formatter<'_>| match self.stalled.is_zero() {
            true => Ok(()),
            false => write!(f, "; this node stood still for {} meanwhile", seconds(self.stalled)),
        };
        if self.we_were_late() {
            f.write_str("we were late: ")?;
            match (self.arrived, self.unread) {
                (Some(arrived), 0) => write!(f, "data from the peer arrived {} ago", seconds(arrived))?,
                (Some(arrived), unread) => {
                    write!(f, "{unread} bytes from the peer lay unread, the last arrived {} ago", seconds(arrived))?;
                }
                (None, unread) => write!(f, "{unread} bytes from the peer lay unread")?,
            }
            return stood(f);
        }
        f.write_str("the peer was silent")?;
        match (self.arrived, self.heard) {
            (Some(arrived), _) => write!(f, ": nothing arrived for {}", seconds(arrived))?,
            (None, Some(heard)) => write!(f, ": no message for {}", seconds(heard))?,
            (None, None) => {}
        }
        stood(f)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}
