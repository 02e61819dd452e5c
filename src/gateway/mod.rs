//! PURE: what this product decides.
//!
//! ```text
//!                  Input                                   Output
//!   push from the WAN ──┐                              ┌── push to an end device
//!   request of a device ┤                              ├── answer to a request
//!   neighbour, lease ───┼─►  Gateway::handle(input,  ──┼── changes to make durable
//!   committed ──────────┤            now)              ├── neighbour to confirm
//!   timeout ────────────┘                              └── event for whoever watches
//! ```
//!
//! Contract: one [`handle`](Gateway::handle), then [`poll_output`](Gateway::poll_output) until
//! it is `None`, then wait for the next input or [`poll_timeout`](Gateway::poll_timeout).
//! `handle` cannot fail: each outcome is an output, a counter, a log line.
//!
//! Reads come from memory; the store is the log of truth. A fact that must outlive a restart
//! becomes a [`Change`]; memory follows, and the answer that depends on it goes out, when
//! [`Input::Committed`] reports it on flash. A failed commit leaves memory as it was.

pub mod alert;
mod attach;
pub mod device;
mod dialogue;
pub mod event;
pub mod forward;
mod identity;
pub mod inventory;
pub mod metrics;
pub mod policy;
pub mod seam;
pub mod store;
pub mod view;

use crate::gateway::alert::{ServerId, WireProfile};
use crate::gateway::device::{Device, DeviceId, DeviceKey, Neighbour, Record};
use crate::gateway::dialogue::{LanSession, SessionKey};
use crate::gateway::event::{Event, EventKind, Reason};
use crate::gateway::inventory::Inventory;
use crate::gateway::metrics::Metrics;
use crate::gateway::policy::{DeviceAuth, Policy, Verify};
use crate::gateway::seam::{
    Change, CommitId, ConnectionId, Input, LanId, MacAddress, Now, Output, Response, StoreError,
};
use crate::limits;
use crate::proto::auth::Secret;
use crate::proto::syncml::{Encoding, Message, StatusCode};
use sha2::{Digest, Sha256};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// What the gateway is told at its start. The configuration made it valid.
#[derive(Clone, Debug)]
pub struct Options {
    /// `[gateway] id`: our DM server id towards end devices.
    pub id: String,
    /// `[gateway] public-address`.
    pub public_address: Option<String>,
    /// `[gateway] share-address`.
    pub share_address: bool,
    /// `[gateway] wire-profile`.
    pub wire_profile: WireProfile,
    /// Time between pushes of one mapping at the permitted rate; `None` sets no bound.
    pub push_interval: Option<Duration>,
    /// How long a trigger is held.
    pub trigger_expiry: Duration,
    /// `[wan] trusted-sources`; empty trusts any.
    pub trusted_sources: Vec<Prefix>,
    /// `[[lan]]`.
    pub lans: Vec<LanOptions>,
    /// `[[device]]`.
    pub accounts: Vec<Account>,
}

/// One `[[lan]]`.
#[derive(Clone, Debug)]
pub struct LanOptions {
    /// `name`.
    pub name: Arc<str>,
    /// `interface`.
    pub interface: String,
    /// `policy`.
    pub policy: Policy,
    /// `detect`.
    pub detect: Detect,
    /// `verify`.
    pub verify: Verify,
    /// `device-auth`.
    pub device_auth: DeviceAuth,
    /// `push-port`: the UDP port of the end devices.
    pub push_port: u16,
    /// Time between requests of one address at the sustained rate; `None` sets no bound.
    pub request_interval: Option<Duration>,
    /// Requests of one address at once.
    pub request_burst: u32,
}

/// `detect`: what makes a device known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detect {
    /// The kernel's neighbour table.
    pub neighbours: bool,
    /// The DHCP lease file.
    pub leases: bool,
    /// The `[[device]]` sections with an address.
    pub configured: bool,
}

/// One `[[device]]`.
#[derive(Clone, Debug)]
pub struct Account {
    /// `id`.
    pub id: DeviceId,
    /// `lan`.
    pub lan: Option<LanId>,
    /// `address`.
    pub address: Option<IpAddr>,
    /// `user`, by default the id.
    pub user: String,
    /// What the device proves itself by.
    pub secret: Option<Secret>,
    /// What we prove ourselves to the device by.
    pub server_secret: Option<Secret>,
}

/// A block of network addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// An address in it.
    pub address: IpAddr,
    /// Leading bits that count: at most 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// Whether `ip` is in the block.
    pub fn contains(self, ip: IpAddr) -> bool {
        fn bits(ip: IpAddr) -> (u128, u32) {
            match ip {
                IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
                IpAddr::V6(ip) => (u128::from(ip), 128),
            }
        }
        let ((own, family), (other, other_family)) = (bits(self.address), bits(ip));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or_default();
        family == other_family && (own ^ other) & mask == 0
    }
}

impl Options {
    fn trusts(&self, source: IpAddr) -> bool {
        self.trusted_sources.is_empty()
            || self.trusted_sources.iter().any(|prefix| prefix.contains(source))
    }

    fn account(&self, normal: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id.normal() == normal)
    }
}

/// The one top state machine.
#[derive(Debug)]
pub struct Gateway {
    options: Options,
    inventory: Inventory,
    interfaces: HashMap<u32, Interface>,
    /// The interface of each LAN, while it exists.
    lan_interfaces: Vec<Option<u32>>,
    neighbours: HashMap<(u32, IpAddr), Neighbour>,
    neighbours_available: bool,
    dump: u32,
    sessions: HashMap<SessionKey, LanSession>,
    request_sources: HashMap<IpAddr, Duration>,
    pending: VecDeque<PendingCommit>,
    /// Identities that pending commits give to devices.
    naming: HashMap<Arc<str>, DeviceKey>,
    next_commit: u64,
    store_error: Option<StoreError>,
    timers: Timers,
    outputs: Outputs,
    datagrams: Vec<u8>,
    metrics: Metrics,
    entropy: Entropy,
    hash_key: (u64, u64),
    observed: bool,
    scratch: String,
}

#[derive(Debug)]
struct Interface {
    lan: Option<LanId>,
    running: bool,
    mac: Option<MacAddress>,
}

#[derive(Debug)]
struct PendingCommit {
    commit: CommitId,
    updates: Vec<(DeviceKey, Option<Box<Record>>)>,
    reply: Option<HeldReply>,
}

/// An answer that waits until what it acknowledges is on flash.
#[derive(Debug)]
struct HeldReply {
    connection: ConnectionId,
    encoding: Encoding,
    message: Message<'static>,
    /// Indexes of the statuses that turn into 500 if the store fails.
    dependent: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Timer {
    /// A device may be due for Package #0.
    Ask(DeviceKey),
    /// Triggers sent to a device may be taken as delivered.
    Confirm(DeviceKey),
    /// Triggers held for a device may be out of date.
    Expire(DeviceKey),
    /// A device's unconfirmed mappings may be out of date.
    Unconfirmed(DeviceKey),
    /// Sessions may be out of date.
    Sessions,
}

impl Gateway {
    /// A gateway that knows what the store had kept. `seed` comes from the system's entropy.
    pub fn new(
        options: Options,
        stored: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        seed: [u8; 32],
        now: Now,
    ) -> Self {
        let mut entropy = Entropy { seed, counter: 0 };
        let hash_key = (entropy.u64(), entropy.u64());
        let mut gateway = Self {
            lan_interfaces: vec![None; options.lans.len()],
            options,
            inventory: Inventory::default(),
            interfaces: HashMap::new(),
            neighbours: HashMap::new(),
            neighbours_available: true,
            dump: 0,
            sessions: HashMap::new(),
            request_sources: HashMap::new(),
            pending: VecDeque::new(),
            naming: HashMap::new(),
            next_commit: 0,
            store_error: None,
            timers: Timers::default(),
            outputs: Outputs::default(),
            datagrams: Vec::new(),
            metrics: Metrics::default(),
            entropy,
            hash_key,
            observed: false,
            scratch: String::new(),
        };
        gateway.restore(stored, now);
        gateway.configured_devices(now);
        gateway
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        if self.outputs.0.is_empty() {
            self.datagrams.clear();
        }
        match input {
            Input::Push { from, datagram } => self.push(from, datagram, now),
            Input::Request { connection, lan, from, local, request } => {
                self.request(connection, lan, from, local, request, now);
            }
            Input::Neighbour(event) => self.neighbour_event(event, now),
            Input::Link(event) => self.link_event(event, now),
            Input::Leases { lan, leases } => self.leases(lan, leases, now),
            Input::Committed { commit, result } => self.committed(commit, result, now),
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        Some(match self.outputs.0.pop_front()? {
            Queued::Push { lan, to, range } => {
                Output::Push { lan, to, datagram: &self.datagrams[range] }
            }
            Queued::Response { connection, response } => Output::Response { connection, response },
            Queued::Commit { commit, changes } => Output::Commit { commit, changes },
            Queued::Probe { lan, interface, address } => Output::Probe { lan, interface, address },
            Queued::Event(event) => Output::Event(*event),
        })
    }

    /// The uptime at which [`Input::Timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.queue.first().map(|(at, _)| *at)
    }

    /// Sets whether anybody watches: without watchers no [`Output::Event`] is made.
    pub fn observe(&mut self, observed: bool) {
        self.observed = observed;
    }

    fn timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.take_due(now.uptime) {
            match timer {
                Timer::Ask(key) => self.ask(key, now),
                Timer::Confirm(key) => self.confirm_due(key, now),
                Timer::Expire(key) => self.expire(key, now),
                Timer::Unconfirmed(key) => self.unconfirmed_due(key, now),
                Timer::Sessions => self.sessions_due(now),
            }
        }
    }

    // --- What must last -------------------------------------------------------------------

    fn restore(&mut self, stored: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>, now: Now) {
        for (key, value) in stored {
            let Some(key) = device_key(&key) else {
                log::warn!("the store holds a key of another version: left alone");
                continue;
            };
            match Record::decode(&value) {
                Ok(record) => {
                    let lan = self.options.lans.iter().position(|lan| lan.name == record.lan);
                    let mut device = Device::new(record, lan.map(LanId));
                    device.stored = true;
                    self.inventory.restore(key, device);
                    self.settled(key, now);
                }
                Err(error) => log::error!("device {} in the store is unreadable: {error}", key.0),
            }
        }
    }

    /// Has a device's new facts made durable; memory follows when they are.
    fn keep(&mut self, key: DeviceKey, record: Record) {
        self.commit(vec![(key, Some(Box::new(record)))], None);
    }

    /// Has a device's new facts made durable, and answers only then.
    fn keep_then_reply(&mut self, key: DeviceKey, record: Record, reply: HeldReply) {
        self.commit(vec![(key, Some(Box::new(record)))], Some(reply));
    }

    /// Removes a device, from the store as well.
    fn forget(&mut self, key: DeviceKey) {
        let stored = self.inventory.device(key).is_some_and(|device| device.stored);
        self.inventory.remove(key);
        // What the store still reports of it must not reach the next device under this key.
        for pending in &mut self.pending {
            pending.updates.retain(|(updated, _)| *updated != key);
        }
        if stored {
            self.commit(vec![(key, None)], None);
        }
    }

    fn commit(&mut self, updates: Vec<(DeviceKey, Option<Box<Record>>)>, reply: Option<HeldReply>) {
        let commit = CommitId(self.next_commit);
        self.next_commit += 1;
        let mut changes = Vec::with_capacity(updates.len());
        for (key, record) in &updates {
            if let (Some(device), Some(record)) = (self.inventory.device_mut(*key), record) {
                device.stored = true;
                device.planned = Some(record.clone());
                if record.id != device.record.id {
                    self.naming.insert(record.id.normal().into(), *key);
                }
            }
            let value = record.as_ref().map(|record| record.encode());
            changes.push(Change { key: store_key(*key), value });
        }
        self.pending.push_back(PendingCommit { commit, updates, reply });
        self.outputs.0.push_back(Queued::Commit { commit, changes });
    }

    fn committed(&mut self, commit: CommitId, result: Result<(), StoreError>, now: Now) {
        let Some(index) = self.pending.iter().position(|pending| pending.commit == commit) else {
            return;
        };
        let Some(PendingCommit { updates, mut reply, .. }) = self.pending.remove(index) else {
            return;
        };
        self.metrics.commits += 1;
        let failed = result.is_err();
        self.note_store(result.err());
        for (key, record) in updates {
            let name = record.as_ref().map_or("", |record| record.id.normal());
            if self.naming.get(name) == Some(&key) {
                self.naming.remove(name);
            }
            let Some(device) = self.inventory.device_mut(key) else { continue };
            if device.planned == record {
                device.planned = None;
            }
            device.unsaved = failed;
            if let (Some(record), false) = (record, failed) {
                let before = device.record.clone();
                self.inventory.replace(key, *record);
                self.settled(key, now);
                self.tell_changes(key, &before);
                self.release(key, now);
            }
        }
        if failed {
            self.metrics.commits_failed += 1;
        }
        if let Some(reply) = &mut reply
            && failed
        {
            self.metrics.refuse(Reason::StoreFailed);
            fail_dependent(reply);
        }
        if let Some(HeldReply { connection, encoding, message, .. }) = reply {
            self.respond(connection, dialogue::message_response(encoding, &message));
        }
    }

    fn note_store(&mut self, error: Option<StoreError>) {
        let (before, now) = (self.store_error.is_some(), error.is_some());
        if let Some(error) = &error
            && !before
        {
            log::error!("the store fails: {error}; what it cannot keep is refused");
        } else if before && !now {
            log::info!("the store works again");
        }
        if before != now {
            let why = error.as_ref().map_or("the store works again".to_owned(), |e| e.to_string());
            self.tell(Event {
                kind: EventKind::Store,
                device: None,
                server: None,
                lan: None,
                address: None,
                why,
            });
        }
        self.store_error = error;
    }

    /// What follows from a device's facts: the end of unconfirmed mappings.
    fn settled(&mut self, key: DeviceKey, now: Now) {
        let list = self.inventory.device(key).and_then(|device| device.record.list.as_ref());
        if let Some((since, _)) = list.and_then(|list| list.unconfirmed) {
            let age = now.unix.saturating_sub(since);
            let rest = Duration::from_secs(limits::UNCONFIRMED.saturating_sub(age));
            self.timers.set(Timer::Unconfirmed(key), now.uptime + rest);
        }
    }

    // --- Small helpers of the files below ---------------------------------------------------

    fn respond(&mut self, connection: ConnectionId, response: Response) {
        self.outputs.0.push_back(Queued::Response { connection, response });
    }

    fn probe(&mut self, lan: LanId, address: IpAddr) {
        let interface = self.lan_interface(lan).unwrap_or_default();
        self.outputs.0.push_back(Queued::Probe { lan, interface, address });
    }

    fn lan_interface(&self, lan: LanId) -> Option<u32> {
        self.lan_interfaces[lan.0]
    }

    fn neighbour(&self, lan: LanId, ip: IpAddr) -> Option<&Neighbour> {
        self.neighbours.get(&(self.lan_interface(lan)?, ip))
    }

    fn tell(&mut self, event: Event) {
        if self.observed {
            self.outputs.0.push_back(Queued::Event(Box::new(event)));
        }
    }

    /// Tells of something that concerns a device; `why` is made only if somebody watches.
    fn tell_of(
        &mut self,
        kind: EventKind,
        key: DeviceKey,
        slot: Option<usize>,
        address: Option<SocketAddr>,
        why: impl FnOnce() -> String,
    ) {
        let Some(device) = self.inventory.device(key) else { return };
        match kind {
            EventKind::Detected | EventKind::Detached => {
                log::info!("{} {}", device.record.id, kind.name());
            }
            _ => log::debug!("{} {}", device.record.id, kind.name()),
        }
        if !self.observed {
            return;
        }
        let server = slot.and_then(|slot| device.slots.get(slot)).map(|slot| slot.server.clone());
        let lan = device.lan.map(|lan| self.options.lans[lan.0].name.clone());
        let device = Some(device.record.id.shared());
        self.tell(Event { kind, device, server, lan, address, why: why() });
    }

    fn tell_of_peer(&mut self, reason: Reason, lan: LanId, peer: IpAddr, claim: Option<&DeviceId>) {
        log::debug!("{peer}: {reason}");
        self.tell(Event {
            kind: EventKind::Refused,
            device: claim.map(DeviceId::shared),
            server: None,
            lan: Some(self.options.lans[lan.0].name.clone()),
            address: Some(SocketAddr::new(peer, 0)),
            why: reason.to_string(),
        });
    }

    /// Tells what is different since `before`.
    fn tell_changes(&mut self, key: DeviceKey, before: &Record) {
        let Some(device) = self.inventory.device(key) else { return };
        let record = &device.record;
        if record.named && !before.named {
            log::info!("{} is {}", before.id, record.id);
        }
        if !self.observed {
            return;
        }
        let lan = device.lan.map(|lan| self.options.lans[lan.0].name.clone());
        let event = |kind, server: Option<&ServerId>, why: String| Event {
            kind,
            device: Some(record.id.shared()),
            server: server.cloned(),
            lan: lan.clone(),
            address: None,
            why,
        };
        let mut events = Vec::new();
        if record.named && !before.named {
            let why = format!("until now it was known as {}", before.id);
            events.push(event(EventKind::Named, None, why));
        }
        if record.list != before.list
            && let Some(list) = &record.list
        {
            let why = match list.unconfirmed {
                Some(_) => "the list is empty: its mappings stay, unconfirmed".to_owned(),
                None if before.list.as_ref().is_some_and(|old| old.received == list.received) => {
                    "no list confirmed the mappings: they end".to_owned()
                }
                None => format!("BootstrappedDMSList: {} servers", list.servers.len()),
            };
            events.push(event(EventKind::List, None, why));
            let named = |record: &Record, policy| {
                let list = record.list.as_ref().filter(|list| list.policy == policy);
                list.map(|list| list.servers.clone()).unwrap_or_default()
            };
            let old = named(before, Policy::Transparent);
            let new = named(record, Policy::Transparent);
            for server in new.iter().filter(|server| !old.contains(server)) {
                let why = "the policy is transparent: this server may wake this device";
                events.push(event(EventKind::Mapped, Some(server), why.to_owned()));
            }
            for server in old.iter().filter(|server| !new.contains(server)) {
                let why = "the device does not name this server any more".to_owned();
                events.push(event(EventKind::Unmapped, Some(server), why));
            }
            let old = named(before, Policy::Bootstrap);
            for server in named(record, Policy::Bootstrap).iter().filter(|s| !old.contains(s)) {
                let why = "the policy is bootstrap and the gateway does not know this server";
                events.push(event(EventKind::Wanted, Some(server), why.to_owned()));
            }
        }
        for event in events {
            self.tell(event);
        }
    }
}

fn fail_dependent(reply: &mut HeldReply) {
    for index in &reply.dependent {
        if let Some(crate::proto::syncml::Command::Status(status)) =
            reply.message.commands.get_mut(*index)
        {
            status.code = StatusCode::COMMAND_FAILED;
            status.challenge = None;
        }
    }
}

/// The key of a device in the store: `d` and its number.
fn store_key(key: DeviceKey) -> Vec<u8> {
    let mut octets = vec![b'd'];
    octets.extend(key.0.to_be_bytes());
    octets
}

fn device_key(octets: &[u8]) -> Option<DeviceKey> {
    let number = octets.strip_prefix(b"d")?;
    let key = u32::from_be_bytes(number.try_into().ok()?);
    // A key far beyond the bound would only cost memory.
    ((key as usize) < 2 * limits::DEVICES).then_some(DeviceKey(key))
}

/// Outputs in order; datagrams stand in one buffer that is used again.
#[derive(Debug, Default)]
struct Outputs(VecDeque<Queued>);

#[derive(Debug)]
enum Queued {
    Push { lan: LanId, to: SocketAddr, range: Range<usize> },
    Response { connection: ConnectionId, response: Response },
    Commit { commit: CommitId, changes: Vec<Change> },
    Probe { lan: LanId, interface: u32, address: IpAddr },
    Event(Box<Event>),
}

impl Outputs {
    fn push_datagram(&mut self, lan: LanId, to: SocketAddr, range: Range<usize>) {
        self.0.push_back(Queued::Push { lan, to, range });
    }
}

/// When what is due. A timer that is no longer wanted does nothing when it fires.
#[derive(Debug, Default)]
struct Timers {
    queue: BTreeSet<(Duration, Timer)>,
    due: HashMap<Timer, Duration>,
}

impl Timers {
    /// Sets a timer, whenever it was due before.
    fn set(&mut self, timer: Timer, at: Duration) {
        if let Some(before) = self.due.insert(timer, at) {
            self.queue.remove(&(before, timer));
        }
        self.queue.insert((at, timer));
    }

    /// Sets a timer unless it is due earlier anyway.
    fn set_no_later(&mut self, timer: Timer, at: Duration) {
        if self.due.get(&timer).is_none_or(|before| *before > at) {
            self.set(timer, at);
        }
    }

    fn take_due(&mut self, now: Duration) -> Option<Timer> {
        let &(at, timer) = self.queue.first().filter(|(at, _)| *at <= now)?;
        self.queue.remove(&(at, timer));
        self.due.remove(&timer);
        Some(timer)
    }
}

/// Unpredictable octets, spun from one seed: SHA-256 over seed and counter.
struct Entropy {
    seed: [u8; 32],
    counter: u64,
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

    fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce.copy_from_slice(&self.block()[..16]);
        nonce
    }

    fn u64(&mut self) -> u64 {
        let mut octets = [0; 8];
        octets.copy_from_slice(&self.block()[..8]);
        u64::from_be_bytes(octets)
    }

    /// A session id of Package #0: 1 to 65535.
    fn session_id(&mut self) -> u16 {
        (self.u64() as u16).max(1)
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_its_own_family_only() {
        let prefix = |address: &str, length| Prefix { address: address.parse().unwrap(), length };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(prefix("10.1.0.0", 16).contains(ip("10.1.2.3")));
        assert!(!prefix("10.1.0.0", 16).contains(ip("10.2.0.0")));
        assert!(prefix("0.0.0.0", 0).contains(ip("192.0.2.1")));
        assert!(!prefix("0.0.0.0", 0).contains(ip("2001:db8::1")));
        assert!(prefix("2001:db8::", 32).contains(ip("2001:db8:ffff::")));
        assert!(prefix("192.0.2.1", 32).contains(ip("192.0.2.1")));
        assert!(!prefix("192.0.2.1", 32).contains(ip("192.0.2.2")));
    }
}
