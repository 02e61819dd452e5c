//! The `dm-gateway` binary: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = lexopt::Parser::from_env();
    let Ok(Some(lexopt::Arg::Value(verb))) = arguments.next() else { return ExitCode::from(64) };
    match verb.to_str() {
        #[cfg(feature = "simulate")]
        Some("simulate") => dm_gateway::cli::simulate::run(arguments),
        Some("status") => dm_gateway::cli::status::run(arguments),
        Some("devices") => dm_gateway::cli::devices::run(arguments),
        Some("servers") => dm_gateway::cli::servers::run(arguments),
        Some("map") => dm_gateway::cli::map::run(arguments),
        Some("monitor") => dm_gateway::cli::monitor::run(arguments),
        Some("decode") => dm_gateway::cli::decode::command(arguments),
        _ => ExitCode::from(64),
    }
}
