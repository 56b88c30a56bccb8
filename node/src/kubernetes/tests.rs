use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn settings() -> KubernetesSettings {
    KubernetesSettings { access: KubernetesAccess::Kubeconfig("/etc/k.conf".into()), node: "worker1".to_owned() }
}

#[test]
fn the_configurations_labels_go_before_the_node_objects() {
    let mut kubernetes = Kubernetes::new(Duration::from_secs(60), &[1; 32]);
    kubernetes.handle(KubernetesEvent::Node { labels: labels(&[("rack", "r1"), ("zone", "a")]), ranges: None });
    assert_eq!(kubernetes.merged(&labels(&[("rack", "r2")])), labels(&[("rack", "r2"), ("zone", "a")]));
}

#[test]
fn labels_stay_without_the_api_and_without_the_object() {
    let away = [
        Away::Access("no file".to_owned()),
        Away::Unreachable("refused".to_owned()),
        Away::Unauthorized,
        Away::Forbidden("cannot get".to_owned()),
        Away::Answer("500".to_owned()),
    ];
    let events = away.into_iter().map(KubernetesEvent::Away);
    for event in events.chain([KubernetesEvent::Missing, KubernetesEvent::Deleted]) {
        let mut kubernetes = Kubernetes::new(Duration::from_secs(60), &[1; 32]);
        kubernetes.handle(KubernetesEvent::Node { labels: labels(&[("rack", "r1")]), ranges: None });
        assert_eq!(kubernetes.problem(&settings()), None);
        kubernetes.handle(event.clone());
        assert_eq!(kubernetes.labels(), &labels(&[("rack", "r1")]), "{event:?}");
        assert!(kubernetes.problem(&settings()).is_some(), "{event:?}");
        kubernetes.handle(KubernetesEvent::Node { labels: labels(&[("rack", "r3")]), ranges: None });
        assert_eq!(kubernetes.problem(&settings()), None, "{event:?}");
        assert_eq!(kubernetes.labels(), &labels(&[("rack", "r3")]), "{event:?}");
    }
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let say = |event| {
        let mut kubernetes = Kubernetes::new(Duration::from_secs(60), &[1; 32]);
        kubernetes.handle(event);
        kubernetes.problem(&settings()).unwrap()
    };
    assert!(say(KubernetesEvent::Missing).contains("has no Node object worker1: set `node` in [kubernetes]"));
    assert!(say(KubernetesEvent::Away(Away::Unauthorized)).contains("(401)"));
    assert!(say(KubernetesEvent::Away(Away::Unauthorized)).contains("renew /etc/k.conf"));
    let forbidden = say(KubernetesEvent::Away(Away::Forbidden("u cannot watch\nresource \"nodes\"".to_owned())));
    assert!(
        forbidden.contains("(403): u cannot watch resource \"nodes\"; give this account the rights"),
        "{forbidden}"
    );
    let long = say(KubernetesEvent::Away(Away::Answer("x".repeat(100_000))));
    assert!(long.len() < 500, "{}", long.len());
}

#[test]
fn an_answer_after_silence_brings_back_what_was_known() {
    let mut kubernetes = Kubernetes::new(Duration::from_secs(60), &[1; 32]);
    assert_eq!(kubernetes.state(), "connecting");
    kubernetes.handle(KubernetesEvent::Missing);
    kubernetes.handle(KubernetesEvent::Away(Away::Unreachable("refused".to_owned())));
    assert_eq!(kubernetes.state(), "away");
    kubernetes.handle(KubernetesEvent::Watching);
    assert_eq!(kubernetes.state(), "missing");
    assert!(kubernetes.problem(&settings()).unwrap().contains("has no Node object worker1"));
    kubernetes.handle(KubernetesEvent::Node { labels: labels(&[]), ranges: None });
    kubernetes.handle(KubernetesEvent::Watching);
    assert_eq!((kubernetes.state(), kubernetes.problem(&settings())), ("watching", None));
}
