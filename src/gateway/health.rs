//! What is wrong at the moment, each with its stable code, its cause and the next step.
//!
//! Part of it the gateway knows by itself; the rest are [`Facts`] that only the system has, as
//! they were when somebody last asked.

use crate::codes::{self, Code, Trouble};
use crate::gateway::Gateway;
use crate::gateway::policy::Verify;
use crate::gateway::seam::{LanId, MacAddress, Now};
use crate::gateway::view::{Health, Lan, Status, current_conflict};
use crate::limits;
use crate::proto::tree::timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How much something that is wrong matters.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Everything works; somebody should look.
    Warn,
    /// Something does not work.
    Fail,
}

/// One line of health.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct HealthLine {
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// The DM server whose session failed, if that is it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

/// What only the system knows, as it was at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether a time server keeps the clock; `None` where that cannot be told.
    pub synchronised: Option<bool>,
    /// The disk of the state directory.
    pub disk: Option<Disk>,
    /// Where the daemon listens, or is to.
    pub sockets: Vec<Socket>,
    /// `[wan] interface`, and whether it is there with a carrier.
    pub wan: Option<(String, bool)>,
    /// Pushes that the kernel threw away since the start, on their way in or out.
    pub lost: u64,
    /// Whether the next start begins with a factory reset.
    pub reset_ordered: bool,
    /// What is wrong with programs that are to be told of events, the latest first.
    pub hooks: Vec<String>,
}

/// A disk.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Disk {
    /// Its size in octets.
    pub size: u64,
    /// What the daemon may still write, in octets.
    pub free: u64,
    /// Files that may still be made; `None` where the file system counts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
}

impl Disk {
    /// Whether it is full, or nearly.
    pub fn trouble(&self) -> Option<(Code, String)> {
        let mib = |octets: u64| octets as f64 / f64::from(1 << 20);
        let (free, size) = (mib(self.free), mib(self.size));
        let room = format!("{free:.1} of {size:.0} MiB are free");
        if self.free < limits::DISK_FULL || self.files == Some(0) {
            let room = if self.files == Some(0) { "no more files can be made" } else { &room };
            return Some((
                codes::DISK_FULL,
                format!("the disk of the state directory is full: {room}"),
            ));
        }
        if self.free < limits::DISK_LOW || self.files.is_some_and(|it| it < limits::FILES_LOW) {
            let what = "the disk of the state directory is nearly full";
            return Some((codes::DISK_LOW, format!("{what}: {room}")));
        }
        None
    }
}

/// Something that the daemon listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// What comes there.
    pub kind: SocketKind,
    /// The LAN that it is for, if it is for one.
    pub lan: Option<String>,
    /// Its address and port.
    pub address: SocketAddr,
    /// Whether it is open; else its interface or address is waited for.
    pub open: bool,
}

/// What comes to a [`Socket`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum SocketKind {
    /// Pushes, over UDP.
    Push,
    /// Pushes over HTTP.
    HttpPush,
    /// Sessions of the end devices of a LAN.
    Lan,
    /// Their bootstraps.
    Bootstrap,
}

/// A [`Socket`], as `status` shows it.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct SocketView {
    /// What comes there.
    pub kind: SocketKind,
    /// The LAN that it is for, if it is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lan: Option<String>,
    /// Its address and port.
    pub address: String,
    /// Whether it is open; else its interface or address is waited for.
    pub open: bool,
}

impl SocketView {
    pub(super) fn of(socket: &Socket) -> Self {
        let Socket { kind, lan, address, open } = socket;
        Self { kind: *kind, lan: lan.clone(), address: address.to_string(), open: *open }
    }
}

/// The wall clock.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct ClockView {
    /// Seconds since 1970.
    pub unix: u64,
    /// Whether a time server keeps it; absent where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub synchronised: Option<bool>,
}

/// Why a call or a session failed: by its code, and in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// What kind of failure it is.
    pub code: Code,
    /// Why, for people.
    pub why: String,
}

impl Failed {
    /// A failure of that kind.
    pub fn new(code: Code, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

impl<T: Into<String>> From<T> for Failed {
    fn from(why: T) -> Self {
        Self::new(codes::SESSION, why)
    }
}

/// Another gateway that takes us for an end device.
#[derive(Clone, Debug)]
pub(super) struct Rival {
    pub(super) id: String,
    pub(super) address: IpAddr,
    pub(super) at: Duration,
}

impl Gateway {
    /// Takes what the system knows.
    pub(super) fn take_facts(&mut self, facts: Facts, now: Now) {
        if facts.lost > self.facts.lost {
            self.lost_at = Some(now.uptime);
        }
        self.tell_of_wan_link(&facts);
        self.facts = facts;
        self.tell_of_lan_links(None);
    }

    /// `name` of a `[[lan]]`.
    pub fn lan_name(&self, lan: LanId) -> &str {
        &self.options.lans[lan.0].name
    }

    /// Where the account with a server goes, and whether that may be without TLS.
    pub fn server_url(&self, server: &str) -> Option<(String, bool)> {
        let url = self.management.account_url(server)?;
        let configured = self.options.management.servers.iter().find(|it| it.id == server);
        Some((url, configured.is_some_and(|it| it.allow_http)))
    }

    /// The code of what made the last session with a server fail.
    pub fn server_failure(&self, server: &str) -> Option<Code> {
        self.management.failure(server).map(|failed| failed.code)
    }

    /// Wanted servers that an operator would have to approve.
    pub(super) fn unapproved_servers(&self) -> Vec<String> {
        let mut servers = self.wanted_servers();
        servers.retain(|server| {
            let state = self.server_state(server, true);
            state.is_some_and(|(state, _)| state == "pending-approval")
        });
        servers
    }

    /// Everything that is wrong, the worst first, and what that makes of the whole.
    pub(super) fn health(&self, status: &Status, now: Now) -> (Health, Vec<HealthLine>) {
        let mut lines = Lines::default();
        self.storage_health(&mut lines);
        self.clock_health(&mut lines, now);
        self.lan_health(&mut lines, &status.lans, now);
        self.wan_health(&mut lines, now);
        self.server_health(&mut lines, now);
        self.device_health(&mut lines, status, now);
        if let Some(first) = self.facts.hooks.first() {
            let more = match self.facts.hooks.len() {
                1 => String::new(),
                number => format!(", and {} more", number - 1),
            };
            lines.warn(codes::HOOK, format!("events are not told to a program: {first}{more}"));
        }
        let mut lines = lines.0;
        lines.sort_by_key(|line| std::cmp::Reverse(line.severity));
        let health = if lines.iter().all(|line| line.severity < Severity::Fail) {
            Health::Healthy
        } else if status.lans.iter().all(|lan| lan.up == Some(false)) {
            Health::Down
        } else {
            Health::Degraded
        };
        (health, lines)
    }

    fn storage_health(&self, lines: &mut Lines) {
        if self.facts.reset_ordered {
            lines.warn(codes::RESET_ORDERED, "the next start forgets everything: factory-reset");
        }
        let disk = self.facts.disk.and_then(|disk| disk.trouble());
        if let Some(error) = &self.store_error {
            let what = format!("the store fails: {error}; what it cannot keep is refused");
            let line = lines.fail(codes::STORE, what);
            let full = disk.as_ref().filter(|(code, _)| *code == codes::DISK_FULL);
            if let Some((_, what)) = full {
                line.cause = Some(what.clone());
            }
        }
        match disk {
            Some((code, what)) if code == codes::DISK_FULL => lines.fail(code, what),
            Some((code, what)) => lines.warn(code, what),
            None => return,
        };
    }

    fn clock_health(&self, lines: &mut Lines, now: Now) {
        if now.unix < limits::BUILT {
            let (here, made) = (date(now.unix), date(limits::BUILT));
            let what = format!("the clock says {here}, and this program was made after {made}");
            lines.fail(codes::CLOCK_WRONG, what).cause = Some(format!(
                "{}; until it is set, certificates look as if they were not valid yet",
                codes::CLOCK_WRONG.cause
            ));
        } else if self.facts.synchronised == Some(false) {
            let what = "the clock is not synchronised with a time server";
            lines.warn(codes::CLOCK_UNSYNCHRONISED, what);
        }
    }

    fn lan_health(&self, lines: &mut Lines, lans: &[Lan], now: Now) {
        let verified = self.options.lans.iter().any(|lan| lan.verify == Verify::Neighbour);
        if verified && !self.neighbours_available {
            let what = "the kernel's neighbour table cannot be read: no device can be verified";
            lines.fail(codes::NEIGHBOURS, what);
        }
        for (index, lan) in lans.iter().enumerate() {
            let Lan { name, interface, .. } = lan;
            if lan.up == Some(false) {
                let what = format!("LAN {name}: the interface {interface} is missing or down");
                lines.fail(codes::LAN_DOWN, what).next = Some(format!("ip link show {interface}"));
                continue;
            }
            for (address, mac) in self.taken_addresses(LanId(index)) {
                let what = format!("LAN {name}: {mac} has the gateway's own address {address}");
                lines.fail(codes::DUPLICATE, what);
            }
            let waits = self.facts.sockets.iter().filter(|socket| !socket.open);
            for socket in waits.filter(|socket| socket.lan.as_ref() == Some(name)) {
                let address = socket.address;
                let what = format!("LAN {name}: waiting for the address {address} of `listen`");
                lines.fail(codes::LAN_ADDRESS, what).next =
                    Some(format!("ip address show {interface}"));
            }
        }
        let is_recent = |rival: &&Rival| now.uptime < rival.at + limits::CONFLICT_MEMORY;
        if let Some(rival) = self.rival.as_ref().filter(is_recent) {
            let Rival { id, address, .. } = rival;
            let same = if *id == self.options.id { ", under our own id," } else { "" };
            let what = format!(
                "a second DM gateway, {id}, is on the LAN at {address}{same} and takes us for an \
                 end device"
            );
            lines.warn(codes::RIVAL_GATEWAY, what);
        }
    }

    /// Addresses of `listen` that a neighbour has.
    fn taken_addresses(&self, lan: LanId) -> Vec<(IpAddr, MacAddress)> {
        let own = |mac: MacAddress| self.interfaces.values().any(|it| it.mac == Some(mac));
        let listen = self.options.lans[lan.0].listen.iter().map(SocketAddr::ip);
        let taken = listen.filter_map(|ip| {
            let neighbour = self.neighbour(lan, ip).filter(|neighbour| neighbour.is_usable())?;
            Some((ip, neighbour.mac.filter(|mac| !own(*mac))?))
        });
        taken.collect()
    }

    fn wan_health(&self, lines: &mut Lines, now: Now) {
        let mut is_down = false;
        if let Some((name, false)) = &self.facts.wan {
            let what = format!("the WAN interface {name} is missing or down: no push comes in");
            lines.fail(codes::WAN_DOWN, what).next = Some(format!("ip link show {name}"));
            is_down = true;
        }
        for socket in self.facts.sockets.iter().filter(|socket| !socket.open && !is_down) {
            if matches!(socket.kind, SocketKind::Push | SocketKind::HttpPush) {
                let what = format!("the push port {} is not open yet", socket.address);
                lines.fail(codes::PUSH_PORT, what);
            }
        }
        if self.lost_at.is_some_and(|at| now.uptime < at + limits::LOSS_MEMORY) {
            let what = match self.facts.lost {
                1 => "1 push was lost in the kernel".to_owned(),
                number => format!("{number} pushes were lost in the kernel"),
            };
            lines.warn(codes::LOSSES, what);
        }
    }

    /// Servers without an account are told of only as wanted: any device could name some.
    fn server_health(&self, lines: &mut Lines, now: Now) {
        for (server, failed) in self.management.failed_servers() {
            let Failed { code, why } = failed;
            let what = format!("DM server {server}: the last session failed: {why}");
            let line = lines.fail(*code, what);
            if [codes::EXPIRED, codes::NOT_YET_VALID].contains(code) {
                line.cause = Some(format!("{}; the clock says {}", code.cause, date(now.unix)));
            }
            let next = code.remedy.replace("SERVER", server);
            line.next = Some(if *code == codes::SESSION {
                format!("dm-gateway session {server} --wait")
            } else {
                next
            });
            lines.is_of(server);
        }
        let unapproved = self.unapproved_servers();
        if let Some(first) = unapproved.first() {
            let more = match unapproved.len() {
                1 => String::new(),
                number => format!(" and {} more", number - 1),
            };
            let what = format!("devices want the DM server {first}{more}, which nobody approved");
            lines.warn(codes::WANTED, what).next =
                Some(format!("dm-gateway servers, then dm-gateway servers approve {first}"));
        }
        if let Some(trial) = self.management.trial(now) {
            let what = format!(
                "what {} changed is on trial; it is taken back in {} s unless the server finds us",
                trial.server, trial.rest
            );
            lines.warn(codes::TRIAL, what).next =
                Some(format!("dm-gateway session {}", trial.server));
        }
    }

    fn device_health(&self, lines: &mut Lines, status: &Status, now: Now) {
        let conflicts = self.inventory.iter().filter_map(|(_, device)| {
            Some((&device.record.id, device, current_conflict(device, now)?))
        });
        for (id, device, conflict) in conflicts.take(limits::CONFLICTS_TOLD) {
            let mut what = format!("{id} is claimed by {}", conflict.address);
            if let Some(mac) = conflict.mac {
                let _ = write!(what, " ({mac})");
            }
            if let Some(address) = device.best_address(|_| true) {
                let _ = write!(what, " and {}", address.ip);
            }
            what.push_str("; the owner keeps its mappings");
            lines.warn(codes::CONFLICT, what).next = Some(format!("dm-gateway devices show {id}"));
        }
        if self.inventory.len() >= limits::DEVICES {
            let what = format!("the inventory is full with {} devices", self.inventory.len());
            lines.warn(codes::DEVICES_FULL, what);
        }
        if status.waiting >= limits::HELD_MANY {
            let what = format!("{} pushes wait for devices that are away", status.waiting);
            lines.warn(codes::HELD, what);
        }
    }
}

#[derive(Default)]
struct Lines(Vec<HealthLine>);

impl Lines {
    fn fail(&mut self, code: Code, what: impl Into<String>) -> &mut Trouble {
        self.add(Severity::Fail, code, what.into())
    }

    /// The last line is of that server.
    fn is_of(&mut self, server: &str) {
        if let Some(line) = self.0.last_mut() {
            line.server = Some(server.to_owned());
        }
    }

    fn warn(&mut self, code: Code, what: impl Into<String>) -> &mut Trouble {
        self.add(Severity::Warn, code, what.into())
    }

    fn add(&mut self, severity: Severity, code: Code, what: String) -> &mut Trouble {
        let (cause, next) = (Some(code.cause.to_owned()), Some(code.remedy.to_owned()));
        let trouble = Trouble { code: code.id.into(), what, cause, next };
        self.0.push(HealthLine { severity, trouble, server: None });
        let last = self.0.len() - 1;
        &mut self.0[last].trouble
    }
}

/// The day of a time, `2026-01-31`.
pub fn date(unix: u64) -> String {
    let stamp = timestamp(unix.max(1));
    let (day, _) = stamp.split_once('T').unwrap_or((&stamp, ""));
    match (day.get(..4), day.get(4..6), day.get(6..)) {
        (Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => stamp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_told_as_people_write_them() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(1_767_225_600), "2026-01-01");
    }

    #[test]
    fn a_disk_is_low_before_it_is_full() {
        let of =
            |free, files| Disk { size: 1 << 30, free, files }.trouble().map(|(code, _)| code.id);
        assert_eq!(of(1 << 29, None), None);
        assert_eq!(of(limits::DISK_LOW - 1, None), Some(codes::DISK_LOW.id));
        assert_eq!(of(1 << 29, Some(limits::FILES_LOW - 1)), Some(codes::DISK_LOW.id));
        assert_eq!(of(0, Some(1000)), Some(codes::DISK_FULL.id));
        assert_eq!(of(1 << 29, Some(0)), Some(codes::DISK_FULL.id));
    }
}
