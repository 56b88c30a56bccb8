//! Child seeds: one for each component, so that what one draws does not shift what another draws.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// The seed of a component: the parent's, mixed with the component's label (FNV-1a 64) as the cipher's stream number.
pub(crate) fn derive(parent: &[u8; 32], label: &str) -> [u8; 32] {
    let stream = label
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut rng = ChaCha8Rng::from_seed(*parent);
    rng.set_stream(stream);
    let mut child = [0; 32];
    rng.fill_bytes(&mut child);
    child
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_differ_by_label_and_by_parent_and_repeat() {
        let parent = [7; 32];
        assert_eq!(derive(&parent, "bgp"), derive(&parent, "bgp"));
        assert_ne!(derive(&parent, "bgp"), derive(&parent, "ipam"));
        assert_ne!(derive(&parent, "bgp"), derive(&[8; 32], "bgp"));
    }
}
