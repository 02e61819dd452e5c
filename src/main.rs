//! The `dm-gateway` binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = lexopt::Parser::from_env();
    let Ok(Some(lexopt::Arg::Value(verb))) = arguments.next() else { return ExitCode::from(64) };
    match verb.to_str() {
        #[cfg(feature = "simulate")]
        Some("simulate") => dm_gateway::cli::simulate::run(arguments),
        _ => ExitCode::from(64),
    }
}
