//! What a lab leaves on the host, written down before it is made: `/run/petiole-lab/<lab>/`.
//!
//! `lab.json` names every namespace the lab will ever have, so that `down` can clear up after an `up` that was killed at
//! any point. Processes are found by scanning (see [`crate::procs`]); mounts are private to the nodes and die with them.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::procs;
use crate::wait::eventually;

/// Where the states of all labs lie.
pub const ROOT: &str = "/run/petiole-lab";

/// What is known of a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Lab name.
    pub name: String,
    /// The topology's folder, for people.
    pub topology: PathBuf,
    /// Whether `up` came to its end.
    pub complete: bool,
    /// The process the lab may not outlive: a test's labs end with the test. None for labs that a person brought up.
    pub owner: Option<procs::Identity>,
    /// All nodes.
    pub nodes: Vec<NodeRecord>,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Node name.
    pub name: String,
    /// Kind, always `linux`.
    pub kind: String,
    /// Name of its network namespace.
    pub container: String,
    /// Environment of everything executed in the node.
    pub env: Vec<(String, String)>,
    /// Own interface, then the other end as `node:interface`.
    pub links: Vec<(String, String)>,
}

/// A lab's folder, held by an exclusive lock while `up` or `down` is at work.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    lock: File,
}

impl StateDir {
    /// Takes the lab's folder, making it where it is missing. Fails when another `up` or `down` of the lab is at work
    /// and stays so for five seconds.
    pub fn lock(lab: &str) -> Result<Self> {
        let path = dir(lab);
        let held = "another up or down of this lab is at work; wait for it, or end it first";
        // A child that a killed `up` was just starting holds the lock until it has its own program.
        eventually(Duration::from_secs(5), &format!("the lock of lab `{lab}`"), || {
            fs::create_dir_all(&path).map_err(|error| format!("{}: {error}; are you root?", path.display()))?;
            let lock = File::create(path.join("lock")).map_err(|error| format!("{}: {error}", path.display()))?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| held.to_owned())?;
            // The folder may have been removed between the opening and the locking; then the lock is worth nothing.
            let same = fs::metadata(path.join("lock")).and_then(|there| Ok(there.ino() == lock.metadata()?.ino()));
            if same.is_ok_and(|same| same) { Ok(Self { path: path.clone(), lock }) } else { Err(held.to_owned()) }
        })
    }

    /// Writes the record, whole or not at all.
    pub fn write(&self, record: &Record) -> Result<()> {
        let temporary = self.path.join("lab.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(record)?)?;
        fs::rename(&temporary, self.path.join("lab.json"))?;
        Ok(())
    }

    /// The folder of one node, made.
    pub fn node(&self, node: &str) -> Result<PathBuf> {
        let path = node_dir(&self.path, node);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    /// Removes the folder.
    pub fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.path).with_context(|| format!("cannot remove {}", self.path.display()))
    }
}

impl Drop for StateDir {
    /// Closing the file would not do: a child that another thread is just starting still has it open.
    fn drop(&mut self) {
        let _free = flock(&self.lock, FlockOperation::Unlock);
    }
}

/// A lab's folder.
pub fn dir(lab: &str) -> PathBuf {
    Path::new(ROOT).join(lab)
}

/// A node's folder inside a lab's folder.
pub fn node_dir(lab: &Path, node: &str) -> PathBuf {
    lab.join("nodes").join(node)
}

/// The record of a lab, or None where there is no such lab.
pub fn read(lab: &str) -> Result<Option<Record>> {
    let path = dir(lab).join("lab.json");
    match fs::read(&path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// The names of all labs on this machine, sorted.
pub fn labs() -> Result<Vec<String>> {
    let entries = match fs::read_dir(ROOT) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(ROOT),
    };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}
