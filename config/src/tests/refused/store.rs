use super::*;

#[test]
fn stores_that_cannot_be_reached_or_trusted() {
    check(
        as_it_is,
        &[
            (
                r#"[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#,
                r#"3:1: there are peers but no [store]: with a store of its own this node could claim a block that another node owns; write [store] with etcd = { endpoints = ["http://10.122.0.1:2379"] }, or embedded = "/var/lib/petiole/store" if no other node shares these pools"#,
            ),
            (
                r#"[store]
[bgp]
asn = 4200000011
[[bgp.peer]]
address = "10.122.101.0"
asn = 65001
"#,
                r#"1:1: there are peers but no [store]: with a store of its own this node could claim a block that another node owns; write [store] with etcd = { endpoints = ["http://10.122.0.1:2379"] }, or embedded = "/var/lib/petiole/store" if no other node shares these pools"#,
            ),
            (
                r#"[store]
etcd = { endpoints = ["http://10.0.0.1:2379"] }
embedded = "/s"
"#,
                "3:12: [store] has both `etcd` and `embedded`: keep `etcd` for a cluster, or `embedded` for a node that shares its pools with nobody",
            ),
            (
                r#"[store]
embedded = "store"
"#,
                r#"2:12: `embedded` in [store] is "store", which depends on where the agent was started: write an absolute path such as "/var/lib/petiole/store""#,
            ),
        ],
    );
    check(
        etcd,
        &[
            ("{}", r#"2:8: [store] etcd needs `endpoints`: write endpoints = ["http://10.122.0.1:2379"]"#),
            (
                "{ endpoints = [] }",
                r#"2:22: `endpoints` is empty: write at least one, such as "http://10.122.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["10.0.0.1:2379"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "10.0.0.1:2379": the scheme is missing; write "http://10.0.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["etcd1"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "etcd1": the scheme is missing; write one such as "http://10.122.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["ftp://10.0.0.1:2379"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "ftp://10.0.0.1:2379": the scheme must be http or https; write one such as "http://10.122.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["http://10.0.0.1"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "http://10.0.0.1": the port is missing; write "http://10.0.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["https://etcd1/"], ca = "/ca" }"#,
                r#"2:23: `endpoints` in [store] etcd is "https://etcd1/": the port is missing; write "https://etcd1:2379""#,
            ),
            (
                r#"{ endpoints = ["http://10.0.0.1:2379/v3"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "http://10.0.0.1:2379/v3": an endpoint has no path; write one such as "http://10.122.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["http://10.0.0.1:2379", "http://10.0.0.1:2379/"] }"#,
                r#"2:47: endpoint "http://10.0.0.1:2379" is already in line 2: remove one of the two"#,
            ),
            (
                r#"{ endpoints = ["https://10.0.0.1:2379"] }"#,
                r#"2:23: "https://10.0.0.1:2379" is https, but [store] etcd has no `ca`: write ca = "/etc/petiole/etcd-ca.pem", the file that signed etcd's certificate"#,
            ),
            (
                r#"{ endpoints = ["https://10.0.0.1:2379"], ca = "/ca", cert = "/c" }"#,
                "2:68: `cert` in [store] etcd needs `key`: a client certificate is two files, write both or none",
            ),
            (
                r#"{ endpoints = ["https://10.0.0.1:2379"], ca = "/ca", key = "/k" }"#,
                "2:67: `key` in [store] etcd needs `cert`: a client certificate is two files, write both or none",
            ),
            (
                r#"{ endpoints = ["http://10.0.0.1:2379"], user = "petiole" }"#,
                "2:55: `user` in [store] etcd needs `password_file`: a login is a name and the file of its password, write both; a client certificate that stands for an etcd user needs neither",
            ),
            (
                r#"{ endpoints = ["http://10.0.0.1:2379"], password_file = "/p" }"#,
                "2:64: `password_file` in [store] etcd needs `user`: a login is a name and the file of its password, write both; a client certificate that stands for an etcd user needs neither",
            ),
            (
                r#"{ endpoints = ["http://10.0.0.1:2379"], user = "", password_file = "/p" }"#,
                "2:55: `user` in [store] etcd is empty: write the name of an etcd user, or take `user` and `password_file` out",
            ),
            (
                r#"{ endpoints = ["http://10.0.0.1:2379"], user = "petiole", password_file = "etcd.password" }"#,
                r#"2:82: `password_file` in [store] etcd is "etcd.password", which depends on where the agent was started: write an absolute path such as "/etc/petiole/etcd.password""#,
            ),
            (
                r#"{ endpoints = ["http://10.0.0.1:2379"], ca = "/ca" }"#,
                r#"2:53: `ca` in [store] etcd is for https, but "http://10.0.0.1:2379" is http: write https, or remove `ca`"#,
            ),
            (
                r#"{ endpoints = ["https://10.0.0.1:2379"], ca = "etcd.pem" }"#,
                r#"2:54: `ca` in [store] etcd is "etcd.pem", which depends on where the agent was started: write an absolute path such as "/etc/petiole/etcd-ca.pem""#,
            ),
            (
                r#"{ endpoints = ["http://u:p@10.0.0.1:2379"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "http://***@10.0.0.1:2379": names and passwords do not belong in a URL; write one such as "http://10.122.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["http://fd00::1:2379"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "http://fd00::1:2379": an IPv6 address must stand in [ and ]; write one such as "http://10.122.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["http://[fd00::1]:0"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "http://[fd00::1]:0": the port must be from 1 to 65535; write one such as "http://10.122.0.1:2379""#,
            ),
            (
                r#"{ endpoints = ["http://:2379"] }"#,
                r#"2:23: `endpoints` in [store] etcd is "http://:2379": the host is missing or has characters that no name has; write one such as "http://10.122.0.1:2379""#,
            ),
            (
                "{ endpoints = [1] }",
                r#"2:23: `endpoints` in [store] etcd is a number: write endpoints as strings, such as ["http://10.122.0.1:2379"]"#,
            ),
        ],
    );
}
