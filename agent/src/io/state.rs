//! The last known good state on disk.
//!
//! A file is either the old one or the new one, whatever moment the power fails: it is written beside, flushed, renamed, and
//! the folder is flushed too. What cannot be understood is set aside, never deleted: it may be the only copy.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use petiole_node::Saved;

const NAME: &str = "last-known-good.json";
/// The only format there is.
const VERSION: u32 = 1;

/// The state folder of one agent.
#[derive(Clone, Debug)]
pub struct StateFile {
    folder: PathBuf,
}

/// What was found on disk at the start.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// No file: a first start.
    Nothing,
    /// The last known good state.
    Saved(Box<Saved>),
    /// Something else, in words; the file was set aside where that could be done.
    Unusable(String),
}

impl StateFile {
    /// The state in this folder, which must exist.
    #[must_use]
    pub const fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the state is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    /// Read what is there. Never fails: an agent without saved state starts all the same.
    #[must_use]
    pub fn read(&self) -> Found {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Found::Nothing,
            Err(e) => {
                return Found::Unusable(format!(
                    "cannot read {}: {e}; starting without the last known good state",
                    path.display()
                ));
            }
        };
        let why = match serde_json::from_slice::<Saved>(&text) {
            Ok(saved) if saved.version == VERSION => return Found::Saved(Box::new(saved)),
            Ok(saved) => format!("it has format {}, this agent reads format {VERSION}", saved.version),
            Err(e) => e.to_string(),
        };
        let aside = path.with_extension("json.unreadable");
        let what_then = match fs::rename(&path, &aside) {
            Ok(()) => format!("it was set aside as {}", aside.display()),
            Err(e) => format!("it cannot be set aside ({e})"),
        };
        Found::Unusable(format!(
            "cannot use {}: {why}; {what_then}, and the agent starts without the last known good state",
            path.display()
        ))
    }

    /// Replace the state. Blocks for as long as the disk needs.
    ///
    /// # Errors
    /// In words, with the path; the old state is still there then.
    pub fn write(&self, saved: &Saved) -> Result<(), String> {
        let path = self.path();
        let beside = path.with_extension("json.new");
        let at = |path: &Path, e: io::Error| format!("cannot write {}: {e}", path.display());
        let mut text = serde_json::to_vec_pretty(saved).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
        text.push(b'\n');
        let mut file = File::create(&beside).map_err(|e| at(&beside, e))?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| at(&beside, e))?;
        fs::rename(&beside, &path).map_err(|e| at(&path, e))?;
        // Without this the rename itself may be lost with the power.
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(|e| at(&self.folder, e))
    }
}

#[cfg(test)]
mod tests;
