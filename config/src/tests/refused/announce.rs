use super::*;

#[test]
fn announcements_that_nobody_should_make() {
    check(
        anycast,
        &[
            (
                r#""10.122.255.0/24""#,
                "3:10: `prefix` in [[announce]] is 10.122.255.0/24, which is more than one address: write the address itself with /32",
            ),
            (
                r#""fd00:122:ffff::/64""#,
                "3:10: `prefix` in [[announce]] is fd00:122:ffff::/64, which is more than one address: write the address itself with /128",
            ),
            (
                r#""10.122.255.1""#,
                r#"3:10: `prefix` in [[announce]]: "10.122.255.1" has no length: write 10.122.255.1/32 for the single address"#,
            ),
            (
                r#""10.122.255.1/24""#,
                r#"3:10: `prefix` in [[announce]] is 10.122.255.1/24, which is more than one address: write "10.122.255.1/32""#,
            ),
            (
                r#""fe80::1/128""#,
                r#"3:10: `prefix` in [[announce]] is fe80::1/128, which shares addresses with fe80::/10 (link-local): write a prefix that the fabric can route, such as "10.122.255.1/32""#,
            ),
        ],
    );
    check(
        service_range,
        &[
            (
                r#""10.123.0.1/17""#,
                "3:10: `prefix` in [[announce]]: 10.123.0.1/17 has host bits set: did you mean 10.123.0.0/17?",
            ),
            (
                r#""10.123.0.0""#,
                r#"3:10: `prefix` in [[announce]]: "10.123.0.0" has no length: write 10.123.0.0/32 for the single address"#,
            ),
            (r#""x""#, r#"3:10: `prefix` in [[announce]]: "x" is not an IP prefix such as 10.0.0.0/8 or fd00::/64"#),
            (
                r#""0.0.0.0/0""#,
                r#"3:10: `prefix` in [[announce]] is 0.0.0.0/0, a default route, which draws the whole fabric's traffic: write a prefix that the fabric can route, such as "10.122.255.1/32""#,
            ),
            (
                r#""224.0.0.0/8""#,
                r#"3:10: `prefix` in [[announce]] is 224.0.0.0/8, which shares addresses with 224.0.0.0/4 (multicast): write a prefix that the fabric can route, such as "10.122.255.1/32""#,
            ),
            (
                r#""127.0.0.0/8""#,
                r#"3:10: `prefix` in [[announce]] is 127.0.0.0/8, which shares addresses with 127.0.0.0/8 (loopback): write a prefix that the fabric can route, such as "10.122.255.1/32""#,
            ),
            (
                r#""10.0.0.0/33""#,
                "3:10: `prefix` in [[announce]]: /33 is longer than an IPv4 prefix can be (at most /32)",
            ),
            ("5", r#"3:10: `prefix` in [[announce]] is a number: write a prefix such as "10.122.255.1/32""#),
        ],
    );
    check(
        as_it_is,
        &[
            (
                r#"[[announce]]
prefix = "10.123.0.0/17"
"#,
                r#"1:1: [[announce]] needs `kind`: write kind = "anycast" or kind = "service-range""#,
            ),
            (
                r#"[[announce]]
kind = "anycast"
"#,
                r#"1:1: [[announce]] needs `prefix`: write what is announced, prefix = "10.122.255.1/32""#,
            ),
            (
                r#"[[announce]]
kind = "service_range"
prefix = "10.123.0.0/17"
"#,
                r#"2:8: there is no kind "service_range" of [[announce]]: did you mean "service-range"? The kinds are anycast and service-range"#,
            ),
            (
                r#"[[announce]]
kind = "vip"
prefix = "10.123.0.0/17"
"#,
                r#"2:8: there is no kind "vip" of [[announce]]; the kinds are anycast and service-range"#,
            ),
            (
                r#"[[announce]]
kind = 1
prefix = "10.123.0.0/17"
"#,
                r#"2:8: `kind` in [[announce]] is a number: write "anycast" or "service-range""#,
            ),
            (
                r#"[[announce]]
kind = "service-range"
prefix = "10.123.0.0/17"
[[announce]]
kind = "service-range"
prefix = "10.123.0.0/17"
"#,
                "6:10: an announcement of 10.123.0.0/17 is already in line 3: remove one of the two",
            ),
            (
                r#"[[announce]]
kind = "anycast"
prefix = "10.0.0.1/32"
[[announce]]
kind = "service-range"
prefix = "10.0.0.1/32"
"#,
                "6:10: an announcement of 10.0.0.1/32 is already in line 3: remove one of the two",
            ),
        ],
    );
}

#[test]
fn health_checks_that_cannot_decide() {
    check(
        health,
        &[
            (
                "{}",
                r#"4:10: `health` has no check: write exactly one of http = "http://127.0.0.1:10256/healthz", tcp = "127.0.0.1:6443" and command = ["/usr/local/bin/check"]"#,
            ),
            (
                r#"{ interval = "1s" }"#,
                r#"4:10: `health` has no check: write exactly one of http = "http://127.0.0.1:10256/healthz", tcp = "127.0.0.1:6443" and command = ["/usr/local/bin/check"]"#,
            ),
            (
                r#"{ http = "http://127.0.0.1/", tcp = "127.0.0.1:80" }"#,
                r#"4:46: `health` has `http` and `tcp`: write exactly one of http = "http://127.0.0.1:10256/healthz", tcp = "127.0.0.1:6443" and command = ["/usr/local/bin/check"]"#,
            ),
            (
                r#"{ http = "http://127.0.0.1/", tcp = "127.0.0.1:80", command = ["/bin/true"] }"#,
                r#"4:46: `health` has `http` and `tcp` and `command`: write exactly one of http = "http://127.0.0.1:10256/healthz", tcp = "127.0.0.1:6443" and command = ["/usr/local/bin/check"]"#,
            ),
            (
                r#"{ http = "https://127.0.0.1:6443/readyz" }"#,
                r#"4:19: "https://127.0.0.1:6443/readyz" is https, but `health` has no `ca`: write ca = "/etc/kubernetes/pki/ca.crt", or insecure = true to take any certificate"#,
            ),
            (
                r#"{ http = "https://127.0.0.1:6443/readyz", ca = "/ca", insecure = true }"#,
                "4:75: `health` has both `ca` and insecure = true: keep `ca` to verify the certificate, or `insecure` to take any",
            ),
            (
                r#"{ http = "http://127.0.0.1/", ca = "/ca" }"#,
                r#"4:45: `ca` in health is for https, but "http://127.0.0.1/" is http: write https, or remove `ca`"#,
            ),
            (
                r#"{ http = "http://127.0.0.1/", insecure = true }"#,
                r#"4:51: `insecure` in health is for https, but "http://127.0.0.1/" is http: write https, or remove `insecure`"#,
            ),
            (
                r#"{ http = "https://127.0.0.1/", ca = "ca.crt" }"#,
                r#"4:46: `ca` in health is "ca.crt", which depends on where the agent was started: write an absolute path such as "/etc/kubernetes/pki/ca.crt""#,
            ),
            (
                r#"{ http = "127.0.0.1:10256/healthz" }"#,
                r#"4:19: `http` in health is "127.0.0.1:10256/healthz": the scheme is missing; write "http://127.0.0.1:10256/healthz""#,
            ),
            (
                r#"{ http = "http://" }"#,
                r#"4:19: `http` in health is "http://": the host is missing or has characters that no name has; write one such as "http://127.0.0.1:10256/healthz""#,
            ),
            (
                r#"{ http = "http://127.0.0.1:99999/" }"#,
                r#"4:19: `http` in health is "http://127.0.0.1:99999/": the port must be from 1 to 65535; write one such as "http://127.0.0.1:10256/healthz""#,
            ),
            (
                r#"{ http = "http://127.0.0.1/a b" }"#,
                r#"4:19: `http` in health is "http://127.0.0.1/a b": a URL has no spaces, control or non-ASCII characters; write one such as "http://127.0.0.1:10256/healthz""#,
            ),
            (
                r#"{ http = "http://127.0.0.1/#x" }"#,
                r#"4:19: `http` in health is "http://127.0.0.1/#x": a fragment (#) is never sent; write one such as "http://127.0.0.1:10256/healthz""#,
            ),
            (
                "{ http = 5 }",
                r#"4:19: `http` in health is a number: write a URL such as "https://127.0.0.1:6443/readyz""#,
            ),
            (
                r#"{ tcp = "127.0.0.1" }"#,
                r#"4:18: `tcp` in health is "127.0.0.1", which is no address with a port: write "127.0.0.1:6443""#,
            ),
            (
                r#"{ tcp = "::1" }"#,
                r#"4:18: `tcp` in health is "::1", which is no address with a port: write "[::1]:6443""#,
            ),
            (
                r#"{ tcp = "localhost:6443" }"#,
                r#"4:18: `tcp` in health is "localhost:6443", which is no address with a port: write an address, not a name, such as "127.0.0.1:6443""#,
            ),
            (
                r#"{ tcp = ":6443" }"#,
                r#"4:18: `tcp` in health is ":6443", which is no address with a port: write "127.0.0.1:6443", or "[::]:6443" for every address"#,
            ),
            (
                r#"{ tcp = "127.0.0.1:0" }"#,
                r#"4:18: `tcp` in health is "127.0.0.1:0", which is no address with a port: write "127.0.0.1:6443""#,
            ),
            (r#"{ tcp = "127.0.0.1:80", ca = "/ca" }"#, "4:39: `ca` in health is for `http` checks only: remove it"),
            (
                r#"{ tcp = "127.0.0.1:80", insecure = true }"#,
                "4:45: `insecure` in health is for `http` checks only: remove it",
            ),
            (
                "{ command = [] }",
                r#"4:22: `command` in health is empty: write the absolute path and the arguments, such as ["/usr/local/bin/check", "--quick"]"#,
            ),
            (
                r#"{ command = ["check"] }"#,
                r#"4:22: `command` in health does not start with an absolute path, and no shell looks for it: write the absolute path and the arguments, such as ["/usr/local/bin/check", "--quick"]"#,
            ),
            (
                r#"{ command = ["/bin/check", 5] }"#,
                r#"4:37: `command` in health is a number: write strings, such as ["/usr/local/bin/check", "--quick"]"#,
            ),
            (
                r#"{ command = ["/bin/check", "\u0000"] }"#,
                r#"4:22: `command` in health has a NUL character, which no argument can carry: write the absolute path and the arguments, such as ["/usr/local/bin/check", "--quick"]"#,
            ),
            (
                r#"{ tcp = "127.0.0.1:80", interval = "9ms" }"#,
                r#"4:45: `interval` in health is 9ms: write "10ms" to "1h""#,
            ),
            (
                r#"{ tcp = "127.0.0.1:80", interval = "61m" }"#,
                r#"4:45: `interval` in health is 61m: write "10ms" to "1h""#,
            ),
            (
                r#"{ tcp = "127.0.0.1:80", interval = "2h" }"#,
                r#"4:45: `interval` in health is 2h: write "10ms" to "1h""#,
            ),
            (
                r#"{ tcp = "127.0.0.1:80", timeout = "0s" }"#,
                r#"4:44: `timeout` in health is 0s: write "1ms" to the interval"#,
            ),
            (
                r#"{ tcp = "127.0.0.1:80", interval = "1s", timeout = "1500ms" }"#,
                "4:61: `timeout` is 1500ms but `interval` is 1s, so probes would overlap: write a timeout of at most 1s",
            ),
            (r#"{ tcp = "127.0.0.1:80", rise = 0 }"#, "4:41: `rise` in health is 0: write a number from 1 to 1000"),
            (r#"{ tcp = "127.0.0.1:80", fall = 0 }"#, "4:41: `fall` in health is 0: write a number from 1 to 1000"),
            (r#"{ tcp = "127.0.0.1:80", fall = -1 }"#, "4:41: `fall` in health is -1: write a number from 1 to 1000"),
            (
                r#"{ tcp = "127.0.0.1:80", fall = 1001 }"#,
                "4:41: `fall` in health is 1001: write a number from 1 to 1000",
            ),
        ],
    );
}
