//! The rules by which pushes pass: what allows a (server, device) pair, and what is against it.

use crate::gateway::event::Reason;
use serde::{Deserialize, Serialize};

/// The rule that allows or refuses pushes of a server for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The device named the server on a LAN whose policy is `transparent`.
    Mapped,
    /// The gateway has an account with the server, and the device's LAN asks for that.
    Account,
    /// An operator added the pair: `map add`.
    Added,
    /// Nobody by that identity is known.
    DeviceUnknown,
    /// An operator blocked the device: `devices block`.
    Blocked,
    /// An operator removed the pair: `map remove`.
    Removed,
    /// The LAN on which the device was last seen is not configured any more.
    LanGone,
    /// The LAN's policy asks for an account of the gateway's own.
    NoAccount,
    /// The device's list came while another policy was in force.
    ListOutdated,
    /// No device names the server.
    ServerUnknown,
    /// Other devices name the server, this one does not.
    NotNamed,
}

impl Rule {
    /// The rule's name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mapped => "mapped",
            Self::Account => "account",
            Self::Added => "operator-added",
            Self::DeviceUnknown => "device-unknown",
            Self::Blocked => "device-blocked",
            Self::Removed => "operator-removed",
            Self::LanGone => "lan-gone",
            Self::NoAccount => "no-account",
            Self::ListOutdated => "list-outdated",
            Self::ServerUnknown => "server-unknown",
            Self::NotNamed => "not-named",
        }
    }

    /// What it says, for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Mapped => "the device named this server and its LAN's policy is transparent",
            Self::Account => {
                "the gateway has an account with this server, as the device's LAN asks for"
            }
            Self::Added => "an operator lets this server wake the device",
            Self::DeviceUnknown => "no device by that identity is known",
            Self::Blocked => "an operator blocked the device",
            Self::Removed => "an operator removed this mapping",
            Self::LanGone => "the LAN on which the device was last seen is no longer configured",
            Self::NoAccount => {
                "the device's LAN forwards only for servers that the gateway has an account with"
            }
            Self::ListOutdated => {
                "the device's list came under another policy; its next session renews it"
            }
            Self::ServerUnknown => "no device names this server",
            Self::NotNamed => "the device does not name this server",
        }
    }

    /// As what the refusal counts.
    pub(super) fn reason(self) -> Reason {
        match self {
            Self::DeviceUnknown => Reason::UnknownDevice,
            Self::NoAccount => Reason::NoAccount,
            Self::ServerUnknown => Reason::UnknownServer,
            Self::Blocked => Reason::Blocked,
            Self::Mapped
            | Self::Account
            | Self::Added
            | Self::Removed
            | Self::LanGone
            | Self::ListOutdated
            | Self::NotNamed => Reason::Unmapped,
        }
    }
}

/// Whether a push would pass, and why.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Explanation {
    /// The server asked about.
    pub server: String,
    /// The device asked about, by its own name where it is known.
    pub device: String,
    /// Whether a push of that server for that device would pass.
    pub allowed: bool,
    /// Name of the rule.
    pub rule: String,
    /// The rule, for people.
    pub why: String,
    /// What would become of a push right now, where it would pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}
