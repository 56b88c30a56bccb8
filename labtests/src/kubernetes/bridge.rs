//! Debian's `bridge` with `host-local` in Petiole's place: what every pod that is made meanwhile is wired by.

use anyhow::{Context, Result};
use serde_json::json;

use crate::Lab;
use crate::fabric::Member;

/// It sorts before Petiole's own.
const CONFIGURATION: &str = "/etc/cni/net.d/00-bridge.conflist";
const PLUGINS: [&str; 2] = ["/usr/lib/cni/bridge", "/usr/lib/cni/host-local"];

/// What the addresses of its pods begin with.
pub const ADDRESSES: &str = "10.88.";

/// Puts it before Petiole's configuration on these workers. Pods reach nothing beyond their node.
pub fn put(lab: &Lab, workers: &[&Member]) -> Result<()> {
    for worker in workers {
        let node = lab.node(worker.name)?;
        let number = worker.number;
        let ranges =
            json!([[{ "subnet": format!("10.88.{number}.0/24") }], [{ "subnet": format!("fd00:88:{number}::/64") }]]);
        let routes = json!([{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }]);
        let conf = json!({
            "cniVersion": "1.0.0", "name": "bridge",
            "plugins": [{
                "type": "bridge", "bridge": "cni0", "isGateway": true,
                "ipam": { "type": "host-local", "ranges": ranges, "routes": routes },
            }],
        });
        node.sh(&format!("cp {} /opt/cni/bin/", PLUGINS.join(" "))).context("containernetworking-plugins")?;
        // The runtime reads a file when it appears: it appears whole.
        let beside = format!("{CONFIGURATION}.new");
        node.write(&beside, &conf.to_string())?;
        node.exec(&["mv", &beside, CONFIGURATION])?;
    }
    Ok(())
}

/// Takes it away again.
pub fn take(lab: &Lab, workers: &[&Member]) -> Result<()> {
    for worker in workers {
        lab.node(worker.name)?.exec(&["rm", CONFIGURATION])?;
    }
    Ok(())
}
