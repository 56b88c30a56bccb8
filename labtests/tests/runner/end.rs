//! How labs end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use petiole_labtests::procs::Identity;
use petiole_labtests::state::{self, StateDir};
use petiole_labtests::{Lab, check, down, eventually, fabric, sweep};

use crate::support::{Outcome, PAIR, binaries, leftovers, root, topology, up};

#[test]
fn nothing_is_left_after_down_and_after_drop() -> Outcome {
    if !root("nothing_is_left_after_down_and_after_drop") {
        return Ok(());
    }
    for explicit in [true, false] {
        let lab = up(PAIR)?;
        let name = lab.record().name.clone();
        let _orphan = lab.node("a")?.sh("setsid sleep infinity >/dev/null 2>&1 &")?;
        assert!(!leftovers(&name).is_empty(), "the search finds nothing at all");
        if explicit {
            lab.down()?
        } else {
            drop(lab)
        }
        assert_eq!(leftovers(&name), Vec::<String>::new());
        assert!(!down(&name)?, "a second down finds a lab");
    }
    Ok(())
}

/// A name, and whether it is there for a lab.
type Trace = (&'static str, fn(&str) -> bool);

/// `up` is killed as soon as a trace of it appears: its folder, its record, a namespace, a node, a link.
#[test]
fn nothing_is_left_after_an_up_that_was_killed() -> Outcome {
    if !root("nothing_is_left_after_an_up_that_was_killed") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pair.clab.yml");
    std::fs::write(&file, PAIR)?;
    let program = env!("CARGO_BIN_EXE_petiole-lab");
    let traces: [Trace; 5] = [
        ("folder", |lab| state::dir(lab).exists()),
        ("record", |lab| state::dir(lab).join("lab.json").exists()),
        ("namespace", |lab| Path::new(&format!("/run/netns/clab-{lab}-a")).exists()),
        ("node", |lab| state::node_dir(&state::dir(lab), "b").join("pid").exists()),
        ("link", |lab| {
            let namespace = format!("--net=/run/netns/clab-{lab}-b");
            let link = Command::new("nsenter").args([&namespace, "ip", "link", "show", "eth1"]).output();
            link.is_ok_and(|link| link.status.success())
        }),
    ];
    for (trace, appeared) in traces {
        let name = fabric::unique_name("killed");
        let mut up = Command::new(program)
            .args(["up", "--no-agent", "--name", &name])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        while !appeared(&name) && up.try_wait()?.is_none() {
            std::hint::spin_loop();
        }
        up.kill()?;
        up.wait()?;
        let taken = Command::new(program).args(["down", "--name", &name]).output()?;
        assert!(taken.status.success(), "{trace}: {}", String::from_utf8_lossy(&taken.stderr));
        assert_eq!(leftovers(&name), Vec::<String>::new(), "{trace}");
    }
    Ok(())
}

#[test]
fn up_after_a_killed_up_starts_afresh() -> Outcome {
    if !root("up_after_a_killed_up_starts_afresh") {
        return Ok(());
    }
    let topology = topology(PAIR, Path::new("/"))?;
    let lab = Lab::up(&topology, &binaries()?)?.keep();
    let error = Lab::up(&topology, &binaries()?).expect_err("a second lab of the name").to_string();
    assert!(error.contains("is up already") && error.contains("petiole-lab down"), "{error}");
    // As an up leaves it that was killed before its end.
    let mut record = lab.record().clone();
    record.complete = false;
    StateDir::lock(&record.name)?.write(&record)?;
    let old = lab.node("a")?.pid();
    let lab = Lab::up(&topology, &binaries()?)?;
    assert_ne!(lab.node("a")?.pid(), old);
    lab.down()
}

#[test]
fn a_failing_up_takes_itself_down() -> Outcome {
    if !root("a_failing_up_takes_itself_down") {
        return Ok(());
    }
    for (broken, says) in
        [("b: { cmd: /no/such/program }", "/no/such/program"), ("b: { sysctls: { net.no.such: 1 } }", "net.no.such")]
    {
        let text = PAIR.replace("b: { exec: ['ip addr add 192.0.2.1/31 dev eth1'] }", broken);
        let topology = topology(&text, Path::new("/"))?;
        let error = format!("{:#}", Lab::up(&topology, &binaries()?).expect_err("up fails"));
        assert!(error.contains("node `b`") && error.contains(says), "{error}");
        assert_eq!(leftovers(&topology.name), Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn a_namespace_of_somebody_else_is_left_alone() -> Outcome {
    if !root("a_namespace_of_somebody_else_is_left_alone") {
        return Ok(());
    }
    let topology = topology(PAIR, Path::new("/"))?;
    let name = topology.container("b");
    assert!(Command::new("ip").args(["netns", "add", &name]).status()?.success());
    let refused = Lab::up(&topology, &binaries()?).map(drop);
    let there = Command::new("ip").args(["netns", "exec", &name, "true"]).status()?.success();
    assert!(Command::new("ip").args(["netns", "del", &name]).status()?.success());
    let error = refused.expect_err("up is refused").to_string();
    assert!(error.contains(&name), "{error}");
    assert!(there, "the namespace was taken away");
    down(&topology.name).map(drop)
}

#[test]
fn labs_of_tests_that_are_gone_are_swept() -> Outcome {
    if !root("labs_of_tests_that_are_gone_are_swept") {
        return Ok(());
    }
    let lab = up(PAIR)?.keep();
    let name = lab.record().name.clone();
    sweep()?;
    assert!(state::read(&name)?.is_some(), "a living test's lab was swept");
    let mut record = lab.record().clone();
    // A process of that number may exist; its start time never is this one.
    record.owner = Some(Identity { pid: 1, start: u64::MAX });
    StateDir::lock(&name)?.write(&record)?;
    sweep()?;
    let gone = || check(leftovers(&name).is_empty(), format!("{:?}", leftovers(&name)));
    eventually(Duration::from_secs(10), "the lab is swept, by this test or by another one", gone)
}
