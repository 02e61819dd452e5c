//! What people and programs are shown of the gateway's state.
//!
//! The structures are the JSON of `--json`, schema 1: a field may be added, none changes its
//! meaning. Ages and waits are seconds.

use crate::gateway::Gateway;
use crate::gateway::alert::ServerId;
pub use crate::gateway::details::{DeviceDetails, NextView, ServerDetails, SessionView};
use crate::gateway::device::{Conflict, Device, DeviceId, DeviceKey, Record};
use crate::gateway::event::Reason;
use crate::gateway::forward::Rule;
use crate::gateway::health::{ClockView, Disk, HealthLine, Severity, SocketView};
use crate::gateway::metrics::Counters;
use crate::gateway::policy::{Policy, Verify};
pub use crate::gateway::rule::Explanation;
use crate::gateway::seam::{LanId, Now};
use crate::limits;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The gateway as a whole.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Status {
    /// Whether it can do its work.
    pub health: Health,
    /// What keeps it from it, for people: the troubles that are failures.
    pub problems: Vec<String>,
    /// Everything that somebody should look at, the worst first.
    #[serde(default)]
    pub troubles: Vec<HealthLine>,
    /// `[gateway] id`.
    pub id: String,
    /// Version of the program.
    pub version: String,
    /// Seconds since the start.
    pub uptime: u64,
    /// Its LANs.
    pub lans: Vec<Lan>,
    /// End devices.
    pub devices: DeviceCounts,
    /// Mappings in force.
    pub mappings: usize,
    /// DM servers that devices name or the gateway has an account with.
    #[serde(default)]
    pub servers: usize,
    /// Seconds since the last push came, whatever became of it; absent if none came since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_push: Option<u64>,
    /// Servers that bootstrap LANs want and the gateway has no account with.
    pub wanted: usize,
    /// Triggers that wait for their device.
    pub waiting: usize,
    /// DM servers that the gateway has an account with.
    #[serde(default)]
    pub accounts: usize,
    /// A change of a DM server that is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialView>,
    /// Counters since the start.
    pub counters: Counters,
    /// Refusals since the start, by reason.
    pub refused: BTreeMap<String, Refusals>,
    /// The wall clock.
    #[serde(default)]
    pub clock: ClockView,
    /// The disk of the state directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Disk>,
    /// Where the daemon listens.
    #[serde(default)]
    pub sockets: Vec<SocketView>,
}

/// A change on trial.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct TrialView {
    /// The server that made it.
    pub server: String,
    /// After how many seconds it is taken back, unless the server finds us again.
    pub rest: u64,
}

/// Whether the gateway can do its work.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Everything works.
    Healthy,
    /// Something does not.
    Degraded,
    /// No LAN works.
    Down,
}

/// One LAN.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Lan {
    /// `name`.
    pub name: String,
    /// `interface`.
    pub interface: String,
    /// `policy`.
    pub policy: String,
    /// Whether the interface is up with a carrier; absent if the kernel does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// Devices attached to it.
    pub attached: usize,
}

/// Numbers of end devices.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct DeviceCounts {
    /// In the inventory.
    pub known: usize,
    /// Attached at the moment.
    pub attached: usize,
    /// With a rival claim to their identity.
    pub conflicts: usize,
}

/// One line of refusals.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Refusals {
    /// How many.
    pub count: u64,
    /// What the reason means.
    pub why: String,
}

/// One end device.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct DeviceView {
    /// Its identity, as it gave it or derived from its Ethernet address.
    pub id: String,
    /// Where it is reached; null while it is away.
    pub address: Option<String>,
    /// Name of the LAN on which it was last seen.
    pub lan: String,
    /// `attached` or `detached`.
    pub state: String,
    /// How long it has been in that state; null for a device not seen since the start.
    pub age: Option<u64>,
    /// The servers that it named last, whatever the policy made of them.
    pub servers: Vec<String>,
    /// Its `mac:` aliases.
    pub aliases: Vec<String>,
    /// Whether the device itself gave its identity.
    pub named: bool,
    /// Whether a `[[device]]` of the configuration has its identity.
    #[serde(default)]
    pub configured: bool,
    /// Policy of its LAN: its mode; absent if the LAN is not configured any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// `verified`: tied to an Ethernet address by the kernel's neighbour table; `unverified`: its
    /// LAN takes its word; `random-mac`: nothing is known but an Ethernet address that is made up.
    #[serde(default)]
    pub identity: String,
    /// How long ago it answered or was confirmed last; null if not since the start.
    pub seen: Option<u64>,
    /// Whether its list was followed by empty ones.
    pub unconfirmed: bool,
    /// The status with which it answered the last Device Detection Alert.
    pub detection: Option<u16>,
    /// Servers with a trigger that waits for it.
    pub waiting: Vec<String>,
    /// A rival's claim to its identity.
    pub conflict: Option<ConflictView>,
    /// Whether an operator blocked it.
    #[serde(default)]
    pub blocked: bool,
    /// Servers that may wake it by an operator's word.
    #[serde(default)]
    pub added: Vec<String>,
    /// Servers that may not wake it by an operator's word.
    #[serde(default)]
    pub removed: Vec<String>,
    /// Servers that may wake it, by whatever rule.
    #[serde(default)]
    pub allowed: Vec<String>,
}

/// A rival's claim.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ConflictView {
    /// Where it came from.
    pub address: String,
    /// The rival's Ethernet address, where the kernel knew it.
    pub mac: Option<String>,
    /// How often.
    pub count: u32,
    /// How long ago the last one was.
    pub age: u64,
}

/// One mapping in force.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct MappingView {
    /// The DM server's id.
    pub server: String,
    /// The end device's id.
    pub device: String,
    /// The LAN.
    pub lan: String,
    /// Age of the list that made it, by the wall clock.
    pub age: u64,
    /// Whether the device has since sent empty lists.
    pub unconfirmed: bool,
    /// Whether a trigger waits for the device.
    pub waiting: bool,
    /// Who made it: `device`, by its list, or `operator`.
    #[serde(default)]
    pub origin: String,
}

/// One DM server that devices name.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct ServerView {
    /// Its id.
    pub id: String,
    /// With an account: `bootstrapping` until the first session, `active`, or `failed`. Without,
    /// and wanted by devices of a `bootstrap` LAN: `pending-approval`, `wanted`, `bootstrapping`
    /// while the account is looked for, `failed`. Else `mapped`: it may wake devices through the
    /// gateway; `noted`: only devices of `ignore` LANs name it.
    pub state: String,
    /// Why it is in that state, where there is more to say.
    #[serde(default)]
    pub why: Option<String>,
    /// Code of what failed last, in the state `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Devices for which it has a mapping in force.
    pub mapped: usize,
    /// Devices of `bootstrap` LANs that want it.
    pub wanted: usize,
    /// Age of the oldest list that names it, by the wall clock; null if none does.
    pub age: Option<u64>,
}

impl Gateway {
    /// The whole.
    pub fn status(&self, now: Now) -> Status {
        let mut devices = DeviceCounts { known: self.inventory.len(), ..DeviceCounts::default() };
        let mut attached = vec![0; self.options.lans.len()];
        let mut waiting = 0;
        for (_, device) in self.inventory.iter() {
            if let (Some(lan), Some(_)) = (device.lan, device.attachment) {
                devices.attached += 1;
                attached[lan.0] += 1;
            }
            devices.conflicts += usize::from(current_conflict(device, now).is_some());
            waiting += device.slots.iter().filter(|slot| slot.holds()).count();
        }
        let lans = self.options.lans.iter().zip(attached).enumerate();
        let lans = lans.map(|(index, (lan, attached))| Lan {
            name: lan.name.to_string(),
            interface: lan.interface.clone(),
            policy: lan.policy.to_string(),
            up: self.lan_is_up(LanId(index)),
            attached,
        });
        let lans: Vec<_> = lans.collect();
        let servers = self.servers(now);
        let metrics = &self.metrics;
        let mut status = Status {
            health: Health::Healthy,
            problems: Vec::new(),
            troubles: Vec::new(),
            id: self.options.id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: now.uptime.as_secs(),
            lans,
            devices,
            mappings: servers.iter().map(|server| server.mapped).sum(),
            servers: servers.len(),
            last_push: metrics.last_push.map(|then| ago(now, then)),
            wanted: servers
                .iter()
                .filter(|server| server.wanted > 0 && !self.management.has_account(&server.id))
                .count(),
            waiting,
            accounts: self.management.accounts().count(),
            trial: self.management.trial(now),
            counters: metrics.counters,
            refused: metrics.refused().map(|(reason, count)| refusals(reason, count)).collect(),
            clock: ClockView { unix: now.unix, synchronised: self.facts.synchronised },
            storage: self.facts.disk,
            sockets: self.facts.sockets.iter().map(SocketView::of).collect(),
        };
        (status.health, status.troubles) = self.health(&status, now);
        let fails = status.troubles.iter().filter(|line| line.severity == Severity::Fail);
        status.problems = fails.map(|line| line.trouble.to_string()).collect();
        status
    }

    pub(super) fn lan_is_up(&self, lan: LanId) -> Option<bool> {
        if !self.neighbours_available {
            return None;
        }
        let interface = self.lan_interface(lan).and_then(|index| self.interfaces.get(&index));
        Some(interface.is_some_and(|interface| interface.running))
    }

    /// Every device, by id.
    pub fn devices(&self, now: Now) -> Vec<DeviceView> {
        let mut devices: Vec<_> = self.inventory.iter().map(|(_, d)| self.device(d, now)).collect();
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        devices
    }

    pub(super) fn device(&self, device: &Device, now: Now) -> DeviceView {
        let record = &device.record;
        let since = device.attachment.map(|attachment| attachment.since).or(device.detached);
        let attached = device.attachment.is_some();
        let address = device.best_address(|_| true).filter(|_| attached);
        let hardware = record.hardware.iter().map(|mac| DeviceId::of_mac(*mac));
        let servers = record.list.iter().flat_map(|list| &list.servers);
        let lan = self.options.lans.iter().find(|lan| lan.name == record.lan);
        let is_proven = lan.is_some_and(|lan| lan.verify == Verify::Neighbour);
        let identity = match record.id.mac() {
            Some(mac) if mac.is_local() && !record.named => "random-mac",
            Some(_) if is_proven => "verified",
            None if is_proven && !record.hardware.is_empty() => "verified",
            _ => "unverified",
        };
        DeviceView {
            id: record.id.to_string(),
            address: address.map(|address| address.ip.to_string()),
            lan: record.lan.to_string(),
            state: if attached { "attached" } else { "detached" }.to_owned(),
            age: since.map(|since| ago(now, since)),
            servers: servers.map(ToString::to_string).collect(),
            aliases: hardware.filter(|alias| *alias != record.id).map(|a| a.to_string()).collect(),
            named: record.named,
            configured: self.options.account(record.id.normal()).is_some(),
            policy: lan.map(|lan| lan.policy.to_string()),
            identity: identity.to_owned(),
            seen: device.last_seen.map(|seen| ago(now, seen)),
            unconfirmed: record.list.as_ref().is_some_and(|list| list.unconfirmed.is_some()),
            detection: device.detection.map(|code| code.0),
            waiting: device
                .slots
                .iter()
                .filter(|slot| slot.holds())
                .map(|slot| slot.server.to_string())
                .collect(),
            conflict: current_conflict(device, now).map(|conflict| ConflictView {
                address: conflict.address.to_string(),
                mac: conflict.mac.map(|mac| mac.to_string()),
                count: conflict.count,
                age: ago(now, conflict.at),
            }),
            blocked: record.ruling.blocked,
            added: record.ruling.added.iter().map(ToString::to_string).collect(),
            removed: record.ruling.removed.iter().map(ToString::to_string).collect(),
            allowed: self.allowed(device).map(ToString::to_string).collect(),
        }
    }

    /// Exactly the mappings in force, by server and device.
    pub fn mappings(&self, now: Now) -> Vec<MappingView> {
        let mut mappings = Vec::new();
        for (key, device) in self.inventory.iter() {
            let list = device.record.list.as_ref();
            let age = now.unix.saturating_sub(list.map_or(now.unix, |list| list.received));
            for slot in &device.slots {
                let rule = self.judge(slot.server.as_str(), Some(key));
                if let Ok(rule @ (Rule::Mapped | Rule::Added)) = rule {
                    let by_device = rule == Rule::Mapped;
                    mappings.push(MappingView {
                        server: slot.server.to_string(),
                        device: device.record.id.to_string(),
                        lan: device.record.lan.to_string(),
                        age,
                        unconfirmed: by_device && list.is_some_and(|it| it.unconfirmed.is_some()),
                        waiting: slot.holds(),
                        origin: if by_device { "device" } else { "operator" }.to_owned(),
                    });
                }
            }
        }
        mappings.sort_by(|a, b| (&a.server, &a.device).cmp(&(&b.server, &b.device)));
        mappings
    }

    /// Every server that a device names, by id.
    pub fn servers(&self, now: Now) -> Vec<ServerView> {
        let mut servers = BTreeMap::<&str, (usize, usize, Option<u64>)>::new();
        for (key, device) in self.inventory.iter() {
            let is_mapped = |server: &ServerId| {
                let rule = self.judge(server.as_str(), Some(key));
                usize::from(matches!(rule, Ok(Rule::Mapped | Rule::Added)))
            };
            let list = device.record.list.as_ref();
            let named = list.map_or(&[][..], |list| &list.servers);
            for server in device.record.ruling.added.iter().filter(|it| !named.contains(it)) {
                servers.entry(server.as_str()).or_default().0 += is_mapped(server);
            }
            let Some(list) = list else { continue };
            let age = now.unix.saturating_sub(list.received);
            for server in &list.servers {
                let (mapped, wanted, oldest) = servers.entry(server.as_str()).or_default();
                *mapped += is_mapped(server);
                let is_known = self.management.has_account(server.as_str());
                *wanted += usize::from(!is_known && self.wants(device, &device.record));
                *oldest = (*oldest).max(Some(age));
            }
        }
        for server in self.management.accounts() {
            servers.entry(server).or_default();
        }
        let view = |(id, (mapped, wanted, age)): (&str, (usize, usize, Option<u64>))| {
            let (state, why) = match self.server_state(id, wanted > 0) {
                Some(state) => state,
                None if mapped > 0 => ("mapped", None),
                None => ("noted", None),
            };
            let code = self.management.failure(id).filter(|_| state == "failed");
            let code = code.map(|failed| failed.code.id.to_owned());
            let (id, state) = (id.to_owned(), state.to_owned());
            ServerView { id, state, why, code, mapped, wanted, age }
        };
        servers.into_iter().map(view).collect()
    }

    /// Servers that devices of `bootstrap` LANs want, whether there is an account or not.
    pub(super) fn wanted_servers(&self) -> Vec<String> {
        let mut wanted = BTreeSet::new();
        for (_, device) in self.inventory.iter().filter(|(_, it)| self.wants(it, &it.record)) {
            let list = device.record.list.iter().flat_map(|list| &list.servers);
            wanted.extend(list.map(|server| server.as_str().to_owned()));
        }
        wanted.into_iter().collect()
    }

    /// Whether a device's list makes its servers wanted.
    fn wants(&self, device: &Device, record: &Record) -> bool {
        let here =
            device.lan.is_some_and(|lan| self.options.lans[lan.0].policy == Policy::Bootstrap);
        here && !record.ruling.blocked
            && record.list.as_ref().is_some_and(|list| list.policy == Policy::Bootstrap)
    }

    /// What would become of a push of `server` for `device`, by the code that decides it.
    pub fn explain(&self, server: &str, device: &str) -> Explanation {
        let key = self.find_by_header(device, &mut String::new());
        let verdict = self.judge(server, key);
        let rule = verdict.unwrap_or_else(|rule| rule);
        let known = key.and_then(|key| self.inventory.device(key));
        Explanation {
            server: server.to_owned(),
            device: known.map_or_else(|| device.to_owned(), |device| device.record.id.to_string()),
            allowed: verdict.is_ok(),
            rule: rule.name().to_owned(),
            why: rule.sentence().to_owned(),
            now: key.filter(|_| verdict.is_ok()).map(|key| self.present_fate(key)),
        }
    }

    fn present_fate(&self, key: DeviceKey) -> String {
        match self.target(key) {
            Ok((_, to)) => format!("it would be sent to {to}"),
            Err(away) => format!("it would be held: {}", away.sentence()),
        }
    }
}

pub(super) fn current_conflict(device: &Device, now: Now) -> Option<&Conflict> {
    device.conflict.as_ref().filter(|conflict| now.uptime < conflict.at + limits::CONFLICT_MEMORY)
}

fn refusals(reason: Reason, count: u64) -> (String, Refusals) {
    (reason.name().to_owned(), Refusals { count, why: reason.to_string() })
}

fn ago(now: Now, then: Duration) -> u64 {
    now.uptime.saturating_sub(then).as_secs()
}
