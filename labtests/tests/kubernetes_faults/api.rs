//! Masters fail one after the other, while the API is asked at its anycast address over new connections all the time.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use petiole_labtests::connections::{self, Connections, Outcome};
use petiole_labtests::fabric::{self, FAMILIES, Family, Member, Monitor};
use petiole_labtests::kubernetes::{Announced, PLACE, Scene};
use petiole_labtests::{Signal, check, eventually};

const WITHIN: Duration = Duration::from_secs(60);
/// What the masters' configuration says of the API's health check.
const INTERVAL: f64 = 1.0;
const FALL: f64 = 3.0;
const TIMEOUT: f64 = 1.0;
/// From a gate's verdict to the leaf's forwarding table, at most.
const REACTION: f64 = 0.2;
/// From a change in the first switch's table to the last one's, and from there to a connection that meets it.
const CONVERGED: f64 = 0.2;
/// For how long a connection may be under way, and the news of a change, on a machine that is busy.
const UNDER_WAY: f64 = 1.0;
/// New connections a second.
const RATE: u32 = 100;

/// An API server is told to end, one hangs, and a master loses its power.
pub(crate) fn masters_fail(scene: &mut Scene, announced: &Announced) -> Result<()> {
    a_master_that_is_told_to_end_hands_over(scene, announced)?;
    a_master_whose_api_hangs_is_left_out(scene, announced)?;
    a_master_loses_its_power_and_returns(scene, announced)
}

/// kafka1 asks the API at its anycast address, over one connection after the other.
fn ask(scene: &Scene) -> Result<Connections> {
    let url = "https://10.122.255.1:6443/version";
    Connections::start(&scene.lab.node("kafka1")?, url, Some(&format!("{PLACE}/pki/ca.crt")), RATE)
}

/// Ends it; says how many were broken, and fails if one is that began when the change was over.
fn answered(asking: Connections, since: f64, changed: f64, what: &str) -> Result<Outcome> {
    let outcome = asking.end()?;
    let (first, last) = (outcome.broken.first(), outcome.broken.last());
    let span = first.zip(last).map_or(0.0, |(first, last)| last.at - first.at);
    println!(
        "figure: {what}: {} of {} new connections broken, over {span:.3} s; {} slow; the last switch changed {:.3} s after; the machine stalled for {:.3} s",
        outcome.broken.len(),
        outcome.begun,
        outcome.slow,
        changed - since,
        outcome.stalled,
    );
    if let Some(first) = first {
        println!("  the first {:.3} s after: {}", first.at - since, first.why);
    }
    let late = outcome.broken_after(changed + CONVERGED + outcome.stalled);
    let some: Vec<_> = late.iter().take(3).collect();
    ensure!(late.is_empty(), "{what}: {} were broken after the change, {some:?}", late.len());
    ensure!(outcome.begun > 100, "{what}: only {} were begun", outcome.begun);
    Ok(outcome)
}

/// When a switch's kernel last changed its routes to the anycast address, after an instant.
fn changed(monitor: &Monitor, after: f64, family: Family) -> Result<Option<f64>> {
    let address = fabric::anycast(family).split('/').next().unwrap_or_default();
    let events = monitor.events()?;
    let mine = events.iter().filter(|event| event.at > after && event.what.starts_with(&format!("{address} ")));
    Ok(mine.map(|event| event.at).reduce(f64::max))
}

/// When a master's leaf no longer sent to it, which must be within so many seconds of the API's failing.
fn left_out(leaf: &Monitor, since: f64, within: f64) -> Result<f64> {
    let mut first = f64::INFINITY;
    for family in FAMILIES {
        let at = changed(leaf, since, family)?.context("the leaf did not change")?;
        let after = at - since;
        println!(
            "figure: {family:?}: out of the leaf's ECMP {after:.3} s after the API began to fail; at most {within:.3} s"
        );
        ensure!(after <= within, "{family:?}: {after:.3} s");
        first = first.min(at);
    }
    Ok(first)
}

/// The switches whose tables a master's going changes: its leaf, and both spines.
fn watch(scene: &Scene, leaf: &str) -> Result<Vec<Monitor>> {
    [leaf, "spine1", "spine2"].iter().map(|name| Monitor::start(&scene.lab.node(name)?)).collect()
}

/// When the last of the switches had changed.
fn last_change(monitors: &[Monitor], after: f64) -> Result<f64> {
    let mut last = None::<f64>;
    for monitor in monitors {
        for family in FAMILIES {
            last = last.into_iter().chain(changed(monitor, after, family)?).reduce(f64::max);
        }
    }
    last.context("no switch changed anything")
}

fn a_master_that_is_told_to_end_hands_over(scene: &Scene, announced: &Announced) -> Result<()> {
    let master = scene.lab.node("master2")?;
    let monitors = watch(scene, "leaf2")?;
    let asking = ask(scene)?;
    std::thread::sleep(Duration::from_secs(1));
    master.exec(&["touch", "/run/lab/apiserver.off"])?;
    let told = connections::now();
    master.kill("apiserver", Signal::TERM)?;
    scene.settled(&announced.api_by(&["master1", "master3"]))?;
    // Past the end of its listening; it would wait for its last watchers for a minute.
    eventually(WITHIN, "the API has closed its door", || {
        let listening = master.sh("ss --listening --tcp --no-header --numeric 'sport = 6443'");
        let listening = listening.map_err(|error| format!("{error:#}"))?;
        check(listening.trim().is_empty(), listening)
    })?;
    std::thread::sleep(Duration::from_secs(1));
    let outcome = answered(asking, told, last_change(&monitors, told)?, "an API server told to end")?;
    let first = left_out(&monitors[0], told, INTERVAL * FALL + REACTION + outcome.stalled)?;
    // A connection that is under way comes to a master that does not know it. And while leaf2 already sends to the spines what the spines still send to leaf2, a
    // packet goes round until its time to live is over. But for these nobody notices.
    let early: Vec<_> =
        outcome.broken.iter().filter(|broken| broken.at < first - UNDER_WAY - outcome.stalled).collect();
    let some: Vec<_> = early.iter().take(3).collect();
    ensure!(early.is_empty(), "{} were broken before leaf2 changed: {some:?}", early.len());
    if master.service("apiserver").is_some() {
        master.stop("apiserver", Signal::KILL)?;
    }
    master.start("apiserver")?;
    scene.settled(announced)?;
    scene.say("master2's API ended and began again");
    Ok(())
}

fn a_master_whose_api_hangs_is_left_out(scene: &Scene, announced: &Announced) -> Result<()> {
    let master = scene.lab.node("master3")?;
    let monitors = watch(scene, "leaf3")?;
    let asking = ask(scene)?;
    std::thread::sleep(Duration::from_secs(1));
    let hung = connections::now();
    master.kill("apiserver", Signal::STOP)?;
    scene.settled(&announced.api_by(&["master1", "master2"]))?;
    std::thread::sleep(Duration::from_secs(2));
    let outcome = answered(asking, hung, last_change(&monitors, hung)?, "an API server that hangs")?;
    // A question without an answer fails when its time is over.
    left_out(&monitors[0], hung, INTERVAL * FALL + TIMEOUT + REACTION + outcome.stalled)?;
    master.kill("apiserver", Signal::CONT)?;
    scene.settled(announced)?;
    scene.say("master3's API hung and went on");
    Ok(())
}

fn a_master_loses_its_power_and_returns(scene: &mut Scene, announced: &Announced) -> Result<()> {
    let monitors = watch(scene, "leaf1")?;
    let asking = ask(scene)?;
    std::thread::sleep(Duration::from_secs(1));
    let off = connections::now();
    scene.power_off("master1")?;
    let without = announced.without(&["master1"]);
    scene.settled(&without)?;
    std::thread::sleep(Duration::from_secs(2));
    let last = last_change(&monitors, off)?;
    let outcome = answered(asking, off, last, "a master powered off")?;
    ensure!(last - off < 2.0 + outcome.stalled, "the switches took {:.3} s", last - off);
    scene.power_on("master1")?;
    scene.settled(announced)?;
    let member = Member::named("master1").context("master1")?.address(Family::V4);
    let endpoint = format!("http://{member}:2379");
    eventually(WITHIN, "master1 is a member of etcd again", || {
        let alone = ["env", &format!("ETCDCTL_ENDPOINTS={endpoint}"), "etcdctl", "endpoint", "health"];
        scene.lab.node("master2")?.exec(&alone)
    })?;
    scene.say("master1 lost its power and returned, with its member of etcd");
    Ok(())
}
