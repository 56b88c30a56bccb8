//! `cargo xtask test`: every check and every test, in the order that tells of a mistake soonest.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::artifacts::{self, Artifacts};
use crate::clean::Before;
use crate::packages::{self, Need};
use crate::report::{Stages, Verdict};
use crate::{check, clean, forward, run, terminal};

/// Runs everything, or with a filter only the tests whose name contains it.
pub(crate) fn run(filter: Option<&str>) -> Result<ExitCode> {
    packages::must_be_root("the lab")?;
    let mut stages = Stages::default();
    let installed = stages.run("packages", || packages::ensure(Need::Image).map(|()| Verdict::passed()));
    if !installed {
        return Ok(stages.finish());
    }
    if filter.is_none() {
        check::all(&mut stages);
    }
    let compiled = stages.run("unit and property", || {
        // Every test command selects the whole workspace: another selection means other features of shared
        // dependencies, and compiling those again.
        let mut command = tests(&["--lib", "--bins"], filter)?;
        harness(&mut command, &[]);
        Verdict::counted(&mut command)
    });
    if filter.is_none() {
        stages.run("documentation examples", || {
            let mut command = tests(&["--doc"], filter)?;
            harness(&mut command, &[]);
            Verdict::counted(&mut command)
        });
    }
    integration(&mut stages, filter, compiled);
    if let Some(filter) = filter
        && stages.passed()
        && stages.tests_run() == 0
    {
        eprintln!("{} no test's name contains `{filter}`", terminal::err().bad("error:"));
        stages.finish();
        return Ok(ExitCode::FAILURE);
    }
    Ok(stages.finish())
}

/// The tests of every crate's `tests` folder, most of which run labs: with the executables that ship.
fn integration(stages: &mut Stages, filter: Option<&str>, compiled: bool) {
    const LAB: &str = "integration and lab";
    if let Some(filter) = filter
        && compiled
        && matching(filter).is_ok_and(|number| number == 0)
    {
        stages.skip(LAB, &format!("no test's name contains `{filter}`"));
        return;
    }
    let mut built = None;
    if !stages.run("build", || artifacts::build().map(|artifacts| built = Some(artifacts)).map(|()| Verdict::passed()))
    {
        stages.skip(LAB, "petiole and petiole-lab could not be built");
        return;
    }
    let Some(built) = built else { return };
    let before = Before::now();
    let mark = clean::mark();
    stages.run(LAB, || {
        let mut command = tests(&["--test", "*"], filter)?;
        // One at a time: each lab wants all processors while it converges.
        harness(&mut command, &["--test-threads=1"]);
        environment(&mut command, &built)?;
        command.env(clean::MARK, &mark);
        Verdict::counted(&mut command)
    });
    stages.run("nothing left behind", || clean::verdict(&before, &mark));
}

/// What a test needs to find the executables without building them again.
fn environment(command: &mut Command, built: &Artifacts) -> Result<()> {
    command.env(forward::AGENT, &built.petiole);
    command.env("PETIOLE_XTASK", std::env::current_exe()?);
    Ok(())
}

/// `cargo test` over the whole workspace, for some kinds of targets.
fn tests(kinds: &[&str], filter: Option<&str>) -> Result<Command> {
    let mut command = artifacts::cargo()?;
    command.args(["test", "--workspace", "--no-fail-fast"]).args(kinds).args(filter);
    Ok(command)
}

/// Hands words to the test executables; they cannot see the terminal, so they are told of its colour.
fn harness(command: &mut Command, words: &[&str]) {
    let colour = terminal::out().is_live().then_some("--color=always");
    command.arg("--").args(words).args(colour);
}

/// How many integration tests a filter selects.
fn matching(filter: &str) -> Result<usize> {
    let mut command = tests(&["--test", "*"], Some(filter))?;
    command.args(["--", "--list", "--format=terse"]);
    Ok(run::stdout(&mut command)?.lines().filter(|line| line.ends_with(": test")).count())
}
