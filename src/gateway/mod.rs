//! PURE: what this product decides.
//!
//! ```text
//!                  Input                                   Output
//!   push from the WAN ──┐                              ┌── push to an end device
//!   request of a device ┤                              ├── answer to a request
//!   neighbour, lease ───┼─►  Gateway::handle(input,  ──┼── changes to make durable
//!   committed ──────────┤            now)              ├── neighbour to confirm
//!   timeout ────────────┘                              └── event for whoever watches
//! ```
//!
//! Contract: one [`handle`](Gateway::handle), then [`poll_output`](Gateway::poll_output) until
//! it is `None`, then wait for the next input or [`poll_timeout`](Gateway::poll_timeout).
//! `handle` cannot fail: each outcome is an output, a counter, a log line.
//!
//! Reads come from memory; the store is the log of truth. A fact that must outlive a restart
//! becomes a [`Change`](seam::Change); memory follows, and the answer that depends on it goes out, when
//! [`Input::Committed`] reports it on flash. A failed commit leaves memory as it was.

mod agenda;
pub mod alert;
mod arrival;
mod attach;
pub mod audit;
pub mod backup;
mod configured;
mod details;
pub mod device;
mod dialogue;
mod durable;
pub mod event;
pub mod forward;
pub mod health;
mod identity;
pub mod inventory;
pub mod journal;
mod links;
pub mod management;
mod mapping;
pub mod metrics;
pub mod policy;
mod push_request;
mod rule;
mod ruling;
pub mod seam;
pub mod store;
pub mod trigger;
pub mod view;

use crate::gateway::agenda::{Entropy, Outputs, Queued, Timer, Timers};
use crate::gateway::alert::WireProfile;
use crate::gateway::attach::LeaseRound;
use crate::gateway::audit::Draft;
use crate::gateway::device::{DeviceId, DeviceKey, Neighbour};
use crate::gateway::dialogue::{LanSession, SessionKey};
use crate::gateway::durable::PendingCommit;
use crate::gateway::event::{Event, EventKind, Reason};
use crate::gateway::health::{Facts, Rival};
use crate::gateway::inventory::Inventory;
use crate::gateway::journal::{Heed, Journal, Source};
use crate::gateway::management::{Management, OperationId};
use crate::gateway::metrics::Metrics;
use crate::gateway::policy::{DeviceAuth, Policy, Verify};
use crate::gateway::push_request::Unanswered;
use crate::gateway::ruling::Answer;
use crate::gateway::seam::{
    CommitId, ConnectionId, Input, LanId, MacAddress, Now, Output, Response, StoreError,
};
use crate::gateway::store::Records;
use crate::limits;
use crate::proto::auth::Secret;
use crate::proto::bootstrap::Profile;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// What the gateway is told at its start. The configuration made it valid.
#[derive(Clone, Debug)]
pub struct Options {
    /// `[gateway] id`: our DM server id towards end devices.
    pub id: String,
    /// `[gateway] public-address`.
    pub public_address: Option<String>,
    /// `[gateway] share-address`.
    pub share_address: bool,
    /// `[gateway] wire-profile`.
    pub wire_profile: WireProfile,
    /// Time between pushes of one mapping at the permitted rate; `None` sets no bound.
    pub push_interval: Option<Duration>,
    /// How long a trigger is held.
    pub trigger_expiry: Duration,
    /// `[wan] trusted-sources`; empty trusts any.
    pub trusted_sources: Vec<Prefix>,
    /// `[wan.http-push] token-file`: what each push over HTTP has to bring, if given.
    pub push_token: Option<Secret>,
    /// `[[lan]]`.
    pub lans: Vec<LanOptions>,
    /// `[[device]]`.
    pub accounts: Vec<Account>,
    /// The gateway as a DM client.
    pub management: management::Options,
}

/// One `[[lan]]`.
#[derive(Clone, Debug)]
pub struct LanOptions {
    /// `name`.
    pub name: Arc<str>,
    /// `interface`.
    pub interface: String,
    /// `policy`.
    pub policy: Policy,
    /// Whether `[gateway] locked` has the policy: DM servers may not set it.
    pub policy_locked: bool,
    /// `detect`.
    pub detect: Detect,
    /// `verify`.
    pub verify: Verify,
    /// `device-auth`.
    pub device_auth: DeviceAuth,
    /// `push-port`: the UDP port of the end devices.
    pub push_port: u16,
    /// Time between requests of one address at the sustained rate; `None` sets no bound.
    pub request_interval: Option<Duration>,
    /// Requests of one address at once.
    pub request_burst: u32,
    /// `listen`: where devices find our DM server.
    pub listen: Vec<SocketAddr>,
    /// `trusted-link`: whether nobody else listens there, so that secrets may go in clear.
    pub trusted_link: bool,
    /// `provision`: whether devices without an account are given one when they come.
    pub provision: bool,
    /// `bootstrap-profile` of the devices.
    pub bootstrap_profile: Profile,
    /// `bootstrap-listen`: where devices fetch their account over HTTPS, if the link is not
    /// trusted.
    pub bootstrap_listen: Vec<SocketAddr>,
}

/// `detect`: what makes a device known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Detect {
    /// The kernel's neighbour table.
    pub neighbours: bool,
    /// The DHCP lease file.
    pub leases: bool,
    /// The `[[device]]` sections with an address.
    pub configured: bool,
}

/// One `[[device]]`.
#[derive(Clone, Debug)]
pub struct Account {
    /// `id`.
    pub id: DeviceId,
    /// `lan`.
    pub lan: Option<LanId>,
    /// `address`.
    pub address: Option<IpAddr>,
    /// `user`, by default the id.
    pub user: String,
    /// What the device proves itself by.
    pub secret: Option<Secret>,
    /// What we prove ourselves to the device by.
    pub server_secret: Option<Secret>,
    /// What proves a bootstrap to the device: its user's pin.
    pub pin: Option<Secret>,
}

/// A block of network addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// An address in it.
    pub address: IpAddr,
    /// Leading bits that count: at most 32 or 128.
    pub length: u8,
}

impl Prefix {
    /// Whether `ip` is in the block.
    pub fn contains(self, ip: IpAddr) -> bool {
        fn bits(ip: IpAddr) -> (u128, u32) {
            match ip {
                IpAddr::V4(ip) => (u128::from(u32::from(ip)) << 96, 32),
                IpAddr::V6(ip) => (u128::from(ip), 128),
            }
        }
        let ((own, family), (other, other_family)) = (bits(self.address), bits(ip));
        let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or_default();
        family == other_family && (own ^ other) & mask == 0
    }
}

impl Options {
    fn trusts(&self, source: IpAddr) -> bool {
        self.trusted_sources.is_empty()
            || self.trusted_sources.iter().any(|prefix| prefix.contains(source))
    }

    fn account(&self, normal: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id.normal() == normal)
    }
}

/// The one top state machine.
#[derive(Debug)]
pub struct Gateway {
    options: Options,
    inventory: Inventory,
    management: Management,
    interfaces: HashMap<u32, Interface>,
    /// The interface of each LAN, while it exists.
    lan_interfaces: Vec<Option<u32>>,
    neighbours: HashMap<(u32, IpAddr), Neighbour>,
    neighbours_available: bool,
    dump: u32,
    sessions: HashMap<SessionKey, LanSession>,
    /// Pushes over HTTP that are not answered yet, the oldest first.
    unanswered: VecDeque<Unanswered>,
    request_sources: HashMap<(LanId, IpAddr), Duration>,
    pending: VecDeque<PendingCommit>,
    /// Lease files of which a part is still to be looked at.
    lease_rounds: HashMap<LanId, LeaseRound>,
    /// Operators who wait for commits.
    answers: HashMap<CommitId, Answer>,
    /// Operations under way, and how things were before.
    drafts: HashMap<OperationId, Draft>,
    /// Identities that pending commits give to devices.
    naming: HashMap<Arc<str>, DeviceKey>,
    next_commit: u64,
    store_error: Option<StoreError>,
    /// What the system knew when somebody asked last.
    facts: Facts,
    /// When pushes that the kernel lost were noticed last.
    lost_at: Option<Duration>,
    rival: Option<Rival>,
    down: links::Down,
    timers: Timers,
    outputs: Outputs,
    datagrams: Vec<u8>,
    metrics: Metrics,
    entropy: Entropy,
    hash_key: (u64, u64),
    observed: bool,
    journal: Journal,
    /// The uptime of the input that is being handled.
    moment: Duration,
    scratch: String,
}

#[derive(Debug)]
struct Interface {
    lan: Option<LanId>,
    running: bool,
    mac: Option<MacAddress>,
}

impl Gateway {
    /// A gateway that knows what the store had kept. `seed` comes from the system's entropy.
    pub fn new(options: Options, stored: &Records, seed: [u8; 32], now: Now) -> Self {
        let mut entropy = Entropy { seed, counter: 0 };
        let hash_key = (entropy.u64(), entropy.u64());
        let mut gateway = Self {
            lan_interfaces: vec![None; options.lans.len()],
            management: Management::new(&options),
            options,
            inventory: Inventory::default(),
            interfaces: HashMap::new(),
            neighbours: HashMap::new(),
            neighbours_available: true,
            dump: 0,
            sessions: HashMap::new(),
            unanswered: VecDeque::new(),
            request_sources: HashMap::new(),
            pending: VecDeque::new(),
            lease_rounds: HashMap::new(),
            answers: HashMap::new(),
            drafts: HashMap::new(),
            naming: HashMap::new(),
            next_commit: 0,
            store_error: None,
            facts: Facts::default(),
            lost_at: None,
            rival: None,
            down: links::Down::default(),
            timers: Timers::default(),
            outputs: Outputs::default(),
            datagrams: Vec::new(),
            metrics: Metrics::default(),
            entropy,
            hash_key,
            observed: false,
            journal: Journal::default(),
            moment: now.uptime,
            scratch: String::new(),
        };
        gateway.restore(stored, now);
        gateway.configured_devices(|_| true, now);
        gateway.resume_management(now);
        // What the store had is no change.
        gateway.outputs.0.retain(|output| !matches!(output, Queued::Audit(_)));
        gateway
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input<'_>, now: Now) {
        self.moment = now.uptime;
        if self.outputs.0.is_empty() {
            self.datagrams.clear();
        }
        match input {
            Input::Push { from, datagram } => self.push(from, datagram, now),
            Input::Request { connection, lan, from, local, request } => {
                self.request(connection, lan, from, local, request, now);
            }
            Input::BadRequest { lan, from } => self.bad_request(lan, from),
            Input::PushRequest { connection, from, request } => {
                self.push_request(connection, from, request, now);
            }
            Input::NoPushRequest { from, fault } => self.no_push_request(from, fault, now),
            Input::BootstrapRequest { connection, lan, from, request } => {
                self.bootstrap_request(connection, lan, from.ip(), request, now);
            }
            Input::NoBootstrapRequest { lan, from, handshake } => {
                self.no_bootstrap_request(lan, from.ip(), handshake);
            }
            Input::Neighbour(event) => self.neighbour_event(event, now),
            Input::Link(event) => self.link_event(event, now),
            Input::Leases { lan, leases } => self.leases(lan, leases, now),
            Input::Committed { commit, result } => self.committed(commit, result, now),
            Input::Called { call, result } => self.called(call, result, now),
            Input::BootstrapFile { name, document } => self.bootstrap_file(name, document, now),
            Input::Card(document) => self.card(document, now),
            Input::Operate { operation, request } => self.operate(operation, request, now),
            Input::Facts(facts) => self.take_facts(facts, now),
            Input::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<Output<'_>> {
        Some(match self.outputs.0.pop_front()? {
            Queued::Push { lan, to, range } => {
                Output::Push { lan, to, datagram: &self.datagrams[range] }
            }
            Queued::Response { connection, response } => Output::Response { connection, response },
            Queued::Commit { commit, changes } => Output::Commit { commit, changes },
            Queued::Probe { lan, interface, address } => Output::Probe { lan, interface, address },
            Queued::Call { call, request } => Output::Call { call, request },
            Queued::Operated { operation, result } => Output::Operated { operation, result },
            Queued::Audit(audit) => Output::Audit(*audit),
            Queued::Event(event) => Output::Event(*event),
            Queued::Log(event, held_back) => Output::Log { event: *event, held_back },
        })
    }

    /// The uptime at which [`Input::Timeout`] is wanted next.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.queue.first().map(|(at, _)| *at)
    }

    /// Sets whether anybody watches: without watchers no [`Output::Event`] is made.
    pub fn observe(&mut self, observed: bool) {
        self.observed = observed;
    }

    /// Sets which events are to be lines in the log; none before it is called.
    pub fn log(&mut self, level: log::LevelFilter) {
        self.journal.set_level(level);
    }

    fn timeout(&mut self, now: Now) {
        // The rest is due at once again: pushes get their turn between.
        for _ in 0..limits::AT_A_TIME {
            let Some(timer) = self.timers.take_due(now.uptime) else { return };
            match timer {
                Timer::Ask(key) => self.ask(key, now),
                Timer::Confirm(key) => self.confirm_due(key, now),
                Timer::Expire(key) => self.expire(key, now),
                Timer::Unconfirmed(key) => self.unconfirmed_due(key, now),
                Timer::Answers => self.answers_due(now),
                Timer::Sessions => self.sessions_due(now),
                Timer::Leases(lan) => self.leases_due(lan, now),
                Timer::Provision(key) => self.provision_due(key, now),
                Timer::Manage => self.manage(now),
                Timer::Journal => self.journal_due(now),
            }
        }
    }

    // --- Small helpers of the other files ---------------------------------------------------

    fn respond(&mut self, connection: ConnectionId, response: Response) {
        self.outputs.0.push_back(Queued::Response { connection, response });
    }

    fn probe(&mut self, lan: LanId, address: IpAddr) {
        let interface = self.lan_interface(lan).unwrap_or_default();
        self.outputs.0.push_back(Queued::Probe { lan, interface, address });
    }

    fn lan_interface(&self, lan: LanId) -> Option<u32> {
        self.lan_interfaces[lan.0]
    }

    fn neighbour(&self, lan: LanId, ip: IpAddr) -> Option<&Neighbour> {
        self.neighbours.get(&(self.lan_interface(lan)?, ip))
    }

    /// Whether an event is worth making. To be asked once for each.
    fn heed(&mut self, kind: EventKind, reason: Option<Reason>, lan: Option<&Arc<str>>) -> Heed {
        let source = Source { kind, reason, lan: lan.cloned() };
        let (log, over) = self.journal.admits(source, self.moment);
        if let Some(over) = over {
            self.timers.set_no_later(Timer::Journal, over);
        }
        Heed { watchers: self.observed, log }
    }

    fn tell(&mut self, event: Event) {
        let heed = self.heed(event.kind, event.reason, event.lan.as_ref());
        self.tell_those(heed, event);
    }

    fn tell_those(&mut self, heed: Heed, event: Event) {
        if heed.log {
            self.outputs.0.push_back(Queued::Log(Box::new(event.clone()), 0));
        }
        if heed.watchers {
            self.outputs.0.push_back(Queued::Event(Box::new(event)));
        }
    }

    /// Tells the log how much it was not told.
    fn journal_due(&mut self, now: Now) {
        let (over, next) = self.journal.due(now.uptime);
        for (Source { kind, reason, lan }, held_back) in over {
            let what = reason.map_or_else(|| kind.entry().what, Reason::sentence);
            let why = format!("{held_back} more in the last minute: {what}");
            let event = Event { lan, reason, ..Event::new(kind, why) };
            self.outputs.0.push_back(Queued::Log(Box::new(event), held_back));
        }
        if let Some(next) = next {
            self.timers.set(Timer::Journal, next);
        }
    }

    /// Tells of something that concerns a device; `why` is made only if somebody listens.
    fn tell_of(
        &mut self,
        kind: EventKind,
        key: DeviceKey,
        slot: Option<usize>,
        address: Option<SocketAddr>,
        why: impl FnOnce() -> String,
    ) {
        self.tell_because(kind, None, key, slot, address, why);
    }

    fn tell_because(
        &mut self,
        kind: EventKind,
        reason: Option<Reason>,
        key: DeviceKey,
        slot: Option<usize>,
        address: Option<SocketAddr>,
        why: impl FnOnce() -> String,
    ) {
        let Some(device) = self.inventory.device(key) else { return };
        let (id, lan) = (device.record.id.shared(), device.lan);
        if kind == EventKind::Provisioned {
            self.audit_event(kind, &id, "it has its account for the gateway");
        }
        let lan = lan.map(|lan| self.options.lans[lan.0].name.clone());
        let heed = self.heed(kind, reason, lan.as_ref());
        let Some(device) = self.inventory.device(key).filter(|_| !heed.nobody()) else { return };
        let server = slot.and_then(|slot| device.slots.get(slot)).map(|slot| slot.server.clone());
        let device = Some(device.record.id.shared());
        let event = Event { device, server, lan, address, reason, ..Event::new(kind, why()) };
        self.tell_those(heed, event);
    }

    fn tell_of_peer(&mut self, reason: Reason, lan: LanId, peer: IpAddr, claim: Option<&DeviceId>) {
        let (kind, lan) = (EventKind::Refused, self.options.lans[lan.0].name.clone());
        let heed = self.heed(kind, Some(reason), Some(&lan));
        if heed.nobody() {
            return;
        }
        let (address, why) = (Some(SocketAddr::new(peer, 0)), reason.to_string());
        let (device, lan, reason) = (claim.map(DeviceId::shared), Some(lan), Some(reason));
        let event = Event { device, lan, address, reason, ..Event::new(kind, why) };
        self.tell_those(heed, event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_contains_its_own_family_only() {
        let prefix = |address: &str, length| Prefix { address: address.parse().unwrap(), length };
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(prefix("10.1.0.0", 16).contains(ip("10.1.2.3")));
        assert!(!prefix("10.1.0.0", 16).contains(ip("10.2.0.0")));
        assert!(prefix("0.0.0.0", 0).contains(ip("192.0.2.1")));
        assert!(!prefix("0.0.0.0", 0).contains(ip("2001:db8::1")));
        assert!(prefix("2001:db8::", 32).contains(ip("2001:db8:ffff::")));
        assert!(prefix("192.0.2.1", 32).contains(ip("192.0.2.1")));
        assert!(!prefix("192.0.2.1", 32).contains(ip("192.0.2.2")));
    }
}
