//! The records of endpoints: one file each, so that pods never wait for each other's.
//!
//! A record is written beside and renamed, so that it is whole or not there, whenever the agent dies. It is not flushed to the
//! disk: what the process wrote outlives the process, and after a loss of power there is no pod whose record could matter; the
//! addresses of those that were carry the agent's mark in the store, and are given back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use petiole_node::pods::{Endpoint, FoundEndpoints};

const FOLDER: &str = "endpoints";
/// The only format there is.
const VERSION: u32 = 1;

/// The folder of records.
#[derive(Clone, Debug)]
pub struct Records(PathBuf);

impl Records {
    /// Below the state folder, and made if need be.
    ///
    /// # Errors
    /// In words, with the path.
    pub fn in_folder(state: &Path) -> Result<Self, String> {
        let folder = state.join(FOLDER);
        fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        Ok(Self(folder))
    }

    /// All records. What cannot be read is told and left where it is.
    #[must_use]
    pub fn read(&self) -> FoundEndpoints {
        let mut found = FoundEndpoints::default();
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) => {
                found.unreadable.push(format!("cannot read the endpoint records in {}: {e}", self.0.display()));
                return found;
            }
        };
        for entry in entries {
            let path = match entry {
                Ok(entry) => entry.path(),
                Err(e) => {
                    found.unreadable.push(format!("cannot read the endpoint records in {}: {e}", self.0.display()));
                    continue;
                }
            };
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => match read(&path) {
                    Ok(endpoint) => found.endpoints.push(endpoint),
                    Err(why) => found.unreadable.push(format!(
                        "cannot use the endpoint record {}: {why}; nothing of pods is cleaned up while it is there: repair or \
                         delete it, then restart the agent",
                        path.display()
                    )),
                },
                // Half written when an agent died.
                Some("new") => drop(fs::remove_file(&path)),
                _ => {}
            }
        }
        found
    }

    /// Replaces a record.
    ///
    /// # Errors
    /// In words, with the path; the record before, if any, is still there.
    pub fn write(&self, endpoint: &Endpoint) -> Result<(), String> {
        let path = self.path(&endpoint.host);
        let beside = path.with_extension("new");
        let failed = |e: io::Error| format!("cannot write the endpoint record {}: {e}", path.display());
        let mut text = serde_json::to_vec(endpoint).map_err(|e| failed(e.into()))?;
        text.push(b'\n');
        let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &path));
        written.map_err(|e| {
            drop(fs::remove_file(&beside));
            failed(e)
        })
    }

    /// Deletes a record; one that is not there is no error.
    ///
    /// # Errors
    /// In words, with the path.
    pub fn remove(&self, host: &str) -> Result<(), String> {
        let path = self.path(host);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(format!("cannot delete the endpoint record {}: {e}", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn path(&self, host: &str) -> PathBuf {
        self.0.join(host).with_extension("json")
    }
}

fn read(path: &Path) -> Result<Endpoint, String> {
    let text = fs::read(path).map_err(|e| e.to_string())?;
    let endpoint: Endpoint = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    match endpoint.version {
        VERSION => Ok(endpoint),
        other => Err(format!("it has format {other}, this agent reads format {VERSION}")),
    }
}

#[cfg(test)]
mod tests;
