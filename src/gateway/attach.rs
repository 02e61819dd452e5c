//! An end device comes, moves or goes.
//!
//! What is heard of devices (the kernel's neighbour table, DHCP leases, the configuration,
//! sessions) becomes addresses of devices; a device with a live address is *attached*. Each
//! attachment begins with a Package #0, so that the device opens a session to us; it is sent
//! once more after ten minutes without a session. (GwMO change request, 8.6.1.2 step 1.)
//!
//! A kernel says FAILED of a neighbour that does not answer: that address is dead, and a device
//! without a live address is *detached*. An entry that merely vanishes (the table is swept) says
//! nothing: the device stays attached, and its next push asks the kernel first.

use crate::gateway::agenda::Timer;
use crate::gateway::device::{Attachment, Device, DeviceId, DeviceKey, Neighbour, Record};
use crate::gateway::event::{EventKind, Reason};
use crate::gateway::inventory::Full;
use crate::gateway::policy::Verify;
use crate::gateway::seam::{
    LanId, Lease, LinkEvent, MacAddress, NeighbourEvent, NeighbourState, Now,
};
use crate::gateway::{Gateway, Interface};
use crate::limits;
use crate::proto::notification::{Notification, UiMode};
use crate::proto::wsp;
use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;

/// What is left to be done of a lease file.
#[derive(Debug)]
pub(super) struct LeaseRound {
    /// Leases not looked at yet, none that has ended.
    left: VecDeque<Lease>,
    /// Leases known from before that the file did not repeat so far.
    ended: HashSet<(DeviceKey, IpAddr)>,
}

/// By what a device became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A lease or the configuration gives it an address: their number is bounded elsewhere.
    Assigned,
    /// It was seen, or spoke: anybody can make up any number of those.
    Seen,
}

impl Gateway {
    /// Takes what the kernel says of a neighbour.
    pub(super) fn neighbour_event(&mut self, event: NeighbourEvent, now: Now) {
        match event {
            NeighbourEvent::DumpBegin => {
                self.neighbours_available = true;
                self.dump = self.dump.wrapping_add(1);
            }
            NeighbourEvent::DumpEnd => {
                let dump = self.dump;
                self.neighbours.retain(|_, neighbour| neighbour.dump == dump);
            }
            NeighbourEvent::Entry { interface, address, mac, state } => {
                self.neighbour_entry(interface, address, mac, state, now);
            }
            NeighbourEvent::Removed { interface, address, state } => {
                self.neighbours.remove(&(interface, address));
                let running = self.interfaces.get(&interface).is_some_and(|i| i.running);
                if state == NeighbourState::Failed || !running {
                    self.address_failed(interface, address, now);
                }
            }
            NeighbourEvent::Unavailable => self.neighbours_available = false,
        }
    }

    fn neighbour_entry(
        &mut self,
        interface: u32,
        ip: IpAddr,
        mac: Option<MacAddress>,
        state: NeighbourState,
        now: Now,
    ) {
        let Some(lan) = self.interfaces.get(&interface).and_then(|i| i.lan) else { return };
        if !self.neighbours.contains_key(&(interface, ip))
            && self.neighbours.len() >= limits::NEIGHBOURS
        {
            return self.metrics.refuse(Reason::InventoryFull);
        }
        let neighbour = Neighbour { mac, state, dump: self.dump };
        let before = self.neighbours.insert((interface, ip), neighbour);
        if state == NeighbourState::Failed {
            return self.address_failed(interface, ip, now);
        }
        let Some(mac) = mac.filter(|mac| !mac.is_group()) else { return };
        if self.interfaces.values().any(|interface| interface.mac == Some(mac)) {
            return;
        }
        let key = match self.inventory.by_hardware(mac) {
            Some(key) => Some(key),
            None => self.configured_at(lan, ip, mac),
        };
        let key = match key {
            Some(key) => key,
            None if self.options.lans[lan.0].detect.neighbours => {
                let Some(key) = self.new_device(DeviceId::of_mac(mac), Origin::Seen, lan, now)
                else {
                    return;
                };
                key
            }
            None => return,
        };
        if self.is_elsewhere(key, lan) {
            return self.sighted_elsewhere(key, lan, ip, mac, now);
        }
        let moved = before
            .is_none_or(|before| before.mac != Some(mac) || before.state == NeighbourState::Failed);
        let mut here = vec![key];
        here.extend(self.inventory.all_at(lan, ip).filter(|&other| {
            other != key && self.inventory.device(other).is_some_and(|it| it.has_hardware(mac))
        }));
        for key in here {
            self.present(key, lan, ip, now, |address| {
                if moved && address.failed {
                    address.appeared = now.uptime;
                }
                address.failed = false;
            });
            if state == NeighbourState::Reachable {
                if let Some(device) = self.inventory.device_mut(key) {
                    device.last_seen = Some(now.uptime);
                }
                self.confirmed(key, ip);
            }
            self.release(key, now);
        }
    }

    /// A device that the configuration places at an address, and whose Ethernet address is not
    /// known yet: the neighbour found there is it.
    fn configured_at(&mut self, lan: LanId, ip: IpAddr, mac: MacAddress) -> Option<DeviceKey> {
        let key = self.inventory.at(lan, ip)?;
        let device = self.inventory.device_mut(key)?;
        let configured = device.addresses.iter().any(|a| a.ip == ip && a.configured);
        if !configured || !device.record.hardware.is_empty() {
            return None;
        }
        let mut record = device.newest().clone();
        record.hardware.push(mac);
        self.inventory.learn_hardware(key, mac);
        self.keep(key, record);
        Some(key)
    }

    /// The kernel found nobody at an address.
    fn address_failed(&mut self, interface: u32, ip: IpAddr, now: Now) {
        let Some(lan) = self.interfaces.get(&interface).and_then(|i| i.lan) else { return };
        if self.options.lans[lan.0].verify == Verify::None {
            return;
        }
        let devices: Vec<_> = self.inventory.all_at(lan, ip).collect();
        for key in devices {
            self.inventory.fail_address(key, ip);
            self.address_lost(key, "it does not answer at its address", now);
        }
    }

    /// Takes what the kernel says of an interface.
    pub(super) fn link_event(&mut self, event: LinkEvent, now: Now) {
        let name = event.name.clone();
        self.link_changed(event, now);
        self.tell_of_lan_links(Some(&name));
    }

    fn link_changed(&mut self, event: LinkEvent, now: Now) {
        let mut lans = Vec::new();
        for (lan, known) in self.lan_interfaces.iter_mut().enumerate() {
            if self.options.lans[lan].interface == event.name {
                lans.push(LanId(lan));
                *known = Some(event.index).filter(|_| !event.removed);
            } else {
                known.take_if(|known| *known == event.index);
            }
        }
        if event.removed {
            self.interfaces.remove(&event.index);
        } else {
            // Several LANs share an interface only where neighbours do not count.
            let lan = lans.first().copied();
            let interface = Interface { lan, running: event.running, mac: event.mac };
            self.interfaces.insert(event.index, interface);
            if event.running {
                return;
            }
        }
        self.neighbours.retain(|(interface, _), _| *interface != event.index);
        lans.retain(|lan| self.options.lans[lan.0].verify == Verify::Neighbour);
        for lan in lans {
            for key in self.inventory.attached_to(lan) {
                self.inventory.fail_all_addresses(key);
                self.address_lost(key, "its network interface is down", now);
            }
        }
    }

    /// Takes the whole contents of a LAN's lease file.
    pub(super) fn leases(&mut self, lan: LanId, leases: &[Lease], now: Now) {
        let detect = self.options.lans[lan.0].detect.leases;
        if !detect {
            return;
        }
        let live = |lease: &&Lease| lease.expiry == 0 || lease.expiry > now.unix;
        let live = leases.iter().filter(live).filter(|lease| !lease.mac.is_group());
        let round = LeaseRound {
            left: live.copied().collect(),
            ended: self.inventory.leased_addresses(lan).into_iter().collect(),
        };
        self.lease_rounds.insert(lan, round);
        self.leases_due(lan, now);
    }

    /// Goes on with what the lease file said last, some leases at a time.
    pub(super) fn leases_due(&mut self, lan: LanId, now: Now) {
        let Some(mut round) = self.lease_rounds.remove(&lan) else { return };
        let rest = round.left.split_off(round.left.len().min(limits::AT_A_TIME));
        let LeaseRound { left, mut ended } = round;
        for lease in left {
            let key = match self.inventory.by_hardware(lease.mac) {
                Some(key) => key,
                None => {
                    let id = DeviceId::of_mac(lease.mac);
                    let Some(key) = self.new_device(id, Origin::Assigned, lan, now) else {
                        continue;
                    };
                    key
                }
            };
            ended.remove(&(key, lease.address));
            let renewed = self.inventory.lease(key, lease.address) != Some(lease.expiry);
            if renewed && !self.is_elsewhere(key, lan) {
                self.present(key, lan, lease.address, now, |address| {
                    address.leased = Some(lease.expiry);
                    address.failed = false;
                });
                self.release(key, now);
            }
        }
        if !rest.is_empty() {
            self.lease_rounds.insert(lan, LeaseRound { left: rest, ended });
            return self.timers.set(Timer::Leases(lan), now.uptime);
        }
        for (key, ip) in ended {
            self.inventory.end_lease(key, ip);
            let configured = self.inventory.device(key).is_some_and(|device| {
                device.addresses.iter().any(|address| address.ip == ip && address.configured)
            });
            if !configured && self.neighbour(lan, ip).is_none() {
                self.inventory.drop_address(key, lan, ip);
                self.address_lost(key, "its lease ended", now);
            }
        }
    }

    /// A new device in the inventory, or nothing if that is full. An id that is no Ethernet
    /// address is its own name.
    pub(super) fn new_device(
        &mut self,
        id: DeviceId,
        origin: Origin,
        lan: LanId,
        now: Now,
    ) -> Option<DeviceKey> {
        let random = id.mac().is_some_and(MacAddress::is_local);
        let named = id.mac().is_none();
        match self.inventory.room(random && origin == Origin::Seen) {
            Ok(None) => {}
            Ok(Some(oldest)) => self.forget(oldest),
            Err(Full) => {
                self.metrics.refuse(Reason::InventoryFull);
                return None;
            }
        }
        let record = Record::new(id, named, self.options.lans[lan.0].name.clone(), now);
        let key = self.inventory.insert(Device::new(record.clone(), Some(lan)));
        // An address made up for privacy is worth flash only once its owner has spoken.
        if !random {
            self.keep(key, record);
        }
        Some(key)
    }

    /// Whether a device is provably still on another LAN than `lan`.
    pub(super) fn is_elsewhere(&self, key: DeviceKey, lan: LanId) -> bool {
        let Some(device) = self.inventory.device(key) else { return false };
        let Some(own) = device.lan.filter(|own| *own != lan && device.attachment.is_some()) else {
            return false;
        };
        device.addresses.iter().any(|address| {
            let neighbour = self.neighbour(own, address.ip);
            let seen = neighbour.is_some_and(|neighbour| {
                neighbour.is_usable() && neighbour.mac.is_some_and(|mac| device.has_hardware(mac))
            });
            let unseen = self.options.lans[own.0].verify == Verify::None;
            !address.failed && (seen || unseen && address.is_assigned())
        })
    }

    /// Somebody with a device's Ethernet address shows up on another LAN while the device is
    /// on its own: a rival, or the device has just changed over. Its old addresses are checked;
    /// if nobody answers there it moves.
    fn sighted_elsewhere(
        &mut self,
        key: DeviceKey,
        lan: LanId,
        ip: IpAddr,
        mac: MacAddress,
        now: Now,
    ) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        if device.elsewhere.replace((lan, ip)) == Some((lan, ip)) {
            return;
        }
        let own = device.lan;
        let addresses: Vec<_> = device.addresses.iter().map(|address| address.ip).collect();
        self.conflict(key, ip, Some(mac), now);
        for address in addresses {
            if let Some(own) = own {
                self.probe(own, address);
            }
        }
    }

    /// The device is at an address of a LAN.
    pub(super) fn present(
        &mut self,
        key: DeviceKey,
        lan: LanId,
        ip: IpAddr,
        now: Now,
        update: impl FnOnce(&mut crate::gateway::device::Address),
    ) {
        let owners: Vec<_> = self.inventory.all_at(lan, ip).collect();
        for owner in owners {
            if owner != key && !self.share_hardware(owner, key) {
                self.inventory.drop_address(owner, lan, ip);
                self.address_lost(owner, "another device has its address now", now);
            }
        }
        let moved = self.inventory.place(key, lan, ip, now, update);
        if moved {
            self.moved_to(key, lan, now);
        }
        let Some(device) = self.inventory.device_mut(key) else { return };
        if device.attachment.is_some() && !moved {
            return;
        }
        device.attachment = Some(Attachment { since: now.uptime, asks: 0, session: false });
        device.detached = None;
        device.detection = None;
        if self.options.lans[lan.0].policy.asks() {
            self.timers.set(Timer::Ask(key), now.uptime + limits::SETTLE);
        }
        let address = self.push_address(lan, ip);
        self.tell_of(EventKind::Detected, key, None, Some(address), || {
            "an end device came to this LAN".to_owned()
        });
        self.alert_servers(key, true, now);
        self.provision_new(key, now);
    }

    /// The device is on another LAN than before.
    fn moved_to(&mut self, key: DeviceKey, lan: LanId, now: Now) {
        let name = self.options.lans[lan.0].name.clone();
        let Some(device) = self.inventory.device(key) else { return };
        if device.newest().lan != name {
            let mut record = device.newest().clone();
            record.lan = name;
            if device.stored {
                self.keep(key, record);
            } else if let Some(device) = self.inventory.device_mut(key) {
                device.record = record;
            }
        }
        self.recall(key, now);
        // Its list may count here.
        self.look_for_wanted_soon(now);
    }

    /// A device lost an address: it is detached if that was its last live one, and what was
    /// sent to it just now is not taken as delivered.
    pub(super) fn address_lost(&mut self, key: DeviceKey, why: &'static str, now: Now) {
        self.detach_if_gone(key, why, now);
        self.recall(key, now);
        self.settle_answers(key);
    }

    fn detach_if_gone(&mut self, key: DeviceKey, why: &'static str, now: Now) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        if device.attachment.is_none() || device.addresses.iter().any(|address| !address.failed) {
            return;
        }
        device.attachment = None;
        device.detached = Some(now.uptime);
        let elsewhere = device.elsewhere.take();
        self.tell_of(EventKind::Detached, key, None, None, || why.to_owned());
        self.alert_servers(key, false, now);
        if let Some((lan, ip)) = elsewhere {
            if self.neighbour(lan, ip).is_some_and(|neighbour| {
                let device = self.inventory.device(key);
                let own = |mac| device.is_some_and(|device| device.has_hardware(mac));
                neighbour.is_usable() && neighbour.mac.is_some_and(own)
            }) {
                // Whoever was sighted over there was the device itself, on its way.
                if let Some(device) = self.inventory.device_mut(key) {
                    device.conflict.take_if(|conflict| conflict.address == ip);
                }
                self.present(key, lan, ip, now, |address| address.failed = false);
                self.release(key, now);
            }
        }
    }

    /// Whether two devices have an Ethernet address in common: two clients on one host.
    fn share_hardware(&self, one: DeviceKey, other: DeviceKey) -> bool {
        let (one, other) = (self.inventory.device(one), self.inventory.device(other));
        let (Some(one), Some(other)) = (one, other) else { return false };
        one.record.hardware.iter().any(|mac| other.has_hardware(*mac))
    }

    /// Sends Package #0 to a device that has opened no session yet.
    pub(super) fn ask(&mut self, key: DeviceKey, now: Now) {
        let Some(device) = self.inventory.device(key) else { return };
        let (Some(lan), Some(attachment)) = (device.lan, device.attachment) else { return };
        let is_blocked = device.record.ruling.blocked;
        if is_blocked || attachment.session || attachment.asks >= limits::ASKS {
            return;
        }
        let due = if attachment.asks == 0 { limits::SETTLE } else { limits::ASK_AGAIN };
        if now.uptime < attachment.since + due || !self.options.lans[lan.0].policy.asks() {
            return;
        }
        let Some(address) = device.best_address(|_| true) else { return };
        let to = self.push_address(lan, address.ip);
        let account = self.account_of(device);
        let secret = account.and_then(|account| account.server_secret.clone());
        let nonce = device.record.server_nonce.clone();
        let notification = Notification {
            digest: [0; 16],
            version: 11,
            ui_mode: UiMode::Background,
            server_initiated: true,
            session_id: self.entropy.session_id(),
            server_id: &self.options.id.clone(),
            vendor: &[],
        };
        let package = match &secret {
            Some(secret) => notification.encode_signed(secret.expose(), &nonce),
            None => notification.encode(),
        };
        let start = self.datagrams.len();
        wsp::encode_notification(&mut self.datagrams, 0, None, &package);
        let range = start..self.datagrams.len();
        self.outputs.push_datagram(lan, to, range);
        self.metrics.counters.asked += 1;
        if let Some(attachment) =
            self.inventory.device_mut(key).and_then(|device| device.attachment.as_mut())
        {
            attachment.asks += 1;
        }
        self.timers.set(Timer::Ask(key), now.uptime + limits::ASK_AGAIN);
        self.tell_of(EventKind::Asked, key, None, Some(to), || {
            "Package #0: please open a DM session to the gateway".to_owned()
        });
    }
}
