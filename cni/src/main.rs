//! The plugin: what the container runtime runs for every container that comes or goes.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use petiole_cni::ask::{self, Order};
use petiole_cni::rpc::{Code, Failure};
use petiole_cni::{call, spec::Spec};
use serde_json::Value;

/// The longest configuration that is read, in octets.
const LONGEST_CONF: usize = 16 << 20;

fn main() -> ExitCode {
    let (printed, code) = match run() {
        Ok(printed) => (printed, ExitCode::SUCCESS),
        Err((spec, failure)) => (Some(spec.error(&failure)), ExitCode::FAILURE),
    };
    let Some(printed) = printed else { return code };
    // In one write, so that nobody reads half of it.
    let mut text = printed.to_string();
    text.push('\n');
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run() -> Result<Option<Value>, (Spec, Failure)> {
    let latest = |failure| (Spec::LATEST, failure);
    let stdin = conf().map_err(latest)?;
    let env = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let called = std::env::args_os().next().unwrap_or_default();
    let called = Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match ask::read(&env, &called, &stdin) {
        Ok(Order::Version(answer)) => Ok(Some(answer)),
        Ok(Order::Ask(ask)) => {
            call::call(&ask).and_then(|response| ask.answer(response)).map_err(|failure| (ask.spec, failure))
        }
        Err(refusal) => Err((refusal.spec, refusal.failure)),
    }
}

fn conf() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(LONGEST_CONF).unwrap_or(u64::MAX).saturating_add(1);
    std::io::stdin()
        .lock()
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(Code::IO, format!("standard input cannot be read: {error}")))?;
    if bytes.len() > LONGEST_CONF {
        let msg = format!("the network configuration on standard input is longer than {} MiB", LONGEST_CONF >> 20);
        return Err(Failure::new(Code::DECODE, msg));
    }
    Ok(bytes)
}
