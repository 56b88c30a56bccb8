//! `cargo xtask lab image`: the one image that the topologies name, made of what is installed here.
//!
//! No registry is asked and nothing is downloaded: programs and their libraries are copied into a folder, the folder
//! becomes a tar file, and `docker import` makes it an image.

mod contents;
mod rootfs;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::packages::{self, Need};
use crate::{artifacts, run, terminal};

/// The name that every topology of containerlab/ gives its nodes' image.
const NAME: &str = "petiole-lab:latest";
/// What a login shell would set; there is none in a container.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Builds the image and hands it to the Docker engine that answers, or writes it to `tar`.
pub(crate) fn build(topology: Option<&Path>, tar: Option<&Path>) -> Result<ExitCode> {
    if let Some(topology) = topology {
        must_name_only_ours(topology)?;
    }
    packages::ensure(Need::Image)?;
    if tar.is_none() {
        // Asked first: it would be a pity to find out after minutes of building.
        must_answer()?;
    }
    let style = terminal::err();
    let built = artifacts::build()?;
    let folder = artifacts::target_dir()?.join("lab-image");
    let root = folder.join("root");
    let kept = tar.map(Path::to_owned);
    let tar = kept.clone().unwrap_or_else(|| folder.join("petiole-lab.tar"));
    eprintln!("{} copying programs and their libraries", style.dim("image:"));
    let facts = rootfs::fill(&root, &built)?;
    pack(&root, &tar)?;
    std::fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    let size = tar.metadata().with_context(|| format!("cannot read {}", tar.display()))?.len() >> 20;
    eprintln!("{} {} programs, {} libraries, {size} MiB", style.dim("image:"), facts.programs, facts.libraries);
    if kept.is_some() {
        println!(
            "{} written; load it with: docker import --change 'ENV {PATH}' {} {NAME}",
            tar.display(),
            tar.display()
        );
        return Ok(ExitCode::SUCCESS);
    }
    import(&tar)?;
    std::fs::remove_file(&tar).with_context(|| format!("cannot remove {}", tar.display()))?;
    println!("{} {NAME} is there; try: containerlab deploy -t containerlab/clos.clab.yml", style.good("ok"));
    Ok(ExitCode::SUCCESS)
}

/// A topology that names another image would not run with this one.
fn must_name_only_ours(topology: &Path) -> Result<()> {
    let text = std::fs::read_to_string(topology).with_context(|| format!("cannot read {}", topology.display()))?;
    match foreign_images(&text).first() {
        None => Ok(()),
        Some(other) => bail!("{} names the image {other}; this command builds {NAME} only", topology.display()),
    }
}

/// The images that a topology names beside ours.
fn foreign_images(topology: &str) -> Vec<&str> {
    let images = topology.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("image:"));
    images
        .map(|image| image.split('#').next().unwrap_or(image).trim().trim_matches(['"', '\'']))
        .filter(|i| *i != NAME)
        .collect()
}

fn must_answer() -> Result<()> {
    let output = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    let output = output.context("cannot run docker")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!(
        "no Docker engine answers ({}); start it (`systemctl start docker`, or `dockerd` where there is no systemd), or \
         write the image to a file for an engine elsewhere: cargo xtask lab image --tar FILE",
        said.trim().lines().last().unwrap_or("no reason given")
    )
}

/// Makes the tar file. Everything is root's but FRR's folders; order and dates are fixed, so that the same contents make
/// the same file.
fn pack(root: &Path, tar: &Path) -> Result<()> {
    let owner = rootfs::frr_owner()?;
    let base = |owner: &str, group: &str| {
        let mut command = Command::new("tar");
        command.arg("--directory").arg(root).args(["--sort=name", "--mtime=@0", "--numeric-owner"]);
        command.args([format!("--owner={owner}"), format!("--group={group}")]).arg("--file").arg(tar);
        command
    };
    let mut all = base("0", "0");
    all.args(contents::FRR_OWNED.iter().map(|folder| format!("--exclude=./{folder}"))).args(["--create", "."]);
    run::must(&mut all, "packing the image")?;
    let mut frr = base(&owner.user, &owner.group);
    frr.arg("--append").args(contents::FRR_OWNED.iter().map(|folder| format!("./{folder}")));
    run::must(&mut frr, "packing FRR's folders")
}

fn import(tar: &Path) -> Result<()> {
    let input = File::open(tar).with_context(|| format!("cannot read {}", tar.display()))?;
    let mut command = Command::new("docker");
    command.args(["import", "--change", &format!("ENV {PATH}"), "--change", "CMD [\"/bin/sh\"]", "-", NAME]);
    command.stdin(input).stdout(Stdio::null());
    run::must(&mut command, "importing the image into Docker")
}

/// A path inside the image's tree for an absolute path of this machine.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests;
