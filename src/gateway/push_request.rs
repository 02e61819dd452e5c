//! A push over HTTP (OTA-HTTP): the way of a datagram, with an answer at its end.
//!
//! | answer | when |
//! |---|---|
//! | 202 | the push went on to its device, or waits for it; also a repeat of one that did |
//! | 400 | it is no push of a notification for DM, names no device, or its body is no Package #0 |
//! | 403 | its source, its token or the mapping does not allow it |
//! | 404 | no device by that identity is known |
//! | 429 | pushes of this server for this device come too fast |
//! | 504 | the device should be there, and the kernel asked three times without an answer |
//!
//! A device that is known to be away has no 504: the push is queued, which is what 202 says. Only
//! where the kernel does not know at the moment whether the device is still there does the answer
//! wait for it, at most [`limits::PUSH_ANSWER`]. Whatever is answered, the newest trigger of each
//! server is kept as if it had come by UDP.

use crate::gateway::Gateway;
use crate::gateway::agenda::Timer;
use crate::gateway::alert::ServerId;
use crate::gateway::arrival::{Arrival, Outcome};
use crate::gateway::device::DeviceKey;
use crate::gateway::event::Reason;
use crate::gateway::forward::Away;
use crate::gateway::seam::{ConnectionId, Now, PushFault, PushRequest, Response};
use crate::gateway::trigger::Slot;
use crate::limits;
use crate::proto::auth::Secret;
use crate::proto::ota_http::{self, HttpPush};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A request whose answer waits for the kernel's word on its device.
#[derive(Debug)]
pub(super) struct Unanswered {
    connection: ConnectionId,
    device: DeviceKey,
    server: ServerId,
    due: Duration,
}

impl Gateway {
    /// Whether a connection from there to the WAN's HTTP listener is worth a TLS handshake. One
    /// that is not is to be reported as [`PushFault::Source`].
    pub fn admits_push_from(&self, source: IpAddr) -> bool {
        self.check_source(source).is_ok()
    }

    /// Takes a push over HTTP.
    pub(super) fn push_request(
        &mut self,
        connection: ConnectionId,
        from: SocketAddr,
        request: PushRequest<'_>,
        now: Now,
    ) {
        let token = self.options.push_token.as_ref();
        let arrival = arrival(&request, token);
        match self.accept(from, || arrival, now) {
            Outcome::Sent => self.answer(connection, 202, SENT),
            Outcome::Held { key, slot, away: Away::Unconfirmed(_) }
                if self.unanswered.len() < limits::PUSH_ANSWERS =>
            {
                let slot = self.inventory.device(key).and_then(|device| device.slots.get(slot));
                let Some(server) = slot.map(|slot| slot.server.clone()) else { return };
                let due = now.uptime + limits::PUSH_ANSWER;
                self.unanswered.push_back(Unanswered { connection, device: key, server, due });
                self.timers.set_no_later(Timer::Answers, due);
            }
            Outcome::Held { .. } => self.answer(connection, 202, "the push waits for its device"),
            Outcome::Refused { reason: Reason::PushRate, why } => {
                let wait = self.options.push_interval.unwrap_or_default();
                let retry_after = Some(wait.as_secs_f64().ceil() as u32);
                self.respond(connection, Response { retry_after, ..told(429, why) });
            }
            Outcome::Refused { reason, why } => self.answer(connection, status_of(reason), why),
        }
    }

    /// Notes a connection that brought no request.
    pub(super) fn no_push_request(&mut self, from: SocketAddr, fault: PushFault, now: Now) {
        let reason = match fault {
            // Trusted by now, if a device left its address in between.
            PushFault::Source => Reason::UntrustedSource,
            PushFault::Handshake => Reason::TlsHandshake,
            PushFault::Request => Reason::MalformedPush,
        };
        self.accept(from, || Err(reason), now);
    }

    /// Answers the requests whose device has turned out to be there, or not to be.
    pub(super) fn settle_answers(&mut self, key: DeviceKey) {
        if self.unanswered.is_empty() {
            return;
        }
        let device = self.inventory.device(key);
        let is_here = device.is_some_and(|device| device.attachment.is_some());
        let mut settled = Vec::new();
        self.unanswered.retain(|one| {
            if one.device != key {
                return true;
            }
            let slot = device.and_then(|it| it.slots.iter().find(|it| it.server == one.server));
            let waits = is_here && slot.is_some_and(Slot::holds);
            if !waits {
                settled.push((one.connection, slot.is_some_and(Slot::is_sent)));
            }
            waits
        });
        for (connection, is_sent) in settled {
            if is_sent {
                self.answer(connection, 202, SENT);
            } else {
                self.answer(connection, 504, UNREACHABLE);
            }
        }
    }

    /// Answers the requests that waited long enough.
    pub(super) fn answers_due(&mut self, now: Now) {
        while let Some(oldest) = self.unanswered.front() {
            let (connection, due) = (oldest.connection, oldest.due);
            if due > now.uptime {
                return self.timers.set(Timer::Answers, due);
            }
            self.unanswered.pop_front();
            self.answer(connection, 504, UNREACHABLE);
        }
    }

    fn answer(&mut self, connection: ConnectionId, status: u16, why: &str) {
        self.respond(connection, told(status, why));
    }
}

const SENT: &str = "the push goes on to its device";
const UNREACHABLE: &str = "the device does not answer; the push waits for it";

/// What a request says, if it may say anything.
fn arrival<'a>(request: &PushRequest<'a>, token: Option<&Secret>) -> Result<Arrival<'a>, Reason> {
    if let Some(token) = token {
        if !ota_http::bearer(request.fields).is_some_and(|given| token.matches(given)) {
            return Err(Reason::Credentials);
        }
    }
    if request.method != "POST" {
        return Err(Reason::MalformedPush);
    }
    let push = HttpPush::decode(request.fields).map_err(|_| Reason::MalformedPush)?;
    if !push.is_notification {
        return Err(Reason::NotNotification);
    }
    if !push.is_for_dm {
        return Err(Reason::NotForDm);
    }
    // HTTP knows no transaction id, and connectionless receivers ignore it.
    Ok(Arrival {
        transaction_id: 0,
        device: push.gateway_header,
        body: request.body,
        bootstrap: None,
    })
}

fn status_of(reason: Reason) -> u16 {
    match reason {
        Reason::Repeat => 202,
        Reason::MalformedPush
        | Reason::NotNotification
        | Reason::NotForDm
        | Reason::NotForwardable
        | Reason::MalformedPackage0 => 400,
        Reason::UnknownDevice => 404,
        Reason::PushRate => 429,
        _ => 403,
    }
}

/// An answer that says in a line why it is what it is.
pub(super) fn told(status: u16, why: &str) -> Response {
    let body = format!("{why}\n").into_bytes();
    Response { status, content_type: Some("text/plain"), retry_after: None, body }
}
