//! The configuration: TOML files in, valid [`Options`] out, or sentences that say what is wrong.
//!
//! | what | where | origin |
//! |---|---|---|
//! | defaults of the program | [`keys::ALL`] | `default` |
//! | whoever built the image | `/usr/lib/dm-gateway/*.toml` | `vendor` |
//! | the administrator | `/etc/dm-gateway/dm-gateway.toml` | `admin` |
//! | | `/etc/dm-gateway/conf.d/*.toml` | `drop-in` |
//! | `dm-gateway apply` | `conf.d/90-applied.toml`, or `config/` in the state directory | `applied`, `trial` |
//! | DM servers, through Gw Config | the store | `remote` |
//!
//! Later rows override earlier ones, key by key; files of one row count by name. `[[lan]]`,
//! `[[device]]` and `[[server]]` of the same name or id are the same one. What a file names in
//! `[gateway] locked` neither a later file nor a DM server may set.
//!
//! The keys are in [`keys`]; `src/manual/configuration.md` is made from it. Relative paths start
//! at the directory of the main file, in a vendor file at its own. A `…-file` of a secret is a
//! path, or `credential:NAME` for a credential that systemd hands the service. Sharing the
//! address takes two deliberate keys, `public-address` and a `transparent` LAN.

pub mod check;
mod device;
pub mod files;
mod http_push;
pub mod keys;
mod lan;
pub mod layers;
mod names;
mod observe;
mod plain;
mod provision;
pub mod reference;
pub mod reload;
mod section;
mod server;
mod tree;
mod value;
pub mod view;

pub use http_push::HttpPush;
pub use layers::Layout;
pub use observe::Observe;
pub use provision::Provision;
pub use section::ConfigError;
pub(crate) use section::nearest;
pub use server::{CardConfig, ClientConfig};
pub use tree::Origin;

use self::section::{Section, Value, shown};
use self::tree::{File, Tree};
use crate::gateway::alert::WireProfile;
use crate::gateway::policy::Policy;
use crate::gateway::{LanOptions, Options, management};
use crate::io::tls_server::TlsServer;
use crate::limits;
use log::LevelFilter;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/dm-gateway/dm-gateway.toml";

/// UDP port of WAP push.
const PUSH_PORT: u16 = 2948;

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
    /// `[provision]`.
    pub provision: Provision,
    /// What the shell does for the gateway as a DM client.
    pub client: ClientConfig,
    /// `[metrics]`, `[events]` and `[log]`.
    pub observe: Observe,
    /// `[log] level`.
    pub log_level: Option<LevelFilter>,
    /// Sentences on what is permitted and yet rarely meant: to be logged at the start.
    pub warnings: Vec<String>,
    /// Where it was read; `None` if that was no file.
    pub layout: Option<Layout>,
    tree: Tree,
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
    /// Reads a main file and those that belong to it, and the secret files that they name.
    ///
    /// # Errors
    /// If one of them is unreadable or something in them is wrong.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_from(&Layout::of(path))
    }

    /// The same.
    ///
    /// # Errors
    /// The same.
    pub fn load_from(layout: &Layout) -> Result<Self, ConfigError> {
        let (tree, errors) = layout.read_all("`--config FILE` with the file's path");
        let config = Self::first_or(errors, tree)?;
        Ok(Self { layout: Some(layout.clone()), ..config })
    }

    /// What would be if what is on trial were taken back.
    ///
    /// # Errors
    /// Those of [`Config::load`].
    pub fn load_untried(layout: &Layout) -> Result<Self, ConfigError> {
        let (tree, errors) = layout.read_untried();
        let config = Self::first_or(errors, tree)?;
        Ok(Self { layout: Some(layout.clone()), ..config })
    }

    /// What would be if this text were applied.
    ///
    /// # Errors
    /// Those of [`Config::load`]; `name` stands for the file that the text is from.
    pub fn load_with(layout: &Layout, text: &str, name: &Path) -> Result<Self, ConfigError> {
        let (tree, errors) = layout.read_with(text, name);
        let config = Self::first_or(errors, tree)?;
        Ok(Self { layout: Some(layout.clone()), ..config })
    }

    /// Reads the text of the file `origin` alone, and the secret files that it names.
    ///
    /// # Errors
    /// If something in them is wrong.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, ConfigError> {
        let mut tree = Tree::default();
        let errors = tree.add(File {
            path: origin.to_owned(),
            origin: Origin::Admin,
            base: origin.parent().unwrap_or_else(|| Path::new("")).to_owned(),
            text: text.to_owned(),
        });
        Self::first_or(errors, tree)
    }

    fn first_or(errors: Vec<ConfigError>, tree: Tree) -> Result<Self, ConfigError> {
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Self::of(tree),
        }
    }

    fn of(tree: Tree) -> Result<Self, ConfigError> {
        tree.named.take();
        let mut warnings = Vec::new();
        let (_, state_dir) = state_dir(&tree)?;
        let control_socket = socket(&tree)?;
        let gateway = gateway(&tree)?;
        let wan = tree.section("wan");
        let wan_interface = get(wan, "interface").map(|value| interface(&value)).transpose()?;
        let (lan_options, lans) = lan::lans(&tree, wan_interface.as_deref(), &mut warnings)?;
        let accounts = device::devices(&tree, &lan_options, &mut warnings)?;
        let (http_push, push_token) = http_push::http_push(&tree, wan, &mut warnings)?;
        let (id, public_address) = (id(&gateway)?, public_address(&gateway, &mut warnings)?);
        let device_id = match gateway.get("device-id") {
            Some(value) => value.text()?.to_owned(),
            None => id.clone(),
        };
        let (mut management, client) = server::client(&tree, device_id, &mut warnings)?;
        if let Some(value) = gateway.get("remote-settings") {
            management.remote_settings = value.boolean()?;
        }
        management.locked = management::Locked {
            public_address: tree.lock_of("gateway.public-address").is_some(),
            share_address: tree.lock_of("gateway.share-address").is_some(),
        };
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
        let provision = provision::provision(&tree)?;
        let mut client = client;
        client.directories.push(state_dir.join(crate::io::state::PROVISIONED).join("bootstrap.d"));
        let observe = observe::observe(&tree)?;
        let log_level = get(tree.section("log"), "level").map(|value| level(&value)).transpose()?;
        Ok(Self {
            log_level,
            layout: None,
            tree,
            options,
            state_dir,
            control_socket,
            push_listen,
            http_push,
            wan_interface,
            lans,
            client,
            provision,
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
    let advice = "`--socket PATH`, or `--config FILE` with the daemon's file";
    let (tree, errors) = Layout::of(path).read_written(advice);
    match socket(&tree) {
        Ok(socket) => Ok(socket),
        // Which file cannot be read says more than what is not in the others.
        Err(error) => Err(errors.into_iter().find(ConfigError::is_fatal).unwrap_or(error)),
    }
}

/// The state directory that the configuration at `path` names. Looks at nothing else there.
///
/// # Errors
/// If a file is unreadable or is not TOML, or none tells the state directory.
pub fn state_directory(path: &Path) -> Result<PathBuf, ConfigError> {
    let (tree, errors) = Layout::of(path).read_written("`--config FILE` with the daemon's file");
    match layers::state_dir(&tree) {
        Some(state_dir) => Ok(state_dir),
        None => Err(errors.into_iter().find(ConfigError::is_fatal).unwrap_or_else(|| {
            ConfigError::of_file(path, "there is no `[gateway] state-dir`", "such a key")
        })),
    }
}

// --- Sections --------------------------------------------------------------------------------

fn gateway(tree: &Tree) -> Result<Section<'_>, ConfigError> {
    tree.section("gateway").ok_or_else(|| {
        let advice = "`[gateway]` with `id` and `state-dir`";
        ConfigError::of_file(tree.main(), "there is no section [gateway]", advice)
    })
}

fn state_dir(tree: &Tree) -> Result<(Value<'_>, PathBuf), ConfigError> {
    let value = gateway(tree)?.need("state-dir", "\"/var/lib/dm-gateway\"")?;
    Ok((value, path(&value)?))
}

fn socket(tree: &Tree) -> Result<PathBuf, ConfigError> {
    let (value, socket) = match get(tree.section("control"), "socket") {
        Some(value) => (value, path(&value)?),
        None => {
            let (value, directory) = state_dir(tree)?;
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

fn path(value: &Value<'_>) -> Result<PathBuf, ConfigError> {
    let text = value.text()?;
    if text.chars().any(char::is_control) {
        return Err(value.error("holds control characters", "a path"));
    }
    Ok(value.base().join(text))
}

/// Where systemd keeps the credentials of the unit while it runs.
const CREDENTIALS: &str = "/run/credentials/dm-gateway.service";

/// The file of a secret: a path, or `credential:NAME` for what systemd hands the service
/// (`LoadCredential=`).
fn secret_path(value: &Value<'_>) -> Result<PathBuf, ConfigError> {
    let Some(name) = value.text()?.strip_prefix("credential:") else {
        return path(value);
    };
    if name.is_empty() || name.contains(['/', '\0']) || name == ".." {
        return Err(value.error("names no credential", "`credential:NAME`"));
    }
    match std::env::var_os("CREDENTIALS_DIRECTORY") {
        Some(directory) => Ok(Path::new(&directory).join(name)),
        None if !value.is_of_service() => Ok(Path::new(CREDENTIALS).join(name)),
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

fn level(value: &Value<'_>) -> Result<LevelFilter, ConfigError> {
    value.choice(&[
        ("error", LevelFilter::Error),
        ("warn", LevelFilter::Warn),
        ("info", LevelFilter::Info),
        ("debug", LevelFilter::Debug),
        ("trace", LevelFilter::Trace),
    ])
}

fn twice(value: &Value<'_>, address: SocketAddr) -> ConfigError {
    value.error(format!("holds {address}, which stands before already"), "each address once")
}
