//! What every transaction of an allocator must be bound to, whatever it does: nothing is written that was not looked at first, nothing
//! by a life that is over, and nothing of another node's without the operator's word.

use petiole_store::Compare;
use petiole_store::key::{FORGOTTEN_PREFIX, Owner};

use super::*;

/// Looks at a transaction as it leaves the node of that name.
pub(super) fn assert_bound(node: &str, txn: &Txn) {
    let written: Vec<&str> = txn.then.iter().filter(|op| !matches!(op, Op::Get(_))).map(Op::key).collect();
    let is_seen = |key: &str| txn.when.iter().any(|c| c.key() == key);
    let life = Key::life(node).to_string();
    // What a forgotten node held is freed by whoever comes first, and whenever, as long as the note stands.
    let is_told =
        txn.when.iter().any(|c| matches!(c, Compare::ModRevision(key, _) if key.starts_with(FORGOTTEN_PREFIX)));
    for text in &written {
        let Ok(key) = Key::parse(text) else { continue };
        let is_ours = matches!(key, Key::Block(_) | Key::Affinity { .. } | Key::Handle(_));
        let is_bound = is_seen(&life) || written.contains(&life.as_str()) || is_told;
        assert!(!is_ours || is_bound, "{node}: {text} by no life: {:?}", txn.when);
        let whose = match &key {
            Key::Affinity { owner: Owner::Host(other), .. } if other != node => Some(other.as_str()),
            _ => text.strip_prefix("/petiole/v1/lives/").filter(|other| *other != node),
        };
        if let Key::Affinity { block, .. } = &key {
            assert!(is_seen(&Key::Block(*block).to_string()), "{node}: {text} and not its block: {:?}", txn.when);
        }
        let is_noted = |other| {
            let note = Key::forgotten(other).to_string();
            txn.when.iter().any(|c| matches!(c, Compare::ModRevision(key, _) if *key == note))
        };
        assert!(whose.is_none_or(is_noted), "{node}: {text} is of one whom nobody forgot: {:?}", txn.when);
        assert!(whose.is_some() || *text == life || is_seen(text), "{node}: {text} was not looked at: {:?}", txn.when);
    }
}
