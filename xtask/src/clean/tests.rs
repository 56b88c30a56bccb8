use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::*;

/// A process with a mark that has come so far that its environment can be read: it says so.
fn start(mark: &str) -> Child {
    let mut command = Command::new("sh");
    command.args(["-c", "echo here; read -r _"]).env(MARK, mark).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
    child
}

#[test]
fn a_marked_process_is_found_and_its_neighbour_is_not() {
    let mark = mark();
    let mut ours = start(&mark);
    let mut other = start("another-run");
    let found = marked(&mark);
    for child in [&mut ours, &mut other] {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(ours.id(), "sh -c echo here; read -r _".to_owned())]);
    assert!(marked(&mark).is_empty());
}

#[test]
fn our_own_namespace_is_lived_in() {
    let ours = namespace_of(Path::new("/proc/self")).unwrap();
    assert!(processes().filter_map(|(_, folder)| namespace_of(&folder)).any(|inode| inode == ours));
}
