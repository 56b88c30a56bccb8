//! CNI's folder of network configurations. A runtime gives new pods the network whose file sorts first, so a file of
//! somebody else's before ours takes them away from Petiole, though all of Petiole is well.

/// The folder that runtimes read.
pub const FOLDER: &str = "/etc/cni/net.d";
/// Petiole's own configuration in it.
pub const CONFLIST: &str = "10-petiole.conflist";
/// The network's name there, and its plugin's.
pub const NETWORK: &str = "petiole";

/// Whether a runtime takes a file for a network configuration (containerd's go-cni and CRI-O go by these endings).
#[must_use]
pub fn is_configuration(name: &str) -> bool {
    !name.starts_with('.') && [".conf", ".conflist", ".json"].iter().any(|ending| name.ends_with(ending))
}

/// Those of the folder's files, by name and text, that a runtime takes instead of ours, in its order. One that speaks of
/// Petiole hands pods over to it, as that of a plugin of plugins does, and is none.
#[must_use]
pub fn earlier<'a>(files: &'a [(String, String)]) -> Vec<&'a str> {
    let is = |(name, text): &&'a (String, String)| {
        is_configuration(name)
            && name.as_str() < CONFLIST
            && !text.contains(&format!("\"{NETWORK}\""))
            && !text.contains(CONFLIST)
    };
    let mut found: Vec<&str> = files.iter().filter(is).map(|(name, _)| name.as_str()).collect();
    found.sort_unstable();
    found
}

/// What is wrong with the folder, with what to do; empty where nothing is, and where Petiole was not installed into it.
#[must_use]
pub fn problem(folder: &str, files: &[(String, String)]) -> String {
    if !files.iter().any(|(name, _)| name == CONFLIST) {
        return String::new();
    }
    let Some((first, others)) = earlier(files).split_first().map(|(first, others)| (*first, others.len())) else {
        return String::new();
    };
    let more = if others == 0 { String::new() } else { format!(", as {others} more do") };
    format!(
        "{folder}/{first} sorts before {CONFLIST}{more}: container runtimes give new pods that network, and Petiole none of \
         them; remove it, or rename it to what sorts later. Pods that run keep what they have"
    )
}

#[cfg(test)]
mod tests;
