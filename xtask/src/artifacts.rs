//! Where things are, and the three executables that every lab, demo and bench runs.
//!
//! They are built once, statically, for the host's own GNU target: what is tested is what ships, and one file runs in
//! any mount namespace, container or distribution. `--target` is said although it is the host's, because only then do
//! the flags spare build scripts and procedural macros, which cannot be linked statically.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// Where the lab runner and the lab tests find the agent's executable.
pub(crate) const AGENT: &str = "PETIOLE_BIN";

/// The executables, all in one folder.
pub(crate) struct Artifacts {
    /// The agent: `petiole`.
    pub(crate) petiole: PathBuf,
    /// The CNI plugin: `petiole-cni`, beside the agent, where `petiole cni install` looks for it.
    pub(crate) plugin: PathBuf,
    /// The lab runner: `petiole-lab`.
    pub(crate) lab: PathBuf,
}

impl Artifacts {
    /// Every executable.
    pub(crate) fn all(&self) -> [&Path; 3] {
        [&self.petiole, &self.plugin, &self.lab]
    }
}

/// The folder that holds the workspace's Cargo.toml.
pub(crate) fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// The target folder this very executable was built in, so that configuration and environment are asked only once.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let this = std::env::current_exe().context("cannot find the path of xtask's own executable")?;
    this.ancestors()
        .nth(2)
        .map(Path::to_owned)
        .with_context(|| format!("{} is not inside a target folder; run it as `cargo xtask`", this.display()))
}

/// `cargo` in the workspace's root, building into the same target folder as xtask itself.
pub(crate) fn cargo() -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root()).env("CARGO_TARGET_DIR", target_dir()?);
    // `cargo run` describes the xtask package to us; a nested cargo must not take that for its own package.
    for (name, _) in std::env::vars_os() {
        let foreign =
            name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if foreign {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Builds the agent, the lab runner and the plugin, statically linked: the plugin in a profile of its own, which makes it
/// small.
pub(crate) fn build() -> Result<Artifacts> {
    let triple = host_triple()?;
    let mut command = cargo_build(&triple)?;
    command.arg("--release").args(["--package", "petiole", "--bin", "petiole"]).args([
        "--package",
        "petiole-labtests",
        "--bin",
        "petiole-lab",
    ]);
    run::must(&mut command, "building petiole and petiole-lab")?;
    let mut command = cargo_build(&triple)?;
    command.args(["--profile", "plugin", "--package", "petiole-cni", "--bin", "petiole-cni"]);
    run::must(&mut command, "building petiole-cni")?;
    let folder = target_dir()?.join(&triple);
    let release = folder.join("release");
    let built = Artifacts {
        petiole: release.join("petiole"),
        plugin: release.join("petiole-cni"),
        lab: release.join("petiole-lab"),
    };
    replace(&folder.join("plugin/petiole-cni"), &built.plugin)?;
    for binary in built.all() {
        must_be_static(binary)?;
    }
    Ok(built)
}

/// `cargo build` for this target, so that what it links is static.
fn cargo_build(triple: &str) -> Result<Command> {
    let flags = format!("CARGO_TARGET_{}_RUSTFLAGS", triple.to_uppercase().replace('-', "_"));
    let mut command = cargo()?;
    command
        .args(["build", "--target", triple])
        .env(flags, "-C target-feature=+crt-static")
        // A global RUSTFLAGS would override the target's and cost the static link.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    Ok(command)
}

/// Copies a file over one that may be running.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let beside = to.with_extension("new");
    let copied = std::fs::copy(from, &beside).and_then(|_| std::fs::rename(&beside, to));
    copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

/// The host's target triple, for example `x86_64-unknown-linux-gnu`.
fn host_triple() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let text = run::stdout(Command::new(rustc).arg("-vV").current_dir(root()))?;
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
        .context("`rustc -vV` names no host triple")
}

/// Fails when an ELF file asks for a program interpreter, which is what makes it need shared libraries.
pub(crate) fn must_be_static(binary: &Path) -> Result<()> {
    let bytes = std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    match asks_for_interpreter(&bytes) {
        Some(false) => Ok(()),
        Some(true) => bail!(
            "{} is linked dynamically, so it would not run in a container without this machine's libraries; look for a \
             `rustflags` or `linker` setting in a .cargo/config.toml or the environment that overrides \
             `-C target-feature=+crt-static`",
            binary.display()
        ),
        None => bail!("{} is not a 64-bit little-endian ELF executable", binary.display()),
    }
}

/// Whether a 64-bit little-endian ELF file has a PT_INTERP program header; `None` where it is no such file.
fn asks_for_interpreter(elf: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    let half = |at: usize| Some(u16::from_le_bytes(elf.get(at..at.checked_add(2)?)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?));
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    // Elf64_Ehdr: e_phoff at 32, e_phentsize at 54, e_phnum at 56.
    let offset = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(half(54)?), usize::from(half(56)?));
    for index in 0..count {
        if word(offset.checked_add(index.checked_mul(size)?)?)? == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests;
