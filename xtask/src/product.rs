//! `cargo xtask image`: the product's own image, as an archive that Docker, podman and containerd load.
//!
//! One layer with two static programs and nothing else: no shell, no libraries, no files of a distribution. Order, owners and
//! dates are fixed, so the same programs make the same image. The format is that of `docker save`, which all of them read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::packages::{self, Need};
use crate::{artifacts, run, terminal};

/// The image's name; its tag is the version. deploy/kubernetes/base/kustomization.yaml says the same.
const NAME: &str = concat!("localhost/petiole:", env!("CARGO_PKG_VERSION"));
/// Where the programs lie in the image: the plugin beside the agent, where `petiole cni install` looks for it.
const BIN: &str = "usr/local/bin";

/// Writes the archive. `programs` is a folder with both, built already.
pub(crate) fn build(tar: Option<&Path>, programs: Option<&Path>) -> Result<ExitCode> {
    let folder = artifacts::target_dir()?.join("image");
    let (agent, plugin) = match programs {
        Some(folder) => (folder.join("petiole"), folder.join("petiole-cni")),
        None => {
            packages::ensure(Need::Build)?;
            let built = artifacts::build()?;
            (built.petiole, built.plugin)
        }
    };
    for program in [&agent, &plugin] {
        artifacts::must_be_static(program)?;
    }
    let parts = folder.join(format!("parts-{}", std::process::id()));
    let packed = pack(&parts, &agent, &plugin, tar.unwrap_or(&folder.join("petiole.tar")));
    fs::remove_dir_all(&parts).with_context(|| format!("cannot remove {}", parts.display()))?;
    let archive = packed?;
    let size = archive.metadata().with_context(|| format!("cannot read {}", archive.display()))?.len();
    let mib = size.div_ceil(1 << 20);
    println!("{} {NAME}, {mib} MiB, in {}; load it with one of:", terminal::out().good("ok"), archive.display());
    let archive = archive.display();
    for command in ["docker load --input", "podman load --input", "ctr --namespace k8s.io images import"] {
        println!("  {command} {archive}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Packs the layer, then layer, configuration and manifest into the archive.
fn pack(parts: &Path, agent: &Path, plugin: &Path, archive: &Path) -> Result<PathBuf> {
    let root = parts.join("root");
    let bin = root.join(BIN);
    // Where a DaemonSet mounts something, so that the image may be read-only.
    let places = ["etc/petiole", "etc/cni/net.d", "opt/cni/bin", "run/petiole", "var/lib/petiole"];
    for folder in places.iter().map(|place| root.join(place)).chain([bin.clone()]) {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for (program, name) in [(agent, "petiole"), (plugin, "petiole-cni")] {
        let to = bin.join(name);
        // Lines of source are four fifths of the file; the names of functions stay for backtraces.
        run::must(
            Command::new("strip").arg("--strip-debug").arg("-o").arg(&to).arg(program),
            "taking debug information out",
        )?;
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).with_context(|| to.display().to_string())?;
    }
    let layer = parts.join("layer.tar");
    tar(&root, &["."], &layer)?;
    let sum = run::stdout(Command::new("sha256sum").arg(&layer))?;
    let Some(sum) = sum.split(' ').next().filter(|sum| sum.len() == 64) else { bail!("sha256sum says {sum:?}") };
    write(parts, "config.json", &config(architecture(), sum))?;
    write(parts, "manifest.json", &manifest())?;
    if let Some(folder) = archive.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    tar(parts, &["manifest.json", "config.json", "layer.tar"], archive)?;
    Ok(archive.to_owned())
}

fn write(parts: &Path, name: &str, text: &str) -> Result<()> {
    fs::write(parts.join(name), text).with_context(|| format!("cannot write {name}"))
}

/// What the image runs, and the checksum of its uncompressed layer (OCI image-spec, config.md).
fn config(architecture: &str, layer: &str) -> String {
    format!(
        r#"{{"architecture":"{architecture}","os":"linux","created":"1970-01-01T00:00:00Z","config":{{"Entrypoint":["/{BIN}/petiole"],"Cmd":["agent"],"Env":["PATH=/{BIN}"],"Labels":{{"org.opencontainers.image.title":"petiole","org.opencontainers.image.version":"{version}","org.opencontainers.image.licenses":"Apache-2.0"}}}},"rootfs":{{"type":"layers","diff_ids":["sha256:{layer}"]}}}}"#,
        version = env!("CARGO_PKG_VERSION"),
    )
}

fn manifest() -> String {
    format!(r#"[{{"Config":"config.json","RepoTags":["{NAME}"],"Layers":["layer.tar"]}}]"#)
}

/// The architecture's name in images.
const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn tar(folder: &Path, names: &[&str], archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=go-w"]);
    tar.arg("--file").arg(archive).arg("--directory").arg(folder).args(names);
    run::must(&mut tar, "packing the image")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifests_ask_for_the_image_that_is_built() {
        let file = artifacts::root().join("deploy/kubernetes/base/kustomization.yaml");
        let text = fs::read_to_string(file).unwrap();
        let value = |key: &str| text.lines().find_map(|line| line.trim().strip_prefix(key)).unwrap().trim();
        assert_eq!(format!("{}:{}", value("newName:"), value("newTag:")), NAME);
    }
}
