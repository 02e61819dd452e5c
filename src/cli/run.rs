//! `dm-gateway run`: the daemon in the foreground.

use crate::codes;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::io::logger;
use async_signal::{Signal, Signals};
use lexopt::{Arg, Parser, ValueExt as _};
use smol::stream::StreamExt as _;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `run --help` prints.
pub const USAGE: &str = "\
dm-gateway run [--config FILE]

Runs the gateway in the foreground until SIGTERM or SIGINT. Logs to stderr.

  --config FILE    (default /etc/dm-gateway/dm-gateway.toml)

DM_GATEWAY_LOG=error|warn|info|debug|trace sets how much is logged (default info).
";

/// Runs `run` with the arguments after that word.
pub fn run(arguments: Parser) -> ExitCode {
    let path = match read(arguments) {
        Ok(Some(path)) => path,
        Ok(None) => return super::print(USAGE),
        Err(error) => return super::usage(&error, "dm-gateway run --help"),
    };
    logger::init(None);
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(error) => return super::fail_with(codes::CONFIG, &error.to_string()),
    };
    logger::configure(config.observe.log_level, config.observe.log_form);
    // Before anything is bound: a signal from here on ends the daemon cleanly.
    let told = match told_to_stop() {
        Ok(told) => told,
        Err(error) => return super::fail(&error),
    };
    match Daemon::start(&config) {
        Ok(daemon) => {
            daemon.run(told);
            ExitCode::SUCCESS
        }
        Err(error) => super::fail_with(codes::START, &error),
    }
}

/// Ready when SIGTERM or SIGINT comes, which do nothing else from now on.
///
/// # Errors
/// A sentence, if signals cannot be taken.
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()>, String> {
    let signals = Signals::new([Signal::Term, Signal::Int]);
    let mut signals = signals.map_err(|error| format!("cannot wait for signals: {error}"))?;
    Ok(async move {
        signals.next().await;
    })
}

fn read(mut arguments: Parser) -> Result<Option<PathBuf>, lexopt::Error> {
    let mut path = PathBuf::from(crate::config::DEFAULT_PATH);
    while let Some(argument) = arguments.next()? {
        match argument {
            Arg::Long("config") => path = arguments.value()?.parse()?,
            Arg::Short('h') | Arg::Long("help") => return Ok(None),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Some(path))
}
