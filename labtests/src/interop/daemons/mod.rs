//! The daemons: their configuration languages, their questions and their answers.

pub(super) mod bird;
pub(super) mod exabgp;
pub(super) mod frr;
pub(super) mod gobgp;
pub(super) mod openbgpd;
