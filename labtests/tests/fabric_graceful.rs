//! Restarts without a lost packet: the agent's and the leaf's, with FRR and with BIRD as the leaf, under a stream of UDP
//! datagrams from a host behind the leaf to a pod and back.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use petiole_labtests::datagrams::Counted;
use petiole_labtests::fabric::{self, Family, Monitor, Pod};
use petiole_labtests::{Binaries, Lab, NodeHandle, Signal, Spawned, Topology, check, eventually};

const WITHIN: Duration = Duration::from_secs(30);
/// The stream goes on before and after a restart for this long.
const AROUND: Duration = Duration::from_secs(1);
const RATE: u64 = 1000;
/// The rack whose leaf is BIRD; the other's is FRR.
const BIRD: u8 = 2;

/// How often each restart is tried: once, or as often as `PETIOLE_REPEAT` says.
fn repeats() -> u32 {
    std::env::var("PETIOLE_REPEAT").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// One leaf with its node and its host.
struct Rack {
    leaf: NodeHandle,
    worker: NodeHandle,
    client: NodeHandle,
    spine: NodeHandle,
    number: u8,
    pod: Pod,
    _reflector: Spawned,
}

#[test]
fn restarts_lose_no_packet() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: restarts_lose_no_packet: needs root");
        return Ok(());
    }
    let binaries = Binaries::find()?;
    ensure!(binaries.agent.is_some(), "no agent: cargo build -p petiole, or set PETIOLE_BIN");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../containerlab/graceful.clab.yml");
    let topology = Topology::load(&file, Some(&fabric::unique_name("gr")), &|name| std::env::var(name).ok())?;
    let lab = Lab::up(&topology, &binaries)?;
    let racks = [Rack::wire(&lab, 1)?, Rack::wire(&lab, 2)?];
    for _ in 0..repeats() {
        at_both(&racks, |rack| rack.agent_restarts_unheard("with BFD"))?;
        at_both(&racks, |rack| if rack.number == BIRD { rack.leaf_restarts("with BFD") } else { rack.frr_restarts() })?;
    }
    at_both(&racks, Rack::leave_bfd)?;
    for _ in 0..repeats() {
        at_both(&racks, |rack| rack.agent_restarts_unheard("without BFD"))?;
        at_both(&racks, |rack| rack.leaf_restarts("without BFD"))?;
    }
    lab.down()
}

/// Does the same at both racks at once: one's leaf that restarts is heard at the other's, so that they go step by step.
fn at_both(racks: &[Rack; 2], act: impl Fn(&Rack) -> Result<()> + Sync) -> Result<()> {
    let act = &act;
    std::thread::scope(|scope| {
        let threads = racks.each_ref().map(|rack| scope.spawn(move || act(rack)));
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))
        };
        threads.into_iter().map(join).collect::<Result<Vec<()>>>().map(drop)
    })
}

impl Rack {
    fn wire(lab: &Lab, number: u8) -> Result<Self> {
        let node = |role: &str| lab.node(&format!("{role}{number}"));
        let worker = node("worker")?;
        eventually(WITHIN, &format!("{}: it is ready", worker.name()), || {
            let status = worker.petiole_json(&["status"]).map_err(|error| format!("{error:#}"))?;
            check(status["ready"] == true, &status)
        })?;
        let pod = Pod::wire(&worker, "pod")?;
        let reflector = pod.spawn(&["petiole-lab", "reflect", "--listen", "[::]:7"])?;
        let (leaf, client, spine) = (node("leaf")?, node("client")?, lab.node("spine1")?);
        let rack = Self { leaf, worker, client, spine, number, pod, _reflector: reflector };
        for family in fabric::FAMILIES {
            let address = rack.pod.address(family).to_owned();
            eventually(WITHIN, &format!("{}: {address} answers", rack.client.name()), || {
                rack.client.ping(&address, 100, 1).map_err(|error| format!("{error:#}"))
            })?;
        }
        rack.wait_in_sync()?;
        // FRR 8.4 makes its BFD session anew when its first BGP session comes up, and resets that for it.
        eventually(WITHIN, &format!("{}: its leaf leaves it alone", rack.worker.name()), || {
            let peers = rack.worker.petiole_json(&["bgp", "peers"]).map_err(|error| format!("{error:#}"))?;
            let long = |seconds: &serde_json::Value| seconds.as_f64().is_some_and(|seconds| seconds > 2.0);
            check(long(&peers[0]["state_seconds"]) && long(&peers[0]["bfd"]["state_seconds"]), &peers)
        })?;
        rack.wait_in_sync()?;
        Ok(rack)
    }

    fn agent_restarts_unheard(&self, how: &str) -> Result<()> {
        self.tells_nobody("restarts of the agent", || {
            self.agent_restarts(how)?;
            self.agent_restarts_twice(how)
        })
    }

    /// Takes BFD out of both configurations; the agent reads its own when it starts.
    fn leave_bfd(&self) -> Result<()> {
        self.worker.sh("sed -i '/^bfd /d' /etc/petiole/petiole.toml")?;
        self.worker.stop("agent", Signal::KILL)?;
        self.worker.start("agent")?;
        self.wait_in_sync()?;
        if self.number == BIRD {
            self.leaf.sh("sed '/^ *bfd graceful;/d' /etc/lab/bird.conf >/run/bird/bird.conf")?;
            let _said =
                self.leaf.exec(&["birdc", "-s", "/run/bird/bird.ctl", "configure", "\"/run/bird/bird.conf\""])?;
            return Ok(());
        }
        self.leaf.sh("sed -i '/^ neighbor .* bfd/d' /etc/frr/frr.conf")?;
        self.leaf.vtysh_configure(&["router bgp 65001", "no neighbor 10.122.101.1 bfd"])
    }

    /// The leaf has sent all it had at first, and was sent all; BFD is Up on both sides where it is configured.
    fn wait_in_sync(&self) -> Result<()> {
        eventually(WITHIN, &format!("{}: in sync with its leaf", self.worker.name()), || {
            let peers = self.worker.petiole_json(&["bgp", "peers"]).map_err(|error| format!("{error:#}"))?;
            let both = |key: &str| peers[0][key].as_array().is_some_and(|families| families.len() == 2);
            let bfd = &peers[0]["bfd"];
            let watched = bfd.is_null() || (bfd["state"] == "Up" && bfd["remote_state"] == "Up");
            check(both("end_of_rib_received") && both("end_of_rib_sent") && watched, &peers)
        })
    }

    /// Does something under streams of both families; nothing may be lost, and neither kernel may delete a route.
    fn loses_nothing(&self, what: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let monitors =
            [&self.leaf, &self.worker].map(|node| Monitor::start(node).map(|monitor| (node.name(), monitor)));
        self.loses_no_packet(what, act)?;
        for monitor in monitors {
            let (name, monitor) = monitor?;
            let gone = monitor.deletions()?;
            ensure!(gone.is_empty(), "{what}: {name} deleted: {gone:#?}");
        }
        Ok(())
    }

    /// Does something under streams of both families between a client of the leaf and a pod.
    fn loses_no_packet(&self, what: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let file = format!("/run/stream-{}", self.number);
        self.client.write(&file, "")?;
        let mut streams = Vec::new();
        for family in fabric::FAMILIES {
            let to = family
                .pick(format!("{}:7", self.pod.address(Family::V4)), format!("[{}]:7", self.pod.address(Family::V6)));
            streams.push((
                family,
                self.client.spawn(&[
                    "petiole-lab",
                    "stream",
                    "--to",
                    &to,
                    "--rate",
                    &RATE.to_string(),
                    "--file",
                    &file,
                ])?,
            ));
        }
        let start = Instant::now();
        std::thread::sleep(AROUND);
        act()?;
        std::thread::sleep(AROUND);
        self.client.exec(&["rm", &file])?;
        let took = start.elapsed();
        for (family, mut stream) in streams {
            let output = stream.wait()?;
            let text = String::from_utf8_lossy(&output.stdout);
            let counted: Counted = serde_json::from_str(&text)
                .with_context(|| format!("{what}: {text}{}", String::from_utf8_lossy(&output.stderr)))?;
            println!("figure: {what}: {family:?}: {counted:?} in {took:.1?}");
            ensure!(counted.sent > RATE * took.as_secs() * 8 / 10, "{what}: the stream was slow: {counted:?}");
            ensure!(counted.lost == 0, "{what}: {counted:?}");
        }
        Ok(())
    }

    /// How many UPDATEs the spine has had from the leaf: an announcement or a withdrawal each.
    fn told_to_spine(&self) -> Result<u64> {
        let peer = format!("10.121.1.{}", 2 * self.number + 1);
        let answer = self.spine.vtysh_json(&format!("show bgp neighbors {peer} json"))?;
        let updates = answer[&peer]["messageStats"]["updatesRecv"].as_u64();
        updates.with_context(|| format!("no counter of UPDATEs: {answer}"))
    }

    /// That the leaf's neighbours are none the wiser.
    fn tells_nobody(&self, what: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let before = self.told_to_spine()?;
        act()?;
        let heard = self.told_to_spine()?;
        ensure!(heard == before, "{what}: the spine was told something: {heard} UPDATEs after {before}");
        Ok(())
    }

    /// What forwards stays in the leaf's kernel while all that routes is killed and started, as a crash and a supervisor would
    /// have it. FRR goes as a whole: where only bgpd does, zebra 8.4 takes its routes out of the kernel when it is back.
    fn leaf_restarts(&self, how: &str) -> Result<()> {
        let daemons: &[&str] = if self.number == BIRD { &["bird"] } else { &["zebra", "bfdd", "bgpd"] };
        let sessions = || -> Result<u64> {
            let peers = self.worker.petiole_json(&["bgp", "peers"])?;
            peers[0]["established_count"].as_u64().with_context(|| peers.to_string())
        };
        let before = sessions()?;
        // Routes beyond the leaf go for a moment: BIRD says End-of-RIB before its own spine has sent them again.
        self.loses_no_packet(&format!("{}: {} killed and started, {how}", self.leaf.name(), daemons.join(", ")), || {
            for daemon in daemons.iter().rev() {
                self.leaf.stop(daemon, Signal::KILL)?;
            }
            eventually(WITHIN, "its routes are kept", || {
                let peers = self.worker.petiole_json(&["bgp", "peers"]).map_err(|error| format!("{error:#}"))?;
                let kept = peers[0]["kept"].as_array().map_or(0, Vec::len);
                check(kept == 2 && peers[0]["state"] != "Established", &peers)
            })?;
            std::thread::sleep(Duration::from_millis(500));
            for daemon in daemons {
                self.leaf.start(daemon)?;
            }
            eventually(WITHIN, "its routes are sent again", || {
                let now = sessions().map_err(|error| format!("{error:#}"))?;
                let peers = self.worker.petiole_json(&["bgp", "peers"]).map_err(|error| format!("{error:#}"))?;
                check(now > before && peers[0]["kept"] == serde_json::json!([]), &peers)
            })?;
            self.wait_in_sync()
        })
    }

    /// FRR 8.4's bgpd makes its BFD session anew once BGP is up and ends that session with a Hard Reset, over which nothing may be
    /// kept. Its BFD says so before: nothing is lost unless the Hard Reset is read first, or BFD fails for a machine that stands
    /// still.
    fn frr_restarts(&self) -> Result<()> {
        let resets = || -> Result<u32> {
            let count = "grep -cE 'hard reset|BFD lost the peer' /run/lab/agent.log || true";
            Ok(self.worker.sh(count)?.trim().parse()?)
        };
        let before = resets()?;
        let done = self.leaf_restarts("with BFD");
        let reset = resets()? - before;
        println!("figure: {}: {reset} sessions ended with BFD's failure", self.leaf.name());
        if reset == 0 {
            return done;
        }
        self.wait_in_sync()
    }

    fn agent_restarts(&self, how: &str) -> Result<()> {
        self.loses_nothing(&format!("{}: the agent is killed and started, {how}", self.worker.name()), || {
            self.worker.stop("agent", Signal::KILL)?;
            std::thread::sleep(Duration::from_millis(500));
            self.worker.start("agent")?;
            self.wait_in_sync()
        })
    }

    /// The second one comes as soon as the first session is there again, before anything has settled.
    fn agent_restarts_twice(&self, how: &str) -> Result<()> {
        self.loses_nothing(&format!("{}: the agent is killed twice, {how}", self.worker.name()), || {
            self.worker.stop("agent", Signal::KILL)?;
            self.worker.start("agent")?;
            eventually(WITHIN, "the session is back", || {
                let peers = self.worker.petiole_json(&["bgp", "peers"]).map_err(|error| format!("{error:#}"))?;
                check(peers[0]["state"] == "Established", &peers)
            })?;
            self.worker.stop("agent", Signal::KILL)?;
            std::thread::sleep(Duration::from_millis(500));
            self.worker.start("agent")?;
            self.wait_in_sync()
        })
    }
}
