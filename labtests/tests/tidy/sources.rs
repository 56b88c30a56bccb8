//! The sources keep to the rules that no compiler holds: length, bans, and no word about anybody's machine.

use crate::arrows::PURE;
use crate::{nothing_in, tree};

/// Lines from which a file is probably two things.
const LONG: usize = 500;
/// Lines that no file may have.
const TOO_LONG: usize = 800;

/// Files that may be longer than [`LONG`], each with the reason why cutting it would make it worse.
const ONE_THING: &[(&str, &str)] =
    &[("config/src/problem.rs", "one enum: every mistake that a configuration can have, with its words")];

fn code() -> impl Iterator<Item = String> {
    tree::files().into_iter().filter(|file| file.ends_with(".rs") && !tree::is_test_code(file))
}

fn too_long(file: &str, lines: usize) -> Option<String> {
    if lines > TOO_LONG {
        return Some(format!("{file}: {lines} lines; {TOO_LONG} is the limit for every file"));
    }
    let allowed = ONE_THING.iter().any(|(one, _)| *one == file);
    (lines > LONG && !allowed).then(|| format!("{file}: {lines} lines"))
}

#[test]
fn no_file_is_over_long() {
    let mut findings: Vec<String> =
        code().filter_map(|file| too_long(&file, tree::text(&file).lines().count())).collect();
    for (file, reason) in ONE_THING {
        assert!(!reason.is_empty(), "{file} needs a reason in ONE_THING");
        if !tree::root().join(file).is_file() || tree::text(file).lines().count() <= LONG {
            findings.push(format!("{file} needs no exception any more: take it out of ONE_THING"));
        }
    }
    nothing_in(
        &findings,
        &format!(
            "A file has at most {LONG} lines: move its tests to a sibling tests.rs, or cut it in two by what its parts know. \
             Where it is one thing after all, ONE_THING in labtests/tests/tidy/sources.rs says so with a reason."
        ),
    );
}

#[test]
fn length_has_two_limits() {
    assert_eq!(too_long("a.rs", LONG), None);
    assert!(too_long("a.rs", LONG + 1).is_some());
    assert!(too_long("a.rs", TOO_LONG + 1).unwrap().contains("limit for every file"));
}

/// What the clippy.toml of every pure crate forbids.
const BANS: &[&str] = &[
    "std::time::Instant::now",
    "std::time::Instant::elapsed",
    "std::time::SystemTime::now",
    "std::time::SystemTime::elapsed",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::env::var",
    "std::fs::read",
    "std::fs::read_to_string",
    "std::fs::write",
    "std::net::TcpStream::connect",
    "std::net::TcpListener::bind",
    "std::net::UdpSocket::bind",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

/// The bans that a clippy.toml lacks, or gives no reason for.
fn missing_bans(clippy: &str) -> Vec<&'static str> {
    let stated = |ban: &str| {
        clippy.lines().map(str::trim).any(|line| {
            line.starts_with(&format!("{{ path = \"{ban}\","))
                && line.contains("reason = \"")
                && !line.contains("reason = \"\"")
        })
    };
    BANS.iter().copied().filter(|ban| !stated(ban)).collect()
}

#[test]
fn every_pure_crate_carries_the_bans() {
    let mut findings = Vec::new();
    for folder in PURE {
        // The nearest clippy.toml replaces the one in the root, so a crate without its own has none of these bans.
        let file = format!("{folder}/clippy.toml");
        let missing = if tree::root().join(&file).is_file() { missing_bans(&tree::text(&file)) } else { BANS.to_vec() };
        findings.extend(missing.iter().map(|ban| format!("{file} does not ban {ban} with a reason")));
    }
    nothing_in(
        &findings,
        "A pure crate bans clock, threads, files, sockets and hash order: copy the line from prefix/clippy.toml.",
    );
}

#[test]
fn a_ban_without_a_reason_is_missing() {
    let line = |ban: &str, reason: &str| format!("    {{ path = \"{ban}\", reason = \"{reason}\" }},\n");
    let all: String = BANS.iter().map(|ban| line(ban, "because")).collect();
    assert_eq!(missing_bans(&all), [""; 0]);
    assert_eq!(missing_bans(&all.replace(&line(BANS[0], "because"), &line(BANS[0], ""))), [BANS[0]]);
    assert_eq!(
        missing_bans(&all.replace(&line(BANS[1], "because"), &format!("# {}", line(BANS[1], "because")))),
        [BANS[1]]
    );
}

#[test]
fn pure_code_makes_no_exception_from_its_bans() {
    let pure = |file: &String| PURE.iter().any(|folder| file.starts_with(&format!("{folder}/")));
    let mut findings = Vec::new();
    for file in code().filter(pure) {
        for (index, line) in tree::text(&file).lines().enumerate() {
            let allows = (line.contains("allow(") || line.contains("expect("))
                && ["disallowed_methods", "disallowed_types", "iter_over_hash_type"]
                    .iter()
                    .any(|lint| line.contains(lint));
            if allows {
                findings.push(format!("{file}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    nothing_in(&findings, "In a pure crate a ban has no exception: the work belongs into agent/src/io.");
}

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    let manifests =
        tree::files().into_iter().filter(|file| file.ends_with("/Cargo.toml") && !tree::has_own_workspace(file));
    let findings: Vec<String> =
        manifests.filter(|file| !tree::text(file).contains("[lints]\nworkspace = true\n")).collect();
    nothing_in(&findings, "Every member's Cargo.toml has `[lints]` with `workspace = true`, or no lint reaches it.");
}

/// Places that exist on one person's machine only. In two halves, so that this file does not name them itself.
const PLACES: &[(&str, &str)] = &[
    ("/ho", "me/"),
    ("/Us", "ers/"),
    ("/wo", "rk/"),
    ("/tmp/", "t-"),
    ("../sha", "red/"),
    ("sha", "red/design.md"),
    ("sha", "red/reference/"),
];

/// Files that name such a place all the same, each with the reason.
const PLACED: &[(&str, &str)] = &[(
    "labtests/tests/clab_schema.rs",
    "containerlab's schema is not ours to keep here; the test says so and passes where it does not lie there",
)];

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let mut findings = Vec::new();
    for file in tree::files().into_iter().filter(|file| !PLACED.iter().any(|(placed, _)| placed == file)) {
        // Recorded data and pictures are not text that anybody wrote.
        let Ok(text) = std::fs::read_to_string(tree::root().join(&file)) else { continue };
        for (index, line) in text.lines().enumerate() {
            for (first, second) in PLACES {
                let place = format!("{first}{second}");
                if line.contains(&place) {
                    findings.push(format!("{file}:{}: {place}", index + 1));
                }
            }
        }
    }
    nothing_in(
        &findings,
        "A file of this repository means the same on every machine: say the place relative to the repository.",
    );
}
