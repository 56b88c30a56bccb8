//! The demo: the reference fabric from nothing, everything it owes observed and shown on one screen, and a verdict.
//!
//! [`observe`] asks the switches, the store and packets; [`report`] judges; [`draw`] draws. None of the three knows the
//! others' business, so that a missing observation is a cross and an exit code in a test without any fabric.

mod cluster;
mod draw;
mod facts;
pub(crate) mod interrupt;
pub(crate) mod observe;
pub(crate) mod parallel;
mod plan;
mod pods;
mod progress;
pub(crate) mod report;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::draw::Style;
use self::facts::Facts;
use self::interrupt::Interrupt;
use self::progress::Stages;
use self::report::Report;
use crate::{Binaries, Lab, Progress, Topology, down, fabric, kubernetes, state};

/// How long the control plane may take to be complete; everything powered on at once converges within this.
const CONVERGE: Duration = Duration::from_secs(60);
/// Between two looks at the switches.
const LOOK: Duration = Duration::from_millis(100);

/// What `demo` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// A cluster of Kubernetes on the fabric, and what users do with it
    #[arg(long)]
    kubernetes: bool,
    /// Leave the fabric running and say what to try next
    #[arg(long)]
    keep: bool,
    /// Lab name
    #[arg(long, default_value = "demo")]
    name: String,
}

/// Runs the demo. The exit code is a success only if everything was observed; 128 + the signal's number after Ctrl-C.
pub fn run(options: &Options) -> Result<ExitCode> {
    let start = Instant::now();
    let interrupt = Interrupt::listen()?;
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let live = std::io::stderr().is_terminal();
    let stages = Stages::new(live && wanted, Style { colour: live && wanted }, start);
    let style = Style { colour: std::io::stdout().is_terminal() && wanted };

    let result = if options.kubernetes {
        cluster::run(options, &interrupt, &stages, style, start)
    } else {
        plain(options, &interrupt, &stages, style, start)
    };
    if let Some(number) = interrupt.came() {
        // Whoever kept it wanted it complete.
        down(&options.name)?;
        stages.done(false, &format!("stopped by signal {number}; nothing is left behind"));
        return Ok(ExitCode::from(u8::try_from(128 + number).unwrap_or(1)));
    }
    Ok(ExitCode::from(result?))
}

/// The fabric without a cluster.
fn plain(options: &Options, interrupt: &Interrupt, stages: &Stages, style: Style, start: Instant) -> Result<u8> {
    observed(options, interrupt, stages).and_then(|(lab, report)| {
        let mut text =
            format!("\n{}\n{}", draw::screen(&report, style), draw::verdict(&report, start.elapsed(), style));
        if options.keep {
            text.push_str(&next_steps(&options.name, &lab, style));
        }
        // A reader that went away changes nothing about the verdict.
        let _written = std::io::stdout().write_all(text.as_bytes());
        if !options.keep {
            lab.down().context("the fabric could not be taken down")?;
            stages.done(true, "the fabric is taken down, nothing is left behind");
        }
        Ok(exit_code(&report))
    })
}

/// What the caller is told: 0 only if everything was observed.
fn exit_code(report: &Report) -> u8 {
    u8::from(!report.passed())
}

/// Brings the fabric up and observes it.
fn observed(options: &Options, interrupt: &Interrupt, stages: &Stages) -> Result<(Lab, Report)> {
    let lab = start(options, stages)?;
    interrupt.check()?;
    let mut facts = converge(&lab, interrupt, stages)?;
    stages.going("a pod on each worker");
    facts.pods = pods::wire(&lab);
    let wired = facts.pods.values().filter(|pod| pod.is_ok()).count();
    stages.done(wired == plan::WORKERS.len(), &format!("{wired} pods wired, one per worker"));
    interrupt.check()?;
    stages.going("packets between all of them");
    facts.probes = observe::probes(&lab, &facts.pods);
    interrupt.check()?;
    facts.services = observe::services(&lab)?;
    interrupt.check()?;
    let answered = facts.probes.iter().filter(|probe| probe.ping.is_ok()).count();
    let sent = facts.probes.len();
    stages.done(answered == sent, &format!("{answered} of {sent} pairs exchanged packets of 1500 bytes"));
    Ok((lab, Report::of(&facts)))
}

fn start(options: &Options, stages: &Stages) -> Result<Lab> {
    let name = &options.name;
    if state::read(name)?.is_some_and(|record| record.owner.is_none_or(|owner| owner.alive())) {
        bail!("a lab `{name}` is up; take it down (cargo xtask lab down --name {name}) or say another --name");
    }
    let topology = if options.kubernetes {
        kubernetes::prepare()?;
        kubernetes::load(&here(kubernetes::topology_file()), Some(name))?
    } else {
        Topology::load(&here(fabric::topology_file()), Some(name), &|name| std::env::var(name).ok())?
    };
    let binaries = Binaries::find()?;
    if binaries.agent.is_none() {
        bail!("there is no `petiole` beside this program; build it (cargo build -p petiole) or set PETIOLE_BIN");
    }
    let progress = |progress: Progress<'_>| match progress {
        Progress::Nodes(done, total) => stages.going(&format!("{done} of {total} nodes")),
        Progress::Links(count) => stages.going(&format!("{count} links")),
        Progress::ExecFailed(node, why) => stages.done(false, &format!("{node}: {why}")),
        Progress::Up(_) => {
            let (nodes, links) = (topology.nodes.len(), topology.links.len());
            stages.done(true, &format!("{nodes} nodes, {links} links, and what runs on them, started"));
        }
    };
    if options.keep {
        Lab::up_kept(&topology, &binaries, &progress)
    } else {
        Lab::up_watched(&topology, &binaries, &progress)
    }
}

/// A topology of the folder this runs in, else of the folder it was built in.
fn here(built: PathBuf) -> PathBuf {
    let here = built.file_name().map(|name| Path::new("containerlab").join(name));
    here.filter(|here| here.is_file()).unwrap_or(built)
}

/// Looks at the switches until they have everything, or for as long as it may take.
fn converge(lab: &Lab, interrupt: &Interrupt, stages: &Stages) -> Result<Facts> {
    let begin = Instant::now();
    let mut sessions_shown = false;
    loop {
        let facts = control_plane(lab);
        let report = Report::control_plane(&facts);
        let total = report.sessions.len();
        let up = report.sessions.values().filter(|state| state.is_ok()).count();
        let here = report.due.saturating_sub(report.failures.len());
        if up < total {
            stages.going(&format!("{up} of {total} ends of sessions established"));
        } else {
            if !sessions_shown {
                stages.done(true, &format!("{total} ends of sessions established, as the switches see them"));
                sessions_shown = true;
            }
            stages.going(&format!("{here} of {} observations on the switches", report.due));
        }
        if report.passed() || begin.elapsed() > CONVERGE {
            stages.done(report.passed(), &format!("{here} of {} observations on the switches", report.due));
            return Ok(facts);
        }
        interrupt.check()?;
        thread::sleep(LOOK);
    }
}

/// What sessions and tables say now. A question that failed leaves its facts out, and so shows as missing.
fn control_plane(lab: &Lab) -> Facts {
    let shared: Vec<&str> = plan::ANYCAST.into_iter().chain(plan::SERVICES).collect();
    Facts {
        switches: observe::switches(lab),
        blocks: observe::blocks(lab).unwrap_or_default(),
        next_hops: lab.node("spine1").map(|spine| observe::next_hops(&spine, &shared)).unwrap_or_default(),
        ..Facts::default()
    }
}

/// What a person may want to try on a fabric that stays.
fn next_steps(name: &str, lab: &Lab, style: Style) -> String {
    let exec = format!("cargo xtask lab exec --name {name}");
    let block = observe::blocks(lab)
        .unwrap_or_default()
        .into_iter()
        .find(|(block, owner)| owner == "worker2" && block.contains('.'));
    let block = block.map_or_else(|| "10.123.128.0/26".to_owned(), |(block, _)| block);
    let title = style.title("The fabric stays. What to try next:");
    format!(
        "
{title}
  what a node does, and why:
    {exec} worker1 -- petiole status
    {exec} worker1 -- petiole why {block}
    {exec} master2 -- petiole why 10.122.255.1/32
  master2 fails its health check, its path leaves the spines; back again:
    {exec} master2 -- rm /run/health
    {exec} spine1 -- vtysh -c 'show bgp ipv4 unicast 10.122.255.1/32'
    {exec} master2 -- touch /run/health
  the operator's two commands make worker4 a third origin of the service range; the last one withdraws it:
    {exec} worker4 -- ip addr add 10.123.0.0/17 dev lo
    {exec} worker4 -- etcdctl put /calico/bgp/v1/global/custom_filters/v4/services \\
      'if ( net = 10.123.0.0/17 ) then {{ accept; }}'
    {exec} leaf4 -- vtysh -c 'show bgp ipv4 unicast 10.123.0.0/17'
    {exec} worker4 -- etcdctl del /calico/bgp/v1/global/custom_filters/v4/services
  worker4 loses an uplink and goes on with the other; back again:
    {exec} worker4 -- ip link set eth1 down
    {exec} client1 -- ping -c 3 10.122.0.14
    {exec} worker4 -- ip link set eth1 up
  the end:
    cargo xtask lab down --name {name}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::report::tests::perfect;

    #[test]
    fn one_missing_observation_is_a_cross_and_a_failure() {
        let mut facts = perfect();
        assert_eq!(exit_code(&Report::of(&facts)), 0);
        facts.probes[0].ping = Err("no answer".to_owned());
        let report = Report::of(&facts);
        assert_eq!(exit_code(&report), 1);
        let style = Style { colour: false };
        let text = draw::screen(&report, style) + &draw::verdict(&report, Duration::ZERO, style);
        assert!(text.contains("✗lost") && text.contains("✗ 1 of "), "{text}");
    }
}
