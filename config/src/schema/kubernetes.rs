//! `[kubernetes]`.

use super::{check_name, open};
use crate::problem::Problem;
use crate::reader::{At, Report, Section, Shape};
use crate::settings::KubernetesAccess;

/// `[kubernetes]` as far as it could be read.
pub(crate) struct KubernetesDraft {
    pub(crate) access: KubernetesAccess,
    /// The name of the Node object, where it is another than the node's.
    pub(crate) node: Option<String>,
}

pub(super) fn read(report: &mut Report<'_>, root: &Section<'_>) -> Option<KubernetesDraft> {
    let at = root.raw("kubernetes")?.span().start;
    let section = open(report, root, "kubernetes", &KUBERNETES)?;
    let node = section.field("node").and_then(|field| {
        let name = field.string(report, "the name of the Node object, such as \"worker1\"")?;
        if let Err(problem) = check_name(name) {
            report.error(field.at, problem);
            return None;
        }
        Some(name.to_owned())
    });
    let file = section.field("kubeconfig");
    let in_cluster = section.field("in_cluster").map(|f| At { at: f.at, value: f.boolean(report) });
    let access = match (file, in_cluster) {
        (Some(_), Some(At { at, value: Some(true) })) => {
            report.error(at, Problem::TwoWaysToKubernetes);
            return None;
        }
        (None, Some(At { value: Some(true), .. })) => KubernetesAccess::InCluster,
        (Some(file), _) => KubernetesAccess::Kubeconfig(file.path(report, "\"/etc/kubernetes/petiole.conf\"")?),
        // Reported already: it is neither true nor false.
        (None, Some(At { value: None, .. })) => return None,
        (None, None | Some(At { value: Some(false), .. })) => {
            report.error(at, Problem::NoWayToKubernetes);
            return None;
        }
    };
    Some(KubernetesDraft { access, node })
}

pub(super) const KUBERNETES: Shape =
    Shape { name: "[kubernetes]", keys: &["kubeconfig", "in_cluster", "node"], wanted: "a section, [kubernetes]" };
