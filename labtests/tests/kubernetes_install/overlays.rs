//! The overlays, applied.

use anyhow::{Result, ensure};
use petiole_labtests::eventually;
use petiole_labtests::fabric::{Role, members};
use petiole_labtests::kubernetes::{self, Cluster, Scene};

use super::{FOLDER, WITHIN};

const WORKER: &str = "worker2";

/// The overlay's kube-proxy instead of the lab's own on every worker: a Service that is made then answers pods there.
pub(super) fn kube_proxy_takes_over(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let archive = kubernetes::prepare_kube_proxy()?;
    for worker in members(Role::Worker) {
        let node = scene.lab.node(worker.name)?;
        // Away for good, with what it made.
        let away = "touch /run/lab/kube-proxy.off && kill $(cat /run/lab/kube-proxy.pid) && \
                    while pidof kube-proxy; do sleep 0.1; done && nft delete table ip kube-proxy && \
                    nft delete table ip6 kube-proxy";
        node.exec(&["sh", "-c", away])?;
        node.exec(&["ctr", "--namespace", "k8s.io", "images", "import", &archive])?;
    }
    // The number of connections that a network namespace may have is its machine's.
    let apply = format!(
        "echo 'conntrack: {{ maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s }}' \
         >>{FOLDER}/mine/with-kube-proxy/config.yaml && kubectl apply -k {FOLDER}/mine/with-kube-proxy"
    );
    scene.lab.node("client1")?.exec(&["sh", "-c", &apply])?;
    eventually(WITHIN, "kube-proxy runs on every worker", || {
        let status = cluster.json(&["get", "daemonset", "kube-proxy", "-n", "kube-system"])?["status"].clone();
        let workers = members(Role::Worker).count();
        ensure!(status["numberReady"] == workers && status["updatedNumberScheduled"] == workers, "{status}");
        Ok::<(), anyhow::Error>(())
    })?;
    let server = cluster.run("served", "worker4", "agnhost", &["netexec"])?;
    let dual = r#"{"spec":{"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv4","IPv6"]}}"#;
    cluster.kubectl(&["expose", "pod", &server.name, "--port=8080", "--overrides", dual])?;
    let asking = cluster.run("asking", WORKER, "box", &["sleep", "1000000"])?;
    let addresses = cluster.service(&server.name)?;
    ensure!(addresses.len() == 2, "{addresses:?}");
    for address in &addresses {
        let line = format!("printf 'GET /hostname HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {address} 8080");
        eventually(WITHIN, "a pod opens the Service", || {
            let said = cluster.exec(&asking, &["sh", "-c", &line])?;
            ensure!(said.ends_with(&server.name), "{address} said {said}");
            Ok::<(), anyhow::Error>(())
        })?;
    }
    scene.say(format_args!("the overlay's kube-proxy: a pod on {WORKER} opens {}", addresses.join(" and ")));
    Ok(())
}

/// The API server takes everything of the other overlay, and the patch for Calico's DaemonSet fits one.
pub(super) fn the_server_takes_the_migration(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let overlay = format!("{FOLDER}/mine/migrate-from-calico");
    let said = cluster.kubectl(&["apply", "-k", &overlay, "--dry-run=server"])?;
    ensure!(said.contains("daemonset.apps/petiole configured (server dry run)"), "{said}");
    let calico = serde_json::json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": "calico-node", "namespace": "kube-system" },
        "spec": {
            "selector": { "matchLabels": { "k8s-app": "calico-node" } },
            "template": {
                "metadata": { "labels": { "k8s-app": "calico-node" } },
                "spec": { "nodeSelector": { "none": "such" }, "containers": [{ "name": "main", "image": "calico/node" }] },
            },
        },
    });
    cluster.apply(&calico.to_string())?;
    let patch = format!("--patch-file={overlay}/calico-node.yaml");
    cluster.kubectl(&["patch", "daemonset", "calico-node", "-n", "kube-system", &patch])?;
    let patched = cluster.json(&["get", "daemonset", "calico-node", "-n", "kube-system"])?;
    let affinity = patched["spec"]["template"]["spec"]["affinity"].to_string();
    ensure!(affinity.contains("petiole/agent") && affinity.contains("DoesNotExist"), "{affinity}");
    cluster.kubectl(&["delete", "daemonset", "calico-node", "-n", "kube-system", "--wait=false"])?;
    scene.say("the API server takes the overlay for a migration");
    Ok(())
}
