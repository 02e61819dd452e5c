//! `dm-gateway run`: the daemon in the foreground.

use crate::cli::client::Stop;
use crate::cli::definition::{self, CONFIGURED, Command, Given};
use crate::codes;
use crate::config::{self, Config, ConfigError, Layout};
use crate::daemon::{Daemon, Ended, Order, Unstarted};
use crate::io::logger::{self, Levels};
use crate::io::program;
use crate::io::state::Reset;
use async_signal::{Signal, Signals};
use log::LevelFilter;
use smol::stream::{Stream, StreamExt as _};
#[cfg(feature = "simulate")]
use std::future::Future;
use std::path::Path;

/// `run`.
pub const COMMAND: Command = Command {
    name: "run",
    summary: "runs the gateway in the foreground until SIGTERM or SIGINT; logs to stderr",
    text: "SIGHUP reads the configuration anew. DM_GATEWAY_LOG=error|warn|info|debug|trace sets how\n\
           much is logged (default info), DM_GATEWAY_LOG_FORMAT=text|json|journal how. Both count\n\
           before [log] of the configuration.",
    options: &[CONFIGURED],
    exits: &[(1, "it cannot start")],
    run: Some(run),
    ..definition::COMMAND
};

fn run(given: Given) -> Result<u8, Stop> {
    let path = given.path_of("config").unwrap_or_else(|| config::DEFAULT_PATH.into());
    // What the daemon tells of it is read in other directories.
    let path = std::path::absolute(&path).unwrap_or(path);
    logger::init(None);
    program::keep_privileges();
    // Before the configuration is read: what was provisioned may go.
    finish_reset(&path)?;
    // Before anything is bound: a signal from here on ends the daemon cleanly.
    let mut orders = orders().map_err(|error| Stop::failed(&error))?;
    let layout = Layout::of(&path).for_service();
    let mut before = None;
    loop {
        let config = load(&layout).map_err(|error| Stop::Failed(error.trouble().into()))?;
        let all = logger::level_of_environment().or(config.log_level);
        let all = all.unwrap_or(LevelFilter::Info);
        logger::set_levels(Levels { all, module: None });
        logger::set_form(config.observe.log_form);
        let started = start(&layout, config, before.take());
        let (daemon, config) = started.map_err(|error| Stop::with(error.code, &error.why))?;
        match daemon.run_with(&mut orders) {
            Ended::Stopped => return Ok(0),
            Ended::Restart => before = Some(config),
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
) -> Result<(Daemon, Config), Unstarted> {
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

/// Does a factory reset that was ordered, or that a power cut interrupted.
fn finish_reset(config: &Path) -> Result<(), Stop> {
    // What is wrong with the configuration is told by who reads it next.
    let Ok(state_dir) = config::state_directory(config) else { return Ok(()) };
    match Reset::finish(&state_dir, &Layout::of(config).applied_drop_in()) {
        Ok(Some(_)) => log::warn!("a factory reset was done: the gateway starts without memory"),
        Ok(None) => {}
        Err(error) => {
            let sentence = format!(
                "the factory reset cannot be finished; cause: {error}; try: ls -l {}",
                state_dir.display()
            );
            return Err(Stop::with(codes::RESET, &sentence));
        }
    }
    Ok(())
}

/// Ready when SIGTERM or SIGINT comes, which do nothing else from now on.
///
/// # Errors
/// A sentence, if signals cannot be taken.
#[cfg(feature = "simulate")]
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()>, String> {
    let signals = Signals::new([Signal::Term, Signal::Int]);
    let mut signals = signals.map_err(|error| format!("cannot wait for signals: {error}"))?;
    Ok(async move {
        signals.next().await;
    })
}
