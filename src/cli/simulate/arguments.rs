//! Reads the arguments of `simulate`.

use super::{Failure, Pushes, Start, Task, USAGE, Until, managing};
use crate::proto::auth::{Scheme, Secret};
use crate::proto::syncml::Encoding;
use crate::simulate::managing::Misbehaviour;
use crate::simulate::{
    Account, DmServerOptions, EndDeviceOptions, FarmOptions, Profile, Quirk, Server, SimEvent,
};
use lexopt::{Arg, Parser, ValueExt};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What the arguments ask for.
pub(super) fn read(mut arguments: Parser) -> Result<Task, Failure> {
    let role = match arguments.next()? {
        Some(Arg::Value(role)) => role.string()?,
        Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Task::Print(USAGE.to_owned())),
        _ => return Err(Failure::Usage("simulate what: device, server or farm?".into())),
    };
    let allowed: &[&str] = match role.as_str() {
        "device" => &[
            "id",
            "listen",
            "gateway",
            "gateway-id",
            "server",
            "encoding",
            "profile",
            "auth",
            "user",
            "secret-file",
            "server-secret-file",
            "push-secret-file",
            "quirk",
            "open-session",
            "factory-fresh",
            "pin-file",
        ],
        "server" => &[
            "id",
            "listen",
            "push-to",
            "device",
            "session",
            "count",
            "interval",
            "repeat",
            "raw",
            "secret-file",
            "push-on-association",
            "push-port",
        ],
        "farm" => &[
            "count",
            "base-address",
            "push-port",
            "gateway",
            "gateway-id",
            "server",
            "encoding",
            "quirk",
            "open-session",
            "write-leases",
        ],
        other => return Err(Failure::Usage(format!("{other} cannot be simulated"))),
    };
    let mut given = Given::default();
    while let Some(argument) = arguments.next()? {
        let Arg::Long(name) = argument else { return Err(argument.unexpected().into()) };
        let name = name.to_owned();
        match name.as_str() {
            "help" => return Ok(Task::Print(USAGE.to_owned())),
            "wait" => given.until.event = Some(awaited(&arguments.value()?.string()?)?),
            "timeout" => given.until.timeout = Some(seconds(arguments.value()?.parse()?)?),
            name if allowed.contains(&name) || role == "server" && of_managing(name) => {
                if name == "quirk" && given.quirk(&arguments.value()?.string()?)? {
                    let names = Quirk::NAMES.map(|(name, _)| format!("{name}\n"));
                    return Ok(Task::Print(names.concat()));
                }
                given.take(name, &mut arguments)?;
            }
            other => {
                return Err(Failure::Usage(format!("simulate {role} has no option --{other}")));
            }
        }
    }
    match role.as_str() {
        "device" => given.device(),
        "server" => given.server(),
        _ => given.farm(),
    }
}

fn of_managing(name: &str) -> bool {
    managing::NAMES.contains(&name) || Misbehaviour::parse(name).is_some()
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
    /// Whether the names are to be listed instead.
    fn quirk(&mut self, name: &str) -> Result<bool, Failure> {
        if name == "list" {
            return Ok(true);
        }
        let quirk = Quirk::parse(name);
        self.quirks.push(quirk.ok_or_else(|| Failure::Usage(format!("no quirk {name}")))?);
        Ok(false)
    }

    fn take(&mut self, name: &str, arguments: &mut Parser) -> Result<(), Failure> {
        match name {
            "quirk" => return Ok(()),
            "open-session" => self.open_session = true,
            "factory-fresh" => self.factory_fresh = true,
            "repeat" => self.repeat = true,
            "push-on-association" => self.push_on_association = true,
            name if self.managing.switch(name)? => {}
            _ => return self.take_value(name, arguments),
        }
        Ok(())
    }

    fn take_value(&mut self, name: &str, arguments: &mut Parser) -> Result<(), Failure> {
        let value = arguments.value()?;
        let wrong = |text: &str| Failure::Usage(format!("--{name} cannot be {text}"));
        match name {
            "id" => self.id = Some(value.string()?),
            "listen" => self.listen = Some(value.parse()?),
            "gateway" => self.gateway = Some(value.string()?),
            "gateway-id" => self.gateway_id = Some(value.string()?),
            "server" => {
                let text = value.string()?;
                let (id, url) = split_server(&text).ok_or_else(|| wrong(&text))?;
                self.servers.push(Server { id: id.into(), url: url.into(), secret: None });
            }
            "encoding" => self.wbxml = choice(name, &value.string()?, ["xml", "wbxml"])? == 1,
            "profile" => {
                self.draft = choice(name, &value.string()?, ["registered", "draft"])? == 1;
            }
            "auth" => {
                let index = choice(name, &value.string()?, ["none", "basic", "md5", "mac"])?;
                let schemes = [Scheme::Basic, Scheme::Md5, Scheme::Mac];
                self.auth = Some(index.checked_sub(1).and_then(|it| schemes.get(it).copied()));
            }
            "user" => self.user = Some(value.string()?),
            "secret-file" => self.secret = Some(secret(&value.string()?)?),
            "push-secret-file" => self.push_secret = Some(secret(&value.string()?)?),
            "server-secret-file" => self.server_secret = Some(secret(&value.string()?)?),
            "pin-file" => self.pin = Some(secret(&value.string()?)?),
            "push-to" => self.push_to = Some(value.parse()?),
            "device" => self.device = Some(value.string()?),
            "session" => self.session = Some(value.parse()?),
            "count" => self.count = Some(value.parse()?),
            "interval" => self.interval = Some(value.parse()?),
            "raw" => {
                let text = value.string()?;
                self.raw = Some(octets(&text).ok_or_else(|| wrong(&text))?);
            }
            "push-port" => self.push_port = Some(value.parse()?),
            "base-address" => self.base_address = Some(value.parse()?),
            "write-leases" => self.write_leases = Some(value.string()?),
            other => {
                if !self.managing.take(other, &value.string()?)? {
                    return Err(Failure::Usage(format!("no option --{other}")));
                }
            }
        }
        Ok(())
    }

    fn device(mut self) -> Result<Task, Failure> {
        if self.auth == Some(Some(Scheme::Mac)) {
            return Err(Failure::Usage("a simulated device does not speak mac".into()));
        }
        let account = self.account();
        for server in &mut self.servers {
            server.secret.clone_from(&self.push_secret);
        }
        if self.factory_fresh && (account.is_some() || self.gateway.is_some()) {
            let why = "a factory-fresh device knows no --gateway and has no secrets";
            return Err(Failure::Usage(why.into()));
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

    fn server(mut self) -> Result<Task, Failure> {
        let interval = seconds(self.interval.unwrap_or(1.0))?;
        let count = u16::try_from(self.count.unwrap_or(1));
        let count = count.map_err(|_| Failure::Usage("--count is at most 65535".into()))?;
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

    fn farm(self) -> Result<Task, Failure> {
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

pub(super) fn needed<T>(name: &str, value: Option<T>) -> Result<T, Failure> {
    value.ok_or_else(|| Failure::Usage(format!("--{name} is missing")))
}

fn choice<const N: usize>(name: &str, text: &str, of: [&str; N]) -> Result<usize, Failure> {
    let index = of.iter().position(|known| *known == text);
    index.ok_or_else(|| Failure::Usage(format!("--{name} is one of {}, not {text}", of.join(", "))))
}

/// `ID=URL`. An id that is a URL may hold `=` itself: the last `=http://` cuts.
fn split_server(text: &str) -> Option<(&str, &str)> {
    let cut = text.rfind("=http://")?;
    let (id, url) = text.split_at(cut);
    (!id.is_empty()).then_some((id, url.get(1..)?))
}

fn awaited(text: &str) -> Result<(String, u64), Failure> {
    let (name, times) = text.split_once('=').unwrap_or((text, "1"));
    let times = times.parse().map_err(|_| Failure::Usage(format!("--wait {text}: how often?")))?;
    if SimEvent::NAMES.contains(&name) {
        return Ok((name.to_owned(), times));
    }
    Err(Failure::Usage(format!("--wait is one of {}", SimEvent::NAMES.join(", "))))
}

fn seconds(value: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(value).map_err(|error| Failure::Usage(error.to_string()))
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

pub(super) fn secret(path: &str) -> Result<Secret, Failure> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Failure::Io(path.to_owned(), error))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}
