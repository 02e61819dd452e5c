//! What is kept of the pushes of one server for one device: a bucket, and the newest trigger.

use crate::gateway::alert::ServerId;
use crate::gateway::device::Device;
use crate::limits;
use std::net::IpAddr;
use std::time::Duration;

/// A server that a device named: how fast its pushes come, and the newest of them.
#[derive(Debug)]
pub struct Slot {
    /// The server.
    pub server: ServerId,
    /// When the next push would be due at exactly the permitted rate.
    due: Duration,
    /// What became of the newest trigger.
    pub(super) state: TriggerState,
    /// WSP transaction id of the newest trigger.
    pub(super) transaction_id: u8,
    /// The newest Package #0; its memory is used again for the next.
    pub(super) package: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TriggerState {
    /// Delivered, expired, or there never was one.
    None,
    /// Sent to an address, and kept in case its device proves to have vanished.
    Sent { to: IpAddr, at: Duration, until: Duration },
    /// Waits for its device.
    Held { until: Duration },
}

impl Slot {
    /// A server with no push yet.
    pub fn new(server: ServerId) -> Self {
        Self {
            server,
            due: Duration::ZERO,
            state: TriggerState::None,
            transaction_id: 0,
            package: Vec::new(),
        }
    }

    /// Whether a trigger waits for its device.
    pub fn holds(&self) -> bool {
        matches!(self.state, TriggerState::Held { .. })
    }

    /// Whether the newest trigger went out, and nothing spoke against it yet.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self.state, TriggerState::Sent { .. })
    }

    /// Takes one token of the bucket; false if there is none.
    pub(super) fn take_token(&mut self, interval: Duration, now: Duration) -> bool {
        if self.due > now + interval * (limits::PUSH_BURST - 1) {
            return false;
        }
        self.due = self.due.max(now) + interval;
        true
    }
}

/// Whether the device was pushed the octets of that hash just now.
pub(super) fn is_repeat(device: &Device, hash: u64, now: Duration) -> bool {
    // Loops over slices: built for size, `VecDeque::iter().any()` is a call for each element.
    let (older, newer) = device.repeats.as_slices();
    for entries in [newer, older] {
        for &(known, at) in entries {
            if known == hash && now < at + limits::REPEAT {
                return true;
            }
        }
    }
    false
}

/// Notes the hash of what a device was pushed.
pub(super) fn remember(device: &mut Device, hash: u64, now: Duration) {
    let expired = device.repeats.iter().take_while(|(_, at)| now >= *at + limits::REPEAT).count();
    let most = limits::REPEATS * device.slots.len().max(4);
    let crowded = usize::from(device.repeats.len() >= most);
    device.repeats.drain(..expired.max(crowded));
    device.repeats.push_back((hash, now));
}
