//! Images without a registry: archives that `ctr images import` reads, each of one layer with static programs.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::command;

/// What containers of pods here run of busybox.
const APPLETS: [&str; 10] = ["sh", "cat", "nc", "ip", "ping", "ping6", "sleep", "wget", "nslookup", "hostname"];

/// An image to be.
struct Image<'a> {
    /// `localhost/NAME:latest`.
    name: &'a str,
    /// The programs in `/bin`, of the host.
    programs: Vec<PathBuf>,
    /// Names in `/bin` that lead to the first program.
    links: &'a [&'a str],
    entrypoint: &'a [&'a str],
}

/// Makes every image in `FOLDER/images`, where it is older than what goes into it.
pub(super) fn make(folder: &Path) -> Result<()> {
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.is_file());
    let busybox = busybox.context("no busybox: apt-get install busybox-static")?;
    let of = |program: &str| folder.join("bin").join(program);
    let images = [
        // It waits, and is killed with its pod.
        Image {
            name: "pause",
            programs: vec![busybox.clone()],
            links: &[],
            entrypoint: &["/bin/busybox", "sleep", "2000000000"],
        },
        Image { name: "box", programs: vec![busybox], links: &APPLETS, entrypoint: &[] },
        Image { name: "agnhost", programs: vec![of("agnhost")], links: &[], entrypoint: &["/bin/agnhost"] },
        Image { name: "coredns", programs: vec![of("coredns")], links: &[], entrypoint: &["/bin/coredns"] },
    ];
    let place = folder.join("images");
    fs::create_dir_all(&place)?;
    for image in &images {
        let archive = place.join(format!("{}.tar", image.name));
        if !is_newer(&archive, &image.programs)? {
            image.pack(&archive).with_context(|| image.name.to_owned())?;
        }
    }
    Ok(())
}

fn is_newer(archive: &Path, than: &[PathBuf]) -> Result<bool> {
    let Ok(made) = fs::metadata(archive).and_then(|found| found.modified()) else { return Ok(false) };
    for path in than {
        let changed =
            fs::metadata(path).and_then(|found| found.modified()).with_context(|| path.display().to_string())?;
        if changed > made {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Image<'_> {
    /// The format of `docker save`.
    fn pack(&self, archive: &Path) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (root, parts) = (folder.path().join("root"), folder.path().join("parts"));
        for path in ["bin", "etc", "proc", "sys", "dev", "tmp"].map(|name| root.join(name)).iter().chain([&parts]) {
            fs::create_dir_all(path)?;
        }
        let mut names = Vec::new();
        for program in &self.programs {
            let name = program.file_name().context("a program without a name")?;
            fs::copy(program, root.join("bin").join(name))?;
            fs::set_permissions(root.join("bin").join(name), fs::Permissions::from_mode(0o755))?;
            names.push(name.to_owned());
        }
        for link in self.links {
            symlink(names.first().context("an image without a program")?, root.join("bin").join(link))?;
        }
        fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n")?;
        let layer = parts.join("layer.tar");
        tar(&root, &["."], &layer)?;
        let sum = command::run(Command::new("sha256sum").arg(&layer))?;
        let sum = sum.split(' ').next().context("no checksum")?;
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let config = json!({
            "architecture": architecture, "os": "linux",
            "config": { "Entrypoint": self.entrypoint, "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{sum}")] },
        });
        let name = format!("localhost/{}:latest", self.name);
        let manifest = json!([{ "Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"] }]);
        fs::write(parts.join("config.json"), config.to_string())?;
        fs::write(parts.join("manifest.json"), manifest.to_string())?;
        let fresh = archive.with_extension(format!("{}", std::process::id()));
        tar(&parts, &["manifest.json", "config.json", "layer.tar"], &fresh)?;
        fs::rename(&fresh, archive).with_context(|| archive.display().to_string())
    }
}

fn tar(folder: &Path, names: &[&str], archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--create").args(["--owner=0", "--group=0"]).arg("--file").arg(archive).arg("--directory").arg(folder);
    command::run(tar.args(names)).map(drop)
}
