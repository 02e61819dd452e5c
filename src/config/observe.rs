//! `[metrics]`, `[events]` and `[log]`: what lets others see what the gateway does.

use super::section::{ConfigError, Form, Source, Value, shown};
use super::{path, value};
use crate::io::logger;
use crate::io::page_server::Place;
use crate::limits;
use log::LevelFilter;
use std::path::PathBuf;
use toml::de::DeTable;

/// `[metrics]`.
pub(super) const METRICS: Form = Form { name: "metrics", many: false, keys: &["listen"] };
/// `[events]`.
pub(super) const EVENTS: Form = Form { name: "events", many: false, keys: &["directory"] };
/// `[log]`.
pub(super) const LOG: Form = Form { name: "log", many: false, keys: &["level", "format"] };

/// What lets others see what the gateway does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    /// `[metrics] listen`; nothing if there is no listener.
    pub metrics: Option<Place>,
    /// `[events] directory`; nothing if no programs are run.
    pub events: Option<PathBuf>,
    /// `[log] level`.
    pub log_level: Option<LevelFilter>,
    /// `[log] format`.
    pub log_form: Option<logger::Form>,
}

pub(super) fn observe<'a>(
    source: Source<'a>,
    tables: &DeTable<'a>,
) -> Result<Observe, ConfigError> {
    let key = |form, key| {
        let section = source.sections(tables, form)?.first().copied();
        Ok::<_, ConfigError>(section.and_then(|section| section.get(key)))
    };
    let levels = ["error", "warn", "info", "debug", "trace"];
    let levels = levels.map(|name| (name, name.parse().unwrap_or(LevelFilter::Info)));
    Ok(Observe {
        metrics: key(&METRICS, "listen")?.map(|value| listen(source, &value)).transpose()?,
        events: key(&EVENTS, "directory")?.map(|value| path(source, &value)).transpose()?,
        log_level: key(&LOG, "level")?.map(|value| value.choice(&levels)).transpose()?,
        log_form: key(&LOG, "format")?
            .map(|value| value.choice(&logger::Form::NAMES))
            .transpose()?,
    })
}

/// A loopback address or a Unix socket: what is to be seen there is for this machine.
fn listen(source: Source<'_>, value: &Value<'_>) -> Result<Place, ConfigError> {
    let text = value.text()?;
    let advice = "\"127.0.0.1:9464\" or \"unix:/run/dm-gateway/metrics.sock\"";
    let Some(name) = text.strip_prefix("unix:") else {
        let address = value::listen_address(value, text)?;
        if !address.ip().to_canonical().is_loopback() {
            let problem = format!(
                "is {}, which others than this machine reach, and nobody has to prove anything \
                 there",
                shown(text)
            );
            return Err(value.error(problem, advice));
        }
        return Ok(Place::Address(address));
    };
    let path = source.origin.parent().map_or_else(|| name.into(), |parent| parent.join(name));
    let length = path.as_os_str().len();
    if name.is_empty() || name.chars().any(char::is_control) || length > limits::CONTROL_PATH {
        let problem = format!("is {}, which is no path of a socket", shown(text));
        let most = limits::CONTROL_PATH;
        return Err(value.error(problem, &format!("{advice}, at most {most} octets")));
    }
    Ok(Place::Socket(path))
}
