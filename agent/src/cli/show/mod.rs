//! Answers as people read them.

pub(super) mod bgp;
pub(super) mod fib;
pub(super) mod ipam;
pub(super) mod status;
pub(super) mod trace;
pub(super) mod why;

#[cfg(test)]
mod tests;
