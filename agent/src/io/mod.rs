//! Drivers: each translates one part of the world into inputs and effects into that part of the world. None decides anything.

pub mod api;
pub mod bfd;
pub mod bgp;
pub mod clock;
pub mod cni;
pub mod conf_dir;
pub mod forwarding;
pub mod health;
pub mod heart;
pub mod kubernetes;
pub mod metrics;
pub mod neighbour;
pub mod netlink;
pub mod operators;
pub mod pods;
pub mod state;
pub mod store;
pub mod tls;
