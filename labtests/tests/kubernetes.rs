//! A cluster of Kubernetes' own programs on the reference fabric, and everything that `cargo xtask demo --kubernetes` shows of it.

use std::path::Path;

use anyhow::{Result, ensure};
use petiole_labtests::kubernetes::Scene;
use petiole_labtests::kubernetes::observe::{ALL, Workload};

#[test]
fn a_cluster_runs_on_the_fabric_and_all_that_it_owes_is_observed() -> Result<()> {
    const TEST: &str = "a_cluster_runs_on_the_fabric_and_all_that_it_owes_is_observed";
    let Some(scene) = Scene::up(TEST, "kube")? else { return Ok(()) };
    let workload = Workload::start(scene.cluster()?)?;
    for observation in ALL {
        let figure = observation.see(&workload)?;
        scene.say(format!("{}: {figure}", observation.name));
    }
    drop(workload);
    let containers: Vec<String> = scene.lab.nodes().map(|node| node.record().container.clone()).collect();
    scene.lab.down()?;
    for container in containers {
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup")? {
            let left = hierarchy?.path().join(&container);
            ensure!(!left.exists(), "{} is left", left.display());
        }
        ensure!(!Path::new("/run/netns").join(&container).exists(), "namespace {container} is left");
    }
    println!("nothing is left");
    Ok(())
}
