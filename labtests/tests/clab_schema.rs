//! Every topology is one that containerlab accepts, and one that means here what it means there.

use std::error::Error;
use std::path::{Path, PathBuf};

use petiole_labtests::Topology;
use serde_json::Value;

type Outcome = Result<(), Box<dyn Error>>;

fn topologies() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../containerlab");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".clab.yml") {
            found.push(path);
        }
    }
    assert!(!found.is_empty(), "no topology found");
    Ok(found)
}

/// containerlab's own schema is another project's file: it is used where it lies and not kept here.
#[test]
fn topologies_satisfy_containerlabs_schema() -> Outcome {
    let path = std::env::var_os("PETIOLE_CLAB_SCHEMA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/clab.schema.json"),
        PathBuf::from,
    );
    let Ok(schema) = std::fs::read_to_string(&path) else {
        println!(
            "not checked: topologies_satisfy_containerlabs_schema: no schema at {}; set PETIOLE_CLAB_SCHEMA",
            path.display()
        );
        return Ok(());
    };
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema)?)?;
    for topology in topologies()? {
        let text = petiole_labtests::topology::expand(&std::fs::read_to_string(&topology)?, &|_| None)?;
        let instance: Value = serde_yaml_ng::from_str(&text)?;
        let errors: Vec<String> =
            schema.iter_errors(&instance).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", topology.display());
        // The check is worth something only if the schema rejects something.
        let mut broken = instance;
        broken["topology"]["nodes"]["x"] = serde_json::json!({ "no-such-field": 1 });
        assert!(!schema.is_valid(&broken), "the schema accepts anything");
    }
    Ok(())
}

/// What containerlab would do otherwise: a management network with a default route, an MTU of 9500, restarts.
#[test]
fn topologies_leave_no_default_to_the_engine() -> Outcome {
    for path in topologies()? {
        let topology = Topology::load(&path, None, &|_| None)?;
        let at = path.display();
        for (index, link) in topology.links.iter().enumerate() {
            assert_eq!(link.mtu, 1500, "{at}: link {index}");
        }
        for (name, node) in &topology.nodes {
            for key in ["net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding", "net.ipv4.conf.all.rp_filter"] {
                assert!(node.sysctls.contains_key(key), "{at}: {name}: {key} differs between hosts unless it is said");
            }
            assert!(node.image == "petiole-lab:latest", "{at}: {name}: image {}", node.image);
        }
        let text = std::fs::read_to_string(&path)?;
        let instance: Value = serde_yaml_ng::from_str(&text)?;
        assert_eq!(instance["mgmt"]["skip-when-unused"], true, "{at}");
    }
    Ok(())
}
