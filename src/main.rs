//! flowtrace: what happened to this packet, and why.

use std::process::ExitCode;

fn main() -> ExitCode {
    flowtrace::cli::run()
}
