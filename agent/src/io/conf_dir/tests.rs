use super::*;

#[tokio::test]
async fn a_file_that_sorts_before_ours_is_told_and_its_end_too() {
    let folder = tempfile::tempdir().unwrap();
    let path: &'static str = folder.path().to_str().unwrap().to_owned().leak();
    let (inputs, mut told) = mpsc::channel(4);
    fs::write(folder.path().join("10-petiole.conflist"), "{}").unwrap();
    fs::write(folder.path().join("05-other.conf"), [0xff; 10]).unwrap();
    tokio::spawn(watch(path, Duration::from_millis(1), inputs));
    let Some(Input::Trouble { part, what }) = told.recv().await else { panic!("nothing told") };
    assert!(part == "cni" && what.starts_with(&format!("{path}/05-other.conf sorts before ")), "{part}: {what}");
    fs::remove_file(folder.path().join("05-other.conf")).unwrap();
    assert!(matches!(told.recv().await, Some(Input::Trouble { what, .. }) if what.is_empty()));
}

#[test]
fn a_node_without_the_folder_has_no_problem_and_one_that_hides_it_has() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(look(folder.path().join("none").to_str().unwrap()), "");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(look(file.to_str().unwrap()).starts_with("cannot read "));
}
