//! Pods come and go, kubelets and runtimes are killed, a worker loses its power: no address is left behind.
//!
//! `cargo xtask kubernetes test` builds the programs and runs this; without them it is skipped, and says so.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use petiole_labtests::fabric::{Member, Role, members};
use petiole_labtests::kubernetes::churn::{Churn, nothing_leaked};
use petiole_labtests::kubernetes::{Cluster, Scene, is_long};
use petiole_labtests::{Signal, eventually};

const WITHIN: Duration = Duration::from_secs(120);
const AT_ONCE: usize = 16;

#[test]
fn pods_come_and_go_and_no_address_is_left() -> Result<()> {
    let Some(mut scene) = Scene::up("pods_come_and_go_and_no_address_is_left", "churn")? else { return Ok(()) };
    let cluster = scene.cluster()?;
    let (pods, faulty) = if is_long() { (500, 200) } else { (60, 32) };
    churn(&scene, &cluster, "calm", pods, &mut |_| Ok(()))?;
    clean(&scene, &cluster, "after the churn")?;
    let mut kill = |gone: usize| {
        // Two of each, on different workers, while pods come and go there.
        let (service, worker) = match gone {
            4 => ("kubelet", "worker1"),
            8 => ("containerd", "worker2"),
            12 => ("containerd", "worker3"),
            16 => ("kubelet", "worker4"),
            _ => return Ok(()),
        };
        println!("  {service} of {worker} is killed");
        scene.lab.node(worker)?.stop(service, Signal::KILL)
    };
    churn(&scene, &cluster, "faulty", faulty, &mut kill)?;
    eventually(WITHIN, "every worker is Ready", || cluster.nodes_ready())?;
    clean(&scene, &cluster, "after kubelets and runtimes were killed")?;
    a_worker_loses_its_power(&mut scene)?;
    scene.lab.down()
}

fn churn(
    scene: &Scene,
    cluster: &Cluster<'_>,
    name: &str,
    pods: usize,
    at: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<()> {
    let begun = Instant::now();
    let workers: Vec<&Member> = members(Role::Worker).collect();
    let made = Churn { name, pods, at_once: AT_ONCE, workers: &workers }.run(cluster, at)?;
    let mut took: Vec<Duration> = made.into_iter().map(|pod| pod.took).collect();
    took.sort_unstable();
    let [p50, p99] = [50, 99]
        .map(|percent| took.get((took.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default());
    let all = begun.elapsed();
    println!(
        "figure: {name}: {pods} pods made and deleted, {AT_ONCE} at a time, in {all:.1?}; Ready p50 {p50:.2?}, p99 {p99:.2?}"
    );
    scene.say(name);
    Ok(())
}

/// What the store has assigned is what the API's pods have.
fn clean(scene: &Scene, cluster: &Cluster<'_>, when: &str) -> Result<()> {
    let begun = Instant::now();
    let pods = eventually(WITHIN, "no address is leaked", || nothing_leaked(cluster))?;
    println!("figure: {when} nothing is leaked, {:.1?} later; the API's pods have {pods} addresses", begun.elapsed());
    scene.say(when);
    Ok(())
}

/// It begins again with an empty disk; its pods are started anew, with other addresses.
fn a_worker_loses_its_power(scene: &mut Scene) -> Result<()> {
    let names = ["stay-0", "stay-1", "stay-2"];
    {
        let cluster = Cluster::of(&scene.lab)?;
        for name in names {
            cluster.run(name, "worker3", "agnhost", &["netexec"])?;
        }
    }
    let containers = |cluster: &Cluster<'_>| -> Result<Vec<String>> {
        let id = |name: &&str| -> Result<String> {
            cluster.pod(name)?;
            let pod = cluster.json(&["get", "pod", name])?;
            let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().context("no container")?;
            Ok(id.to_owned())
        };
        names.iter().map(id).collect()
    };
    let before = containers(&Cluster::of(&scene.lab)?)?;
    scene.power_off("worker3")?;
    std::thread::sleep(Duration::from_secs(5));
    scene.power_on("worker3")?;
    let on = Instant::now();
    let cluster = Cluster::of(&scene.lab)?;
    eventually(WITHIN, "the pods of worker3 run again", || {
        let now = containers(&cluster)?;
        ensure!(now.iter().zip(&before).all(|(now, before)| now != before), "{now:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    println!("figure: worker3's pods run again {:.1?} after its power was back", on.elapsed());
    eventually(WITHIN, "every worker is Ready", || cluster.nodes_ready())?;
    eventually(WITHIN, "the DaemonSet is Ready", || cluster.agents_ready())?;
    clean(scene, &cluster, "after worker3 lost its power")
}
