//! `[[server]]` and `[bootstrap]`: the gateway as a DM client.

use super::section::{ConfigError, Section, Value};
use super::tree::Tree;
use super::{path, secret_path, some, value};
use crate::gateway::management::{self, ServerOptions};
use crate::io::dm_client::{Roots, Trust};
use crate::limits;
use crate::proto::auth::Secret;
use crate::proto::bootstrap::fetch;
use crate::proto::bootstrap::security::Keys;
use crate::proto::syncml::Encoding;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the shell does for the gateway as a DM client.
#[derive(Clone, Debug, Default)]
pub struct ClientConfig {
    /// Whom to believe of each `[[server]]`, by its id.
    pub trust: HashMap<String, Arc<Trust>>,
    /// Whom to believe of bootstrap servers.
    pub bootstrap_trust: Arc<Trust>,
    /// `[bootstrap] directories`: where factory files are.
    pub directories: Vec<PathBuf>,
    /// `[bootstrap] card-directory` or `modem`.
    pub card: Option<CardConfig>,
}

/// Where the smartcard is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardConfig {
    /// A directory of EF dumps.
    Directory(PathBuf),
    /// The AT port of a modem.
    Modem(PathBuf),
}

/// Where factory files are, unless the configuration says otherwise.
const DIRECTORIES: [&str; 2] = ["/usr/lib/dm-gateway/bootstrap.d", "/etc/dm-gateway/bootstrap.d"];

pub(super) fn client(
    tree: &Tree,
    device_id: String,
    warnings: &mut Vec<String>,
) -> Result<(management::Options, ClientConfig), ConfigError> {
    let mut options = management::Options {
        device_id,
        hardware: std::env::consts::ARCH.to_owned(),
        ..management::Options::default()
    };
    let mut config = ClientConfig::default();
    for section in tree.sections("server") {
        let server = server(&section)?;
        if options.servers.iter().any(|other| other.id == server.id) {
            let value = section.need("id", "")?;
            return Err(value.error("is the id of another server too", "one [[server]] for each"));
        }
        config.trust.insert(server.id.clone(), trust(&section)?);
        options.servers.push(server);
    }
    let bootstrap = tree.section("bootstrap");
    let Some(section) = bootstrap else {
        config.directories = DIRECTORIES.map(PathBuf::from).into();
        options.parameters = default_parameters();
        return Ok((options, config));
    };
    config.bootstrap_trust = trust(&section)?;
    config.directories = match section.get("directories") {
        Some(value) => {
            let directories = paths(&value)?;
            let is_usual = |it: &Path| DIRECTORIES.iter().any(|usual| it == Path::new(usual));
            for missing in directories.iter().filter(|it| !it.is_dir() && !is_usual(it)) {
                let missing = missing.display();
                warnings.push(format!("there is no directory {missing}: no factory file is read"));
            }
            directories
        }
        None => DIRECTORIES.map(PathBuf::from).into(),
    };
    config.card = card(&section)?;
    options.keys = Keys {
        network: secret(&section, "network-pin-file", warnings)?,
        user: secret(&section, "user-pin-file", warnings)?,
    };
    if let Some(value) = section.get("allow") {
        options.allow = value.texts()?.into_iter().map(|(_, text)| text.to_owned()).collect();
    }
    options.sources = sources(&section, config.card.is_some())?;
    options.parameters = match section.get("parameters") {
        Some(value) => parameters(&value)?,
        None => default_parameters(),
    };
    Ok((options, config))
}

fn server(section: &Section<'_>) -> Result<ServerOptions, ConfigError> {
    let value = section.need("id", "\"com.example.dms\"")?;
    let id = value.text()?;
    // What no account may have as its ServerID.
    let is_bad = |it: char| it.is_control() || it.is_whitespace() || "=&*+".contains(it);
    if id.is_empty() || id.len() > limits::SERVER_ID || id.contains(is_bad) {
        return Err(value.error("is not a DM server id", "1 to 255 octets, no blank, no = & * +"));
    }
    Ok(ServerOptions {
        id: id.to_owned(),
        allow_http: match section.get("allow-http") {
            Some(value) => value.boolean()?,
            None => false,
        },
        encoding: match section.get("encoding") {
            Some(value) => value.choice(&[("wbxml", Encoding::Wbxml), ("xml", Encoding::Xml)])?,
            None => Encoding::Wbxml,
        },
        interval: match section.get("interval") {
            Some(value) => Some(value::span_of_time(&value, limits::LONGEST_INTERVAL)?),
            None => None,
        },
    })
}

/// `trust`, `client-certificate`, `client-key`.
fn trust(section: &Section<'_>) -> Result<Arc<Trust>, ConfigError> {
    let mut trust = Trust::default();
    let value = section.get("trust");
    if let Some(value) = &value {
        trust.roots = match value.text()? {
            "system" => Roots::SystemBundle,
            text => match text.strip_prefix("sha256:") {
                Some(digits) => Roots::Pin(pin(value, digits)?),
                None => Roots::File(noted(value)?),
            },
        };
    }
    let certificate = section.get("client-certificate");
    let key = section.get("client-key");
    let mut on_trust = false;
    trust.identity = match (&certificate, &key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            let (certificate, path) = (noted(certificate)?, noted_at(key, secret_path(key)?));
            on_trust = value::is_taken_on_trust(key) && !path.exists();
            Some((certificate, path))
        }
        (Some(value), None) => return Err(value.error("has no key", "`client-key` beside it")),
        (None, Some(value)) => {
            return Err(value.error("has no certificate", "`client-certificate` beside it"));
        }
    };
    if let Some(value) = value.or(certificate) {
        let untold = Trust { identity: None, ..trust.clone() };
        let checked = if on_trust { untold.check() } else { trust.check() };
        if let Err(why) = checked {
            return Err(value.error(format!("cannot be used: {why}"), "a PEM file that is there"));
        }
    }
    Ok(Arc::new(trust))
}

/// The path of a file whose content counts.
fn noted(value: &Value<'_>) -> Result<PathBuf, ConfigError> {
    Ok(noted_at(value, path(value)?))
}

fn noted_at(value: &Value<'_>, path: PathBuf) -> PathBuf {
    let octets = value::read_file(&path, limits::TRUST_FILE as usize).unwrap_or_default();
    value::note(value, &path, &octets);
    path
}

fn pin(value: &Value<'_>, digits: &str) -> Result<[u8; 32], ConfigError> {
    let octets = digits.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    let octets = octets.collect::<Option<Vec<_>>>().and_then(|octets| octets.try_into().ok());
    octets.ok_or_else(|| {
        value.error("is no pin", "`sha256:` and the 64 digits of the public key's SHA-256")
    })
}

fn card(section: &Section<'_>) -> Result<Option<CardConfig>, ConfigError> {
    let directory = section.get("card-directory");
    let modem = section.get("modem");
    Ok(match (directory, modem) {
        (Some(_), Some(value)) => {
            return Err(value.error("stands beside `card-directory`", "one of the two"));
        }
        (Some(value), None) => Some(CardConfig::Directory(path(&value)?)),
        (None, Some(value)) => Some(CardConfig::Modem(path(&value)?)),
        (None, None) => None,
    })
}

fn secret(
    section: &Section<'_>,
    key: &'static str,
    warnings: &mut Vec<String>,
) -> Result<Option<Secret>, ConfigError> {
    let Some(value) = section.get(key) else { return Ok(None) };
    let path = secret_path(&value)?;
    let (secret, is_public) = value::secret(&value, &path)?;
    if is_public {
        let path = path.display();
        warnings.push(format!("everybody may read {path}: chmod o-r {path}"));
    }
    Ok(Some(Secret::new(secret)))
}

/// `sources`, by default the card where there is one.
// Of a `trust` that is no text, `trust` has told.
fn sources(section: &Section<'_>, has_card: bool) -> Result<Vec<management::Source>, ConfigError> {
    let Some(value) = section.get("sources") else {
        return Ok(has_card.then_some(management::Source::Card).into_iter().collect());
    };
    let own_trust = section.get("trust").is_some_and(|it| it.text().is_ok_and(|it| it != "system"));
    let advice = "\"card\", \"https://…\" or \"srv:_dm-bootstrap._tcp.example.com/path\"";
    let mut sources = Vec::new();
    for (value, text) in value.texts()? {
        sources.push(match text.strip_prefix("srv:") {
            None if text == "card" && has_card => management::Source::Card,
            None if text == "card" => {
                let advice = "`card-directory` or `modem` beside it";
                return Err(value.error("holds \"card\", and there is no card", advice));
            }
            None if fetch::url(text, &[]).is_some() => management::Source::Fetch(text.to_owned()),
            None => return Err(value.error("holds what is no source", advice)),
            Some(rest) => {
                let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
                if name.is_empty() {
                    return Err(value.error("names no service", advice));
                }
                management::Source::Service {
                    name: name.to_owned(),
                    path: path.to_owned(),
                    any_host: own_trust,
                }
            }
        });
    }
    Ok(sources)
}

fn default_parameters() -> Vec<(String, String)> {
    [("device", "{device}"), ("server", "{server}")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn parameters(value: &Value<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let texts = value.texts()?.into_iter();
    let parameter = |(value, text): (Value<'_>, &str)| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(value.error("holds no `name=value`", "\"device={device}\"")),
    };
    texts.map(parameter).collect()
}

fn paths(value: &Value<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let base = value.base();
    Ok(some(value, "leave the key out for the usual ones")?
        .into_iter()
        .map(|(_, text)| base.join(text))
        .collect())
}
