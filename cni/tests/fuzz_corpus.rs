//! The corpus of the fuzz target for CNI, replayed: what fuzzing has found stays found.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "the function is that of the fuzz target, where a panic is the finding"
)]

#[path = "../../fuzz/src/cni.rs"]
mod cni;

#[test]
fn replay() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/cni");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        println!("{}", file.display());
        cni::cni(&std::fs::read(&file).unwrap());
    }
}
