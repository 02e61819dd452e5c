//! Stand-in for the configuration: only what the operators' commands ask of it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where the configuration is unless told otherwise.
pub const DEFAULT_PATH: &str = "/etc/dm-gateway/dm-gateway.toml";

/// What is wrong with a configuration, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// The path of the control socket that the configuration names.
///
/// # Errors
/// The file cannot be read, is no TOML, or names neither `[control] socket` nor a `state-dir`.
pub fn control_socket(path: &Path) -> Result<PathBuf, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError(format!("cannot read {}: {}; try: --socket PATH", path.display(), error.kind()))
    })?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        ConfigError(format!("{}: {}; try: correct it", path.display(), error.message()))
    })?;
    let text = |section: &str, key: &str| {
        table.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_str)
    };
    text("control", "socket")
        .map(PathBuf::from)
        .or_else(|| text("gateway", "state-dir").map(|state| Path::new(state).join("control.sock")))
        .ok_or_else(|| {
            ConfigError(format!("{}: no [gateway] state-dir; try: add it", path.display()))
        })
}
