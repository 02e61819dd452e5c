//! Small answers: what was done, what would be, what was not.

#[cfg(doc)]
use super::Request;
use crate::codes::Trouble;
use crate::gateway::management::NodeView;
use serde::{Deserialize, Serialize};

/// Answers [`Request::Monitor`] at once, before anything happens.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Watching {
    /// True.
    pub monitor: bool,
}

/// Answers [`Request::Tree`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Nodes {
    /// In the order of the tree.
    pub nodes: Vec<NodeView>,
}

/// Answers what was to be done.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Done {
    /// What was done, a line each, for people.
    pub done: Vec<String>,
}

/// Answers [`Request::Backup`], and begins a backup.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct BackupHead {
    /// `dm-gateway`.
    pub backup: String,
    /// Version of the program that wrote it.
    pub version: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// `[gateway] id` of the unit.
    pub gateway: String,
    /// `[gateway] device-id` of the unit.
    pub device: String,
    /// How many lines of its memory follow.
    pub lines: usize,
}

impl BackupHead {
    /// The head of a backup of this program's.
    pub fn new(time: u64, gateway: String, device: String, lines: usize) -> Self {
        let (backup, version) = ("dm-gateway".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        Self { backup, version, time, gateway, device, lines }
    }
}

/// Answers [`Request::DryRun`]: nothing was done.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Rehearsed {
    /// What would be done, a line each, for people.
    pub would: Vec<String>,
}

/// Answers what was not done.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Refused {
    /// Why, for people.
    pub refused: String,
    /// Id of its [`Code`](crate::codes::Code), where it has one of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// Answers what cannot be answered.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Fault {
    /// Why, for people.
    pub error: String,
}

/// Printed by a command with `--json` that could not do its work, after what it printed before.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub error: Trouble,
}
