//! Stores that cannot be used, and what stands in them against the configuration: one real etcd, one agent.

use std::fs;

use anyhow::{Context, Result, ensure};
use petiole_labtests::{Spawned, check, eventually};
use serde_json::Value;

use crate::{Place, WITHIN, root, said};

/// Starts an etcd in the place's namespace and waits for it.
fn etcd(place: &Place, name: &str, scheme: &str, port: u16, more: &str) -> Result<Spawned> {
    let (folder, url) = (place.folder.path().display(), format!("{scheme}://127.0.0.1:{port}"));
    let script = format!(
        "exec etcd --data-dir {folder}/{name} --listen-client-urls {url} --advertise-client-urls {url} \
         --listen-peer-urls http://127.0.0.1:{} {more} >{folder}/{name}.log 2>&1",
        port + 1
    );
    let etcd = place.netns.spawn(&["sh", "-c", &script])?;
    eventually(WITHIN, "etcd listens", || {
        let listening = place.netns.exec(&["ss", "-Hltn", &format!("sport = :{port}")]).map_err(said)?;
        check(!listening.trim().is_empty(), "nothing listens")
    })?;
    Ok(etcd)
}

/// A certificate authority, and a certificate for 127.0.0.1 from it.
const AUTHORITY: &str = r#"
cd "$1"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$2" -keyout $2.key -out $2.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=etcd -keyout $2-server.key -out $2-server.csr
printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' >$2.ext
openssl x509 -req -in $2-server.csr -CA $2.pem -CAkey $2.key -CAcreateserial -days 2 -extfile $2.ext -out $2-server.crt
"#;

fn store(endpoint: &str, ca: Option<&str>) -> String {
    let ca = ca.map(|ca| format!(", ca = \"{ca}\"")).unwrap_or_default();
    format!("[store]\netcd = {{ endpoints = [\"{endpoint}\"]{ca} }}\n")
}

#[test]
fn an_etcd_that_speaks_another_way_is_named_in_status() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let place = Place::new("")?;
    let folder = place.folder.path().display().to_string();
    for name in ["ours", "other"] {
        place.netns.exec(&["sh", "-ec", AUTHORITY, "sh", &folder, name])?;
    }
    let tls = format!("--cert-file {folder}/ours-server.crt --key-file {folder}/ours-server.key");
    let _secure = etcd(&place, "secure", "https", 2379, &tls)?;
    let _plain = etcd(&place, "plain", "http", 2479, "")?;
    let (ours, other, broken) = (place.text("ours.pem"), place.text("other.pem"), place.text("broken.pem"));
    fs::write(&broken, "not a certificate")?;
    let cases = [
        (store("https://127.0.0.1:2379", Some(&other)), vec!["not signed by an authority", &other, "[store] etcd ca"]),
        (store("http://127.0.0.1:2379", None), vec!["http://127.0.0.1:2379 speaks TLS", "write https://"]),
        (store("https://127.0.0.1:2479", Some(&ours)), vec!["does not speak TLS", "write http://"]),
        (store("http://127.0.0.1:9", None), vec!["http://127.0.0.1:9 refused the connection"]),
        (store("https://127.0.0.1:2379", Some(&broken)), vec![&broken, "no certificate"]),
    ];
    for (config, words) in &cases {
        place.configure(config)?;
        let agent = place.start("")?;
        let status = place.problem(words)?;
        ensure!(status["store"]["state"] != "in sync" && status["ready"] == false, "{status:#}");
        let error = status["store"]["error"].as_str().unwrap_or_default();
        ensure!(words.iter().all(|word| error.contains(word)), "{status:#}");
        if words.contains(&broken.as_str()) {
            // The file is put right, and nobody has to restart anything.
            fs::copy(&ours, &broken)?;
            let status = place.solved(&["the store"])?;
            ensure!(status["store"]["state"] == "in sync", "{status:#}");
        }
        place.end(agent)?;
    }
    Ok(())
}

#[test]
fn a_pool_with_another_block_size_is_told_and_what_is_claimed_stays() -> Result<()> {
    if !root() {
        return Ok(());
    }
    let place = Place::new("")?;
    let _etcd = etcd(&place, "etcd", "http", 2379, "")?;
    let worker = |name: &str, size: u8| {
        format!(
            "[node]\nname = \"{name}\"\nroles = [\"worker\"]\n{}[ipam]\npools = [{{ cidr = \"10.123.128.0/24\", block_size = {size} }}]\n",
            store("http://127.0.0.1:2379", None)
        )
    };
    let etcdctl = |args: &[&str]| {
        place.netns.exec(&[&["env", "ETCDCTL_API=3", "etcdctl", "--endpoints=http://127.0.0.1:2379"], args].concat())
    };
    let stored = || etcdctl(&["get", "--prefix", "/calico/"]);
    let blocks = |status: &Value| status["blocks"].as_array().map_or(0, Vec::len);

    place.configure(&worker("node1", 26))?;
    let agent = place.start("")?;
    let owned = eventually(WITHIN, "node1 has a block", || {
        let status = place.status().map_err(said)?;
        check(blocks(&status) == 1, &status)?;
        Ok::<_, String>(status["blocks"].clone())
    })?;
    place.end(agent)?;
    let before = stored()?;

    // The owner with the other size keeps its block; a newcomer gets none.
    let words = ["10.123.128.0/24 has block size 26 in the store but 27", "correct the configuration"];
    for (name, expected) in [("node1", &owned), ("node2", &Value::Array(Vec::new()))] {
        place.configure(&worker(name, 27))?;
        let agent = place.start("")?;
        let status = place.problem(&words)?;
        ensure!(status["blocks"] == *expected && status["store"]["state"] == "in sync", "{status:#}");
        place.end(agent)?;
        let now = stored()?;
        ensure!(now == before, "{now}\nbefore: {before}");
    }
    place.configure(&worker("node2", 26))?;
    let agent = place.start("")?;
    eventually(WITHIN, "node2 has a block with the right size", || {
        let status = place.status().map_err(said)?;
        check(blocks(&status) == 1 && status["blocks"] != owned, &status)
    })?;
    let status = place.solved(&words)?;
    status["problems"].as_array().filter(|list| list.is_empty()).context("still problems")?;
    place.end(agent)
}
