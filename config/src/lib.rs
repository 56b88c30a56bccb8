//! Text, environment and flags to validated settings.
//!
//! [`Settings`] is what the rest of Petiole sees: parsed once, valid by construction. How the file looks is `schema`'s affair.

pub mod settings;

pub use settings::*;
