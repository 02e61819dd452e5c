//! Reads the arguments of `simulate`.

use super::{Pushes, Start, Task, Until, managing, unusable};
use crate::cli::client::Stop;
use crate::cli::definition;
use crate::proto::auth::{Scheme, Secret};
use crate::proto::syncml::Encoding;
use crate::simulate::{
    Account, DmServerOptions, EndDeviceOptions, FarmOptions, Profile, Quirk, Server, SimEvent,
};
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

/// What the arguments ask for.
pub(super) fn read(from: &definition::Given) -> Result<Task, Stop> {
    let role = from.path.last().map_or("", |command| command.name);
    let mut given = Given::default();
    for (name, value) in from.options() {
        let Some(value) = value.to_str() else {
            return Err(Stop::Usage(format!("--{name} is not UTF-8")));
        };
        match name {
            "json" | "format" => {}
            "wait" => given.until.event = Some(awaited(value)?),
            "timeout" => given.until.timeout = Some(seconds(number(name, value)?)?),
            "quirk" if value == "list" => {
                let names = Quirk::NAMES.map(|(name, _)| format!("{name}\n"));
                return Ok(Task::Print(names.concat()));
            }
            _ => given.take(name, value)?,
        }
    }
    match role {
        "device" => given.device(),
        "server" => given.server(),
        _ => given.farm(),
    }
}

/// All options of all three, as they were given.
#[derive(Default)]
struct Given {
    id: Option<String>,
    listen: Option<SocketAddr>,
    gateway: Option<String>,
    gateway_id: Option<String>,
    servers: Vec<Server>,
    wbxml: bool,
    draft: bool,
    auth: Option<Option<Scheme>>,
    user: Option<String>,
    secret: Option<Secret>,
    server_secret: Option<Secret>,
    push_secret: Option<Secret>,
    quirks: Vec<Quirk>,
    open_session: bool,
    factory_fresh: bool,
    pin: Option<Secret>,
    push_to: Option<SocketAddr>,
    device: Option<String>,
    session: Option<u16>,
    count: Option<u32>,
    interval: Option<f64>,
    repeat: bool,
    raw: Option<Vec<u8>>,
    push_on_association: bool,
    push_port: Option<u16>,
    base_address: Option<Ipv4Addr>,
    write_leases: Option<String>,
    managing: managing::Given,
    until: Until,
}

impl Given {
    fn take(&mut self, name: &str, value: &str) -> Result<(), Stop> {
        match name {
            "open-session" => self.open_session = true,
            "factory-fresh" => self.factory_fresh = true,
            "repeat" => self.repeat = true,
            "push-on-association" => self.push_on_association = true,
            name if self.managing.switch(name)? => {}
            _ => return self.take_value(name, value),
        }
        Ok(())
    }

    fn take_value(&mut self, name: &str, value: &str) -> Result<(), Stop> {
        let wrong = || Stop::Usage(format!("--{name} cannot be {value}"));
        match name {
            "id" => self.id = Some(value.to_owned()),
            "listen" => self.listen = Some(number(name, value)?),
            "gateway" => self.gateway = Some(value.to_owned()),
            "gateway-id" => self.gateway_id = Some(value.to_owned()),
            "server" => {
                let (id, url) = split_server(value).ok_or_else(wrong)?;
                self.servers.push(Server { id: id.into(), url: url.into(), secret: None });
            }
            "encoding" => self.wbxml = value == "wbxml",
            "profile" => self.draft = value == "draft",
            "auth" => {
                self.auth = Some(match value {
                    "basic" => Some(Scheme::Basic),
                    "md5" => Some(Scheme::Md5),
                    "mac" => Some(Scheme::Mac),
                    _ => None,
                });
            }
            "user" => self.user = Some(value.to_owned()),
            "secret-file" => self.secret = Some(secret(value)?),
            "push-secret-file" => self.push_secret = Some(secret(value)?),
            "server-secret-file" => self.server_secret = Some(secret(value)?),
            "pin-file" => self.pin = Some(secret(value)?),
            "quirk" => self.quirks.push(Quirk::parse(value).ok_or_else(wrong)?),
            "push-to" => self.push_to = Some(number(name, value)?),
            "device" => self.device = Some(value.to_owned()),
            "session" => self.session = Some(number(name, value)?),
            "count" => self.count = Some(number(name, value)?),
            "interval" => self.interval = Some(number(name, value)?),
            "raw" => self.raw = Some(octets(value).ok_or_else(wrong)?),
            "push-port" => self.push_port = Some(number(name, value)?),
            "base-address" => self.base_address = Some(number(name, value)?),
            "write-leases" => self.write_leases = Some(value.to_owned()),
            _ if self.managing.take(name, value)? => {}
            _ => return Err(Stop::Usage(format!("no option --{name}"))),
        }
        Ok(())
    }

    fn device(mut self) -> Result<Task, Stop> {
        let account = self.account();
        for server in &mut self.servers {
            server.secret.clone_from(&self.push_secret);
        }
        if self.factory_fresh && (account.is_some() || self.gateway.is_some()) {
            let why = "a factory-fresh device knows no --gateway and has no secrets";
            return Err(Stop::Usage(why.into()));
        }
        let gateway = if self.factory_fresh { Some(String::new()) } else { self.gateway };
        let options = EndDeviceOptions {
            id: needed("id", self.id)?,
            listen: needed("listen", self.listen)?,
            gateway_id: self.gateway_id,
            gateway_url: needed("gateway", gateway)?,
            servers: self.servers,
            encoding: if self.wbxml { Encoding::Wbxml } else { Encoding::Xml },
            profile: if self.draft { Profile::Draft } else { Profile::Registered },
            account,
            quirks: self.quirks,
        };
        let start = match (self.factory_fresh, self.open_session) {
            (true, _) => Start::FactoryFresh(self.pin),
            (false, true) => Start::Session,
            (false, false) => Start::Wait,
        };
        Ok(Task::Device { options, start, until: self.until })
    }

    fn account(&self) -> Option<Account> {
        let scheme = self.auth.flatten();
        (scheme.is_some() || self.server_secret.is_some()).then(|| Account {
            scheme,
            user: self.user.clone().unwrap_or_default(),
            secret: self.secret.clone().unwrap_or_else(|| Secret::new("")),
            server_secret: self.server_secret.clone(),
        })
    }

    fn server(mut self) -> Result<Task, Stop> {
        let interval = seconds(self.interval.unwrap_or(1.0))?;
        let count = u16::try_from(self.count.unwrap_or(1));
        let count = count.map_err(|_| Stop::Usage("--count is at most 65535".into()))?;
        let pushes = match self.push_to {
            None => None,
            Some(to) => Some(Pushes {
                to,
                device: self.device,
                first: self.session.unwrap_or(1),
                count,
                interval,
                repeat: self.repeat,
                raw: self.raw,
            }),
        };
        let id = needed("id", self.id)?;
        let scheme = self.auth.unwrap_or(Some(Scheme::Md5));
        let secret = self.secret.clone();
        if self.auth.is_some() || self.user.is_some() {
            self.managing.wanted();
        }
        let management = self.managing.options(&id, scheme, self.user, secret)?;
        let options = DmServerOptions {
            id,
            listen: needed("listen", self.listen)?,
            push_port: self.push_port.unwrap_or(2948),
            secret: self.secret,
            nonce: Vec::new(),
            push_on_association: self.push_on_association,
        };
        Ok(Task::Server {
            options,
            management: management.map(Box::new),
            pushes,
            until: self.until,
        })
    }

    fn farm(self) -> Result<Task, Stop> {
        let options = FarmOptions {
            id_prefix: "IMEI:".to_owned(),
            count: needed("count", self.count)?,
            base_address: needed("base-address", self.base_address)?,
            push_port: self.push_port.unwrap_or(2948),
            gateway_id: self.gateway_id,
            gateway_url: needed("gateway", self.gateway)?,
            servers: self.servers,
            encoding: if self.wbxml { Encoding::Wbxml } else { Encoding::Xml },
            quirks: self.quirks,
            open_session: self.open_session,
        };
        Ok(Task::Farm { options, leases: self.write_leases, until: self.until })
    }
}

pub(super) fn needed<T>(name: &str, value: Option<T>) -> Result<T, Stop> {
    value.ok_or_else(|| Stop::Usage(format!("--{name} is missing")))
}

fn number<T: FromStr>(name: &str, text: &str) -> Result<T, Stop>
where
    T::Err: Display,
{
    text.parse().map_err(|error| Stop::Usage(format!("--{name} cannot be {text}: {error}")))
}

/// `ID=URL`. An id that is a URL may hold `=` itself: the last `=http://` cuts.
fn split_server(text: &str) -> Option<(&str, &str)> {
    let cut = text.rfind("=http://")?;
    let (id, url) = text.split_at(cut);
    (!id.is_empty()).then_some((id, url.get(1..)?))
}

fn awaited(text: &str) -> Result<(String, u64), Stop> {
    let (name, times) = text.split_once('=').unwrap_or((text, "1"));
    let times = times.parse().map_err(|_| Stop::Usage(format!("--wait {text}: how often?")))?;
    if SimEvent::NAMES.contains(&name) {
        return Ok((name.to_owned(), times));
    }
    Err(Stop::Usage(format!("--wait is one of {}", SimEvent::NAMES.join(", "))))
}

fn seconds(value: f64) -> Result<Duration, Stop> {
    Duration::try_from_secs_f64(value).map_err(|error| Stop::Usage(error.to_string()))
}

fn octets(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit))
            .collect(),
    )
}

pub(super) fn secret(path: &str) -> Result<Secret, Stop> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| unusable(path, &error))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
