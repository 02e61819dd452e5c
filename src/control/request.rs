//! What is asked on the control socket.

#[allow(unused_imports, reason = "for links in the text")]
use super::*;
use serde::{Deserialize, Serialize};

/// What an operator asks.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The gateway as a whole: [`StatusAnswer`].
    Status,
    /// Every end device: [`Devices`].
    Devices,
    /// Every DM server that a device names: [`Servers`].
    Servers,
    /// One end device: [`DeviceDetails`](crate::gateway::view::DeviceDetails), or [`Refused`].
    Device {
        /// Its id, an alias, or a part of the id that no other has.
        device: String,
    },
    /// One DM server: [`ServerDetails`](crate::gateway::view::ServerDetails), or [`Refused`].
    Server {
        /// Its id, or a part of it that no other has.
        server: String,
    },
    /// The mappings in force: [`Mappings`].
    Mappings,
    /// Whether a push would pass: [`Explanation`](crate::gateway::view::Explanation).
    Explain {
        /// The DM server's id.
        server: String,
        /// The end device's id or alias.
        device: String,
    },
    /// What happens from now on: [`Watching`], then an [`EventLine`] for each event.
    Monitor,
    /// The messages of one end device or DM server from now on: a [`TraceLine`] at once, then one
    /// for each message, until the time or the number is up.
    Trace {
        /// The id of a DM server, or the id or an alias of an end device.
        peer: String,
        /// For how many seconds.
        seconds: u64,
        /// At most how many messages.
        messages: u64,
    },
    /// The nodes of the management tree from a URI down: [`Nodes`].
    Tree {
        /// Where to begin.
        uri: String,
    },
    /// A session with a DM server: [`Done`]; with `wait` then an [`EventLine`] for each event, as
    /// [`Request::Monitor`].
    Session {
        /// The DM server's id.
        server: String,
        /// Whether to tell what happens.
        #[serde(default)]
        wait: bool,
    },
    /// Accounts from a bootstrap document: [`Done`].
    Apply {
        /// The document, base64.
        document: String,
    },
    /// Lets a wanted server be bootstrapped: [`Done`].
    Approve {
        /// The DM server's id.
        server: String,
    },
    /// The way to a DM server, step by step: a [`StepLine`] for each, until one fails or the
    /// session at the end is over.
    Test {
        /// The DM server's id.
        server: String,
    },
    /// Gives an end device its account for the gateway: [`Done`].
    Provision {
        /// The end device's id or alias.
        device: String,
    },
    /// Forbids a server to be bootstrapped: [`Done`].
    Deny {
        /// The DM server's id.
        server: String,
    },
    /// Removes all that is known of an end device: [`Done`].
    Forget {
        /// The end device's id or alias.
        device: String,
    },
    /// Refuses the pushes and sessions of an end device: [`Done`].
    Block {
        /// The end device's id or alias.
        device: String,
    },
    /// Ends that: [`Done`].
    Unblock {
        /// The end device's id or alias.
        device: String,
    },
    /// Settles a conflict about the identity of an end device: [`Done`].
    Trust {
        /// The end device's id or alias.
        device: String,
        /// The Ethernet address of the true one; else it is the present holder.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mac: Option<String>,
    },
    /// Lets a server wake an end device: [`Done`].
    Map {
        /// The DM server's id.
        server: String,
        /// The end device's id or alias.
        device: String,
    },
    /// Forbids a server to wake an end device: [`Done`].
    Unmap {
        /// The DM server's id.
        server: String,
        /// The end device's id or alias.
        device: String,
    },
    /// What another request would do: [`Rehearsed`].
    DryRun {
        /// The other request.
        of: Box<Self>,
    },
    /// What the gateway knows: [`BackupHead`], then a
    /// [`Line`](crate::gateway::backup::Line) each.
    Backup {
        /// Whether with secrets: for root and the daemon's own user only.
        #[serde(default)]
        secrets: bool,
    },
    /// What happened last, as far as it was worth a line of the log: an [`EventLine`] each, the oldest
    /// first.
    Events,
    /// The audit: its lines as they stand in its files, the oldest first.
    Audit,
    /// Reads the configuration anew: [`Reloaded`].
    Reload {
        /// Whether the daemon starts anew if something needs that.
        #[serde(default)]
        restart: bool,
    },
    /// What the daemon runs with: [`InForce`].
    Configuration,
    /// Applies a piece of configuration until it is confirmed: [`Applied`].
    ApplyConfiguration {
        /// Its text.
        text: String,
        /// The file that it is from, for errors.
        name: String,
        /// After how many seconds it is taken back.
        seconds: u64,
        /// Whether the daemon starts anew if something needs that.
        #[serde(default)]
        restart: bool,
        /// Whether only to tell what would change.
        #[serde(default)]
        dry_run: bool,
    },
    /// Keeps what was applied, or takes it back: [`Done`].
    Confirm {
        /// Whether it is taken back.
        #[serde(default)]
        discard: bool,
    },
    /// Sets how much is logged, for some time: [`Done`].
    LogLevel {
        /// `error`, `warn`, `info`, `debug` or `trace`; absent to ask only.
        #[serde(default)]
        level: Option<String>,
        /// For how many seconds.
        #[serde(default)]
        seconds: u64,
        /// Of this module only, such as `gateway::forward`.
        #[serde(default)]
        module: Option<String>,
    },
}
