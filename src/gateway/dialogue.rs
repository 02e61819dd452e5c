//! An end device posts to our DM server: who is it, what does it say, what is it told.
//!
//! Each session gets the Device Detection Alert 1230 unless it brought its server list already
//! or the LAN's policy is `ignore`. How the device answers it stops nothing. A
//! BootstrappedDMSList is judged by the LAN's policy; its Status 200 leaves only when what it
//! acknowledges is on flash. (GwMO change request, 8.6.1.2 and 8.6.1.3.)

use crate::gateway::agenda::Timer;
use crate::gateway::alert::{self, AlertType, Found, PayloadError};
use crate::gateway::device::{Device, DeviceId, DeviceKey};
use crate::gateway::durable::HeldReply;
use crate::gateway::event::{EventKind, Reason};
use crate::gateway::identity::{Claim, claimed_identity};
use crate::gateway::policy::DeviceAuth;
use crate::gateway::seam::{ConnectionId, LanId, MacAddress, Now, Request, Response};
use crate::gateway::{Account, Gateway};
use crate::limits;
use crate::proto::auth::{Scheme, Verdict};
use crate::proto::session::server::{self, Credentials, Reply, ServerSession, Turn};
use crate::proto::syncml::{Encoding, Header, Message, StatusCode};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What tells one session from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SessionKey {
    lan: LanId,
    peer: IpAddr,
    source: Arc<str>,
    session_id: Arc<str>,
}

/// A session with an end device.
#[derive(Debug)]
pub(super) struct LanSession {
    protocol: ServerSession,
    /// The Ethernet address that the first message came from, where the kernel knows it.
    mac: Option<MacAddress>,
    /// What DevInfo said the device is called.
    device_id: Option<DeviceId>,
    opened: bool,
    brought_list: bool,
    brought_empty_list: bool,
    alerted: bool,
    /// When the device last said something.
    pub(super) last: Duration,
}

/// Where a request came from, and how it is answered.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    connection: ConnectionId,
    pub(super) lan: LanId,
    pub(super) peer: IpAddr,
    encoding: Encoding,
    now: Now,
    /// Our own URI, as the device reaches us.
    uri: &'a str,
}

/// The path of our DM server.
pub(super) const DM_PATH: &str = "/dm";

impl Gateway {
    /// Takes an HTTP request from a LAN.
    pub(super) fn request(
        &mut self,
        connection: ConnectionId,
        lan: LanId,
        from: SocketAddr,
        local: SocketAddr,
        request: Request<'_>,
        now: Now,
    ) {
        self.metrics.counters.requests += 1;
        let peer = from.ip().to_canonical();
        if !self.take_request_token(lan, peer, now) {
            self.refuse_request(Reason::RequestRate, lan, peer);
            return self.respond(connection, plain(503, Some(1)));
        }
        if request.path != DM_PATH || request.method != "POST" {
            self.refuse_request(Reason::BadRequest, lan, peer);
            let status = if request.path == DM_PATH { 405 } else { 404 };
            return self.respond(connection, plain(status, None));
        }
        let Some(encoding) = request.content_type.and_then(Encoding::of_content_type) else {
            self.refuse_request(Reason::BadRequest, lan, peer);
            return self.respond(connection, plain(415, None));
        };
        let message = match encoding.decode(request.body) {
            Ok(message) => message,
            Err(error) => {
                log::debug!("{peer}: {error}");
                self.refuse_request(Reason::MalformedMessage, lan, peer);
                return self.respond(connection, plain(400, None));
            }
        };
        let uri = own_uri(local);
        let call = Call { connection, lan, peer, encoding, now, uri: &uri };
        match version_fault(&message.header) {
            Some(code) => self.refuse_message(call, &message, code, Reason::Version),
            None => self.message(call, &message),
        }
    }

    /// Notes a request that was refused before it was one.
    pub(super) fn bad_request(&mut self, lan: LanId, from: SocketAddr) {
        self.metrics.counters.requests += 1;
        self.refuse_request(Reason::BadRequest, lan, from.ip().to_canonical());
    }

    fn message(&mut self, call: Call<'_>, message: &Message<'_>) {
        let now = call.now;
        let Some(source) = DeviceId::parse(&message.header.source.uri) else {
            let code = StatusCode::FORBIDDEN;
            return self.refuse_message(call, message, code, Reason::MalformedMessage);
        };
        if message.header.session_id.len() > limits::SESSION_ID {
            let code = StatusCode::BAD_REQUEST;
            return self.refuse_message(call, message, code, Reason::MalformedMessage);
        }
        let key = SessionKey {
            lan: call.lan,
            peer: call.peer,
            source: source.normal().into(),
            session_id: (*message.header.session_id).into(),
        };
        let mac = self.neighbour(call.lan, call.peer).and_then(|entry| entry.mac);
        let mut session = match self.sessions.remove(&key) {
            Some(session) if message.header.message_id > 1 && session.mac == mac => session,
            before => {
                let mut credentials = self.credentials(call.lan, call.peer, &source);
                // A device that starts over after a challenge uses the nonce that came with it.
                if let Some(nonce) = before.and_then(|session| session.protocol.open_challenge()) {
                    credentials.client_nonce = nonce;
                }
                LanSession {
                    protocol: ServerSession::new(credentials),
                    mac,
                    device_id: None,
                    opened: false,
                    brought_list: false,
                    brought_empty_list: false,
                    alerted: false,
                    last: now.uptime,
                }
            }
        };
        session.last = now.uptime;
        let turn = session.protocol.receive(message);
        let ended = if turn.verdict == Verdict::Accepted {
            if let Some(id) = turn.device_id.and_then(DeviceId::parse) {
                session.device_id = Some(id);
            }
            let id = claimed_identity(&source, session.device_id.as_ref());
            let proven = session.protocol.is_proven() && self.proves(&source, &id);
            match self.identify(call, Claim { source: &source, id: &id, proven }, now) {
                Ok(device) => self.turn(call, message, &mut session, turn, device, &id),
                Err(reason) => {
                    let code = match reason {
                        Reason::InventoryFull => StatusCode::RETRY_LATER,
                        _ => StatusCode::FORBIDDEN,
                    };
                    return self.refuse_message(call, message, code, reason);
                }
            }
        } else {
            self.metrics.refuse(Reason::Credentials);
            self.tell_of_peer(Reason::Credentials, call.lan, call.peer, Some(&source));
            let nonce = self.entropy.nonce();
            let reply = session.protocol.reply(message, turn, call.uri, &nonce);
            self.send(call, &reply.message);
            reply.ended
        };
        if !ended {
            self.keep_session(key, session, now);
        }
    }

    /// Acts on one message of an identified device. True if it ends the session.
    fn turn(
        &mut self,
        call: Call<'_>,
        message: &Message<'_>,
        session: &mut LanSession,
        mut turn: Turn<'_>,
        key: DeviceKey,
        id: &DeviceId,
    ) -> bool {
        let now = call.now;
        let Some(device) = self.inventory.device(key) else { return true };
        let before = device.newest().clone();
        let mut record = before.clone();
        let fresh = turn.statuses[0].code == StatusCode::AUTHENTICATED
            && message.header.credentials.is_some();
        let mut dependent = Vec::new();
        self.opened(key, session, now);
        self.account_used(key);
        if !record.named && id.mac().is_none() {
            record.id = id.clone();
            record.named = true;
            dependent.push(0);
        }
        if let Some(code) = turn.detection {
            if let Some(device) = self.inventory.device_mut(key) {
                device.detection = Some(code);
            }
            self.tell_of(EventKind::Answered, key, None, None, || {
                format!("the device answered the Device Detection Alert with {}", code.0)
            });
        }
        for (index, alert) in std::mem::take(&mut turn.generic_alerts) {
            let mut code = None;
            for Found { kind, payload, .. } in alert::find(alert) {
                code = Some(match kind {
                    AlertType::BootstrappedDmsList => {
                        match alert::parse_server_list(payload.unwrap_or_default()) {
                            Ok(servers) => {
                                session.brought_list = true;
                                dependent.push(index);
                                let again = &mut session.brought_empty_list;
                                self.decide_list(&mut record, servers, again, call.lan, now);
                                StatusCode::OK
                            }
                            Err(error) => {
                                self.refuse_list(error, call, key);
                                error.status()
                            }
                        }
                    }
                    _ => StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED,
                });
            }
            turn.statuses[index].code = code.unwrap_or(StatusCode::UNSUPPORTED_TYPE);
        }
        // Without a secret of ours it is for nothing, and each would cost a write to flash.
        let proves_us = self.inventory.device(key).and_then(|device| self.account_of(device));
        if let Some(nonce) = turn.server_nonce.take() {
            if proves_us.is_some_and(|account| account.server_secret.is_some()) {
                record.server_nonce = nonce;
            }
        }
        let mut nonce = Vec::new();
        if fresh && self.options.lans[call.lan.0].device_auth == DeviceAuth::Md5 {
            nonce = self.entropy.nonce().to_vec();
            record.client_nonce.clone_from(&nonce);
            dependent.push(0);
        }
        if message.is_final && !session.brought_list && !session.alerted && !turn.aborted {
            self.alert_device(call, session, key);
        }
        let Reply { message: reply, ended } =
            session.protocol.reply(message, turn, call.uri, &nonce);
        let saved = self.inventory.device(key).is_some_and(|device| {
            device.stored && !device.unsaved && (device.planned.is_none() || dependent.is_empty())
        });
        if record == before && saved {
            self.send(call, &reply);
        } else {
            let held = HeldReply {
                connection: call.connection,
                encoding: call.encoding,
                message: reply,
                dependent,
            };
            self.keep_then_reply(key, record, held);
        }
        ended
    }

    /// Notes that a device opened a session: it need not be asked any more.
    fn opened(&mut self, key: DeviceKey, session: &mut LanSession, now: Now) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        device.last_seen = Some(now.uptime);
        let Some(attachment) = &mut device.attachment else { return };
        attachment.session = true;
        if !std::mem::replace(&mut session.opened, true) {
            self.metrics.counters.sessions += 1;
            self.tell_of(EventKind::Session, key, None, None, || {
                "the device opened a DM session to the gateway".to_owned()
            });
        }
    }

    /// Queues the Device Detection Alert, where the policy asks for it.
    fn alert_device(&mut self, call: Call<'_>, session: &mut LanSession, key: DeviceKey) {
        let options = &self.options;
        let policy = options.lans[call.lan.0].policy;
        if !policy.asks() {
            return;
        }
        let share = policy.shares(options.share_address, options.public_address.is_some());
        let address = options.public_address.clone().unwrap_or_else(|| host_of(call.uri).into());
        session.alerted = true;
        let alert = alert::device_detection(Some(&address), share, options.wire_profile);
        session.protocol.send(alert);
        self.metrics.counters.alerted += 1;
        self.tell_of(EventKind::Alerted, key, None, None, || {
            format!("Device Detection Alert 1230: GwAddress {address}, Share {share}")
        });
    }

    /// The account of a device, by its identity or an alias.
    pub(super) fn account_of(&self, device: &Device) -> Option<&Account> {
        let record = &device.record;
        let by_id = self.options.account(record.id.normal());
        by_id.or_else(|| {
            let mut aliases = record.hardware.iter().map(|mac| DeviceId::of_mac(*mac));
            aliases.find_map(|alias| self.options.account(alias.normal()))
        })
    }

    fn credentials(&self, lan: LanId, peer: IpAddr, source: &DeviceId) -> Credentials {
        let scheme = match self.options.lans[lan.0].device_auth {
            DeviceAuth::None => return Credentials::default(),
            DeviceAuth::Basic => Scheme::Basic,
            DeviceAuth::Md5 => Scheme::Md5,
        };
        // A device that was given its account before it told its name tells it now.
        let owner = self.owner_of(source).or_else(|| self.unnamed_at(lan, peer));
        let device = owner.and_then(|key| self.inventory.device(key));
        let account = self
            .options
            .account(source.normal())
            .or_else(|| device.and_then(|device| self.account_of(device)));
        let nonces = device.map(Device::newest);
        Credentials {
            scheme: Some(scheme),
            client: account
                .and_then(|account| Some((account.user.clone(), account.secret.clone()?))),
            client_nonce: nonces.map(|record| record.client_nonce.clone()).unwrap_or_default(),
            server: account.and_then(|account| {
                Some((self.options.id.clone(), account.server_secret.clone()?))
            }),
            server_nonce: nonces.map(|record| record.server_nonce.clone()).unwrap_or_default(),
        }
    }

    fn keep_session(&mut self, key: SessionKey, session: LanSession, now: Now) {
        if self.sessions.len() >= limits::SESSIONS {
            if let Some(oldest) =
                self.sessions.iter().min_by_key(|(_, s)| s.last).map(|(key, _)| key.clone())
            {
                self.sessions.remove(&oldest);
            }
        }
        if self.sessions.is_empty() {
            self.timers.set(Timer::Sessions, now.uptime + limits::SESSION_IDLE);
        }
        self.sessions.insert(key, session);
    }

    /// Forgets sessions in which nothing was said for long.
    pub(super) fn sessions_due(&mut self, now: Now) {
        self.sessions.retain(|_, session| now.uptime < session.last + limits::SESSION_IDLE);
        if let Some(oldest) = self.sessions.values().map(|session| session.last).min() {
            self.timers.set(Timer::Sessions, oldest + limits::SESSION_IDLE);
        }
    }

    fn refuse_message(
        &mut self,
        call: Call<'_>,
        message: &Message<'_>,
        code: StatusCode,
        reason: Reason,
    ) {
        // The others were counted where the claim was judged.
        if matches!(reason, Reason::MalformedMessage | Reason::Version) {
            self.refuse_request(reason, call.lan, call.peer);
        }
        self.send(call, &server::refusal(message, code, call.uri));
    }

    fn refuse_list(&mut self, error: PayloadError, call: Call<'_>, key: DeviceKey) {
        let reason = match error {
            PayloadError::Malformed { .. } => Reason::MalformedList,
            PayloadError::TooLarge(_) => Reason::ListTooLarge,
        };
        self.metrics.refuse(reason);
        let from = SocketAddr::new(call.peer, 0);
        self.tell_because(EventKind::Refused, Some(reason), key, None, Some(from), || {
            format!("{reason}: {error}")
        });
    }

    pub(super) fn refuse_request(&mut self, reason: Reason, lan: LanId, peer: IpAddr) {
        self.metrics.refuse(reason);
        self.tell_of_peer(reason, lan, peer, None);
    }

    fn send(&mut self, call: Call<'_>, message: &Message<'_>) {
        let response = message_response(call.encoding, message);
        self.respond(call.connection, response);
    }

    pub(super) fn take_request_token(&mut self, lan: LanId, peer: IpAddr, now: Now) -> bool {
        let options = &self.options.lans[lan.0];
        let Some(interval) = options.request_interval else { return true };
        if self.request_sources.len() >= limits::REQUEST_SOURCES {
            self.request_sources.retain(|_, due| *due > now.uptime);
            if self.request_sources.len() > limits::REQUEST_SOURCES / 2 {
                // So many at once are no honest devices: the bound on memory counts more.
                self.request_sources.clear();
            }
        }
        let due = self.request_sources.entry((lan, peer)).or_default();
        if *due > now.uptime + interval * options.request_burst.saturating_sub(1) {
            return false;
        }
        *due = (*due).max(now.uptime) + interval;
        true
    }
}

/// An HTTP response that carries a message.
pub(super) fn message_response(encoding: Encoding, message: &Message<'_>) -> Response {
    Response {
        status: 200,
        content_type: Some(encoding.content_type()),
        retry_after: None,
        body: encoding.encode(message),
    }
}

fn plain(status: u16, retry_after: Option<u32>) -> Response {
    Response { status, content_type: None, retry_after, body: Vec::new() }
}

fn version_fault(header: &Header<'_>) -> Option<StatusCode> {
    if !matches!(&*header.version_dtd, "1.2" | "1.1") {
        Some(StatusCode::DTD_NOT_SUPPORTED)
    } else if !matches!(&*header.version_protocol, "DM/1.2" | "DM/1.1" | "DM/1.3") {
        Some(StatusCode::PROTOCOL_NOT_SUPPORTED)
    } else {
        None
    }
}

fn own_uri(local: SocketAddr) -> String {
    // Without the scope, which means nothing outside this host.
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    format!("http://{local}{DM_PATH}")
}

/// The host in a URI made by [`own_uri`].
fn host_of(uri: &str) -> &str {
    let authority = uri.trim_start_matches("http://").trim_end_matches(DM_PATH);
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_uri_names_the_address_the_device_reached() {
        let uri = own_uri("[fe80::1%7]:8080".parse().unwrap());
        assert_eq!(uri, "http://[fe80::1]:8080/dm");
        assert_eq!(host_of(&uri), "fe80::1");
        assert_eq!(host_of(&own_uri("192.168.4.1:80".parse().unwrap())), "192.168.4.1");
    }
}
