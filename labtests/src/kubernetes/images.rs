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
    /// What archive and image are called: `localhost/NAME:latest`, where nothing else is said.
    name: &'a str,
    /// What the image is called by those who say so.
    tag: Option<&'a str>,
    /// The programs in `/bin`, of the host.
    programs: Vec<PathBuf>,
    /// Libraries of the host that they load, where the host has them.
    libraries: Vec<PathBuf>,
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
            tag: None,
            libraries: Vec::new(),
            programs: vec![busybox.clone()],
            links: &[],
            entrypoint: &["/bin/busybox", "sleep", "2000000000"],
        },
        Image {
            name: "box",
            tag: None,
            libraries: Vec::new(),
            programs: vec![busybox],
            links: &APPLETS,
            entrypoint: &[],
        },
        Image {
            name: "agnhost",
            tag: None,
            libraries: Vec::new(),
            programs: vec![of("agnhost")],
            links: &[],
            entrypoint: &["/bin/agnhost"],
        },
        Image {
            name: "coredns",
            tag: None,
            libraries: Vec::new(),
            programs: vec![of("coredns")],
            links: &[],
            entrypoint: &["/bin/coredns"],
        },
    ];
    images.iter().try_for_each(|image| image.make(&folder.join("images")).map(drop))
}

/// Makes the image of kube-proxy, apart from those that every node imports, and returns where nodes see it.
pub(super) fn make_kube_proxy(folder: &Path) -> Result<String> {
    let kubelet = Command::new(folder.join("bin/kubelet")).arg("--version").output()?;
    let said = String::from_utf8_lossy(&kubelet.stdout).into_owned();
    let version = said.trim().strip_prefix("Kubernetes ").context("the kubelet says no version")?;
    let nft = ["/usr/sbin/nft", "/sbin/nft"].map(PathBuf::from).into_iter().find(|path| path.is_file());
    let nft = nft.context("no nft: apt-get install nftables")?;
    let image = Image {
        name: "kube-proxy",
        tag: Some(&format!("registry.k8s.io/kube-proxy:{version}")),
        libraries: libraries(&nft)?,
        programs: vec![folder.join("bin/kube-proxy"), nft],
        links: &[],
        entrypoint: &["/bin/kube-proxy"],
    };
    image.make(&folder.join("overlay")).map(|_| format!("{}/overlay/kube-proxy.tar", super::PLACE))
}

/// What a program of the host loads, its loader included.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let said = command::run(Command::new("ldd").arg(program))?;
    Ok(said.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
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
    /// Makes the archive where it is older than what goes into it.
    fn make(&self, place: &Path) -> Result<PathBuf> {
        fs::create_dir_all(place)?;
        let archive = place.join(format!("{}.tar", self.name));
        if !is_newer(&archive, &self.programs)? {
            self.pack(&archive).with_context(|| self.name.to_owned())?;
        }
        Ok(archive)
    }

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
        for library in &self.libraries {
            let to = root.join(library.strip_prefix("/")?);
            fs::create_dir_all(to.parent().context("a library without a folder")?)?;
            fs::copy(library, to).with_context(|| library.display().to_string())?;
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
        let name = self.tag.map_or_else(|| format!("localhost/{}:latest", self.name), str::to_owned);
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
