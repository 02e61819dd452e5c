//! End devices: who they are, where they are, and what is known of them for good.
//!
//! An identity is a fact, an address is a lease. A [`Record`] holds the facts and goes to
//! flash; a [`Device`] adds what is true at the moment.

mod record;

pub use record::{List, Record, Ruling};

use crate::gateway::seam::{LanId, MacAddress, NeighbourState, Now};
use crate::gateway::trigger::Slot;
use crate::limits;
use crate::proto::syncml::StatusCode;
use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The identity of an end device: `mac:01-ab-34-ef-69-0c` until the device says who it is
/// (SyncHdr Source, DevInfo DevId: `IMEI:…`, a URN). One to 255 octets without control
/// characters or blanks. (GwMO change request, 8.6.1.)
///
/// Two ids are equal if they differ only in the case of the scheme, or, for `mac:`, in the case
/// of the digits; everything else counts as it stands.
#[derive(Clone)]
pub struct DeviceId {
    written: Arc<str>,
    normal: Arc<str>,
}

impl DeviceId {
    /// Reads an id, white space around it ignored. `None` if it is empty, longer than 255
    /// octets, or holds blanks or control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let mut normal = String::new();
        if !normalise(text, &mut normal) {
            return None;
        }
        if normal.starts_with(MAC_SCHEME) {
            let normal = Arc::<str>::from(normal);
            return Some(Self { written: normal.clone(), normal });
        }
        let written = Arc::<str>::from(text);
        let normal = if *normal == *text { written.clone() } else { normal.into() };
        Some(Self { written, normal })
    }

    /// The identity of a device of which only the Ethernet address is known.
    pub fn of_mac(mac: MacAddress) -> Self {
        let normal = Arc::<str>::from(format!("{MAC_SCHEME}{mac}"));
        Self { written: normal.clone(), normal }
    }

    /// The id as its owner wrote it.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The form in which ids are compared.
    pub fn normal(&self) -> &str {
        &self.normal
    }

    /// The Ethernet address in a `mac:` id.
    pub fn mac(&self) -> Option<MacAddress> {
        MacAddress::parse(self.normal.strip_prefix(MAC_SCHEME)?)
    }

    /// Shared text of the form in which ids are compared, for indexes.
    pub fn shared_normal(&self) -> Arc<str> {
        self.normal.clone()
    }

    /// Shared text of the id, for events.
    pub fn shared(&self) -> Arc<str> {
        self.written.clone()
    }
}

const MAC_SCHEME: &str = "mac:";

/// Writes the form of `text` in which ids are compared into `normal`: the scheme in lower case,
/// an Ethernet address with hyphens. False if `text` is not an id.
pub fn normalise(text: &str, normal: &mut String) -> bool {
    normal.clear();
    let clean = |c: char| !c.is_control() && !c.is_whitespace();
    if text.is_empty() || text.len() > limits::DEVICE_ID || !text.chars().all(clean) {
        return false;
    }
    let Some((scheme, rest)) = text.split_once(':') else {
        normal.push_str(text);
        return true;
    };
    normal.extend(scheme.chars().map(|c| c.to_ascii_lowercase()));
    normal.push(':');
    if *normal == *MAC_SCHEME && MacAddress::parse(rest).is_some() {
        normal.extend(rest.chars().map(|c| if c == ':' { '-' } else { c.to_ascii_lowercase() }));
    } else {
        normal.push_str(rest);
    }
    true
}

impl PartialEq for DeviceId {
    fn eq(&self, other: &Self) -> bool {
        self.normal == other.normal
    }
}

impl Eq for DeviceId {}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// The number under which the inventory and the store keep a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey(pub u32);

/// An end device: its facts, and what is true of it at the moment.
#[derive(Debug)]
pub struct Device {
    /// The facts, as they are on flash or soon will be.
    pub record: Record,
    /// The newest record handed to the store and not reported back yet.
    pub planned: Option<Box<Record>>,
    /// Whether the store was ever handed this device.
    pub stored: bool,
    /// Whether the store failed to take the newest facts.
    pub unsaved: bool,
    /// The LAN it was last seen on, if that is still configured.
    pub lan: Option<LanId>,
    /// Where it may be reached.
    pub addresses: Vec<Address>,
    /// Since when it is attached, and what came of that; `None` while it is away.
    pub attachment: Option<Attachment>,
    /// When it went, while it is away and was here before.
    pub detached: Option<Duration>,
    /// When it last opened a session or its neighbour entry was confirmed.
    pub last_seen: Option<Duration>,
    /// How it answered the last Device Detection Alert.
    pub detection: Option<StatusCode>,
    /// A rival's claim to this identity.
    pub conflict: Option<Conflict>,
    /// One for each server that the device named.
    pub slots: Vec<Slot>,
    /// Hash and time of the Package #0 forwarded last.
    pub repeats: VecDeque<(u64, Duration)>,
    /// Whether a timer for unconfirmed triggers runs.
    pub confirming: bool,
    /// Where the device was sighted on another LAN while it was attached to its own.
    pub elsewhere: Option<(LanId, IpAddr)>,
    /// When the kernel was last asked to confirm the device's neighbour entry.
    pub probed: Option<Duration>,
    /// How far the device is with an account for the gateway, if it was offered one.
    pub offer: Option<Box<Offer>>,
}

/// An account that a device is offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// How often that was tried without an operator's word.
    pub tries: u8,
    /// Not before then it is tried like that again.
    pub again: Duration,
    /// Until when the device may fetch it, once.
    pub open_until: Option<Duration>,
}

/// One stay of a device on a LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// When it began.
    pub since: Duration,
    /// Package #0 sent to ask the device into a session.
    pub asks: u8,
    /// Whether the device opened a session.
    pub session: bool,
}

/// One network address of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// When it was first heard of.
    pub appeared: Duration,
    /// When the device last sent a request from it.
    pub spoke: Option<Duration>,
    /// The end of the DHCP lease that gives it to the device (seconds since 1970, 0 = never).
    pub leased: Option<u64>,
    /// Whether the configuration gives it to the device.
    pub configured: bool,
    /// Whether the kernel found nobody there.
    pub failed: bool,
}

impl Address {
    /// Whether a lease or the configuration gives the address to the device.
    pub fn is_assigned(&self) -> bool {
        !self.failed && (self.configured || self.leased.is_some())
    }
}

/// A rival claim to an identity. It never changes a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// When it was last made.
    pub at: Duration,
    /// From where.
    pub address: IpAddr,
    /// The rival's Ethernet address, if the kernel knows it.
    pub mac: Option<MacAddress>,
    /// How often.
    pub count: u32,
}

impl Device {
    /// A device with these facts that is not attached.
    pub fn new(record: Record, lan: Option<LanId>) -> Self {
        Self {
            record,
            planned: None,
            stored: false,
            unsaved: false,
            lan,
            addresses: Vec::new(),
            attachment: None,
            detached: None,
            last_seen: None,
            detection: None,
            conflict: None,
            slots: Vec::new(),
            repeats: VecDeque::new(),
            confirming: false,
            elsewhere: None,
            probed: None,
            offer: None,
        }
    }

    /// The newest facts, reported back by the store or not: what a further change builds on.
    pub fn newest(&self) -> &Record {
        self.planned.as_deref().unwrap_or(&self.record)
    }

    /// Whether the device's list names a server.
    pub fn names(&self, server: &str) -> bool {
        let list = self.record.list.as_ref();
        list.is_some_and(|list| list.servers.iter().any(|named| named.as_str() == server))
    }

    /// Whether one of the device's Ethernet addresses is `mac`.
    pub fn has_hardware(&self, mac: MacAddress) -> bool {
        self.record.hardware.contains(&mac)
    }

    /// Notes that the device may be reached at `ip`.
    pub fn learn_address(&mut self, ip: IpAddr, now: Now) -> &mut Address {
        if let Some(index) = self.addresses.iter().position(|known| known.ip == ip) {
            return &mut self.addresses[index];
        }
        if self.addresses.len() >= limits::ADDRESSES {
            let oldest = self
                .addresses
                .iter()
                .enumerate()
                .filter(|(_, known)| !known.configured)
                .min_by_key(|(_, known)| known.spoke.unwrap_or_default().max(known.appeared))
                .map_or(0, |(index, _)| index);
            self.addresses.remove(oldest);
        }
        let index = self.addresses.len();
        // Thousands of devices have one or two: no room for four.
        self.addresses.reserve_exact(1);
        self.addresses.push(Address {
            ip,
            appeared: now.uptime,
            spoke: None,
            leased: None,
            configured: false,
            failed: false,
        });
        &mut self.addresses[index]
    }

    /// The usable address most worth trying: the one that the device last spoke from, unless
    /// one of the same kind appeared since; else IPv4; else global or unique-local IPv6; else
    /// link-local IPv6. Among equals the newest.
    pub fn best_address(&self, usable: impl Fn(&Address) -> bool) -> Option<&Address> {
        let usable = |address: &&Address| !address.failed && usable(address);
        let spoke = self.addresses.iter().filter(usable).max_by_key(|a| a.spoke);
        let spoke = spoke.filter(|address| address.spoke.is_some());
        self.addresses.iter().filter(usable).min_by_key(|address| {
            let current = spoke.is_some_and(|spoke| {
                address.ip == spoke.ip
                    || kind(address.ip) == kind(spoke.ip) && Some(address.appeared) > spoke.spoke
            });
            let newest = std::cmp::Reverse(address.spoke.unwrap_or_default().max(address.appeared));
            (!current, kind(address.ip), newest)
        })
    }
}

/// 0 for IPv4, 1 for global and unique-local IPv6, 2 for link-local IPv6.
fn kind(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 0,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => 2,
        IpAddr::V6(_) => 1,
    }
}

/// What the kernel's neighbour table says of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The Ethernet address, once resolved.
    pub mac: Option<MacAddress>,
    /// The state of the entry.
    pub state: NeighbourState,
    /// Number of the dump that last showed the entry.
    pub dump: u32,
}

impl Neighbour {
    /// Whether the entry tells who is at the address.
    pub fn is_usable(&self) -> bool {
        !matches!(self.state, NeighbourState::Failed | NeighbourState::Incomplete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_compare_by_scheme_and_mac_without_case() {
        let id = |text| DeviceId::parse(text).unwrap();
        assert_eq!(id("MAC:01-AB-34-EF-69-0C"), id("mac:01:ab:34:ef:69:0c"));
        assert_eq!(id("IMEI:490154203237518"), id("imei:490154203237518"));
        assert_ne!(id("urn:x:A"), id("urn:x:a"));
        assert_eq!(id(" IMEI:1 ").as_str(), "IMEI:1");
        assert!(DeviceId::parse("two words").is_none());
        assert!(DeviceId::parse("").is_none());
        assert!(DeviceId::parse(&"x".repeat(256)).is_none());
    }
}
