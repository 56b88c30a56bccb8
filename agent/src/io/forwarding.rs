//! The kernel's settings that pods need: reads, asks the node's plan, writes.

use std::fs;
use std::path::Path;

use petiole_node::Input;
use petiole_node::forwarding::{Outcome, Setting, Wanted, learning, plan};
use tokio::sync::mpsc;

/// Carries out an order, elsewhere, and tells what had to change.
pub fn set(wanted: Wanted, inputs: mpsc::Sender<Input>) {
    tokio::spawn(async move {
        let done = tokio::task::spawn_blocking(move || change(&wanted)).await;
        if let Ok(outcomes) = done {
            let _ = inputs.send(Input::Forwarding(outcomes)).await;
        }
    });
}

fn change(wanted: &Wanted) -> Vec<Outcome> {
    // A kernel without IPv6 has no such table, and nobody who advertises.
    let table = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let plan = plan(wanted, &learning(&table), read);
    plan.into_iter().map(|setting| Outcome { result: write(&setting), setting }).collect()
}

fn read(key: &str) -> Option<u32> {
    fs::read_to_string(Path::new("/proc/sys").join(key)).ok()?.trim().parse().ok()
}

fn write(setting: &Setting) -> Result<(), String> {
    fs::write(Path::new("/proc/sys").join(&setting.key), setting.value.to_string()).map_err(|e| e.to_string())
}
