//! Who is it that speaks? An identity is believed if the kernel's neighbour entry for the
//! sender's address agrees, or if the device proved it by a secret.
//!
//! | claim | believed if |
//! |---|---|
//! | `mac:…` | the neighbour entry has that Ethernet address, or one of the same device |
//! | a name that nobody has | the sender is on the link (and becomes its owner), one of a few there |
//! | a name that somebody has | the neighbour entry has one of the owner's Ethernet addresses |
//! | any, proven by its account | always; it binds the sender's Ethernet address to the device |
//!
//! A rival claim becomes a visible conflict and nothing else. A LAN without that check believes
//! whoever speaks, but not that he is a device of a LAN that has it.

use crate::gateway::Gateway;
use crate::gateway::attach::Origin;
use crate::gateway::device::{Conflict, DeviceId, DeviceKey};
use crate::gateway::dialogue::Call;
use crate::gateway::event::{EventKind, Reason};
use crate::gateway::policy::Verify;
use crate::gateway::seam::{LanId, MacAddress, Now};
use crate::limits;
use std::net::{IpAddr, SocketAddr};

/// Who a message says it is from.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    /// SyncHdr Source.
    pub(super) source: &'a DeviceId,
    /// The identity claimed by Source and DevInfo together.
    pub(super) id: &'a DeviceId,
    /// Whether the account's secret proved it.
    pub(super) proven: bool,
}

impl Gateway {
    /// Whether the secret that proved `source` proves `id` as well: it is nobody else's.
    pub(super) fn proves(&self, source: &DeviceId, id: &DeviceId) -> bool {
        let account = |id: &DeviceId| {
            let owner = self.owner_of(id).and_then(|key| self.inventory.device(key));
            let account = self.options.account(id.normal());
            account.or_else(|| self.account_of(owner?)).map(|account| &account.id)
        };
        let owner = self.owner_of(id);
        let is_free = owner.is_none() && account(id).is_none();
        is_free
            || owner.is_some() && owner == self.owner_of(source)
            || account(id).is_some() && account(id) == account(source)
    }

    /// The device of that identity or alias; also one that is just being given the identity.
    pub(super) fn owner_of(&self, id: &DeviceId) -> Option<DeviceKey> {
        self.inventory.find(id.normal()).or_else(|| self.naming.get(id.normal()).copied())
    }

    /// The device behind a claim to an identity, or why the claim is not believed.
    pub(super) fn identify(
        &mut self,
        call: Call<'_>,
        claim: Claim<'_>,
        now: Now,
    ) -> Result<DeviceKey, Reason> {
        if self.is_blocked(claim.id, call.lan, call.peer) {
            self.metrics.refuse(Reason::Blocked);
            self.tell_of_peer(Reason::Blocked, call.lan, call.peer, Some(claim.id));
            return Err(Reason::Blocked);
        }
        let key = match self.options.lans[call.lan.0].verify {
            Verify::None => self.identify_by_word(call, claim, now),
            Verify::Neighbour => self.identify_by_neighbour(call, claim, now),
        };
        let key = key.and_then(|key| {
            if claim.proven || !self.is_elsewhere(key, call.lan) {
                return Ok(key);
            }
            self.conflict(key, call.peer, None, now);
            Err(Reason::IdentityTaken)
        });
        let key = key.inspect_err(|&reason| {
            if reason != Reason::InventoryFull {
                self.metrics.refuse(reason);
            }
            self.tell_of_peer(reason, call.lan, call.peer, Some(claim.id));
        })?;
        self.present(key, call.lan, call.peer, now, |address| {
            address.spoke = Some(now.uptime);
            address.failed = false;
        });
        self.release(key, now);
        Ok(key)
    }

    fn identify_by_word(
        &mut self,
        call: Call<'_>,
        claim: Claim<'_>,
        now: Now,
    ) -> Result<DeviceKey, Reason> {
        let placed = |key: DeviceKey, at: Option<IpAddr>| {
            self.inventory.device(key).is_some_and(|device| {
                let mut addresses = device.addresses.iter();
                addresses.any(|a| a.is_assigned() && at.is_none_or(|ip| a.ip == ip))
            })
        };
        let holders: Vec<_> = self.inventory.all_at(call.lan, call.peer).collect();
        let owner = self.owner_of(claim.id);
        if let Some(key) = owner.or_else(|| self.unnamed(self.owner_of(claim.source))) {
            // Where lease file or configuration say who is where, their word counts.
            let at_home = holders.contains(&key);
            let rival = holders.iter().any(|&holder| placed(holder, Some(call.peer)));
            let doubtful = rival || placed(key, None) || self.is_verified_elsewhere(key, call.lan);
            if !claim.proven && !at_home && doubtful {
                self.conflict(key, call.peer, None, now);
                return Err(Reason::IdentityTaken);
            }
            return Ok(key);
        }
        if let Some(holder) = self.unnamed(holders.last().copied()) {
            let other = claim.source.mac().is_some_and(|mac| !self.has_hardware(holder, mac));
            if !other {
                return Ok(holder);
            }
            if placed(holder, Some(call.peer)) {
                return Err(Reason::Spoofed);
            }
        }
        self.new_claimant(call, claim, now)
    }

    /// Whether a device belongs to another LAN than `lan`, one that knows it by its Ethernet
    /// address: a mere word does not move it from there.
    fn is_verified_elsewhere(&self, key: DeviceKey, lan: LanId) -> bool {
        self.inventory.device(key).is_some_and(|device| {
            let own = device.lan.filter(|own| *own != lan);
            let verified =
                own.is_some_and(|own| self.options.lans[own.0].verify == Verify::Neighbour);
            verified && !device.record.hardware.is_empty()
        })
    }

    fn identify_by_neighbour(
        &mut self,
        call: Call<'_>,
        claim: Claim<'_>,
        now: Now,
    ) -> Result<DeviceKey, Reason> {
        let owner = self.owner_of(claim.id);
        let neighbour = self.neighbour(call.lan, call.peer).filter(|entry| entry.is_usable());
        let Some(mac) = neighbour.and_then(|entry| entry.mac) else {
            if !claim.proven {
                return Err(Reason::Unverified);
            }
            return match owner.or_else(|| self.unnamed(self.owner_of(claim.source))) {
                Some(key) => Ok(key),
                None => self.new_claimant(call, claim, now),
            };
        };
        if claim.source.mac().is_some_and(|claimed| claimed != mac) {
            let known = self.owner_of(claim.source);
            if !known.is_some_and(|key| self.has_hardware(key, mac)) {
                if let Some(key) = known.or(owner) {
                    self.conflict(key, call.peer, Some(mac), now);
                }
                return Err(Reason::Spoofed);
            }
        }
        let holder = self.inventory.by_hardware(mac);
        match owner {
            Some(key) if self.has_hardware(key, mac) => Ok(key),
            Some(key) => {
                if !claim.proven && !self.is_unbound(key, call.peer) {
                    self.conflict(key, call.peer, Some(mac), now);
                    return Err(Reason::IdentityTaken);
                }
                self.bind(key, mac, holder);
                Ok(key)
            }
            None => match self.unnamed(holder) {
                Some(key) => Ok(key),
                None => {
                    if !claim.proven && self.inventory.sharing(mac) >= limits::CLIENTS {
                        self.metrics.refuse(Reason::InventoryFull);
                        return Err(Reason::InventoryFull);
                    }
                    let key = self.new_claimant(call, claim, now)?;
                    self.bind(key, mac, None);
                    Ok(key)
                }
            },
        }
    }

    /// A new device for a claim to an identity that nobody has. It begins as its Ethernet
    /// address where Source gives one: that stays an alias.
    fn new_claimant(
        &mut self,
        call: Call<'_>,
        claim: Claim<'_>,
        now: Now,
    ) -> Result<DeviceKey, Reason> {
        // Where the address is somebody's already, two clients share a host.
        let id = if self.owner_of(claim.source).is_none() { claim.source } else { claim.id };
        self.new_device(id.clone(), Origin::Seen, call.lan, now).ok_or(Reason::InventoryFull)
    }

    /// Whether nothing says yet who a device of the configuration is: its Ethernet address is
    /// not known, and it is not placed at another address than `peer`.
    fn is_unbound(&self, key: DeviceKey, peer: IpAddr) -> bool {
        self.inventory.device(key).is_some_and(|device| {
            let mut configured = device.addresses.iter().filter(|it| it.configured).peekable();
            device.record.hardware.is_empty()
                && (configured.peek().is_none() || configured.any(|address| address.ip == peer))
        })
    }

    /// Gives a device one more Ethernet address. `holder` had it before; if that was only a
    /// detected address without a name, it and the device are one.
    fn bind(&mut self, key: DeviceKey, mac: MacAddress, holder: Option<DeviceKey>) {
        let Some(device) = self.inventory.device(key) else { return };
        let mut record = device.newest().clone();
        if !record.hardware.contains(&mac) {
            if record.hardware.len() >= limits::HARDWARE {
                record.hardware.remove(0);
            }
            record.hardware.push(mac);
        }
        let merged = self.unnamed(holder).filter(|&holder| holder != key);
        let list = merged.and_then(|holder| self.inventory.device(holder)?.record.list.clone());
        if let Some(holder) = merged.and_then(|holder| self.inventory.device(holder)) {
            record.ruling.absorb(&holder.newest().ruling);
        }
        if record.list.is_none() && list.is_some() {
            // On flash it is already, under the holder's key.
            record.list = list;
            self.inventory.replace(key, record.clone());
        }
        match merged {
            Some(holder) => self.keep_and_forget(key, record, holder),
            None => self.keep(key, record),
        }
        self.inventory.learn_hardware(key, mac);
    }

    fn has_hardware(&self, key: DeviceKey, mac: MacAddress) -> bool {
        self.inventory.device(key).is_some_and(|device| device.has_hardware(mac))
    }

    /// Who is at an address, if that is a device that has not named itself.
    pub(super) fn unnamed_at(&self, lan: LanId, peer: IpAddr) -> Option<DeviceKey> {
        self.unnamed(match self.options.lans[lan.0].verify {
            Verify::None => self.inventory.all_at(lan, peer).last(),
            Verify::Neighbour => {
                let entry = self.neighbour(lan, peer).filter(|entry| entry.is_usable())?;
                self.inventory.by_hardware(entry.mac?)
            }
        })
    }

    /// The device, if it has not named itself.
    fn unnamed(&self, key: Option<DeviceKey>) -> Option<DeviceKey> {
        key.filter(|&key| self.inventory.device(key).is_some_and(|it| !it.newest().named))
    }

    /// Notes a rival claim to a device's identity.
    pub(super) fn conflict(
        &mut self,
        key: DeviceKey,
        peer: IpAddr,
        mac: Option<MacAddress>,
        now: Now,
    ) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        let count = device.conflict.map_or(0, |conflict| conflict.count).saturating_add(1);
        device.conflict = Some(Conflict { at: now.uptime, address: peer, mac, count });
        let from = SocketAddr::new(peer, 0);
        self.tell_of(EventKind::Conflict, key, None, Some(from), || {
            "somebody else claims this identity; the owner keeps its mappings".to_owned()
        });
    }
}

/// DevInfo DevId where it says more than an Ethernet address; else the header's Source.
pub(super) fn claimed_identity(source: &DeviceId, device_id: Option<&DeviceId>) -> DeviceId {
    match device_id.filter(|id| id.mac().is_none()) {
        Some(named) if source.mac().is_some() => named.clone(),
        _ => source.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devinfo_names_a_device_whose_header_gives_only_an_ethernet_address() {
        let id = |text| DeviceId::parse(text).unwrap();
        let mac = id("mac:01-ab-34-ef-69-0c");
        assert_eq!(claimed_identity(&mac, Some(&id("IMEI:1"))), id("IMEI:1"));
        assert_eq!(claimed_identity(&id("IMEI:1"), Some(&id("IMEI:2"))), id("IMEI:1"));
        assert_eq!(claimed_identity(&mac, None), mac);
    }
}
