//! A push came from the WAN: refuse it, forward it, or hold it for its device.
//!
//! The header X-Oma-GwMO picks the device, the mapping (server, device) authorises. The digest
//! in Package #0 is between server and device; the gateway cannot check it and must not touch
//! it: the body goes on octet for octet, only the header is removed. (GwMO change request,
//! 8.6.1.3; OMA-TS-DM_Notification 1.2.1, 6.)
//!
//! ```text
//!   datagram ─ source? ─ WSP? ─┐
//!                              ├─ for DM? ─ header? ─ Package #0? ─ mapped? ─ repeat? ─ rate?
//!   request ── source? ─ HTTP? ┘     │         │           │          │         │        │
//!                                    └─────────┴─ refused: a counter, an event ─┴────────┘
//!   then:  device here, address verified ─► sent, kept until confirmed or 15 s
//!          else                          ─► held: the newest trigger of each server
//! ```
//!
//! A datagram is never answered; what a request is answered, `push_request` says.

use crate::gateway::Gateway;
use crate::gateway::agenda::Timer;
use crate::gateway::alert::ServerId;
use crate::gateway::arrival::{Arrival, Outcome};
use crate::gateway::device::{Address, Device, DeviceKey, normalise};
use crate::gateway::event::{EventKind, Reason};
use crate::gateway::policy::{Policy, Verify};
pub use crate::gateway::rule::Rule;
use crate::gateway::seam::{LanId, NeighbourState, Now};
use crate::gateway::trigger::{Slot, TriggerState, is_repeat, remember};
use crate::limits;
use crate::proto::notification::Notification;
use crate::proto::wsp;
use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

/// Why a permitted push cannot be sent at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// The device is not attached.
    Detached,
    /// No address of the device is known.
    NoAddress,
    /// The kernel does not know who is at the address at the moment; it is being asked.
    Unconfirmed(IpAddr),
}

impl Away {
    /// What it says, for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Detached => "the device is away",
            Self::NoAddress => "no address of the device is known",
            Self::Unconfirmed(_) => "whether the device still has its address is being checked",
        }
    }
}

impl Gateway {
    /// Refuses a push whose source and form are right, or has it sent or held.
    pub(super) fn forward(&mut self, push: Arrival<'_>, from: SocketAddr, now: Now) -> Outcome {
        let Some(header) = push.device else {
            return self.package0(from, push.body, now);
        };
        let Ok(notification) = Notification::decode(push.body) else {
            return self.refuse_push(Reason::MalformedPackage0, from);
        };
        let server = notification.server_id;
        let key = self.device_of_header(header);
        let (rule, key) = match (self.judge(server, key), key) {
            (Ok(rule), Some(key)) => (rule, key),
            (Ok(_), None) => return self.refuse_push(Reason::UnknownDevice, from),
            (Err(rule), _) => {
                return self.refuse_pair(rule.reason(), rule.sentence(), from, header, server);
            }
        };
        let (slot, until) = match self.take_turn(key, server, push, now) {
            Ok(turn) => turn,
            Err(reason) => {
                return self.refuse_pair(reason, reason.sentence(), from, header, server);
            }
        };
        match self.target(key) {
            Ok((lan, to)) => {
                self.metrics.counters.forwarded += 1;
                self.send_trigger(key, slot, lan, to, until, now);
                self.tell_of(EventKind::Forwarded, key, Some(slot), Some(to), || {
                    let why = match rule {
                        Rule::Account => "the gateway has an account with this server",
                        Rule::Added => "an operator mapped this server",
                        _ => "the device named this server",
                    };
                    format!("{why}: the trigger goes on, without the header")
                });
                Outcome::Sent
            }
            Err(away) => {
                self.hold(key, slot, away, now);
                Outcome::Held { key, slot, away }
            }
        }
    }

    /// Puts a push that may pass into its slot: which, and until when it is worth delivering.
    fn take_turn(
        &mut self,
        key: DeviceKey,
        server: &str,
        push: Arrival<'_>,
        now: Now,
    ) -> Result<(usize, Duration), Reason> {
        let hash = self.hash(push.body);
        let device = self.inventory.device_mut(key).ok_or(Reason::UnknownDevice)?;
        let slot = slot_of(device, server).ok_or(Reason::UnknownServer)?;
        if is_repeat(device, hash, now.uptime) {
            return Err(Reason::Repeat);
        }
        if let Some(interval) = self.options.push_interval {
            if !device.slots[slot].take_token(interval, now.uptime) {
                return Err(Reason::PushRate);
            }
        }
        remember(device, hash, now.uptime);
        let until = now.uptime + self.options.trigger_expiry;
        let newest = &mut device.slots[slot];
        newest.transaction_id = push.transaction_id;
        newest.package.clear();
        newest.package.extend_from_slice(push.body);
        newest.state = TriggerState::Held { until };
        Ok((slot, until))
    }

    /// The device that an X-Oma-GwMO value names, if this gateway is the last hop to it.
    fn device_of_header(&mut self, header: &str) -> Option<DeviceKey> {
        let mut normal = std::mem::take(&mut self.scratch);
        let key = self.find_by_header(header, &mut normal);
        self.scratch = normal;
        key
    }

    /// The same, with memory to work in.
    pub(super) fn find_by_header(&self, header: &str, normal: &mut String) -> Option<DeviceKey> {
        let route = wsp::route(header).filter(|route| !route.has_further_hops)?;
        normalise(route.device, normal).then(|| self.inventory.find(normal)).flatten()
    }

    /// Whether pushes of `server` for the device may pass: the rule that allows it, or the one
    /// against it. `map explain` and the live path both end here.
    pub(super) fn judge(&self, server: &str, key: Option<DeviceKey>) -> Result<Rule, Rule> {
        let device = key.and_then(|key| self.inventory.device(key)).ok_or(Rule::DeviceUnknown)?;
        let ruling = &device.record.ruling;
        if ruling.blocked {
            return Err(Rule::Blocked);
        }
        let lan = device.lan.ok_or(Rule::LanGone)?;
        if ruling.removes(server) {
            return Err(Rule::Removed);
        }
        if ruling.adds(server) {
            return Ok(Rule::Added);
        }
        if self.options.lans[lan.0].policy != Policy::Transparent {
            let has = self.management.has_account(server);
            return if has { Ok(Rule::Account) } else { Err(Rule::NoAccount) };
        }
        if !device.names(server) {
            let known = self.inventory.names_server(server);
            return Err(if known { Rule::NotNamed } else { Rule::ServerUnknown });
        }
        if device.record.list.as_ref().is_none_or(|list| list.policy != Policy::Transparent) {
            return Err(Rule::ListOutdated);
        }
        Ok(Rule::Mapped)
    }

    /// Where the device can be reached this instant: its best address at which it is verified.
    pub(super) fn target(&self, key: DeviceKey) -> Result<(LanId, SocketAddr), Away> {
        let device = self.inventory.device(key).ok_or(Away::Detached)?;
        let lan = device.lan.ok_or(Away::Detached)?;
        if device.attachment.is_none() {
            return Err(Away::Detached);
        }
        match device.best_address(|address| self.is_verified(device, lan, address)) {
            Some(address) => Ok((lan, self.push_address(lan, address.ip))),
            None => Err(device
                .best_address(|_| true)
                .map_or(Away::NoAddress, |address| Away::Unconfirmed(address.ip))),
        }
    }

    /// Whether `address` belongs to the device by the kernel's neighbour table, or the LAN asks
    /// for no such proof.
    fn is_verified(&self, device: &Device, lan: LanId, address: &Address) -> bool {
        if self.options.lans[lan.0].verify == Verify::None {
            return true;
        }
        self.neighbour(lan, address.ip).is_some_and(|neighbour| {
            neighbour.is_usable() && neighbour.mac.is_some_and(|mac| device.has_hardware(mac))
        })
    }

    /// The push port at `ip`, with the interface as scope where the address needs one.
    pub(super) fn push_address(&self, lan: LanId, ip: IpAddr) -> SocketAddr {
        let port = self.options.lans[lan.0].push_port;
        match ip {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                let scope = self.lan_interface(lan).unwrap_or_default();
                SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope))
            }
            ip => SocketAddr::new(ip, port),
        }
    }

    /// Sends the trigger in a slot and keeps it until the device proves to be there.
    fn send_trigger(
        &mut self,
        key: DeviceKey,
        slot: usize,
        lan: LanId,
        to: SocketAddr,
        until: Duration,
        now: Now,
    ) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        let trigger = &mut device.slots[slot];
        trigger.state = TriggerState::Sent { to: to.ip(), at: now.uptime, until };
        let start = self.datagrams.len();
        wsp::encode_notification(
            &mut self.datagrams,
            trigger.transaction_id,
            None,
            &trigger.package,
        );
        let range = start..self.datagrams.len();
        if !std::mem::replace(&mut device.confirming, true) {
            self.timers.set(Timer::Confirm(key), now.uptime + limits::CONFIRM);
        }
        self.outputs.push_datagram(lan, to, range);
        self.confirm_presence(key, lan, to.ip(), now);
    }

    /// Has the kernel check that a device is still there. Left to itself it would call the entry
    /// REACHABLE for most of a minute after the device vanished; it would even make a STALE one
    /// REACHABLE seconds after our datagram, because of TCP traffic before it.
    fn confirm_presence(&mut self, key: DeviceKey, lan: LanId, ip: IpAddr, now: Now) {
        if self.options.lans[lan.0].verify == Verify::None {
            return;
        }
        // An entry made by hand is beyond doubt.
        let doubtful = self.neighbour(lan, ip).is_some_and(|neighbour| {
            matches!(neighbour.state, NeighbourState::Reachable | NeighbourState::Stale)
        });
        if doubtful {
            self.look_for(key, lan, ip, now);
        }
    }

    /// Has the kernel look for a device, unless it was told to just now.
    fn look_for(&mut self, key: DeviceKey, lan: LanId, ip: IpAddr, now: Now) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        if device.probed.is_none_or(|at| now.uptime >= at + PROBE_INTERVAL) {
            device.probed = Some(now.uptime);
            self.probe(lan, ip);
        }
    }

    fn hold(&mut self, key: DeviceKey, slot: usize, away: Away, now: Now) {
        self.metrics.counters.held += 1;
        self.timers.set_no_later(Timer::Expire(key), now.uptime + self.options.trigger_expiry);
        if let Away::Unconfirmed(ip) = away {
            if let Some(device) = self.inventory.device(key) {
                if let Some(lan) = device.lan {
                    self.look_for(key, lan, ip, now);
                }
            }
        }
        self.tell_of(EventKind::Held, key, Some(slot), None, || {
            format!("{}; the newest trigger of each server is kept", away.sentence())
        });
    }

    /// Sends what is held for a device, if it can be reached now.
    pub(super) fn release(&mut self, key: DeviceKey, now: Now) {
        let Some(device) = self.inventory.device(key) else { return };
        if !device.slots.iter().any(Slot::holds) {
            return;
        }
        self.expire(key, now);
        let Ok((lan, to)) = self.target(key) else { return };
        let count = self.inventory.device(key).map_or(0, |device| device.slots.len());
        for slot in 0..count {
            let Some(device) = self.inventory.device(key) else { return };
            let TriggerState::Held { until } = device.slots[slot].state else { continue };
            if self.judge(device.slots[slot].server.as_str(), Some(key)).is_err() {
                continue;
            }
            self.metrics.counters.released += 1;
            self.send_trigger(key, slot, lan, to, until, now);
            self.tell_of(EventKind::Released, key, Some(slot), Some(to), || {
                "the device is back: the trigger that waited goes on".to_owned()
            });
        }
        self.settle_answers(key);
    }

    /// The device's neighbour entry at `ip` was confirmed just now: what was sent there has
    /// arrived.
    pub(super) fn confirmed(&mut self, key: DeviceKey, ip: IpAddr) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        device.probed = None;
        for slot in &mut device.slots {
            if matches!(slot.state, TriggerState::Sent { to, .. } if to == ip) {
                slot.state = TriggerState::None;
            }
        }
    }

    /// The device proved not to be where the triggers went: they wait again.
    pub(super) fn recall(&mut self, key: DeviceKey, now: Now) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        device.probed = None;
        let mut recalled = Vec::new();
        for (index, slot) in device.slots.iter_mut().enumerate() {
            if let TriggerState::Sent { until, .. } = slot.state {
                slot.state = TriggerState::Held { until };
                recalled.push((index, until));
            }
        }
        for (slot, until) in recalled {
            self.metrics.counters.held += 1;
            self.timers.set_no_later(Timer::Expire(key), until);
            self.tell_of(EventKind::Held, key, Some(slot), None, || {
                "the trigger went out just before the device vanished: it is kept".to_owned()
            });
        }
        self.release(key, now);
    }

    /// Fifteen seconds after a trigger went out and nothing spoke against it, it is dropped.
    pub(super) fn confirm_due(&mut self, key: DeviceKey, now: Now) {
        let Some(device) = self.inventory.device_mut(key) else { return };
        let mut next = None;
        for slot in &mut device.slots {
            if let TriggerState::Sent { at, .. } = slot.state {
                let due = at + limits::CONFIRM;
                if due <= now.uptime {
                    slot.state = TriggerState::None;
                } else {
                    next = Some(next.map_or(due, |next: Duration| next.min(due)));
                }
            }
        }
        device.confirming = next.is_some();
        if let Some(due) = next {
            self.timers.set(Timer::Confirm(key), due);
        }
    }

    /// Drops what was held for a device too long.
    pub(super) fn expire(&mut self, key: DeviceKey, now: Now) {
        let count = self.inventory.device(key).map_or(0, |device| device.slots.len());
        for index in 0..count {
            let Some(device) = self.inventory.device_mut(key) else { return };
            let slot = &mut device.slots[index];
            let TriggerState::Held { until } = slot.state else { continue };
            if until > now.uptime {
                self.timers.set_no_later(Timer::Expire(key), until);
            } else {
                slot.state = TriggerState::None;
                self.metrics.refuse(Reason::TriggerExpired);
                self.tell_of(EventKind::Expired, key, Some(index), None, || {
                    Reason::TriggerExpired.to_string()
                });
            }
        }
    }

    pub(super) fn refuse_push(&mut self, reason: Reason, from: SocketAddr) -> Outcome {
        self.refuse_named(reason, reason.sentence(), from, None)
    }

    /// Refuses a push that names a device and a server.
    fn refuse_pair(
        &mut self,
        reason: Reason,
        why: &'static str,
        from: SocketAddr,
        device: &str,
        server: &str,
    ) -> Outcome {
        self.refuse_named(reason, why, from, Some((device, server)))
    }

    fn refuse_named(
        &mut self,
        reason: Reason,
        why: &'static str,
        from: SocketAddr,
        pair: Option<(&str, &str)>,
    ) -> Outcome {
        self.metrics.refuse(reason);
        self.metrics.counters.pushes_refused += 1;
        let heed = self.heed(EventKind::Refused, Some(reason), None);
        if !heed.nobody() {
            let (device, server) = pair.unzip();
            let event = super::event::Event {
                kind: EventKind::Refused,
                device: device.map(Into::into),
                server: server.and_then(|server| ServerId::new(server).ok()),
                lan: None,
                address: Some(from),
                reason: Some(reason),
                code: None,
                why: why.to_owned(),
            };
            self.tell_those(heed, event);
        }
        Outcome::Refused { reason, why }
    }

    /// A hash of the octets that nobody outside can aim at.
    fn hash(&self, octets: &[u8]) -> u64 {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u64(self.hash_key.0);
        hasher.write_u64(self.hash_key.1);
        hasher.write(octets);
        hasher.finish()
    }
}

/// A device that the kernel looks for is not looked for again within this.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The place for a server's triggers, made if there is none: servers that may push without being
/// named are those of the gateway's own accounts.
fn slot_of(device: &mut Device, server: &str) -> Option<usize> {
    let known = device.slots.iter().position(|slot| slot.server.as_str() == server);
    known.or_else(|| {
        device.slots.push(Slot::new(ServerId::new(server).ok()?));
        Some(device.slots.len() - 1)
    })
}
