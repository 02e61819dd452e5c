//! The lines of a trace.

use serde::{Deserialize, Serialize};

/// One message of a traced peer, without its secrets; or why there are no more.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct TraceLine {
    /// `begin`, before anything happens; `in`, `out`; or `end`: no more lines follow.
    pub trace: String,
    /// True in the line `begin`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub monitor: bool,
    /// What carries it: `push`, `http-push`, `device-http`, `server-http` or `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carrier: Option<String>,
    /// The other end: an address, or a URL without its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Octets of the message.
    #[serde(default)]
    pub octets: usize,
    /// HTTP status code, of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What it says, as `decode` tells it; why, in the last line; what is odd, in the first.
    pub lines: Vec<String>,
    /// Seconds since the gateway's start, to the microsecond.
    #[serde(default)]
    pub uptime: f64,
    /// Seconds since 1970 by the gateway's wall clock.
    #[serde(default)]
    pub time: u64,
    /// How many messages were left out just before, because whoever reads is too slow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
}
