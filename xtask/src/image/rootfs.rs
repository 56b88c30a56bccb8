//! Filling the folder that becomes the image: programs, the libraries they need, and accounts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{contents, inside};
use crate::artifacts::Artifacts;

/// What was put in.
pub(super) struct Facts {
    pub(super) programs: usize,
    pub(super) libraries: usize,
}

/// FRR's numbers on this machine, which the image's own account files repeat.
pub(super) struct Owner {
    pub(super) user: String,
    pub(super) group: String,
}

/// Makes the folder anew.
pub(super) fn fill(root: &Path, built: &Artifacts) -> Result<Facts> {
    if root.exists() {
        fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    for (_, target) in contents::LINKS.iter().filter(|(_, target)| !target.starts_with('/')) {
        make_folder(&root.join(target))?;
    }
    for folder in contents::EMPTY.iter().chain(contents::FRR_OWNED) {
        make_folder(&root.join(folder))?;
    }
    for (link, target) in contents::LINKS {
        symlink(target, root.join(link)).with_context(|| format!("cannot link {link}"))?;
    }
    for folder in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o1777))?;
    }
    let mut wanted: BTreeSet<PathBuf> = contents::FILES.iter().map(PathBuf::from).collect();
    for (package, programs) in contents::PROGRAMS {
        for program in *programs {
            let found = find(program).with_context(|| format!("{program} is not here: apt-get install {package}"))?;
            wanted.insert(found);
        }
    }
    let programs = wanted.len();
    wanted.extend(pam_modules()?);
    for folder in contents::FOLDERS {
        collect(Path::new(folder), &mut wanted)?;
    }
    let libraries = libraries(wanted.iter())?;
    for file in wanted.iter().chain(&libraries) {
        copy(file, &inside(root, &merged(file)?))?;
    }
    for binary in built.all() {
        let name = binary.file_name().with_context(|| format!("{} has no name", binary.display()))?;
        copy(binary, &root.join("usr/local/bin").join(name))?;
    }
    accounts(root)?;
    // vtysh complains about its absence at every start.
    write(&root.join("etc/frr/vtysh.conf"), "")?;
    Ok(Facts { programs: programs.saturating_add(built.all().len()), libraries: libraries.len() })
}

/// FRR's user and group.
pub(super) fn frr_owner() -> Result<Owner> {
    let passwd = read("/etc/passwd")?;
    let fields: Vec<&str> =
        line_of(&passwd, "frr").context("there is no user frr: apt-get install frr")?.split(':').collect();
    let [_, _, user, group, ..] = fields.as_slice() else { bail!("the line of frr in /etc/passwd is not a user's") };
    Ok(Owner { user: (*user).to_owned(), group: (*group).to_owned() })
}

/// A program of the search path, or of the folders that root's has.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian's own first: what somebody put into /usr/local is not what the topology was tried with.
    ["/usr/sbin", "/usr/bin"]
        .into_iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A path with its folders' links resolved (`/bin/sh` is `/usr/bin/sh`) and its own name kept (`libfoo.so.1`, `sh`).
fn merged(file: &Path) -> Result<PathBuf> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
        bail!("{} names no file", file.display())
    };
    let folder = folder.canonicalize().with_context(|| format!("cannot follow {}", folder.display()))?;
    Ok(folder.join(name))
}

/// The shared libraries that the dynamic ELF files among these need, all the way down.
fn libraries<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for file in files {
        let mut magic = [0; 4];
        let elf = fs::File::open(file).and_then(|mut open| std::io::Read::read_exact(&mut open, &mut magic));
        if elf.is_err() || magic != *b"\x7fELF" {
            continue;
        }
        // It fails for a static one, and says so.
        let output = Command::new("ldd").arg(file).env("LC_ALL", "C").output().context("cannot run ldd")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if let Some(missing) = text.lines().find(|line| line.contains("not found")) {
            bail!("{} needs a library that is not here: {}", file.display(), missing.trim());
        }
        found.extend(text.lines().filter_map(library));
    }
    Ok(found)
}

/// The path in a line of ldd: `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x7f..)`, or the loader's `/lib64/ld.. (0x7f..)`.
fn library(line: &str) -> Option<PathBuf> {
    let path = line.split_once("=> ").map_or(line, |(_, path)| path);
    let path = path.trim().split(" (0x").next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

/// The PAM modules, which lie in the folder `security` beside one of this machine's library folders.
fn pam_modules() -> Result<Vec<PathBuf>> {
    let triple = format!("/usr/lib/{}-linux-gnu/security", std::env::consts::ARCH);
    let folder = [triple.as_str(), "/usr/lib/security", "/usr/lib64/security"]
        .into_iter()
        .find(|folder| Path::new(folder).is_dir());
    let folder = folder.with_context(|| format!("there is no folder {triple}: apt-get install libpam-modules"))?;
    Ok(contents::PAM_MODULES.iter().map(|name| Path::new(folder).join(name)).collect())
}

/// Every file below a folder.
fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// The accounts that daemons need, with this machine's numbers and nobody's password.
fn accounts(root: &Path) -> Result<()> {
    for file in ["etc/passwd", "etc/group"] {
        let text = read(&format!("/{file}"))?;
        let lines: Vec<&str> = contents::ACCOUNTS.iter().filter_map(|name| line_of(&text, name)).collect();
        write(&root.join(file), &format!("{}\n", lines.join("\n")))?;
    }
    // Without one, PAM finds no valid account, and vtysh says so at every start.
    let shadow = root.join("etc/shadow");
    write(&shadow, &contents::ACCOUNTS.iter().map(|name| format!("{name}:*:1::::::\n")).collect::<String>())?;
    fs::set_permissions(&shadow, fs::Permissions::from_mode(0o640)).context("cannot set the mode of etc/shadow")?;
    Ok(())
}

/// The line of an account file that begins with a name.
fn line_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
}

fn read(file: &str) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {file}"))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Copies a file, or what a link leads to, with its mode.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests;
