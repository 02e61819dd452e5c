//! Counters, plain and monotonic since the process started.

use crate::gateway::event::Reason;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What happened how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Everything but refusals.
    pub counters: Counters,
    /// When the last push came.
    pub last_push: Option<Duration>,
    refused: Refused,
}

/// What happened how often, as `status` shows it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams and requests that came to the WAN push ports.
    pub pushes: u64,
    /// Pushes that went straight on to their device.
    pub forwarded: u64,
    /// Triggers put aside for a device that was away, or proved to be.
    pub held: u64,
    /// Triggers that went on after they were held.
    pub released: u64,
    /// Pushes refused, all reasons.
    pub pushes_refused: u64,
    /// Package #0 sent to ask a device into a session.
    pub asked: u64,
    /// HTTP requests of end devices.
    pub requests: u64,
    /// Sessions that identified devices opened.
    pub sessions: u64,
    /// Device Detection Alerts sent.
    pub alerted: u64,
    /// Well-formed BootstrappedDMSLists received.
    pub lists: u64,
    /// Package #0 for the gateway itself, proven.
    pub notifications: u64,
    /// Sessions with DM servers begun.
    pub managed_sessions: u64,
    /// Sessions with DM servers that failed, or could not begin.
    pub managed_sessions_failed: u64,
    /// Commits made, and commits that failed.
    pub commits: u64,
    /// Commits that the store could not make.
    pub commits_failed: u64,
}

impl Metrics {
    /// Counts one refusal.
    pub fn refuse(&mut self, reason: Reason) {
        self.refused.0[reason as usize] += 1;
    }

    /// Refusals by reason, those that happened.
    pub fn refused(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.into_iter().zip(self.refused.0).filter(|(_, count)| *count > 0)
    }
}

/// Counts by reason.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused([u64; Reason::ALL.len()]);

impl Default for Refused {
    fn default() -> Self {
        Self([0; Reason::ALL.len()])
    }
}
