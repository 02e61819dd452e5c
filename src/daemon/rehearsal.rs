//! `--dry-run` of what changes the configuration: read and judged as it would be, and not done.

use super::configuration::{name, wanted_level};
use super::shell::Shell;
use crate::codes::{self, Trouble};
use crate::config::reload::{Changes, take_over};
use crate::config::view::{self, Difference};
use crate::config::{Config, Layout, check};
use crate::control::{Applied, Rehearsed, Reloaded, Request, document};
use crate::io::logger;
use serde_json::Value;
use std::time::Duration;

impl Shell {
    /// The answer to what is only to be told.
    ///
    /// # Errors
    /// Why it would be refused.
    pub(super) async fn rehearse(&self, request: Request) -> Result<String, Trouble> {
        match request {
            Request::Reload { .. } => self.rehearse_reload().await.map(document),
            Request::Confirm { discard } => {
                self.rehearse_confirm(discard).await.map(|would| document(Rehearsed { would }))
            }
            Request::LogLevel { level: Some(level), seconds, module } => {
                let time = Duration::from_secs(seconds);
                let level = wanted_level(&level, time, module.as_deref())?;
                let now = logger::levels();
                let (of, now) = match (&module, now.module) {
                    (Some(module), Some((path, level))) if path == *module => {
                        (format!(" of {module}"), level)
                    }
                    (Some(module), _) => (format!(" of {module}"), now.all),
                    (None, _) => (String::new(), now.all),
                };
                let (level, now) = (name(level), name(now));
                let line =
                    format!("the level{of} becomes {level} for {seconds} s; now it is {now}");
                Ok(document(Rehearsed { would: vec![line] }))
            }
            _ => Err(Trouble::new(codes::REFUSED, "there is nothing to try in a question")),
        }
    }

    async fn rehearse_reload(&self) -> Result<Applied, Trouble> {
        let layout = self.configuration.layout()?;
        let _turn = self.configuration.turn.lock().await;
        let new = read(layout, Config::load_from, codes::RELOAD).await?;
        let differences = self.differences_to(&new);
        Ok(self.rehearsed(differences, &new))
    }

    async fn rehearse_confirm(&self, discard: bool) -> Result<Vec<String>, Trouble> {
        let state = &self.configuration;
        let layout = state.layout()?;
        let _turn = state.turn.lock().await;
        let Some((_, keys)) = state.trial.borrow().clone() else {
            return Err(Trouble::new(codes::APPLY, "no configuration is on trial"));
        };
        let untried = read(layout, Config::load_untried, codes::APPLY).await?;
        let differences = self.differences_to(&untried);
        let mut would: Vec<_> = differences
            .iter()
            .filter(|it| keys.contains(&it.key))
            .map(|it| told(it, discard))
            .collect();
        if would.is_empty() {
            would.push("the trial ends, and no value changes".to_owned());
        }
        Ok(would)
    }

    fn differences_to(&self, new: &Config) -> Vec<Difference> {
        let running = self.configuration.running.borrow().values();
        view::differences(&running, &new.values())
    }

    /// What of a valid configuration would count at once.
    pub(super) fn rehearsed(&self, differences: Vec<Difference>, new: &Config) -> Applied {
        let (config, changes) = take_over(&self.configuration.running.borrow(), new);
        let Changes { applied, restart } = changes;
        let gateway = self.gateway.borrow();
        let (remote, trial) = (gateway.remote_values(), gateway.server_on_trial());
        let warnings = config.warnings;
        let oddities = check::oddities(&warnings);
        let restarts = false;
        let reloaded = Reloaded { applied, restart, remote, trial, warnings, oddities, restarts };
        Applied { differences, reloaded, seconds: 0 }
    }
}

async fn read(
    layout: Layout,
    how: impl FnOnce(&Layout) -> Result<Config, crate::config::ConfigError> + Send + 'static,
    code: codes::Code,
) -> Result<Config, Trouble> {
    let read = smol::unblock(move || how(&layout)).await;
    read.map_err(|error| Trouble::new(code, &format!("nothing would be applied; cause: {error}")))
}

/// What becomes of a value on trial; `before` it is what counts now.
fn told(difference: &Difference, discard: bool) -> String {
    let of = |value: &Option<Value>| value.as_ref().map_or_else(|| "unset".to_owned(), view::toml);
    let (key, now, old) = (&difference.key, of(&difference.before), of(&difference.after));
    match discard {
        true => format!("take back: {key} = {now}, then it is {old}"),
        false => format!("keep: {key} = {now}, before the trial it was {old}"),
    }
}
