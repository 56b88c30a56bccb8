use clap::CommandFactory;

use super::*;

fn error(arguments: &[&str]) -> String {
    Cli::try_parse_from(std::iter::once("petiole").chain(arguments.iter().copied())).unwrap_err().to_string()
}

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples() {
    fn walk(command: &clap::Command, path: &str) {
        for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let path = format!("{path} {}", sub.get_name());
            let help = sub.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains("Examples:") && help.contains(path.trim()),
                "`{path}` has no example of itself:\n{help}"
            );
            walk(sub, &path);
        }
    }
    let command = Cli::command();
    walk(&command, "petiole");
}

#[test]
fn a_prefix_that_is_none_is_told_what_was_meant() {
    assert!(error(&["why", "10.123.128.5/26"]).contains("did you mean 10.123.128.0/26?"));
    assert!(error(&["why", "10.123.128.5"]).contains("write 10.123.128.5/32 for the single address"));
    assert!(error(&["why", "worker1"]).contains("is not an IP prefix such as"));
    assert!(error(&["ipam", "release", "10.123.128.7/32"]).contains("an address has no length: write 10.123.128.7"));
}

#[test]
fn routes_take_a_table_a_peer_or_both() {
    let of = |what: &[&str]| routes(&what.iter().map(|&w| w.to_owned()).collect::<Vec<_>>());
    let leaf: PeerId = "10.122.101.0".parse().unwrap();
    assert_eq!(of(&[]).unwrap(), (RouteTable::Best, None));
    assert_eq!(of(&["received"]).unwrap(), (RouteTable::Received, None));
    assert_eq!(of(&["10.122.101.0"]).unwrap(), (RouteTable::Best, Some(leaf)));
    assert_eq!(of(&["advertised", "10.122.101.0"]).unwrap(), (RouteTable::Advertised, Some(leaf)));
    assert_eq!(of(&["received", "eth1"]).unwrap(), (RouteTable::Received, PeerId::of_interface("eth1")));
    assert!(of(&["10.122.101.0/31"]).unwrap_err().to_string().contains("neither a table"));
    assert!(of(&["best", "10.122.101.0"]).unwrap_err().to_string().contains("is no table"));
}

#[test]
fn both_families_unless_one_is_said() {
    assert_eq!(families(&[]), Family::BOTH);
    assert_eq!(families(&[FamilyName::V6]), [Family::V6]);
}

#[test]
fn a_drain_has_a_time_or_waits_to_be_told() {
    let of = |arguments: &[&str]| match Cli::try_parse_from(arguments).unwrap().command {
        Command::Drain { after } => after,
        other => panic!("{other:?}"),
    };
    let time = |s| After::Time(std::time::Duration::from_secs(s));
    assert_eq!(of(&["petiole", "drain"]), time(10));
    assert_eq!(of(&["petiole", "drain", "--after", "5m"]), time(300));
    assert_eq!(of(&["petiole", "drain", "--after", "never"]), After::WhenTold);
    assert!(
        error(&["drain", "--after", "10"])
            .contains("\"10\" is no time: write 10s, 5m or 0s, or `never` to withdraw when told; did you mean 10s?")
    );
}

#[test]
fn a_message_has_255_octets_at_most() {
    assert!(error(&["stop", "--message", &"x".repeat(256)]).contains("has 256 octets"));
    assert!(Cli::try_parse_from(["petiole", "stop", "--message", &"x".repeat(255)]).is_ok());
    assert!(error(&["bgp", "clear", "10.122.101.0", "--soft", "--message", "x"]).contains("cannot be used with"));
}
