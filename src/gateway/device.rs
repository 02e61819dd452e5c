//! End devices: who they are, where they are, and what is known of them for good.
//!
//! An identity is a fact, an address is a lease. A [`Record`] holds the facts and goes to
//! flash; a [`Device`] adds what is true at the moment.

use crate::gateway::alert::ServerId;
use crate::gateway::policy::Policy;
use crate::gateway::seam::{LanId, MacAddress, NeighbourState, Now};
use crate::gateway::trigger::Slot;
use crate::limits;
use crate::proto::syncml::StatusCode;
use crate::proto::wire::{DecodeError, DecodeErrorKind, Reader, put_uintvar};
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

/// The durable facts of one end device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who it is.
    pub id: DeviceId,
    /// Whether the device itself gave the id; else it is derived from its Ethernet address.
    pub named: bool,
    /// Its Ethernet addresses, the oldest first: aliases of the id.
    pub hardware: Vec<MacAddress>,
    /// Name of the LAN on which it was last seen.
    pub lan: Arc<str>,
    /// When it was first seen, in seconds since 1970.
    pub first_seen: u64,
    /// The newest BootstrappedDMSList.
    pub list: Option<List>,
    /// The nonce that the device uses for its next credentials.
    pub client_nonce: Vec<u8>,
    /// The nonce that the device gave for our next credentials and Package #0.
    pub server_nonce: Vec<u8>,
}

/// A BootstrappedDMSList as it was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// The servers, in the device's order.
    pub servers: Vec<ServerId>,
    /// The policy by which the list was decided.
    pub policy: Policy,
    /// When it came, in seconds since 1970.
    pub received: u64,
    /// Set by empty lists since: when the first came (seconds since 1970), and how many.
    pub unconfirmed: Option<(u64, u8)>,
}

impl Record {
    /// A device seen for the first time.
    pub fn new(id: DeviceId, named: bool, lan: Arc<str>, now: Now) -> Self {
        let hardware = id.mac().into_iter().collect();
        Self {
            id,
            named,
            hardware,
            lan,
            first_seen: now.unix,
            list: None,
            client_nonce: Vec::new(),
            server_nonce: Vec::new(),
        }
    }

    /// Encodes the record for the store.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![RECORD_VERSION];
        put_bytes(&mut out, self.id.as_str().as_bytes());
        out.push(u8::from(self.named));
        put_uintvar(&mut out, self.hardware.len() as u32);
        for mac in &self.hardware {
            out.extend(mac.0);
        }
        put_bytes(&mut out, self.lan.as_bytes());
        out.extend(self.first_seen.to_be_bytes());
        put_bytes(&mut out, &self.client_nonce);
        put_bytes(&mut out, &self.server_nonce);
        match &self.list {
            None => out.push(0),
            Some(list) => {
                out.push(1);
                out.push(list.policy.code());
                out.extend(list.received.to_be_bytes());
                let (since, count) = list.unconfirmed.unwrap_or_default();
                out.extend(since.to_be_bytes());
                out.push(count);
                put_uintvar(&mut out, list.servers.len() as u32);
                for server in &list.servers {
                    put_bytes(&mut out, server.as_str().as_bytes());
                }
            }
        }
        out
    }

    /// Decodes a record of the store.
    ///
    /// # Errors
    /// If the octets are not a record of this version.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(octets);
        if reader.u8()? != RECORD_VERSION {
            return Err(reader.error(DecodeErrorKind::Malformed("unknown record version")));
        }
        let id = text(reader)?;
        let id = DeviceId::parse(id).ok_or_else(|| reader.error(DecodeErrorKind::Text))?;
        let named = reader.u8()? != 0;
        let count = bounded(reader, limits::HARDWARE)?;
        let mut hardware = Vec::with_capacity(count);
        for _ in 0..count {
            let mut mac = [0; 6];
            mac.copy_from_slice(reader.take(6)?);
            hardware.push(MacAddress(mac));
        }
        let lan = text(reader)?.into();
        let first_seen = u64_be(reader)?;
        let client_nonce = bytes(reader)?.to_vec();
        let server_nonce = bytes(reader)?.to_vec();
        let list = if reader.u8()? == 0 { None } else { Some(decode_list(reader)?) };
        Ok(Self { id, named, hardware, lan, first_seen, list, client_nonce, server_nonce })
    }
}

const RECORD_VERSION: u8 = 1;

fn decode_list(reader: &mut Reader<'_>) -> Result<List, DecodeError> {
    let policy = Policy::of_code(reader.u8()?)
        .ok_or_else(|| reader.error(DecodeErrorKind::Malformed("unknown policy")))?;
    let received = u64_be(reader)?;
    let since = u64_be(reader)?;
    let count = reader.u8()?;
    let servers = bounded(reader, limits::LIST_SERVERS)?;
    let servers = (0..servers)
        .map(|_| {
            let id = text(reader)?;
            ServerId::new(id).map_err(|_| reader.error(DecodeErrorKind::Text))
        })
        .collect::<Result<_, _>>()?;
    Ok(List { servers, policy, received, unconfirmed: (count > 0).then_some((since, count)) })
}

fn put_bytes(out: &mut Vec<u8>, octets: &[u8]) {
    put_uintvar(out, octets.len() as u32);
    out.extend_from_slice(octets);
}

fn bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let length = reader.uintvar()? as usize;
    reader.take(length)
}

fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(bytes(reader)?).map_err(|_| reader.error(DecodeErrorKind::Text))
}

fn u64_be(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let mut octets = [0; 8];
    octets.copy_from_slice(reader.take(8)?);
    Ok(u64::from_be_bytes(octets))
}

fn bounded(reader: &mut Reader<'_>, most: usize) -> Result<usize, DecodeError> {
    let count = reader.uintvar()? as usize;
    if count > most {
        return Err(reader.error(DecodeErrorKind::Limit("entries")));
    }
    Ok(count)
}

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

    #[test]
    fn a_record_survives_the_store() {
        let now = Now { uptime: Duration::ZERO, unix: 1_800_000_000 };
        let mut record =
            Record::new(DeviceId::parse("IMEI:1").unwrap(), true, "radios".into(), now);
        record.hardware = vec![MacAddress([2, 0, 0, 0, 0, 1])];
        record.client_nonce = vec![1, 2, 3];
        assert_eq!(Record::decode(&record.encode()).unwrap(), record);
        record.list = Some(List {
            servers: vec![ServerId::new("http://www.someDMServer.com").unwrap()],
            policy: Policy::Transparent,
            received: 7,
            unconfirmed: Some((8, 2)),
        });
        let octets = record.encode();
        assert_eq!(Record::decode(&octets).unwrap(), record);
        for length in 0..octets.len() {
            assert!(Record::decode(&octets[..length]).is_err());
        }
    }
}
