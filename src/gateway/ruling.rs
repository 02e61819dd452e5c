//! What operators say of end devices: forgotten, blocked, trusted, mapped by hand.
//!
//! | word | until |
//! |---|---|
//! | `devices block` | `devices unblock` |
//! | `map add` | `map remove` |
//! | `map remove` of what the device names | `map add`; the device's own lists do not bring it back |
//! | `devices forget` | the device is seen again: it is a new one then, and nothing of this stays |
//!
//! Each is planned first. A rehearsal (`--dry-run`) ends there; else the plan goes to the store,
//! and memory and the operator's answer follow when it is on flash.

use crate::gateway::Gateway;
use crate::gateway::alert::ServerId;
use crate::gateway::device::{DeviceId, DeviceKey, Record};
use crate::gateway::event::{Event, EventKind};
use crate::gateway::management::{Operation, OperationId};
use crate::gateway::seam::{CommitId, LanId, MacAddress, Now};
use crate::gateway::trigger::TriggerState;
use crate::limits;
use std::net::IpAddr;

/// What an operator's word changes.
pub(super) struct Plan {
    key: DeviceKey,
    /// The new facts; `None` forgets the device.
    record: Option<Box<Record>>,
    /// Another device that is this one, and goes.
    double: Option<DeviceKey>,
    /// What is done, for people.
    lines: Vec<String>,
    /// Whether a conflict about the device is settled by it.
    settles: bool,
    /// A mapping that begins or ends.
    mapping: Option<(EventKind, ServerId)>,
}

/// An operator's answer that waits for the store.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) operation: OperationId,
    pub(super) lines: Vec<String>,
    /// The device whose ruling changed.
    pub(super) ruled: Option<DeviceKey>,
    /// Whether a conflict about it is settled.
    pub(super) settles: bool,
    /// A mapping that begins or ends.
    pub(super) mapping: Option<(EventKind, ServerId)>,
    /// A server whose approval is as it was before if the store fails.
    pub(super) server: Option<(String, Approval)>,
}

/// Whether a server may be bootstrapped: approved, denied.
pub(super) type Approval = (bool, bool);

impl Gateway {
    /// What an operation on a device would change.
    ///
    /// # Errors
    /// For people: why it is not done.
    pub(super) fn plan(&self, operation: &Operation) -> Result<Plan, String> {
        match operation {
            Operation::Forget { device } => self.plan_forget(device),
            Operation::Block { device } => self.plan_block(device, true),
            Operation::Unblock { device } => self.plan_block(device, false),
            Operation::Trust { device, hardware } => self.plan_trust(device, hardware.as_deref()),
            Operation::Map { server, device } => self.plan_map(server, device),
            Operation::Unmap { server, device } => self.plan_unmap(server, device),
            _ => Err("this is not done to a device".to_owned()),
        }
    }

    fn plan_forget(&self, device: &str) -> Result<Plan, String> {
        let (key, record) = self.known(device)?;
        let mappings = self.inventory.device(key).map_or(0, |device| {
            let servers = device.slots.iter().map(|slot| slot.server.as_str());
            servers.filter(|server| self.judge(server, Some(key)).is_ok()).count()
        });
        let mut line = format!("{}: forgotten", record.id);
        if mappings > 0 {
            line.push_str(&format!(", with {mappings} mapping{}", plural(mappings)));
        }
        let mut lines = vec![line];
        if record.ruling.blocked {
            lines.push("it was blocked, and is not when it is seen again".to_owned());
        }
        if self.inventory.device(key).is_some_and(|device| device.attachment.is_some()) {
            lines.push("it is on its LAN, and comes back as a new device".to_owned());
        }
        Ok(Plan { record: None, ..Plan::of(key, lines) })
    }

    fn plan_block(&self, device: &str, block: bool) -> Result<Plan, String> {
        let (key, record) = self.known(device)?;
        if record.ruling.blocked == block {
            let how = if block { "is blocked already" } else { "is not blocked" };
            return Err(format!("{} {how}; try: dm-gateway devices show {}", record.id, record.id));
        }
        let line = if block {
            format!("{}: blocked; its pushes and sessions are refused", record.id)
        } else {
            format!("{}: no longer blocked", record.id)
        };
        let mut record = Box::new(record.clone());
        record.ruling.blocked = block;
        Ok(Plan { record: Some(record), ..Plan::of(key, vec![line]) })
    }

    /// Gives an identity to an Ethernet address, or to whoever holds it.
    fn plan_trust(&self, device: &str, hardware: Option<&str>) -> Result<Plan, String> {
        let (key, record) = self.known(device)?;
        let id = record.id.clone();
        let Some(hardware) = hardware else {
            let line = match record.hardware.last() {
                Some(mac) => format!("{id}: is whom it is held for, at {mac}; its rival is not"),
                None => format!("{id}: is whom it is held for; its rival is not"),
            };
            return Ok(Plan {
                record: Some(Box::new(record.clone())),
                settles: true,
                ..Plan::of(key, vec![line])
            });
        };
        let mac = MacAddress::parse(hardware.strip_prefix("mac:").unwrap_or(hardware))
            .filter(|mac| !mac.is_group())
            .ok_or_else(|| {
                format!("{hardware} is no Ethernet address of a device; try: 01-ab-34-ef-69-0c")
            })?;
        let holder = self.inventory.by_hardware(mac).filter(|holder| *holder != key);
        let mut double = None;
        if let Some(holder) = holder.and_then(|it| Some((it, self.inventory.device(it)?))) {
            let other = holder.1.newest();
            if other.named {
                return Err(format!(
                    "{mac} is the address of {other}; try: dm-gateway devices forget {other}",
                    other = other.id
                ));
            }
            double = Some(holder.0);
        }
        if id.mac().is_some_and(|own| own != mac) {
            return Err(format!("{id} is named by its own address; it cannot have another"));
        }
        let line = format!("{id}: is the device at {mac}, and no other");
        let mut record = Box::new(record.clone());
        record.hardware = vec![mac];
        if let Some(other) = double.and_then(|it| self.inventory.device(it)) {
            record.ruling.absorb(&other.newest().ruling);
        }
        let record = Some(record);
        Ok(Plan { record, double, settles: true, ..Plan::of(key, vec![line]) })
    }

    fn plan_map(&self, server: &str, device: &str) -> Result<Plan, String> {
        let (key, record) = self.known(device)?;
        let server = server_id(server)?;
        let verdict = self.judge(server.as_str(), Some(key));
        let mut record = Box::new(record.clone());
        let ruling = &mut record.ruling;
        let was_removed = ruling.removes(server.as_str());
        ruling.removed.retain(|it| *it != server);
        let named = self.inventory.device(key).is_some_and(|it| it.names(server.as_str()));
        if ruling.adds(server.as_str()) {
            return Err(format!("{server} is mapped to {} by an operator already", record.id));
        }
        // What the device names itself is the device's mapping again.
        if !was_removed || !named {
            if ruling.added.len() >= limits::LIST_SERVERS {
                let most = limits::LIST_SERVERS;
                return Err(format!("{} has {most} servers of operators, the most", record.id));
            }
            ruling.added.push(self.inventory.shared(server.clone()));
        }
        let mut lines = vec![match verdict {
            Ok(rule) => format!("before: allowed: {}", rule.sentence()),
            Err(rule) => format!("before: refused: {}", rule.sentence()),
        }];
        lines.push(if was_removed && named {
            format!("{}: {server} may wake it again, as the device says", record.id)
        } else {
            format!("{}: {server} may wake it, whatever the device says", record.id)
        });
        if record.ruling.blocked {
            lines.push("it is blocked, so pushes are refused all the same".to_owned());
        }
        let mapping = Some((EventKind::Mapped, server));
        Ok(Plan { record: Some(record), mapping, ..Plan::of(key, lines) })
    }

    fn plan_unmap(&self, server: &str, device: &str) -> Result<Plan, String> {
        let (key, record) = self.known(device)?;
        let server = server_id(server)?;
        let named = self.inventory.device(key).is_some_and(|it| it.names(server.as_str()));
        let verdict = self.judge(server.as_str(), Some(key));
        let mut record = Box::new(record.clone());
        let ruling = &mut record.ruling;
        let was_added = ruling.adds(server.as_str());
        if !was_added && !named && verdict.is_err() {
            let id = &record.id;
            return Err(format!(
                "{server} is not mapped to {id}; try: dm-gateway map explain {server} {id}"
            ));
        }
        if ruling.removes(server.as_str()) {
            return Err(format!("{server} is removed from {} already", record.id));
        }
        ruling.added.retain(|it| *it != server);
        let mut lines = vec![format!("{}: {server} may not wake it", record.id)];
        // It would go on by what the device named, or by the gateway's account.
        if named || !was_added {
            if ruling.removed.len() >= limits::LIST_SERVERS {
                let most = limits::LIST_SERVERS;
                return Err(format!("{} has {most} removed servers, the most", record.id));
            }
            ruling.removed.push(self.inventory.shared(server.clone()));
            lines.push(format!(
                "that stays so whatever the device names, until: dm-gateway map add {server} {}",
                record.id
            ));
        }
        let mapping = Some((EventKind::Unmapped, server));
        Ok(Plan { record: Some(record), mapping, ..Plan::of(key, lines) })
    }

    /// What a plan says, for people.
    pub(super) fn rehearsed(plan: Plan) -> Vec<String> {
        plan.lines
    }

    /// Does what is planned: the operator is answered when it is on flash.
    pub(super) fn enact(&mut self, operation: OperationId, plan: Plan) {
        let Plan { key, record, double, lines, settles, mapping } = plan;
        let Some(record) = record else {
            self.drop_triggers(key);
            let commit = self.forget_told(key);
            return match commit {
                Some(commit) => self.await_store(commit, Answer::only(operation, lines)),
                None => self.operated(operation, Ok(lines)),
            };
        };
        let mut updates = vec![(key, Some(record))];
        if let Some(double) = double.filter(|double| self.remove(*double)) {
            updates.push((double, None));
        }
        let commit = self.commit(updates, None);
        let answer = Answer { operation, lines, ruled: Some(key), settles, mapping, server: None };
        self.await_store(commit, answer);
    }

    /// Has an operator answered when a commit is on flash, or is not.
    pub(super) fn await_store(&mut self, commit: CommitId, answer: Answer) {
        self.answers.insert(commit, answer);
    }

    /// A commit that an operator waits for ended.
    pub(super) fn answer_operator(&mut self, answer: Answer, ok: bool, now: Now) {
        let Answer { operation, lines, ruled, settles, mapping, server } = answer;
        if !ok {
            if let Some((server, approval)) = server {
                self.set_approval(&server, approval);
            }
            let why = "the store could not keep it; try: df, and journalctl -u dm-gateway";
            return self.operated(operation, Err(why.to_owned()));
        }
        if let Some(key) = ruled {
            self.follow_ruling(key, settles, mapping, now);
        }
        self.operated(operation, Ok(lines));
        // A server may be looked for now.
        self.manage(now);
    }

    /// What follows from a ruling that is on flash.
    fn follow_ruling(
        &mut self,
        key: DeviceKey,
        settles: bool,
        mapping: Option<(EventKind, ServerId)>,
        now: Now,
    ) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        if settles {
            device.conflict = None;
            self.place_anew(key, now);
        }
        let Some(device) = self.inventory.device(key) else { return };
        let (id, lan) = (device.record.id.shared(), device.lan);
        if device.record.ruling.blocked {
            self.drop_triggers(key);
        }
        if let Some((kind, server)) = mapping {
            let lan = lan.map(|lan| self.options.lans[lan.0].name.clone());
            let why = "by an operator".to_owned();
            self.tell(Event {
                kind,
                device: Some(id),
                server: Some(server),
                lan,
                address: None,
                reason: None,
                code: None,
                why,
            });
        }
        self.release(key, now);
    }

    /// The device is at the addresses where the kernel sees its Ethernet addresses, and nowhere
    /// else.
    fn place_anew(&mut self, key: DeviceKey, now: Now) {
        let Some(device) = self.inventory.device(key) else { return };
        let Some(lan) = device.lan else { return };
        let seen = |ip: IpAddr| {
            let neighbour = self.neighbour(lan, ip);
            neighbour.is_some_and(|it| it.mac.is_some_and(|mac| !device.has_hardware(mac)))
        };
        let lost: Vec<_> =
            device.addresses.iter().map(|address| address.ip).filter(|ip| seen(*ip)).collect();
        let interface = self.lan_interface(lan);
        let here: Vec<_> = self
            .neighbours
            .iter()
            .filter(|((at, _), it)| {
                Some(*at) == interface
                    && it.is_usable()
                    && it.mac.is_some_and(|mac| device.has_hardware(mac))
            })
            .map(|((_, ip), _)| *ip)
            .collect();
        for ip in here {
            self.present(key, lan, ip, now, |address| address.failed = false);
        }
        for ip in lost {
            self.inventory.drop_address(key, lan, ip);
            self.address_lost(key, "an operator trusts another address", now);
        }
    }

    /// Nothing waits for a device any more.
    fn drop_triggers(&mut self, key: DeviceKey) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        for slot in &mut device.slots {
            slot.state = TriggerState::None;
        }
        self.settle_answers(key);
    }

    /// A device that operators may name by its id or an alias, and its newest facts.
    fn known(&self, device: &str) -> Result<(DeviceKey, &Record), String> {
        let key = self.find_by_header(device, &mut String::new());
        let known = key.and_then(|key| Some((key, self.inventory.device(key)?.newest())));
        known.ok_or_else(|| format!("no device {device} is known; try: dm-gateway devices"))
    }

    /// Whether somebody at an Ethernet address, or an identity, is blocked.
    pub(super) fn is_blocked(&self, id: &DeviceId, lan: LanId, peer: IpAddr) -> bool {
        let blocked = |key: DeviceKey| {
            self.inventory.device(key).is_some_and(|device| device.newest().ruling.blocked)
        };
        let mac = self.neighbour(lan, peer).and_then(|entry| entry.mac);
        let at = mac.and_then(|mac| self.inventory.by_hardware(mac));
        self.owner_of(id).is_some_and(blocked) || at.is_some_and(blocked)
    }
}

impl Plan {
    fn of(key: DeviceKey, lines: Vec<String>) -> Self {
        Self { key, record: None, double: None, lines, settles: false, mapping: None }
    }
}

impl Answer {
    /// An answer, and nothing else.
    pub(super) fn only(operation: OperationId, lines: Vec<String>) -> Self {
        Self { operation, lines, ruled: None, settles: false, mapping: None, server: None }
    }
}

fn server_id(server: &str) -> Result<ServerId, String> {
    ServerId::new(server)
        .map_err(|_| format!("`{server}` is no id of a DM server; try: dm-gateway servers"))
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
