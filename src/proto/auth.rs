//! Who a message is from: `Cred`, `Chal` and the nonces between them.
//!
//! (OMA-TS-DM_Security 1.2.1, 5.3.) `B` is base64, `H` is MD5:
//!
//! ```text
//! syncml:auth-basic   B(user ":" secret)
//! syncml:auth-md5     B(H( B(H(user ":" secret)) ":" nonce ))
//! syncml:auth-MAC     B(H( B(H(user ":" secret)) ":" nonce ":" B(H(body)) ))
//! ```
//!
//! The nonce of these formulas is the octets after `NextNonce` was base64-decoded, once. The
//! third stands in the HTTP header [`MAC_HEADER`], not in a `Cred`; its `body` is the octets of the
//! message as they are sent. The prose of the specification calls it an HMAC of RFC 2104; its
//! formula, and what clients compute, is this plain digest.

use super::syncml::{Credentials, Data, Meta};
use crate::limits;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use md5::{Digest as _, Md5};
use std::borrow::Cow;
use std::fmt;
use subtle::ConstantTimeEq;

/// Writes padding, and reads with or without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret that never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps the text of a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for a formula; not for a log.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `given` is the secret; takes the same time wherever the two differ. How long the
    /// secret is does show.
    pub fn matches(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// An authentication type of SyncML that the gateway speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `syncml:auth-basic`: the secret itself, base64.
    Basic,
    /// `syncml:auth-md5`: a digest over the secret and a nonce.
    Md5,
    /// `syncml:auth-MAC`: a digest over the secret, a nonce and the whole message, in the HTTP
    /// header [`MAC_HEADER`]. A `Cred` never carries it.
    Mac,
}

/// The HTTP header of `syncml:auth-MAC`, in lower case.
pub const MAC_HEADER: &str = "x-syncml-hmac";

impl Scheme {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "syncml:auth-basic",
            Self::Md5 => "syncml:auth-md5",
            Self::Mac => "syncml:auth-MAC",
        }
    }

    /// The scheme of that name, case and white space around it ignored.
    pub fn of_name(name: &str) -> Option<Self> {
        let is = |scheme: &Self| name.trim().eq_ignore_ascii_case(scheme.name());
        [Self::Basic, Self::Md5, Self::Mac].into_iter().find(is)
    }
}

/// How credentials in a message compare with the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They are right.
    Accepted,
    /// None given, or empty: Status 407.
    Missing,
    /// Wrong, or of another type than asked for: Status 401.
    Wrong,
}

/// Judges `credentials` against an account: `user` and `secret`, and the `nonce` handed out
/// last (not looked at with `Basic`). A `Cred` without a Type counts as `Basic`, the default of
/// SyncML. The comparison takes the same time wherever the two differ.
pub fn verify(
    scheme: Scheme,
    credentials: Option<&Credentials<'_>>,
    user: &str,
    secret: &Secret,
    nonce: &[u8],
) -> Verdict {
    let Some(credentials) = credentials else { return Verdict::Missing };
    let given = match &credentials.data {
        Some(Data::Text(text) | Data::Markup(text)) => text.trim().as_bytes(),
        Some(Data::Binary(octets)) => octets,
        None => &[],
    };
    if given.is_empty() {
        return Verdict::Missing;
    }
    let kind = credentials.meta.kind.as_deref().unwrap_or_else(|| Scheme::Basic.name());
    if !kind.trim().eq_ignore_ascii_case(scheme.name()) {
        return Verdict::Wrong;
    }
    let expected = proof(scheme, user, secret, nonce);
    let decoded = base64_decoded(given).unwrap_or_default();
    if bool::from(expected.ct_eq(given) | expected.ct_eq(&decoded)) {
        Verdict::Accepted
    } else {
        Verdict::Wrong
    }
}

/// Builds the `Cred` that [`verify`] accepts.
pub fn credentials(
    scheme: Scheme,
    user: &str,
    secret: &Secret,
    nonce: &[u8],
) -> Credentials<'static> {
    let data = base64_of(&proof(scheme, user, secret, nonce));
    Credentials { meta: meta(scheme), data: Some(Data::Text(Cow::Owned(data))) }
}

/// The value of [`MAC_HEADER`] for a message whose octets are `body`.
pub fn mac(user: &str, secret: &Secret, nonce: &[u8], body: &[u8]) -> String {
    // Whatever would end the header or its field cannot stand in it.
    let name: String = user.chars().filter(|it| !it.is_control() && *it != '"').collect();
    let mac = base64_of(&mac_of(user, secret, nonce, body));
    format!("algorithm=MD5, username=\"{name}\", mac={mac}")
}

/// Judges the value of [`MAC_HEADER`], if the message had one. Its digest may lack padding, stand
/// in quotes, or be the base64 of hexadecimal digits, as the specification's example has it.
/// The comparison takes the same time wherever the two differ.
pub fn verify_mac(
    header: Option<&str>,
    user: &str,
    secret: &Secret,
    nonce: &[u8],
    body: &[u8],
) -> Verdict {
    let Some(header) = header.filter(|header| !header.trim().is_empty()) else {
        return Verdict::Missing;
    };
    let (mut name, mut given) = (None, None);
    for field in fields(header) {
        let Some((key, value)) = field.split_once('=') else { continue };
        let value = value.trim().trim_matches('"');
        match key.trim().to_ascii_lowercase().as_str() {
            "algorithm" if !value.eq_ignore_ascii_case("MD5") => return Verdict::Wrong,
            "username" => name = Some(value),
            "mac" => given = base64_decoded(value.as_bytes()),
            _ => {}
        }
    }
    let (Some(name), Some(given)) = (name, given) else { return Verdict::Wrong };
    let expected = mac_of(user, secret, nonce, body);
    let digits: String = expected.iter().map(|octet| format!("{octet:02x}")).collect();
    let same = expected.ct_eq(given.as_slice())
        | digits.as_bytes().ct_eq(given.to_ascii_lowercase().as_slice());
    if bool::from(same) && name == user { Verdict::Accepted } else { Verdict::Wrong }
}

/// The fields of a header, cut at commas outside of quotes.
fn fields(header: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    header.split(move |it| {
        quoted ^= it == '"';
        it == ',' && !quoted
    })
}

/// Builds the Meta of a `Chal`; `nonce` goes out as NextNonce, except with `Basic`.
pub fn challenge(scheme: Scheme, nonce: &[u8]) -> Meta<'static> {
    let next_nonce = (scheme != Scheme::Basic).then(|| Cow::Owned(base64_of(nonce)));
    Meta { next_nonce, ..meta(scheme) }
}

/// The nonce octets out of a `Chal`: base64 decoded once, missing padding tolerated; text that
/// is not base64 is taken as it is. `None` without a NextNonce, with an empty one, and with
/// one of more than [`limits::NONCE`] octets.
pub fn next_nonce(challenge: &Meta<'_>) -> Option<Vec<u8>> {
    let text = challenge.next_nonce.as_deref()?.trim();
    if text.len() > 2 * limits::NONCE {
        return None;
    }
    let nonce = base64_decoded(text.as_bytes()).unwrap_or_else(|| text.as_bytes().to_vec());
    (1..=limits::NONCE).contains(&nonce.len()).then_some(nonce)
}

/// Standard base64 with padding.
pub(super) fn base64_of(octets: &[u8]) -> String {
    BASE64.encode(octets)
}

/// MD5 over `parts` in a row.
pub(super) fn md5_of(parts: &[&[u8]]) -> [u8; 16] {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    md5.finalize().into()
}

/// What a `Cred` carries, before base64.
fn proof(scheme: Scheme, user: &str, secret: &Secret, nonce: &[u8]) -> Vec<u8> {
    let account = [user.as_bytes(), b":", secret.expose().as_bytes()];
    match scheme {
        Scheme::Basic => account.concat(),
        Scheme::Md5 => {
            let account = base64_of(&md5_of(&account));
            md5_of(&[account.as_bytes(), b":", nonce]).to_vec()
        }
        // No Cred carries this one, and nothing that was given equals nothing.
        Scheme::Mac => Vec::new(),
    }
}

fn mac_of(user: &str, secret: &Secret, nonce: &[u8], body: &[u8]) -> [u8; 16] {
    let account = md5_of(&[user.as_bytes(), b":", secret.expose().as_bytes()]);
    let (account, body) = (base64_of(&account), base64_of(&md5_of(&[body])));
    md5_of(&[account.as_bytes(), b":", nonce, b":", body.as_bytes()])
}

fn meta(scheme: Scheme) -> Meta<'static> {
    Meta {
        kind: Some(Cow::Borrowed(scheme.name())),
        format: Some(Cow::Borrowed("b64")),
        ..Meta::default()
    }
}

/// Decodes base64, line breaks and blanks in it ignored.
pub(super) fn base64_decoded(text: &[u8]) -> Option<Vec<u8>> {
    if text.iter().any(u8::is_ascii_whitespace) {
        let joined: Vec<u8> =
            text.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
        return BASE64.decode(joined).ok();
    }
    BASE64.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASIC: &str = "QnJ1Y2UyOk9oQmVoYXZl";
    const MD5: &str = "Zz6EivR3yeaaENcRN6lpAQ==";

    fn judge(scheme: Scheme, kind: &'static str, data: Option<Data<'static>>) -> Verdict {
        let meta = Meta { kind: Some(kind.into()), ..Meta::default() };
        let credentials = Credentials { meta, data };
        verify(scheme, Some(&credentials), "Bruce2", &Secret::new("OhBehave"), b"Nonce")
    }

    fn text(data: &'static str) -> Option<Data<'static>> {
        Some(Data::Text(data.into()))
    }

    #[test]
    fn the_known_answers_come_out() {
        let secret = Secret::new("OhBehave");
        let basic = credentials(Scheme::Basic, "Bruce2", &secret, b"");
        assert_eq!(basic.data, text(BASIC));
        assert_eq!(basic.meta.kind.as_deref(), Some("syncml:auth-basic"));
        assert_eq!(base64_of(&md5_of(&[b"Bruce2:OhBehave"])), "PtEdr8lBQ45IbT1bZIkrOQ==");
        let md5 = credentials(Scheme::Md5, "Bruce2", &secret, b"Nonce");
        assert_eq!(md5.data, text(MD5));
        assert_eq!(md5.meta.format.as_deref(), Some("b64"));
    }

    #[test]
    fn the_mac_of_a_message_has_its_known_answer_and_is_read_in_every_form() {
        let secret = Secret::new("OhBehave");
        let header = mac("Bruce2", &secret, b"Nonce", b"<SyncML/>");
        assert_eq!(header, "algorithm=MD5, username=\"Bruce2\", mac=urdCeS3JUmjFgi8SX3webw==");
        let judge =
            |header: &str, body: &[u8]| verify_mac(Some(header), "Bruce2", &secret, b"Nonce", body);
        let digits = mac_of("Bruce2", &secret, b"Nonce", b"<SyncML/>");
        let digits: String = digits.iter().map(|octet| format!("{octet:02x}")).collect();
        for good in [
            header.clone(),
            "username=Bruce2,mac=\"urdCeS3JUmjFgi8SX3webw\"".to_owned(),
            format!("mac={}, Username=\"Bruce2\", x", base64_of(digits.as_bytes())),
        ] {
            assert_eq!(judge(&good, b"<SyncML/>"), Verdict::Accepted, "{good}");
            assert_eq!(judge(&good, b"<SyncML />"), Verdict::Wrong, "{good}");
        }
        for bad in [
            "mac=urdCeS3JUmjFgi8SX3webw==",
            "username=\"Bruce2\"",
            "username=\"Bruce\", mac=urdCeS3JUmjFgi8SX3webw==",
            "algorithm=SHA1, username=\"Bruce2\", mac=urdCeS3JUmjFgi8SX3webw==",
            "username=Bruce2, mac=====",
        ] {
            assert_eq!(judge(bad, b"<SyncML/>"), Verdict::Wrong, "{bad}");
        }
        assert_eq!(verify_mac(None, "Bruce2", &secret, b"", b""), Verdict::Missing);
        assert_eq!(verify_mac(Some(" "), "Bruce2", &secret, b"", b""), Verdict::Missing);
        // In a Cred it counts for nothing.
        assert_eq!(judge_cred_of_mac(), Verdict::Wrong);
    }

    fn judge_cred_of_mac() -> Verdict {
        judge(Scheme::Mac, "syncml:auth-MAC", text("urdCeS3JUmjFgi8SX3webw=="))
    }

    #[test]
    fn the_right_credentials_are_accepted_however_they_are_carried() {
        let basic = |data| judge(Scheme::Basic, "syncml:auth-basic", data);
        assert_eq!(basic(text(BASIC)), Verdict::Accepted);
        assert_eq!(basic(Some(Data::Markup(BASIC.into()))), Verdict::Accepted);
        assert_eq!(basic(Some(Data::Binary(BASIC.as_bytes().into()))), Verdict::Accepted);
        assert_eq!(basic(Some(Data::Binary(b"Bruce2:OhBehave".into()))), Verdict::Accepted);
        let md5 = |data| judge(Scheme::Md5, " SyncML:auth-MD5 ", data);
        let raw = BASE64.decode(MD5).unwrap();
        assert_eq!(md5(text(MD5)), Verdict::Accepted);
        assert_eq!(md5(text("\n  Zz6EivR3yeaa\n  ENcRN6lpAQ ")), Verdict::Accepted);
        assert_eq!(md5(Some(Data::Binary(raw.into()))), Verdict::Accepted);
    }

    #[test]
    fn none_or_empty_credentials_are_missing_not_wrong() {
        let secret = Secret::new("OhBehave");
        assert_eq!(verify(Scheme::Basic, None, "Bruce2", &secret, b""), Verdict::Missing);
        assert_eq!(judge(Scheme::Basic, "syncml:auth-basic", None), Verdict::Missing);
        assert_eq!(judge(Scheme::Md5, "syncml:auth-basic", text("  ")), Verdict::Missing);
    }

    #[test]
    fn credentials_of_another_type_nonce_or_secret_are_wrong() {
        assert_eq!(judge(Scheme::Md5, "syncml:auth-basic", text(BASIC)), Verdict::Wrong);
        assert_eq!(judge(Scheme::Basic, "syncml:auth-md5", text(MD5)), Verdict::Wrong);
        assert_eq!(judge(Scheme::Basic, "syncml:auth-basic", text("QnJ1Y2Uy")), Verdict::Wrong);
        assert_eq!(judge(Scheme::Basic, "syncml:auth-basic", text("?!")), Verdict::Wrong);
        let secret = Secret::new("OhBehave");
        let stale = credentials(Scheme::Md5, "Bruce2", &secret, b"Nonce");
        assert_eq!(verify(Scheme::Md5, Some(&stale), "Bruce2", &secret, b"Next"), Verdict::Wrong);
    }

    #[test]
    fn a_nonce_survives_the_challenge_and_is_decoded_once() {
        let nonce = [0x00, 0xff, 0x10, 0x20];
        let chal = challenge(Scheme::Md5, &nonce);
        assert_eq!(next_nonce(&chal), Some(nonce.to_vec()));
        assert_eq!(challenge(Scheme::Basic, &nonce).next_nonce, None);

        let of =
            |text: &str| next_nonce(&Meta { next_nonce: Some(text.into()), ..Meta::default() });
        assert_eq!(of("Tm9uY2U"), Some(b"Nonce".to_vec()));
        assert_eq!(of("VG05dVkyVT0="), Some(b"Tm9uY2U=".to_vec()));
        assert_eq!(of("Nonce"), Some(b"Nonce".to_vec()));
        assert_eq!(of(" "), None);
        assert_eq!(of(&base64_of(&[7; limits::NONCE])), Some(vec![7; limits::NONCE]));
        assert_eq!(of(&base64_of(&[7; limits::NONCE + 1])), None);
    }

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("OhBehave")), "Secret(…)");
    }
}
