//! The control plane goes away, piece by piece and all of it: what runs does not notice, and who comes anew is served as soon as
//! it can be.
//!
//! `cargo xtask kubernetes test` builds the programs and runs this; without them it is skipped, and says so.

mod api;
mod away;

use anyhow::Result;
use petiole_labtests::kubernetes::{Announced, Scene};

#[test]
fn what_runs_does_not_notice_and_who_comes_anew_is_served() -> Result<()> {
    let Some(mut scene) = Scene::up("what_runs_does_not_notice_and_who_comes_anew_is_served", "faults")? else {
        return Ok(());
    };
    scene.cluster()?;
    let announced = Announced::all(&scene.lab)?;
    scene.settled(&announced)?;
    if std::env::var_os("ONLY_AWAY").is_none() {
        api::masters_fail(&mut scene, &announced)?;
    }
    away::everything_is_away(&scene, &announced)?;
    scene.lab.down()
}
