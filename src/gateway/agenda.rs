//! What is to be done, and when: outputs, timers; and the source of what nobody can foresee.

use crate::gateway::audit::Audit;
use crate::gateway::device::DeviceKey;
use crate::gateway::event::Event;
use crate::gateway::management::OperationId;
use crate::gateway::seam::{Call, CallId, Change, CommitId, ConnectionId, LanId, Response};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

/// Outputs in order; datagrams stand in one buffer that is used again.
#[derive(Debug, Default)]
pub(super) struct Outputs(pub(super) VecDeque<Queued>);

#[derive(Debug)]
pub(super) enum Queued {
    Push { lan: LanId, to: SocketAddr, range: Range<usize> },
    Response { connection: ConnectionId, response: Response },
    Commit { commit: CommitId, changes: Vec<Change> },
    Probe { lan: LanId, interface: u32, address: IpAddr },
    Call { call: CallId, request: Call },
    Operated { operation: OperationId, result: Result<Vec<String>, String> },
    Audit(Box<Audit>),
    Event(Box<Event>),
    Log(Box<Event>, u64),
}

impl Outputs {
    pub(super) fn push_datagram(&mut self, lan: LanId, to: SocketAddr, range: Range<usize>) {
        self.0.push_back(Queued::Push { lan, to, range });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A device may be due for Package #0.
    Ask(DeviceKey),
    /// Triggers sent to a device may be taken as delivered.
    Confirm(DeviceKey),
    /// Triggers held for a device may be out of date.
    Expire(DeviceKey),
    /// A device's unconfirmed mappings may be out of date.
    Unconfirmed(DeviceKey),
    /// A push over HTTP may have waited too long for its answer.
    Answers,
    /// A device may be due for an account.
    Provision(DeviceKey),
    /// Sessions may be out of date.
    Sessions,
    /// A lease file is still to be looked at.
    Leases(LanId),
    /// Something of the management may be due.
    Manage,
    /// A line is due on what was not logged.
    Journal,
}

/// When what is due. A timer that is no longer wanted does nothing when it fires.
#[derive(Debug, Default)]
pub(super) struct Timers {
    pub(super) queue: BTreeSet<(Duration, Timer)>,
    due: HashMap<Timer, Duration>,
}

impl Timers {
    /// Sets a timer, whenever it was due before.
    pub(super) fn set(&mut self, timer: Timer, at: Duration) {
        if let Some(before) = self.due.insert(timer, at) {
            self.queue.remove(&(before, timer));
        }
        self.queue.insert((at, timer));
    }

    /// Sets a timer unless it is due earlier anyway.
    pub(super) fn set_no_later(&mut self, timer: Timer, at: Duration) {
        if self.due.get(&timer).is_none_or(|before| *before > at) {
            self.set(timer, at);
        }
    }

    pub(super) fn take_due(&mut self, now: Duration) -> Option<Timer> {
        let &(at, timer) = self.queue.first().filter(|(at, _)| *at <= now)?;
        self.queue.remove(&(at, timer));
        self.due.remove(&timer);
        Some(timer)
    }
}

/// Unpredictable octets, spun from one seed: SHA-256 over seed and counter.
pub(super) struct Entropy {
    pub(super) seed: [u8; 32],
    pub(super) counter: u64,
}

impl Entropy {
    fn block(&mut self) -> [u8; 32] {
        self.counter += 1;
        Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.counter.to_be_bytes())
            .finalize()
            .into()
    }

    pub(super) fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&self.block()[..16]);
        nonce
    }

    pub(super) fn u64(&mut self) -> u64 {
        let mut octets = [0; 8];
        octets.copy_from_slice(&self.block()[..8]);
        u64::from_be_bytes(octets)
    }

    /// A session id of Package #0: 1 to 65535.
    pub(super) fn session_id(&mut self) -> u16 {
        (self.u64() as u16).max(1)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(…)")
    }
}
