//! Running other programs: with a clear error, and counting what `cargo test` says.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program whose output goes straight to the terminal. `doing` names the work in the error.
pub(crate) fn must(command: &mut Command, doing: &str) -> Result<()> {
    let status = command.status().with_context(|| format!("{doing}: cannot run {}", shown(command)))?;
    if !status.success() {
        bail!("{doing} failed ({status}): {}", shown(command));
    }
    Ok(())
}

/// Runs a program and returns what it printed.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", shown(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a run of `cargo test` counted, over all its test executables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    /// All tests that ran.
    pub(crate) fn ran(self) -> u64 {
        self.passed.saturating_add(self.failed)
    }

    /// Adds a line of the test harness; other lines count for nothing.
    fn add_line(&mut self, line: &str) {
        let Some((_, rest)) = line.split_once("test result: ") else { return };
        for field in rest.split([';', '.']) {
            let mut words = field.split_whitespace();
            let (Some(number), Some(kind)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            let total = match kind {
                "passed" => &mut self.passed,
                "failed" => &mut self.failed,
                "ignored" => &mut self.ignored,
                _ => continue,
            };
            *total = total.saturating_add(number);
        }
    }
}

/// Runs `cargo test`, handing its output on to `out` line by line and counting results.
///
/// Returns the counts and whether the program succeeded; a failing test is not an error of ours.
pub(crate) fn counted(command: &mut Command, out: &mut impl Write) -> Result<(Counts, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {}", shown(command)))?;
    let mut counts = Counts::default();
    if let Some(pipe) = child.stdout.take() {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? != 0 {
            // A reader that went away must not stop the tests: their cleaning up matters more than their output.
            let _ = out.write_all(&line).and_then(|()| out.flush());
            counts.add_line(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {}", shown(command)))?;
    Ok((counts, status.success()))
}

/// A command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    let quote =
        |word: String| if word.is_empty() || word.contains([' ', '\'', '"']) { format!("{word:?}") } else { word };
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
