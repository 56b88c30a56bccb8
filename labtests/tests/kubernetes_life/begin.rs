//! Everything is powered on at the same time.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use petiole_labtests::connections::now;
use petiole_labtests::fabric::{Role, members};
use petiole_labtests::kubernetes::{Announced, Cluster, Scene, Stage};
use petiole_labtests::{Lab, eventually};

use crate::hold;

const WITHIN: Duration = Duration::from_secs(180);
/// From the first API server's being ready to the last node's, and to the last announcement, in seconds.
const GOAL: f64 = 120.0;
/// So that nodes that are gone are so soon; it is 60 s where nothing is said.
const IPAM: &str = "grace_time = \"8s\"";

pub(crate) fn everything_begins_at_once(scene: &Scene) -> Result<()> {
    let (first, done) = thread::scope(|scope| {
        let first = scope.spawn(|| first_api(&scene.lab));
        let done = begun(scene);
        let first = first.join().map_err(|_| anyhow!("the thread that asks the API servers panicked"));
        (first, done)
    });
    let (first, (nodes, announced)) = (first??, done?);
    hold("every node is Ready after the first API server is", nodes - first, GOAL)?;
    hold("everything is announced after the first API server is ready", announced - first, GOAL)
}

/// When the first API server said that it is ready, asked on its own machine.
fn first_api(lab: &Lab) -> Result<f64> {
    let masters = members(Role::Master).map(|master| lab.node(master.name)).collect::<Result<Vec<_>>>()?;
    let look = || -> Result<f64> {
        for master in &masters {
            let url = "https://127.0.0.1:6443/readyz";
            if master.exec(&["curl", "--silent", "--fail", "--insecure", "--max-time", "1", url]).is_ok() {
                return Ok(now());
            }
        }
        Err(anyhow!("none is ready"))
    };
    ensure!(look().is_err(), "an API server was ready before it was asked");
    eventually(WITHIN, "an API server is ready", look)
}

/// When every node was Ready, and when every switch had everything.
fn begun(scene: &Scene) -> Result<(f64, f64)> {
    let nodes = Cell::new(f64::NAN);
    let progress = |stage: Stage, _| {
        scene.say(stage.words());
        if stage == Stage::Nodes {
            nodes.set(now());
        }
    };
    let cluster = Cluster::start_with(&scene.lab, IPAM, &progress)?;
    scene.settled(&Announced::all(cluster.lab)?)?;
    Ok((nodes.get(), now()))
}
