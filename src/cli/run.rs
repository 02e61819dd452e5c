//! `dm-gateway run`: the daemon in the foreground.

use crate::cli::client::{Stop, finish};
use crate::codes;
use crate::config::{Config, ConfigError, Layout};
use crate::daemon::{Daemon, Ended, Order};
use crate::io::logger::{self, Levels};
use async_signal::{Signal, Signals};
use lexopt::{Arg, Parser, ValueExt as _};
use log::LevelFilter;
use smol::stream::{Stream, StreamExt as _};
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

/// What `run --help` prints.
pub const USAGE: &str = "\
dm-gateway run [--config FILE]

Runs the gateway in the foreground until SIGTERM or SIGINT. SIGHUP reads the configuration anew.
Logs to stderr.

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
    // Before anything is bound: a signal from here on ends the daemon cleanly.
    let mut orders = match orders() {
        Ok(orders) => orders,
        Err(error) => return super::fail(&error),
    };
    let layout = Layout::of(&path);
    let mut before = None;
    loop {
        let config = match load(&layout) {
            Ok(config) => config,
            Err(error) => return finish(Err(Stop::Failed(error.trouble().into())), ""),
        };
        let all = logger::level_of_environment().or(config.log_level);
        let all = all.unwrap_or(LevelFilter::Info);
        logger::set_levels(Levels { all, module: None });
        match start(&layout, config, before.take()) {
            Ok((daemon, config)) => match daemon.run_with(&mut orders) {
                Ended::Stopped => return ExitCode::SUCCESS,
                Ended::Restart => before = Some(config),
            },
            Err(error) => return super::fail_with(codes::START, &error),
        }
    }
}

/// The configuration; without what is on trial, if it is not valid with it.
fn load(layout: &Layout) -> Result<Config, ConfigError> {
    let result = Config::load_from(layout);
    match result {
        Err(error) if layout.discard_trial() => {
            log::error!("{}: {error}", codes::TAKEN_BACK.title);
            Config::load_from(layout)
        }
        result => result,
    }
}

/// Starts the daemon; without what is on trial, if it does not start with it. A daemon that starts
/// anew in its process goes back to what it ran with `before`.
fn start(
    layout: &Layout,
    config: Config,
    before: Option<Config>,
) -> Result<(Daemon, Config), String> {
    let error = match Daemon::start(&config) {
        Ok(daemon) => return Ok((daemon, config)),
        Err(error) => error,
    };
    let next = if layout.discard_trial() {
        log::error!("{}: {error}", codes::TAKEN_BACK.title);
        Config::load_from(layout).ok()
    } else {
        before
    };
    let Some(next) = next else { return Err(error) };
    log::error!("the daemon does not start with the new configuration: {error}");
    Daemon::start(&next).map(|daemon| (daemon, next))
}

/// What SIGHUP, SIGTERM and SIGINT say, which do nothing else from now on.
///
/// # Errors
/// A sentence, if signals cannot be taken.
fn orders() -> Result<impl Stream<Item = Order> + Unpin, String> {
    let signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup]);
    let signals = signals.map_err(|error| format!("cannot wait for signals: {error}"))?;
    Ok(signals.filter_map(|signal| match signal {
        Ok(Signal::Hup) => Some(Order::Reload),
        Ok(_) => Some(Order::Stop),
        Err(_) => None,
    }))
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
