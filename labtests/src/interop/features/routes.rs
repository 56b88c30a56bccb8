//! Routes, both ways.

use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::session::open_of;
use crate::interop::capture::{self, Sender};
use crate::interop::daemon::unsupported;
use crate::interop::scene::{ANYCAST, CHANGE, OWN, Scene};
use crate::interop::wanted::{Link, Route, Transport, Wanted};

pub(super) fn announce(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    for healthy in [true, false, true] {
        scene.set_healthy(healthy)?;
        scene.wait(CHANGE, "the daemon's table follows the health check", || {
            let all = scene.daemon.received()?;
            ensure!(OWN.iter().all(|own| all.contains_key(*own)), "the node's own went away: {:?}", all.keys());
            let there = ANYCAST.map(|prefix| all.contains_key(prefix));
            ensure!(there == [healthy; 2], "healthy: {healthy}; in the table: {there:?}");
            Ok(())
        })?;
    }
    Ok(())
}

pub(super) fn learn(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    let routes = [Route::plain("10.120.202.0/27"), Route::plain("fd00:120:202:1::/64")];
    for route in scene.usable(&routes) {
        scene.daemon.announce(route)?;
        in_kernel(scene, &route.prefix, true)?;
        scene.daemon.withdraw(route)?;
        in_kernel(scene, &route.prefix, false)?;
    }
    in_kernel(scene, "10.120.201.0/27", true)
}

fn in_kernel(scene: &Scene, prefix: &str, wanted: bool) -> Result<()> {
    scene.wait(CHANGE, "the node's kernel follows the leaf", || {
        let kernel = scene.kernel()?;
        ensure!(kernel.contains_key(prefix) == wanted, "{prefix} wanted: {wanted}; there: {:?}", kernel.keys());
        Ok(())
    })
}

/// The NLRI of the node's own prefixes as they stand in an UPDATE.
const OWN_NLRI: [&[u8]; 2] =
    [&[32, 10, 122, 0, 11], &[128, 0xfd, 0, 0x01, 0x22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11]];

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

pub(super) fn refresh_asked(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    scene.wait(CHANGE, "the daemon has the node's routes", || {
        let all = scene.daemon.received()?;
        ensure!(OWN.iter().all(|own| all.contains_key(*own)), "{:?}", all.keys());
        Ok(())
    })?;
    let before = scene.messages().len();
    scene.daemon.refresh()?;
    let asks = |m: &capture::Message| m.sender == Sender::Leaf && m.kind() == capture::REFRESH;
    let asked = scene.wait(Duration::from_secs(5), "the request is on the wire", || {
        ensure!(scene.messages().iter().skip(before).any(asks), "no ROUTE-REFRESH");
        Ok(())
    });
    if asked.is_err() {
        return Err(unsupported("its command for it sends no ROUTE-REFRESH"));
    }
    scene.wait(CHANGE, "both families come again after the request", || {
        let messages = scene.messages();
        let since = messages.get(before..).unwrap_or_default();
        let updates = since.iter().skip_while(|m| !asks(m)).filter(|m| m.sender == Sender::Node);
        let updates: Vec<_> = updates.filter(|m| m.kind() == capture::UPDATE).collect();
        for nlri in OWN_NLRI {
            ensure!(updates.iter().any(|m| contains(m.body(), nlri)), "{nlri:?} did not come again");
        }
        Ok(())
    })?;
    scene.stays(Link(0), Duration::from_secs(1))
}

/// Whether the leaf's OPEN has a capability without a value.
fn leaf_has(scene: &Scene, code: u8) -> Result<bool> {
    Ok(open_of(scene, Sender::Leaf)?.iter().any(|(known, _)| *known == code))
}

pub(super) fn enhanced_refresh(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    if !leaf_has(scene, 70)? {
        return Err(unsupported("its OPEN has no enhanced route refresh"));
    }
    scene.wait(CHANGE, "the first table is complete", || {
        let ends = ends(scene, Sender::Node);
        ensure!(ends == [1, 2], "families marked: {ends:?}");
        Ok(())
    })?;
    scene.daemon.refresh()?;
    scene.wait(CHANGE, "a beginning and an end of both families", || {
        let messages = scene.messages();
        let marks = messages.iter().filter(|m| m.sender == Sender::Node && m.kind() == capture::REFRESH);
        let marks: Vec<&[u8]> = marks.map(capture::Message::body).collect();
        for family in [1, 2] {
            let at = |subtype| marks.iter().position(|mark| *mark == [0, family, subtype, 1]);
            let (begin, end) = (at(1), at(2));
            ensure!(begin.is_some() && begin < end, "family {family}: {marks:?}");
        }
        Ok(())
    })?;
    scene.stays(Link(0), Duration::from_secs(1))
}

pub(super) fn extended_messages(scene: &mut Scene) -> Result<()> {
    bulk(scene)?;
    if !leaf_has(scene, 6)? {
        return Err(unsupported("its OPEN has no extended messages"));
    }
    ensure!(open_of(scene, Sender::Node)?.iter().any(|(code, _)| *code == 6), "the node's OPEN has none");
    let longest =
        scene.messages().iter().filter(|m| m.sender == Sender::Leaf).map(|m| m.bytes.len()).max().unwrap_or(0);
    if longest <= 4_096 {
        scene.notes.push(format!("agreed on; the daemon's longest message has {longest} octets all the same"));
    }
    Ok(())
}

fn ends(scene: &Scene, sender: Sender) -> Vec<u8> {
    let messages = scene.messages();
    let mut ends: Vec<u8> =
        messages.iter().filter(|m| m.sender == sender).filter_map(capture::Message::end_of_rib).collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

pub(super) fn end_of_rib_sent(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    scene.wait(CHANGE, "the node marks the end of both families", || {
        let ends = ends(scene, Sender::Node);
        ensure!(ends == [1, 2], "families marked: {ends:?}");
        Ok(())
    })
}

pub(super) fn end_of_rib_received(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    let sent = scene.wait(Duration::from_secs(5), "the leaf marks the end of both families", || {
        let ends = ends(scene, Sender::Leaf);
        ensure!(ends == [1, 2], "families marked: {ends:?}");
        Ok(())
    });
    if sent.is_err() {
        let ends = ends(scene, Sender::Leaf);
        return Err(unsupported(&format!("it marks the end of {} of 2 families here", ends.len())));
    }
    scene.wait(CHANGE, "the node knows", || {
        let known = scene.peer(Link(0))?["end_of_rib_received"].clone();
        ensure!(known.as_array().is_some_and(|all| all.len() == 2), "the node says {known}");
        Ok(())
    })
}

pub(super) fn graceful_shutdown(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted::default())?;
    marked(scene, false)?;
    scene.petiole(&["drain", "--after", "60s"])?;
    marked(scene, true)?;
    scene.petiole(&["undrain"])?;
    marked(scene, false)
}

/// 65535:0 as the daemons write it.
const GRACEFUL_SHUTDOWN: [&str; 5] = ["65535:0", "65535,0", "65535, 0", "graceful", "4294901760"];

fn marked(scene: &Scene, wanted: bool) -> Result<()> {
    scene.wait(CHANGE, "the daemon's table shows what the drain says", || {
        let all = scene.daemon.received()?;
        for prefix in OWN {
            let Some(route) = all.get(prefix) else { bail!("no {prefix} among {:?}", all.keys()) };
            let text = route.communities.to_ascii_lowercase();
            let there = GRACEFUL_SHUTDOWN.iter().any(|word| text.contains(word));
            ensure!(there == wanted, "{prefix}: wanted: {wanted}; communities: {text}");
        }
        Ok(())
    })
}

pub(super) fn multipath(scene: &mut Scene) -> Result<()> {
    both_next_hops(scene, Transport::V4)?;
    scene.renew()?;
    both_next_hops(scene, Transport::V6)
}

/// Of a route of the transport's own family: not every daemon knows a next hop of the other one for each session.
fn both_next_hops(scene: &mut Scene, transport: Transport) -> Result<()> {
    let prefix = if transport == Transport::V4 { "10.120.201.0/27" } else { "fd00:120:201:1::/64" };
    let wanted = Wanted { transport, links: 2, routes: vec![Route::plain(prefix)], ..Wanted::default() };
    scene.up(&wanted)?;
    let hops: Vec<String> = wanted.links().map(|link| link.leaf(transport)).collect();
    scene.wait(CHANGE, "the node's kernel has both next hops", || {
        let kernel = scene.kernel()?;
        let Some(found) = kernel.get(prefix) else { bail!("no {prefix} among {:?}", kernel.keys()) };
        ensure!(hops.iter().all(|hop| found.contains(hop)), "{prefix} goes to {found:?}");
        Ok(())
    })
}

pub(super) fn default_refused(scene: &mut Scene) -> Result<()> {
    let mut wanted = Wanted::default();
    wanted.routes.extend(["0.0.0.0/0", "::/0"].map(Route::plain));
    scene.up(&wanted)?;
    for route in scene.usable(&wanted.routes) {
        let prefix = route.prefix.as_str();
        if !prefix.ends_with("/0") {
            in_kernel(scene, prefix, true)?;
            continue;
        }
        scene.wait(CHANGE, "the node says why it does not use the default route", || {
            let why = scene.petiole(&["why", prefix])?;
            ensure!(why["received"].as_array().is_some_and(|all| !all.is_empty()), "not received: {why}");
            let kernel = &why["kernel"];
            ensure!(
                kernel["state"] == "not installed" && kernel["reason"] != "",
                "no refusal with its reason: {kernel}"
            );
            Ok(())
        })?;
    }
    let kernel = scene.kernel()?;
    ensure!(!kernel.contains_key("default"), "the kernel has a default route of the agent: {kernel:?}");
    Ok(())
}

pub(super) fn bulk(scene: &mut Scene) -> Result<()> {
    const COUNT: usize = 5_000;
    let routes = (0..COUNT).map(|n| format!("10.{}.{}.{}/28", 140 + n / 4096, n / 16 % 256, n % 16 * 16));
    let routes = routes.map(|prefix| Route::plain(&prefix)).collect();
    let wanted = Wanted { routes, ..Wanted::default() };
    scene.up(&wanted)?;
    scene.wait(Duration::from_secs(60), "all of them are in the node's kernel", || {
        let count = scene.kernel()?.len();
        ensure!(count == COUNT, "{count} of {COUNT}, {} on the wire", on_the_wire(scene));
        Ok(())
    })?;
    scene.stays(Link(0), Duration::from_secs(2))
}

/// The IPv4 prefixes that the leaf's UPDATEs announced.
fn on_the_wire(scene: &Scene) -> usize {
    let number = |bytes: &[u8]| bytes.get(..2).map(|b| usize::from(b[0]) << 8 | usize::from(b[1]));
    let mut count = 0;
    for message in scene.messages().iter().filter(|m| m.sender == Sender::Leaf && m.kind() == capture::UPDATE) {
        let body = message.body();
        let Some(withdrawn) = number(body) else { continue };
        let Some(attributes) = body.get(2 + withdrawn..).and_then(number) else { continue };
        let mut nlri = body.get(4 + withdrawn + attributes..).unwrap_or_default();
        while let Some((length, rest)) = nlri.split_first() {
            count += 1;
            nlri = rest.get(usize::from(length.div_ceil(8))..).unwrap_or_default();
        }
    }
    count
}
