//! The gateway bootstraps its end devices: an account for the gateway, with secrets of its own.
//!
//! The secrets go out in clear, and a MAC hides nothing; so this is for LANs of which the operator
//! says that nobody listens (`trusted-link`).

use super::records::{Provisioned, change, read};
use super::{OperationId, Then};
use crate::gateway::device::{DeviceId, DeviceKey};
use crate::gateway::event::EventKind;
use crate::gateway::policy::DeviceAuth;
use crate::gateway::seam::{LanId, Now};
use crate::gateway::{Account as DeviceAccount, Gateway};
use crate::proto::auth::Secret;
use crate::proto::bootstrap::security::{Keys, Method, Security, sign};
use crate::proto::bootstrap::{
    Account, Address, AuthenticationKind, Credential, Level, Profile, Source, cp, dm, push,
};
use std::net::{IpAddr, SocketAddr};

/// A device that is to have its account.
pub(super) struct Provisioning {
    key: DeviceKey,
    provisioned: Option<Provisioned>,
    operation: Option<OperationId>,
}

impl Gateway {
    /// `devices provision`: gives a device an account for the gateway.
    pub(super) fn provision(&mut self, id: OperationId, device: &str, now: Now) {
        let key = self.find_by_header(device, &mut String::new());
        let result = match key {
            Some(key) => self.provision_device(key, Some(id), now),
            None => Err(format!("no device {device} is known; `dm-gateway devices` lists them")),
        };
        if let Err(why) = result {
            self.operated(id, Err(why));
        }
    }

    /// A device came to a LAN whose devices are provisioned by themselves.
    pub(in crate::gateway) fn provision_new(&mut self, key: DeviceKey, now: Now) {
        let Some(device) = self.inventory.device(key) else { return };
        let Some(lan) = device.lan else { return };
        let has =
            self.options.account(device.record.id.normal()).is_some_and(|it| it.secret.is_some());
        if !self.options.lans[lan.0].provision || has {
            return;
        }
        if let Err(why) = self.provision_device(key, None, now) {
            log::warn!("a new device is not provisioned: {why}");
        }
    }

    fn provision_device(
        &mut self,
        key: DeviceKey,
        operation: Option<OperationId>,
        now: Now,
    ) -> Result<(), String> {
        let device = self.inventory.device(key).ok_or("the device is gone")?;
        let id = device.record.id.clone();
        let (lan, to) = self.target(key).map_err(|away| format!("{id}: {}", away.sentence()))?;
        let options = &self.options.lans[lan.0];
        if !options.trusted_link {
            return Err(format!(
                "LAN {} is no trusted link, and a bootstrap carries secrets in clear; set `trusted-link = true` if nobody else is on it",
                options.name
            ));
        }
        self.dm_url(lan, to.ip())?;
        let known = self.options.account(id.normal()).is_some_and(|it| it.secret.is_some());
        let provisioned = (!known).then(|| Provisioned {
            secret: hex(&self.entropy.nonce()),
            server_secret: hex(&self.entropy.nonce()),
        });
        let provisioning = Provisioning { key, provisioned, operation };
        match &provisioning.provisioned {
            None => self.provisioned(provisioning, true, now),
            Some(_) if self.management.open.is_some() => {
                return Err("another change is being kept just now; try again".to_owned());
            }
            Some(provisioned) => {
                let changes = vec![change(format!("p{}", id.normal()), provisioned)];
                let transaction = self.management.tree.begin();
                self.commit_open(changes, transaction, None, Then::Provision(provisioning));
            }
        }
        Ok(())
    }

    /// The secrets are on flash: the device gets them.
    pub(super) fn provisioned(&mut self, provisioning: Provisioning, ok: bool, now: Now) {
        let Provisioning { key, provisioned, operation } = provisioning;
        let result = if ok {
            self.send_account(key, provisioned, now)
        } else {
            Err("the store could not keep it".to_owned())
        };
        match (operation, result) {
            (Some(operation), result) => self.operated(operation, result.map(|line| vec![line])),
            (None, Ok(_)) => {}
            (None, Err(why)) => log::warn!("a new device is not provisioned: {why}"),
        }
    }

    fn send_account(
        &mut self,
        key: DeviceKey,
        provisioned: Option<Provisioned>,
        _: Now,
    ) -> Result<String, String> {
        let device = self.inventory.device(key).ok_or("the device is gone")?;
        let id = device.record.id.clone();
        if let Some(provisioned) = &provisioned {
            self.take_provisioned(id.normal(), provisioned);
        }
        let (lan, to) = self.target(key).map_err(|away| format!("{id}: {}", away.sentence()))?;
        let url = self.dm_url(lan, to.ip())?;
        let known = self.options.account(id.normal()).ok_or("the device has no account")?;
        let kind = match self.options.lans[lan.0].device_auth {
            DeviceAuth::Basic => AuthenticationKind::Basic,
            DeviceAuth::Md5 | DeviceAuth::None => AuthenticationKind::Digest,
        };
        let credential = |level, name: &str, secret: &Option<Secret>, nonce: [u8; 16]| Credential {
            level,
            kind: if level == Level::Server { AuthenticationKind::Digest } else { kind.clone() },
            name: Some(name.to_owned()),
            secret: secret.clone(),
            nonce: Some(nonce.to_vec()),
        };
        let mut account = Account::new(&self.options.id, Source::Push);
        account.name = Some("DM gateway".to_owned());
        account.addresses = vec![Address::uri(url)];
        account.preferred_authentication = Some(kind.clone());
        let nonces = (self.entropy.nonce(), self.entropy.nonce());
        account.credentials = vec![
            credential(Level::Client, &known.user, &known.secret, nonces.0),
            credential(Level::Server, &self.options.id, &known.server_secret, nonces.1),
        ];
        let profile = self.options.lans[lan.0].bootstrap_profile;
        let document = match profile {
            Profile::Cp => cp::write(&account),
            Profile::Dm => dm::write(&account, id.as_str(), dm::TreeForm::default()),
        };
        let keys = Keys { network: None, user: known.pin.clone() };
        let security: Option<Security> = keys
            .user
            .is_some()
            .then(|| sign(profile, Method::UserPin, &keys, &document))
            .transpose()
            .map_err(|_| "the pin of the device cannot be used".to_owned())?;
        let start = self.datagrams.len();
        let transaction_id = self.entropy.u64() as u8;
        push::encode(&mut self.datagrams, transaction_id, profile, security.as_ref(), &document);
        let range = start..self.datagrams.len();
        self.outputs.push_datagram(lan, to, range);
        // What the device is to prove itself by next.
        if let Some(mut record) = self.inventory.device(key).map(|device| device.newest().clone()) {
            record.client_nonce = nonces.0.to_vec();
            record.server_nonce = nonces.1.to_vec();
            self.keep(key, record);
        }
        self.tell_of(EventKind::Provisioned, key, None, Some(to), || {
            "its account for the gateway went out as a bootstrap push".to_owned()
        });
        Ok(format!("{id}: its account for the gateway went to {to}"))
    }

    /// Takes secrets that a device was given.
    pub(super) fn take_provisioned(&mut self, device: &str, provisioned: &Provisioned) {
        let Some(id) = DeviceId::parse(device) else { return };
        let secret = Some(Secret::new(provisioned.secret.clone()));
        let server_secret = Some(Secret::new(provisioned.server_secret.clone()));
        match self.options.accounts.iter_mut().find(|account| account.id == id) {
            Some(account) if account.secret.is_some() => {}
            Some(account) => (account.secret, account.server_secret) = (secret, server_secret),
            None => self.options.accounts.push(DeviceAccount {
                user: id.as_str().to_owned(),
                id,
                lan: None,
                address: None,
                secret,
                server_secret,
                pin: None,
            }),
        }
    }

    /// The same, from the store.
    pub(super) fn restore_provisioned(&mut self, key: &str, device: &str, value: &[u8]) {
        if let Some(provisioned) = read::<Provisioned>(key, value) {
            self.take_provisioned(device, &provisioned);
        }
    }

    /// Where devices of a LAN find our DM server.
    fn dm_url(&self, lan: LanId, device: IpAddr) -> Result<String, String> {
        let options = &self.options.lans[lan.0];
        let fits = |listen: &&SocketAddr| {
            listen.is_ipv4() == device.is_ipv4() && !listen.ip().is_unspecified()
        };
        let listen = options.listen.iter().find(fits).ok_or_else(|| {
            format!(
                "LAN {} listens on no address of its own that {device} could be told",
                options.name
            )
        })?;
        let ip: String = match listen.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Ok(format!("http://{ip}:{}/dm", listen.port()))
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
