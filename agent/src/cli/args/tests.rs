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
