//! The `dm-gateway` binary: arguments in, exit code out.

use dm_gateway::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main(lexopt::Parser::from_env())
}
