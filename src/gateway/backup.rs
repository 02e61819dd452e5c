//! The gateway's memory as lines of text, and back: `backup` and `restore`.
//!
//! | line | what |
//! |---|---|
//! | `device` | an end device, with its list and what operators said of it |
//! | `server` | what is known of a DM server |
//! | `settings` | what DM servers set through Gw Config |
//! | `node` | a node of the management tree, the accounts among them |
//! | `applied` | digests of the bootstrap documents that were applied |
//! | `secret` | a record of the store that holds secrets, whole: only on demand, and never in clear on disk |
//!
//! Secrets are left out of all other lines: credentials, nonces, the secrets of end devices. A
//! change on trial is not taken along: the lines say how things were before it.

use crate::gateway::Gateway;
use crate::gateway::alert::ServerId;
use crate::gateway::device::{self, DeviceId, Ruling};
use crate::gateway::policy::Policy;
use crate::gateway::seam::{Change, MacAddress};
use crate::gateway::store::Record;
use crate::proto::tree::{self, Acl, Facts, Format, Tree};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Version of the lines.
pub const SCHEMA: u32 = 1;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Line {
    /// An end device.
    Device(DeviceLine),
    /// What is known of a DM server, without its nonces.
    Server {
        /// Its id.
        id: String,
        /// What is known.
        record: Value,
    },
    /// What DM servers set through Gw Config.
    Settings {
        /// What they set.
        settings: Value,
    },
    /// A node of the management tree.
    Node(NodeLine),
    /// What was applied from a file, a card or by push.
    Applied {
        /// The way it came.
        way: String,
        /// Digests, base64.
        digests: String,
    },
    /// A record that holds secrets.
    Secret {
        /// Its key.
        key: String,
        /// Its value, base64.
        value: String,
    },
}

/// An end device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLine {
    /// The number under which it is kept.
    pub key: u32,
    /// Its identity.
    pub id: String,
    /// Whether it gave that itself.
    pub named: bool,
    /// Its Ethernet addresses.
    pub hardware: Vec<String>,
    /// The LAN where it was last.
    pub lan: String,
    /// When it was first seen, in seconds since 1970.
    pub first_seen: u64,
    /// Its BootstrappedDMSList.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list: Option<ListLine>,
    /// Whether operators blocked it.
    #[serde(default)]
    pub blocked: bool,
    /// Servers that operators added.
    #[serde(default)]
    pub added: Vec<String>,
    /// Servers that operators removed.
    #[serde(default)]
    pub removed: Vec<String>,
}

/// A BootstrappedDMSList.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListLine {
    /// The servers.
    pub servers: Vec<String>,
    /// The policy by which it was decided.
    pub policy: String,
    /// When it came, in seconds since 1970.
    pub received: u64,
    /// When empty lists began to follow it, and how many did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<(u64, u8)>,
}

/// A node of the management tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLine {
    /// Its URI.
    pub uri: String,
    /// `node`, `chr` …
    pub format: String,
    /// Its type, if it is not the default.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its ACL, if it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<String>,
    /// When it last changed, in seconds since 1970.
    #[serde(default)]
    pub changed: u64,
    /// Its version.
    #[serde(default)]
    pub version: u16,
    /// The value of a leaf that is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value of another leaf, base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub octets: Option<String>,
    /// Whether its value is a secret and left out.
    #[serde(default)]
    pub secret: bool,
}

/// What is to become of the identity of a unit that a backup goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The unit is the one in the backup: accounts and all.
    Take,
    /// The unit stays who it is: without the accounts of the other.
    Keep,
}

impl Gateway {
    /// The ids of this unit: as a gateway, and as a device of its DM servers.
    pub fn identity(&self) -> (String, String) {
        (self.options.id.clone(), self.options.management.device_id.clone())
    }
}

/// The records of a store as lines; those with secrets only if `secrets` says so.
pub fn export(records: &[Record], secrets: bool) -> Vec<Line> {
    let records = settled(records);
    let tree = described();
    let mut lines = Vec::new();
    for (key, value) in &records {
        let (line, has_secret) = line_of(&tree, key, value);
        lines.extend(line);
        if secrets && has_secret {
            lines.push(Line::Secret { key: key_text(key), value: BASE64.encode(value) });
        }
    }
    lines
}

/// The records that lines stand for.
///
/// # Errors
/// A sentence: which line is wrong, counted from 1, and what is wrong with it.
pub fn import(lines: &[Line], identity: Identity) -> Result<Vec<Record>, String> {
    let mut records = BTreeMap::new();
    for (index, line) in lines.iter().enumerate() {
        if identity == Identity::Keep && is_of_identity(line) {
            continue;
        }
        let record = record_of(line).map_err(|why| format!("line {}: {why}", index + 1))?;
        if let Some((key, value)) = record {
            // A record with its secrets is whole, and stands behind the one without.
            records.insert(key, value);
        }
    }
    Ok(records.into_iter().collect())
}

/// What has to change so that a store that holds `before` holds `after`.
pub fn changes(before: &[Record], after: &[Record]) -> Vec<Change> {
    let before: BTreeMap<_, _> = before.iter().cloned().collect();
    let after: BTreeMap<_, _> = after.iter().cloned().collect();
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let gone = gone.map(|key| Change { key: key.clone(), value: None });
    let new = after.iter().filter(|(key, value)| before.get(*key) != Some(value));
    let new = new.map(|(key, value)| Change { key: key.clone(), value: Some(value.clone()) });
    gone.chain(new).collect()
}

/// What changes are about, for people: a line each.
pub fn told(before: &[Record], changes: &[Change]) -> Vec<String> {
    let before: BTreeMap<_, _> = before.iter().map(|(key, value)| (&**key, &**value)).collect();
    let tree = described();
    let line = |change: &Change| {
        let old = before.get(&*change.key).copied();
        let sign = match (old, &change.value) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        let value = change.value.as_deref().or(old).unwrap_or_default();
        let what = match line_of(&tree, &change.key, value).0 {
            Some(Line::Device(device)) => format!("device {}", device.id),
            Some(Line::Server { id, .. }) => format!("server {id}"),
            Some(Line::Settings { .. }) => "settings of DM servers".to_owned(),
            Some(Line::Node(node)) => format!("node {}", node.uri),
            Some(Line::Applied { way, .. }) => format!("applied {way}"),
            Some(Line::Secret { .. }) | None => {
                let key = key_text(&change.key);
                match key.strip_prefix('p') {
                    Some(device) => format!("secrets of {device}"),
                    None => format!("record {key}"),
                }
            }
        };
        format!("{sign} {what}")
    };
    changes.iter().map(line).collect()
}

/// How things were before a change on trial.
fn settled(records: &[Record]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut records: BTreeMap<Vec<u8>, Vec<u8>> = records.iter().cloned().collect();
    if let Some(trial) = records.remove(TRIAL) {
        let trial = serde_json::from_slice::<TrialLine>(&trial).unwrap_or_default();
        for (key, before) in trial.before {
            match before {
                Some(value) => drop(records.insert(key.into_bytes(), value)),
                None => drop(records.remove(key.as_bytes())),
            }
        }
    }
    records
}

const TRIAL: &[u8] = b"u";

/// The part of a trial that counts here.
#[derive(Default, Deserialize)]
struct TrialLine {
    before: BTreeMap<String, Option<Vec<u8>>>,
}

/// A tree that knows which of its leaves are secrets.
fn described() -> Tree {
    let descriptions = [tree::DEV_INFO, tree::DEV_DETAIL, tree::DM_ACC, tree::INBOX];
    Tree::new(&descriptions).expect("our own descriptions are right")
}

/// The line of a record, and whether it leaves a secret out.
fn line_of(tree: &Tree, key: &[u8], value: &[u8]) -> (Option<Line>, bool) {
    let json = || serde_json::from_slice::<Value>(value).ok();
    let text = std::str::from_utf8(key).unwrap_or_default();
    match text.split_at_checked(1) {
        Some(("d", _)) => match device_of(key, value) {
            Some((line, has_nonce)) => (Some(Line::Device(line)), has_nonce),
            None => (None, true),
        },
        Some(("s", id)) => match json() {
            Some(mut record) => {
                if let Some(fields) = record.as_object_mut() {
                    fields.retain(|name, _| !NONCES.contains(&&**name));
                }
                (Some(Line::Server { id: id.to_owned(), record }), true)
            }
            None => (None, false),
        },
        Some(("g", "")) => (json().map(|settings| Line::Settings { settings }), false),
        Some(("t", uri)) => match Facts::decode(value) {
            Ok(facts) => {
                let line = node_of(tree, uri, &facts);
                let secret = line.secret;
                (Some(Line::Node(line)), secret)
            }
            Err(_) => (None, false),
        },
        Some(("f", way)) => {
            let (way, digests) = (way.to_owned(), BASE64.encode(value));
            (Some(Line::Applied { way, digests }), false)
        }
        Some(("p", _)) => (None, true),
        // Of the devices, keys begin with `d` and are no text otherwise.
        _ => match device_of(key, value) {
            Some((line, has_nonce)) => (Some(Line::Device(line)), has_nonce),
            None => (None, false),
        },
    }
}

/// Fields of what is kept of a server that only it and we may know.
const NONCES: [&str; 3] = ["client_nonce", "server_nonce", "heard"];

fn device_of(key: &[u8], value: &[u8]) -> Option<(DeviceLine, bool)> {
    let key = super::durable::device_key(key)?;
    let record = device::Record::decode(value).ok()?;
    let names = |servers: &[ServerId]| servers.iter().map(ToString::to_string).collect();
    let list = record.list.as_ref().map(|list| ListLine {
        servers: names(&list.servers),
        policy: list.policy.name().to_owned(),
        received: list.received,
        unconfirmed: list.unconfirmed,
    });
    let line = DeviceLine {
        key: key.0,
        id: record.id.to_string(),
        named: record.named,
        hardware: record.hardware.iter().map(ToString::to_string).collect(),
        lan: record.lan.to_string(),
        first_seen: record.first_seen,
        list,
        blocked: record.ruling.blocked,
        added: names(&record.ruling.added),
        removed: names(&record.ruling.removed),
    };
    Some((line, !record.client_nonce.is_empty() || !record.server_nonce.is_empty()))
}

fn node_of(tree: &Tree, uri: &str, facts: &Facts) -> NodeLine {
    let secret = !facts.is_interior() && !tree.is_readable(uri);
    let text = std::str::from_utf8(&facts.value).ok().filter(|_| facts.format != Format::Bin);
    let shown = !facts.is_interior() && !secret;
    NodeLine {
        uri: uri.to_owned(),
        format: facts.format.name().to_owned(),
        kind: facts.kind.as_deref().map(str::to_owned),
        title: facts.title.as_deref().map(str::to_owned),
        acl: facts.acl.as_ref().map(ToString::to_string),
        changed: facts.changed,
        version: facts.version,
        value: text.filter(|_| shown).map(str::to_owned),
        octets: (shown && text.is_none()).then(|| BASE64.encode(&facts.value)),
        secret,
    }
}

/// Whether a line says who a unit is to its DM servers.
fn is_of_identity(line: &Line) -> bool {
    match line {
        Line::Node(_) | Line::Server { .. } | Line::Applied { .. } => true,
        Line::Secret { key, .. } => key.starts_with(['s', 't', 'f']),
        Line::Device(_) | Line::Settings { .. } => false,
    }
}

fn record_of(line: &Line) -> Result<Option<Record>, String> {
    Ok(Some(match line {
        Line::Device(device) => device_record(device)?,
        Line::Server { id, record } => {
            ServerId::new(id).map_err(|_| format!("`{id}` is no id of a DM server"))?;
            let value = serde_json::to_vec(record).map_err(|error| error.to_string())?;
            (format!("s{id}").into_bytes(), value)
        }
        Line::Settings { settings } => {
            (b"g".to_vec(), serde_json::to_vec(settings).map_err(|error| error.to_string())?)
        }
        Line::Node(node) if node.secret => return Ok(None),
        Line::Node(node) => node_record(node)?,
        Line::Applied { way, digests } => {
            (format!("f{way}").into_bytes(), octets(digests, "digests")?)
        }
        Line::Secret { key, value } => {
            let value = octets(value, "value")?;
            if let Some(uri) = key.strip_prefix('t') {
                Facts::decode(&value).map_err(|error| format!("{uri}: {error}"))?;
            }
            (key_octets(key), value)
        }
    }))
}

fn device_record(line: &DeviceLine) -> Result<Record, String> {
    let servers = |names: &[String]| {
        let server = |name: &String| {
            ServerId::new(name).map_err(|_| format!("`{name}` is no id of a DM server"))
        };
        names.iter().map(server).collect::<Result<Vec<_>, _>>()
    };
    let list = match &line.list {
        Some(list) => Some(device::List {
            servers: servers(&list.servers)?,
            policy: (0..=u8::MAX)
                .filter_map(Policy::of_code)
                .find(|policy| policy.name() == list.policy)
                .ok_or_else(|| format!("there is no policy `{}`", list.policy))?,
            received: list.received,
            unconfirmed: list.unconfirmed,
        }),
        None => None,
    };
    let mac = |text: &String| {
        MacAddress::parse(text).ok_or_else(|| format!("`{text}` is no Ethernet address"))
    };
    let record = device::Record {
        id: DeviceId::parse(&line.id).ok_or_else(|| format!("`{}` is no identity", line.id))?,
        named: line.named,
        hardware: line.hardware.iter().map(mac).collect::<Result<_, _>>()?,
        lan: line.lan.as_str().into(),
        first_seen: line.first_seen,
        list,
        client_nonce: Vec::new(),
        server_nonce: Vec::new(),
        ruling: Ruling {
            blocked: line.blocked,
            added: servers(&line.added)?,
            removed: servers(&line.removed)?,
        },
    };
    let value = record.encode();
    // What exceeds a bound would not be read again.
    device::Record::decode(&value).map_err(|error| format!("{}: {error}", line.id))?;
    Ok((super::durable::store_key(device::DeviceKey(line.key)), value))
}

fn node_record(line: &NodeLine) -> Result<Record, String> {
    let wrong = |what: &str| format!("{}: {what}", line.uri);
    let format = Format::parse(&line.format).ok_or_else(|| wrong("there is no such format"))?;
    let value = match (&line.value, &line.octets) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(text)) => octets(text, "octets")?,
        (None, None) => Vec::new(),
    };
    let acl = Acl::parse(line.acl.as_deref().unwrap_or_default())
        .map_err(|_| wrong("its ACL cannot be read"))?;
    let facts = Facts {
        acl: acl.map(Box::new),
        format,
        kind: line.kind.as_deref().map(Into::into),
        title: line.title.as_deref().map(Into::into),
        changed: line.changed,
        version: line.version,
        value: value.into(),
    };
    let value = facts.encode();
    Facts::decode(&value).map_err(|error| wrong(&error.to_string()))?;
    Ok((format!("t{}", line.uri).into_bytes(), value))
}

/// A key as text: those of devices are numbers.
fn key_text(key: &[u8]) -> String {
    match super::durable::device_key(key) {
        Some(device) => format!("d{}", device.0),
        None => String::from_utf8_lossy(key).into_owned(),
    }
}

fn key_octets(text: &str) -> Vec<u8> {
    match text.strip_prefix('d').and_then(|number| number.parse().ok()) {
        Some(number) => super::durable::store_key(device::DeviceKey(number)),
        None => text.as_bytes().to_vec(),
    }
}

fn octets(text: &str, what: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|_| format!("`{what}` is not base64"))
}
