//! From the settings of a leaf's policy to the speaker's.

use petiole_bgp::{MaxPrefix, OverLimit, PeerConfig};
use petiole_config::{MaxPrefixAction, MaxPrefixSettings, PeerPolicy};

/// The neighbour with what limits it.
pub(crate) fn limited(peer: PeerConfig, policy: &PeerPolicy) -> PeerConfig {
    PeerConfig {
        max_prefix: Some(max_prefix(policy.max_prefix)),
        send_hold_time: policy.send_hold_time,
        delay_open: policy.delay_open,
        ..peer
    }
}

const fn max_prefix(settings: MaxPrefixSettings) -> MaxPrefix {
    let MaxPrefixSettings { limit, action, warn_at } = settings;
    let action = match action {
        MaxPrefixAction::Warn => OverLimit::Warn,
        MaxPrefixAction::Restart(after) => OverLimit::Restart { after },
        MaxPrefixAction::Idle => OverLimit::Idle,
    };
    MaxPrefix { limit, warn_at, action }
}
