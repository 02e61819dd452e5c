//! `dm-gateway run`: the daemon in the foreground.

use crate::cli::client::Stop;
use crate::cli::definition::{self, CONFIGURED, Command, Given};
use crate::codes;
use crate::config::{self, Config};
use crate::daemon::Daemon;
use crate::io::logger;
use async_signal::{Signal, Signals};
use smol::stream::StreamExt as _;
use std::future::Future;

/// `run`.
pub const COMMAND: Command = Command {
    name: "run",
    summary: "runs the gateway in the foreground until SIGTERM or SIGINT; logs to stderr",
    text: "DM_GATEWAY_LOG=error|warn|info|debug|trace sets how much is logged (default info), \
           DM_GATEWAY_LOG_FORMAT=text|json|journal how. Both count before [log] of the configuration.",
    options: &[CONFIGURED],
    exits: &[(1, "it cannot start")],
    run: Some(run),
    ..definition::COMMAND
};

fn run(given: Given) -> Result<u8, Stop> {
    let path = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
    logger::init(None);
    let wrong = |error: config::ConfigError| Stop::with(codes::CONFIG, &error.to_string());
    let config = Config::load(&path).map_err(wrong)?;
    logger::configure(config.observe.log_level, config.observe.log_form);
    // Before anything is bound: a signal from here on ends the daemon cleanly.
    let told = told_to_stop().map_err(|error| Stop::failed(&error))?;
    let daemon = Daemon::start(&config).map_err(|error| Stop::with(codes::START, &error))?;
    daemon.run(told);
    Ok(0)
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
