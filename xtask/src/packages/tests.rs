use super::*;

#[test]
fn a_package_removed_but_not_purged_is_missing() {
    let listing = "frr installed\netcd-server config-files\nnftables installed\n";
    let installed = installed_names(listing);
    assert!(installed.contains("frr") && installed.contains("nftables"));
    assert!(!installed.contains("etcd-server"));
}

#[test]
fn names_are_unique_and_each_proof_is_a_program_or_a_path() {
    let names: BTreeSet<&str> = PACKAGES.iter().map(|package| package.name).collect();
    assert_eq!(names.len(), PACKAGES.len());
    for package in PACKAGES {
        assert!(package.proof.starts_with('/') || !package.proof.contains('/'), "{}", package.proof);
    }
}

#[test]
fn the_effective_user_is_the_second_number() {
    assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t1000\t1000\nGid:\t0\t0\t0\t0\n"), Some(0));
    assert_eq!(effective_uid("Uid:\t0\t1000\t0\t0\n"), Some(1000));
    assert_eq!(effective_uid("Name:\tx\n"), None);
}

#[test]
fn a_lab_needs_all_that_a_build_needs() {
    for need in [Need::Lab, Need::Interop, Need::Image] {
        assert!(need.covers(Need::Build) && need.covers(Need::Lab) && need.covers(need));
    }
    assert!(!Need::Image.covers(Need::Interop) && !Need::Interop.covers(Need::Image) && !Need::Build.covers(Need::Lab));
}

#[test]
fn a_file_that_is_not_there_makes_its_package_missing() {
    let nowhere = package(Need::Lab, "nowhere", "no-such-program-anywhere");
    let shell = package(Need::Lab, "shell", "sh");
    let missing = missing_by_file(&[&nowhere, &shell]);
    assert_eq!(missing.iter().map(|package| package.name).collect::<Vec<_>>(), ["nowhere"]);
}
