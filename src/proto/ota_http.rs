//! The push in an HTTP request (OTA-HTTP): header fields as lines of text, the body as it is.
//!
//! ```text
//! POST / HTTP/1.1
//! Content-Type: application/vnd.syncml.notification
//! X-Wap-Application-Id: x-wap-application:syncml.dm
//! X-Oma-GwMO: IMEI:490154203237518
//!
//! digest, trigger
//! ```
//!
//! (WAP-235-PushOTA; X-Oma-GwMO: OMNA push header registry.) The values are the texts that
//! [`wsp`] knows, and mean the same.

use super::wire::DecodeErrorKind;
use super::wsp::{self, HeaderValue};

/// One header field of a request: its name, its value as it came.
pub type Field<'a> = (&'a str, &'a [u8]);

/// What the header fields of a push say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpPush<'a> {
    /// Whether there is one content type, `application/vnd.syncml.notification`.
    pub is_notification: bool,
    /// Whether X-Wap-Application-Id is there and names the DM client; if it stands more than
    /// once, each does.
    pub is_for_dm: bool,
    /// X-Oma-GwMO without outer blanks and quotes.
    pub gateway_header: Option<&'a str>,
}

impl<'a> HttpPush<'a> {
    /// Reads the header fields.
    ///
    /// # Errors
    /// Where X-Oma-GwMO stands twice, or is not a text of 1 to
    /// [`limits::DEVICE_ID`](crate::limits::DEVICE_ID) octets without control characters: such a
    /// push may not be taken for one that names no device.
    pub fn decode(fields: &[Field<'a>]) -> Result<Self, DecodeErrorKind> {
        let mut gateway = values(fields, "x-oma-gwmo");
        let gateway_header = match (gateway.next(), gateway.next()) {
            (None, _) => None,
            (Some(_), Some(_)) => return Err(wsp::GATEWAY_TWICE),
            (Some(value), None) => {
                let value = std::str::from_utf8(value).map_or(HeaderValue::Octets(value), |text| {
                    // HTTP counts tabs as blanks.
                    HeaderValue::Text(text.trim_matches(['\t', ' ']))
                });
                Some(wsp::check_gateway_value(value)?)
            }
        };
        Ok(Self {
            is_notification: is_one_and(values(fields, "content-type"), wsp::is_notification),
            is_for_dm: is_all_and(values(fields, "x-wap-application-id"), wsp::is_dm),
            gateway_header,
        })
    }
}

/// The token of `Authorization: Bearer …`, if that stands there once. (RFC 6750, 2.1.)
pub fn bearer<'a>(fields: &[Field<'a>]) -> Option<&'a [u8]> {
    let mut values = values(fields, "authorization");
    let value = values.next().filter(|_| values.next().is_none())?.trim_ascii();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii_start())
}

fn values<'f, 'a>(
    fields: &'f [Field<'a>],
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> + use<'f, 'a> {
    fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
}

fn is_one_and<'a>(mut values: impl Iterator<Item = &'a [u8]>, is: fn(&str) -> bool) -> bool {
    values.next().is_some_and(|value| std::str::from_utf8(value).is_ok_and(is))
        && values.next().is_none()
}

fn is_all_and<'a>(values: impl Iterator<Item = &'a [u8]>, is: fn(&str) -> bool) -> bool {
    let mut values = values.peekable();
    values.peek().is_some() && values.all(|value| std::str::from_utf8(value).is_ok_and(is))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    const TYPE: Field<'_> = ("content-type", b"application/vnd.syncml.notification");
    const DM: Field<'_> = ("x-wap-application-id", b"x-wap-application:syncml.dm");

    fn decode<'a>(fields: &[Field<'a>]) -> HttpPush<'a> {
        HttpPush::decode(fields).unwrap()
    }

    fn gateway(value: &[u8]) -> Result<Option<&str>, DecodeErrorKind> {
        HttpPush::decode(&[TYPE, DM, ("X-Oma-GwMO", value)]).map(|push| push.gateway_header)
    }

    #[test]
    fn a_push_is_read_in_any_order_and_case() {
        let push = decode(&[DM, ("X-OMA-gwmo", b"mac:1"), ("host", b"x"), TYPE]);
        assert!(push.is_notification && push.is_for_dm);
        assert_eq!(push.gateway_header, Some("mac:1"));
        let long = ("Content-Type", &b"Application/vnd.SyncML.notification ; charset=x"[..]);
        assert!(decode(&[long]).is_notification);
        assert!(decode(&[("X-Wap-Application-Id", b" 7 ")]).is_for_dm);
    }

    #[test]
    fn what_is_missing_or_said_twice_with_two_meanings_is_not_taken() {
        let push = decode(&[]);
        assert!(!push.is_notification && !push.is_for_dm && push.gateway_header.is_none());
        assert!(!decode(&[TYPE, TYPE]).is_notification);
        assert!(!decode(&[("content-type", b"text/plain")]).is_notification);
        assert!(decode(&[DM, DM]).is_for_dm);
        assert!(!decode(&[DM, ("x-wap-application-id", b"2")]).is_for_dm);
        assert!(!decode(&[("x-wap-application-id", b"7\xff")]).is_for_dm);
    }

    #[test]
    fn a_gateway_header_that_is_no_id_is_an_error() {
        use DecodeErrorKind::{Limit, Malformed, Text};
        assert_eq!(gateway(b"\t mac:1 \t"), Ok(Some("mac:1")));
        assert_eq!(gateway(b"\" mac:1 \""), Ok(Some("mac:1")));
        assert_eq!(gateway("\u{e9}tage".as_bytes()), Ok(Some("\u{e9}tage")));
        assert_eq!(gateway(b""), Err(Malformed("X-Oma-GwMO is empty")));
        assert_eq!(gateway(b"a\xff"), Err(Malformed("X-Oma-GwMO is not text")));
        assert_eq!(gateway(b"a\tb"), Err(Text));
        assert_eq!(gateway(&[b'a'; limits::DEVICE_ID + 1]), Err(Limit("X-Oma-GwMO")));
        let twice = [("x-oma-gwmo", &b"a"[..]), ("x-oma-gwmo", b"a")];
        assert_eq!(HttpPush::decode(&twice), Err(wsp::GATEWAY_TWICE));
    }

    #[test]
    fn a_bearer_token_is_found_where_it_stands_alone() {
        let token = |value: &'static [u8]| bearer(&[("Authorization", value)]);
        assert_eq!(token(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(token(b" bearer  a b "), Some(&b"a b"[..]));
        assert_eq!(token(b"Bearer "), None);
        assert_eq!(token(b"Basic abc"), None);
        assert_eq!(token(b"Bearerabc"), None);
        assert_eq!(token(b""), None);
        assert_eq!(bearer(&[]), None);
        let twice = [("authorization", &b"Bearer a"[..]), ("authorization", b"Bearer a")];
        assert_eq!(bearer(&twice), None);
    }
}
