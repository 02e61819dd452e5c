//! `[metrics]`, `[events]` and the form of `[log]`: what lets others see what the gateway does.

use super::section::{ConfigError, Value, shown};
use super::tree::Tree;
use super::{get, path, value};
use crate::io::logger;
use crate::io::page_server::Place;
use crate::limits;
use std::path::PathBuf;

/// What lets others see what the gateway does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observe {
    /// `[metrics] listen`; nothing if there is no listener.
    pub metrics: Option<Place>,
    /// `[events] directory`; nothing if no programs are run.
    pub events: Option<PathBuf>,
    /// `[log] format`.
    pub log_form: Option<logger::Form>,
}

pub(super) fn observe(tree: &Tree) -> Result<Observe, ConfigError> {
    let key = |section, key| get(tree.section(section), key);
    Ok(Observe {
        metrics: key("metrics", "listen").map(|value| listen(&value)).transpose()?,
        events: key("events", "directory").map(|value| path(&value)).transpose()?,
        log_form: key("log", "format")
            .map(|value| value.choice(&logger::Form::NAMES))
            .transpose()?,
    })
}

/// A loopback address or a Unix socket: what is to be seen there is for this machine.
fn listen(value: &Value<'_>) -> Result<Place, ConfigError> {
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
    let path = value.base().join(name);
    let length = path.as_os_str().len();
    if name.is_empty() || name.chars().any(char::is_control) || length > limits::CONTROL_PATH {
        let problem = format!("is {}, which is no path of a socket", shown(text));
        let most = limits::CONTROL_PATH;
        return Err(value.error(problem, &format!("{advice}, at most {most} octets")));
    }
    Ok(Place::Socket(path))
}
