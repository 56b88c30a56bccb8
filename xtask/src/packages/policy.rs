//! Keeping Debian from starting what it installs.

use std::fs::{File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::in_path;

/// Debian's maintainer scripts ask this program before they start a service; 101 is "not allowed".
/// <https://www.debian.org/doc/debian-policy/ch-opersys.html> and `man invoke-rc.d`.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const DENY: &[u8] = b"#!/bin/sh\n# Made by `cargo xtask` while it installs packages; safe to delete.\nexit 101\n";

/// While it lives, installing a package starts no service.
pub(super) struct NoServices {
    made: bool,
}

impl NoServices {
    /// Denies starts, unless the administrator has a policy of their own, which stays in force.
    pub(super) fn enforce() -> Result<Self> {
        let mut file = match File::create_new(POLICY) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Left by a run that was killed: take it over, so that this one removes it.
                let ours = std::fs::read(POLICY).is_ok_and(|text| text == DENY);
                return Ok(Self { made: ours });
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot write {POLICY}, which keeps services from starting"));
            }
        };
        let guard = Self { made: true };
        file.write_all(DENY).with_context(|| format!("cannot write {POLICY}"))?;
        file.set_permissions(Permissions::from_mode(0o755))
            .with_context(|| format!("cannot make {POLICY} executable"))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made
            && let Err(error) = std::fs::remove_file(POLICY)
        {
            eprintln!("cannot remove {POLICY}: {error}; remove it by hand, or no package can start its service");
        }
    }
}

/// Undoes what installing did for the next boot: units that are enabled would start then.
pub(super) fn disable(units: &[&str]) {
    if units.is_empty() || !in_path("systemctl") {
        return;
    }
    let quiet = Command::new("systemctl").args(["disable", "--quiet"]).args(units).stderr(Stdio::null()).status();
    let still: Vec<&&str> = units.iter().filter(|unit| is_enabled(unit)).collect();
    if !quiet.is_ok_and(|status| status.success()) && !still.is_empty() {
        eprintln!("note: could not disable {still:?}; they would start at the next boot (systemctl disable)");
    }
}

/// Whether a `wants` link exists; works where no systemd runs.
fn is_enabled(unit: &str) -> bool {
    ["multi-user.target.wants", "sockets.target.wants"]
        .iter()
        .any(|wants| Path::new("/etc/systemd/system").join(wants).join(unit).symlink_metadata().is_ok())
}
