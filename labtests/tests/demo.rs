//! The demo as a stranger runs it, and what is left of it when it is told to stop.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use petiole_labtests::{Signal, check, eventually, fabric, procs, state};

const PROGRAM: &str = env!("CARGO_BIN_EXE_petiole-lab");

fn start(name: &str) -> std::io::Result<Child> {
    let mut command = Command::new(PROGRAM);
    command.args(["demo", "--name", name]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn()
}

fn texts(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn assert_nothing_left(name: &str) {
    assert!(!state::dir(name).exists(), "the lab's state is left");
    let namespaces = std::fs::read_dir("/run/netns").into_iter().flatten().filter_map(Result::ok);
    let left: Vec<String> =
        namespaces.filter_map(|entry| entry.file_name().into_string().ok()).filter(|n| n.contains(name)).collect();
    assert!(left.is_empty(), "namespaces are left: {left:?}");
    let processes = procs::Belonging::marked(Path::new(&state::dir(name))).find();
    assert!(processes.is_empty(), "processes are left: {processes:?}");
}

#[test]
fn the_demo_observes_everything_and_leaves_nothing() {
    let name = fabric::unique_name("demo");
    let output = start(&name).unwrap().wait_with_output().unwrap();
    let [screen, progress] = texts(&output);
    assert!(output.status.success(), "{}\n{screen}\n{progress}", output.status);
    for line in [
        "└─✓ worker4 (eth2)",
        "✓ 10.122.255.1/32         leaf1→master1  leaf2→master2  leaf3→master3      kernel: 3 next hops",
        "✓ fd00:122:ffff::1/128    leaf1→master1  leaf2→master2  leaf3→master3      kernel: 3 next hops",
        "✓ 10.123.0.0/17           leaf3→ingress1  leaf4→ingress2                   kernel: 2 next hops",
        "✓ fd00:123::/112          leaf3→ingress1  leaf4→ingress2                   kernel: 2 next hops",
        "✓ 10.123.79.211:80        12 of 12 connections answered",
        "✓ [fd00:123::4fd3]:80     12 of 12 connections answered",
        "observations hold",
    ] {
        assert!(screen.contains(line), "no `{line}` in\n{screen}");
    }
    assert!(!screen.contains('✗') && !screen.contains('\x1b'), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 110), "{screen}");
    assert!(progress.contains("32 of 32 pairs") && !progress.contains('\r'), "{progress}");
    assert_nothing_left(&name);
}

#[test]
fn a_demo_that_is_told_to_stop_leaves_nothing() {
    let name = fabric::unique_name("demostop");
    let child = start(&name).unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    eventually(Duration::from_secs(30), "the lab is coming up", || {
        check(state::dir(&name).join("lab.json").exists(), "no record")
    })
    .unwrap();
    procs::signal(pid, Signal::INT);
    let output = child.wait_with_output().unwrap();
    let [screen, progress] = texts(&output);
    assert_eq!(output.status.code(), Some(130), "{screen}\n{progress}");
    assert!(progress.contains("stopped by signal 2"), "{progress}");
    assert_eq!(screen, "");
    assert_nothing_left(&name);
}
