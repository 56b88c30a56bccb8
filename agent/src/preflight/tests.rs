use super::*;

#[test]
fn the_second_lock_names_the_first_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = lock(dir.path()).unwrap();
    let words = lock(dir.path()).unwrap_err().to_string();
    assert!(
        words.contains(&format!("another agent runs on this node with process id {}", std::process::id())),
        "{words}"
    );
    assert!(words.contains("agent.lock; stop it first"), "{words}");
    drop(first);
    lock(dir.path()).unwrap();
}

#[test]
fn a_lock_file_of_a_dead_agent_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("agent.lock"), "99999999\n").unwrap();
    let _lock = lock(dir.path()).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("agent.lock")).unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn capabilities_are_read_from_the_effective_set() {
    let status = "Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000001000\n";
    assert_eq!(effective(status), Some(1 << CAP_NET_ADMIN));
    assert_eq!(effective("CapEff:\tnonsense\n"), None);
    assert_eq!(effective(""), None);
}

#[test]
fn a_folder_that_is_a_file_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state");
    fs::write(&file, "").unwrap();
    assert!(make_folder(&file).is_err());
    assert!(try_write(&file).is_err());
}
