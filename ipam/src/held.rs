//! Which addresses this node holds, and as what.

use std::net::IpAddr;

use petiole_store::value::Attribute;

use crate::Ipam;

/// Who holds an address.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a>(&'a Attribute);

impl Held<'_> {
    /// The handle that holds it.
    #[must_use]
    pub fn handle(&self) -> Option<&str> {
        self.0.handle_id.get().map(String::as_str)
    }

    /// An attribute of the request that it was given to.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.0.secondary.get().and_then(|s| s.get(name)).map(String::as_str)
    }
}

impl Ipam {
    /// The addresses that this node holds, in its own blocks and in others', each with its holder. Complete only while the store
    /// is in sync.
    pub fn holders(&self) -> impl Iterator<Item = (IpAddr, Held<'_>)> {
        self.view.kept().flat_map(move |(_, _, block)| {
            let here = block.live().filter(|(_, a)| self.view.is_held_here(a));
            here.filter_map(move |(ordinal, a)| Some((block.address(ordinal)?, Held(a))))
        })
    }
}
