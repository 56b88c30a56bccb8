//! What limits a leaf, as text.

use std::collections::BTreeSet;
use std::fmt::{Result, Write};

use crate::community::Community;
use crate::duration;
use crate::settings::{MaxPrefixAction, PeerPolicy};

pub(super) fn write_communities(out: &mut String, communities: &BTreeSet<Community>) -> Result {
    let communities: Vec<String> = communities.iter().map(|c| format!("\"{c}\"")).collect();
    writeln!(out, "communities = [{}]", communities.join(", "))
}

pub(super) fn write(out: &mut String, policy: &PeerPolicy) -> Result {
    let max = &policy.max_prefix;
    write!(
        out,
        "max_prefix = {{ limit = {}, action = \"{}\", warn_at = {}",
        max.limit,
        max.action.name(),
        max.warn_at
    )?;
    if let MaxPrefixAction::Restart(after) = max.action {
        write!(out, ", restart_after = \"{}\"", duration::print(after))?;
    }
    writeln!(out, " }}")?;
    if let Some(time) = policy.send_hold_time {
        writeln!(out, "send_hold_time = \"{}\"", duration::print(time))?;
    }
    match policy.role {
        Some(role) => writeln!(out, "role = \"{}\"", role.name())?,
        None => writeln!(out, "role = false")?,
    }
    writeln!(out, "strict_role = {}", policy.strict_role)?;
    write_communities(out, &policy.communities)?;
    writeln!(out, "delay_open = \"{}\"", duration::print(policy.delay_open))?;
    writeln!(out, "add_path_receive = {}", policy.add_path_receive)
}
