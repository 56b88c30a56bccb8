//! What the fuzz targets do with bytes. The same functions replay the corpora in ordinary tests, on stable.

pub mod bfd;
pub mod bgp;
pub mod cni;
pub mod session;
