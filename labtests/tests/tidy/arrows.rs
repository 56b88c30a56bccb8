//! Who may depend on whom: the table in ARCHITECTURE.md against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::{nothing_in, tree};

/// Crates without a runtime, a socket, a clock, dice or files, by folder.
pub(crate) const PURE: &[&str] = &["prefix", "selector", "bgp", "bfd", "store", "ipam", "dataplane", "config", "node"];

/// Libraries that bring the outside world in. A pure crate has none of them below it, at any depth.
const WORLDLY: &[&str] = &[
    "async-std",
    "axum",
    "chrono",
    "crossbeam-channel",
    "etcd-client",
    "fastrand",
    "getrandom",
    "hyper",
    "kube",
    "kube-client",
    "libc",
    "mio",
    "netlink-packet-core",
    "netlink-packet-route",
    "netlink-sys",
    "nix",
    "num_cpus",
    "parking_lot",
    "rand",
    "rayon",
    "redb",
    "reqwest",
    "rtnetlink",
    "rustix",
    "sd-notify",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tonic",
    "uuid",
];

/// Libraries that only the drivers (`agent`) and the lab (`labtests`) may name.
const DRIVERS_ONLY: &[&str] = &[
    "axum",
    "etcd-client",
    "hyper",
    "kube",
    "netlink-packet-core",
    "netlink-packet-route",
    "netlink-sys",
    "redb",
    "rtnetlink",
    "socket2",
    "tokio",
];

static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    MetadataCommand::new()
        .manifest_path(tree::root().join("Cargo.toml"))
        .other_options(["--locked".into()])
        .exec()
        .unwrap()
});

/// One row of the table: `| folder | crate | one line | may depend on |`.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    folder: String,
    /// `None` for a folder without Rust.
    package: Option<String>,
    /// Folders.
    may: BTreeSet<String>,
}

/// Reads the table whose first header cell is `folder` and whose last is `may depend on`.
fn table(document: &str) -> Result<Vec<Row>, String> {
    let cells = |line: &str| -> Vec<String> {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(|cell| cell.trim().replace('`', "")).collect()
    };
    let mut lines = document.lines().skip_while(|line| {
        let cells = cells(line);
        !(line.trim_start().starts_with('|') && cells.first().is_some_and(|cell| cell == "folder") && cells.len() == 4)
    });
    lines.next().ok_or("there is no table with the header `| folder | crate | one line | may depend on |`")?;
    let mut rows: Vec<Row> = Vec::new();
    let body: Vec<Vec<String>> = lines
        .take_while(|line| line.trim_start().starts_with('|'))
        .map(cells)
        .filter(|c| !c[0].starts_with("--"))
        .collect();
    let all: Vec<String> = body.iter().map(|cells| cells[0].trim_end_matches('/').to_owned()).collect();
    for cells in &body {
        let [folder, package, _, may] = cells.as_slice() else {
            return Err(format!("the row of {} has {} cells, not 4", cells[0], cells.len()));
        };
        let folder = folder.trim_end_matches('/').to_owned();
        let package = (!matches!(package.as_str(), "-" | "")).then(|| package.clone());
        let above = rows.iter().filter(|row| row.package.is_some()).map(|row| row.folder.clone());
        let may = match may.as_str() {
            "-" | "" | "nothing" => BTreeSet::new(),
            "all of the above" => above.collect(),
            "everything" => all.iter().filter(|other| **other != folder).cloned().collect(),
            list => {
                let mut folders = BTreeSet::new();
                for word in list.split([',', ' ']).filter(|word| !matches!(*word, "" | "and")) {
                    let word = word.trim_end_matches('/').trim_start_matches("petiole-");
                    if !all.iter().any(|other| other == word) {
                        return Err(format!(
                            "the row of {folder} may depend on `{word}`, which is no folder of the table; write folders \
                             with commas, `-`, `all of the above` or `everything`"
                        ));
                    }
                    folders.insert(word.to_owned());
                }
                folders
            }
        };
        rows.push(Row { folder, package, may });
    }
    Ok(rows)
}

#[track_caller]
fn rows() -> Vec<Row> {
    table(&tree::text("ARCHITECTURE.md")).unwrap_or_else(|error| panic!("ARCHITECTURE.md: {error}"))
}

/// Workspace members by folder.
fn members() -> BTreeMap<String, &'static Package> {
    let root = tree::root();
    let folder = |package: &Package| {
        let folder = package.manifest_path.parent().unwrap().as_std_path();
        folder.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()
    };
    METADATA.workspace_packages().into_iter().map(|package| (folder(package), package)).collect()
}

#[test]
fn every_folder_with_a_manifest_is_a_member_and_a_row() {
    let members = members();
    let rows = rows();
    let mut findings = Vec::new();
    for file in tree::files() {
        if let Some(folder) = file.strip_suffix("/Cargo.toml")
            && !tree::has_own_workspace(&file)
            && !members.contains_key(folder)
        {
            findings.push(format!("{file} exists, but the workspace has no member {folder}: add it to Cargo.toml"));
        }
    }
    for (folder, package) in &members {
        match rows.iter().find(|row| row.folder == *folder) {
            None => findings.push(format!("{folder}/ is a member, but has no row: add it to ARCHITECTURE.md")),
            Some(row) if row.package.as_deref() != Some(package.name.as_str()) => findings.push(format!(
                "{folder}/ is the crate {}, but its row in ARCHITECTURE.md says {:?}",
                package.name, row.package
            )),
            Some(_) => {}
        }
    }
    for row in &rows {
        if row.package.is_some() && !members.contains_key(&row.folder) {
            findings.push(format!("the row of {}/ names a crate, but there is no such member", row.folder));
        }
        if !tree::root().join(&row.folder).is_dir() {
            findings.push(format!("the row of {}/ names a folder that does not exist", row.folder));
        }
    }
    nothing_in(&findings, "Members of the workspace, folders and the rows of ARCHITECTURE.md's table are the same.");
}

#[test]
fn arrows_between_our_crates_are_those_of_the_table() {
    let members = members();
    let folder_of: BTreeMap<&str, &str> =
        members.iter().map(|(folder, package)| (package.name.as_str(), folder.as_str())).collect();
    let mut findings = Vec::new();
    for row in rows() {
        let Some(package) = members.get(&row.folder) else { continue };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let to = folder_of[dependency.name.as_str()];
            if !row.may.contains(to) {
                findings.push(format!(
                    "{}/Cargo.toml depends on {}: remove it, or, if the arrow is right, say so in the table and why in an ADR",
                    row.folder, dependency.name
                ));
            }
        }
    }
    nothing_in(&findings, "Our crates depend on each other only as ARCHITECTURE.md's table says.");
}

/// The packages below one, over normal and build dependencies, each with the chain that leads to it.
fn below(start: &PackageId) -> BTreeMap<String, String> {
    let resolve = METADATA.resolve.as_ref().unwrap();
    let edges: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, &node.deps)).collect();
    let mut found = BTreeMap::new();
    let mut queue = vec![(start, METADATA[start].name.to_string())];
    while let Some((id, chain)) = queue.pop() {
        for edge in edges[id] {
            let tests_only = edge.dep_kinds.iter().all(|kind| kind.kind == DependencyKind::Development);
            let name = METADATA[&edge.pkg].name.to_string();
            if tests_only || found.contains_key(&name) {
                continue;
            }
            let chain = format!("{chain} -> {name}");
            found.insert(name, chain.clone());
            queue.push((&edge.pkg, chain));
        }
    }
    found
}

#[test]
fn pure_crates_have_nothing_worldly_below_them() {
    let members = members();
    let mut findings = Vec::new();
    for folder in PURE {
        let package =
            members.get(*folder).unwrap_or_else(|| panic!("the pure crate {folder}/ is gone: mend PURE here"));
        let below = below(&package.id);
        findings.extend(WORLDLY.iter().filter_map(|name| below.get(*name)).cloned());
    }
    nothing_in(
        &findings,
        "A pure crate has no runtime, socket, clock, dice, thread or file below it. Move the work into agent/src/io and \
         hand its result in as an argument, or switch the feature off that brings the library in.",
    );
}

#[test]
fn only_drivers_and_the_lab_name_the_libraries_of_the_outside_world() {
    let mut findings = Vec::new();
    for (folder, package) in members() {
        if matches!(folder.as_str(), "agent" | "labtests") {
            continue;
        }
        for dependency in &package.dependencies {
            if DRIVERS_ONLY.contains(&dependency.name.as_str()) {
                findings.push(format!("{folder}/Cargo.toml names {}", dependency.name));
            }
        }
    }
    nothing_in(
        &findings,
        "tokio, netlink, etcd and their like are used in agent/ and labtests/ only: move the work there.",
    );
}

#[test]
fn the_table_is_read_as_it_is_written() {
    let document = "\
Before.

| folder | crate | one line | may depend on |
|---|---|---|---|
| `prefix/` | petiole-prefix | a prefix | - |
| `bgp/` | `petiole-bgp` | speaker | `prefix` |
| `lab/` | - | files; no Rust | |
| `node/` | petiole-node | brain | all of the above |
| `agent/` | petiole | drivers | node, petiole-bgp and prefix/ |
| `labtests/` | petiole-labtests | labs | everything |

| folder | other |
";
    let set = |folders: &[&str]| folders.iter().map(|folder| (*folder).to_owned()).collect::<BTreeSet<_>>();
    let rows = table(document).unwrap();
    let may: Vec<_> = rows.iter().map(|row| (row.folder.as_str(), row.may.clone())).collect();
    assert_eq!(
        may,
        [
            ("prefix", set(&[])),
            ("bgp", set(&["prefix"])),
            ("lab", set(&[])),
            ("node", set(&["prefix", "bgp"])),
            ("agent", set(&["node", "bgp", "prefix"])),
            ("labtests", set(&["prefix", "bgp", "lab", "node", "agent"])),
        ]
    );
    assert_eq!(rows[2].package, None);
    assert!(table("no table").unwrap_err().contains("may depend on"));
    assert!(table(&document.replace("node, petiole-bgp", "nodes")).unwrap_err().contains("`nodes`"));
}
