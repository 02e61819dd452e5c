//! `[wan] http-push-listen` and `[wan.http-push]`.

use super::section::{ConfigError, Section, Value};
use super::tree::Tree;
use super::{get, path, secret_path, twice, value};
use crate::codes;
use crate::io::tls_server::{TlsFault, TlsServer};
use crate::limits;
use crate::proto::auth::Secret;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The listener for pushes over HTTP.
#[derive(Clone, Debug, Default)]
pub struct HttpPush {
    /// `http-push-listen`; without one there is no listener.
    pub listen: Vec<SocketAddr>,
    /// Of `certificate`, `key` and `client-ca`; nothing for plain HTTP, on loopback.
    pub tls: Option<TlsServer>,
}

/// The listener, and the token that it asks for.
pub(super) fn http_push(
    tree: &Tree,
    wan: Option<Section<'_>>,
    warnings: &mut Vec<String>,
) -> Result<(HttpPush, Option<Secret>), ConfigError> {
    let section = tree.section("wan.http-push");
    let (tls, token) = match section {
        Some(section) => (tls(&section, NAMES, warnings)?, token(&section, warnings)?),
        None => (None, None),
    };
    let listen_key = get(wan, "http-push-listen");
    let listen = listen_key.as_ref().map(listen).transpose()?.unwrap_or_default();
    let Some(key) = listen_key.filter(|_| !listen.is_empty()) else {
        if section.is_some() {
            warnings.push("[wan.http-push] has no effect without http-push-listen".to_owned());
        }
        return Ok((HttpPush::default(), None));
    };
    if token.is_none() && get(section, "client-ca").is_none() {
        let advice = "`token-file` in [wan.http-push], or `client-ca` there";
        return Err(key.error("would take pushes over HTTP from anybody", advice));
    }
    let open = listen.iter().find(|address| !address.ip().to_canonical().is_loopback());
    if let (None, Some(address)) = (&tls, open) {
        let problem = format!("holds {address}, where tokens would pass in clear");
        let advice = "`certificate` and `key` in [wan.http-push], or a loopback address with a \
                      TLS proxy in front";
        return Err(key.error(problem, advice));
    }
    Ok((HttpPush { listen, tls }, token))
}

const NAMES: (&str, &str, Option<&str>) = ("certificate", "key", Some("client-ca"));

fn listen(value: &Value<'_>) -> Result<Vec<SocketAddr>, ConfigError> {
    let mut seen = HashSet::new();
    let mut listen = Vec::new();
    for (value, text) in value.texts()? {
        let address = value::listen_address(&value, text)?;
        if address.port() != 0 && !seen.insert(address) {
            return Err(twice(&value, address));
        }
        listen.push(address);
    }
    Ok(listen)
}

/// Reads what a listener shows, by the names of its keys: its certificate, the private key, and who
/// vouches for clients.
pub(super) fn tls(
    section: &Section<'_>,
    names: (&'static str, &'static str, Option<&'static str>),
    warnings: &mut Vec<String>,
) -> Result<Option<TlsServer>, ConfigError> {
    let (certificate_name, key_name, ca_name) = names;
    let client_ca = ca_name.and_then(|name| section.get(name));
    let missing = |name: &str| (format!("has no `{name}` beside it"), format!("`{name}` too"));
    let (certificate, key) = match (section.get(certificate_name), section.get(key_name)) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(lonely), None) => {
            let (problem, advice) = missing(key_name);
            return Err(lonely.error(problem, &advice));
        }
        (None, Some(lonely)) => {
            let (problem, advice) = missing(certificate_name);
            return Err(lonely.error(problem, &advice));
        }
        (None, None) => {
            return match client_ca {
                Some(lonely) => {
                    let advice = "`certificate` and `key` too: clients show theirs in TLS only";
                    Err(lonely.error(missing(certificate_name).0, advice))
                }
                None => Ok(None),
            };
        }
    };
    let read = |of: &Value<'_>, path: PathBuf| {
        let octets = value::read_file(&path, limits::PUSH_PEM);
        value::note(of, &path, octets.as_deref().unwrap_or_default());
        let octets = octets.map_err(|why| {
            let problem = format!("names {}, which {why}", path.display());
            of.error(problem, "a PEM file, readable for the service's user")
                .coded(codes::UNREADABLE)
        })?;
        Ok((path, octets))
    };
    let (certificate_path, chain) = read(&certificate, path(&certificate)?)?;
    let key_path = secret_path(&key)?;
    let (key_path, private) = match read(&key, key_path.clone()) {
        Err(_) if value::is_taken_on_trust(&key) => (key_path, None),
        read => read.map(|(path, octets)| (path, Some(octets)))?,
    };
    let authorities = client_ca.as_ref().map(|of| read(of, path(of)?)).transpose()?;
    if value::is_public(&key_path) {
        let path = key_path.display();
        warnings.push(format!("everybody may read {path}: chmod o-r {path}"));
    }
    let of_clients = authorities.as_ref().map(|(_, octets)| &octets[..]);
    let fault = match TlsServer::read(&chain, private.as_deref(), of_clients) {
        Ok(tls) => return Ok(Some(tls)),
        Err(fault) => fault,
    };
    let (value, path, why, advice) = match fault {
        TlsFault::Certificate(why) => {
            (certificate, certificate_path, why, "our certificate and those between it and its CA")
        }
        TlsFault::Key(why) => (key, key_path, why, "the certificate's key, not encrypted"),
        TlsFault::ClientCa(why) => {
            let path = authorities.map(|(path, _)| path).unwrap_or_default();
            (client_ca.unwrap_or(certificate), path, why, "the CA certificates of those who push")
        }
    };
    Err(value.error(format!("names {}, which {why}", path.display()), advice))
}

fn token(section: &Section<'_>, warnings: &mut Vec<String>) -> Result<Option<Secret>, ConfigError> {
    let Some(value) = section.get("token-file") else { return Ok(None) };
    let path = secret_path(&value)?;
    let (token, is_public) = value::secret(&value, &path)?;
    let path = path.display();
    if is_public {
        warnings.push(format!("everybody may read {path}: chmod o-r {path}"));
    }
    if token.len() < limits::PUSH_TOKEN {
        let least = limits::PUSH_TOKEN;
        warnings.push(format!(
            "the token in {path} has fewer than {least} octets, anybody may guess it: make one by \
             `openssl rand -hex 32`"
        ));
    }
    Ok(Some(Secret::new(token)))
}
