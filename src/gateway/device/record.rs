//! The durable facts of an end device, and how the store keeps them.

use super::DeviceId;
use crate::gateway::alert::ServerId;
use crate::gateway::policy::Policy;
use crate::gateway::seam::{MacAddress, Now};
use crate::limits;
use crate::proto::wire::{DecodeError, DecodeErrorKind, Reader, put_uintvar};
use std::sync::Arc;

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
    /// What operators said of it.
    pub ruling: Ruling,
}

/// What operators said of a device, whatever the device says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling {
    /// Whether its pushes and sessions are refused.
    pub blocked: bool,
    /// Servers that may wake it although it did not name them.
    pub added: Vec<ServerId>,
    /// Servers that may not wake it although it names them.
    pub removed: Vec<ServerId>,
}

impl Ruling {
    /// Whether an operator lets `server` wake the device.
    pub fn adds(&self, server: &str) -> bool {
        self.added.iter().any(|it| it.as_str() == server)
    }

    /// Whether an operator forbids `server` to wake the device.
    pub fn removes(&self, server: &str) -> bool {
        self.removed.iter().any(|it| it.as_str() == server)
    }

    /// Two devices proved to be one: what was said of `other` is true of it as well.
    pub fn absorb(&mut self, other: &Self) {
        self.blocked |= other.blocked;
        for (own, other) in [(&mut self.added, &other.added), (&mut self.removed, &other.removed)] {
            let new: Vec<_> = other.iter().filter(|it| !own.contains(it)).cloned().collect();
            own.extend(new);
            own.truncate(limits::LIST_SERVERS);
        }
    }
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
            ruling: Ruling::default(),
        }
    }

    /// Encodes the record for the store.
    pub fn encode(&self) -> Vec<u8> {
        let is_ruled = self.ruling != Ruling::default();
        let mut out = vec![if is_ruled { RULED_VERSION } else { RECORD_VERSION }];
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
                put_servers(&mut out, &list.servers);
            }
        }
        if is_ruled {
            out.push(u8::from(self.ruling.blocked));
            put_servers(&mut out, &self.ruling.added);
            put_servers(&mut out, &self.ruling.removed);
        }
        out
    }

    /// Decodes a record of the store.
    ///
    /// # Errors
    /// If the octets are not a record of this version.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(octets);
        let version = reader.u8()?;
        if version != RECORD_VERSION && version != RULED_VERSION {
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
        let mut ruling = Ruling::default();
        if version == RULED_VERSION {
            ruling.blocked = reader.u8()? != 0;
            ruling.added = servers(reader)?;
            ruling.removed = servers(reader)?;
        }
        Ok(Self { id, named, hardware, lan, first_seen, list, client_nonce, server_nonce, ruling })
    }
}

const RECORD_VERSION: u8 = 1;

/// With what operators said.
const RULED_VERSION: u8 = 2;

fn decode_list(reader: &mut Reader<'_>) -> Result<List, DecodeError> {
    let policy = Policy::of_code(reader.u8()?)
        .ok_or_else(|| reader.error(DecodeErrorKind::Malformed("unknown policy")))?;
    let received = u64_be(reader)?;
    let since = u64_be(reader)?;
    let count = reader.u8()?;
    let servers = servers(reader)?;
    Ok(List { servers, policy, received, unconfirmed: (count > 0).then_some((since, count)) })
}

fn put_servers(out: &mut Vec<u8>, servers: &[ServerId]) {
    put_uintvar(out, servers.len() as u32);
    for server in servers {
        put_bytes(out, server.as_str().as_bytes());
    }
}

fn servers(reader: &mut Reader<'_>) -> Result<Vec<ServerId>, DecodeError> {
    let count = bounded(reader, limits::LIST_SERVERS)?;
    let mut servers = Vec::with_capacity(count);
    for _ in 0..count {
        let id = text(reader)?;
        servers.push(ServerId::new(id).map_err(|_| reader.error(DecodeErrorKind::Text))?);
    }
    Ok(servers)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
        assert_eq!(octets.first(), Some(&RECORD_VERSION), "older versions read it, too");
        record.ruling = Ruling {
            blocked: true,
            added: vec![ServerId::new("a").unwrap()],
            removed: vec![ServerId::new("b").unwrap(), ServerId::new("c").unwrap()],
        };
        let octets = record.encode();
        assert_eq!(Record::decode(&octets).unwrap(), record);
        for length in 0..octets.len() {
            assert!(Record::decode(&octets[..length]).is_err());
        }
    }
}
