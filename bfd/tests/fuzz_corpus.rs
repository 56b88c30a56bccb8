//! The corpus of the fuzz target for BFD, replayed: what fuzzing has found stays found.

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

#[path = "../../fuzz/src/bfd.rs"]
mod bfd;
#[path = "../../fuzz/src/replay.rs"]
mod replay;

#[test]
fn corpus() {
    replay::replay("bfd", bfd::bfd);
}
