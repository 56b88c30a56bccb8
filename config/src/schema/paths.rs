//! `[paths]` and `[metrics]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::open;
use crate::problem::Problem;
use crate::reader::{At, Report, Section, Shape};
use crate::settings::{Paths, Settings};

pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> Paths {
    let default = Paths::default();
    let Some(paths) = open(report, root, "paths", &PATHS) else { return default };
    let state = paths.field("state").and_then(|field| field.path(report, "\"/var/lib/petiole\""));
    let run = paths.field("run").and_then(|field| {
        let run = field.path(report, "\"/run/petiole\"")?;
        let len = run.as_os_str().len();
        if len > MAX_RUN {
            report.error(field.at, Problem::RunPathTooLong { len, max: MAX_RUN });
        }
        Some(run)
    });
    Paths { state: state.unwrap_or(default.state), run: run.unwrap_or(default.run) }
}

pub(super) fn read_metrics(report: &mut Report<'_>, root: &Section<'_>) -> Option<At<SocketAddr>> {
    let field = open(report, root, "metrics", &METRICS).and_then(|metrics| metrics.field("listen"));
    field.and_then(|f| Some(At { at: f.at, value: f.socket(report, Settings::METRICS_LISTEN.port())? }))
}

impl Settings {
    /// Where metrics and health are served by default.
    pub const METRICS_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9179);
}

impl Default for Paths {
    fn default() -> Self {
        Self { state: PathBuf::from("/var/lib/petiole"), run: PathBuf::from("/run/petiole") }
    }
}

/// `sun_path` (unix(7)) has 108 bytes, of which one is the NUL; the longest name in the folder is `/api.sock`, with room for
/// a suffix of a few more.
const MAX_RUN: usize = 90;

pub(super) const PATHS: Shape = Shape { name: "[paths]", keys: &["state", "run"], wanted: "a section, [paths]" };
pub(super) const METRICS: Shape = Shape { name: "[metrics]", keys: &["listen"], wanted: "a section, [metrics]" };
