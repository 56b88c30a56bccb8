//! The files of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds the workspace's Cargo.toml.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file that belongs to the project, relative to the root, in order: what git tracks, or in an unpacked archive
/// every file but build products.
pub(crate) fn files() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let mut files: Vec<String> = match listed {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout)
            .unwrap()
            .split_terminator('\0')
            // Deleted, and the deletion not committed yet.
            .filter(|file| root().join(file).is_file())
            .map(str::to_owned)
            .collect(),
        _ => {
            let mut found = Vec::new();
            walk(&root(), &mut found);
            found
        }
    };
    files.sort();
    assert!(files.iter().any(|file| file == "Cargo.toml"), "{} is not the workspace's root", root().display());
    files
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if name == "target" || name == ".git" {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            walk(&entry.path(), found);
        } else {
            found.push(entry.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// A file's text.
#[track_caller]
pub(crate) fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("cannot read {file}: {error}"))
}

/// Whether a manifest below the root begins a workspace of its own, as that of fuzz/ does: its switches are not for stable.
pub(crate) fn has_own_workspace(manifest: &str) -> bool {
    text(manifest).lines().any(|line| line == "[workspace]")
}

/// Rust files whose lines count: not tests, whose length is a matter of cases.
pub(crate) fn is_test_code(file: &str) -> bool {
    file.ends_with("tests.rs")
        || ["tests/", "benches/", "examples/"]
            .iter()
            .any(|folder| file.starts_with(folder) || file.contains(&format!("/{folder}")))
}

#[test]
fn test_code_is_told_from_code() {
    for file in
        ["bgp/src/wire/tests.rs", "labtests/tests/tidy.rs", "bgp/benches/update.rs", "bgp/src/wire/tests/open.rs"]
    {
        assert!(is_test_code(file), "{file}");
    }
    for file in ["bgp/src/wire.rs", "labtests/src/lib.rs", "xtask/src/suite.rs"] {
        assert!(!is_test_code(file), "{file}");
    }
}
