//! CNI's folder of network configurations, looked at now and then: runtimes take a file of somebody else's as soon as it is there.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use petiole_node::Input;
use petiole_node::conf_dir::{is_configuration, problem};
use tokio::sync::mpsc;

/// Between two looks of an agent.
pub const PAUSE: Duration = Duration::from_secs(5);
/// As much of a file as is read; configurations have a few hundred octets.
const LONGEST: u64 = 64 * 1024;

/// Tells what is wrong with the folder, and when nothing is any more, until the agent ends.
pub async fn watch(folder: &'static str, pause: Duration, inputs: mpsc::Sender<Input>) {
    let mut told = String::new();
    loop {
        let looked = tokio::task::spawn_blocking(move || look(folder)).await;
        let what = looked.unwrap_or_default();
        if what != told {
            told.clone_from(&what);
            if inputs.send(Input::Trouble { part: "cni".to_owned(), what }).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

fn look(folder: &str) -> String {
    match read(Path::new(folder)) {
        Ok(files) => problem(folder, &files),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => format!(
            "cannot read {folder}: {error}; container runtimes choose the network of new pods there, and which one they \
             choose is not known"
        ),
    }
}

/// The configurations in a folder, by name and text; no text where a file cannot be read.
pub fn read(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if is_configuration(&name) {
            let mut text = Vec::new();
            // A pipe would not end, and is no configuration.
            let path = folder.join(&name);
            if path.is_file() {
                let _ = File::open(&path).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
            }
            files.push((name, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
