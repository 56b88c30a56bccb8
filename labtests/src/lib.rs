//! Lab, interop, simulation, benches.
