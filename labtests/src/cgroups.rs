//! Control groups that nodes made for themselves: they are the machine's, and stay when the node is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::wait::eventually;

/// Removes a node's group, in every hierarchy of the machine. Its processes are dead, but the kernel may be slow to see that.
pub(crate) fn remove(name: &str) -> Result<()> {
    let root = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(root).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    for group in hierarchies.chain([root.to_owned()]).map(|hierarchy| hierarchy.join(name)) {
        if group.is_dir() {
            eventually(Duration::from_secs(10), &format!("{} goes", group.display()), || remove_all(&group))?;
        }
    }
    Ok(())
}

/// The folders below first; the files in them are the kernel's and go with them.
fn remove_all(group: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    let below: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
        .map(|entry| entry.path())
        .collect();
    for path in below {
        remove_all(&path)?;
    }
    fs::remove_dir(group)
}
