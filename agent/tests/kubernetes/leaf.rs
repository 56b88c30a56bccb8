//! A leaf at the other end of a place's uplink: BIRD, in a namespace of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::place::{Place, wait};

/// Both families over one session.
const BIRD: &str = "router id 10.122.101.0;\nprotocol device {}\nprotocol bgp node {\n  local 10.122.101.0 as 65001;\n  \
                    neighbor 10.122.101.1 as 4200000011;\n  ipv4 { import all; export none; };\n  ipv6 { import all; export none; };\n}\n";

pub(crate) struct Leaf {
    dir: tempfile::TempDir,
    bird: Child,
}

impl Leaf {
    pub(crate) fn start(place: &Place) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("bird.conf"), BIRD).unwrap();
        let up = "touch \"$0/ready\"; until ip link show leaf0 >/dev/null 2>&1; do sleep 0.05; done; ip link set lo up; ip link set leaf0 up; \
                  ip addr add 10.122.101.0/31 dev leaf0; ip addr add fd00:122:101::/127 dev leaf0 nodad; \
                  exec bird -f -c \"$0/bird.conf\" -s \"$0/bird.ctl\" -P \"$0/bird.pid\"";
        let bird = Command::new("unshare")
            .args(["--net", "sh", "-ec", up])
            .arg(dir.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare and BIRD are installed: `cargo xtask test` installs them");
        let leaf = Self { bird, dir };
        wait("the leaf's namespace is there", || leaf.path("ready").exists().then_some(()).ok_or_else(String::new));
        let there = leaf.bird.id().to_string();
        for args in [
            &["link", "set", "leaf0", "netns", &there][..],
            &["addr", "add", "fd00:122:101::1/127", "dev", "up0", "nodad"],
        ] {
            let mut ip = Command::new("nsenter");
            ip.arg(format!("--net={}", place.net().display())).arg("ip").args(args);
            assert!(ip.status().unwrap().success(), "{args:?}");
        }
        leaf
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Every prefix in its table.
    pub(crate) fn table(&self) -> Result<BTreeSet<String>, String> {
        let mut birdc = Command::new("birdc");
        let output = birdc.arg("-s").arg(self.path("bird.ctl")).args(["show", "route"]).output();
        let output = output.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let prefixes = text.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.contains('/'));
        let table: BTreeSet<String> = prefixes.map(str::to_owned).collect();
        output.status.success().then_some(table).ok_or(text)
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        let _ = self.bird.kill();
        let _ = self.bird.wait();
    }
}
