//! The connectionless WSP push: the datagram that carries Package #0.
//!
//! ```text
//! TID  06  headers-length  content-type  (name value)*  body
//! 01   06  03              C4            AF 87          digest, trigger
//! ```
//!
//! (WAP-230-WSP 8.2.4.1 and 8.4.2; OMA-TS-DM_Notification 1.2.1, 6.2; X-Oma-GwMO: OMNA push
//! header registry, field 0x50.) Decoding copies nothing. Push proxies write most things in
//! more than one way, so every spelling of a name or value that WSP knows is taken; what is
//! emitted is always the short form that DM Notification prescribes.

use super::wire::{DecodeError, DecodeErrorKind, Reader, put_uintvar};
use crate::limits;

/// PDU type of a push.
const PDU_PUSH: u8 = 0x06;
/// Content type `application/vnd.syncml.notification`.
const NOTIFICATION_CODE: u32 = 0x44;
const NOTIFICATION_TEXT: &str = "application/vnd.syncml.notification";
/// `X-Wap-Application-Id`, and its value for the DM client.
const APPLICATION_ID: u8 = 0x2f;
const APPLICATION_ID_TEXT: &str = "X-Wap-Application-Id";
const DM_CODE: u8 = 0x07;
const DM_URI: &str = "x-wap-application:syncml.dm";
/// `X-Oma-GwMO`.
const GATEWAY: u8 = 0x50;
const GATEWAY_TEXT: &str = "X-Oma-GwMO";
/// Says that a longer length follows as a `uintvar`.
const LENGTH_QUOTE: u8 = 31;
/// Before a text whose first octet would be read as something else.
const QUOTE: u8 = 127;
/// The header code page in which all names above stand, and in which each push starts.
const DEFAULT_PAGE: u8 = 1;

/// A connectionless push, its headers still encoded.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// Transaction id; connectionless receivers ignore it.
    pub transaction_id: u8,
    /// Content type; its encoded parameters are in the next field.
    pub content_type: ContentType<'a>,
    /// The parameters of the content type, as they stand; [`Self::parameters`] walks them.
    pub encoded_parameters: &'a [u8],
    /// The header fields after the content type, as they stand.
    pub headers: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// The content type of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType<'a> {
    /// Assigned number, without the high bit (0x44 = `application/vnd.syncml.notification`).
    WellKnown(u32),
    /// Textual media type.
    Text(&'a str),
}

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The field's name.
    pub name: HeaderName<'a>,
    /// The field's value.
    pub value: HeaderValue<'a>,
}

/// Name of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderName<'a> {
    /// Assigned number of the default code page, without the high bit.
    WellKnown(u8),
    /// Name as text; case does not matter.
    Text(&'a str),
}

/// Value of a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    /// Short integer, without the high bit.
    Short(u8),
    /// Text, the quote octet (7F) removed.
    Text(&'a str),
    /// The octets of a length-prefixed value, or those of a text that is not UTF-8.
    Octets(&'a [u8]),
}

impl<'a> Push<'a> {
    /// Decodes a datagram; every header field is walked, [`Self::fields`] cannot fail later.
    ///
    /// # Errors
    /// Where the datagram is not a push PDU, a length leaves its frame or a header field is
    /// none; also where X-Oma-GwMO stands twice, or is not a text of 1 to
    /// [`limits::DEVICE_ID`] octets without control characters: such a push may not be taken
    /// for one that names no device.
    pub fn decode(datagram: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(datagram);
        let transaction_id = reader.u8()?;
        let pdu_type = reader.error(DecodeErrorKind::Malformed("PDU type is not Push (06)"));
        if reader.u8()? != PDU_PUSH {
            return Err(pdu_type);
        }
        let length = usize::try_from(reader.uintvar()?).unwrap_or(usize::MAX);
        let start = reader.position();
        reader.take(length)?;
        let body = reader.remaining();
        let frame = datagram.get(..start + length).unwrap_or_default();

        let mut reader = Reader::new(frame);
        reader.take(start)?;
        let (content_type, encoded_parameters) = content_type(&mut reader)?;
        let headers = reader.remaining();
        check_fields(reader)?;
        Ok(Self { transaction_id, content_type, encoded_parameters, headers, body })
    }

    /// The parameters of the content type, in order, up to one that cannot be read.
    pub fn parameters(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let mut reader = Reader::new(self.encoded_parameters);
        std::iter::from_fn(move || {
            let name = match reader.peek()? {
                octet @ 0x80.. => reader.u8().map(|_| HeaderName::WellKnown(octet & 0x7f)),
                _ => clean_text(&mut reader).map(HeaderName::Text),
            };
            let value = match reader.peek() {
                Some(0) => reader.u8().map(|_| HeaderValue::Octets(&[])),
                _ => value(&mut reader),
            };
            Some(Header { name: name.ok()?, value: value.ok()? })
        })
    }

    /// The header fields of the default code page, in order; those of other pages are skipped.
    pub fn fields(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        Fields { reader: Reader::new(self.headers), page: DEFAULT_PAGE }
            .map_while(Result::ok)
            .map(|(_, header)| header)
    }

    /// Whether the content type is `application/vnd.syncml.notification`, as code 0x44 or as
    /// text in any case.
    pub fn is_notification(&self) -> bool {
        match self.content_type {
            ContentType::WellKnown(code) => code == NOTIFICATION_CODE,
            ContentType::Text(text) => is_notification(text),
        }
    }

    /// Whether X-Wap-Application-Id is there and names the DM client: 7 as short or long
    /// integer, the text `7`, or the URI `x-wap-application:syncml.dm`. If the field stands
    /// more than once, all of them must.
    pub fn is_for_dm(&self) -> bool {
        let mut ids = self.fields().filter(|field| field.name.is_application_id()).peekable();
        ids.peek().is_some()
            && ids.all(|field| match field.value {
                HeaderValue::Short(code) => code == DM_CODE,
                HeaderValue::Octets(octets) => octets == [DM_CODE],
                HeaderValue::Text(text) => is_dm(text),
            })
    }

    /// The value of X-Oma-GwMO, quotation marks and blanks around it removed, if the field is
    /// there; [`route`] takes it apart.
    pub fn gateway_header(&self) -> Option<&'a str> {
        let field = self.fields().find(|field| field.name.is_gateway())?;
        gateway_value(field.value)
    }
}

impl HeaderName<'_> {
    /// Whether this is X-Oma-GwMO.
    pub fn is_gateway(&self) -> bool {
        self.is(GATEWAY, GATEWAY_TEXT)
    }

    /// Whether this is X-Wap-Application-Id.
    pub fn is_application_id(&self) -> bool {
        self.is(APPLICATION_ID, APPLICATION_ID_TEXT)
    }

    fn is(&self, code: u8, text: &str) -> bool {
        match *self {
            Self::WellKnown(number) => number == code,
            Self::Text(name) => name.eq_ignore_ascii_case(text),
        }
    }
}

/// Where X-Oma-GwMO sends a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// The device named first, without parameters: the end device, or the next gateway.
    pub device: &'a str,
    /// Whether more hops follow behind that one.
    pub has_further_hops: bool,
}

/// Takes the value of X-Oma-GwMO apart: `hop *( "," hop )` with
/// `hop = device-id *( ";" name "=" value )`. Blanks around each part do not count, unknown
/// parameters are ignored. `None` if the value is something else.
pub fn route(value: &str) -> Option<Route<'_>> {
    let mut first = None;
    let mut hops = 0_usize;
    for hop in value.split(',') {
        let mut parts = hop.split(';').map(str::trim);
        let device = parts.next().filter(|device| !device.is_empty())?;
        if device.chars().any(char::is_control) || !parts.all(is_parameter) {
            return None;
        }
        first.get_or_insert(device);
        hops += 1;
    }
    Some(Route { device: first?, has_further_hops: hops > 1 })
}

/// Whether a media type, parameters left aside, is `application/vnd.syncml.notification`.
pub(super) fn is_notification(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case(NOTIFICATION_TEXT)
}

/// Whether the text of X-Wap-Application-Id names the DM client.
pub(super) fn is_dm(application: &str) -> bool {
    let application = application.trim();
    application == "7" || application.eq_ignore_ascii_case(DM_URI)
}

fn is_parameter(part: &str) -> bool {
    part.split_once('=').is_some_and(|(name, _)| !name.trim().is_empty())
}

/// Appends a push in the form DM Notification 1.2 prescribes: `TID 06 03 C4 AF 87` and `body`,
/// with X-Oma-GwMO (`D0 value 00`) behind the application id where `gateway_header` is given.
/// NUL octets in the value are left out: they would end it.
pub fn encode_notification(
    out: &mut Vec<u8>,
    transaction_id: u8,
    gateway_header: Option<&str>,
    body: &[u8],
) {
    let needs_quote = |value: &str| value.bytes().next().is_some_and(|octet| octet >= QUOTE);
    let value_length = |value: &str| {
        value.bytes().filter(|&octet| octet != 0).count() + usize::from(needs_quote(value)) + 2
    };
    let length = 3 + gateway_header.map_or(0, value_length);
    out.extend([transaction_id, PDU_PUSH]);
    put_uintvar(out, u32::try_from(length).unwrap_or(u32::MAX));
    out.extend([0x80 | NOTIFICATION_CODE as u8, 0x80 | APPLICATION_ID, 0x80 | DM_CODE]);
    if let Some(value) = gateway_header {
        out.push(0x80 | GATEWAY);
        if needs_quote(value) {
            out.push(QUOTE);
        }
        out.extend(value.bytes().filter(|&octet| octet != 0));
        out.push(0);
    }
    out.extend_from_slice(body);
}

/// Appends a push of the content type `code` with parameters (number and short integer or
/// text without NUL), and X-Wap-Application-Id for the DM client if `for_dm`.
pub fn encode_push(
    out: &mut Vec<u8>,
    transaction_id: u8,
    code: u8,
    parameters: &[(u8, HeaderValue<'_>)],
    for_dm: bool,
    body: &[u8],
) {
    let mut value = vec![0x80 | code];
    for (name, parameter) in parameters {
        value.push(0x80 | name);
        match parameter {
            HeaderValue::Short(number) => value.push(0x80 | number),
            HeaderValue::Text(text) => {
                value.extend(text.bytes().filter(|&octet| octet != 0));
                value.push(0);
            }
            HeaderValue::Octets(_) => value.push(0),
        }
    }
    let mut headers = Vec::new();
    if !parameters.is_empty() {
        if value.len() >= usize::from(LENGTH_QUOTE) {
            headers.push(LENGTH_QUOTE);
        }
        put_uintvar(&mut headers, u32::try_from(value.len()).unwrap_or(u32::MAX));
    }
    headers.append(&mut value);
    if for_dm {
        headers.extend([0x80 | APPLICATION_ID, 0x80 | DM_CODE]);
    }
    out.extend([transaction_id, PDU_PUSH]);
    put_uintvar(out, u32::try_from(headers.len()).unwrap_or(u32::MAX));
    out.append(&mut headers);
    out.extend_from_slice(body);
}

/// Takes the content type: a short integer, a NUL-ended text, or a length and then either of
/// the two (or a long integer) with parameters, which that length delimits.
fn content_type<'a>(reader: &mut Reader<'a>) -> Result<(ContentType<'a>, &'a [u8]), DecodeError> {
    match reader.peek() {
        Some(0..=LENGTH_QUOTE) => {
            let start = reader.position();
            let value = length_prefixed(reader)?;
            let skipped = reader.position() - start - value.len();
            let mut inner = Reader::new(value);
            let media = media_type(&mut inner)
                .map_err(|error| DecodeError { offset: start + skipped + error.offset, ..error })?;
            Ok((media, inner.remaining()))
        }
        _ => Ok((media_type(reader)?, &[])),
    }
}

fn media_type<'a>(reader: &mut Reader<'a>) -> Result<ContentType<'a>, DecodeError> {
    let malformed = reader.error(DecodeErrorKind::Malformed("no content type"));
    match reader.peek() {
        Some(octet @ 0x80..) => {
            reader.u8()?;
            Ok(ContentType::WellKnown(u32::from(octet & 0x7f)))
        }
        Some(length @ 1..=4) => {
            reader.u8()?;
            let octets = reader.take(usize::from(length))?;
            let code = octets.iter().fold(0_u32, |code, &octet| code << 8 | u32::from(octet));
            Ok(ContentType::WellKnown(code))
        }
        Some(32..=QUOTE) => Ok(ContentType::Text(clean_text(reader)?)),
        Some(_) => Err(malformed),
        None => Err(reader.error(DecodeErrorKind::Truncated)),
    }
}

/// Walks all header fields, and judges X-Oma-GwMO.
fn check_fields(reader: Reader<'_>) -> Result<(), DecodeError> {
    let mut is_named = false;
    for field in (Fields { reader, page: DEFAULT_PAGE }) {
        let (offset, field) = field?;
        if !field.name.is_gateway() {
            continue;
        }
        let error = |kind| DecodeError { offset, kind };
        if is_named {
            return Err(error(GATEWAY_TWICE));
        }
        check_gateway_value(field.value).map_err(error)?;
        is_named = true;
    }
    Ok(())
}

/// More than one device cannot be meant.
pub(super) const GATEWAY_TWICE: DecodeErrorKind =
    DecodeErrorKind::Malformed("X-Oma-GwMO stands twice");

/// The text of an X-Oma-GwMO value, if it can be a device's id.
pub(super) fn check_gateway_value(value: HeaderValue<'_>) -> Result<&str, DecodeErrorKind> {
    match gateway_value(value) {
        None => Err(DecodeErrorKind::Malformed("X-Oma-GwMO is not text")),
        Some("") => Err(DecodeErrorKind::Malformed("X-Oma-GwMO is empty")),
        Some(value) if value.len() > limits::DEVICE_ID => Err(DecodeErrorKind::Limit("X-Oma-GwMO")),
        Some(value) if value.chars().any(char::is_control) => Err(DecodeErrorKind::Text),
        Some(value) => Ok(value),
    }
}

/// The text of an X-Oma-GwMO value. WSP writes a quoted string with its opening mark only;
/// senders that pass HTTP text through write both.
fn gateway_value(value: HeaderValue<'_>) -> Option<&str> {
    let HeaderValue::Text(text) = value else { return None };
    let text = text.trim_matches(' ');
    let Some(quoted) = text.strip_prefix('"') else { return Some(text) };
    Some(quoted.strip_suffix('"').unwrap_or(quoted).trim_matches(' '))
}

/// The one walk over header fields: [`Push::decode`] looks for its errors, [`Push::fields`]
/// for its fields. Each field comes with its offset.
struct Fields<'a> {
    reader: Reader<'a>,
    page: u8,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(usize, Header<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(octet) = self.reader.peek() {
            let offset = self.reader.position();
            let field = match octet {
                QUOTE => self.reader.u8().and_then(|_| self.reader.u8()).map(|page| {
                    self.page = page;
                    None
                }),
                1..=31 => self.reader.u8().map(|page| {
                    self.page = page;
                    None
                }),
                _ => self.field(octet).map(Some),
            };
            match field {
                Ok(Some(header)) if self.page == DEFAULT_PAGE => return Some(Ok((offset, header))),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self, first: u8) -> Result<Header<'a>, DecodeError> {
        let name = match first {
            0 => {
                return Err(self.reader.error(DecodeErrorKind::Malformed("no header name")));
            }
            0x80.. => {
                self.reader.u8()?;
                HeaderName::WellKnown(first & 0x7f)
            }
            _ => HeaderName::Text(clean_text(&mut self.reader)?),
        };
        Ok(Header { name, value: value(&mut self.reader)? })
    }
}

fn value<'a>(reader: &mut Reader<'a>) -> Result<HeaderValue<'a>, DecodeError> {
    Ok(match reader.peek() {
        None => return Err(reader.error(DecodeErrorKind::Truncated)),
        Some(octet @ 0x80..) => {
            reader.u8()?;
            HeaderValue::Short(octet & 0x7f)
        }
        Some(0..=LENGTH_QUOTE) => HeaderValue::Octets(length_prefixed(reader)?),
        Some(_) => {
            let octets = reader.until_nul()?;
            let octets = octets.strip_prefix(&[QUOTE]).unwrap_or(octets);
            std::str::from_utf8(octets).map_or(HeaderValue::Octets(octets), HeaderValue::Text)
        }
    })
}

fn length_prefixed<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let length = match reader.u8()? {
        LENGTH_QUOTE => usize::try_from(reader.uintvar()?).unwrap_or(usize::MAX),
        short => usize::from(short),
    };
    reader.take(length)
}

/// Takes a NUL-ended text that must be UTF-8 without control characters.
fn clean_text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let not_clean = reader.error(DecodeErrorKind::Text);
    let octets = reader.until_nul()?;
    let octets = octets.strip_prefix(&[QUOTE]).unwrap_or(octets);
    match std::str::from_utf8(octets) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text),
        _ => Err(not_clean),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_headers(headers: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0, 6];
        put_uintvar(&mut datagram, headers.len() as u32);
        datagram.extend_from_slice(headers);
        datagram.extend_from_slice(b"body");
        datagram
    }

    fn gateway_header_of(headers: &[u8]) -> Result<Option<String>, DecodeErrorKind> {
        match Push::decode(&with_headers(headers)) {
            Ok(push) => Ok(push.gateway_header().map(String::from)),
            Err(error) => Err(error.kind),
        }
    }

    #[test]
    fn the_prescribed_form_comes_out_and_goes_in() {
        let mut datagram = Vec::new();
        encode_notification(&mut datagram, 1, None, b"body");
        assert_eq!(datagram, b"\x01\x06\x03\xc4\xaf\x87body");
        let push = Push::decode(&datagram).unwrap();
        assert!(push.is_notification() && push.is_for_dm());
        assert_eq!((push.gateway_header(), push.body), (None, &b"body"[..]));

        datagram.clear();
        encode_notification(&mut datagram, 2, Some("mac:01"), b"x");
        assert_eq!(datagram, b"\x02\x06\x0b\xc4\xaf\x87\xd0mac:01\0x");
        assert_eq!(Push::decode(&datagram).unwrap().gateway_header(), Some("mac:01"));
    }

    #[test]
    fn an_id_that_starts_beyond_ascii_is_quoted_on_the_wire() {
        let mut datagram = Vec::new();
        encode_notification(&mut datagram, 0, Some("\u{e9}tage"), b"");
        assert_eq!(Push::decode(&datagram).unwrap().gateway_header(), Some("\u{e9}tage"));
    }

    #[test]
    fn every_form_of_the_content_type_is_read() {
        let notification = |headers: &[u8]| {
            Push::decode(&with_headers(headers)).map(|push| push.is_notification())
        };
        assert_eq!(notification(b"\xc4"), Ok(true));
        assert_eq!(notification(b"\x03\xc4\x81\xea"), Ok(true));
        assert_eq!(notification(b"\x02\x01\x44"), Ok(true));
        assert_eq!(notification(b"\x1f\x01\xc4"), Ok(true));
        assert_eq!(notification(b"Application/vnd.SyncML.notification\0"), Ok(true));
        assert_eq!(notification(b"\x1f\x24application/vnd.syncml.notification\0"), Ok(true));
        assert_eq!(notification(b"text/plain\0"), Ok(false));
        assert_eq!(notification(b"\xd8"), Ok(false));
        assert!(notification(b"").is_err());
        assert!(notification(b"\x00").is_err());
        assert!(notification(b"\x05\xc4").is_err());
        assert!(notification(b"text/plain").is_err());
    }

    #[test]
    fn every_spelling_of_the_application_id_is_read() {
        let dm = |headers: &[u8]| Push::decode(&with_headers(headers)).unwrap().is_for_dm();
        assert!(dm(b"\xc4\xaf\x87"));
        assert!(dm(b"\xc4\xaf\x01\x07"));
        assert!(dm(b"\xc4\xaf7\0"));
        assert!(dm(b"\xc4\xafX-Wap-Application:SyncML.DM\0"));
        assert!(dm(b"\xc4x-wap-application-id\0x-wap-application:syncml.dm\0"));
        assert!(dm(b"\xc4x-wap-application-id\x007\0"));
        assert!(!dm(b"\xc4"));
        assert!(!dm(b"\xc4\xaf\x82"));
        assert!(!dm(b"\xc4\xaf\x87\xaf\x82"), "two ids that differ name nobody");
    }

    #[test]
    fn the_gateway_header_is_read_before_and_after_the_application_id() {
        let some = |id: &str| Ok(Some(id.to_owned()));
        assert_eq!(gateway_header_of(b"\xc4\xaf\x87\xd0mac:1\0"), some("mac:1"));
        assert_eq!(gateway_header_of(b"\xc4\xd0mac:1\0\xaf\x87"), some("mac:1"));
        assert_eq!(gateway_header_of(b"\xc4x-oma-GWMO\0mac:1\0\xaf\x87"), some("mac:1"));
        assert_eq!(gateway_header_of(b"\xc4\xaf\x87\xd0\x7fmac:1\0"), some("mac:1"));
        assert_eq!(gateway_header_of(b"\xc4\xaf\x87\xd0\"mac:1\0"), some("mac:1"));
        assert_eq!(gateway_header_of(b"\xc4\xaf\x87\xd0\" mac:1 \"\0"), some("mac:1"));
        assert_eq!(gateway_header_of(b"\xc4\xaf\x87"), Ok(None));
    }

    #[test]
    fn a_gateway_header_that_is_no_id_is_refused() {
        use DecodeErrorKind::{Limit, Malformed, Text};
        let refused = |headers: &[u8]| gateway_header_of(headers).unwrap_err();
        assert_eq!(refused(b"\xc4\xd0\x87"), Malformed("X-Oma-GwMO is not text"));
        assert_eq!(refused(b"\xc4\xd0\x02ab"), Malformed("X-Oma-GwMO is not text"));
        assert_eq!(refused(b"\xc4\xd0a\xff\0"), Malformed("X-Oma-GwMO is not text"));
        assert_eq!(refused(b"\xc4\xd0 \0"), Malformed("X-Oma-GwMO is empty"));
        assert_eq!(refused(b"\xc4\xd0\x7f\0"), Malformed("X-Oma-GwMO is empty"));
        assert_eq!(refused(b"\xc4\xd0a\nb\0"), Text);
        assert_eq!(refused(b"\xc4\xd0a\0\xd0a\0"), Malformed("X-Oma-GwMO stands twice"));
        assert_eq!(refused(b"\xc4\xd0a\0X-Oma-GwMO\0b\0"), Malformed("X-Oma-GwMO stands twice"));
        let long = format!("\u{7f}{}\0", "a".repeat(limits::DEVICE_ID + 1));
        assert_eq!(refused(&[b"\xc4\xd0", long.as_bytes()].concat()), Limit("X-Oma-GwMO"));
    }

    #[test]
    fn fields_of_other_code_pages_are_walked_but_not_taken_for_ours() {
        assert_eq!(gateway_header_of(b"\xc4\x7f\x02\xd0a\0\x7f\x01\xaf\x87"), Ok(None));
        assert_eq!(gateway_header_of(b"\xc4\x05\xd0\x87\x01\xd0b\0"), Ok(Some("b".into())));
        assert_eq!(gateway_header_of(b"\xc4\x7f"), Err(DecodeErrorKind::Truncated));
    }

    #[test]
    fn the_header_block_may_not_leave_the_datagram() {
        let kind = |datagram: &[u8]| Push::decode(datagram).unwrap_err().kind;
        assert_eq!(kind(b"\x00\x06\x04\xc4\xaf\x87"), DecodeErrorKind::LengthOverrun);
        assert_eq!(kind(b"\x00\x06\x02\xc4\xaf\x87"), DecodeErrorKind::Truncated);
        assert_eq!(
            kind(b"\x00\x07\x01\xc4"),
            DecodeErrorKind::Malformed("PDU type is not Push (06)")
        );
        assert_eq!(kind(b"\x00\x06\xff\xff\xff\xff\x7f"), DecodeErrorKind::IntegerOverflow);
        assert_eq!(Push::decode(b"\x00\x07").unwrap_err().offset, 1);
    }

    #[test]
    fn a_route_names_the_next_hop_and_whether_more_follow() {
        let to = |device, has_further_hops| Some(Route { device, has_further_hops });
        assert_eq!(route("mac:01-02"), to("mac:01-02", false));
        assert_eq!(route(" imei:1 ; ttl=3;x= "), to("imei:1", false));
        assert_eq!(route("gw-2;a=b, mac:01"), to("gw-2", true));
        for broken in ["", " ", ";a=b", "a,", ",a", "a;", "a;b", "a;=b", "a\u{1}"] {
            assert_eq!(route(broken), None, "{broken:?}");
        }
    }
}
