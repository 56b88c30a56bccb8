//! `cargo xtask fuzz`: the targets of the folder `fuzz`, which is not there yet.

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::{artifacts, run};

/// Runs one fuzz target until it is interrupted.
pub(crate) fn run(target: &str) -> Result<ExitCode> {
    let folder = artifacts::root().join("fuzz/fuzz_targets");
    if !folder.is_dir() {
        bail!(
            "there are no fuzz targets yet: they come with the full BGP speaker, the next slice of work; until then every \
             parser is covered by property tests (`cargo xtask test`)"
        );
    }
    let known = targets(&folder)?;
    if !known.iter().any(|name| name == target) {
        bail!("there is no fuzz target {target}; there are: {}", known.join(", "));
    }
    let mut command = artifacts::cargo()?;
    command.args(["+nightly", "fuzz", "run", target]);
    run::must(&mut command, "fuzzing (it needs a nightly toolchain and `cargo install cargo-fuzz`)")?;
    Ok(ExitCode::SUCCESS)
}

fn targets(folder: &std::path::Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
