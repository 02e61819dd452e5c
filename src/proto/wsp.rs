//! The connectionless WSP push (WAP-230 8.2.4, WAP-251 push OTA).
use super::wire::DecodeError;

/// A connectionless push, its headers still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// Transaction id; connectionless receivers ignore it.
    pub transaction_id: u8,
    /// Content type.
    pub content_type: ContentType<'a>,
    /// The header fields after the content type, as they stand.
    pub headers: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// Content type
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType<'a> {
    /// Assigned number, without the high bit (0x44 = application/vnd.syncml.notification).
    WellKnown(u32),
    /// Textual media type.
    Text(&'a str),
}

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// name
    pub name: HeaderName<'a>,
    /// value
    pub value: HeaderValue<'a>,
}
/// Name of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderName<'a> {
    /// Assigned number without the high bit.
    WellKnown(u8),
    /// text
    Text(&'a str),
}
/// Value of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    /// short integer, without the high bit
    Short(u8),
    /// text, quote octet removed
    Text(&'a str),
    /// length-prefixed octets
    Octets(&'a [u8]),
}

impl<'a> Push<'a> {
    /// Decodes a datagram; every header is walked.
    pub fn decode(_datagram: &'a [u8]) -> Result<Self, DecodeError> { todo!() }
    /// Iterates over the header fields (already validated by decode).
    pub fn fields(&self) -> impl Iterator<Item = Header<'a>> + use<'a> { std::iter::empty() }
    /// whether content type is application/vnd.syncml.notification, code 0x44 or text, case-insensitive.
    pub fn is_notification(&self) -> bool { todo!() }
    /// whether X-Wap-Application-Id is 7 (code, or text `7`, or the URI x-wap-application:syncml.dm).
    pub fn is_for_dm(&self) -> bool { todo!() }
    /// The value of X-Oma-GwMO, if there: 
    pub fn gateway_header(&self) -> Option<&'a str> { todo!() }
}

/// Appends a push in the form DM Notification 1.2 prescribes (`TID 06 03 C4 AF 87`, + optional X-Oma-GwMO `D0 value 00`) and `body`.
pub fn encode_notification(_out: &mut Vec<u8>, _transaction_id: u8, _gateway_header: Option<&str>, _body: &[u8]) { todo!() }
