//! Pods of a cluster until they are Ready, beside the same cluster with Debian's `bridge` and `host-local` in Petiole's place.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::statistics::Series;
use crate::fabric::{Member, unique_name};
use crate::kubernetes::churn::{Churn, Made};
use crate::kubernetes::{self, Cluster, bridge};
use crate::wait::eventually;
use crate::{Binaries, Lab};

pub(super) const METHOD: &str = "One cluster; pods of one container that is there, on two workers, 16 at a time: each is deleted once it is Ready, and the next one is made. \
     A turn is 64 pods with either plugin, the one that begins changing from turn to turn; one turn goes before that is not counted. What is \
     held against the goal is the median of the turns' ratios: Ready p50 with Petiole : Ready p50 with bridge and host-local. Each time is \
     from the first news of the pod's object to the news of its being Ready, as one watcher of the API hears them.";

/// As much as Debian's bridge takes, times this.
const GOAL: f64 = 1.1;
const WORKERS: [&str; 2] = ["worker1", "worker2"];
const PODS: usize = 64;
const AT_ONCE: usize = 16;
/// What the addresses of Petiole's pods begin with.
const OURS: &str = "10.123.";
/// How long a runtime may take to see another configuration.
const SEEN: Duration = Duration::from_secs(60);

/// What came out of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    turns: Vec<Turn>,
}

/// The same pods with both.
#[derive(Debug)]
struct Turn {
    petiole: Series,
    bridge: Series,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Plugin {
    Petiole,
    Bridge,
}

impl Turn {
    fn ratio(&self) -> f64 {
        self.petiole.quantile(0.5) / self.bridge.quantile(0.5)
    }
}

impl Outcome {
    /// The median of the turns' ratios.
    fn ratio(&self) -> f64 {
        let mut ratios: Vec<f64> = self.turns.iter().map(Turn::ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(f64::INFINITY)
    }

    pub(super) fn passed(&self) -> bool {
        self.ratio() <= GOAL
    }
}

pub(super) fn run(turns: u32, tell: &dyn Fn(&str)) -> Result<Outcome> {
    kubernetes::prepare().context("cargo xtask bench kubernetes")?;
    tell("a cluster begins");
    let topology = kubernetes::load(&kubernetes::topology_file(), Some(&unique_name("bench")))?;
    let lab = Lab::up(&topology, &Binaries::find()?)?;
    let cluster = Cluster::start(&lab, &|stage, _| tell(stage.words()))?;
    let workers: Vec<&Member> = WORKERS.iter().filter_map(|name| Member::named(name)).collect();
    let mut outcome = Outcome::default();
    for turn in 0..=turns {
        let order = [Plugin::Petiole, Plugin::Bridge];
        let order = if turn % 2 == 0 { order } else { [order[1], order[0]] };
        let mut found = Vec::new();
        for plugin in order {
            tell(&format!("turn {turn} of {turns}: {plugin:?}"));
            found.push((plugin, pods(&cluster, &workers, plugin, turn)?));
        }
        let mut of = |wanted| {
            let at = found.iter().position(|(plugin, _)| *plugin == wanted).context("no such plugin")?;
            Ok::<_, anyhow::Error>(found.swap_remove(at).1)
        };
        let turned = Turn { petiole: of(Plugin::Petiole)?, bridge: of(Plugin::Bridge)? };
        if turn > 0 {
            outcome.turns.push(turned);
        }
    }
    lab.down()?;
    Ok(outcome)
}

/// What so many pods take with a plugin.
fn pods(cluster: &Cluster<'_>, workers: &[&Member], plugin: Plugin, turn: u32) -> Result<Series> {
    if plugin == Plugin::Bridge {
        bridge::put(cluster.lab, workers)?;
    }
    let mut tries = 0;
    eventually(SEEN, "the runtimes have the plugin's configuration", || {
        tries += 1;
        churn(cluster, workers, plugin, &format!("first-{turn}-{tries}"), WORKERS.len())
    })?;
    let made = churn(cluster, workers, plugin, &format!("turn-{turn}"), PODS)?;
    if plugin == Plugin::Bridge {
        bridge::take(cluster.lab, workers)?;
    }
    let took: Vec<Duration> = made.iter().map(|pod| pod.took).collect();
    Ok(Series::of(&took))
}

/// Pods that are all wired by this plugin.
fn churn(cluster: &Cluster<'_>, workers: &[&Member], plugin: Plugin, name: &str, pods: usize) -> Result<Vec<Made>> {
    let (word, addresses) = match plugin {
        Plugin::Petiole => ("petiole", OURS),
        Plugin::Bridge => ("bridge", bridge::ADDRESSES),
    };
    let name = format!("{word}-{name}");
    let made = Churn { name: &name, pods, at_once: AT_ONCE, workers }.run(cluster, &mut |_| Ok(()))?;
    let other = made.iter().find(|pod| !pod.address.starts_with(addresses));
    ensure!(other.is_none(), "a pod of {name} has {other:?}");
    Ok(made)
}

pub(super) fn table(machine: &str, outcome: &Outcome) -> String {
    let mut text = format!("Pods of a cluster until Ready, on {machine}; milliseconds\n\n");
    let _ = writeln!(
        text,
        "{:<5} {:>12} {:>12} {:>12} {:>12} {:>7}",
        "TURN", "PETIOLE P50", "P99", "BRIDGE P50", "P99", "RATIO"
    );
    for (number, turn) in outcome.turns.iter().enumerate() {
        let [petiole, bridge] = [&turn.petiole, &turn.bridge];
        let _ = writeln!(
            text,
            "{:<5} {:>12.0} {:>12.0} {:>12.0} {:>12.0} {:>7.3}",
            number + 1,
            petiole.quantile(0.5),
            petiole.quantile(0.99),
            bridge.quantile(0.5),
            bridge.quantile(0.99),
            turn.ratio()
        );
    }
    let verdict = if outcome.passed() { "pass" } else { "FAIL" };
    let _ = writeln!(text, "\nmedian of the ratios: {:.3}; the goal is at most {GOAL}: {verdict}", outcome.ratio());
    text
}

pub(super) fn document(machine: &str, outcome: &Outcome) -> Value {
    let turns: Vec<Value> = outcome
        .turns
        .iter()
        .map(|turn| json!({ "petiole": turn.petiole, "bridge": turn.bridge, "ratio": turn.ratio() }))
        .collect();
    json!({
        "bench": "kubernetes", "machine": machine, "method": METHOD, "unit": "ms", "pods": PODS, "at_once": AT_ONCE,
        "turns": turns, "ratio": outcome.ratio(), "goal": GOAL, "passed": outcome.passed(),
    })
}
