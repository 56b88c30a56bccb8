//! Paths and commands that the documents name exist.
//!
//! What counts as a path is a token in backticks, outside fenced blocks, that has a `/`, does not begin with one, and
//! begins with a top-level folder of the repository, ends with a file's extension, or ends with `/`. A `*` stands for any
//! name; a token with `<`, `{` or `::` is a pattern or a Rust path. Links to files count as well.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::{nothing_in, tree};

/// Documents that must be there; the decisions of docs/adr are read beside them.
const DOCUMENTS: &[&str] = &["ARCHITECTURE.md", "CONTRIBUTING.md", "README.md"];

const EXTENSIONS: &[&str] =
    &["rs", "toml", "md", "yml", "yaml", "sh", "json", "jsonl", "conf", "service", "lock", "proto", "svg", "png", "gz"];

fn documents() -> BTreeMap<String, String> {
    let mut names: Vec<String> =
        tree::files().into_iter().filter(|file| file.starts_with("docs/") && file.ends_with(".md")).collect();
    names.extend(DOCUMENTS.iter().map(|name| (*name).to_owned()));
    names.into_iter().map(|name| (name.clone(), tree::text(&name))).collect()
}

/// Lines outside fenced blocks, numbered from 1.
fn prose(document: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    document.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// The tokens of one line that name a path.
fn paths<'a>(line: &'a str, folders: &BTreeSet<String>) -> Vec<&'a str> {
    let spans = line.split('`').skip(1).step_by(2);
    let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next());
    let links = links.filter(|link| !link.is_empty() && !link.contains("://") && !link.starts_with("mailto:"));
    let mut found: Vec<&str> = spans.filter(|span| is_path(span, folders)).collect();
    found.extend(links);
    found
}

fn is_path(token: &str, folders: &BTreeSet<String>) -> bool {
    let Some((first, _)) = token.split_once('/') else { return false };
    let pattern = token.contains(['<', '{', '$', '|', ' ', '=', '"']) || token.contains("::") || token.contains("...");
    if pattern || first.is_empty() || first == "~" || first.contains(':') {
        return false;
    }
    let extension = token.rsplit_once('.').is_some_and(|(_, extension)| EXTENSIONS.contains(&extension));
    folders.contains(first) || extension || token.ends_with('/')
}

/// Whether a path with `*` for any part of a name leads to a file or a folder, from the root or from its document.
fn exists(path: &str, document: &str, files: &[String]) -> bool {
    let beside = document.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
    [String::new(), beside].iter().any(|from| {
        let wanted = normal(&format!("{from}{path}"));
        files.iter().any(|file| {
            let names: Vec<&str> = file.split('/').collect();
            wanted.len() <= names.len() && wanted.iter().zip(&names).all(|(pattern, name)| fits(pattern, name))
        })
    })
}

/// The parts of a path, without `.` and with each `..` taking one away.
fn normal(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
}

fn top_level_folders(files: &[String]) -> BTreeSet<String> {
    files.iter().filter_map(|file| Some(file.split_once('/')?.0.to_owned())).collect()
}

#[test]
fn every_path_in_the_documents_exists() {
    let files = tree::files();
    let folders = top_level_folders(&files);
    let mut findings = Vec::new();
    for (name, document) in documents() {
        for (number, line) in prose(&document) {
            for path in paths(line, &folders).into_iter().filter(|path| !exists(path, &name, &files)) {
                findings.push(format!("{name}:{number}: `{path}`"));
            }
        }
    }
    nothing_in(
        &findings,
        "A path in a document leads to a file that git tracks. Mend the path, or `git add` the file; what is no path of \
         this repository is written from the root of its machine (`/etc/petiole/petiole.toml`).",
    );
}

/// The commands of a `--help` text, with those of each one's own help where it has any.
fn commands(help: &str) -> BTreeSet<String> {
    let section = help.lines().skip_while(|line| line.trim() != "Commands:").skip(1);
    let section = section.take_while(|line| !line.trim().is_empty());
    // Two spaces, then the name; a description that goes on in the next line stands further right.
    section
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

fn help_of(words: &[&str]) -> BTreeSet<String> {
    let mut command = match std::env::var_os("PETIOLE_XTASK") {
        Some(built) => Command::new(built),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["run", "--quiet", "--package", "xtask", "--"]);
            cargo
        }
    };
    let output = command.args(words).arg("--help").current_dir(tree::root()).output().unwrap();
    assert!(output.status.success(), "xtask --help: {}", String::from_utf8_lossy(&output.stderr));
    commands(&String::from_utf8(output.stdout).unwrap())
}

/// `cargo xtask a b` and `cargo xtask a|b` in a line: every first word with the word after it.
fn invocations(line: &str) -> Vec<(String, Option<String>)> {
    let clean = |word: &str| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    let mut found = Vec::new();
    for rest in line.split("cargo xtask ").skip(1) {
        // What follows the closing backtick is prose again.
        let rest = rest.split(['`', ';', '#', '&', ')']).next().unwrap_or_default();
        let mut words = rest.split_whitespace();
        let firsts = words.next().unwrap_or_default();
        let seconds = words.next().unwrap_or_default();
        for first in firsts.split('|').map(clean) {
            if seconds.contains('|') {
                found.extend(seconds.split('|').map(|second| (first.clone(), Some(clean(second)))));
            } else {
                let second = clean(seconds);
                found.push((first, (!second.is_empty()).then_some(second)));
            }
        }
    }
    found.retain(|(first, _)| !first.is_empty() && first.chars().all(|c| c.is_ascii_lowercase()));
    found
}

#[test]
fn every_documented_xtask_command_exists() {
    let known = help_of(&[]);
    let lab = help_of(&["lab"]);
    let mut findings = Vec::new();
    for (name, document) in documents() {
        for (index, line) in document.lines().enumerate() {
            for (first, second) in invocations(line) {
                let sound = match (first.as_str(), &second) {
                    ("lab", Some(second)) => lab.contains(second),
                    _ => known.contains(&first),
                };
                if !sound {
                    findings.push(format!("{name}:{}: cargo xtask {first} {}", index + 1, second.unwrap_or_default()));
                }
            }
        }
    }
    nothing_in(&findings, "A documented command is one that `cargo xtask --help` or `cargo xtask lab --help` lists.");
}

#[test]
fn paths_are_told_from_other_words() {
    let folders: BTreeSet<String> = ["bgp", "docs"].map(str::to_owned).into();
    let line = "see `bgp/src/wire`, `io/x.rs`, `gone/`, `/etc/petiole/petiole.toml`, `10.0.0.0/8`, `fd00::/8`, `a::b/c.rs`, \
                `docs/<n>.md`, `and/or`, [there](docs/a.md#x) and [away](https://example.org/a.md)";
    assert_eq!(paths(line, &folders), ["bgp/src/wire", "io/x.rs", "gone/", "docs/a.md"]);
}

#[test]
fn paths_are_found_from_the_root_from_the_document_and_by_star() {
    let files = ["docs/adr/0001-one.md", "bgp/src/lib.rs"].map(str::to_owned);
    for path in ["bgp", "bgp/", "bgp/src/*.rs", "docs/adr/0001-*.md", "./bgp/src/lib.rs"] {
        assert!(exists(path, "README.md", &files), "{path}");
    }
    assert!(exists("0001-one.md", "docs/adr/0002-two.md", &files));
    assert!(exists("../../bgp/src/lib.rs", "docs/adr/0002-two.md", &files));
    for path in ["bgp/src/li", "bgp/lib.rs", "bgp/src/*.toml", "bgp/src/lib.rs/x"] {
        assert!(!exists(path, "README.md", &files), "{path}");
    }
}

#[test]
fn fenced_blocks_are_no_prose() {
    assert_eq!(prose("a\n```\nb\n```\nc").collect::<Vec<_>>(), [(1, "a"), (5, "c")]);
}

#[test]
fn invocations_are_read_with_their_alternatives() {
    let some = |first: &str, second: &str| (first.to_owned(), Some(second.to_owned()));
    assert_eq!(
        invocations("`cargo xtask demo`, `cargo xtask lab up|down [TOPOLOGY]`"),
        [("demo".to_owned(), None), some("lab", "up"), some("lab", "down"),]
    );
    assert_eq!(invocations("cargo xtask lab exec leaf1 -- ip route  # and so on"), [some("lab", "exec")]);
    assert_eq!(invocations("every `cargo xtask` command, cargo xtask <COMMAND>"), []);
}

#[test]
fn commands_are_read_from_help() {
    let help = "Do.\n\nUsage: x <COMMAND>\n\nCommands:\n  demo   Show what is\n         in it\n  test   Test\n\nOptions:\n  -h\n";
    assert_eq!(commands(help).into_iter().collect::<Vec<_>>(), ["demo", "test"]);
}
