//! What the kernel should hold, what it holds, and the ordered plan between them.

pub mod ident;
pub mod kernel;

pub use kernel::*;
