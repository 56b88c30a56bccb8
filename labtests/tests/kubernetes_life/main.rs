//! A cluster from its first second on: everything begins at once, a node is deleted and another one away
//! for a while, and one joins that nobody has seen before.
//!
//! `cargo xtask kubernetes test` builds the programs and runs this; without them it is skipped, and says so.

mod begin;
mod fresh;
mod gone;

use anyhow::Result;
use petiole_labtests::kubernetes::Scene;

#[test]
fn a_cluster_begins_at_once_and_its_nodes_come_and_go() -> Result<()> {
    let Some(mut scene) = Scene::up("a_cluster_begins_at_once_and_its_nodes_come_and_go", "life")? else {
        return Ok(());
    };
    begin::everything_begins_at_once(&scene)?;
    gone::one_is_deleted_and_one_is_away(&mut scene)?;
    fresh::a_node_joins(&scene)?;
    scene.lab.down()
}

/// Prints a figure beside its goal, and fails only where it is so far away that no busy machine explains it.
fn hold(what: &str, seconds: f64, goal: f64) -> Result<()> {
    let missed = if seconds > goal { ": MISSED" } else { "" };
    println!("figure: {what}: {seconds:.1} s; the goal is {goal:.0} s{missed}");
    anyhow::ensure!(seconds <= goal * BUSY, "{what}: {seconds:.1} s");
    Ok(())
}

/// A machine that is busy with something else takes so many times as long.
const BUSY: f64 = 2.5;
