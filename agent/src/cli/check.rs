//! `petiole config check FILE`.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use petiole_node::config::{self, ConfigErrors, Settings, StoreSettings, Warning};
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
    let checked = config::decode(&bytes, &origin).and_then(|text| load(text, &origin));
    match checked {
        Ok((all, warnings)) => {
            if output == Output::Json {
                let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
                emit(&format!("{:#}\n", json!({ "ok": true, "errors": [], "warnings": warnings })))?;
            } else {
                for warning in &warnings {
                    writeln!(anstream::stderr(), "warning: {warning}")?;
                }
                let summaries: Vec<String> = all.iter().map(summary).collect();
                emit(&format!("ok\n{}", summaries.join("\n")))?;
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

/// Settings as this host would have them, or with sections for nodes as each of those would.
fn load(text: &str, origin: &str) -> Result<(Vec<Settings>, Vec<Warning>), ConfigErrors> {
    let names = config::nodes(text);
    if names.is_empty() {
        return config::load(text, origin, &agent::facts()).map(|(settings, warnings)| (vec![settings], warnings));
    }
    let (mut all, mut warnings, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        let mut facts = agent::facts();
        facts.environment.insert(config::NODE_NAME.to_owned(), name);
        match config::load(text, origin, &facts) {
            Ok((settings, noticed)) => {
                all.push(settings);
                warnings.extend(noticed);
            }
            Err(errors) => wrong.push(errors),
        }
    }
    // What the shared part says is found once for each node.
    warnings.sort_by(|a, b| a.place.cmp(&b.place));
    warnings.dedup();
    match ConfigErrors::together(wrong) {
        Some(errors) => Err(errors),
        None => Ok((all, warnings)),
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
