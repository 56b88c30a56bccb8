use super::*;

fn folder() -> (tempfile::TempDir, StateFile) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateFile::in_folder(dir.path().to_owned());
    (dir, state)
}

fn saved(node: &str) -> Saved {
    Saved {
        version: 1,
        node: node.into(),
        boot_id: "b".into(),
        blocks: [("10.123.128.0/26".parse().unwrap(), 7)].into(),
        ..Saved::default()
    }
}

#[test]
fn what_was_written_is_read_again() {
    let (_dir, state) = folder();
    assert_eq!(state.read(), Found::Nothing);
    state.write(&saved("worker1")).unwrap();
    state.write(&saved("worker2")).unwrap();
    assert_eq!(state.read(), Found::Saved(Box::new(saved("worker2"))));
}

#[test]
fn a_crash_while_writing_leaves_the_old_state() {
    let (dir, state) = folder();
    state.write(&saved("worker1")).unwrap();
    // What a writer leaves behind that died before its rename: half a file beside.
    fs::write(dir.path().join("last-known-good.json.new"), b"{\"version\": 1, \"no").unwrap();
    assert_eq!(state.read(), Found::Saved(Box::new(saved("worker1"))));
    state.write(&saved("worker3")).unwrap();
    assert_eq!(state.read(), Found::Saved(Box::new(saved("worker3"))));
}

#[test]
fn garbage_is_reported_and_set_aside() {
    let (dir, state) = folder();
    fs::write(state.path(), b"{ not json").unwrap();
    let Found::Unusable(words) = state.read() else { panic!("garbage was read as state") };
    assert!(words.contains("last-known-good.json: "), "{words}");
    assert!(words.contains("set aside as"), "{words}");
    assert_eq!(fs::read(dir.path().join("last-known-good.json.unreadable")).unwrap(), b"{ not json");
    assert_eq!(state.read(), Found::Nothing);
}

#[test]
fn a_future_format_is_not_guessed_at() {
    let (_dir, state) = folder();
    state.write(&Saved { version: 2, ..saved("worker1") }).unwrap();
    let Found::Unusable(words) = state.read() else { panic!("format 2 was read") };
    assert!(words.contains("format 2"), "{words}");
}

#[test]
fn a_folder_that_is_gone_is_named() {
    let state = StateFile::in_folder("/nonexistent/petiole".into());
    let words = state.write(&saved("worker1")).unwrap_err();
    assert!(words.starts_with("cannot write /nonexistent/petiole/last-known-good.json.new: "), "{words}");
}
