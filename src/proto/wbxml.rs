//! What all WBXML documents share: the global tokens, the header, the string table.
//! (WAP-192-WBXML 1.3, 5.4 to 5.8 and 7.1.)

use super::wire::{DecodeError, DecodeErrorKind, Reader};
use crate::limits;

pub(super) const SWITCH_PAGE: u8 = 0x00;
pub(super) const END: u8 = 0x01;
pub(super) const ENTITY: u8 = 0x02;
pub(super) const STR_I: u8 = 0x03;
pub(super) const LITERAL: u8 = 0x04;
pub(super) const STR_T: u8 = 0x83;
pub(super) const OPAQUE: u8 = 0xc3;
/// The bit of a tag with content.
pub(super) const CONTENT: u8 = 0x40;
/// The bit of a tag with attributes.
pub(super) const ATTRIBUTES: u8 = 0x80;
/// Below this, and with the same low bits above, stand global tokens.
pub(super) const FIRST_TAG: u8 = 0x05;

/// Unknown, US-ASCII, UTF-8.
const CHARSETS: [u32; 3] = [0, 3, 106];

/// The header of a document.
pub(super) struct Header<'a> {
    pub(super) public_id: PublicId,
    pub(super) strings: StringTable<'a>,
}

/// The public identifier, which tells the vocabulary.
#[derive(Clone, Copy)]
pub(super) enum PublicId {
    /// A registered number.
    Number(u32),
    /// Where it begins in the string table.
    Text(u32),
}

impl<'a> Header<'a> {
    /// Reads the header, which leaves `reader` at the body.
    ///
    /// # Errors
    /// It is not WBXML 1.1 to 1.3 in UTF-8, or the string table is beyond its bound.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        if !(1..=3).contains(&reader.u8()?) {
            return Err(reader.error(DecodeErrorKind::Malformed("not WBXML 1.1 to 1.3")));
        }
        let public_id = match reader.uintvar()? {
            0 => PublicId::Text(reader.uintvar()?),
            number => PublicId::Number(number),
        };
        if !CHARSETS.contains(&reader.uintvar()?) {
            return Err(reader.error(DecodeErrorKind::Malformed("charset is not UTF-8")));
        }
        let length = reader.uintvar()? as usize;
        if length > limits::STRING_TABLE {
            return Err(reader.error(DecodeErrorKind::Limit("string table")));
        }
        Ok(Self { public_id, strings: StringTable(reader.take(length)?) })
    }
}

/// The strings that a document refers to.
#[derive(Clone, Copy)]
pub(super) struct StringTable<'a>(&'a [u8]);

impl<'a> StringTable<'a> {
    /// The string that begins at `index`; `reader` tells where an error is.
    ///
    /// # Errors
    /// `LengthOverrun`, if no string begins or ends there.
    pub(super) fn string(self, index: u32, reader: &Reader<'_>) -> Result<&'a [u8], DecodeError> {
        let tail = self.0.get(index as usize..).unwrap_or_default();
        let length = tail.iter().position(|&octet| octet == 0);
        length
            .and_then(|length| tail.get(..length))
            .ok_or_else(|| reader.error(DecodeErrorKind::LengthOverrun))
    }
}
