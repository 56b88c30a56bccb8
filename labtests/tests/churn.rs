//! The short form of `cargo xtask churn`: half a minute of everything, and what heals after it.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use petiole_labtests::churn::{self, Options};

#[test]
fn no_address_is_shared_or_lost_while_everything_fails() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        println!("not checked: needs root for network namespaces");
        return Ok(());
    }
    let code = churn::run(&Options { minutes: 0.4, seed: Some(5), agents: 4 })?;
    ensure!(code == ExitCode::SUCCESS, "see above");
    Ok(())
}
