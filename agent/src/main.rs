//! The executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    petiole::cli::main()
}
