//! What the agent says was on the wire, read by somebody else.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use petiole_labtests::leaf::message;

use crate::cases::{announce, field};
use petiole_labtests::arena::{Arena, WITHIN, address, root};

#[test]
fn a_trace_opens_in_wireshark() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let arena = Arena::new(1, 9)?;
    let leaf = arena.establish(0, 9)?;
    leaf.say(&announce(0, &field(7)))?;
    arena.wait_in_kernel("10.200.7.0/24", true)?;
    // An administrative shutdown with a word (RFC 9003).
    let said = [&[6, 2, 11][..], b"maintenance"].concat();
    leaf.say(&message(3, &said))?;
    petiole_labtests::eventually(WITHIN, "the session is down", || -> Result<()> {
        let peer = arena.peer(0)?;
        ensure!(peer["last_error"].as_str().is_some_and(|e| e.contains("maintenance")), "{peer}");
        Ok(())
    })?;
    let name = address(0).to_string();
    let text = arena.petiole(&["bgp", "trace", &name])?;
    for wanted in ["OPEN: AS 65001", "UPDATE: announces 10.200.7.0/24", "Established", "maintenance"] {
        ensure!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    let folder = tempfile::TempDir::new()?;
    let file = folder.path().join("leaf.pcap");
    let file = file.to_string_lossy();
    arena.petiole(&["bgp", "trace", &name, "--pcap", &file])?;
    let fields = ["-T", "fields", "-e", "bgp.type", "-e", "bgp.nlri_prefix", "-e", "bgp.notify.major_error"];
    let tshark = Command::new("tshark").args(["-r", &file]).args(fields).output().context("tshark")?;
    ensure!(tshark.status.success(), "{}", String::from_utf8_lossy(&tshark.stderr));
    let decoded = String::from_utf8_lossy(&tshark.stdout);
    let lines: Vec<&str> = decoded.lines().collect();
    ensure!(lines.iter().filter(|l| l.starts_with('1')).count() >= 2, "both OPENs: {decoded}");
    ensure!(lines.iter().any(|l| l.starts_with("2\t10.200.7.0")), "the UPDATE: {decoded}");
    ensure!(lines.iter().any(|l| l.starts_with("3\t") && l.ends_with("\t6")), "the NOTIFICATION: {decoded}");
    let broken = Command::new("tshark").args(["-r", &file, "-Y", "_ws.malformed"]).output()?;
    ensure!(broken.stdout.is_empty(), "malformed: {}", String::from_utf8_lossy(&broken.stdout));
    Ok(())
}
