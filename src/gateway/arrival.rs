//! A push arrives from the WAN: who it is from, and what is in its wrapping. The rest of its way
//! is the same for all, in [`forward`](super::forward).

use crate::gateway::Gateway;
use crate::gateway::device::DeviceKey;
use crate::gateway::event::Reason;
use crate::gateway::forward::Away;
use crate::gateway::health::Rival;
use crate::gateway::seam::Now;
use crate::proto::bootstrap::push::Received;
use crate::proto::notification::Notification;
use crate::proto::wsp::Push;
use std::net::{IpAddr, SocketAddr};

/// A push without its wrapping: what forwarding needs of it, however it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    /// WSP transaction id of what goes on.
    pub(super) transaction_id: u8,
    /// X-Oma-GwMO, if it is there.
    pub(super) device: Option<&'a str>,
    /// What should be Package #0.
    pub(super) body: &'a [u8],
    /// The bootstrap document instead, which is for the gateway itself.
    pub(super) bootstrap: Option<Received<'a>>,
}

/// What became of a push.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// It went on to its device, or was for the gateway itself and taken.
    Sent,
    /// It waits in a slot of its device.
    Held { key: DeviceKey, slot: usize, away: Away },
    /// It goes nowhere, and why.
    Refused { reason: Reason, why: &'static str },
}

impl Gateway {
    /// Takes a datagram from the WAN. Whatever becomes of it, nothing goes back.
    pub(super) fn push(&mut self, from: SocketAddr, datagram: &[u8], now: Now) {
        self.note_rival(from.ip().to_canonical(), datagram, now);
        self.accept(from, || Arrival::of_datagram(datagram), now);
    }

    /// Notes another gateway that takes us for an end device: what it sends comes from a LAN, and
    /// is a Package #0 for no other device.
    fn note_rival(&mut self, source: IpAddr, datagram: &[u8], now: Now) {
        let on_lan = self.inventory.is_device_address(source) || self.is_neighbour(source);
        if !on_lan {
            return;
        }
        let push = Push::decode(datagram).ok().filter(|push| push.gateway_header().is_none());
        let body = push.filter(|push| push.is_notification()).map(|push| push.body);
        let Some(package0) = body.and_then(|body| Notification::decode(body).ok()) else { return };
        let id = package0.server_id.to_owned();
        if self.management.has_account(&id) {
            return;
        }
        self.rival = Some(Rival { id, address: source, at: now.uptime });
    }

    fn is_neighbour(&self, source: IpAddr) -> bool {
        let mut interfaces = self.lan_interfaces.iter().flatten();
        interfaces.any(|interface| self.neighbours.contains_key(&(*interface, source)))
    }

    /// The way of every push. `read` is not called for a source that may not push.
    pub(super) fn accept<'p>(
        &mut self,
        from: SocketAddr,
        read: impl FnOnce() -> Result<Arrival<'p>, Reason>,
        now: Now,
    ) -> Outcome {
        self.metrics.counters.pushes += 1;
        self.metrics.last_push = Some(now.uptime);
        match self.check_source(from.ip()).and_then(|()| read()) {
            Ok(Arrival { bootstrap: Some(bootstrap), .. }) => {
                self.pushed_bootstrap(from, &bootstrap, now)
            }
            Ok(push) => self.forward(push, from, now),
            Err(reason) => self.refuse_push(reason, from),
        }
    }

    /// Whether pushes may come from an address.
    ///
    /// # Errors
    /// The reason why not.
    pub(super) fn check_source(&self, source: IpAddr) -> Result<(), Reason> {
        let source = source.to_canonical();
        if !self.options.trusts(source) {
            return Err(Reason::UntrustedSource);
        }
        if self.inventory.is_device_address(source) {
            return Err(Reason::FromLan);
        }
        Ok(())
    }
}

impl<'a> Arrival<'a> {
    fn of_datagram(datagram: &'a [u8]) -> Result<Self, Reason> {
        let push = Push::decode(datagram).map_err(|_| Reason::MalformedPush)?;
        let (transaction_id, body) = (push.transaction_id, push.body);
        let device = push.gateway_header();
        if !push.is_notification() {
            // A bootstrap of an end device is not forwarded: it is between the two.
            let bootstrap = Received::of_push(&push).filter(|_| device.is_none());
            let bootstrap = Some(bootstrap.ok_or(Reason::NotNotification)?);
            return Ok(Self { transaction_id, device, body, bootstrap });
        }
        if !push.is_for_dm() {
            return Err(Reason::NotForDm);
        }
        Ok(Self { transaction_id, device, body, bootstrap: None })
    }
}
