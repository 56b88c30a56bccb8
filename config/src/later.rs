//! The keys of the contract whose feature is not built yet.
//!
//! They are refused by name: taking a key and doing nothing about it would be worse than not starting. A key
//! leaves this table with the change that builds its feature.

/// One such key.
struct Later {
    section: &'static str,
    key: &'static str,
    feature: &'static str,
}

const fn later(section: &'static str, key: &'static str, feature: &'static str) -> Later {
    Later { section, key, feature }
}

/// The key as the table spells it and the feature that is missing.
pub(crate) fn lookup(section: &str, key: &str) -> Option<(&'static str, &'static str)> {
    LATER.iter().find(|l| l.section == section && l.key == key).map(|l| (l.key, l.feature))
}

/// Every such key with its section.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    LATER.iter().map(|l| (l.section, l.key))
}

const LATER: &[Later] = &[
    later("the file", "api", "settings of the API socket"),
    later("the file", "cni", "settings of the CNI socket"),
    later("the file", "log", "settings of the log"),
    later("the file", "policy", "network policy"),
    later("[node]", "uplinks", "choice of uplinks by interface"),
    later("[[bgp.peer]]", "import", "import policy"),
    later("[[bgp.peer]]", "local_asn", "AS number for one peer only"),
];
