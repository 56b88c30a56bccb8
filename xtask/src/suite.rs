//! `cargo xtask test`: every check and every test, in the order that tells of a mistake soonest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};

use crate::artifacts::{self, Artifacts};
use crate::clean::Before;
use crate::kubernetes::Pace;
use crate::packages::{self, Need};
use crate::report::{Stages, Verdict};
use crate::{check, clean, kubernetes, run, terminal};

/// Runs everything, or with a filter only the tests whose name contains it.
pub(crate) fn run(filter: Option<&str>) -> Result<ExitCode> {
    packages::must_be_root("the lab")?;
    let mut stages = Stages::default();
    let installed = stages.run("packages", || packages::ensure(Need::Image).map(|()| Verdict::passed()));
    if !installed {
        return Ok(stages.finish());
    }
    // In the time that everything else leaves: linkers that work alone, labs that wait.
    let programs = Programs::begin(filter);
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
    integration(&mut stages, filter, compiled, programs);
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

/// The tests of every crate's `tests` folder, most of which run labs: with the executables that ship. Those that need the
/// programs of Kubernetes come last.
fn integration(stages: &mut Stages, filter: Option<&str>, compiled: bool, programs: Programs) {
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
    }
    let Some(built) = built else {
        // Go would go on without us.
        programs.end(stages, None);
        return;
    };
    let before = Before::now();
    let mark = clean::mark();
    let labs = |stages: &mut Stages, stage, tests_of, cluster: Option<&Path>| {
        stages.run(stage, || {
            let mut command = tests(&["--test", tests_of], filter)?;
            // One at a time: each lab wants all processors while it converges.
            harness(&mut command, &["--test-threads=1"]);
            environment(&mut command, &built)?;
            command.envs(cluster.map(|folder| (kubernetes::FOLDER, folder)));
            command.env(clean::MARK, &mark);
            Verdict::counted(&mut command)
        });
    };
    labs(stages, LAB, kubernetes::OTHER_TESTS, None);
    let is_meant = programs.are_meant();
    let cluster = programs.end(stages, Some(&built));
    if is_meant {
        labs(stages, "cluster", kubernetes::TESTS, cluster.as_deref());
    }
    stages.run("nothing left behind", || clean::verdict(&before, &mark));
}

/// The programs of Kubernetes for the tests that bring up a cluster, while they are built.
enum Programs {
    /// No such test is selected.
    NotMeant,
    /// These tests are not checked, for this reason.
    Impossible(String),
    /// Under way; the folder comes out.
    Building(JoinHandle<Result<PathBuf>>),
}

impl Programs {
    fn begin(filter: Option<&str>) -> Self {
        let meant = clusters(filter);
        if meant.as_ref().is_ok_and(Vec::is_empty) {
            return Self::NotMeant;
        }
        match kubernetes::must_have_go() {
            Ok(_) => Self::Building(thread::spawn(|| kubernetes::ensure(Pace::Idle))),
            Err(how) => {
                Self::Impossible(format!("{how:#}. Not checked without it: {}", meant.unwrap_or_default().join(", ")))
            }
        }
    }

    const fn are_meant(&self) -> bool {
        !matches!(self, Self::NotMeant)
    }

    /// Waits for them and adds Petiole's image. `None` where there are none: those tests are named in the summary then, and pass
    /// without having looked.
    fn end(self, stages: &mut Stages, built: Option<&Artifacts>) -> Option<PathBuf> {
        const STAGE: &str = "kubernetes programs";
        let mut folder = None;
        match self {
            Self::NotMeant => {}
            Self::Impossible(why) => stages.skip(STAGE, &why),
            Self::Building(under_way) => {
                stages.run(STAGE, || {
                    let programs = under_way.join().map_err(|_| anyhow!("the thread that builds them panicked"))??;
                    if let Some(built) = built {
                        kubernetes::image(&programs, built)?;
                        folder = Some(programs);
                    }
                    Ok(Verdict::passed())
                });
            }
        }
        folder
    }
}

/// The tests that need the programs of Kubernetes and that the filter selects, as their files have them.
fn clusters(filter: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut folders = ["labtests/tests", "agent/tests"].map(|folder| artifacts::root().join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if !path.to_string_lossy().contains("/tests/kubernetes") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                let source = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                names.extend(named(&source).into_iter().map(|name| format!("{}{name}", module(&path))));
            }
        }
    }
    names.retain(|name| filter.is_none_or(|filter| name.contains(filter)));
    names.sort();
    Ok(names)
}

/// What the names of a file's tests begin with: nothing where the file is a test executable's own.
fn module(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let is_root = stem == "main" || path.parent().is_some_and(|folder| folder.ends_with("tests"));
    if is_root { String::new() } else { format!("{stem}::") }
}

/// The tests of a file: the functions that `#[test]` or tokio's stands before.
fn named(source: &str) -> Vec<String> {
    let parts = source.split("#[tokio::test").flat_map(|part| part.split("#[test]")).skip(1);
    let name = |part: &str| Some(part.split_once("fn ")?.1.split_once('(')?.0.to_owned());
    parts.filter_map(name).collect()
}

/// What a test needs to find the executables without building them again.
fn environment(command: &mut Command, built: &Artifacts) -> Result<()> {
    command.env(artifacts::AGENT, &built.petiole);
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
    Ok(listed(&mut command)?.len())
}

/// The names of the tests that `--list` prints.
fn listed(command: &mut Command) -> Result<Vec<String>> {
    Ok(run::stdout(command)?.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_tests_of_a_cluster_without_compiling_them() {
        let found = clusters(None).unwrap();
        assert!(found.iter().any(|name| name.starts_with("a_cluster_runs_on_the_fabric")), "{found:?}");
        assert!(found.iter().any(|name| name.starts_with("ranges::")), "{found:?}");
        assert!(clusters(Some("no such name")).unwrap().is_empty());
        let source = "#[test]\n#[ignore]\nfn one() {}\nfn two() {}\n#[tokio::test]\nasync fn three() {}\n";
        assert_eq!(named(source), ["one", "three"]);
    }

    #[test]
    fn every_test_executable_belongs_to_one_of_the_two_stages() {
        assert_eq!((kubernetes::TESTS, kubernetes::OTHER_TESTS), ("kubernetes*", "[!k]*"));
        for member in fs::read_dir(artifacts::root()).unwrap().flatten() {
            for test in fs::read_dir(member.path().join("tests")).into_iter().flatten().flatten() {
                let name = test.file_name().to_string_lossy().into_owned();
                assert!(!name.starts_with('k') || name.starts_with("kubernetes"), "{name} would run in neither stage");
            }
        }
    }
}
