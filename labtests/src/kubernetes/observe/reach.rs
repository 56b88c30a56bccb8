//! Who reaches whom while nothing changes.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{HTTP, Pod, Workload, ask, at_once, only_blocks};
use crate::wait::eventually;

const WITHIN: Duration = Duration::from_secs(60);
/// New connections to each address of a Service: enough that ECMP takes both ingress nodes.
const CONNECTIONS: usize = 20;
/// Octets of an IP packet.
const WHOLE: u32 = 1500;

pub(super) fn pods_reach_each_other(workload: &Workload<'_>) -> Result<String> {
    let one = |from: &&Pod| {
        ensure!(from.addresses.len() == 2, "{from:?}");
        let mut reached = 0;
        for to in workload.servers.iter().filter(|to| to.node != from.node) {
            for address in &to.addresses {
                eventually(WITHIN, "a pod reaches another", || workload.cluster.ping(from, address, WHOLE))?;
                reached += 1;
            }
        }
        Ok(reached)
    };
    let reached: usize = at_once(workload.servers.iter().collect(), one).into_iter().sum::<Result<usize>>()?;
    Ok(format!("{reached} ways, {WHOLE} octets with DF, IPv4 and IPv6"))
}

pub(super) fn the_client_reaches_pods(workload: &Workload<'_>) -> Result<String> {
    let mut reached = 0;
    for pod in &workload.servers {
        for address in &pod.addresses {
            workload.client.ping(address, WHOLE, 3)?;
            let said = ask(&workload.client, address)?;
            ensure!(said == pod.name, "{address} said {said}");
            reached += 1;
        }
    }
    Ok(format!("{reached} addresses answer pings of {WHOLE} octets and HTTP"))
}

pub(super) fn the_client_opens_a_service(workload: &Workload<'_>) -> Result<String> {
    let pod = workload.server("worker4")?;
    let addresses = workload.cluster.service(&pod.name)?;
    ensure!(addresses.len() == 2, "{addresses:?}");
    for address in &addresses {
        eventually(WITHIN, "client1 opens the Service by its address", || {
            for _ in 0..CONNECTIONS {
                let said = ask(&workload.client, address)?;
                ensure!(said == pod.name, "{address} said {said}");
            }
            Ok(())
        })?;
    }
    Ok(format!("{CONNECTIONS} connections each to {}", addresses.join(" and ")))
}

pub(super) fn a_pod_reaches_kafka(workload: &Workload<'_>) -> Result<String> {
    let addresses = workload.cluster.service("kafka")?;
    for address in &addresses {
        eventually(WITHIN, "a pod reaches kafka1 through its Service", || {
            let line = format!("echo word | nc -w 2 {address} 9092");
            let said = workload.cluster.exec(&workload.shell, &["sh", "-c", &line])?;
            ensure!(said.contains("kafka1") && said.contains("word"), "{said}");
            Ok(())
        })?;
    }
    Ok(format!("{} port 9092, answered from outside the cluster", addresses.join(" and ")))
}

pub(super) fn exec_and_logs(workload: &Workload<'_>) -> Result<String> {
    let logs = workload.cluster.kubectl(&["logs", &workload.shell.name])?;
    ensure!(logs.trim() == "a pod says", "{logs}");
    let kafka = workload.cluster.service("kafka")?;
    let name = "kafka.default.svc.cluster.local";
    eventually(WITHIN, "a pod asks for a name", || {
        let said = workload.cluster.exec(&workload.shell, &["nslookup", name])?;
        ensure!(kafka.iter().all(|address| said.contains(address.as_str())), "{said}, but {kafka:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    // A name alone, completed by what the kubelet wrote into the pod.
    let target = format!("{}:{HTTP}", workload.server("worker4")?.name);
    workload.cluster.exec(workload.server("worker1")?, &["/bin/agnhost", "connect", &target, "--timeout=3s"])?;
    Ok(format!("a shell on worker2, its log, {name}"))
}

pub(super) fn switches_have_blocks_only(workload: &Workload<'_>) -> Result<String> {
    let blocks = only_blocks(workload.lab())?;
    ensure!(blocks >= 2 * workload.servers.len(), "a switch has {blocks} blocks of {} workers", workload.servers.len());
    Ok(format!("six switches, at least {blocks} blocks each, /26 and /122"))
}
