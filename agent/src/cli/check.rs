//! `petiole config check FILE`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use petiole_node::config::{self, Settings, StoreSettings};
use serde_json::json;

use super::agent;
use super::output::{Output, emit};

pub(super) fn run(file: &Path, output: Output) -> Result<ExitCode> {
    let (origin, bytes) = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        ("stdin".to_owned(), bytes)
    } else {
        (file.display().to_string(), std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let checked = config::decode(&bytes, &origin).and_then(|text| config::load(text, &origin, &agent::facts()));
    match checked {
        Ok((settings, warnings)) => {
            if output == Output::Json {
                let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
                emit(&format!("{:#}\n", json!({ "ok": true, "errors": [], "warnings": warnings })))?;
            } else {
                for warning in &warnings {
                    writeln!(anstream::stderr(), "warning: {warning}")?;
                }
                emit(&format!("ok\n{}", summary(&settings)))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(errors) => {
            if output == Output::Json {
                emit(&format!("{:#}\n", json!({ "ok": false, "errors": errors, "warnings": [] })))?;
            } else {
                let count = errors.iter().count();
                writeln!(anstream::stderr(), "{errors}\n{count} {}", if count == 1 { "mistake" } else { "mistakes" })?;
            }
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What an agent with these settings would be.
pub(super) fn summary(settings: &Settings) -> String {
    let mut lines = Vec::new();
    let roles: Vec<String> = settings.node.roles.iter().map(|r| format!("{r:?}").to_lowercase()).collect();
    let roles = if roles.is_empty() { "no roles".to_owned() } else { roles.join(", ") };
    lines.push(format!("node       {} ({roles})", settings.node.name));
    if !settings.node.addresses.is_empty() {
        let addresses: Vec<String> = settings.node.addresses.iter().map(ToString::to_string).collect();
        lines.push(format!("addresses  {}", addresses.join(", ")));
    }
    lines.push(match &settings.store {
        StoreSettings::Etcd(etcd) => format!("store      etcd at {}", etcd.endpoints.join(", ")),
        StoreSettings::Embedded(folder) => format!("store      embedded in {}", folder.display()),
    });
    match &settings.bgp {
        None => lines.push("bgp        no peers".to_owned()),
        Some(bgp) => {
            let peers: Vec<String> = bgp
                .peers
                .iter()
                .map(|p| {
                    format!(
                        "{} ({})",
                        p.neighbour,
                        p.asn.map_or_else(|| "external".to_owned(), |asn| format!("AS {asn}"))
                    )
                })
                .collect();
            lines.push(format!("bgp        AS {}, peers {}", bgp.asn, peers.join(", ")));
        }
    }
    for announce in &settings.announce {
        let gate = if announce.health.is_some() { "while healthy" } else { "always" };
        lines.push(format!("announces  {} {gate}", announce.prefix));
    }
    lines.iter().map(|line| format!("  {line}\n")).collect()
}
