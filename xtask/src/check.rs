//! The stages that read the code without running it: format, lints, documentation, dependencies.

use std::process::{Command, ExitCode, Stdio};

use anyhow::Result;

use crate::artifacts;
use crate::packages::{self, Need};
use crate::report::{Stages, Verdict};

/// `cargo xtask check`.
pub(crate) fn run() -> Result<ExitCode> {
    packages::ensure(Need::Build)?;
    let mut stages = Stages::default();
    all(&mut stages);
    Ok(stages.finish())
}

/// Runs every check as a stage of its own, going on after one that fails.
pub(crate) fn all(stages: &mut Stages) {
    stages.run("format", || {
        let mut command = artifacts::cargo()?;
        command.args(["fmt", "--all", "--check"]);
        Verdict::of(&mut command, "run `cargo fmt --all`")
    });
    stages.run("lints", || {
        let mut command = artifacts::cargo()?;
        command.args(["clippy", "--workspace", "--all-targets", "--keep-going", "--", "--deny", "warnings"]);
        Verdict::of(&mut command, "each warning above says what to change; clippy.toml gives the reason of a ban")
    });
    stages.run("documentation", || {
        let mut command = artifacts::cargo()?;
        command.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--keep-going"]);
        // A page of public documentation may lead to a private item: nobody reads it without the source.
        command.env("RUSTDOCFLAGS", "--deny warnings --allow rustdoc::private_intra_doc_links");
        Verdict::of(&mut command, "each warning above names the link or the code block to mend")
    });
    stages.run("dependencies", || {
        if !has_cargo_deny()? {
            return Ok(Verdict::skipped("cargo-deny is not installed (cargo install cargo-deny --locked)"));
        }
        let mut command = artifacts::cargo()?;
        // Not `advisories`: their database is fetched from the network, which is not there everywhere.
        // Not `unused-wrapper`: that a crate does not use what it may use is no fault.
        command.args(["deny", "--log-level", "warn", "check", "--hide-inclusion-graph", "--allow", "unused-wrapper"]);
        command.args(["bans", "licenses", "sources"]);
        Verdict::of(&mut command, "deny.toml says what is allowed, where and why")
    });
}

fn has_cargo_deny() -> Result<bool> {
    let mut command: Command = artifacts::cargo()?;
    command.args(["deny", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(command.status().is_ok_and(|status| status.success()))
}
