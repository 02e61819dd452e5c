//! The configuration file: TOML in, valid [`Options`] out, or one sentence that says what is
//! wrong.
//!
//! | section | key | default |
//! |---|---|---|
//! | `[gateway]` | `id`: DM server id towards end devices, 1 to 255 octets | required |
//! | | `remote-settings`: whether DM servers may set Gw Config | true |
//! | | `device-id`: towards DM servers (DevInfo/DevId) | the `id` |
//! | | `state-dir`: directory for all that lasts | required |
//! | | `public-address`: IP address or DNS name by which servers reach us | none |
//! | | `share-address`: whether devices may tell it to their servers | whether `public-address` is given |
//! | | `wire-profile`: `"registered"` or `"draft"` | `"registered"` |
//! | | `push-rate`: pushes per second and mapping, fractions allowed, 0 = off | 1 |
//! | | `trigger-expiry`: seconds, or a text such as `"90s"`, `"15m"`, `"2h"`, `"1d"` | `"15m"` |
//! | `[wan]` | `push-listen`: addresses with ports | `["0.0.0.0:2948", "[::]:2948"]` |
//! | | `interface`: takes pushes from this interface only | any |
//! | | `trusted-sources`: `"10.0.0.0/8"`, a bare address is one host | any source |
//! | | `http-push-listen`: addresses with ports for pushes over HTTP | none |
//! | `[wan.http-push]` | `certificate`, `key`: PEM files; without them HTTP is plain | none |
//! | | `client-ca`: PEM file of the CAs whose certificates clients must show | none |
//! | | `token-file`: the token that each push must bring | none |
//! | `[[lan]]` | `name`: 1 to 64 octets without blanks | required |
//! | | `interface` | required |
//! | | `listen`: addresses with ports of the LAN's DM server | required |
//! | | `push-port`: UDP port of the end devices | 2948 |
//! | | `policy`: `"ignore"`, `"bootstrap"`, `"transparent"` | `"ignore"` |
//! | | `detect`: any of `"neighbours"`, `"leases"`, `"static"` | `neighbours`, `static`; with a `lease-file` all three |
//! | | `lease-file`: of dnsmasq | none |
//! | | `verify`: `"neighbour"` or `"none"` | `"neighbour"` |
//! | | `device-auth`: `"none"`, `"basic"`, `"md5"` | `"none"` |
//! | | `trusted-link`: whether nobody else is on it, so that secrets may be pushed | false |
//! | | `provision`: whether devices without an account are given one | false |
//! | | `bootstrap-profile` of its devices: `"dm"` or `"cp"` | `"dm"` |
//! | | `bootstrap-listen`: addresses with ports where they fetch it over HTTPS otherwise | none |
//! | | `bootstrap-certificate`, `bootstrap-key`: PEM files for that | none |
//! | | `request-rate`: requests per second of one address, 0 = off | 20 |
//! | | `request-burst`: requests at once of one address | 100 |
//! | `[[device]]` | `id`: `mac:…`, `IMEI:…`, a URN | required |
//! | | `lan`: name of its LAN | the LAN, if there is only one |
//! | | `address`: its fixed address | none |
//! | | `user`: name in its credentials | the id |
//! | | `secret-file`: what it proves itself by | none |
//! | | `server-secret-file`: what we prove ourselves to it by | none |
//! | | `pin-file`: its user's pin, which proves a bootstrap to it | none |
//! | `[[server]]` | `id`: of a DM server that the gateway has an account with | required |
//! | | `allow-http`: whether sessions may go without TLS | false |
//! | | `encoding`: `"wbxml"` or `"xml"` | `"wbxml"` |
//! | | `interval`: time between sessions, `"1d"` | none but those asked for |
//! | | `trust`: `"system"`, a PEM file of CAs, `"sha256:…"` of the server's public key | `"system"` |
//! | | `client-certificate`, `client-key`: PEM files | none |
//! | `[bootstrap]` | `network-pin-file`, `user-pin-file`: prove pushed bootstraps | none: they are refused |
//! | | `allow`: servers that wanted ones may be bootstrapped of, `*` for any characters | none without approval |
//! | | `sources`: `"card"`, `"https://…"`, `"srv:_dm-bootstrap._tcp.example.com/path"`, in order | the card, if there is one |
//! | | `parameters` of the request: `"name=value"`, with `{device}` and `{server}` | `["device={device}", "server={server}"]` |
//! | | `trust`, `client-certificate`, `client-key` of bootstrap servers | as for `[[server]]` |
//! | | `directories` of factory files | `bootstrap.d` in `/usr/lib/dm-gateway` and `/etc/dm-gateway` |
//! | | `card-directory`: EF dumps, or `modem`: its AT port | no card |
//! | `[control]` | `socket` | `control.sock` in the `state-dir` |
//! | `[metrics]` | `listen`: a loopback address with a port, or `"unix:/path"` | no listener |
//! | `[events]` | `directory` of programs that are told of events | none are run |
//! | `[log]` | `level`: `"error"`, `"warn"`, `"info"`, `"debug"`, `"trace"` | `"info"` |
//! | | `format`: `"text"`, `"json"`, `"journal"` | `journal` where stderr is the journal's, else `text` |
//!
//! `http-push-listen` wants a `client-ca` or a `token-file`, plain HTTP a loopback address and a
//! token; where both are given, both are asked for. A list of one may be written without
//! brackets. Relative paths start at the directory of the file. Sharing the address takes two
//! deliberate keys, `public-address` and a `transparent` LAN; `share-address = false` forbids it
//! for all LANs. A `…-file` of a secret is a path, or `credential:NAME` for a credential that
//! systemd hands the service.

mod device;
mod http_push;
mod lan;
mod observe;
mod section;
mod server;
mod value;

pub use http_push::HttpPush;
pub use observe::Observe;
pub use section::ConfigError;
pub use server::{CardConfig, ClientConfig};

use self::section::{Form, Section, Source, Value, shown};
use crate::gateway::alert::WireProfile;
use crate::gateway::policy::Policy;
use crate::gateway::{LanOptions, Options};
use crate::io::tls_server::TlsServer;
use crate::limits;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/dm-gateway/dm-gateway.toml";

/// UDP port of WAP push.
const PUSH_PORT: u16 = 2948;

const GATEWAY: Form = Form {
    name: "gateway",
    many: false,
    keys: &[
        "id",
        "public-address",
        "share-address",
        "state-dir",
        "wire-profile",
        "push-rate",
        "trigger-expiry",
        "device-id",
        "remote-settings",
    ],
};
const WAN: Form = Form {
    name: "wan",
    many: false,
    keys: &["push-listen", "interface", "trusted-sources", "http-push-listen", "http-push"],
};
const HTTP_PUSH: Form = Form {
    name: "wan.http-push",
    many: false,
    keys: &["certificate", "key", "client-ca", "token-file"],
};
const LAN: Form = Form {
    name: "lan",
    many: true,
    keys: &[
        "name",
        "interface",
        "listen",
        "push-port",
        "policy",
        "detect",
        "lease-file",
        "verify",
        "device-auth",
        "request-rate",
        "request-burst",
        "trusted-link",
        "provision",
        "bootstrap-profile",
        "bootstrap-listen",
        "bootstrap-certificate",
        "bootstrap-key",
    ],
};
const DEVICE: Form = Form {
    name: "device",
    many: true,
    keys: &["id", "lan", "address", "user", "secret-file", "server-secret-file", "pin-file"],
};
const CONTROL: Form = Form { name: "control", many: false, keys: &["socket"] };
const SERVER: Form = Form {
    name: "server",
    many: true,
    keys: &[
        "id",
        "allow-http",
        "encoding",
        "interval",
        "trust",
        "client-certificate",
        "client-key",
    ],
};
const BOOTSTRAP: Form = Form {
    name: "bootstrap",
    many: false,
    keys: &[
        "network-pin-file",
        "user-pin-file",
        "allow",
        "sources",
        "parameters",
        "trust",
        "client-certificate",
        "client-key",
        "directories",
        "card-directory",
        "modem",
    ],
};
const FORMS: [&Form; 11] = [
    &GATEWAY,
    &WAN,
    &HTTP_PUSH,
    &LAN,
    &DEVICE,
    &SERVER,
    &BOOTSTRAP,
    &CONTROL,
    &observe::METRICS,
    &observe::EVENTS,
    &observe::LOG,
];

/// A configuration without contradictions.
#[derive(Clone, Debug)]
pub struct Config {
    /// What the pure core is told.
    pub options: Options,
    /// `[gateway] state-dir`. It may be missing yet.
    pub state_dir: PathBuf,
    /// `[control] socket`, or `control.sock` in the state directory.
    pub control_socket: PathBuf,
    /// `[wan] push-listen`; at least one.
    pub push_listen: Vec<SocketAddr>,
    /// `[wan] http-push-listen` and `[wan.http-push]`.
    pub http_push: HttpPush,
    /// `[wan] interface`.
    pub wan_interface: Option<String>,
    /// The rest of each `[[lan]]`, in the order of `options.lans`.
    pub lans: Vec<LanConfig>,
    /// What the shell does for the gateway as a DM client.
    pub client: ClientConfig,
    /// `[metrics]`, `[events]` and `[log]`.
    pub observe: Observe,
    /// Sentences on what is permitted and yet rarely meant: to be logged at the start.
    pub warnings: Vec<String>,
}

/// What the shell does for one `[[lan]]`.
#[derive(Clone, Debug)]
pub struct LanConfig {
    /// `listen`; at least one.
    pub listen: Vec<SocketAddr>,
    /// `lease-file`; there if `detect` has `"leases"`.
    pub lease_file: Option<PathBuf>,
    /// Of `bootstrap-certificate` and `bootstrap-key`; there if `bootstrap-listen` is.
    pub bootstrap_tls: Option<TlsServer>,
}

impl Config {
    /// Reads a file, and the secret files that it names.
    ///
    /// # Errors
    /// If one of them is unreadable or something in them is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(&read(path, "`--config FILE` with the file's path")?, path)
    }

    /// Reads the text of the file `origin`, and the secret files that it names.
    ///
    /// # Errors
    /// If something in them is wrong.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, ConfigError> {
        let source = Source { text, origin };
        let tables = source.tables()?;
        source.check_names(&tables, &FORMS)?;
        for form in FORMS {
            for section in source.sections(&tables, form)? {
                section.check_keys(&FORMS)?;
            }
        }
        let mut warnings = Vec::new();
        let (_, state_dir) = state_dir(source, &tables)?;
        let control_socket = socket(source, &tables)?;
        let gateway = gateway(source, &tables)?;
        let wan = source.sections(&tables, &WAN)?.first().copied();
        let wan_interface = get(wan, "interface").map(|value| interface(&value)).transpose()?;
        let (lan_options, lans) =
            lan::lans(source, &tables, wan_interface.as_deref(), &mut warnings)?;
        let accounts = device::devices(source, &tables, &lan_options, &mut warnings)?;
        let (http_push, push_token) = http_push::http_push(source, &tables, wan, &mut warnings)?;
        let (id, public_address) = (id(&gateway)?, public_address(&gateway, &mut warnings)?);
        let device_id = match gateway.get("device-id") {
            Some(value) => value.text()?.to_owned(),
            None => id.clone(),
        };
        let (mut management, client) = server::client(source, &tables, device_id, &mut warnings)?;
        if let Some(value) = gateway.get("remote-settings") {
            management.remote_settings = value.boolean()?;
        }
        let options = Options {
            id,
            share_address: match gateway.get("share-address") {
                Some(value) => value.boolean()?,
                None => public_address.is_some(),
            },
            public_address,
            wire_profile: match gateway.get("wire-profile") {
                Some(value) => value.choice(&[
                    ("registered", WireProfile::Registered),
                    ("draft", WireProfile::Draft),
                ])?,
                None => WireProfile::default(),
            },
            push_interval: match gateway.get("push-rate") {
                Some(value) => value::interval(&value)?,
                None => Some(Duration::from_secs(1) / limits::PUSH_RATE),
            },
            trigger_expiry: match gateway.get("trigger-expiry") {
                Some(value) => value::span_of_time(&value, limits::LONGEST_TRIGGER_EXPIRY)?,
                None => limits::TRIGGER_EXPIRY,
            },
            trusted_sources: match get(wan, "trusted-sources") {
                Some(value) => some(&value, "leave the key out to trust any source")?
                    .iter()
                    .map(|(value, text)| value::prefix(value, text))
                    .collect::<Result<_, _>>()?,
                None => Vec::new(),
            },
            push_token,
            lans: lan_options,
            accounts,
            management,
        };
        warn_of_share(&options, &mut warnings);
        let push_listen = push_listen(wan)?;
        let observe = observe::observe(source, &tables)?;
        Ok(Self {
            options,
            state_dir,
            control_socket,
            push_listen,
            http_push,
            wan_interface,
            lans,
            client,
            observe,
            warnings,
        })
    }
}

/// The control socket that the configuration at `path` names. Looks at nothing else there, so
/// that an operator needs no right to read secrets.
///
/// # Errors
/// If the file is unreadable, is not TOML, or tells neither a socket nor a state directory.
pub fn control_socket(path: &Path) -> Result<PathBuf, ConfigError> {
    let text = read(path, "`--socket PATH`, or `--config FILE` with the daemon's file")?;
    let source = Source { text: &text, origin: path };
    socket(source, &source.tables()?)
}

fn read(path: &Path, advice: &str) -> Result<String, ConfigError> {
    let failed = |why: &str| ConfigError::of_file(path, format!("the file {why}"), advice);
    let octets = value::read_file(path, limits::CONFIG_FILE).map_err(|why| failed(&why))?;
    String::from_utf8(octets).map_err(|_| failed("is not UTF-8 text"))
}

// --- Sections --------------------------------------------------------------------------------

fn gateway<'t, 'a: 't>(
    source: Source<'a>,
    tables: &'t DeTable<'a>,
) -> Result<Section<'t>, ConfigError> {
    source.sections(tables, &GATEWAY)?.first().copied().ok_or_else(|| {
        let advice = "`[gateway]` with `id` and `state-dir`";
        ConfigError::of_file(source.origin, "there is no section [gateway]", advice)
    })
}

fn state_dir<'t, 'a: 't>(
    source: Source<'a>,
    tables: &'t DeTable<'a>,
) -> Result<(Value<'t>, PathBuf), ConfigError> {
    let value = gateway(source, tables)?.need("state-dir", "\"/var/lib/dm-gateway\"")?;
    Ok((value, path(source, &value)?))
}

fn socket(source: Source<'_>, tables: &DeTable<'_>) -> Result<PathBuf, ConfigError> {
    let control = source.sections(tables, &CONTROL)?.first().copied();
    let (value, socket) = match get(control, "socket") {
        Some(value) => (value, path(source, &value)?),
        None => {
            let (value, directory) = state_dir(source, tables)?;
            (value, directory.join("control.sock"))
        }
    };
    let length = socket.as_os_str().len();
    if length > limits::CONTROL_PATH {
        let most = limits::CONTROL_PATH;
        let problem = format!("makes the path of the control socket {length} octets long");
        return Err(value.error(problem, &format!("a path of at most {most} octets")));
    }
    Ok(socket)
}

fn id(gateway: &Section<'_>) -> Result<String, ConfigError> {
    let value = gateway.need("id", "\"gateway.example.com\"")?;
    let id = value.text()?;
    if id.len() > limits::SERVER_ID || id.chars().any(char::is_control) || id.trim() != id {
        let advice = "1 to 255 octets without control characters and outer blanks";
        return Err(value.error("is not a DM server id", advice));
    }
    Ok(id.to_owned())
}

fn public_address(
    gateway: &Section<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, ConfigError> {
    let Some(value) = gateway.get("public-address") else { return Ok(None) };
    let (address, oddity) = value::public_address(&value)?;
    if let Some(kind) = oddity {
        warnings.push(format!(
            "public-address {address} is {kind}: only servers inside that network (a private \
             APN, a VPN) can reach it"
        ));
    }
    Ok(Some(address))
}

fn push_listen(wan: Option<Section<'_>>) -> Result<Vec<SocketAddr>, ConfigError> {
    let Some(value) = get(wan, "push-listen") else {
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        return Ok(any.map(|ip| SocketAddr::new(ip, PUSH_PORT)).into());
    };
    let mut seen = HashSet::new();
    let mut listen = Vec::new();
    for (value, text) in some(&value, "leave the key out for port 2948 of every address")? {
        let address = value::listen_address(&value, text)?;
        if address.port() != 0 && !seen.insert(address) {
            return Err(twice(&value, address));
        }
        listen.push(address);
    }
    Ok(listen)
}

fn warn_of_share(options: &Options, warnings: &mut Vec<String>) {
    if options.public_address.is_some() {
        return;
    }
    let transparent = options.lans.iter().find(|lan| lan.policy == Policy::Transparent);
    if let Some(LanOptions { name, .. }) = transparent {
        warnings.push(format!(
            "LAN {name} is transparent and there is no public-address: devices are told not to \
             share one (Share false), servers must know it otherwise"
        ));
    } else if options.share_address {
        warnings.push("share-address has no effect without a public-address".to_owned());
    }
}

// --- Small helpers ---------------------------------------------------------------------------

fn get<'a>(section: Option<Section<'a>>, key: &'static str) -> Option<Value<'a>> {
    section.and_then(|section| section.get(key))
}

/// The texts of a list that may not be empty.
fn some<'a>(value: &Value<'a>, advice: &str) -> Result<Vec<(Value<'a>, &'a str)>, ConfigError> {
    let texts = value.texts()?;
    if texts.is_empty() { Err(value.error("is an empty list", advice)) } else { Ok(texts) }
}

fn path(source: Source<'_>, value: &Value<'_>) -> Result<PathBuf, ConfigError> {
    let text = value.text()?;
    if text.chars().any(char::is_control) {
        return Err(value.error("holds control characters", "a path"));
    }
    Ok(source.origin.parent().unwrap_or_else(|| Path::new("")).join(text))
}

/// The file of a secret: a path, or `credential:NAME` for what systemd hands the service
/// (`LoadCredential=`).
fn secret_path(source: Source<'_>, value: &Value<'_>) -> Result<PathBuf, ConfigError> {
    let Some(name) = value.text()?.strip_prefix("credential:") else {
        return path(source, value);
    };
    if name.is_empty() || name.contains(['/', '\0']) || name == ".." {
        return Err(value.error("names no credential", "`credential:NAME`"));
    }
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(directory) => Ok(Path::new(&directory).join(name)),
        None => {
            let advice = format!("`LoadCredential={name}:/…` in the unit, or a path");
            Err(value.error("names a credential, and systemd handed over none", &advice))
        }
    }
}

fn interface(value: &Value<'_>) -> Result<String, ConfigError> {
    let name = value.text()?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if name.len() > limits::INTERFACE_NAME || name.chars().any(odd) {
        let problem = format!("is {}, which no interface is called", shown(name));
        return Err(value.error(problem, "an interface that `ip link` lists"));
    }
    Ok(name.to_owned())
}

fn twice(value: &Value<'_>, address: SocketAddr) -> ConfigError {
    value.error(format!("holds {address}, which stands before already"), "each address once")
}
