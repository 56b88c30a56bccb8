//! Daemons that Debian does not have: GoBGP 4 through the Go module proxy, ExaBGP 5 from PyPI. Kept between runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow};

use super::daemon::Kind;
use crate::command;

const GOBGP: &str = "v4.8.0";
const EXABGP: &str = "5.0.15";

/// Where they are, or will be.
#[derive(Debug, Clone)]
pub(crate) struct Tools {
    folder: PathBuf,
}

impl Tools {
    pub(crate) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub(crate) fn go_bin(&self) -> PathBuf {
        self.folder.join(format!("gobgp-{GOBGP}"))
    }

    pub(crate) fn python_bin(&self) -> PathBuf {
        self.folder.join(format!("exabgp-{EXABGP}/bin"))
    }

    /// The version that is fetched.
    pub(crate) fn version(&self, kind: Kind) -> &'static str {
        if kind == Kind::Gobgp4 { GOBGP.trim_start_matches('v') } else { EXABGP }
    }

    /// Installs what a daemon needs and is missing. An error says why it cannot be had here.
    pub(crate) fn prepare(&self, kind: Kind) -> Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        match kind {
            Kind::Gobgp4 if !self.go_bin().join("gobgpd").is_file() => {
                let mut go = timed("go");
                go.args(["install"]).args(["gobgpd", "gobgp"].map(go_package));
                go.env("GOBIN", self.go_bin()).env("GOFLAGS", "-modcacherw").env("GOPATH", self.folder.join("go"));
                command::run(&mut go).map_err(|error| anyhow!("go install: {error:#}"))?;
            }
            Kind::Exabgp5 if !self.python_bin().join("exabgp").is_file() => {
                let venv = self.folder.join(format!("exabgp-{EXABGP}"));
                command::run(timed("python3").args(["-m", "venv"]).arg(&venv))?;
                let pip = self.python_bin().join("pip").to_string_lossy().into_owned();
                command::run(timed(&pip).args(["install", "--quiet", &format!("exabgp=={EXABGP}")]))?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn go_package(name: &str) -> String {
    format!("github.com/osrg/gobgp/v4/cmd/{name}@{GOBGP}")
}

/// A command that ends within ten minutes.
fn timed(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", "600", program]);
    command
}
