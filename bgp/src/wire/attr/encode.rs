//! Writing path attributes.
