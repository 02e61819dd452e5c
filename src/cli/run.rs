//! `dm-gateway run`: the daemon in the foreground.

use crate::cli::client::Stop;
use crate::cli::definition::{self, CONFIGURED, Command, Given};
use crate::codes;
use crate::config::{self, Config};
use crate::daemon::Daemon;
use crate::io::logger;
use crate::io::state::Reset;
use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;
use std::future::Future;
use std::path::Path;

/// `run`.
pub const COMMAND: Command = Command {
    name: "run",
    summary: "runs the gateway in the foreground until SIGTERM or SIGINT; logs to stderr",
    text: "DM_GATEWAY_LOG=error|warn|info|debug|trace sets how much is logged (default info).",
    options: &[CONFIGURED],
    exits: &[(1, "it cannot start")],
    run: Some(run),
    ..definition::COMMAND
};

fn run(given: Given) -> Result<u8, Stop> {
    let path = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
    logger::init(None);
    // Before the configuration is read: what was provisioned may go.
    finish_reset(&path)?;
    let wrong = |error: config::ConfigError| Stop::with(codes::CONFIG, &error.to_string());
    let config = Config::load(&path).map_err(wrong)?;
    // Before anything is bound: a signal from here on ends the daemon cleanly.
    let told = told_to_stop().map_err(|error| Stop::failed(&error))?;
    let daemon = Daemon::start(&config).map_err(|error| Stop::with(codes::START, &error))?;
    daemon.run(told);
    Ok(0)
}

/// Does a factory reset that was ordered, or that a power cut interrupted.
fn finish_reset(config: &Path) -> Result<(), Stop> {
    // What is wrong with the configuration is told by who reads it next.
    let Ok(state_dir) = config::state_directory(config) else { return Ok(()) };
    match Reset::finish(&state_dir) {
        Ok(Some(_)) => log::warn!("a factory reset was done: the gateway starts without memory"),
        Ok(None) => {}
        Err(error) => {
            let sentence = format!("the factory reset cannot be finished; cause: {error}");
            return Err(Stop::with(codes::RESET, &sentence));
        }
    }
    Ok(())
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
