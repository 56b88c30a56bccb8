//! The repository keeps its own word: what ARCHITECTURE.md, README.md, CONTRIBUTING.md and docs/adr say about arrows,
//! paths, commands and sizes is compared with what is there. Each failure says what to change.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails where it finds something else")]

#[path = "tidy/arrows.rs"]
mod arrows;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/sources.rs"]
mod sources;
#[path = "tidy/tree.rs"]
mod tree;

/// Fails with one line per finding and, first, the rule that they break.
#[track_caller]
fn nothing_in(findings: &[String], rule: &str) {
    assert!(findings.is_empty(), "\n{rule}\n  {}\n", findings.join("\n  "));
}
