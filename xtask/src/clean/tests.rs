use std::process::Stdio;

use super::*;

#[test]
fn a_marked_process_is_found_and_its_neighbour_is_not() {
    let mark = mark();
    let start = |value: &str| Command::new("cat").env(MARK, value).stdin(Stdio::piped()).spawn().unwrap();
    let mut ours = start(&mark);
    let mut other = start("another-run");
    // The environment is there once exec is done, which spawn waits for.
    let found = marked(&mark);
    for child in [&mut ours, &mut other] {
        drop(child.stdin.take());
        child.wait().unwrap();
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(ours.id(), "cat".to_owned())]);
    assert!(marked(&mark).is_empty());
}

#[test]
fn our_own_namespace_is_lived_in() {
    let ours = namespace_of(Path::new("/proc/self")).unwrap();
    assert!(processes().filter_map(|(_, folder)| namespace_of(&folder)).any(|inode| inode == ours));
}
