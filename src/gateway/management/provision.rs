//! The gateway bootstraps its end devices: an account for the gateway, with secrets of its own.
//!
//! ```text
//!   operator, or a new device ──► offer ──► Output::Commit ──► handed over (`handover`)
//! ```
//!
//! The secrets are on flash before they leave the gateway. Without an operator's word a device is
//! offered its account until it opens a session with it, at most [`limits::OFFERS`] times; one
//! whose secret the configuration has got it from its installer.

use super::handover::Way;
use super::records::{Provisioned, change, read, removal};
use super::{Deferred, OperationId, Then};
use crate::gateway::device::{DeviceId, DeviceKey};
use crate::gateway::event::Reason;
use crate::gateway::forward::Away;
use crate::gateway::policy::DeviceAuth;
use crate::gateway::seam::{LanId, Now};
use crate::gateway::{Account, Gateway, Timer};
use crate::limits;
use crate::proto::auth::Secret;
use std::net::SocketAddr;
use std::time::Duration;

/// A device that is to have its account.
pub(super) struct Provisioning {
    key: DeviceKey,
    /// The id in the account, and its secrets if they are new.
    account: DeviceId,
    provisioned: Option<Provisioned>,
    operation: Option<OperationId>,
}

impl Gateway {
    /// `devices provision`: gives a device an account for the gateway.
    pub(super) fn provision(&mut self, id: OperationId, device: &str) {
        match self.find_by_header(device, &mut String::new()) {
            Some(key) => self.offer(key, Some(id)),
            None => {
                let why = format!("no device {device} is known; try: dm-gateway devices");
                self.operated(id, Err(why));
            }
        }
    }

    /// A device came to a LAN whose devices are provisioned by themselves.
    pub(in crate::gateway) fn provision_new(&mut self, key: DeviceKey, now: Now) {
        if self.awaits_account(key) {
            let offer = self.inventory.device(key).and_then(|device| device.offer.as_ref());
            let again = offer.map_or(Duration::ZERO, |offer| offer.again);
            let due = again.max(now.uptime + limits::SETTLE);
            self.timers.set_no_later(Timer::Provision(key), due);
        }
    }

    /// A device may be due for an account that nobody asked for.
    pub(in crate::gateway) fn provision_due(&mut self, key: DeviceKey, now: Now) {
        if !self.awaits_account(key) {
            return;
        }
        let Some(device) = self.inventory.device_mut(key) else { return };
        let Some(lan) = device.lan else { return };
        let offer = device.offer.get_or_insert_default();
        let is_open = offer.open_until.is_some_and(|until| until > now.uptime);
        if is_open || offer.again > now.uptime {
            return;
        }
        let again = now.uptime + limits::OFFER_AGAIN * 2u32.pow(offer.tries.into());
        (offer.tries, offer.again) = (offer.tries + 1, again);
        // Where devices fetch their account, they choose the time.
        if self.options.lans[lan.0].trusted_link || self.target(key).is_err() {
            self.timers.set(Timer::Provision(key), again);
        }
        self.offer(key, None);
    }

    /// Whether a device is to be offered an account without an operator's word.
    fn awaits_account(&self, key: DeviceKey) -> bool {
        let Some(device) = self.inventory.device(key) else { return false };
        let (Some(lan), Some(attachment)) = (device.lan, device.attachment) else { return false };
        let lan = &self.options.lans[lan.0];
        let tries = device.offer.as_ref().map_or(0, |offer| offer.tries);
        if device.record.ruling.blocked
            || !lan.provision
            || attachment.session
            || tries >= limits::OFFERS
        {
            return false;
        }
        match self.account_of(device).filter(|account| account.secret.is_some()) {
            Some(account) => {
                self.management.given.get(account.id.normal()).is_some_and(|given| !given.used)
            }
            // Where nobody has to prove himself, who told his servers once found us already.
            None => lan.device_auth != DeviceAuth::None || device.record.list.is_none(),
        }
    }

    /// Offers a device its account, as soon as no other change waits for the store.
    pub(super) fn offer(&mut self, key: DeviceKey, operation: Option<OperationId>) {
        if self.management.open.is_some() {
            return self.management.deferred.push_back(Deferred::Provision(key, operation));
        }
        if let Err(why) = self.begin_offer(key, operation) {
            self.not_offered(operation, why);
        }
    }

    fn begin_offer(
        &mut self,
        key: DeviceKey,
        operation: Option<OperationId>,
    ) -> Result<(), String> {
        let (lan, to) = self.reachable(key)?;
        let (account, has_secret) = self.offerable(key, lan, to)?;
        let provisioned = (!has_secret).then(|| Provisioned {
            secret: hex(&self.entropy.nonce()),
            server_secret: hex(&self.entropy.nonce()),
            used: false,
            is_extra: false,
        });
        // What both sides are to prove themselves by first; before the account, so on flash then.
        let device = self.inventory.device(key).ok_or("the device is gone")?;
        let mut record = device.newest().clone();
        record.client_nonce = self.entropy.nonce().to_vec();
        record.server_nonce = self.entropy.nonce().to_vec();
        self.keep(key, record);
        let changes = provisioned.iter().map(|it| change(format!("p{}", account.normal()), it));
        let (changes, transaction) = (changes.collect(), self.management.tree.begin());
        let provisioning = Provisioning { key, account, provisioned, operation };
        self.commit_open(changes, transaction, None, Then::Provision(provisioning));
        Ok(())
    }

    /// What `devices provision` would do.
    pub(super) fn plan_provision(&self, device: &str) -> Result<Vec<String>, String> {
        let key = self.find_by_header(device, &mut String::new());
        let key =
            key.ok_or_else(|| format!("no device {device} is known; try: dm-gateway devices"))?;
        let (lan, to) =
            self.target(key).map_err(|away| format!("{device}: {}", away.sentence()))?;
        let (account, has_secret) = self.offerable(key, lan, to)?;
        let secrets = if has_secret { "the secrets it has" } else { "new secrets" };
        let way = match self.way(lan, to.ip())? {
            Way::Push => format!("pushed to {to}"),
            Way::Fetch(url) => format!("to be fetched from {url}"),
        };
        Ok(vec![format!("{account}: an account for the gateway, with {secrets}, {way}")])
    }

    /// The id in an account for a device, and whether it has a secret already.
    fn offerable(
        &self,
        key: DeviceKey,
        lan: LanId,
        to: SocketAddr,
    ) -> Result<(DeviceId, bool), String> {
        let device = self.inventory.device(key).ok_or("the device is gone")?;
        if device.newest().ruling.blocked {
            return Err(format!("{}: {}", device.newest().id, Reason::Blocked));
        }
        let known = self.account_of(device);
        let account = known.map_or_else(|| &device.newest().id, |account| &account.id).clone();
        let has_secret = known.is_some_and(|account| account.secret.is_some());
        if known.is_none() && self.options.accounts.len() >= limits::DEVICES {
            return Err(format!("{} accounts of devices are all there may be", limits::DEVICES));
        }
        self.way(lan, to.ip())?;
        self.dm_url(lan, to.ip())?;
        Ok((account, has_secret))
    }

    /// The account is on flash: the device gets it.
    pub(super) fn provisioned(&mut self, provisioning: Provisioning, ok: bool, now: Now) {
        let Provisioning { key, account, provisioned, operation } = provisioning;
        let result = if ok {
            if let Some(provisioned) = provisioned {
                self.take_provisioned(account, provisioned);
            }
            self.hand_over(key, now)
        } else {
            Err("the store could not keep it".to_owned())
        };
        match (operation, result) {
            (Some(operation), Ok(line)) => self.operated(operation, Ok(vec![line])),
            (None, Ok(line)) => log::info!("{line}"),
            (operation, Err(why)) => self.not_offered(operation, why),
        }
    }

    fn not_offered(&mut self, operation: Option<OperationId>, why: String) {
        match operation {
            Some(operation) => self.operated(operation, Err(why)),
            None => log::warn!("a device is not offered its account: {why}"),
        }
    }

    /// Where a device is, or a sentence that says why nobody knows.
    pub(super) fn reachable(&mut self, key: DeviceKey) -> Result<(LanId, SocketAddr), String> {
        self.target(key).map_err(|away| {
            let device = self.inventory.device(key);
            if let (Away::Unconfirmed(ip), Some(lan)) = (away, device.and_then(|it| it.lan)) {
                self.probe(lan, ip);
            }
            let id = self.inventory.device(key).map(|it| it.record.id.to_string());
            format!("{}: {}", id.unwrap_or_default(), away.sentence())
        })
    }

    /// A device opened a session: if it has its account from us, that is done.
    pub(in crate::gateway) fn account_used(&mut self, key: DeviceKey) {
        if self.management.given.is_empty() {
            return;
        }
        let account = self.inventory.device(key).and_then(|device| self.account_of(device));
        let Some(id) = account.map(|account| account.id.clone()) else { return };
        let given = self.management.given.get_mut(id.normal()).filter(|given| !given.used);
        if let Some(given) = given {
            given.used = true;
            let change = change(format!("p{}", id.normal()), given);
            self.commit_alone(vec![change]);
        }
    }

    /// A device is forgotten. An account that it was given and never used goes with it: whoever
    /// makes addresses up would else fill the room for all others for ever.
    pub(in crate::gateway) fn forget_given(&mut self, key: DeviceKey) {
        let device = self.inventory.device(key);
        let account = device.and_then(|device| self.account_of(device));
        let Some(id) = account.map(|account| account.id.clone()) else { return };
        let given = self.management.given.get(id.normal());
        if given.is_some_and(|given| given.is_extra && !given.used) {
            self.management.given.remove(id.normal());
            self.options.accounts.retain(|account| account.id != id);
            self.commit_alone(vec![removal(format!("p{}", id.normal()))]);
        }
    }

    /// Takes the secrets that a device was given, unless it is configured with others.
    fn take_provisioned(&mut self, id: DeviceId, mut provisioned: Provisioned) {
        let secret = Some(Secret::new(provisioned.secret.clone()));
        let server_secret = Some(Secret::new(provisioned.server_secret.clone()));
        let normal = id.normal().to_owned();
        match self.options.accounts.iter_mut().find(|account| account.id == id) {
            Some(account) if account.secret.is_some() => return,
            Some(account) => {
                account.secret = secret;
                account.server_secret = account.server_secret.take().or(server_secret);
            }
            None => {
                provisioned.is_extra = true;
                self.options.accounts.push(Account {
                    user: id.as_str().to_owned(),
                    id,
                    lan: None,
                    address: None,
                    secret,
                    server_secret,
                    pin: None,
                });
            }
        }
        self.management.given.insert(normal, provisioned);
    }

    /// The same, after the configuration changed.
    pub(super) fn restore_given(&mut self, device: &str, provisioned: Provisioned) {
        if let Some(id) = DeviceId::parse(device) {
            self.take_provisioned(id, provisioned);
        }
    }

    /// The same, from the store.
    pub(super) fn restore_provisioned(&mut self, key: &str, device: &str, value: &[u8]) {
        let id = DeviceId::parse(device);
        if let (Some(id), Some(provisioned)) = (id, read::<Provisioned>(key, value)) {
            self.take_provisioned(id, provisioned);
        }
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
