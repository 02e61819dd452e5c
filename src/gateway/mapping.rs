//! What a BootstrappedDMSList leads to, and when it ends.
//!
//! | list | mappings or wanted servers |
//! |---|---|
//! | not empty | exactly these from now on |
//! | empty, once or twice | stay, unconfirmed |
//! | empty, a third time; or nothing else for seven days | end |

use crate::gateway::Gateway;
use crate::gateway::agenda::Timer;
use crate::gateway::alert::ServerId;
use crate::gateway::device::{DeviceId, DeviceKey, List, Record};
use crate::gateway::seam::{LanId, Now};
use crate::limits;
use std::net::IpAddr;
use std::time::Duration;

impl Gateway {
    /// By which normal names and at which addresses a device is known, if it is.
    pub fn known_as(&self, device: &str) -> Option<(Vec<String>, Vec<IpAddr>)> {
        let key = self.find_by_header(device, &mut String::new())?;
        let device = self.inventory.device(key)?;
        let aliases = device.record.hardware.iter().map(|mac| DeviceId::of_mac(*mac));
        let names = [device.record.id.clone()].into_iter().chain(aliases);
        let addresses = device.addresses.iter().filter(|address| !address.failed);
        Some((
            names.map(|id| id.normal().to_owned()).collect(),
            addresses.map(|address| address.ip).collect(),
        ))
    }

    /// Applies a BootstrappedDMSList to a record by the policy of the LAN it came from. Empty ones
    /// count once in a session (`emptied`).
    pub(super) fn decide_list(
        &mut self,
        record: &mut Record,
        mut servers: Vec<ServerId>,
        emptied: &mut bool,
        lan: LanId,
        now: Now,
    ) {
        self.metrics.counters.lists += 1;
        // Our own account on the device is no server to be reached through us.
        servers.retain(|server| server.as_str() != self.options.id);
        let mut servers: Vec<_> =
            servers.into_iter().map(|server| self.inventory.shared(server)).collect();
        servers.shrink_to_fit();
        let policy = self.options.lans[lan.0].policy;
        match &mut record.list {
            Some(list) if servers.is_empty() && !list.servers.is_empty() => {
                if std::mem::replace(emptied, true) {
                    return;
                }
                let (since, count) = list.unconfirmed.unwrap_or((now.unix, 0));
                if count + 1 >= limits::EMPTY_LISTS {
                    list.servers.clear();
                    list.unconfirmed = None;
                } else {
                    list.unconfirmed = Some((since, count + 1));
                }
            }
            Some(list)
                if list.servers == servers
                    && list.policy == policy
                    && list.unconfirmed.is_none()
                    && now.unix < list.received.saturating_add(SAME_LIST) => {}
            list => {
                *list = Some(List { servers, policy, received: now.unix, unconfirmed: None });
            }
        }
    }

    /// Ends mappings that stayed unconfirmed too long.
    pub(super) fn unconfirmed_due(&mut self, key: DeviceKey, now: Now) {
        let Some(device) = self.inventory.device(key) else { return };
        let Some(since) = device.newest().list.as_ref().and_then(|list| list.unconfirmed) else {
            return;
        };
        let mut record = device.newest().clone();
        if since.0 < limits::CLOCK_SET && now.unix >= limits::CLOCK_SET {
            // The clock was not set then: the days count from now.
            if let Some(list) = &mut record.list {
                list.unconfirmed = Some((now.unix, since.1));
            }
            return self.keep(key, record);
        }
        let age = now.unix.saturating_sub(since.0);
        if age < limits::UNCONFIRMED {
            let rest = Duration::from_secs(limits::UNCONFIRMED - age);
            return self.timers.set(Timer::Unconfirmed(key), now.uptime + rest);
        }
        if let Some(list) = &mut record.list {
            list.servers.clear();
            list.unconfirmed = None;
        }
        self.keep(key, record);
        // Does nothing then, unless the store failed.
        self.timers.set(Timer::Unconfirmed(key), now.uptime + limits::STORE_RETRY);
    }
}

/// A list that says the same again within this many seconds (a day) is not written again.
const SAME_LIST: u64 = 24 * 3600;
