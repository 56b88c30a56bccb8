use super::*;

#[test]
fn limits_that_cannot_be() {
    check(
        peer,
        &[
            ("max_prefix = 10", "8:14: max_prefix is a number: write it as { limit = 10000, action = \"warn\" }"),
            (
                "max_prefix = { action = \"idle\" }",
                "8:14: max_prefix needs `limit`: write the most prefixes of one family, limit = 10000",
            ),
            ("max_prefix = { limit = 0 }", "8:24: `limit` in max_prefix is 0: write a number from 1 to 4294967295"),
            (
                "max_prefix = { limit = 9, warn_at = 101 }",
                "8:37: `warn_at` in max_prefix is 101: write a number from 1 to 100",
            ),
            (
                "max_prefix = { limit = 9, action = \"restrat\" }",
                "8:36: there is no action \"restrat\" of max_prefix: did you mean \"restart\"? The actions are warn, restart and idle",
            ),
            (
                "max_prefix = { limit = 9, action = \"idle\", restart_after = \"60s\" }",
                "8:60: `restart_after` is for action = \"restart\", but the action is \"idle\": remove it, or write action = \"restart\"",
            ),
            (
                "max_prefix = { limit = 9, action = \"restart\", restart_after = \"0s\" }",
                "8:63: `restart_after` in max_prefix is 0s: write \"1s\" to \"24h\"",
            ),
            (
                "max_prefix = { limit = 9, actoin = \"restart\" }",
                "8:27: max_prefix has no key \"actoin\": did you mean \"action\"? Its keys are limit, action, warn_at, restart_after",
            ),
            (
                "send_hold_time = \"9s\"",
                "8:18: `send_hold_time` is 9s, no longer than the hold time of 9s: write more, such as \"8m\", or \"0s\" to wait for ever",
            ),
            ("delay_open = \"5m\"", "8:14: `delay_open` in [[bgp.peer]] is 5m: write \"0s\" to \"4m\""),
        ],
    );
}

#[test]
fn bfd_that_cannot_be() {
    check(
        peer,
        &[
            ("bfd = true", "8:7: bfd is a boolean: write it as { interval = \"100ms\", multiplier = 3 }"),
            ("bfd = { interval = \"9ms\" }", "8:20: `interval` in bfd is 9ms: write \"10ms\" to \"60s\""),
            ("bfd = { interval = \"2m\" }", "8:20: `interval` in bfd is 2m: write \"10ms\" to \"60s\""),
            ("bfd = { multiplier = 0 }", "8:22: `multiplier` in bfd is 0: write a number from 1 to 255"),
            (
                "bfd = { stric = true }",
                "8:9: bfd has no key \"stric\": did you mean \"strict\"? Its keys are interval, multiplier, strict",
            ),
        ],
    );
}

#[test]
fn communities_that_cannot_be() {
    let what = "a community is 65000:1, 65000:1:2 (large), rt:65000:1 or soo:65000:1 (extended), 0x and 16 hexadecimal digits, or a name such as no-export";
    let say =
        |place: &str, section: &str, text: &str| format!("{place}: `communities` in {section} has {text}: {what}");
    check(
        peer,
        &[
            (r#"communities = ["65000:1", "70000:1"]"#, &say("8:27", "[[bgp.peer]]", "\"70000:1\"")),
            (
                r#"communities = "65000:1""#,
                r#"8:15: `communities` in [[bgp.peer]] is a string: write a list such as ["65000:1", "65000:1:2", "rt:65000:1"]"#,
            ),
            (
                r#"communities = ["graceful-shutdown"]"#,
                "8:16: `communities` in [[bgp.peer]] has GRACEFUL_SHUTDOWN (65535:0, RFC 8326), with which leaves avoid this node for ever: remove it, and say `petiole drain` when the node is to go",
            ),
        ],
    );
    check(as_it_is, &[("[bgp]\nasn = 65010\ncommunities = [\"x\"]", &say("3:16", "[bgp]", "\"x\""))]);
    check(
        |line| service_range(&format!("\"10.123.0.0/17\"\n{line}")),
        &[("communities = [\"rt:1\"]", &say("4:16", "[[announce]]", "\"rt:1\""))],
    );
    let many: Vec<String> = (0..65).map(|n| format!("\"65000:{n}\"")).collect();
    check(
        peer,
        &[(
            &format!("communities = [{}]", many.join(", ")),
            "8:15: `communities` in [[bgp.peer]] has 65: write 64 at most, so that a message has room for prefixes",
        )],
    );
}

#[test]
fn roles_that_a_node_does_not_have() {
    let say = |text: &str| {
        format!(
            "8:8: `role` in [[bgp.peer]] is {text}: a node is a leaf's customer, or the client of a route server, so write \"customer\", \"rs-client\", or false to say nothing (RFC 9234)"
        )
    };
    check(
        peer,
        &[
            ("role = \"provider\"", &say("\"provider\"")),
            ("role = true", &say("true")),
            ("role = 3", "8:8: `role` in [[bgp.peer]] is a number: write true or false"),
        ],
    );
}
