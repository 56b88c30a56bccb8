use super::*;

fn files(names: &[(&str, &str)]) -> Vec<(String, String)> {
    names.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

const OURS: (&str, &str) = ("10-petiole.conflist", r#"{ "name": "petiole" }"#);

#[test]
fn what_sorts_first_wins_and_is_named() {
    let folder = files(&[("10-calico.conflist", "{}"), OURS, ("05-x.conf", "{}"), ("87-podman.conflist", "{}")]);
    assert_eq!(earlier(&folder), ["05-x.conf", "10-calico.conflist"]);
    let words = problem(FOLDER, &folder);
    let wanted = "/etc/cni/net.d/05-x.conf sorts before 10-petiole.conflist, as 1 more do: container runtimes give new pods that network";
    assert!(words.starts_with(wanted), "{words}");
    let one = problem(FOLDER, &files(&[("05-x.conf", "{}"), OURS]));
    assert!(one.starts_with("/etc/cni/net.d/05-x.conf sorts before 10-petiole.conflist: "), "{one}");
}

#[test]
fn what_takes_no_pod_away_is_no_problem() {
    let harmless = [
        files(&[OURS]),
        files(&[OURS, ("87-podman.conflist", "{}")]),
        // No runtime reads these.
        files(&[OURS, ("05-x.conf.bak", "{}"), ("00-readme", "{}"), (".00-x.conf.new", "{}")]),
        // It hands over.
        files(&[OURS, ("00-multus.conf", r#"{ "delegates": [{ "name": "petiole" }] }"#)]),
        files(&[OURS, ("00-multus.conf", r#"{ "clusterNetwork": "/etc/cni/net.d/10-petiole.conflist" }"#)]),
        // Petiole is not installed there.
        files(&[("05-x.conf", "{}")]),
        Vec::new(),
    ];
    for folder in harmless {
        assert_eq!(problem(FOLDER, &folder), "", "{folder:?}");
    }
}
