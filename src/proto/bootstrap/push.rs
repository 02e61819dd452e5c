//! Bootstrap documents as pushes: content types, SEC and MAC in the headers of WSP.
//!
//! ```text
//! TID 06 len  1F 2F B6 91 80 92 "hex" 00  document     CP, NETWPIN
//! TID 06 len  1F 2F C2 91 81 92 "hex" 00  AF 87 document     DM, USERPIN
//! ```
//!
//! (OMA-WAP-TS-ProvBoot 1.1, 5.2; WSP assigned numbers.) The number of SEC is that of client
//! provisioning; the DM profile names its methods as text, and both are taken for both.

use super::Profile;
use super::security::{Keys, Method, Refusal, Security, mac_of_text, text_of_mac, verify};
use crate::proto::wsp::{ContentType, HeaderName, HeaderValue, Push, encode_push};

/// Content types, as WSP numbers and as text.
const TYPES: [(u8, &str, Profile); 4] = [
    (0x36, "application/vnd.wap.connectivity-wbxml", Profile::Cp),
    (0x35, "text/vnd.wap.connectivity-xml", Profile::Cp),
    (0x42, "application/vnd.syncml.dm+wbxml", Profile::Dm),
    (0x43, "application/vnd.syncml.dm+xml", Profile::Dm),
];
/// Content types that are no WSP numbers.
const TEXTS: [(&str, Profile); 2] = [
    ("application/vnd.syncml.dmtnds+xml", Profile::Dm),
    ("application/vnd.syncml.dmtnds+wbxml", Profile::Dm),
];
/// Content type parameter SEC.
const SEC: u8 = 0x11;
/// Content type parameter MAC.
const MAC: u8 = 0x12;

/// A bootstrap document that came over a network, and what is to prove its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Which profile its content type says.
    pub profile: Profile,
    /// SEC and MAC, if SEC is there and known.
    pub security: Option<Security>,
    /// The document.
    pub document: &'a [u8],
}

impl<'a> Received<'a> {
    /// Takes a push, if its content type is one of a bootstrap.
    pub fn of_push(push: &Push<'a>) -> Option<Self> {
        let (profile, security) = match push.content_type {
            ContentType::WellKnown(code) => {
                let row = TYPES.into_iter().find(|row| u32::from(row.0) == code)?;
                (row.2, security(push))
            }
            ContentType::Text(text) => {
                let profile = profile_of(text)?;
                let is_bare = push.encoded_parameters.is_empty();
                let of_text = Security::of_content_type(text);
                (profile, if is_bare { of_text } else { security(push) })
            }
        };
        Some(Self { profile, security, document: push.body })
    }

    /// Takes a body, if its textual content type is one of a bootstrap.
    pub fn of_body(content_type: &str, body: &'a [u8]) -> Option<Self> {
        let profile = profile_of(content_type)?;
        let security = Security::of_content_type(content_type);
        Some(Self { profile, security, document: body })
    }

    /// Judges SEC and MAC.
    ///
    /// # Errors
    /// Why the document is not to be used.
    pub fn verify(&self, keys: &Keys) -> Result<(), Refusal> {
        verify(self.profile, self.security.as_ref(), keys, self.document)
    }
}

/// Appends the push that carries a WBXML `document`.
pub fn encode(
    out: &mut Vec<u8>,
    transaction_id: u8,
    profile: Profile,
    security: Option<&Security>,
    document: &[u8],
) {
    let code = if profile == Profile::Cp { 0x36 } else { 0x42 };
    let hex = security.and_then(|security| security.mac.as_ref()).map(text_of_mac);
    let mut parameters = Vec::new();
    if let Some(security) = security {
        parameters.push((SEC, HeaderValue::Short(security.method.code())));
    }
    if let Some(hex) = &hex {
        parameters.push((MAC, HeaderValue::Text(hex)));
    }
    encode_push(out, transaction_id, code, &parameters, profile == Profile::Dm, document);
}

/// The textual content type of a WBXML document, SEC and MAC behind it.
pub fn content_type(profile: Profile, security: Option<&Security>) -> String {
    let media = media_type(profile);
    let parameters = security.map(|security| security.parameters(profile)).unwrap_or_default();
    format!("{media}{parameters}")
}

/// The content type of a WBXML document that is not signed.
pub fn media_type(profile: Profile) -> &'static str {
    TYPES.iter().find(|row| row.2 == profile).map_or("", |row| row.1)
}

fn profile_of(content_type: &str) -> Option<Profile> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let known = TYPES.into_iter().map(|row| (row.1, row.2)).chain(TEXTS);
    known.into_iter().find(|(text, _)| text.eq_ignore_ascii_case(media)).map(|(_, profile)| profile)
}

/// SEC and MAC of encoded parameters; none if one of them stands twice.
fn security(push: &Push<'_>) -> Option<Security> {
    let mut method = None;
    let mut mac = None;
    for parameter in push.parameters() {
        let is = |code: u8, text: &str| match parameter.name {
            HeaderName::WellKnown(number) => number == code,
            HeaderName::Text(name) => name.eq_ignore_ascii_case(text),
        };
        let is_second = if is(SEC, "SEC") {
            let found = match parameter.value {
                HeaderValue::Short(code) => Method::of_code(code),
                HeaderValue::Text(name) => Method::of_name(name),
                HeaderValue::Octets([code]) => Method::of_code(*code),
                HeaderValue::Octets(_) => None,
            };
            method.replace(found?).is_some()
        } else if is(MAC, "MAC") {
            let found = match parameter.value {
                HeaderValue::Text(text) => mac_of_text(text),
                _ => None,
            };
            mac.replace(found).is_some()
        } else {
            false
        };
        if is_second {
            return None;
        }
    }
    Some(Security { method: method?, mac: mac.flatten() })
}

#[cfg(test)]
mod tests {
    use super::super::security::sign;
    use super::*;
    use crate::proto::auth::Secret;

    #[test]
    fn a_signed_push_survives_and_proves_itself() {
        let keys =
            Keys { network: Some(Secret::new("001010123456789")), user: Some(Secret::new("1234")) };
        for profile in [Profile::Dm, Profile::Cp] {
            for method in [Method::NetworkPin, Method::UserPin, Method::UserNetworkPin] {
                let security = sign(profile, method, &keys, b"\x02document").unwrap();
                let mut datagram = Vec::new();
                encode(&mut datagram, 7, profile, Some(&security), b"\x02document");
                let push = Push::decode(&datagram).unwrap();
                let received = Received::of_push(&push).unwrap();
                assert_eq!((received.profile, received.security), (profile, Some(security)));
                assert_eq!(received.verify(&keys), Ok(()));
                assert_eq!(push.is_for_dm(), profile == Profile::Dm);

                let content_type = content_type(profile, Some(&security));
                let body = Received::of_body(&content_type, received.document);
                assert_eq!(body, Some(received));
                for length in 0..datagram.len() {
                    let Ok(push) = Push::decode(&datagram[..length]) else { continue };
                    let verdict = Received::of_push(&push).map(|it| it.verify(&keys));
                    assert_ne!(verdict, Some(Ok(())));
                }
            }
        }
    }

    #[test]
    fn the_headers_have_the_registered_octets() {
        let security = Security { method: Method::NetworkPin, mac: Some([0xab; 20]) };
        let mut datagram = Vec::new();
        encode(&mut datagram, 1, Profile::Cp, Some(&security), b"x");
        assert_eq!(datagram[..9], [0x01, 0x06, 0x2f, 0x1f, 0x2d, 0xb6, 0x91, 0x80, 0x92]);
        assert_eq!(&datagram[9..13], b"ABAB");
        assert_eq!(datagram[49..], [0x00, b'x']);
    }

    #[test]
    fn a_push_of_something_else_or_with_twin_parameters_is_not_taken() {
        let mut datagram = Vec::new();
        encode_push(&mut datagram, 1, 0x44, &[], true, b"x");
        assert_eq!(Received::of_push(&Push::decode(&datagram).unwrap()), None);
        datagram.clear();
        let sec = (SEC, HeaderValue::Short(1));
        encode_push(&mut datagram, 1, 0x36, &[sec, sec], false, b"x");
        let received = Received::of_push(&Push::decode(&datagram).unwrap()).unwrap();
        assert_eq!(received.verify(&Keys::default()), Err(Refusal::Unsigned));
    }
}
