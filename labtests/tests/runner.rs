//! The runner against the kernel: what the file says is what the node has, two labs do not meet, and nothing is left
//! behind whenever and however a lab ends. Needs root; the topologies are two nodes small.

#[path = "runner/end.rs"]
mod end;
#[path = "runner/node.rs"]
mod node;
#[path = "runner/support.rs"]
mod support;
