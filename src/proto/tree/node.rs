//! One node: what is known of it, and how the store keeps it.

use super::acl::Acl;
use super::description::RuleId;
use super::property::Format;
use crate::limits;
use crate::proto::wire::{DecodeError, DecodeErrorKind, Reader, put_uintvar};
use std::sync::Arc;

/// Where a node stands in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(pub(super) u32);

impl NodeId {
    /// The root.
    pub(super) const ROOT: Self = Self(0);
}

/// A subtree that a [`Provider`](super::Provider) serves: its number, given by whoever mounts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mount(pub u16);

/// A node in memory. It does not print: a value may be a secret.
pub(super) struct Node {
    /// The last segment of its URI.
    pub(super) name: Box<str>,
    /// The node above; of the root itself.
    pub(super) parent: NodeId,
    /// The nodes below, in the order of their names.
    pub(super) children: Vec<NodeId>,
    /// What the description says of it.
    pub(super) rule: RuleId,
    /// Whether it can never be added, deleted or renamed.
    pub(super) is_permanent: bool,
    /// Who serves what is below.
    pub(super) mount: Option<Mount>,
    /// What changes.
    pub(super) facts: Facts,
}

/// What the store keeps of a node. It does not print: a value may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Who may do what; `None` inherits.
    pub acl: Option<Box<Acl>>,
    /// `node` if it is an interior node.
    pub format: Format,
    /// The media type of a leaf (`None` is `text/plain`), the object that an interior node is the
    /// root of.
    pub kind: Option<Arc<str>>,
    /// Text for humans.
    pub title: Option<Box<str>>,
    /// When it last changed, in seconds since 1970; 0 if that is not known.
    pub changed: u64,
    /// Counts changes.
    pub version: u16,
    /// The value of a leaf.
    pub value: Box<[u8]>,
}

/// The media type of a leaf that has none of its own.
pub(super) const TEXT: &str = "text/plain";

const RECORD_VERSION: u8 = 1;
const ACL: u8 = 1;
const KIND: u8 = 2;
const TITLE: u8 = 4;

impl Facts {
    /// Those of an interior node.
    pub fn interior() -> Self {
        Self { format: Format::Node, ..Self::default() }
    }

    /// Whether the node is an interior node.
    pub fn is_interior(&self) -> bool {
        self.format == Format::Node
    }

    /// Encodes them for the store.
    pub fn encode(&self) -> Vec<u8> {
        let acl = self.acl.as_ref().map(ToString::to_string);
        let mut out = Vec::with_capacity(24 + self.value.len());
        out.push(RECORD_VERSION);
        out.push(
            Format::ALL.iter().position(|(it, _)| *it == self.format).unwrap_or_default() as u8
        );
        let parts =
            [(ACL, acl.as_deref()), (KIND, self.kind.as_deref()), (TITLE, self.title.as_deref())];
        out.push(parts.iter().filter(|(_, part)| part.is_some()).map(|(bit, _)| bit).sum());
        out.extend(self.changed.to_be_bytes());
        out.extend(self.version.to_be_bytes());
        for part in parts.iter().filter_map(|(_, part)| *part) {
            put_bytes(&mut out, part.as_bytes());
        }
        put_bytes(&mut out, &self.value);
        out
    }

    /// Decodes a record of the store.
    ///
    /// # Errors
    /// If the octets are not a record of this version, or beyond a bound.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(octets);
        let malformed = |reader: &Reader<'_>, what| reader.error(DecodeErrorKind::Malformed(what));
        if reader.u8()? != RECORD_VERSION {
            return Err(malformed(reader, "unknown record version"));
        }
        let format = Format::of_code(reader.u8()?);
        let format = format.ok_or_else(|| malformed(reader, "unknown format"))?;
        let parts = reader.u8()?;
        let mut changed = [0; 8];
        changed.copy_from_slice(reader.take(8)?);
        let version = reader.u16()?;
        let mut part = |bit: u8, most: usize| match parts & bit {
            0 => Ok(None),
            _ => text(reader, most).map(Some),
        };
        let acl = part(ACL, limits::ACL)?;
        let kind = part(KIND, limits::NODE_TYPE)?.map(Arc::from);
        let title = part(TITLE, limits::TITLE)?.map(Box::from);
        let value = bytes(reader, limits::TREE_VALUE)?;
        let acl =
            Acl::parse(acl.unwrap_or_default()).map_err(|_| malformed(reader, "not an ACL"))?;
        if format.check(value).is_err() {
            return Err(malformed(reader, "value is not of its format"));
        }
        if !reader.is_empty() {
            return Err(malformed(reader, "octets behind the record"));
        }
        Ok(Self {
            acl: acl.map(Box::new),
            format,
            kind,
            title,
            changed: u64::from_be_bytes(changed),
            version,
            value: value.into(),
        })
    }

    /// Octets of memory that they take beyond their own size.
    pub(super) fn octets(&self) -> usize {
        self.value.len()
            + self.acl.as_ref().map_or(0, |acl| acl.octets())
            + self.kind.as_ref().map_or(0, |kind| kind.len())
            + self.title.as_ref().map_or(0, |title| title.len())
    }

    /// The same, with nothing said that is the default.
    pub(super) fn normal(mut self) -> Self {
        let is_leaf = !self.is_interior();
        self.kind.take_if(|kind| is_leaf && **kind == *TEXT);
        self
    }

    /// Counts a change at a time (seconds since 1970).
    pub(super) fn touch(&mut self, now: u64) {
        self.version = self.version.wrapping_add(1);
        self.changed = now;
    }
}

fn put_bytes(out: &mut Vec<u8>, octets: &[u8]) {
    put_uintvar(out, octets.len() as u32);
    out.extend_from_slice(octets);
}

fn bytes<'a>(reader: &mut Reader<'a>, most: usize) -> Result<&'a [u8], DecodeError> {
    let length = reader.uintvar()? as usize;
    if length > most {
        return Err(reader.error(DecodeErrorKind::Limit("length")));
    }
    reader.take(length)
}

fn text<'a>(reader: &mut Reader<'a>, most: usize) -> Result<&'a str, DecodeError> {
    std::str::from_utf8(bytes(reader, most)?).map_err(|_| reader.error(DecodeErrorKind::Text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_the_store_and_no_part_of_it_does() {
        let facts = Facts {
            acl: Acl::parse("Get=a+b").unwrap().map(Box::new),
            format: Format::Bin,
            kind: Some("application/x".into()),
            title: Some("A title".into()),
            changed: 1_800_000_000,
            version: 65_535,
            value: [0, 255, 7].into(),
        };
        let octets = facts.encode();
        assert!(Facts::decode(&octets).unwrap() == facts);
        for length in 0..octets.len() {
            assert!(Facts::decode(&octets[..length]).is_err());
        }
        assert!(Facts::decode(&[octets, vec![0]].concat()).is_err());
        assert!(Facts::decode(&Facts::default().encode()).unwrap() == Facts::default());
    }
}
