//! The corpora of the fuzz targets for BGP, replayed: what fuzzing has found stays found.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_docs_in_private_items,
    missing_docs,
    unreachable_pub,
    reason = "the functions are those of the fuzz targets, where a panic is the finding"
)]

#[path = "../../fuzz/src/bgp.rs"]
mod bgp;
#[path = "../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../fuzz/src/session.rs"]
mod session;

use replay::replay;

#[test]
fn framing() {
    replay("bgp_framing", bgp::framing);
}

#[test]
fn open() {
    replay("bgp_open", bgp::open);
}

#[test]
fn update() {
    replay("bgp_update", bgp::update);
}

#[test]
fn announce() {
    replay("bgp_announce", bgp::announce);
}

#[test]
fn notification() {
    replay("bgp_notification", bgp::notification);
}

#[test]
fn session() {
    replay("bgp_session", session::session);
}
