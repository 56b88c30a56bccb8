use super::*;
use crate::rpc::{Address, Code, Interface, Route};
use crate::{Cidr, Mac};

fn added() -> Added {
    let cidr = |text: &str| text.parse::<Cidr>().unwrap();
    let mac = Mac([0xee; 6]);
    Added {
        host: Some(Interface { name: "pet0123456789a".into(), mac }),
        container: Some(Interface { name: "eth0".into(), mac }),
        addresses: vec![
            Address { address: cidr("10.123.128.2/32"), gateway: Some("169.254.1.1".parse().unwrap()) },
            Address { address: cidr("fd00:123:8000::2/128"), gateway: None },
        ],
        routes: vec![Route { dst: cidr("0.0.0.0/0"), gateway: Some("169.254.1.1".parse().unwrap()) }],
        mtu: Some(1500),
    }
}

fn result(spec: Spec, sandbox: Option<&str>) -> String {
    spec.result(&added(), sandbox, None).to_string()
}

#[test]
fn cni_1_1_0_results_have_the_mtu() {
    assert_eq!(
        result(Spec::V1_1_0, Some("/run/netns/x")),
        concat!(
            r#"{"cniVersion":"1.1.0","interfaces":[{"name":"pet0123456789a","mac":"ee:ee:ee:ee:ee:ee","mtu":1500},"#,
            r#"{"name":"eth0","mac":"ee:ee:ee:ee:ee:ee","mtu":1500,"sandbox":"/run/netns/x"}],"#,
            r#""ips":[{"address":"10.123.128.2/32","gateway":"169.254.1.1","interface":1},"#,
            r#"{"address":"fd00:123:8000::2/128","interface":1}],"#,
            r#""routes":[{"dst":"0.0.0.0/0","gw":"169.254.1.1"}],"dns":{}}"#
        )
    );
}

#[test]
fn cni_1_0_0_results_have_no_mtu_and_no_family() {
    let text = result(Spec::V1_0_0, Some("/run/netns/x"));
    assert!(text.starts_with(r#"{"cniVersion":"1.0.0","#), "{text}");
    assert!(!text.contains("mtu") && !text.contains(r#""version""#), "{text}");
}

#[test]
fn cni_0_3_and_0_4_results_have_the_family_of_each_address() {
    for spec in [Spec::V0_3_0, Spec::V0_3_1, Spec::V0_4_0] {
        let text = result(spec, Some("/run/netns/x"));
        assert!(text.contains(r#"{"version":"4","address":"10.123.128.2/32""#), "{text}");
        assert!(text.contains(r#"{"version":"6","address":"fd00:123:8000::2/128""#), "{text}");
        assert!(text.contains(&format!(r#""cniVersion":"{}""#, spec.name())) && !text.contains("mtu"), "{text}");
    }
}

#[test]
fn a_delegated_result_has_no_interfaces() {
    let added = Added { host: None, container: None, mtu: None, ..added() };
    let text = Spec::V1_0_0.result(&added, Some("/run/netns/x"), None).to_string();
    assert!(!text.contains("interface"), "{text}");
}

#[test]
fn name_servers_are_the_configurations() {
    let dns = json!({ "nameservers": ["10.123.0.10"] });
    assert_eq!(Spec::V1_0_0.result(&added(), None, Some(&dns)).get("dns"), Some(&dns));
}

#[test]
fn version_repeats_the_question() {
    let all = r#"["0.3.0","0.3.1","0.4.0","1.0.0","1.1.0"]"#;
    let expected = |version: &str| format!(r#"{{"cniVersion":"{version}","supportedVersions":{all}}}"#);
    assert_eq!(Spec::versions(Some("0.4.0")).to_string(), expected("0.4.0"));
    assert_eq!(Spec::versions(None).to_string(), expected("1.1.0"));
}

#[test]
fn errors_say_details_only_where_there_are_some() {
    let failure = Failure::new(Code::TRY_AGAIN, "later");
    assert_eq!(Spec::V0_4_0.error(&failure).to_string(), r#"{"cniVersion":"0.4.0","code":11,"msg":"later"}"#);
    assert!(Spec::V0_4_0.error(&failure.details("why")).to_string().ends_with(r#","details":"why"}"#));
}
