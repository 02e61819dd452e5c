//! What must outlive a restart: facts become changes, memory follows when they are on flash.
//!
//! ```text
//!   keep(record) ──► planned, Output::Commit ──► Input::Committed ──► record, held answer
//!                                                     └─ failed: record as it was, Status 500
//! ```

use crate::gateway::agenda::{Queued, Timer};
use crate::gateway::alert::ServerId;
use crate::gateway::device::{Device, DeviceKey, Record};
use crate::gateway::event::{Event, EventKind, Reason};
use crate::gateway::journal::STORE_WORKS;
use crate::gateway::policy::Policy;
use crate::gateway::seam::{Change, CommitId, ConnectionId, LanId, MacAddress, Now, StoreError};
use crate::gateway::store::Records;
use crate::gateway::{Gateway, dialogue};
use crate::limits;
use crate::proto::syncml::{Command, Encoding, Message, StatusCode};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct PendingCommit {
    pub(super) commit: CommitId,
    pub(super) updates: Vec<(DeviceKey, Option<Box<Record>>)>,
    pub(super) reply: Option<HeldReply>,
}

/// An answer that waits until what it acknowledges is on flash.
#[derive(Debug)]
pub(super) struct HeldReply {
    pub(super) connection: ConnectionId,
    pub(super) encoding: Encoding,
    pub(super) message: Message<'static>,
    /// Indexes of the statuses that turn into 500 if the store fails.
    pub(super) dependent: Vec<usize>,
}

impl Gateway {
    pub(super) fn restore(&mut self, stored: &Records, now: Now) {
        for (key, value) in stored.iter() {
            if self.restore_management(key, value) {
                continue;
            }
            let Some(key) = device_key(key) else {
                log::warn!("the store holds a key of another version: left alone");
                continue;
            };
            match Record::decode(value) {
                Ok(mut record) => {
                    let lan = self.options.lans.iter().position(|lan| lan.name == record.lan);
                    if let Some(lan) = lan {
                        record.lan = self.options.lans[lan].name.clone();
                    }
                    let mut device = Device::new(record, lan.map(LanId));
                    device.stored = true;
                    self.inventory.restore(key, device);
                    self.settled(key, now);
                }
                Err(error) => log::error!("device {} in the store is unreadable: {error}", key.0),
            }
        }
        self.unite_restored();
    }

    /// Removes devices known by an Ethernet address only that is an alias of another: they became
    /// one when the store failed.
    fn unite_restored(&mut self) {
        let (named, unnamed): (Vec<_>, Vec<_>) =
            self.inventory.iter().partition(|(_, device)| device.record.named);
        let unnamed: HashMap<MacAddress, DeviceKey> = unnamed
            .into_iter()
            .filter_map(|(key, device)| Some((device.record.id.mac()?, key)))
            .collect();
        let aliases = named
            .into_iter()
            .flat_map(|(key, device)| device.record.hardware.iter().map(move |mac| (*mac, key)));
        let doubles: BTreeMap<DeviceKey, (DeviceKey, MacAddress)> =
            aliases.filter_map(|(mac, key)| Some((*unnamed.get(&mac)?, (key, mac)))).collect();
        for (double, (key, mac)) in doubles {
            let record = |key| self.inventory.device(key).map(|device| device.record.clone());
            let (Some(old), Some(mut record)) = (record(double), record(key)) else { continue };
            record.list = record.list.or(old.list);
            self.inventory.replace(key, record.clone());
            self.keep_and_forget(key, record, double);
            self.inventory.learn_hardware(key, mac);
        }
    }

    /// Has a device's new facts made durable; memory follows when they are.
    pub(super) fn keep(&mut self, key: DeviceKey, record: Record) {
        self.commit(vec![(key, Some(Box::new(record)))], None);
    }

    /// Has a device's new facts made durable, and answers only then.
    pub(super) fn keep_then_reply(&mut self, key: DeviceKey, record: Record, reply: HeldReply) {
        self.commit(vec![(key, Some(Box::new(record)))], Some(reply));
    }

    /// Removes a device, from the store as well.
    pub(super) fn forget(&mut self, key: DeviceKey) {
        self.forget_told(key);
    }

    /// Has a device's new facts made durable, and another device removed in the same commit.
    pub(super) fn keep_and_forget(&mut self, key: DeviceKey, record: Record, other: DeviceKey) {
        let mut updates = vec![(key, Some(Box::new(record)))];
        if self.remove(other) {
            updates.push((other, None));
        }
        self.commit(updates, None);
    }

    /// Removes a device as [`forget`](Self::forget) does; the commit that somebody may wait for.
    pub(super) fn forget_told(&mut self, key: DeviceKey) -> Option<CommitId> {
        self.forget_given(key);
        self.remove(key).then(|| self.commit(vec![(key, None)], None))
    }

    /// Removes a device from memory. True if the store has it.
    pub(super) fn remove(&mut self, key: DeviceKey) -> bool {
        let stored = self.inventory.device(key).is_some_and(|device| device.stored);
        self.inventory.remove(key);
        // What the store still reports of it must not reach the next device under this key.
        for pending in &mut self.pending {
            pending.updates.retain(|(updated, _)| *updated != key);
        }
        stored
    }

    pub(super) fn commit(
        &mut self,
        updates: Vec<(DeviceKey, Option<Box<Record>>)>,
        reply: Option<HeldReply>,
    ) -> CommitId {
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
        commit
    }

    pub(super) fn committed(&mut self, commit: CommitId, result: Result<(), StoreError>, now: Now) {
        let (answer, ok) = (self.answers.remove(&commit), result.is_ok());
        self.take_over(commit, result, now);
        if let Some(answer) = answer {
            self.answer_operator(answer, ok, now);
        }
    }

    fn take_over(&mut self, commit: CommitId, result: Result<(), StoreError>, now: Now) {
        if self.management_committed(commit, result.is_ok(), now) {
            return self.note_commit(result);
        }
        let index = self.pending.iter().position(|pending| pending.commit == commit);
        let pending = index.and_then(|index| self.pending.remove(index));
        let failed = result.is_err();
        self.note_commit(result);
        // Nothing waits for nonces, approvals and the like.
        let Some(PendingCommit { updates, mut reply, .. }) = pending else { return };
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
                let is_new_list = before.list != record.list;
                self.inventory.replace(key, *record);
                self.settled(key, now);
                self.tell_changes(key, &before);
                if is_new_list {
                    self.look_for_wanted_soon(now);
                }
                self.release(key, now);
            }
        }
        if let Some(reply) = &mut reply {
            if failed {
                self.metrics.refuse(Reason::StoreFailed);
                fail_dependent(reply);
            }
        }
        if let Some(HeldReply { connection, encoding, message, .. }) = reply {
            self.respond(connection, dialogue::message_response(encoding, &message));
        }
    }

    fn note_commit(&mut self, result: Result<(), StoreError>) {
        self.metrics.counters.commits += 1;
        self.metrics.counters.commits_failed += u64::from(result.is_err());
        self.note_store(result.err());
    }

    fn note_store(&mut self, error: Option<StoreError>) {
        let (before, now) = (self.store_error.is_some(), error.is_some());
        if before != now {
            let why = error.as_ref().map_or_else(
                || STORE_WORKS.to_owned(),
                |error| format!("the store fails: {error}; what it cannot keep is refused"),
            );
            self.tell(Event::new(EventKind::Store, why));
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

    /// Tells what is different since `before`.
    fn tell_changes(&mut self, key: DeviceKey, before: &Record) {
        let Some(device) = self.inventory.device(key) else { return };
        let record = &device.record;
        if !self.observed && !self.journal.is_on() {
            return;
        }
        let lan = device.lan.map(|lan| self.options.lans[lan.0].name.clone());
        let event = |kind, server: Option<&ServerId>, why: String| Event {
            kind,
            device: Some(record.id.shared()),
            server: server.cloned(),
            lan: lan.clone(),
            address: None,
            reason: None,
            code: None,
            why,
        };
        let mut events = Vec::new();
        if record.named && !before.named {
            let why = format!("until now it was known as {}", before.id);
            events.push(event(EventKind::Named, None, why));
        }
        if record.list != before.list {
            if let Some(list) = &record.list {
                let why = match list.unconfirmed {
                    Some(_) => "the list is empty: its mappings stay, unconfirmed".to_owned(),
                    None if before
                        .list
                        .as_ref()
                        .is_some_and(|old| old.received == list.received) =>
                    {
                        "no list confirmed the mappings: they end".to_owned()
                    }
                    None if list.servers.len() == 1 => "BootstrappedDMSList: 1 server".to_owned(),
                    None if list.servers.len() == 1 => "BootstrappedDMSList: 1 server".to_owned(),
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
                    let why = match list.policy {
                        Policy::Transparent => {
                            "the device does not name this server any more".to_owned()
                        }
                        policy => format!("the policy of its LAN is {policy} now"),
                    };
                    events.push(event(EventKind::Unmapped, Some(server), why));
                }
                let old = named(before, Policy::Bootstrap);
                let is_new = |server: &&ServerId| {
                    !old.contains(server) && !self.management.has_account(server.as_str())
                };
                for server in named(record, Policy::Bootstrap).iter().filter(is_new) {
                    let why = "the policy is bootstrap and the gateway does not know this server";
                    events.push(event(EventKind::Wanted, Some(server), why.to_owned()));
                }
            }
        }
        for event in events {
            self.tell(event);
        }
    }
}

fn fail_dependent(reply: &mut HeldReply) {
    for index in &reply.dependent {
        if let Some(Command::Status(status)) = reply.message.commands.get_mut(*index) {
            status.code = StatusCode::COMMAND_FAILED;
            status.challenge = None;
        }
    }
}

/// The key of a device in the store: `d` and its number.
pub(super) fn store_key(key: DeviceKey) -> Vec<u8> {
    let mut octets = vec![b'd'];
    octets.extend(key.0.to_be_bytes());
    octets
}

pub(super) fn device_key(octets: &[u8]) -> Option<DeviceKey> {
    let number = octets.strip_prefix(b"d")?;
    let key = u32::from_be_bytes(number.try_into().ok()?);
    // A key far beyond the bound would only cost memory.
    ((key as usize) < 2 * limits::DEVICES).then_some(DeviceKey(key))
}
