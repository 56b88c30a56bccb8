//! The words of a topology, one meaning each.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const HEAD: &str = "name: t\ntopology:\n  defaults: { kind: linux, image: i, network-mode: none }\n";

fn parse(body: &str) -> Result<Topology, TopologyError> {
    Topology::parse(&format!("{HEAD}{body}"), Path::new("/"), None, &|_| None)
}

fn node(body: &str) -> Node {
    parse(body).expect("a topology").nodes.remove("a").expect("node a")
}

/// The error's text, which has to name the field.
fn refused(body: &str) -> String {
    parse(body).expect_err("refused").to_string()
}

#[test]
fn node_wins_over_group_over_kind_over_defaults() {
    let levels = |node: &str, group: &str, kind: &str| {
        format!(
            "  groups: {{ g: {{ {group} }} }}\n  kinds: {{ linux: {{ group: g, {kind} }} }}\n  nodes: {{ a: {{ {node} }} }}\n"
        )
    };
    let cmd = |text: &str| node(text).argv;
    assert_eq!(cmd(&levels("cmd: n", "cmd: g", "cmd: k")), ["n"]);
    assert_eq!(cmd(&levels("", "cmd: g", "cmd: k")), ["g"]);
    assert_eq!(cmd(&levels("", "", "cmd: k")), ["k"]);
    assert_eq!(cmd(&levels("", "", "")), ["sleep", "infinity"]);
    let merged = node(&levels("env: { A: n }", "env: { A: g, B: g }", "env: { B: k, C: 3 }"));
    let merged: Vec<_> = merged.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(merged, ["A=n", "B=g", "C=3"]);
    let added = node(&levels("exec: [n]", "exec: [g]", "exec: [k]"));
    assert_eq!(added.exec, [["k"], ["g"], ["n"]]);
}

#[test]
fn a_nearer_bind_takes_the_target() {
    let node =
        node("  kinds: { linux: { binds: ['/etc:/x', '/usr:/y:ro'] } }\n  nodes: { a: { binds: ['/tmp:/x'] } }\n");
    let binds: Vec<_> = node.binds.iter().map(|b| (b.source.to_str(), b.target.to_str(), b.read_only)).collect();
    assert_eq!(binds, [(Some("/usr"), Some("/y"), true), (Some("/tmp"), Some("/x"), false)]);
}

#[test]
fn words_are_split_as_a_shell_quotes_them() {
    let node =
        node("  nodes: { a: { entrypoint: 'sh -c', cmd: '\"echo $X > y\"', exec: [\"ip addr add 'a b' dev c\"] } }\n");
    assert_eq!(node.argv, ["sh", "-c", "echo $X > y"]);
    assert_eq!(node.exec, [["ip", "addr", "add", "a b", "dev", "c"]]);
}

#[test]
fn magic_variables() {
    let node = node("  nodes: { a: { exec: ['echo __clabNodeName__ __clabLabName__ __clabDir__'] } }\n");
    assert_eq!(node.exec, [["echo", "a", "clab-t", "/clab-t"]]);
    let text = refused("  nodes: { a: { binds: ['__clabNodeDir__:/x'] } }\n");
    assert!(text.contains("topology.nodes.a.binds") && text.contains("__clabNodeDir__"), "{text}");
    let text = refused("  nodes: { a: { binds: ['__clabLabName__:/x'] } }\n");
    assert!(text.contains("__clabLabName__"), "{text}");
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    for (body, names) in [
        ("  nodes: { a: { ports: ['80:80'] } }\n", ["ports", "topology.nodes.a"]),
        ("  nodes: { a: { startup-delay: 3 } }\n", ["startup-delay", "topology.nodes.a"]),
        ("  nodes: { a: { healthcheck: {} } }\n", ["healthcheck", "line 4"]),
        ("  kinds: { linux: { user: nobody } }\n  nodes: { a: {} }\n", ["user", "topology.kinds.linux"]),
        ("  nodes: { a: { network-mode: host } }\n", ["topology.nodes.a.network-mode", "host"]),
        ("  nodes: { a: { restart-policy: always } }\n", ["topology.nodes.a.restart-policy", "always"]),
        ("  nodes: { a: { privileged: false } }\n", ["topology.nodes.a.privileged", "false"]),
        ("  nodes: { a: { image-pull-policy: Always } }\n", ["topology.nodes.a.image-pull-policy", "Always"]),
        ("  nodes: { a: { kind: bridge } }\n", ["topology.nodes.a.kind", "bridge"]),
        ("  nodes: { a: { sysctls: { kernel.shmmax: 1 } } }\n", ["topology.nodes.a.sysctls", "kernel.shmmax"]),
        ("  nodes: { a: { sysctls: { net...kernel: 1 } } }\n", ["topology.nodes.a.sysctls", "net...kernel"]),
        ("  nodes: { a: { binds: ['/etc'] } }\n", ["topology.nodes.a.binds", "/etc"]),
        ("  nodes: { a: { binds: ['/etc:/x:z'] } }\n", ["topology.nodes.a.binds", "`z`"]),
        ("  nodes: { a: { binds: ['/none/such:/x'] } }\n", ["topology.nodes.a.binds", "/none/such"]),
        ("  nodes: { a: { exec: ['echo \"x'] } }\n", ["topology.nodes.a.exec", "echo"]),
        ("  nodes: { a: { exec: 'echo' } }\n", ["topology.nodes.a.exec", "sequence"]),
        ("  nodes: { a: {} }\n  links: [{ endpoints: ['a:eth1', 'b:eth1'] }]\n", ["topology.links[0]", "`b`"]),
        ("  nodes: { a: {} }\n  links: [{ endpoints: ['a:eth1', 'a:eth1'] }]\n", ["topology.links[0]", "twice"]),
        ("  nodes: { a: {} }\n  links: [{ endpoints: ['a:eth1', 'host:x'] }]\n", ["topology.links[0]", "host:x"]),
        ("  nodes: { a: {} }\n  links: [{ endpoints: ['a:eth1'] }]\n", ["topology.links[0]", "two"]),
        ("  nodes: { a: {} }\n  links: [{ endpoints: ['a:a234567890123456', 'a:x'] }]\n", ["topology.links[0]", "15"]),
        ("  nodes: { a: {} }\n  links: [{ type: dummy, endpoints: [] }]\n", ["topology.links[0].type", "dummy"]),
        ("  nodes: { a: {} }\n  links: [{ endpoints: ['a:x', 'a:y'], ipv4: [] }]\n", ["topology.links[0]", "ipv4"]),
        ("  nodes: { a: {} }\n  links: [{ endpoints: ['a:x', 'a:y'], mtu: 9 }]\n", ["topology.links[0].mtu", "9"]),
        ("  nodes: { a/b: {} }\n", ["topology.nodes.a/b", "not a name"]),
    ] {
        let text = refused(body);
        for name in names {
            assert!(text.contains(name), "{body}: does not say {name}: {text}");
        }
    }
    let text = Topology::parse("name: t\nx-mine: 1\ntopology: { nodes: { a: {} } }\n", Path::new("/"), None, &|_| None);
    let text = text.expect_err("refused").to_string();
    assert!(text.contains("x-mine"), "{text}");
    let text = parse("  nodes: { a: { kind: linux } }\n").map(drop);
    assert!(text.is_ok(), "{text:?}");
}

#[test]
fn no_network_mode_and_no_kind_are_refused() {
    let parse = |defaults: &str| {
        let text = format!("name: t\ntopology: {{ defaults: {{ {defaults} }}, nodes: {{ a: {{}} }} }}\n");
        Topology::parse(&text, Path::new("/"), None, &|_| None).expect_err("refused").to_string()
    };
    assert!(parse("kind: linux, image: i").contains("network-mode: none"));
    assert!(parse("network-mode: none, image: i").contains("topology.nodes.a.kind"));
    assert!(parse("kind: linux, network-mode: none").contains("topology.nodes.a.image"));
}

#[test]
fn links_have_containerlabs_mtu_unless_told() {
    let topology = parse(
        "  nodes: { a: {}, b: {} }\n  links:\n  - endpoints: ['a:eth1', 'b:eth1']\n  - { endpoints: ['a:eth2', 'b:eth2'], mtu: 1500 }\n  - { type: veth, endpoints: [{ node: a, interface: e, mac: 'aa:bb:cc:dd:ee:ff' }, { node: b, interface: e }] }\n",
    )
    .expect("a topology");
    let mtu: Vec<_> = topology.links.iter().map(|link| link.mtu).collect();
    assert_eq!(mtu, [9500, 1500, 9500]);
    assert_eq!(topology.links[2].a.mac.as_deref(), Some("aa:bb:cc:dd:ee:ff"));
}

#[test]
fn names_and_prefixes() {
    let container = |head: &str, name: Option<&str>| {
        let text = format!("{head}\ntopology: {{ nodes: {{ a: {{ kind: linux, image: i, network-mode: none }} }} }}\n");
        Topology::parse(&text, Path::new("/"), name, &|_| None).expect("a topology").container("a")
    };
    assert_eq!(container("name: t", None), "clab-t-a");
    assert_eq!(container("name: t", Some("u")), "clab-u-a");
    assert_eq!(container("name: t\nprefix: ''", None), "a");
    assert_eq!(container("name: t\nprefix: __lab-name", None), "t-a");
    assert_eq!(container("name: t\nprefix: p", None), "p-t-a");
}

#[test]
fn variables() {
    let lookup = |name: &str| match name {
        "SET" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    for (text, expected) in [
        ("a ${SET} b", "a value b"),
        ("${SET:=x}${SET:-x}", "valuevalue"),
        ("${UNSET:=x y}", "x y"),
        ("${UNSET:-}", ""),
        ("${EMPTY:=x}", "x"),
        ("${UNSET}", "${UNSET}"),
        ("cost: $5 {a}", "cost: $5 {a}"),
    ] {
        assert_eq!(expand(text, &lookup).expect(text), expected, "{text}");
    }
    for text in ["${SET:?x}", "${SET", "${}", "\n\n{{ .Name }}"] {
        let error = expand(text, &lookup).expect_err(text).to_string();
        assert!(error.contains(if text.contains('.') { "line 3" } else { "line 1" }), "{error}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\PC|\n|\\$\\{|\\{\\{|[:=\\-} ]){0,60}") {
        let _either = expand(&text, &|_| Some("x".to_owned()));
        let _either = parse(&text);
    }

    #[test]
    fn any_value_is_read_or_refused(field in "[a-z-]{1,12}", value in "[a-z:/\\[\\]{}'\" ]{0,20}") {
        let _either = parse(&format!("  nodes: {{ a: {{ {field}: {value} }} }}\n"));
        let _either = parse(&format!("  nodes: {{ a: {{}} }}\n  links: [{{ {field}: {value} }}]\n"));
    }
}
