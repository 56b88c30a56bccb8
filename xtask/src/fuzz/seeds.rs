//! Inputs to begin with: messages recorded from other daemons, in the form each target reads.

use std::path::Path;

use anyhow::{Context, Result};

use crate::artifacts;

/// Octets of a message before its body.
const HEADER: usize = 19;

/// Writes the seeds of a target.
pub(super) fn write(target: &str, folder: &Path) -> Result<()> {
    for (i, seed) in of(target, &recorded()?).into_iter().enumerate() {
        let path = folder.join(format!("seed-{i}"));
        std::fs::write(&path, seed).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Every message recorded, a line of hex each; what is not one is left out.
fn recorded() -> Result<Vec<Vec<u8>>> {
    let folder = artifacts::root().join("bgp/testdata");
    let mut messages = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?.flatten() {
        if entry.path().extension().is_some_and(|e| e == "hex") {
            let text = std::fs::read_to_string(entry.path()).context("cannot read recorded messages")?;
            messages.extend(text.lines().filter_map(octets).filter(|m| m.len() >= HEADER));
        }
    }
    Ok(messages)
}

fn octets(line: &str) -> Option<Vec<u8>> {
    let digits = line.trim().as_bytes();
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn of(target: &str, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let bodies = |kind: u8| {
        let of_kind = messages.iter().filter(move |m| m.get(HEADER - 1) == Some(&kind));
        of_kind.filter_map(|m| m.get(HEADER..)).filter(|body| body.len() <= 4096)
    };
    let behind = |head: &[u8], body: &[u8]| [head, body].concat();
    match target {
        "bgp_framing" => vec![behind(&[0], &messages.concat()), behind(&[1], &messages.concat())],
        "bgp_open" => bodies(1).map(<[u8]>::to_vec).collect(),
        // Four-octet AS numbers, both families; with IPv6 next hops for IPv4; with path identifiers.
        "bgp_update" => [0x07, 0x0f, 0x37].iter().flat_map(|ctx| bodies(2).map(|b| behind(&[*ctx], b))).collect(),
        "bgp_notification" => {
            let refreshes = bodies(5).map(|b| behind(&[1], b));
            bodies(3).map(|b| behind(&[0], b)).chain(refreshes).collect()
        }
        // A connection, then everything the neighbour ever said, as steps: a message with any body.
        "bgp_session" => {
            let step = |m: &Vec<u8>| {
                let body = m.get(HEADER..)?;
                let kind = m.get(HEADER - 1)?.checked_sub(1)?;
                let [high, low] = u16::try_from(body.len()).ok()?.to_be_bytes();
                Some(behind(&[4, 0, kind, high, low], body))
            };
            let said: Vec<u8> = messages.iter().filter(|m| m.len() <= 600).filter_map(step).flatten().collect();
            // Accepted, their OPEN with everything, KEEPALIVE, ours to announce, then routes both ways and time.
            let up = [0, 0, 0, 2, 0, 0, 0x1f, 3, 0, 15, 0x1f];
            let routes =
                [7, 0, 0x30, 24, 10, 9, 0, 0, 25, 10, 9, 1, 0, 26, 10, 9, 2, 0, 32, 10, 9, 3, 1, 9, 0, 10, 0, 1];
            vec![
                behind(&[0, 0, 0], &said),
                behind(&up, &routes),
                behind(&behind(&up, &routes), &[14, 255, 14, 255, 12, 0]),
            ]
        }
        "bfd" => vec![
            behind(&[0, 0x20, 0x40, 3, 24], &[0, 0, 0, 7, 0, 0, 0, 0, 0, 15, 66, 64, 0, 15, 66, 64, 0, 0, 0, 0]),
            vec![1, 1, 0, 1, 10, 1, 0, 2, 10, 1, 0, 3, 10, 3, 200, 1, 0, 7, 10, 3, 255, 4, 0x81],
        ],
        _ => vec![vec![0; 64], (0..=255).collect()],
    }
}
