use super::*;

#[test]
fn keys_whose_feature_is_not_built_are_refused_by_name() {
    check(
        as_it_is,
        &[("[cni]", "1:2: `cni` in the file is known, but this version has no settings of the CNI socket: remove it")],
    );
    check(
        peer,
        &[("import = 1", "8:1: `import` in [[bgp.peer]] is known, but this version has no import policy: remove it")],
    );
}

/// The table must not name a section that does not exist, or it would never be found; every shape's name is in a message.
#[test]
fn every_entry_of_the_table_can_be_reached() {
    for (section, key) in crate::later::all() {
        let text = match section {
            "the file" => format!("[{key}]"),
            "[node]" | "[bgp]" | "[ipam]" => format!("{section}\n{key} = 1"),
            "[[bgp.peer]]" => peer(&format!("{key} = 1")),
            "[[announce]]" => service_range(&format!("\"10.123.0.0/17\"\n{key} = 1")),
            "[[ipam.pools]]" => pools(&format!("{{ cidr = \"10.123.128.0/17\", {key} = 1 }}")),
            other => panic!("no text for {other}"),
        };
        let needle = format!("`{key}` in {section} is known, but this version has no ");
        assert!(bad(&text).contains(&needle), "{text}\n{}", bad(&text));
    }
}
