//! From the settings of a leaf's policy to the speaker's.

use petiole_bgp::wire::{OutCommunities, Role};
use petiole_bgp::{MaxPrefix, OverLimit, PeerConfig};
use petiole_config::{Community, MaxPrefixAction, MaxPrefixSettings, PeerPolicy, PeerRole};

/// The neighbour with what limits it.
pub(crate) fn limited(peer: PeerConfig, policy: &PeerPolicy) -> PeerConfig {
    PeerConfig {
        max_prefix: Some(max_prefix(policy.max_prefix)),
        send_hold_time: policy.send_hold_time,
        delay_open: policy.delay_open,
        role: policy.role.map(|role| match role {
            PeerRole::Customer => Role::Customer,
            PeerRole::RouteServerClient => Role::RouteServerClient,
        }),
        strict_role: policy.strict_role,
        communities: communities(&policy.communities),
        add_path_receive: policy.add_path_receive,
        ..peer
    }
}

/// The communities of a section; the configuration lets no more through than there is room for.
pub(crate) fn communities<'a>(all: impl IntoIterator<Item = &'a Community> + Clone) -> OutCommunities {
    let standard = all.clone().into_iter().filter_map(|c| if let Community::Standard(c) = c { Some(*c) } else { None });
    let extended = all.clone().into_iter().filter_map(|c| if let Community::Extended(c) = c { Some(*c) } else { None });
    let large = all.into_iter().filter_map(|c| if let Community::Large(c) = c { Some(*c) } else { None });
    OutCommunities::new(standard, extended, large).unwrap_or_default()
}

/// What a path carries, as people write it.
pub(crate) fn written(standard: &[u32], extended: &[[u8; 8]], large: &[[u32; 3]]) -> Vec<String> {
    let standard = standard.iter().map(|c| Community::Standard(*c));
    let extended = extended.iter().map(|c| Community::Extended(*c));
    let large = large.iter().map(|c| Community::Large(*c));
    standard.chain(large).chain(extended).map(|c| c.to_string()).collect()
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
