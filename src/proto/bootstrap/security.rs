//! SEC and MAC: what proves that a bootstrap document comes from somebody who knows a secret.
//!
//! (OMA-TS-DM_Bootstrap 1.2.1, 5.7; OMA-WAP-TS-ProvBoot 1.1, 5.2.) The MAC is HMAC-SHA1 over the
//! document, in hexadecimal; the two profiles differ in how the secrets become a key:
//!
//! ```text
//! method        DM                   CP
//! network pin   text                 IMSI as semi-octets; text that is no IMSI as it is
//! user pin      text                 text
//! both          pin ":" text         IMSI octets, then pin
//! pin with MAC  -                    first half of the pin; the second half is the proof
//! ```
//!
//! A MAC proves the sender and hides nothing. SHA-1 is what the specifications name; HMAC with it is
//! not known to be broken.

use super::Profile;
use crate::proto::auth::Secret;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use std::fmt::{self, Write as _};
use subtle::{Choice, ConstantTimeEq as _};

/// Length of a MAC, in octets.
pub const MAC: usize = 20;
/// Digits of each half of a pin with MAC: 5 at least, one for each octet of the MAC at most.
const HALF: std::ops::RangeInclusive<usize> = 5..=MAC;

/// `SEC`: which secret the key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// CP `NETWPIN`, DM `NETWORKID`.
    NetworkPin,
    /// `USERPIN`.
    UserPin,
    /// CP `USERNETWPIN`, DM `USERPIN_NETWORKID`.
    UserNetworkPin,
    /// CP `USERPINMAC`: the pin itself carries the proof.
    UserPinMac,
}

/// The SEC and MAC parameters of a content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Security {
    /// `SEC`.
    pub method: Method,
    /// `MAC`; `None` where the parameter is missing, or is not 40 hexadecimal digits.
    pub mac: Option<[u8; MAC]>,
}

/// The secrets that a receiver shares with bootstrap servers.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The network's: an IMSI, or any text that operator and device agreed on.
    pub network: Option<Secret>,
    /// The user's pin.
    pub user: Option<Secret>,
}

/// Why a document is not accepted. A sender is told nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is no SEC, or a MAC that it needs is missing or malformed.
    Unsigned,
    /// The profile has no such method.
    Method,
    /// The secret that the method wants is not configured, or cannot be used with it.
    NoKey,
    /// The MAC is of another secret or document. To be counted: only so many tries are allowed.
    Wrong,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsigned => "it is not signed",
            Self::Method => "its profile has no such way of signing",
            Self::NoKey => "there is no key or pin for its way of signing",
            Self::Wrong => "its MAC is wrong",
        })
    }
}

impl Method {
    /// The method of a WSP short integer (0 to 3).
    pub fn of_code(code: u8) -> Option<Self> {
        [Self::NetworkPin, Self::UserPin, Self::UserNetworkPin, Self::UserPinMac]
            .get(usize::from(code))
            .copied()
    }

    /// The WSP short integer, without the high bit.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The method of a name, of either profile; case does not matter.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.trim().trim_matches('"').to_ascii_uppercase().as_str() {
            "NETWPIN" | "NETWORKID" => Some(Self::NetworkPin),
            "USERPIN" => Some(Self::UserPin),
            "USERNETWPIN" | "USERPIN_NETWORKID" => Some(Self::UserNetworkPin),
            "USERPINMAC" => Some(Self::UserPinMac),
            _ => None,
        }
    }

    /// The name in a textual content type.
    pub fn name(self, profile: Profile) -> &'static str {
        match (self, profile) {
            (Self::NetworkPin, Profile::Dm) => "NETWORKID",
            (Self::NetworkPin, Profile::Cp) => "NETWPIN",
            (Self::UserPin, _) => "USERPIN",
            (Self::UserNetworkPin, Profile::Dm) => "USERPIN_NETWORKID",
            (Self::UserNetworkPin, Profile::Cp) => "USERNETWPIN",
            (Self::UserPinMac, _) => "USERPINMAC",
        }
    }
}

impl Security {
    /// The parameters of a textual content type: `type/subtype; SEC=…; MAC=…`, in any case and
    /// order, quoted or not. `None` without a SEC that is known, or if one of them stands twice.
    pub fn of_content_type(text: &str) -> Option<Self> {
        let mut method = None;
        let mut mac = None;
        for parameter in text.split(';').skip(1) {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let name = name.trim();
            if name.eq_ignore_ascii_case("SEC") {
                if method.replace(Method::of_name(value)?).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case("MAC") && mac.replace(value).is_some() {
                return None;
            }
        }
        Some(Self { method: method?, mac: mac.and_then(mac_of_text) })
    }

    /// The parameters as text, to be put behind a media type: `; SEC=…; MAC=…`.
    pub fn parameters(&self, profile: Profile) -> String {
        let mut text = format!("; SEC={}", self.method.name(profile));
        if let Some(mac) = &self.mac {
            text.push_str("; MAC=");
            text.push_str(&text_of_mac(mac));
        }
        text
    }
}

/// Judges a document. The comparison takes the same time wherever the two differ.
///
/// # Errors
/// Why the document is not to be used.
pub fn verify(
    profile: Profile,
    security: Option<&Security>,
    keys: &Keys,
    document: &[u8],
) -> Result<(), Refusal> {
    let security = security.ok_or(Refusal::Unsigned)?;
    let is_right = if security.method == Method::UserPinMac {
        let (key, check) = halves(profile, keys)?;
        let mac = hmac(key.as_bytes(), document);
        let digits = check.bytes().zip(mac).map(|(digit, octet)| digit.ct_eq(&(b'0' + octet % 10)));
        digits.fold(Choice::from(1), |all, one| all & one)
    } else {
        let key = key(profile, security.method, keys)?;
        let mac = security.mac.as_ref().ok_or(Refusal::Unsigned)?;
        hmac(&key, document).ct_eq(mac)
    };
    if bool::from(is_right) { Ok(()) } else { Err(Refusal::Wrong) }
}

/// Signs a document for a receiver with the same `keys`. `UserPinMac` has no MAC: [`pin`] makes
/// what the user is told instead.
///
/// # Errors
/// `NoKey` or `Method`.
pub fn sign(
    profile: Profile,
    method: Method,
    keys: &Keys,
    document: &[u8],
) -> Result<Security, Refusal> {
    if method == Method::UserPinMac {
        halves(profile, keys)?;
        return Ok(Security { method, mac: None });
    }
    let mac = hmac(&key(profile, method, keys)?, document);
    Ok(Security { method, mac: Some(mac) })
}

/// The pin that a user must be told for a `USERPINMAC` document: `random`, 5 to 20 decimal
/// digits, and as many that prove it.
///
/// # Errors
/// `NoKey` if `random` is something else.
pub fn pin(random: &str, document: &[u8]) -> Result<Secret, Refusal> {
    if !HALF.contains(&random.len()) || !random.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Refusal::NoKey);
    }
    let mac = hmac(random.as_bytes(), document);
    let check = mac.iter().take(random.len()).map(|octet| char::from(b'0' + octet % 10));
    Ok(Secret::new(random.chars().chain(check).collect::<String>()))
}

/// The octets of 40 hexadecimal digits, blanks and quotation marks around them ignored.
pub(super) fn mac_of_text(text: &str) -> Option<[u8; MAC]> {
    let text = text.trim().trim_matches('"');
    let mut mac = [0; MAC];
    if text.len() != 2 * MAC {
        return None;
    }
    for (octet, pair) in mac.iter_mut().zip(text.as_bytes().chunks(2)) {
        let mut digits = pair.iter().map(|digit| char::from(*digit).to_digit(16));
        *octet = digits.try_fold(0, |octet, digit| Some(octet << 4 | digit? as u8))?;
    }
    Some(mac)
}

pub(super) fn text_of_mac(mac: &[u8; MAC]) -> String {
    mac.iter().fold(String::with_capacity(2 * MAC), |mut text, octet| {
        let _ = write!(text, "{octet:02X}");
        text
    })
}

fn hmac(key: &[u8], document: &[u8]) -> [u8; MAC] {
    let mut hmac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    hmac.update(document);
    hmac.finalize().into_bytes().into()
}

fn key(profile: Profile, method: Method, keys: &Keys) -> Result<Vec<u8>, Refusal> {
    let text = |secret: &Option<Secret>| match secret {
        Some(secret) if !secret.expose().is_empty() => Ok(secret.expose().as_bytes().to_vec()),
        _ => Err(Refusal::NoKey),
    };
    let network = || {
        let network = text(&keys.network)?;
        Ok(if profile == Profile::Cp { semi_octets(&network).unwrap_or(network) } else { network })
    };
    match (method, profile) {
        (Method::NetworkPin, _) => network(),
        (Method::UserPin, _) => text(&keys.user),
        (Method::UserNetworkPin, Profile::Dm) => {
            Ok([text(&keys.user)?, b":".to_vec(), network()?].concat())
        }
        (Method::UserNetworkPin, Profile::Cp) => Ok([network()?, text(&keys.user)?].concat()),
        (Method::UserPinMac, _) => Err(Refusal::Method),
    }
}

/// An IMSI as semi-octets (TS 11.11, EF IMSI): a digit that says odd (9) or even (1), the digits,
/// F to fill up, each pair swapped. `None` if it is no IMSI of 6 to 15 digits.
fn semi_octets(imsi: &[u8]) -> Option<Vec<u8>> {
    if !(6..=15).contains(&imsi.len()) || !imsi.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let is_odd = imsi.len() % 2 == 1;
    let mut nibbles = vec![if is_odd { 9 } else { 1 }];
    nibbles.extend(imsi.iter().map(|digit| digit - b'0'));
    if !is_odd {
        nibbles.push(0xf);
    }
    let pairs = nibbles.chunks(2);
    Some(pairs.map(|pair| pair.iter().rev().fold(0, |octet, nibble| octet << 4 | nibble)).collect())
}

/// The halves of a pin with MAC.
fn halves(profile: Profile, keys: &Keys) -> Result<(&str, &str), Refusal> {
    if profile != Profile::Cp {
        return Err(Refusal::Method);
    }
    let pin = keys.user.as_ref().map(Secret::expose).ok_or(Refusal::NoKey)?;
    let is_digits = pin.bytes().all(|digit| digit.is_ascii_digit());
    if pin.len() % 2 != 0 || !HALF.contains(&(pin.len() / 2)) || !is_digits {
        return Err(Refusal::NoKey);
    }
    Ok(pin.split_at(pin.len() / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &[u8] = &[0x02, 0xa4, 0x01, 0x6a, 0x00];

    fn keys(network: &str, user: &str) -> Keys {
        Keys { network: Some(Secret::new(network)), user: Some(Secret::new(user)) }
    }

    fn mac(profile: Profile, method: Method) -> String {
        let keys = keys("001010123456789", "1234");
        let security = sign(profile, method, &keys, DOCUMENT).unwrap();
        assert_eq!(verify(profile, Some(&security), &keys, DOCUMENT), Ok(()));
        text_of_mac(&security.mac.unwrap())
    }

    #[test]
    fn the_known_answers_come_out() {
        let dm = mac(Profile::Dm, Method::NetworkPin);
        assert_eq!(dm, "330B1C65C0916CBB0A34401993B9F02A2DC173E4");
        let cp = mac(Profile::Cp, Method::NetworkPin);
        assert_eq!(cp, "4498B4BE6D1E275A14D82A9A36F50A7A550BF787");
        for profile in [Profile::Dm, Profile::Cp] {
            let user = mac(profile, Method::UserPin);
            assert_eq!(user, "CAB511CB6D09F7350B478DCCAFC2498F62E6CB9B");
        }
        assert_ne!(
            mac(Profile::Dm, Method::UserNetworkPin),
            mac(Profile::Cp, Method::UserNetworkPin)
        );
    }

    #[test]
    fn an_imsi_becomes_semi_octets_by_its_parity() {
        let odd = [0x09, 0x10, 0x10, 0x10, 0x32, 0x54, 0x76, 0x98];
        assert_eq!(semi_octets(b"001010123456789").as_deref(), Some(&odd[..]));
        let even = [0x01, 0x10, 0x10, 0x10, 0x32, 0x54, 0x76, 0xf8];
        assert_eq!(semi_octets(b"00101012345678").as_deref(), Some(&even[..]));
        assert_eq!(semi_octets(b"operator"), None);
        assert_eq!(semi_octets(b"12345"), None);
    }

    #[test]
    fn any_other_secret_document_or_mac_is_wrong() {
        let right = keys("001010123456789", "1234");
        for profile in [Profile::Dm, Profile::Cp] {
            for method in [Method::NetworkPin, Method::UserPin, Method::UserNetworkPin] {
                let signed = sign(profile, method, &right, DOCUMENT).unwrap();
                let judge = |security: &Security, keys: &Keys, document: &[u8]| {
                    verify(profile, Some(security), keys, document)
                };
                let wrong = Err(Refusal::Wrong);
                assert_eq!(judge(&signed, &keys("001010123456780", "4321"), DOCUMENT), wrong);
                assert_eq!(judge(&signed, &right, &DOCUMENT[1..]), wrong);
                for position in 0..MAC {
                    let mut mac = signed.mac.unwrap();
                    mac[position] ^= 1;
                    let changed = Security { mac: Some(mac), ..signed };
                    assert_eq!(judge(&changed, &right, DOCUMENT), wrong);
                }
                let bare = Security { mac: None, ..signed };
                assert_eq!(judge(&bare, &right, DOCUMENT), Err(Refusal::Unsigned));
                assert_eq!(judge(&signed, &Keys::default(), DOCUMENT), Err(Refusal::NoKey));
            }
            assert_eq!(verify(profile, None, &right, DOCUMENT), Err(Refusal::Unsigned));
        }
    }

    #[test]
    fn a_pin_with_mac_proves_itself_in_cp_only() {
        let told = pin("13579", DOCUMENT).unwrap();
        assert_eq!(told.expose().len(), 10);
        let right = Keys { network: None, user: Some(told.clone()) };
        let security = sign(Profile::Cp, Method::UserPinMac, &right, DOCUMENT).unwrap();
        assert_eq!(security.mac, None);
        assert_eq!(verify(Profile::Cp, Some(&security), &right, DOCUMENT), Ok(()));
        assert_eq!(verify(Profile::Dm, Some(&security), &right, DOCUMENT), Err(Refusal::Method));
        let wrong = verify(Profile::Cp, Some(&security), &right, b"another");
        assert_eq!(wrong, Err(Refusal::Wrong));
        for bad in ["1357924680", "13579", "135792468", "13579x4680", ""] {
            let verdict = verify(Profile::Cp, Some(&security), &keys("", bad), DOCUMENT);
            let expected = if bad.len() == 10 && bad.bytes().all(|it| it.is_ascii_digit()) {
                Refusal::Wrong
            } else {
                Refusal::NoKey
            };
            assert_eq!(verdict, Err(expected), "{bad}");
        }
        assert!(pin("1234", DOCUMENT).is_err() && pin("12a45", DOCUMENT).is_err());
    }

    #[test]
    fn parameters_are_read_in_any_case_and_order() {
        let mac = "330b1c65c0916cbb0a34401993b9f02a2dc173e4";
        let text = format!("application/x; mac=\"{mac}\" ;Sec=networkid");
        let security = Security::of_content_type(&text).unwrap();
        assert_eq!((security.method, security.mac), (Method::NetworkPin, mac_of_text(mac)));
        let again = format!("a/b{}", security.parameters(Profile::Dm));
        assert_eq!(Security::of_content_type(&again), Some(security));
        for bad in ["a/b", "a/b; MAC=00", "a/b; SEC=x", "a/b; SEC=USERPIN; SEC=USERPIN"] {
            assert_eq!(Security::of_content_type(bad), None, "{bad}");
        }
        let short = Security::of_content_type("a/b; SEC=USERPIN; MAC=00").unwrap();
        assert_eq!(short.mac, None);
    }
}
