//! What must be true before the agent may begin; each failure says what to do.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use petiole_node::config::Settings;
use rustix::fs::{FlockOperation, flock};

/// `CAP_NET_ADMIN`, linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
/// `CAP_NET_BIND_SERVICE`, linux/capability.h.
const CAP_NET_BIND_SERVICE: u32 = 10;

/// Why the agent cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The process may not change the kernel's routes.
    #[error(
        "the agent needs CAP_NET_ADMIN to write routes and addresses, and does not have it: run it as root, or give its unit \
         `AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE`, its pod `securityContext.capabilities.add`"
    )]
    NoNetAdmin,
    /// The state folder cannot be made or written.
    #[error(
        "cannot write the state directory {folder}: {error}; make it writable for the user that runs the agent, or set [paths] \
         state to one that is"
    )]
    State {
        /// Which.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The run folder cannot be made or written.
    #[error(
        "cannot write the run directory {folder}: {error}; make it writable for the user that runs the agent (a unit has \
         `RuntimeDirectory=petiole` for it), or set [paths] run to one that is"
    )]
    Run {
        /// Which.
        folder: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another agent has the lock.
    #[error(
        "another agent runs on this node{}: it holds {lock}; stop it first (systemctl stop petiole, or kill its process), or \
         give this one its own [paths] run", pid.map(|p| format!(" with process id {p}")).unwrap_or_default()
    )]
    SecondAgent {
        /// The lock file.
        lock: PathBuf,
        /// The other's process id, as it wrote it.
        pid: Option<u32>,
    },
}

/// Held for as long as the agent lives; the kernel lets go of the lock with the process, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Check everything and take the lock.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn check(settings: &Settings) -> Result<Lock, Error> {
    if !has_capability(CAP_NET_ADMIN) {
        return Err(Error::NoNetAdmin);
    }
    let run = &settings.paths.run;
    let at_run = |error| Error::Run { folder: run.clone(), error };
    make_folder(run).map_err(at_run)?;
    // The lock comes before anything that a running agent would notice.
    let lock = lock(run)?;
    let state = &settings.paths.state;
    make_folder(state)
        .and_then(|()| try_write(state))
        .map_err(|error| Error::State { folder: state.clone(), error })?;
    Ok(lock)
}

/// Whether a port below 1024 may be bound, as far as capabilities say.
#[must_use]
pub fn may_bind_low_ports() -> bool {
    has_capability(CAP_NET_BIND_SERVICE)
}

fn lock(run: &Path) -> Result<Lock, Error> {
    let path = run.join("agent.lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(&path)
        .map_err(|error| Error::Run { folder: run.to_owned(), error })?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        return Err(Error::SecondAgent { lock: path, pid: text.trim().parse().ok() });
    }
    let write = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(|error| Error::Run { folder: run.to_owned(), error })?;
    Ok(Lock { _file: file })
}

fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

fn try_write(folder: &Path) -> io::Result<()> {
    let probe = folder.join(".write-test");
    File::create(&probe)?;
    fs::remove_file(&probe)
}

/// From `/proc/self/status`: what this process may do now, in this namespace.
fn has_capability(bit: u32) -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| effective(&status).is_some_and(|set| set & (1 << bit) != 0))
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests;
