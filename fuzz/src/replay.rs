//! A target's corpus, run through its function: what fuzzing has found stays found.

/// Runs `target` on every file of its corpus, in the order of their names; the last name printed is that of a finding.
pub fn replay(target: &str, run: fn(&[u8])) {
    // From the crate's own folder, where cargo runs its tests.
    let folder = std::path::Path::new("../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        println!("{}", file.display());
        run(&std::fs::read(&file).unwrap());
    }
}
