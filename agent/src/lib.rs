//! The daemon and the command line: drivers, and one loop.

pub mod cli;
pub mod io;
pub mod log;
pub mod preflight;
pub mod run;
