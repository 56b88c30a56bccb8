//! `petiole agent`: the configuration, the runtime, and the loop in it.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use petiole_node::config::{self, Facts, Paths, Settings};

use crate::run::{self, End};

/// Where the configuration is when nobody says otherwise.
const DEFAULT: &str = "/etc/petiole/petiole.toml";
/// How long drivers may take to end; none holds anything that a kill would lose.
const FAREWELL: Duration = Duration::from_millis(500);

/// The exit status after `petiole stop`, which deploy/systemd/petiole.service names so that the unit stays stopped.
const STOPPED: u8 = 3;

pub(super) fn run(config: Option<&Path>) -> Result<ExitCode> {
    let settings = settings(config)?;
    // Two: one for the loop's drivers, so that bytes are read and probes run while the node thinks, one to spare. The loop
    // itself runs on this thread.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(run::run(settings));
    runtime.shutdown_timeout(FAREWELL);
    result.map(|end| match end {
        End::Signal => ExitCode::SUCCESS,
        End::Order => ExitCode::from(STOPPED),
    })
}

/// The settings in force. Only the default file may be absent.
fn settings(config: Option<&Path>) -> Result<Settings> {
    let path = config.unwrap_or_else(|| Path::new(DEFAULT));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound && config.is_none() => {
            tracing::info!("{DEFAULT} does not exist: running with defaults, `petiole status` says what to do next");
            Vec::new()
        }
        Err(e) => bail!("cannot read {}: {e}; name the configuration with --config FILE", path.display()),
    };
    let origin = path.display().to_string();
    let loaded = config::decode(&bytes, &origin).and_then(|text| config::load(text, &origin, &facts()));
    match loaded {
        Ok((settings, warnings)) => {
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            Ok(settings)
        }
        Err(errors) => bail!(
            "the configuration has mistakes:\n{errors}\ncorrect them, and check with `petiole config check {origin}`"
        ),
    }
}

/// The host's name and the environment, for the configuration's defaults.
pub(super) fn facts() -> Facts {
    let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let environment: BTreeMap<String, String> =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    Facts { hostname, environment }
}

/// The socket of the agent that runs with this configuration. A broken one does not keep its operator from asking.
pub(super) fn socket(config: Option<&Path>) -> PathBuf {
    paths(config).api_socket()
}

/// The folders of an agent with this configuration; the defaults where it has mistakes, which the agent itself will say.
pub(super) fn paths(config: Option<&Path>) -> Paths {
    let path = config.unwrap_or_else(|| Path::new(DEFAULT));
    let facts = facts();
    let settings = std::fs::read_to_string(path)
        .ok()
        .and_then(|text| config::load(&text, &path.display().to_string(), &facts).ok())
        .map_or_else(|| Settings::defaults(&facts.hostname), |(settings, _)| settings);
    settings.paths
}
