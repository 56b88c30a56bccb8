//! The commands of `deploy/kubernetes/README.md`, run as they stand there.

use anyhow::{Context, Result, ensure};
use petiole_labtests::Lab;

use super::FOLDER;

const README: &str = include_str!("../../../deploy/kubernetes/README.md");
/// Whoever `NODE` is.
pub(super) const NODE: &str = "worker4";
/// What is only tried, for the rest of the test needs things as they are.
const TRIED: [&str; 3] = ["kubectl label ", "kubectl drain ", "kubectl -n petiole-system rollout undo "];

/// Runs those of a section, in order: kubectl on the operator's machine, beside its copy `mine` of the manifests, and what is done
/// on a node there. What builds and copies was done before; nodes of the lab do not boot.
pub(super) fn run(lab: &Lab, section: &str) -> Result<()> {
    let mut done = 0;
    for command in commands(section)? {
        let command = command.replace("NODE", NODE);
        let (node, line) = if let Some(line) = command.strip_prefix(&format!("ssh {NODE} ")) {
            // A volume of the lab's node: it can be emptied, and not removed.
            (lab.node(NODE)?, line.replace("rm -rf /var/lib/petiole", "find /var/lib/petiole -mindepth 1 -delete"))
        } else if TRIED.iter().any(|tried| command.starts_with(tried)) {
            let force = if command.contains(" drain ") { "--force " } else { "" };
            (lab.node("client1")?, format!("cd {FOLDER} && {command} {force}--dry-run=server"))
        } else if ["kubectl ", "petiole "].iter().any(|program| command.starts_with(program)) {
            (lab.node("client1")?, format!("cd {FOLDER} && timeout 120 {command}"))
        } else {
            continue;
        };
        if line.starts_with("systemctl reboot") {
            continue;
        }
        node.exec(&["sh", "-c", &line]).with_context(|| format!("README.md, {section}: {command}"))?;
        done += 1;
    }
    ensure!(done > 1, "README.md, {section}: no commands");
    Ok(())
}

/// The lines of a section's blocks, without comments, each whole.
fn commands(section: &str) -> Result<Vec<String>> {
    let (_, text) = README.split_once(&format!("\n## {section}\n")).with_context(|| format!("no section {section}"))?;
    let text = text.split("\n## ").next().unwrap_or_default();
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n"));
    let mut commands = Vec::new();
    let mut whole = String::new();
    for line in blocks.flat_map(str::lines) {
        let line = line.split("  #").next().unwrap_or_default().trim();
        let line = line.split(" # ").next().unwrap_or_default().trim();
        if let Some(begun) = line.strip_suffix('\\') {
            whole.push_str(begun);
        } else {
            commands.push(format!("{}{line}", std::mem::take(&mut whole)));
        }
    }
    commands.retain(|command| !command.is_empty());
    Ok(commands)
}
