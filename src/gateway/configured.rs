//! Devices that the configuration places on a LAN.

use crate::gateway::attach::Origin;
use crate::gateway::device::DeviceKey;
use crate::gateway::seam::{LanId, Now};
use crate::gateway::{Account, Gateway};
use std::net::IpAddr;

impl Gateway {
    /// Places the devices of the configuration that are new there.
    pub(super) fn configured_devices(&mut self, is_new: impl Fn(&Account) -> bool, now: Now) {
        for index in 0..self.options.accounts.len() {
            let account = &self.options.accounts[index];
            if !is_new(account) {
                continue;
            }
            let (id, lan, address) = (account.id.clone(), account.lan, account.address);
            let Some(lan) = lan else { continue };
            if !self.options.lans[lan.0].detect.configured {
                continue;
            }
            let key = match self.inventory.find(id.normal()) {
                Some(key) => Some(key),
                None => self.new_device(id, Origin::Assigned, lan, now),
            };
            if let (Some(key), Some(ip)) = (key, address) {
                self.present(key, lan, ip, now, |address| address.configured = true);
            }
        }
    }

    /// Takes back addresses that the configuration does not give to devices any more.
    pub(super) fn unconfigured_devices(&mut self, now: Now) {
        let accounts = &self.options.accounts;
        let is_given = |key: DeviceKey, lan: LanId, ip: IpAddr| {
            accounts.iter().any(|account| {
                account.lan == Some(lan)
                    && account.address == Some(ip)
                    && self.inventory.find(account.id.normal()) == Some(key)
            })
        };
        let mut gone = Vec::new();
        for (key, device) in self.inventory.iter() {
            let Some(lan) = device.lan else { continue };
            let configured = device.addresses.iter().filter(|address| address.configured);
            gone.extend(
                configured
                    .filter(|address| !is_given(key, lan, address.ip))
                    .map(|address| (key, lan, address.ip, address.leased.is_some())),
            );
        }
        for (key, lan, ip, leased) in gone {
            if leased || self.neighbour(lan, ip).is_some_and(|neighbour| neighbour.is_usable()) {
                let device = self.inventory.device_mut(key);
                let addresses = device.into_iter().flat_map(|device| &mut device.addresses);
                addresses.filter(|it| it.ip == ip).for_each(|address| address.configured = false);
            } else {
                self.inventory.drop_address(key, lan, ip);
                self.address_lost(key, "the configuration does not place it there any more", now);
            }
        }
    }
}
