use super::*;

mod accepted;
mod nodes;
mod refused;
mod robust;

/// The example files with their names; the first is the annotated one.
const EXAMPLES: [(&str, &str); 4] = [
    ("petiole.toml", include_str!("../../examples/petiole.toml")),
    ("worker.toml", include_str!("../../examples/worker.toml")),
    ("master.toml", include_str!("../../examples/master.toml")),
    ("ingress.toml", include_str!("../../examples/ingress.toml")),
];

/// The settings of a text that must be right, without its warnings.
fn good(text: &str) -> Settings {
    match load(text, "petiole.toml", &Facts::new("host1")) {
        Ok((settings, _)) => settings,
        Err(errors) => panic!("refused:\n{errors}"),
    }
}

/// The messages about a text that must be wrong, one per line.
fn bad(text: &str) -> String {
    match load(text, "petiole.toml", &Facts::new("host1")) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

/// The warnings about a text that must be right, one per line.
fn warned(text: &str) -> String {
    match load(text, "petiole.toml", &Facts::new("host1")) {
        Ok((_, warnings)) => warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(errors) => panic!("refused:\n{errors}"),
    }
}
