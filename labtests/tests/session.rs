//! Leaves that do not keep to the protocol, against a running agent: what each RFC has for a malformed message, and that nobody
//! else notices. Asserted on what the leaf hears, on the kernel's table and on the other sessions.

#[path = "session/cases.rs"]
mod cases;
#[path = "session/ends.rs"]
mod ends;
#[path = "session/flood.rs"]
mod flood;
#[path = "session/malformed.rs"]
mod malformed;
#[path = "session/trace.rs"]
mod trace;
