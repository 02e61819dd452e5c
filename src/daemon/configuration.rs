//! The configuration of a running daemon: read anew, applied on trial, shown.
//!
//! ```text
//!   reload, SIGHUP ──► all files ──► wrong? the old stays, and the answer says why
//!                                └── right? gateway, calls, TLS, log; the rest waits for a restart
//!   apply ──► config/trial.toml in the state directory ──► reload
//!                 ├── confirm ──► 90-applied.toml
//!                 └── no word in time, also after a restart ──► removed, reload
//! ```
//!
//! What each would do is told by `rehearsal`.

use super::Signal;
use super::journal;
use super::pause;
use super::shell::Shell;
use crate::codes::{self, Trouble};
use crate::config::reload::{Changes, take_over};
use crate::config::view::{self, Difference};
use crate::config::{Config, Layout, check};
use crate::control::{
    self, Applied, ConfigurationState, Done, InForce, Reloaded, Request, document, refusal,
};
use crate::gateway::audit::shortened;
use crate::gateway::event::{Event, EventKind};
use crate::io::logger::{self, Levels};
use crate::io::trial::{Trial, TrialFiles};
use crate::limits;
use log::{Level, LevelFilter};
use serde_json::Value;
use smol::future;
use smol::lock::Mutex;
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

/// What the daemon knows of its configuration.
pub(super) struct Configuration {
    pub(super) running: RefCell<Config>,
    /// One at a time reads and applies.
    pub(super) turn: Mutex<()>,
    /// Why the last reload failed.
    error: RefCell<Option<Trouble>>,
    restart: RefCell<Vec<String>>,
    files: TrialFiles,
    /// When what is on trial is taken back, by the uptime, and the keys that it changed.
    pub(super) trial: RefCell<Option<(Duration, Vec<String>)>>,
    /// Until when more is logged than usual.
    log_until: Cell<Option<Duration>>,
    changed: Signal,
    /// What the last reload changed, until it is written down.
    change: RefCell<Change>,
    /// The daemon is to start anew.
    pub(super) restart_wanted: Signal,
}

/// Keys and values, as they were and as they are.
#[derive(Default)]
pub(super) struct Change {
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Change {
    fn of(differences: &[Difference]) -> Self {
        let told = |value: fn(&Difference) -> &Option<Value>| {
            let line = |it: &Difference| match value(it) {
                Some(value) => format!("{} = {}", it.key, shortened(&view::toml(value))),
                None => format!("{} not set", it.key),
            };
            let mut lines: Vec<_> = differences.iter().take(limits::AUDIT_KEYS).map(line).collect();
            if differences.len() > limits::AUDIT_KEYS {
                lines.push(format!("and {} more keys", differences.len() - limits::AUDIT_KEYS));
            }
            Some(lines.join(", ")).filter(|text| !text.is_empty())
        };
        Self { before: told(|it| &it.before), after: told(|it| &it.after) }
    }
}

impl Configuration {
    /// What the last reload changed; nothing, if it was asked for before.
    pub(super) fn take_change(&self) -> Change {
        self.change.take()
    }

    /// Goes on with a trial that was under way when the daemon was stopped.
    pub(super) fn new(config: &Config, unix: u64, uptime: Duration) -> Self {
        let files = match &config.layout {
            Some(layout) => TrialFiles::new(&config.state_dir, &layout.applied_drop_in()),
            None => TrialFiles::new(&config.state_dir, Path::new("")),
        };
        let trial = files.trial().map(|trial| (uptime + trial.rest(unix), trial.keys));
        Self {
            running: RefCell::new(config.clone()),
            turn: Mutex::new(()),
            error: RefCell::default(),
            restart: RefCell::default(),
            files,
            trial: RefCell::new(trial),
            log_until: Cell::default(),
            changed: Signal::new(),
            change: RefCell::default(),
            restart_wanted: Signal::new(),
        }
    }

    pub(super) fn layout(&self) -> Result<Layout, Trouble> {
        let layout = self.running.borrow().layout.clone();
        layout.ok_or_else(|| Trouble::new(codes::RELOAD, "this daemon was started without a file"))
    }

    /// The level of the log, where nothing more is asked for.
    fn usual_level(&self) -> LevelFilter {
        let configured = self.running.borrow().log_level;
        logger::level_of_environment().or(configured).unwrap_or(LevelFilter::Info)
    }
}

/// Whether a request is answered here.
pub(super) fn is_of_configuration(request: &Request) -> bool {
    match request {
        Request::DryRun { of } => is_of_configuration(of),
        Request::Reload { .. }
        | Request::Configuration
        | Request::ApplyConfiguration { .. }
        | Request::Confirm { .. }
        | Request::LogLevel { .. } => true,
        _ => false,
    }
}

impl Shell {
    /// The answer to a request, and whether the daemon is to start anew when it is sent.
    pub(super) async fn configuration_request(&self, request: Request) -> (String, bool) {
        let result = match request {
            Request::Reload { restart } => self.reload(restart).await.map(|reloaded| {
                let restarts = reloaded.restarts;
                (document(reloaded), restarts)
            }),
            Request::ApplyConfiguration { text, name, seconds, restart, dry_run } => {
                let time = Duration::from_secs(seconds);
                let applied = self.apply(text, name, time, restart, dry_run).await;
                applied.map(|applied| {
                    let restarts = applied.reloaded.restarts;
                    (document(applied), restarts)
                })
            }
            Request::Confirm { discard } => self.confirm(discard).await,
            Request::LogLevel { level, seconds, module } => {
                self.log_level(level.as_deref(), Duration::from_secs(seconds), module)
            }
            Request::DryRun { of } => self.rehearse(*of).await.map(|answer| (answer, false)),
            _ => Ok((document(self.in_force()), false)),
        };
        result.unwrap_or_else(|trouble| (refusal(&trouble), false))
    }

    /// Reads all files anew and goes on with what they say; with any error all stays as it is.
    pub(super) async fn reload(&self, restart: bool) -> Result<Reloaded, Trouble> {
        let layout = self.configuration.layout()?;
        let _turn = self.configuration.turn.lock().await;
        self.reload_in_turn(layout, restart).await
    }

    async fn reload_in_turn(&self, layout: Layout, restart: bool) -> Result<Reloaded, Trouble> {
        // Files may be on something slow.
        let result = smol::unblock(move || Config::load_from(&layout)).await;
        let new = match result {
            Ok(new) => new,
            Err(error) => {
                let why = format!("the old one stays: {error}");
                self.tell(&Event::new(EventKind::ConfigRefused, why));
                let sentence =
                    format!("nothing is applied, the old configuration stays; cause: {error}");
                let trouble = Trouble::new(codes::RELOAD, &sentence);
                *self.configuration.error.borrow_mut() = Some(trouble.clone());
                return Err(trouble);
            }
        };
        *self.configuration.error.borrow_mut() = None;
        let mut reloaded = self.take(new);
        self.read_card_again(&reloaded).await;
        reloaded.restarts = restart && !reloaded.restart.is_empty();
        Ok(reloaded)
    }

    /// Goes on with a valid configuration.
    fn take(&self, new: Config) -> Reloaded {
        let state = &self.configuration;
        let differences = view::differences(&state.running.borrow().values(), &new.values());
        *state.change.borrow_mut() = Change::of(&differences);
        let (mut config, Changes { applied, restart }) = take_over(&state.running.borrow(), &new);
        self.renew_certificates(&mut config);
        let mut gateway = self.gateway.borrow_mut();
        let report = gateway.reconfigure(config.options.clone(), self.clock.now());
        self.carry_out(&mut gateway);
        drop(gateway);
        self.send();
        self.caller.configure(config.client.clone());
        for warning in &config.warnings {
            journal::write_coded(Level::Warn, codes::CONFIG_ODD, warning);
        }
        let warnings = config.warnings.clone();
        *state.running.borrow_mut() = config;
        *state.restart.borrow_mut() = restart.clone();
        if state.log_until.get().is_none() {
            logger::set_levels(Levels { all: state.usual_level(), module: None });
            self.gateway.borrow_mut().log(logger::levels().all);
        }
        // Files that were applied already are known by their content.
        self.bootstrap_files();
        let list = |keys: &[String]| if keys.is_empty() { "none".into() } else { keys.join(", ") };
        let (changed, waiting) = (list(&applied), list(&restart));
        let why = format!("changed: {changed}; waiting for a restart: {waiting}");
        self.tell(&Event::new(EventKind::Configured, why));
        let remote = report.remote;
        let oddities = check::oddities(&warnings);
        let trial = report.trial;
        Reloaded { applied, restart, remote, trial, warnings, oddities, restarts: false }
    }

    /// Listeners show the new certificates from the next connection on.
    fn renew_certificates(&self, config: &mut Config) {
        let running = self.configuration.running.borrow();
        let pairs = running.lans.iter().zip(&mut config.lans);
        let lans = pairs.map(|(old, new)| (&old.bootstrap_tls, &mut new.bootstrap_tls));
        let wan = [(&running.http_push.tls, &mut config.http_push.tls)];
        for (old, new) in lans.chain(wan) {
            if let (Some(old), Some(new)) = (old, new) {
                old.renew(new);
                *new = old.clone();
            }
        }
    }

    async fn read_card_again(&self, reloaded: &Reloaded) {
        let is_card = |key: &String| key == "bootstrap.card-directory" || key == "bootstrap.modem";
        if reloaded.applied.iter().any(is_card) {
            self.read_card().await;
        }
    }

    /// What the service manager's reload, or SIGHUP, does.
    pub(super) async fn reload_by_signal(&self) {
        // Told in the log and in the status.
        let failed = self.reload(false).await.err().map(|trouble| trouble.to_string());
        self.audit_own_configuration("reload", "by SIGHUP", failed);
    }

    /// Ready when the daemon is to start anew.
    pub(super) async fn restart_wanted(&self) {
        self.configuration.restart_wanted.wait().await;
    }

    /// What there is to know of the configuration.
    pub(super) fn configuration_state(&self) -> ConfigurationState {
        let state = &self.configuration;
        let now = self.clock.now().uptime;
        let trial = state.trial.borrow();
        let rest = trial.as_ref().map(|(until, _)| until.saturating_sub(now).as_secs());
        ConfigurationState {
            error: state.error.borrow().clone(),
            restart: state.restart.borrow().clone(),
            trial: rest,
        }
    }

    fn in_force(&self) -> InForce {
        let mut values = self.configuration.running.borrow().values();
        for remote in self.gateway.borrow().remote_values() {
            if !remote.locked {
                view::set_remote(&mut values, &remote.key, remote.value);
            }
        }
        InForce { values, state: self.configuration_state() }
    }

    // --- On trial ---------------------------------------------------------------------------

    async fn apply(
        &self,
        text: String,
        name: String,
        time: Duration,
        restart: bool,
        dry_run: bool,
    ) -> Result<Applied, Trouble> {
        let refused = |why: String| Trouble::new(codes::APPLY, &why);
        let state = &self.configuration;
        let layout = state.layout()?;
        if time.is_zero() || time > limits::LONGEST_CONFIG_TRIAL {
            let hours = limits::LONGEST_CONFIG_TRIAL.as_secs() / 3600;
            return Err(refused(format!("a trial takes from 1 s to {hours} h")));
        }
        let _turn = state.turn.lock().await;
        if !dry_run && state.trial.borrow().is_some() {
            let why = "another configuration is on trial; try: dm-gateway confirm, or dm-gateway \
                       confirm --discard";
            return Err(Trouble::new(codes::ON_TRIAL, why));
        }
        let (of, content) = (layout.clone(), text.clone());
        let new = smol::unblock(move || Config::load_with(&of, &content, Path::new(&name))).await;
        let new = new.map_err(|error| refused(format!("nothing is applied; cause: {error}")))?;
        let running = state.running.borrow().values();
        let differences = view::differences(&running, &new.values());
        if dry_run {
            return Ok(self.rehearsed(differences, &new));
        }
        let keys: Vec<_> = differences.iter().map(|it| it.key.clone()).collect();
        let now = self.clock.now();
        let trial = Trial::new(now.unix, time, keys.clone());
        state.files.begin(&text, &trial).map_err(|error| {
            refused(format!("the state directory does not take it; cause: {error}; try: df"))
        })?;
        match self.reload_in_turn(layout, restart).await {
            Ok(reloaded) => {
                *state.trial.borrow_mut() = Some((now.uptime + time, keys));
                state.changed.set();
                let minutes = time.as_secs().div_ceil(60);
                log::warn!("a configuration is on trial for {minutes} min: dm-gateway confirm");
                Ok(Applied { differences, reloaded, seconds: time.as_secs() })
            }
            Err(trouble) => {
                state.files.discard();
                Err(trouble)
            }
        }
    }

    async fn confirm(&self, discard: bool) -> Result<(String, bool), Trouble> {
        let state = &self.configuration;
        let layout = state.layout()?;
        let turn = state.turn.lock().await;
        if state.trial.borrow().is_none() {
            let sentence = "no configuration is on trial; cause: none was applied, or its time is \
                            over and it was taken back; try: dm-gateway audit";
            return Err(Trouble::new(codes::APPLY, sentence));
        }
        if discard {
            drop(turn);
            let restarts = self.take_back("an operator discarded it").await;
            let done = vec!["what was on trial is taken back".to_owned()];
            return Ok((document(Done { done }), restarts));
        }
        let kept = state.files.keep().map_err(|error| {
            let why = format!("it cannot be kept; cause: {error}; try: df");
            Trouble::new(codes::APPLY, &why)
        })?;
        *state.trial.borrow_mut() = None;
        state.changed.set();
        log::info!("the configuration on trial is confirmed: {}", kept.display());
        // Nothing changes but where the values stand.
        self.reload_in_turn(layout, false).await?;
        let done = vec![format!("what was on trial is kept in {}", kept.display())];
        Ok((document(Done { done }), false))
    }

    /// Goes back to how things were before a trial; whether that takes a restart.
    async fn take_back(&self, why: &str) -> bool {
        let state = &self.configuration;
        let Ok(layout) = state.layout() else { return false };
        let _turn = state.turn.lock().await;
        let Some((_, keys)) = state.trial.borrow_mut().take() else { return false };
        state.changed.set();
        state.files.discard();
        log::warn!("the configuration on trial is taken back: {why}");
        let reloaded = self.reload_in_turn(layout, false).await;
        self.audit_own_configuration("apply-taken-back", why, None);
        let Ok(reloaded) = reloaded else { return false };
        // What it changed with a restart goes with one.
        reloaded.restart.iter().any(|key| keys.contains(key))
    }

    // --- Time -------------------------------------------------------------------------------

    /// Ends trials and loud logs when their time is over, for ever.
    pub(super) async fn configuration_timers(self: Rc<Self>) {
        let state = &self.configuration;
        loop {
            let now = self.clock.now().uptime;
            if state.log_until.get().is_some_and(|until| until <= now) {
                state.log_until.set(None);
                logger::set_levels(Levels { all: state.usual_level(), module: None });
                self.gateway.borrow_mut().log(logger::levels().all);
                log::info!("the log is as usual again");
            }
            let trial = state.trial.borrow().as_ref().map(|(until, _)| *until);
            if trial.is_some_and(|until| until <= now) {
                if self.take_back("nobody confirmed it in time").await {
                    state.restart_wanted.set();
                }
                continue;
            }
            match trial.into_iter().chain(state.log_until.get()).min() {
                Some(next) => {
                    let wait = next.saturating_sub(now).min(limits::CONFIG_TIMER);
                    future::or(pause(wait), state.changed.wait()).await;
                }
                None => state.changed.wait().await,
            }
        }
    }

    fn log_level(
        &self,
        level: Option<&str>,
        time: Duration,
        module: Option<String>,
    ) -> Result<(String, bool), Trouble> {
        let state = &self.configuration;
        let usual = state.usual_level();
        let Some(level) = level else {
            let Levels { all, module } = logger::levels();
            let mut done = vec![format!("the level is {}", name(all))];
            done.extend(module.map(|(path, level)| format!("of {path} it is {}", name(level))));
            if let Some(until) = state.log_until.get() {
                let rest = until.saturating_sub(self.clock.now().uptime).as_secs();
                done.push(format!("in {rest} s it is {} again", name(usual)));
            }
            return Ok((document(Done { done }), false));
        };
        let level = wanted_level(level, time, module.as_deref())?;
        let of = module.as_ref().map_or_else(String::new, |module| format!(" of {module}"));
        let module_is_none = module.is_none();
        logger::set_levels(match module {
            Some(module) => Levels { all: usual, module: Some((module, level)) },
            None => Levels { all: level, module: None },
        });
        self.gateway.borrow_mut().log(logger::levels().all);
        state.changed.set();
        if module_is_none && level == usual {
            state.log_until.set(None);
            log::info!("an operator set the log to {}, as it usually is", name(level));
            let text = format!("the level is {}, as it usually is", name(level));
            return Ok((control::document(Done { done: vec![text] }), false));
        }
        let until = self.clock.now().uptime + time;
        state.log_until.set(Some(until));
        let seconds = time.as_secs();
        log::info!("an operator set the log{of} to {} for {seconds} s", name(level));
        let text =
            format!("the level{of} is {}; in {seconds} s it is {} again", name(level), name(usual));
        Ok((control::document(Done { done: vec![text] }), false))
    }
}

/// The level that an operator asks for.
///
/// # Errors
/// If there is no such level or module, or the time is out of range.
pub(super) fn wanted_level(
    level: &str,
    time: Duration,
    module: Option<&str>,
) -> Result<LevelFilter, Trouble> {
    let refused = |why: &str| Err(Trouble::new(codes::REFUSED, why));
    let Ok(level) = level.parse() else {
        return refused("there is no such level; try: error, warn, info, debug or trace");
    };
    if time.is_zero() || time > limits::LONGEST_LOG_TIME {
        return refused("it takes a time from 1 s to 24 h");
    }
    let first = |path: &str| path.split("::").next().is_some_and(|first| MODULES.contains(&first));
    match module.filter(|module| !first(module)) {
        Some(module) => {
            refused(&format!("there is no module {module}; try: {}", MODULES.join(", ")))
        }
        None => Ok(level),
    }
}

/// The modules of the program, for `log-level --module`.
const MODULES: [&str; 6] = ["cli", "config", "control", "daemon", "gateway", "io"];

pub(super) fn name(level: LevelFilter) -> String {
    level.as_str().to_ascii_lowercase()
}
