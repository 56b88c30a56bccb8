//! `cargo xtask kubernetes`: the programs of Kubernetes, built from Go modules, and the lab tests that need them.
//!
//! Two modules of ours, labtests/kubernetes and labtests/kubernetes/coredns, name every version; go.sum holds what each
//! file of them must be. What is built lies in target/kubernetes and is built again when one of these files or Go changes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::artifacts::{self, Artifacts};
use crate::packages::{self, Need};
use crate::{product, run, terminal};

/// Where the lab and its tests look for the programs.
pub(crate) const FOLDER: &str = "PETIOLE_KUBERNETES";
/// The test executables that need these programs: their names begin like this.
pub(crate) const TESTS: &str = "kubernetes*";
/// All others, as cargo can say it: none of them begins with a `k`.
pub(crate) const OTHER_TESTS: &str = "[!k]*";
/// The least version of Go, its minor number: what Kubernetes 1.37 asks for.
const GO: u32 = 26;
const HOW: &str = "Kubernetes 1.37 is built with Go 1.26 or newer: unpack it from go.dev/dl into /usr/local/go and put \
                   /usr/local/go/bin into PATH, or install any Go since 1.21 and set GOTOOLCHAIN=auto, which fetches \
                   the one that go.mod names through the module proxy";

/// What is built of which module: the module's folder, the package, what says the version, and what is expected of it.
const MODULES: [(&str, &str, &str, &[&str]); 2] = [
    (
        "labtests/kubernetes",
        "tool",
        "k8s.io/kubernetes",
        &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "agnhost"],
    ),
    ("labtests/kubernetes/coredns", ".", "github.com/coredns/coredns", &["coredns"]),
];

/// How the programs are built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Somebody waits for them.
    Now,
    /// Only while no other process wants the processor.
    Idle,
}

/// `cargo xtask kubernetes build`.
pub(crate) fn build() -> Result<ExitCode> {
    println!("{}", ensure(Pace::Now)?.display());
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask kubernetes test [FILTER] [--long]`.
pub(crate) fn test(filter: Option<&str>, long: bool) -> Result<ExitCode> {
    packages::must_be_root("the lab")?;
    packages::ensure(Need::Lab)?;
    let folder = ensure(Pace::Now)?;
    let built = artifacts::build()?;
    image(&folder, &built)?;
    let mut command = artifacts::cargo()?;
    command.args(["test", "--workspace", "--test", TESTS]).args(filter);
    command.args(["--", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).env(artifacts::AGENT, &built.petiole);
    command.env("PETIOLE_XTASK", std::env::current_exe()?).env("PETIOLE_KUBERNETES_LONG", if long { "1" } else { "0" });
    let status = command.status().context("cannot run cargo test")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether these words of `lab up` mean the cluster.
pub(crate) fn meant(words: &[OsString]) -> bool {
    let is = |word: &OsString| word == "kubernetes" || word.to_string_lossy().ends_with("kubernetes.clab.yml");
    words.iter().any(is)
}

/// The folder with the programs, built where something changed.
pub(crate) fn ensure(pace: Pace) -> Result<PathBuf> {
    let folder = artifacts::target_dir()?.join("kubernetes");
    let bin = folder.join("bin");
    let go = must_have_go()?;
    for (module, package, versioned, programs) in MODULES {
        let source = artifacts::root().join(module);
        let stamp = folder.join(format!("{}.built", module.replace('/', "-")));
        let wanted = inputs(&source, &go)?;
        let is_there = programs.iter().all(|program| bin.join(program).is_file());
        if is_there && std::fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
            continue;
        }
        std::fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
        let style = terminal::err();
        let version = version_of(&wanted, versioned).with_context(|| format!("{module}/go.mod lacks {versioned}"))?;
        eprintln!(
            "{} {} of {version} from Go modules, some minutes where nothing of it is cached",
            style.bold("building"),
            programs.join(", ")
        );
        let begun = Instant::now();
        let mut command = go_at(pace);
        let versions = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];
        let set: Vec<String> = versions.map(|of| format!("-X {of}.gitVersion={version}")).to_vec();
        // Nobody debugs them, and what DWARF is not made need not be stripped.
        command.current_dir(&source).args([
            "build",
            "-trimpath",
            "-buildvcs=false",
            "-gcflags=all=-dwarf=false",
            "-ldflags",
        ]);
        command.arg(format!("-s -w {}", set.join(" "))).arg("-o").arg(&bin).arg(package).env("CGO_ENABLED", "0");
        run::must(&mut command, "building Kubernetes")?;
        std::fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
        eprintln!("{} built in {:.0} s", style.good("ok"), begun.elapsed().as_secs_f64());
    }
    Ok(folder)
}

/// Packs Petiole's own image, of programs that are built, where the lab's nodes take theirs.
pub(crate) fn image(folder: &Path, built: &Artifacts) -> Result<()> {
    let images = folder.join("images");
    std::fs::create_dir_all(&images).with_context(|| format!("cannot make {}", images.display()))?;
    product::build(Some(&images.join("petiole.tar")), built.petiole.parent()).map(drop)
}

/// Go, which hands its place among the processes on to its compilers.
fn go_at(pace: Pace) -> Command {
    if pace == Pace::Idle && packages::in_path("chrt") {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0", "go"]);
        return command;
    }
    Command::new("go")
}

/// All that decides what comes out: Go's version and the files of the module.
fn inputs(source: &Path, go: &str) -> Result<String> {
    let mut text = format!("{go}\n");
    for name in ["go.mod", "go.sum", "main.go"] {
        let path = source.join(name);
        // Tools need no program of ours.
        if name == "main.go" && !path.exists() {
            continue;
        }
        text += &std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    Ok(text)
}

/// The version that a go.mod asks for.
fn version_of<'a>(text: &'a str, module: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("require ").unwrap_or(line);
        line.strip_prefix(module)?.strip_prefix(' ')?.split_whitespace().next()
    })
}

/// What `go version` says, of a Go that is new enough.
pub(crate) fn must_have_go() -> Result<String> {
    let Ok(said) = run::stdout(Command::new("go").arg("version").current_dir(artifacts::root().join(MODULES[0].0)))
    else {
        bail!("there is no Go here that builds this. {HOW}");
    };
    match minor(&said) {
        Some(minor) if minor >= GO => Ok(said.trim().to_owned()),
        _ => bail!("this is `{}`. {HOW}", said.trim()),
    }
}

/// 26 of `go version go1.26.8 linux/amd64`.
fn minor(said: &str) -> Option<u32> {
    let rest = said.split_once("go1.")?.1;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests;
