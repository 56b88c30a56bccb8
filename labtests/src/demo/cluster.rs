//! The demo of a cluster: it comes up, then what users do with it is done, one thing after the other, and shown on one screen.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Context, Result};

use super::draw::{self, Style};
use super::interrupt::Interrupt;
use super::progress::Stages;
use super::report::Report;
use super::{Options, converge};
use crate::kubernetes::Cluster;
use crate::kubernetes::observe::{ALL, Observation, Workload};

/// What was seen of an observation: its figures, or why it was not made.
type Seen = (Observation, Result<String, String>);

/// What to do about a failure.
const NEXT: &str =
    "to look for yourself: cargo xtask demo --kubernetes --keep, then cargo xtask lab exec --name demo NODE -- COMMAND";

/// Brings the cluster up, observes, draws. Returns the exit status.
pub(super) fn run(
    options: &Options,
    interrupt: &Interrupt,
    stages: &Stages,
    style: Style,
    start: Instant,
) -> Result<u8> {
    stages.going("the nodes are started");
    let lab = super::start(options, stages)?;
    interrupt.check()?;
    stages.going("the cluster comes up");
    let cluster = Cluster::start(&lab, &|stage, _| {
        stages.done(true, stage.words());
        stages.going("the cluster comes up");
    })
    .context(NEXT)?;
    interrupt.check()?;
    let fabric = Report::control_plane(&converge(&lab, interrupt, stages)?);
    stages.going("pods and a Service to look at");
    let workload = Workload::start(cluster).context(NEXT)?;
    let mut tables = String::new();
    for what in [["get", "nodes", "-o", "wide"].as_slice(), &["get", "pods", "-A", "-o", "wide"]] {
        let _ = writeln!(
            tables,
            "{}\n{}",
            style.title(&format!("kubectl {}", what.join(" "))),
            workload.cluster.kubectl(what)?
        );
    }
    let mut seen: Vec<Seen> = Vec::new();
    for observation in ALL {
        interrupt.check()?;
        stages.going(observation.name);
        let result = observation.see(&workload).map_err(|error| format!("{error:#}"));
        stages.done(result.is_ok(), observation.name);
        seen.push((observation, result));
    }
    interrupt.check()?;
    let mut text = format!("\n{tables}{}\n{}", draw::control_plane(&fabric, style), observations(&seen, style));
    let _ = write!(text, "\n{}", verdict(&fabric, &seen, start.elapsed().as_secs_f64(), style));
    if options.keep {
        let exec = format!("cargo xtask lab exec --name {}", options.name);
        let _ = write!(
            text,
            "\nThe cluster stays, without leaf4 and master1. What to try next:\n  {exec} client1 -- kubectl get pods -A -o wide\n  \
             {exec} worker1 -- petiole status\n  cargo xtask lab down --name {}\n",
            options.name
        );
    }
    // A reader that went away changes nothing about the verdict.
    let _written = std::io::stdout().write_all(text.as_bytes());
    let failed = u8::from(missing(&fabric, &seen).1 > 0);
    drop(workload);
    if !options.keep {
        lab.down().context("the cluster could not be taken down")?;
        stages.done(true, "the cluster is taken down, nothing is left behind");
    }
    Ok(failed)
}

/// One line for each.
fn observations(seen: &[Seen], style: Style) -> String {
    let mut text = format!("{}\n", style.title("What users do with it"));
    let width = seen.iter().map(|(observation, _)| observation.name.len()).max().unwrap_or(0);
    for (observation, result) in seen {
        let said = result.as_ref().map_or_else(String::as_str, String::as_str);
        let _ = writeln!(text, "{} {:<width$}  {said}", style.mark(result.is_ok()), observation.name);
    }
    text
}

/// How many observations were due, and how many were not made.
fn missing(fabric: &Report, seen: &[Seen]) -> (usize, usize) {
    let failed = seen.iter().filter(|(_, result)| result.is_err()).count();
    (fabric.due + seen.len(), fabric.failures.len() + failed)
}

fn verdict(fabric: &Report, seen: &[Seen], seconds: f64, style: Style) -> String {
    let (due, failed) = missing(fabric, seen);
    if failed == 0 {
        return format!("{} all {due} observations hold; {seconds:.0} s from nothing to here\n", style.mark(true));
    }
    let mut text = format!("{} {failed} of {due} observations are missing, after {seconds:.0} s:\n", style.mark(false));
    let told = seen
        .iter()
        .filter_map(|(observation, result)| result.as_ref().err().map(|why| format!("{}: {why}", observation.name)));
    for failure in fabric.failures.iter().cloned().chain(told) {
        let _ = writeln!(text, "  - {failure}");
    }
    let _ = writeln!(text, "{NEXT}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_a_cross_with_its_reason_and_a_failure() {
        let style = Style { colour: false };
        let fabric = Report::default();
        let mut seen: Vec<Seen> = ALL.into_iter().map(|observation| (observation, Ok("figures".to_owned()))).collect();
        assert_eq!(missing(&fabric, &seen), (ALL.len(), 0));
        assert!(verdict(&fabric, &seen, 1.0, style).starts_with('✓'));
        seen[3].1 = Err("nobody answers".to_owned());
        assert_eq!(missing(&fabric, &seen).1, 1);
        let (lines, last) = (observations(&seen, style), verdict(&fabric, &seen, 1.0, style));
        assert!(lines.contains("✗ a pod reaches kafka1 through its Service    nobody answers"), "{lines}");
        assert!(
            last.starts_with("✗ 1 of ") && last.contains("Service: nobody answers") && last.contains("--keep"),
            "{last}"
        );
    }
}
