//! An account on its way to an end device: pushed where nobody listens, else fetched over HTTPS.
//!
//! | answer to a fetch | when |
//! |---|---|
//! | 200 and the document | an account waits for the device at that address |
//! | 403 | none waits for it, or nothing confirms who is there |
//! | 404 | it is no GET of `/bootstrap`, or nobody known is there |
//! | 503 | requests of that address come too fast |
//!
//! The secrets of a push go in clear, and a MAC hides nothing; so it is for LANs of which the
//! operator says that nobody listens (`trusted-link`). A fetch is believed by the sender's Ethernet
//! address as a session is (`verify`), or by its word where the LAN asks for no more.

use crate::gateway::Gateway;
use crate::gateway::device::{DeviceKey, normalise};
use crate::gateway::event::{EventKind, Reason};
use crate::gateway::policy::{DeviceAuth, Verify};
use crate::gateway::push_request::told;
use crate::gateway::seam::{BootstrapRequest, ConnectionId, LanId, Now, Response};
use crate::limits;
use crate::proto::auth::Secret;
use crate::proto::bootstrap::security::{Keys, Method, sign};
use crate::proto::bootstrap::{
    Account, Address, AuthenticationKind, Credential, Level, Profile, Source, cp, dm, fetch, push,
};
use std::net::{IpAddr, SocketAddr};

/// How an account reaches its device.
pub(super) enum Way {
    Push,
    Fetch(String),
}

/// The path of the documents.
const BOOTSTRAP_PATH: &str = "/bootstrap";

impl Gateway {
    /// How the devices of a LAN get their accounts.
    ///
    /// # Errors
    /// A sentence if there is no way that keeps the secrets.
    pub(super) fn way(&self, lan: LanId, device: IpAddr) -> Result<Way, String> {
        let options = &self.options.lans[lan.0];
        if options.trusted_link {
            return Ok(Way::Push);
        }
        let name = &options.name;
        match own_address(&options.bootstrap_listen, device) {
            Some(address) => Ok(Way::Fetch(format!("https://{address}{BOOTSTRAP_PATH}"))),
            None if options.bootstrap_listen.is_empty() => Err(format!(
                "LAN {name} is no trusted link, and a bootstrap carries secrets in clear; try: `trusted-link = true` if nobody else is on it, or `bootstrap-listen` so that devices fetch it over HTTPS"
            )),
            None => Err(format!("LAN {name} has no bootstrap-listen that {device} could be told")),
        }
    }

    /// Pushes a device its account, or lets it be fetched. The line says which.
    pub(super) fn hand_over(&mut self, key: DeviceKey, now: Now) -> Result<String, String> {
        let (lan, to) = self.reachable(key)?;
        let device = self.inventory.device_mut(key).ok_or("the device is gone")?;
        let id = device.record.id.clone();
        match self.way(lan, to.ip())? {
            Way::Push => {
                self.push_account(key, lan, to)?;
                Ok(format!("{id}: its account for the gateway went to {to}"))
            }
            Way::Fetch(url) => {
                let until = now.uptime + limits::FETCH_WINDOW;
                if let Some(device) = self.inventory.device_mut(key) {
                    device.offer.get_or_insert_default().open_until = Some(until);
                }
                let query = match self.options.lans[lan.0].verify {
                    Verify::Neighbour => String::new(),
                    Verify::None => "?device=ID".to_owned(),
                };
                let minutes = limits::FETCH_WINDOW.as_secs() / 60;
                let day = (now.unix + limits::FETCH_WINDOW.as_secs()) % 86_400;
                let (hour, minute, second) = (day / 3600, day / 60 % 60, day % 60);
                Ok(format!(
                    "{id}: it may fetch its account for the gateway, once, from {url}{query} within {minutes} minutes, until {hour:02}:{minute:02}:{second:02} UTC"
                ))
            }
        }
    }

    fn push_account(&mut self, key: DeviceKey, lan: LanId, to: SocketAddr) -> Result<(), String> {
        let (profile, document) = self.document(key, lan, to.ip())?;
        let device = self.inventory.device(key).ok_or("the device is gone")?;
        let pin = self.account_of(device).and_then(|account| account.pin.clone());
        let keys = Keys { network: None, user: pin };
        let signed = keys.user.is_some().then(|| sign(profile, Method::UserPin, &keys, &document));
        let security =
            signed.transpose().map_err(|_| "the pin of the device cannot be used".to_owned())?;
        let start = self.datagrams.len();
        let transaction_id = self.entropy.u64() as u8;
        push::encode(&mut self.datagrams, transaction_id, profile, security.as_ref(), &document);
        let range = start..self.datagrams.len();
        self.outputs.push_datagram(lan, to, range);
        self.tell_of(EventKind::Provisioned, key, None, Some(to), || {
            "its account for the gateway went out as a bootstrap push".to_owned()
        });
        Ok(())
    }

    /// The document that gives a device its account.
    fn document(
        &self,
        key: DeviceKey,
        lan: LanId,
        ip: IpAddr,
    ) -> Result<(Profile, Vec<u8>), String> {
        let url = self.dm_url(lan, ip)?;
        let device = self.inventory.device(key).ok_or("the device is gone")?;
        let known = self.account_of(device).ok_or("the device has no account")?;
        let options = &self.options.lans[lan.0];
        let kind = match options.device_auth {
            DeviceAuth::Basic => AuthenticationKind::Basic,
            DeviceAuth::Md5 | DeviceAuth::None => AuthenticationKind::Digest,
        };
        let credential = |level, name: &str, secret: &Option<Secret>, nonce: &[u8]| {
            Some(Credential {
                level,
                kind: kind.clone(),
                name: Some(name.to_owned()),
                secret: Some(secret.clone()?),
                nonce: Some(nonce.to_vec()),
            })
        };
        let mut account = Account::new(&self.options.id, Source::Push);
        account.name = Some("DM gateway".to_owned());
        account.addresses = vec![Address::uri(url)];
        account.preferred_authentication = Some(kind.clone());
        let (record, own) = (device.newest(), &self.options.id);
        account.credentials = [
            credential(Level::Client, &known.user, &known.secret, &record.client_nonce),
            credential(Level::Server, own, &known.server_secret, &record.server_nonce),
        ]
        .into_iter()
        .flatten()
        .collect();
        let document = match options.bootstrap_profile {
            Profile::Cp => cp::write(&account),
            Profile::Dm => dm::write(&account, device.record.id.as_str(), dm::TreeForm::default()),
        };
        Ok((options.bootstrap_profile, document))
    }

    /// Somebody on a LAN asks for a bootstrap.
    pub(in crate::gateway) fn bootstrap_request(
        &mut self,
        connection: ConnectionId,
        lan: LanId,
        peer: IpAddr,
        request: BootstrapRequest<'_>,
        now: Now,
    ) {
        self.metrics.counters.requests += 1;
        let peer = peer.to_canonical();
        let result = if self.take_request_token(lan, peer, now) {
            self.let_fetch(lan, peer, request, now)
        } else {
            Err(Reason::RequestRate)
        };
        let response = match result {
            Ok(response) => response,
            Err(reason) => {
                self.refuse_request(reason, lan, peer);
                let (status, retry_after) = match reason {
                    Reason::BootstrapRequest | Reason::UnknownDevice => (404, None),
                    Reason::RequestRate => (503, Some(1)),
                    _ => (403, None),
                };
                Response { retry_after, ..told(status, reason.sentence()) }
            }
        };
        self.respond(connection, response);
    }

    /// Notes somebody on a LAN who came for a bootstrap and asked for nothing.
    pub(in crate::gateway) fn no_bootstrap_request(
        &mut self,
        lan: LanId,
        peer: IpAddr,
        handshake: bool,
    ) {
        self.metrics.counters.requests += 1;
        let reason = if handshake { Reason::TlsHandshake } else { Reason::BootstrapRequest };
        self.refuse_request(reason, lan, peer.to_canonical());
    }

    fn let_fetch(
        &mut self,
        lan: LanId,
        peer: IpAddr,
        request: BootstrapRequest<'_>,
        now: Now,
    ) -> Result<Response, Reason> {
        if request.method != "GET" || request.path != BOOTSTRAP_PATH {
            return Err(Reason::BootstrapRequest);
        }
        let key = self.fetcher(lan, peer, request.query.unwrap_or_default(), now)?;
        if self.inventory.device(key).is_some_and(|device| device.newest().ruling.blocked) {
            return Err(Reason::Blocked);
        }
        if !self.is_open(key, now) || self.options.lans[lan.0].trusted_link {
            return Err(Reason::BootstrapClosed);
        }
        let (profile, body) = self.document(key, lan, peer).map_err(|why| {
            log::warn!("{peer} cannot fetch its account: {why}");
            Reason::BootstrapClosed
        })?;
        if let Some(device) = self.inventory.device_mut(key) {
            device.offer.get_or_insert_default().open_until = None;
        }
        let from = SocketAddr::new(peer, 0);
        self.tell_of(EventKind::Provisioned, key, None, Some(from), || {
            "it fetched its account for the gateway over HTTPS".to_owned()
        });
        let content_type = Some(push::media_type(profile));
        Ok(Response { status: 200, content_type, retry_after: None, body })
    }

    /// The device behind a request for a bootstrap.
    fn fetcher(
        &self,
        lan: LanId,
        peer: IpAddr,
        query: &str,
        now: Now,
    ) -> Result<DeviceKey, Reason> {
        let mut normal = String::new();
        let named = match fetch::parameter(query, "device") {
            Some(id) if normalise(&id, &mut normal) => {
                Some(self.inventory.find(&normal).ok_or(Reason::UnknownDevice)?)
            }
            Some(_) => return Err(Reason::UnknownDevice),
            None => None,
        };
        match self.options.lans[lan.0].verify {
            Verify::None => {
                let key = named.ok_or(Reason::UnknownDevice)?;
                let is_here = self.inventory.device(key).is_some_and(|it| it.lan == Some(lan));
                is_here.then_some(key).ok_or(Reason::UnknownDevice)
            }
            Verify::Neighbour => {
                let entry = self.neighbour(lan, peer).filter(|entry| entry.is_usable());
                let mac = entry.and_then(|entry| entry.mac).ok_or(Reason::Unverified)?;
                let is_own = |key: &DeviceKey| {
                    self.inventory.device(*key).is_some_and(|device| device.has_hardware(mac))
                };
                if let Some(named) = named {
                    return if is_own(&named) { Ok(named) } else { Err(Reason::Spoofed) };
                }
                let holders: Vec<_> = self.inventory.all_at(lan, peer).filter(is_own).collect();
                let open = holders.iter().copied().find(|key| self.is_open(*key, now));
                open.or_else(|| holders.first().copied()).ok_or(Reason::UnknownDevice)
            }
        }
    }

    /// Whether a device may fetch its account now.
    fn is_open(&self, key: DeviceKey, now: Now) -> bool {
        let offer = self.inventory.device(key).and_then(|device| device.offer.as_ref());
        offer.and_then(|offer| offer.open_until).is_some_and(|until| until > now.uptime)
    }

    /// Where devices of a LAN find our DM server.
    ///
    /// # Errors
    /// A sentence if there is no address that they could be told.
    pub(super) fn dm_url(&self, lan: LanId, device: IpAddr) -> Result<String, String> {
        let options = &self.options.lans[lan.0];
        let address = own_address(&options.listen, device).ok_or_else(|| {
            let name = &options.name;
            format!("LAN {name} listens on no address of its own that {device} could be told")
        })?;
        Ok(format!("http://{address}/dm"))
    }
}

/// The first address that a device can be told, as text: its own family, no wildcard, without the
/// scope, which means nothing outside this host.
fn own_address(listen: &[SocketAddr], device: IpAddr) -> Option<String> {
    let fits = |listen: &&SocketAddr| {
        listen.is_ipv4() == device.is_ipv4() && !listen.ip().is_unspecified()
    };
    let listen = listen.iter().find(fits)?;
    Some(SocketAddr::new(listen.ip(), listen.port()).to_string())
}
