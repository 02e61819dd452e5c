//! What the store keeps for the management, besides the nodes of the tree.
//!
//! | key | value |
//! |---|---|
//! | `t` and a URI | a node ([`Facts`](crate::proto::tree::Facts)) |
//! | `s` and a server's id | [`ServerRecord`] |
//! | `g` | [`Settings`] |
//! | `u` | [`TrialRecord`] |
//! | `f` and a file's name, `card` or `push` | SHA-256 of what was applied; of pushes, several |
//! | `p` and a device's id | [`Provisioned`] |

use crate::gateway::Options;
use crate::gateway::seam::Change;
use crate::proto::session::client::Nonces;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is kept of a DM server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerRecord {
    /// Whether an operator lets it be bootstrapped.
    #[serde(default)]
    pub(super) approved: bool,
    /// Whether an operator forbids it to be bootstrapped.
    #[serde(default)]
    pub(super) denied: bool,
    /// Where its account came from: `factory`, `card`, `push`, `fetch`, `session`.
    #[serde(default)]
    pub(super) source: Option<String>,
    /// Whether a session ended well since the account was made or changed.
    #[serde(default)]
    pub(super) proven: bool,
    /// The nonce for our next credentials; empty for the account's own.
    #[serde(default)]
    pub(super) client_nonce: Vec<u8>,
    /// The nonce for the server's next credentials and Package #0; empty for the account's own.
    #[serde(default)]
    pub(super) server_nonce: Vec<u8>,
    /// Session ids of Package #0 that came with this nonce of the server, and when (seconds since
    /// 1970): a session without a command leaves the nonce as it is, and they are not to be
    /// replayed after a restart.
    #[serde(default)]
    pub(super) heard: Vec<(u16, u64)>,
}

impl ServerRecord {
    /// The nonces are these now.
    pub(super) fn set_nonces(&mut self, nonces: &Nonces) {
        if !self.server_nonce.is_empty() && self.server_nonce != nonces.server {
            self.heard.clear();
        }
        self.client_nonce.clone_from(&nonces.client);
        self.server_nonce.clone_from(&nonces.server);
    }
}

/// What DM servers set through Gw Config; what is not set is as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    /// Numbers of policies, by the LAN's name.
    #[serde(default)]
    pub(super) policies: BTreeMap<String, u8>,
    /// The public address; empty for none.
    #[serde(default)]
    pub(super) public_address: Option<String>,
    /// Whether it may be shared.
    #[serde(default)]
    pub(super) share_address: Option<bool>,
    /// Whether servers are told of devices that come and go.
    #[serde(default)]
    pub(super) attach_alert: bool,
}

impl Settings {
    /// What of them counts: nothing where the configuration does not let DM servers set anything,
    /// and nothing that it locks.
    pub(super) fn in_use(&self, options: &Options) -> Self {
        if !options.management.remote_settings {
            return Self::default();
        }
        let mut settings = self.clone();
        let locked = options.management.locked;
        settings.public_address.take_if(|_| locked.public_address);
        settings.share_address.take_if(|_| locked.share_address);
        for lan in options.lans.iter().filter(|lan| lan.policy_locked) {
            settings.policies.remove(&*lan.name);
        }
        settings
    }
}

/// A change on trial: how things were before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TrialRecord {
    /// The server that made it.
    pub(super) server: String,
    /// Keys of the store with their values before, `None` for none, in the order of the keys.
    pub(super) before: BTreeMap<String, Option<Vec<u8>>>,
}

/// The account that the gateway gave an end device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Provisioned {
    /// What the device proves itself by.
    pub(super) secret: String,
    /// What the gateway proves itself to the device by.
    pub(super) server_secret: String,
    /// Whether the device opened a session with it.
    #[serde(default)]
    pub(super) used: bool,
    /// Whether the configuration has no account of that id.
    #[serde(skip)]
    pub(super) is_extra: bool,
}

/// The key of the settings.
pub(super) const SETTINGS: &str = "g";
/// The key of the trial.
pub(super) const TRIAL: &str = "u";

/// A record under a key.
pub(super) fn change(key: impl Into<String>, record: &impl Serialize) -> Change {
    let value = serde_json::to_vec(record).expect("maps with text as keys can be written");
    Change { key: key.into().into_bytes(), value: Some(value) }
}

/// No record under a key.
pub(super) fn removal(key: impl Into<String>) -> Change {
    Change { key: key.into().into_bytes(), value: None }
}

/// The record in the octets of the store; what is unreadable is told of and left out.
pub(super) fn read<T: DeserializeOwned>(key: &str, value: &[u8]) -> Option<T> {
    serde_json::from_slice(value)
        .inspect_err(|error| log::error!("{key} in the store is unreadable: {error}"))
        .ok()
}
