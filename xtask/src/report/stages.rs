//! Running stage after stage, each timed and each with a verdict, whatever the one before said.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Line, Outcome, Report};
use crate::run::{self, Counts};
use crate::terminal;

/// What one stage has to say.
pub(crate) struct Verdict {
    outcome: Outcome,
    counts: Option<Counts>,
    /// What to do about a failure.
    advice: Option<String>,
}

impl Verdict {
    pub(crate) fn passed() -> Self {
        Self { outcome: Outcome::Passed, counts: None, advice: None }
    }

    pub(crate) fn failed(advice: &str) -> Self {
        Self { outcome: Outcome::Failed, counts: None, advice: Some(advice.to_owned()) }
    }

    pub(crate) fn skipped(why: &str) -> Self {
        Self { outcome: Outcome::Skipped(why.to_owned()), counts: None, advice: None }
    }

    /// Runs a program that passes or fails by its exit status.
    pub(crate) fn of(command: &mut Command, advice: &str) -> Result<Self> {
        Ok(match run::must(command, "this stage") {
            Ok(()) => Self::passed(),
            Err(error) => Self::failed(&format!("{error:#}\n{advice}")),
        })
    }

    /// Runs `cargo test` and keeps its counts.
    pub(crate) fn counted(command: &mut Command) -> Result<Self> {
        let (counts, succeeded) = run::counted(command, &mut std::io::stdout().lock())?;
        let outcome = if succeeded { Outcome::Passed } else { Outcome::Failed };
        Ok(Self { outcome, counts: Some(counts), advice: None })
    }
}

/// The stages so far.
#[derive(Default)]
pub(crate) struct Stages {
    report: Report,
}

impl Stages {
    /// Runs one stage under its headline. Returns false when it failed.
    pub(crate) fn run(&mut self, stage: &'static str, work: impl FnOnce() -> Result<Verdict>) -> bool {
        let style = terminal::err();
        eprintln!("\n{}", style.bold(&format!("== {stage}")));
        let started = Instant::now();
        let verdict = work().unwrap_or_else(|error| Verdict::failed(&format!("{error:#}")));
        let took = started.elapsed();
        match (&verdict.outcome, &verdict.advice) {
            (Outcome::Skipped(why), _) => eprintln!("{} {why}", style.dim("skipped:")),
            (_, Some(advice)) => eprintln!("{} {advice}", style.bad("failed:")),
            _ => {}
        }
        let passed = verdict.outcome != Outcome::Failed;
        self.report.add(Line { stage, outcome: verdict.outcome, took, counts: verdict.counts });
        passed
    }

    /// Notes a stage that cannot run, or need not.
    pub(crate) fn skip(&mut self, stage: &'static str, why: &str) {
        let outcome = Outcome::Skipped(why.to_owned());
        self.report.add(Line { stage, outcome, took: Duration::ZERO, counts: None });
    }

    pub(crate) fn passed(&self) -> bool {
        self.report.passed()
    }

    pub(crate) fn tests_run(&self) -> u64 {
        self.report.tests_run()
    }

    /// Prints the summary; the exit status is its verdict.
    pub(crate) fn finish(&self) -> ExitCode {
        println!("\n{}", self.report.render(terminal::out()));
        if self.passed() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
