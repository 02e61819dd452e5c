//! All end devices, and the ways to find one: by identity, Ethernet address, network address.

use crate::gateway::alert::ServerId;
use crate::gateway::device::{Address, Device, DeviceKey, Record};
use crate::gateway::seam::{LanId, MacAddress, Now};
use crate::gateway::trigger::Slot;
use crate::limits;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The devices, and their indexes. Names are unique; so is the owner of an Ethernet address. A
/// network address of a LAN has one owner, or several on one host.
#[derive(Debug, Default)]
pub struct Inventory {
    devices: Vec<Option<Box<Device>>>,
    free: Vec<DeviceKey>,
    names: HashMap<Arc<str>, DeviceKey>,
    hardware: HashMap<MacAddress, DeviceKey>,
    addresses: HashMap<IpAddr, Vec<(LanId, DeviceKey)>>,
    /// Servers by name, and the number of devices that name each.
    servers: BTreeMap<ServerId, usize>,
    random: usize,
}

/// The inventory is full of devices that may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Inventory {
    /// The number of devices.
    pub fn len(&self) -> usize {
        self.devices.len() - self.free.len()
    }

    /// Whether there is no device.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All devices.
    pub fn iter(&self) -> impl Iterator<Item = (DeviceKey, &Device)> {
        self.devices
            .iter()
            .enumerate()
            .filter_map(|(key, device)| Some((DeviceKey(key as u32), &**device.as_ref()?)))
    }

    /// The device under a key.
    pub fn device(&self, key: DeviceKey) -> Option<&Device> {
        self.devices.get(key.0 as usize)?.as_deref()
    }

    /// The device under a key, to change what is true of it at the moment.
    pub fn device_mut(&mut self, key: DeviceKey) -> Option<&mut Device> {
        self.devices.get_mut(key.0 as usize)?.as_deref_mut()
    }

    /// The device by its identity or `mac:` alias in normal form.
    pub fn find(&self, normal: &str) -> Option<DeviceKey> {
        self.names
            .get(normal)
            .copied()
            .or_else(|| self.by_hardware(MacAddress::parse(normal.strip_prefix("mac:")?)?))
    }

    /// The device that owns an Ethernet address.
    pub fn by_hardware(&self, mac: MacAddress) -> Option<DeviceKey> {
        self.hardware.get(&mac).copied()
    }

    /// The number of devices on an Ethernet address.
    pub fn sharing(&self, mac: MacAddress) -> usize {
        self.iter().filter(|(_, device)| device.has_hardware(mac)).count()
    }

    /// The device at a network address of a LAN; of several, the one that came last.
    pub fn at(&self, lan: LanId, ip: IpAddr) -> Option<DeviceKey> {
        self.all_at(lan, ip).last()
    }

    /// All devices at a network address of a LAN.
    pub fn all_at(&self, lan: LanId, ip: IpAddr) -> impl Iterator<Item = DeviceKey> {
        let owners = self.addresses.get(&ip).into_iter().flatten();
        owners.filter(move |(at, _)| *at == lan).map(|(_, key)| *key)
    }

    /// Whether a device of any LAN has this network address beyond doubt: it spoke from there, or
    /// lease or configuration gave it the address. A neighbour entry alone does not count: one
    /// forged ARP request makes the kernel believe that any address of the WAN is on the LAN.
    pub fn is_device_address(&self, ip: IpAddr) -> bool {
        self.addresses.get(&ip).into_iter().flatten().any(|(_, key)| {
            let addresses = self.device(*key).map_or(&[][..], |device| &device.addresses);
            addresses
                .iter()
                .any(|known| known.ip == ip && (known.spoke.is_some() || known.is_assigned()))
        })
    }

    /// Whether some device names this server.
    pub fn names_server(&self, server: &str) -> bool {
        self.servers.contains_key(server)
    }

    /// One shared copy of a server's name.
    pub fn shared(&self, server: ServerId) -> ServerId {
        self.servers.get_key_value(&server).map_or(server, |(known, _)| known.clone())
    }

    /// The devices attached to a LAN.
    pub fn attached_to(&self, lan: LanId) -> Vec<DeviceKey> {
        self.iter()
            .filter(|(_, device)| device.lan == Some(lan) && device.attachment.is_some())
            .map(|(key, _)| key)
            .collect()
    }

    /// Whether there is room for one more device; `random` for one with a made-up Ethernet
    /// address. If not, the device that should go for it: a detached one that never named
    /// itself or a server, made-up addresses first.
    ///
    /// # Errors
    /// If no device may go.
    pub fn room(&self, random: bool) -> Result<Option<DeviceKey>, Full> {
        let crowded = random && self.random >= limits::RANDOM_DEVICES;
        if self.len() < limits::DEVICES && !crowded {
            return Ok(None);
        }
        self.iter()
            .filter(|(_, device)| {
                let record = device.newest();
                !record.named && record.list.is_none() && device.attachment.is_none()
            })
            .filter(|(_, device)| !crowded || is_random(&device.record))
            .min_by_key(|(_, device)| (!is_random(&device.record), device.detached))
            .map(|(key, _)| Some(key))
            .ok_or(Full)
    }

    /// Adds a device.
    pub fn insert(&mut self, device: Device) -> DeviceKey {
        let key = self.free.pop().unwrap_or_else(|| {
            self.devices.push(None);
            DeviceKey(self.devices.len() as u32 - 1)
        });
        self.insert_at(key, device);
        key
    }

    /// Adds a device under the key that the store knows it by.
    pub fn restore(&mut self, key: DeviceKey, device: Device) {
        while self.devices.len() <= key.0 as usize {
            self.free.push(DeviceKey(self.devices.len() as u32));
            self.devices.push(None);
        }
        self.free.retain(|free| *free != key);
        self.insert_at(key, device);
    }

    fn insert_at(&mut self, key: DeviceKey, device: Device) {
        self.random += usize::from(is_random(&device.record));
        self.devices[key.0 as usize] = Some(Box::new(device));
        self.index(key);
    }

    /// Removes a device and every way to find it.
    pub fn remove(&mut self, key: DeviceKey) {
        self.unindex(key);
        self.clear_addresses(key);
        if let Some(device) = self.devices.get_mut(key.0 as usize).and_then(Option::take) {
            self.random -= usize::from(is_random(&device.record));
            self.free.push(key);
        }
    }

    /// Gives a device new facts: names, Ethernet addresses and servers follow.
    pub fn replace(&mut self, key: DeviceKey, record: Record) {
        self.unindex(key);
        if let Some(device) = self.device_mut(key) {
            let before = is_random(&device.record);
            device.record = record;
            let after = is_random(&device.record);
            self.random = self.random + usize::from(after) - usize::from(before);
        }
        self.index(key);
    }

    fn index(&mut self, key: DeviceKey) {
        let Some(device) = self.devices.get_mut(key.0 as usize).and_then(Option::as_deref_mut)
        else {
            return;
        };
        let record = &mut device.record;
        self.names.insert(record.id.shared_normal(), key);
        for mac in &record.hardware {
            self.hardware.entry(*mac).or_insert(key);
        }
        let named = record.list.iter_mut().flat_map(|list| &mut list.servers);
        for server in named {
            match self.servers.get_key_value(server) {
                Some((known, _)) => *server = known.clone(),
                None => drop(self.servers.insert(server.clone(), 0)),
            }
            if let Some(count) = self.servers.get_mut(server) {
                *count += 1;
            }
        }
        let list = device.record.list.as_ref();
        let named = list.map_or(&[][..], |list| &list.servers);
        let added = device.record.ruling.added.iter().filter(|server| !named.contains(server));
        let servers = named.iter().chain(added);
        let mut old = std::mem::take(&mut device.slots);
        // Thousands of devices name one or two: no room for four.
        device.slots.reserve_exact(servers.clone().count());
        device.slots.extend(servers.map(|server| {
            match old.iter().position(|slot| slot.server == *server) {
                Some(index) => old.swap_remove(index),
                None => Slot::new(server.clone()),
            }
        }));
        // Triggers of servers that may push without being named are not lost.
        device.slots.extend(old.into_iter().filter(Slot::holds));
    }

    fn unindex(&mut self, key: DeviceKey) {
        let Some(device) = self.devices.get(key.0 as usize).and_then(Option::as_deref) else {
            return;
        };
        let record = &device.record;
        if self.names.get(record.id.normal()) == Some(&key) {
            self.names.remove(record.id.normal());
        }
        for mac in &record.hardware {
            if self.hardware.get(mac) == Some(&key) {
                self.hardware.remove(mac);
            }
        }
        for server in record.list.iter().flat_map(|list| &list.servers) {
            if let Some(count) = self.servers.get_mut(server) {
                *count -= 1;
                if *count == 0 {
                    self.servers.remove(server);
                }
            }
        }
    }

    /// Notes that an Ethernet address is this device's, ahead of its record. Who owned it before
    /// stays its owner: they share a host.
    pub fn learn_hardware(&mut self, key: DeviceKey, mac: MacAddress) {
        let Some(device) = self.device_mut(key) else { return };
        if !device.has_hardware(mac) {
            device.record.hardware.push(mac);
        }
        self.hardware.entry(mac).or_insert(key);
    }

    /// Notes that a device is at an address of a LAN. True if it was on another LAN before.
    pub fn place(
        &mut self,
        key: DeviceKey,
        lan: LanId,
        ip: IpAddr,
        now: Now,
        update: impl FnOnce(&mut Address),
    ) -> bool {
        let moved = self.device(key).is_some_and(|device| device.lan != Some(lan));
        if moved {
            self.clear_addresses(key);
        }
        let Some(device) = self.devices.get_mut(key.0 as usize).and_then(Option::as_deref_mut)
        else {
            return false;
        };
        device.lan = Some(lan);
        let known: Vec<_> = device.addresses.iter().map(|address| address.ip).collect();
        update(device.learn_address(ip, now));
        let evicted = known.iter().find(|ip| !device.addresses.iter().any(|a| a.ip == **ip));
        if let Some(evicted) = evicted {
            self.forget_address(key, lan, *evicted);
        }
        // Nearly every address has one owner.
        let owners = self.addresses.entry(ip).or_insert_with(|| Vec::with_capacity(1));
        owners.retain(|owner| *owner != (lan, key));
        owners.push((lan, key));
        moved
    }

    /// The lease by which a device has an address.
    pub fn lease(&self, key: DeviceKey, ip: IpAddr) -> Option<u64> {
        let device = self.device(key)?;
        device.addresses.iter().find(|address| address.ip == ip)?.leased
    }

    /// Every address of a LAN that is leased.
    pub fn leased_addresses(&self, lan: LanId) -> Vec<(DeviceKey, IpAddr)> {
        self.iter()
            .filter(|(_, device)| device.lan == Some(lan))
            .flat_map(|(key, device)| device.addresses.iter().map(move |address| (key, address)))
            .filter(|(_, address)| address.leased.is_some())
            .map(|(key, address)| (key, address.ip))
            .collect()
    }

    /// Notes that a lease ended; the address may be in use all the same.
    pub fn end_lease(&mut self, key: DeviceKey, ip: IpAddr) {
        let Some(device) = self.device_mut(key) else { return };
        for address in device.addresses.iter_mut().filter(|address| address.ip == ip) {
            address.leased = None;
        }
    }

    /// Notes that nobody answers at an address of a device.
    pub fn fail_address(&mut self, key: DeviceKey, ip: IpAddr) {
        let Some(device) = self.device_mut(key) else { return };
        for address in device.addresses.iter_mut().filter(|address| address.ip == ip) {
            address.failed = true;
        }
    }

    /// Notes that no address of a device can be reached.
    pub fn fail_all_addresses(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        for address in &mut device.addresses {
            address.failed = true;
        }
    }

    /// Takes an address from a device.
    pub fn drop_address(&mut self, key: DeviceKey, lan: LanId, ip: IpAddr) {
        if let Some(device) = self.device_mut(key) {
            device.addresses.retain(|address| address.ip != ip);
        }
        self.forget_address(key, lan, ip);
    }

    fn clear_addresses(&mut self, key: DeviceKey) {
        let Some(device) = self.device_mut(key) else { return };
        let lan = device.lan;
        let addresses = std::mem::take(&mut device.addresses);
        for address in addresses {
            if let Some(lan) = lan {
                self.forget_address(key, lan, address.ip);
            }
        }
    }

    fn forget_address(&mut self, key: DeviceKey, lan: LanId, ip: IpAddr) {
        let Some(owners) = self.addresses.get_mut(&ip) else { return };
        owners.retain(|owner| *owner != (lan, key));
        if owners.is_empty() {
            self.addresses.remove(&ip);
        }
    }
}

fn is_random(record: &Record) -> bool {
    !record.named && record.id.mac().is_some_and(MacAddress::is_local)
}
