//! Timers of the session: a hold timer that expires, and an OPEN that waits.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::restart::{all_there, anew, opens_of_leaf};
use super::session::inner;
use crate::Signal;
use crate::interop::capture::{self, Sender};
use crate::interop::scene::{CHANGE, Scene};
use crate::interop::wanted::{Link, Route, Wanted};

/// Hold Timer Expired (RFC 4271, section 6.5).
const HOLD_EXPIRED: u8 = 4;

fn hold_expired(scene: &Scene, sender: Sender) -> bool {
    let messages = scene.messages();
    let mut said = messages.iter().filter(|m| m.sender == sender && m.kind() == capture::NOTIFICATION);
    said.any(|m| inner(m.body()).first() == Some(&HOLD_EXPIRED))
}

pub(super) fn hold_expiry(scene: &mut Scene) -> Result<()> {
    let wanted = Wanted { node_hold: 3, ..Wanted::default() };
    scene.up(&wanted)?;
    let routes: Vec<Route> = scene.usable(&wanted.routes).into_iter().cloned().collect();
    all_there(scene, &routes)?;

    // What the leaf says gets lost on its way. Its acknowledgements don't, or TCP would hold our last word back.
    let rules = "add table inet cut; add chain inet cut input { type filter hook input priority 0; }; \
                 add rule inet cut input iifname eth1 tcp sport 0-65535 meta length > 68 drop";
    let opens = opens_of_leaf(scene);
    scene.node.exec(&["nft", rules])?;
    scene.wait(CHANGE, "the node says that the peer was silent, to it and to us", || {
        ensure!(hold_expired(scene, Sender::Node), "no Hold Timer Expired on the wire");
        let error = scene.peer(Link(0))?["last_error"].clone();
        ensure!(error.to_string().contains("the peer was silent"), "the node says {error}");
        let kernel = scene.kernel()?;
        ensure!(kernel.is_empty(), "the node's kernel has {:?}", kernel.keys());
        Ok(())
    })?;
    scene.node.exec(&["nft", "delete table inet cut"])?;
    anew(scene, opens)?;
    all_there(scene, &routes)?;

    // Now it is the node that does not listen.
    let opens = opens_of_leaf(scene);
    scene.signal_agent(Signal::STOP);
    let stopped = scene.wait(Duration::from_secs(20), "the leaf's hold timer expires", || {
        ensure!(hold_expired(scene, Sender::Leaf), "no Hold Timer Expired of the leaf");
        Ok(())
    });
    scene.signal_agent(Signal::CONT);
    stopped?;
    scene.wait(CHANGE, "the node says what the leaf said", || {
        let peer = scene.peer(Link(0))?;
        let words = peer["last_notification_received"].to_string();
        ensure!(words.contains("hold timer expired"), "the node says {words}");
        let error = peer["last_error"].to_string();
        ensure!(error.contains("we were late"), "the node says {error}");
        Ok(())
    })?;
    anew(scene, opens)?;
    all_there(scene, &routes)
}

pub(super) fn delay_open(scene: &mut Scene) -> Result<()> {
    scene.up(&Wanted { node_extra: "delay_open = \"20s\"", ..Wanted::default() })?;
    let messages = scene.messages();
    let first = messages.iter().find(|m| m.kind() == capture::OPEN).map(|m| m.sender);
    ensure!(first == Some(Sender::Leaf), "the first OPEN is of {first:?}");
    Ok(())
}
