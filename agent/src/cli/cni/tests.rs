use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::*;

struct Node {
    folder: TempDir,
    install: Install,
}

impl Node {
    /// A node with an agent and a plugin, and none of the folders of CNI.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("bin")).unwrap();
        fs::copy("/bin/sleep", at("bin/petiole-cni")).unwrap();
        let install =
            Install { bin_dir: at("opt/cni/bin"), conf_dir: at("etc/cni/net.d"), portmap: false, uninstall: false };
        Self { folder, install }
    }

    fn install(&self) -> Result<Vec<Fate>> {
        let this = self.folder.path().join("bin/petiole");
        let done = install(&self.install, &this, Path::new(petiole_cni::rpc::SOCKET))?;
        Ok(done.into_iter().map(|done| done.fate).collect())
    }

    fn uninstall(&self) -> Vec<Fate> {
        uninstall(&self.install).unwrap().into_iter().map(|done| done.fate).collect()
    }

    fn plugin(&self) -> PathBuf {
        self.install.bin_dir.join("petiole")
    }

    fn conflist(&self) -> PathBuf {
        self.install.conf_dir.join("10-petiole.conflist")
    }

    fn files(&self) -> Vec<String> {
        let folders = [&self.install.bin_dir, &self.install.conf_dir];
        let entries = folders.into_iter().flat_map(|folder| fs::read_dir(folder).unwrap());
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

#[test]
fn the_plugin_comes_first_and_goes_last() {
    let node = Node::new();
    assert_eq!(node.install().unwrap(), [Fate::Written; 2]);
    assert_eq!(node.files(), ["petiole", "10-petiole.conflist"]);
    assert_eq!(fs::metadata(node.plugin()).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(node.conflist()).unwrap().mode() & 0o7777, 0o644);
    let removed = uninstall(&node.install).unwrap();
    assert_eq!(removed.iter().map(|done| done.path.clone()).collect::<Vec<_>>(), [node.conflist(), node.plugin()]);
    assert_eq!(node.files(), [""; 0]);
    assert_eq!(node.uninstall(), [Fate::Absent; 2]);
}

#[test]
fn where_the_plugin_cannot_be_placed_no_configuration_names_it() {
    let node = Node::new();
    fs::create_dir_all(node.plugin()).unwrap();
    let error = format!("{:#}", node.install().unwrap_err());
    assert!(error.contains(node.plugin().to_str().unwrap()), "{error}");
    assert!(!node.conflist().exists());
}

#[test]
fn a_file_that_is_so_already_is_left_alone() {
    let node = Node::new();
    node.install().unwrap();
    let inodes = || [node.plugin(), node.conflist()].map(|path| fs::metadata(path).unwrap().ino());
    let before = inodes();
    assert_eq!(node.install().unwrap(), [Fate::Unchanged; 2]);
    assert_eq!(inodes(), before);
    fs::write(node.conflist(), "{}").unwrap();
    assert_eq!(node.install().unwrap(), [Fate::Unchanged, Fate::Written]);
    fs::set_permissions(node.plugin(), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(node.install().unwrap(), [Fate::Written, Fate::Unchanged]);
}

#[test]
fn what_a_killed_run_left_behind_is_no_hindrance() {
    let node = Node::new();
    node.install().unwrap();
    let left = node.install.conf_dir.join(".10-petiole.conflist.new");
    fs::write(&left, "half").unwrap();
    fs::write(node.conflist(), "{}").unwrap();
    assert_eq!(node.install().unwrap(), [Fate::Unchanged, Fate::Written]);
    fs::write(&left, "half").unwrap();
    node.uninstall();
    assert_eq!(node.files(), [""; 0]);
}

#[test]
fn a_plugin_that_is_running_is_replaced() {
    let node = Node::new();
    node.install().unwrap();
    let mut running = Command::new(node.plugin()).arg("60").spawn().unwrap();
    fs::copy("/bin/true", node.folder.path().join("bin/petiole-cni")).unwrap();
    let fates = node.install();
    let alive = running.try_wait().unwrap().is_none();
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!((fates.unwrap(), alive), (vec![Fate::Written, Fate::Unchanged], true));
    assert!(Command::new(node.plugin()).status().unwrap().success());
}

#[test]
fn a_link_is_replaced_and_what_it_leads_to_stays() {
    let node = Node::new();
    let other = node.folder.path().join("other");
    fs::create_dir_all(&node.install.bin_dir).unwrap();
    fs::write(&other, "other").unwrap();
    std::os::unix::fs::symlink(&other, node.plugin()).unwrap();
    assert_eq!(node.install().unwrap(), [Fate::Written; 2]);
    assert_eq!(fs::read(&other).unwrap(), b"other");
    assert!(fs::symlink_metadata(node.plugin()).unwrap().is_file());
}

#[test]
fn without_a_plugin_beside_the_agent_nothing_is_done() {
    let node = Node::new();
    fs::remove_file(node.folder.path().join("bin/petiole-cni")).unwrap();
    let error = node.install().unwrap_err().to_string();
    assert!(error.contains("bin/petiole-cni") && error.contains("same build"), "{error}");
    assert!(!node.install.conf_dir.exists());
}

#[test]
fn portmap_is_chained_where_it_is_there() {
    let mut node = Node::new();
    node.install.portmap = true;
    assert!(node.install().unwrap_err().to_string().contains("--portmap"));
    fs::create_dir_all(&node.install.bin_dir).unwrap();
    fs::write(node.install.bin_dir.join("portmap"), "").unwrap();
    node.install().unwrap();
    let conf: Value = serde_json::from_slice(&fs::read(node.conflist()).unwrap()).unwrap();
    assert_eq!(conf["plugins"][1], json!({ "type": "portmap", "capabilities": { "portMappings": true } }));
    assert_eq!(conf["cniVersions"], json!(["0.3.1", "0.4.0", "1.0.0"]));
}

#[test]
fn the_plugin_understands_the_configuration_that_is_installed() {
    for socket in [petiole_cni::rpc::SOCKET, "/run/other/cni.sock"] {
        let list: Value = serde_json::from_str(&conflist(Path::new(socket), false)).unwrap();
        assert_eq!(list["plugins"][0].get("socket").is_some(), socket != petiole_cni::rpc::SOCKET);
        // What a runtime makes of a list for each of its plugins.
        let mut conf = list["plugins"][0].clone();
        for key in ["cniVersion", "name"] {
            conf[key] = list[key].clone();
        }
        let env = |name: &str| {
            Some(if name == "CNI_COMMAND" { "ADD".to_owned() } else { "eth0".to_owned() })
                .filter(|_| name != "CNI_ARGS")
        };
        let petiole_cni::ask::Order::Ask(ask) =
            petiole_cni::ask::read(&env, "petiole", conf.to_string().as_bytes()).unwrap()
        else {
            panic!("not a question")
        };
        assert_eq!(ask.socket, Path::new(socket));
    }
}

#[test]
fn configurations_that_a_runtime_would_take_instead_are_named() {
    let node = Node::new();
    fs::create_dir_all(&node.install.conf_dir).unwrap();
    for name in ["05-calico.conflist", "87-podman.conflist", "00-readme.txt", "01-a.json"] {
        fs::write(node.install.conf_dir.join(name), "").unwrap();
    }
    let names: Vec<_> = earlier(&node.install.conf_dir).iter().map(|p| p.file_name().unwrap().to_owned()).collect();
    assert_eq!(names, ["01-a.json", "05-calico.conflist"]);
    node.install().unwrap();
    assert_eq!(later(&node.install.conf_dir), [node.install.conf_dir.join("87-podman.conflist")]);
}
