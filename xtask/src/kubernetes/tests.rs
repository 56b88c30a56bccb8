use std::ffi::OsString;

use super::{meant, minor, version_of};

#[test]
fn reads_the_version_of_go() {
    assert_eq!(minor("go version go1.26.8 linux/amd64"), Some(26));
    assert_eq!(minor("go version go1.26rc1 linux/amd64"), Some(26));
    assert_eq!(minor("go version devel"), None);
}

#[test]
fn finds_a_modules_version_in_go_mod() {
    let text = "require (\n\tk8s.io/kubernetes/x v0.1.0 // indirect\n\tk8s.io/kubernetes v1.37.2\n)\n";
    assert_eq!(version_of(text, "k8s.io/kubernetes"), Some("v1.37.2"));
    assert_eq!(version_of("require k8s.io/kubernetes v1.37.2\n", "k8s.io/kubernetes"), Some("v1.37.2"));
    assert_eq!(version_of(text, "k8s.io/api"), None);
}

#[test]
fn knows_the_cluster_by_its_name_and_by_its_file() {
    let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
    assert!(meant(&words("kubernetes")) && meant(&words("containerlab/kubernetes.clab.yml --name b")));
    assert!(!meant(&words("containerlab/clos.clab.yml")));
}
