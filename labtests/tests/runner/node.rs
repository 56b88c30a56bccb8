//! What a node is, seen from inside.

use std::time::Duration;

use petiole_labtests::{Lab, Netns, Signal, check, eventually};

use crate::support::{Outcome, PAIR, binaries, root, topology, up};

#[test]
fn a_node_has_what_the_file_says() -> Outcome {
    if !root("a_node_has_what_the_file_says") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("one"), "bound\n")?;
    std::fs::create_dir_all(folder.path().join("nodes/a"))?;
    std::fs::write(folder.path().join("nodes/a/two"), "of a\n")?;
    let text = "
name: full
topology:
  defaults: { kind: linux, image: any, network-mode: none }
  nodes:
    a:
      hostname: alpha
      cmd: sh -c 'echo $PPID >/run/first; exec sleep infinity'
      env: { COLOUR: green }
      sysctls: { net.ipv4.ip_forward: 1, net.ipv4.conf.all.rp_filter: 2 }
      binds:
        - one:/etc/deep/er/one:ro
        - nodes/__clabNodeName__:/var/run/mine
      exec:
        - false
        - sh -c 'echo \"$COLOUR $0\" >/run/exec' __clabNodeName__
        - touch /run/and > /run/not
    b: {}
  links:
    - { endpoints: ['a:eth1', 'b:eth1'], mtu: 1400 }
";
    let lab = Lab::up(&topology(text, folder.path())?, &binaries()?)?;
    let a = lab.node("a")?;
    assert_eq!(a.exec(&["hostname"])?, "alpha\n");
    eventually(Duration::from_secs(5), "PID 1 is what cmd says", || {
        let comm = a.read("/proc/1/comm").map_err(|error| format!("{error:#}"))?;
        check(comm == "sleep\n", comm)
    })?;
    assert_eq!(a.read("/run/first")?, "0\n", "PID 1 has no parent");
    assert_eq!(a.exec(&["printenv", "COLOUR"])?, "green\n");
    assert_eq!(a.read("/proc/sys/net/ipv4/ip_forward")?, "1\n");
    assert_eq!(a.read("/proc/sys/net/ipv4/conf/all/rp_filter")?, "2\n");
    assert_eq!(a.read("/etc/deep/er/one")?, "bound\n");
    assert!(a.sh("echo x >/etc/deep/er/one").is_err(), "a bind with ro cannot be written");
    assert_eq!(a.read("/run/mine/two")?, "of a\n");
    assert_eq!(a.read("/run/exec")?, "green a\n");
    assert!(a.read("/run/>").is_err() && a.read("/run/not").is_ok(), "exec has words, no shell");
    assert!(a.console().contains("`false`"), "a failing exec line is noted: {}", a.console());
    let link = &a.ip_json(&["link", "show", "eth1"])?[0];
    assert_eq!((&link["mtu"], &link["operstate"]), (&1400.into(), &"UP".into()));
    assert!(link["address"].as_str().is_some_and(|mac| mac.starts_with("aa:c1:ab:")), "{link}");
    assert!(a.ip_json(&["route", "show", "default"])?.as_array().is_some_and(Vec::is_empty));
    // What a node writes, the host never sees.
    a.write("/usr/local/written", "x")?;
    a.write("/etc/petiole/written", "x")?;
    for path in ["/usr/local/written", "/etc/petiole/written", "/etc/deep", "/run/first"] {
        assert!(!std::path::Path::new(path).exists(), "{path} reached the host");
    }
    assert!(lab.node("b")?.read("/usr/local/written").is_err(), "two nodes share a file");
    lab.down()
}

#[test]
fn a_node_ends_with_its_pid_1() -> Outcome {
    if !root("a_node_ends_with_its_pid_1") {
        return Ok(());
    }
    let lab = up(PAIR)?;
    let (a, b) = (lab.node("a")?, lab.node("b")?);
    let mut other = a.spawn(&["sleep", "infinity"])?;
    let pid1 = a.pid().expect("a runs");
    assert_eq!(a.exec(&["sh", "-c", "kill -KILL 1; echo kept"])?, "kept\n", "PID 1 is not killed from inside");
    petiole_labtests::procs::signal(pid1, Signal::KILL);
    other.wait()?;
    let gone = || check(a.pid().is_none(), "a runs");
    eventually(Duration::from_secs(5), "a is gone", gone)?;
    assert!(a.exec(&["true"]).is_err());
    assert_eq!(b.exec(&["echo", "here"])?, "here\n");
    lab.down()
}

#[test]
fn two_labs_of_one_file_do_not_meet() -> Outcome {
    if !root("two_labs_of_one_file_do_not_meet") {
        return Ok(());
    }
    let (one, two) = (up(PAIR)?, up(PAIR)?);
    let mut listeners = Vec::new();
    for lab in [&one, &two] {
        let a = lab.node("a")?;
        a.write("/tmp/file", lab.record().name.as_str())?;
        listeners.push(a.spawn(&["socat", "ABSTRACT-LISTEN:same", "EXEC:hostname"])?);
        eventually(Duration::from_secs(5), "the abstract socket is there", || {
            check(a.read("/proc/net/unix").is_ok_and(|sockets| sockets.contains("@same")), "absent")
        })?;
        a.ping("192.0.2.1", 1400, 1)?;
    }
    for lab in [&one, &two] {
        assert_eq!(lab.node("a")?.read("/tmp/file")?, lab.record().name);
    }
    one.down()?;
    two.node("a")?.ping("192.0.2.1", 1400, 1)?;
    assert!(two.node("a")?.ping("192.0.2.1", 1401, 1).is_err(), "the link takes more than its MTU");
    drop(listeners);
    two.down()
}

#[test]
fn services_are_killed_and_started_by_name() -> Outcome {
    if !root("services_are_killed_and_started_by_name") {
        return Ok(());
    }
    let folder = petiole_labtests::fabric::topology_file();
    let folder = folder.parent().expect("a folder").canonicalize()?;
    let text = "
name: services
topology:
  nodes:
    a:
      { kind: linux, image: any, network-mode: none, env: { HEALTH_LISTEN: '127.0.0.1:6443' },
        cmd: /usr/local/lib/lab/init.sh echo health, binds: ['init.sh:/usr/local/lib/lab/init.sh:ro'] }
";
    let lab = Lab::up(&topology(text, &folder)?, &binaries()?)?;
    let a = lab.node("a")?;
    let greeting = || {
        let said = a.exec(&["socat", "-T2", "-", "TCP:127.0.0.1:80"]).map_err(|error| format!("{error:#}"))?;
        check(said == "a 127.0.0.1\n", said)
    };
    let within = Duration::from_secs(10);
    eventually(within, "echo answers with the node's name", greeting)?;
    a.stop("echo", Signal::KILL)?;
    assert!(greeting().is_err() && a.service("echo").is_none(), "a killed service stays dead");
    let defunct = a.exec(&["ps", "-eo", "stat,comm"])?;
    assert!(!defunct.lines().any(|line| line.starts_with('Z')), "PID 1 reaps: {defunct}");
    a.start("echo")?;
    eventually(within, "echo answers again", greeting)?;

    let status = |expected: &str| {
        let said = a.exec(&["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:6443/readyz"]);
        let said = said.map_err(|error| format!("{error:#}"))?;
        check(said == expected, said)
    };
    eventually(within, "health answers", || status("200"))?;
    a.health(false)?;
    status("503").map_err(anyhow::Error::msg)?;
    a.health(true)?;
    status("200").map_err(anyhow::Error::msg)?;
    lab.down()
}

#[test]
fn bare_namespaces() -> Outcome {
    if !root("bare_namespaces") {
        return Ok(());
    }
    let (one, two) = (Netns::bare("runner")?, Netns::bare("runner")?);
    one.connect("eth0", &two, "eth0", 1500)?;
    for (netns, address) in [(&one, "192.0.2.0/31"), (&two, "192.0.2.1/31")] {
        netns.exec(&["ip", "addr", "add", address, "dev", "eth0"])?;
    }
    one.exec(&["ping", "-c1", "-W1", "192.0.2.1"])?;
    let _sleeper = one.command(&["sleep", "infinity"]).spawn()?;
    let name = one.name().to_owned();
    drop(one);
    assert!(!std::path::Path::new("/run/netns").join(name).exists());
    Ok(())
}
