//! `petiole cni install`: the plugin and its configuration, where container runtimes look for them.
//!
//! A runtime may read while this writes, and may run the plugin meanwhile. So every file is complete or not there: written
//! beside, flushed, renamed. The plugin is there before the configuration that names it, and goes after it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use petiole_node::conf_dir::{self, CONFLIST};
use serde::Serialize;
use serde_json::json;

use super::output::{Output, emit};
use super::table;

/// The plugin's name, which is its `type`.
const PLUGIN: &str = "petiole";
/// The executable that lies beside the agent's.
const BUILT: &str = "petiole-cni";

#[derive(Debug, Args)]
pub(super) struct Install {
    /// Where the runtime looks for plugins
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    bin_dir: PathBuf,
    /// Where the runtime looks for configurations
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    conf_dir: PathBuf,
    /// Let portmap, which has to be in the folder of plugins, open ports of the host
    #[arg(long, conflicts_with = "uninstall")]
    portmap: bool,
    /// Remove both files instead
    #[arg(long)]
    uninstall: bool,
}

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Fate {
    /// It is new, or other than it was.
    Written,
    /// It was so already, and was left alone.
    Unchanged,
    /// It is gone.
    Removed,
    /// It was not there.
    Absent,
}

#[derive(PartialEq, Eq, Debug, Serialize)]
struct Done {
    path: PathBuf,
    fate: Fate,
}

/// Installs or removes, and says what it did. `socket` is where the agent will listen.
pub(super) fn run(install: &Install, socket: &Path, output: Output) -> Result<()> {
    let done = if install.uninstall {
        uninstall(install)?
    } else {
        let this = fs::canonicalize("/proc/self/exe").context("cannot find this executable")?;
        self::install(install, &this, socket)?
    };
    if output == Output::Json {
        return emit(&format!("{:#}\n", json!(done)));
    }
    let word = |fate| match fate {
        Fate::Written => "written",
        Fate::Unchanged => "unchanged",
        Fate::Removed => "removed",
        Fate::Absent => "was not there",
    };
    emit(&done.iter().map(|done| format!("{:<13} {}\n", word(done.fate), done.path.display())).collect::<String>())?;
    for earlier in earlier(&install.conf_dir).iter().filter(|_| !install.uninstall) {
        let earlier = earlier.display();
        let (yellow, plain) = (table::YELLOW, table::PLAIN);
        writeln!(
            anstream::stderr(),
            "{yellow}warning:{plain} {earlier} sorts before {CONFLIST}: container runtimes take that one; remove it"
        )?;
    }
    for later in later(&install.conf_dir).iter().filter(|_| !install.uninstall) {
        let later = later.display();
        writeln!(
            anstream::stderr(),
            "note: {later} is there too: a runtime that takes the first file takes {CONFLIST}; podman takes the network that it is told, \
             `--network {PLUGIN}` or default_network in containers.conf"
        )?;
    }
    Ok(())
}

fn install(install: &Install, this: &Path, socket: &Path) -> Result<Vec<Done>> {
    let built = this.with_file_name(BUILT);
    let plugin = match fs::read(&built) {
        Ok(plugin) => plugin,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!(
            "there is no {}: the plugin lies in the folder of the agent's executable, from the same build; with sources, \
             `cargo build --release --package petiole --package petiole-cni`",
            built.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", built.display())),
    };
    let portmap = install.bin_dir.join("portmap");
    if install.portmap && !portmap.exists() {
        bail!("there is no {}: install the reference plugins first, or leave out --portmap", portmap.display());
    }
    for folder in [&install.bin_dir, &install.conf_dir] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    Ok(vec![
        place(&install.bin_dir, PLUGIN, &plugin, 0o755)?,
        place(&install.conf_dir, CONFLIST, conflist(socket, install.portmap).as_bytes(), 0o644)?,
    ])
}

fn uninstall(install: &Install) -> Result<Vec<Done>> {
    Ok(vec![remove(&install.conf_dir, CONFLIST)?, remove(&install.bin_dir, PLUGIN)?])
}

/// The configuration. Version 1.0.0 is what every runtime of today takes; those that read `cniVersions` find the newest,
/// unless portmap is in the chain, whose older releases know no 1.1.0.
fn conflist(socket: &Path, portmap: bool) -> String {
    let mut plugin = json!({ "type": PLUGIN, "capabilities": { "ips": true, "mac": true } });
    if socket != Path::new(petiole_cni::rpc::SOCKET) {
        plugin["socket"] = json!(socket);
    }
    let mut plugins = vec![plugin];
    let mut versions = vec!["0.3.1", "0.4.0", "1.0.0"];
    if portmap {
        plugins.push(json!({ "type": "portmap", "capabilities": { "portMappings": true } }));
    } else {
        versions.push("1.1.0");
    }
    format!("{:#}\n", json!({ "cniVersion": "1.0.0", "cniVersions": versions, "name": PLUGIN, "plugins": plugins }))
}

/// What a file is called while it is written: no runtime takes it for a configuration.
fn beside(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.new"))
}

/// Puts a file in place, in one step, and on the disk.
fn place(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<Done> {
    let path = folder.join(name);
    if is_so(&path, bytes, mode) {
        return Ok(Done { path, fate: Fate::Unchanged });
    }
    let beside = beside(folder, name);
    let write = || -> std::io::Result<()> {
        // What a run that was killed left behind.
        absent(fs::remove_file(&beside))?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        // The mode above is less the umask.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Done { path, fate: Fate::Written })
}

/// Whether a file of its own, not a link to one, has these bytes and this mode.
fn is_so(path: &Path, bytes: &[u8], mode: u32) -> bool {
    let metadata = fs::symlink_metadata(path);
    metadata.is_ok_and(|metadata| {
        metadata.is_file()
            && metadata.mode() & 0o7777 == mode
            && u64::try_from(bytes.len()).is_ok_and(|length| length == metadata.len())
            && fs::read(path).is_ok_and(|there| there == bytes)
    })
}

fn remove(folder: &Path, name: &str) -> Result<Done> {
    let path = folder.join(name);
    let remove = || -> std::io::Result<Fate> {
        absent(fs::remove_file(beside(folder, name)))?;
        if !absent(fs::remove_file(&path))? {
            return Ok(Fate::Absent);
        }
        File::open(folder)?.sync_all()?;
        Ok(Fate::Removed)
    };
    let fate = remove().with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(Done { path, fate })
}

/// Whether there was something to remove.
fn absent(removed: std::io::Result<()>) -> std::io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The configurations that runtimes would take instead.
fn earlier(folder: &Path) -> Vec<PathBuf> {
    let files = crate::io::conf_dir::read(folder).unwrap_or_default();
    conf_dir::earlier(&files).into_iter().map(|name| folder.join(name)).collect()
}

/// Those that runtimes which take the first pass over.
fn later(folder: &Path) -> Vec<PathBuf> {
    let files = crate::io::conf_dir::read(folder).unwrap_or_default();
    let names = files.iter().map(|(name, _)| name.as_str());
    let mut found: Vec<PathBuf> = names.filter(|name| *name > CONFLIST).map(|name| folder.join(name)).collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests;
