//! What daemons sent, as test data for the codec: `bgp/testdata/DAEMON-VERSION.hex`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::capture::{self, Message, Sender};
use super::daemon::Kind;
use super::report::version_of;
use super::tools::Tools;

/// A longer message has nothing that a shorter one has not.
const LONGEST: usize = 400;

/// The messages of one daemon, by the OPEN that says how to read them; each only once.
#[derive(Debug, Default)]
pub(crate) struct Vectors {
    sessions: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl Vectors {
    /// Takes what the leaf said in one scene.
    pub(crate) fn take(&mut self, messages: &[Message]) {
        let mut session = None;
        for message in messages.iter().filter(|m| m.sender == Sender::Leaf && m.bytes.len() <= LONGEST) {
            if message.kind() == capture::OPEN && message.body().get(1..3) != Some(&[0xfd, 0xe9]) {
                // On a link without addresses the node may be taken for the leaf; its AS is another.
                session = None;
            } else if message.kind() == capture::OPEN {
                let known = self.sessions.iter().position(|(open, _)| *open == message.bytes);
                session = Some(known.unwrap_or_else(|| {
                    self.sessions.push((message.bytes.clone(), Vec::new()));
                    self.sessions.len() - 1
                }));
            } else if message.kind() != capture::KEEPALIVE
                && let Some((_, said)) = session.and_then(|at| self.sessions.get_mut(at))
                && !said.contains(&message.bytes)
            {
                said.push(message.bytes.clone());
            }
        }
    }

    /// Writes the file.
    pub(crate) fn write(&self, kind: Kind, tools: &Tools, folder: &Path) -> Result<()> {
        let (name, version) = (kind.name(), version_of(kind, tools));
        let mut text = format!(
            "# What {name} {version}, AS 65001, sent to AS 4200000011 in the runs of `cargo xtask interop`, a message a line: each\n\
             # OPEN with what followed in sessions that began with it. Recorded from the wire; KEEPALIVEs are left out.\n"
        );
        for (open, said) in &self.sessions {
            for message in std::iter::once(open).chain(said) {
                message.iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
                text.push('\n');
            }
        }
        let path = folder.join(format!("{}-{version}.hex", name.to_ascii_lowercase()));
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}
