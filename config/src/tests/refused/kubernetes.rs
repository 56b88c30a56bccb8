use super::*;

#[test]
fn ways_to_the_api_that_are_none_or_two() {
    let none = "[kubernetes] does not say how to reach the API server: write in_cluster = true in a pod, else kubeconfig = \"/etc/kubernetes/petiole.conf\"";
    check(
        as_it_is,
        &[
            ("[kubernetes]", &format!("1:1: {none}")),
            ("[kubernetes]\nin_cluster = false", &format!("1:1: {none}")),
            (
                "[kubernetes]\nkubeconfig = \"/k\"\nin_cluster = true",
                "3:14: [kubernetes] has `kubeconfig` and `in_cluster = true`: keep one of them",
            ),
            ("[kubernetes]\nin_cluster = 1", "2:14: `in_cluster` in [kubernetes] is a number: write true or false"),
        ],
    );
}

#[test]
fn the_node_objects_name_is_the_nodes_where_nothing_is_said() {
    let kubernetes = good("[node]\nname = \"w1\"\n[kubernetes]\nin_cluster = true").kubernetes.unwrap();
    assert_eq!(kubernetes, KubernetesSettings { access: KubernetesAccess::InCluster, node: "w1".to_owned() });
    let kubernetes = good("[kubernetes]\nkubeconfig = \"/k\"\nnode = \"w2\"").kubernetes.unwrap();
    assert_eq!((kubernetes.node.as_str(), kubernetes.access), ("w2", KubernetesAccess::Kubeconfig("/k".into())));
}
