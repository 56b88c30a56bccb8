//! How late the node's KEEPALIVEs are while a leaf sends it a full table, and while it loses that table again.
//!
//! The real agent with the real kernel behind it; two leaves made by hand on one link, in one process. The hold time is 3 s, so
//! that a KEEPALIVE is due at most 1 s after the one before (RFC 4271 section 10: every second, times 0.75 to 1); what is
//! longer was late.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::arena::{Arena, address, asn};
use crate::leaf::{Heard, Leaf, attribute, update};
use crate::{eventually, procs};

/// Prefixes of the full table.
const TABLE: u32 = 500_000;
const HOLD: u16 = 3;
/// The longest time between two KEEPALIVEs that are not late.
const DUE: Duration = Duration::from_secs(1);
/// How late one may be.
const TARGET: Duration = Duration::from_millis(100);
const QUIET: Duration = Duration::from_secs(10);
const WITHIN: Duration = Duration::from_secs(120);

/// One phase: how late the latest KEEPALIVE of each session was.
struct Phase {
    what: &'static str,
    took: Duration,
    loaded: Duration,
    other: Duration,
}

/// Measures; whether the target is met, a table, and the figures.
pub(super) fn run(petiole: &Path, tell: &dyn Fn(&str)) -> Result<(bool, String, Value)> {
    // More than the default lets in.
    let limit = format!("max_prefix = {{ limit = {}, action = \"warn\" }}", 2 * TABLE);
    let arena = Arena::of(petiole, 2, HOLD, &limit)?;
    let mut sessions = (0..2).map(|n| arena.establish(n, HOLD)).collect::<Result<Vec<Leaf>>>()?;
    let (other, loaded) = (sessions.remove(1), sessions.remove(0));
    let mut phases = Vec::new();
    tell("two quiet sessions");
    let begin = Instant::now();
    std::thread::sleep(QUIET);
    phases.push(phase("quiet", begin, Some(&loaded), &other)?);

    tell("a full table arrives");
    let begin = Instant::now();
    for message in feed(address(0), asn(0)) {
        loaded.say(&message)?;
    }
    wait_routes(&arena, TABLE.into())?;
    phases.push(phase("500,000 prefixes arrive, until they are in the kernel", begin, Some(&loaded), &other)?);
    let resident = procs::resident(arena.pid()?).unwrap_or_default();

    tell("the same again");
    let begin = Instant::now();
    for message in feed(address(0), asn(0)) {
        loaded.say(&message)?;
    }
    std::thread::sleep(Duration::from_secs(3));
    phases.push(phase("the same again, unchanged", begin, Some(&loaded), &other)?);

    tell("the leaf is lost");
    let begin = Instant::now();
    drop(loaded);
    wait_routes(&arena, 0)?;
    phases.push(phase("its session ends, until they have left the kernel", begin, None, &other)?);

    let passed = phases.iter().all(|p| p.loaded.max(p.other) <= TARGET);
    let mut text = format!("{:<56} {:>8} {:>18} {:>18}\n", "PHASE", "TOOK", "LATE, ITS SESSION", "LATE, THE OTHER");
    for p in &phases {
        let verdict = if p.loaded.max(p.other) <= TARGET { "pass" } else { "FAIL" };
        let [took, loaded, other] = [p.took, p.loaded, p.other].map(millis);
        text += &format!("{:<56} {took:>5.0} ms {loaded:>15.1} ms {other:>15.1} ms  {verdict}\n", p.what);
    }
    text += &format!(
        "\nThe latest KEEPALIVE of each session in each phase; target {} ms. Resident memory with the table: {:.1} MiB.\n",
        TARGET.as_millis(),
        resident as f64 / 1_048_576.0
    );
    let figures: Vec<Value> = phases
        .iter()
        .map(|p| json!({ "what": p.what, "took_ms": millis(p.took), "late_loaded_ms": millis(p.loaded), "late_other_ms": millis(p.other) }))
        .collect();
    let document =
        json!({ "bench": "keepalive", "target_ms": millis(TARGET), "phases": figures, "resident_bytes": resident });
    Ok((passed, text, document))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// 500,000 /26 from 20.0.0.0 on, in messages as full as they can be.
fn feed(next_hop: Ipv4Addr, asn: u32) -> Vec<Vec<u8>> {
    let mut path = vec![2, 2];
    path.extend(asn.to_be_bytes());
    path.extend(64_600_u32.to_be_bytes());
    let attributes =
        [attribute(0x40, 1, &[0]), attribute(0x40, 2, &path), attribute(0x40, 3, &next_hop.octets())].concat();
    let room = 4096 - 23 - attributes.len();
    let prefixes: Vec<[u8; 5]> = (0..TABLE)
        .map(|n| {
            let [a, b, c, d] = (0x1400_0000_u32 + n * 64).to_be_bytes();
            [26, a, b, c, d]
        })
        .collect();
    prefixes.chunks(room / 5).map(|chunk| update(&[], &attributes, &chunk.concat())).collect()
}

/// How late the latest KEEPALIVE of each was since `begin`.
fn phase(what: &'static str, begin: Instant, loaded: Option<&Leaf>, other: &Leaf) -> Result<Phase> {
    let took = begin.elapsed();
    let late = |leaf: &Leaf, name: &str| -> Result<Duration> {
        let (heard, alive) = leaf.heard();
        ensure!(alive, "{what}: the {name} session ended: {:?}", heard.last());
        let keepalives: Vec<&Heard> = heard.iter().filter(|m| m.kind == 4).collect();
        let gaps = keepalives.iter().zip(keepalives.iter().skip(1)).map(|(a, b)| b.at - a.at);
        let last = keepalives.last().map_or(took, |m| m.at.elapsed());
        Ok(gaps.chain([last]).max().unwrap_or_default().saturating_sub(DUE))
    };
    let loaded = loaded.map_or(Ok(Duration::ZERO), |l| late(l, "loaded"))?;
    Ok(Phase { what, took, loaded, other: late(other, "other")? })
}

/// Waits until the agent says that the kernel holds so many learned routes. Asked seldom: the answer costs the agent time.
fn wait_routes(arena: &Arena, wanted: u64) -> Result<()> {
    eventually(WITHIN, &format!("{wanted} routes in the kernel"), || {
        std::thread::sleep(Duration::from_millis(250));
        let held = arena.json(&["status"])?["routes_in_kernel"].as_u64();
        // The node's own are among them.
        ensure!(held.is_some_and(|n| n.abs_diff(wanted) < 16), "{held:?}");
        Ok(())
    })
}
