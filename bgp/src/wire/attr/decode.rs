//! Reading path attributes.
