//! Package #0, the notification with which a DM server asks for a session.
//!
//! ```text
//! digest (16)  version (10 bits) ui-mode (2) initiator (1) reserved (27)
//! session id (2)  server id length (1)  server id  vendor specific
//!              `-------------- the trigger, which the digest covers --------------
//! ```
//!
//! (OMA-TS-DM_Notification 1.2.1, 6.2.) Whoever forwards one may not change an octet: the
//! digest is a matter between the server and its device.

use super::auth::{base64_of, md5_of};
use super::wire::{DecodeError, DecodeErrorKind, Reader};
use subtle::ConstantTimeEq;

/// The version that DM 1.2 prescribes, times ten.
pub const VERSION: u16 = 11;

/// The nonce with which a server starts over after digests stopped matching, as octets
/// (DM Notification 1.2.1, 6.2.1, "0x00000000").
pub const RESYNC_NONCE: [u8; 4] = [0; 4];

/// The same nonce as some clients spell it: the text.
pub const RESYNC_NONCE_TEXT: &[u8] = b"0x00000000";

const DIGEST: usize = 16;
/// Digest, flags, session id, length and a server id of one octet.
const SHORTEST: usize = 25;

/// Package #0 of DM 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Digest; all zero where the sender has no account to compute it from.
    pub digest: [u8; 16],
    /// Version times ten, 10 bits: [`VERSION`] in DM 1.2; receivers of the field do not look.
    pub version: u16,
    /// How the user takes part.
    pub ui_mode: UiMode,
    /// Whether the server (1) or the user/client (0) caused it.
    pub server_initiated: bool,
    /// Session id, 1 to FFFF.
    pub session_id: u16,
    /// Server id, 1 to 255 octets, no control characters.
    pub server_id: &'a str,
    /// Vendor specific octets after the server id.
    pub vendor: &'a [u8],
}

/// How the user takes part in the session (ui-mode).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiMode {
    /// 00: left to the device.
    Unspecified,
    /// 01: not at all.
    Background,
    /// 10: is told.
    Informative,
    /// 11: is asked.
    UserInteraction,
}

impl<'a> Notification<'a> {
    /// Decodes Package #0. Reserved bits are ignored and every version is taken, as clients of
    /// the field do: the digest covers both.
    ///
    /// # Errors
    /// Fewer than 25 octets, a server id length of zero or past the end, a server id that is
    /// not UTF-8 or holds control characters.
    pub fn decode(octets: &'a [u8]) -> Result<Self, DecodeError> {
        if octets.len() < SHORTEST {
            let offset = octets.len();
            return Err(DecodeError { offset, kind: DecodeErrorKind::Truncated });
        }
        let mut reader = Reader::new(octets);
        let mut digest = [0; DIGEST];
        digest.copy_from_slice(reader.take(DIGEST)?);
        let flags = reader.u16()?;
        reader.take(3)?;
        let session_id = reader.u16()?;
        let length_error = reader.error(DecodeErrorKind::Malformed("server id is empty"));
        let length = reader.u8()?;
        if length == 0 {
            return Err(length_error);
        }
        let text_error = reader.error(DecodeErrorKind::Text);
        let server_id = std::str::from_utf8(reader.take(usize::from(length))?)
            .ok()
            .filter(|id| !id.chars().any(char::is_control))
            .ok_or(text_error)?;
        Ok(Self {
            digest,
            version: flags >> 6,
            ui_mode: UiMode::of_bits(flags >> 4),
            server_initiated: flags & 0x08 != 0,
            session_id,
            server_id,
            vendor: reader.remaining(),
        })
    }

    /// Encodes with `digest` as it stands. A server id beyond 255 octets is cut there.
    pub fn encode(&self) -> Vec<u8> {
        let id = self.server_id.as_bytes();
        let length = u8::try_from(id.len()).unwrap_or(u8::MAX);
        let flags = (self.version & 0x3ff) << 6
            | self.ui_mode.bits() << 4
            | u16::from(self.server_initiated) << 3;
        let mut octets = Vec::with_capacity(SHORTEST + id.len() + self.vendor.len());
        octets.extend_from_slice(&self.digest);
        octets.extend_from_slice(&flags.to_be_bytes());
        octets.extend_from_slice(&[0; 3]);
        octets.extend_from_slice(&self.session_id.to_be_bytes());
        octets.push(length);
        octets.extend(id.iter().take(usize::from(length)));
        octets.extend_from_slice(self.vendor);
        octets
    }

    /// Encodes with the digest computed from `secret` and `nonce`, which are those of the
    /// device's account for this server; `digest` is not looked at.
    pub fn encode_signed(&self, secret: &str, nonce: &[u8]) -> Vec<u8> {
        let mut octets = self.encode();
        if let Some((head, trigger)) = octets.split_first_chunk_mut::<DIGEST>() {
            *head = digest(self.server_id, secret, nonce, trigger);
        }
        octets
    }

    /// Whether the sender signed this: a digest of zero octets is none.
    pub fn is_signed(&self) -> bool {
        self.digest != [0; DIGEST]
    }
}

impl UiMode {
    /// The mode of the two low bits.
    fn of_bits(bits: u16) -> Self {
        match bits & 3 {
            0 => Self::Unspecified,
            1 => Self::Background,
            2 => Self::Informative,
            _ => Self::UserInteraction,
        }
    }

    fn bits(self) -> u16 {
        match self {
            Self::Unspecified => 0,
            Self::Background => 1,
            Self::Informative => 2,
            Self::UserInteraction => 3,
        }
    }
}

/// The 27 reserved bits of a package: zero when sent by the specification, ignored on receipt.
pub fn reserved_bits(package: &[u8]) -> u32 {
    match package.get(17..21) {
        Some(&[flags, a, b, c]) => u32::from_be_bytes([flags & 0x07, a, b, c]),
        _ => 0,
    }
}

/// `MD5(B64(MD5(server-id:secret)):nonce:B64(MD5(trigger)))`; `trigger` is everything behind
/// the digest.
pub fn digest(server_id: &str, secret: &str, nonce: &[u8], trigger: &[u8]) -> [u8; 16] {
    let account = base64_of(&md5_of(&[server_id.as_bytes(), b":", secret.as_bytes()]));
    let content = base64_of(&md5_of(&[trigger]));
    md5_of(&[account.as_bytes(), b":", nonce, b":", content.as_bytes()])
}

/// Whether the digest of `package` is the one of this account and nonce; takes the same time
/// wherever they differ. False for a package without a trigger.
pub fn verify(package: &[u8], server_id: &str, secret: &str, nonce: &[u8]) -> bool {
    let Some((head, trigger)) = package.split_first_chunk::<DIGEST>() else { return false };
    digest(server_id, secret, nonce, trigger).ct_eq(head).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGER: &[u8] = b"\x02\xd8\0\0\0\x12\x34\x12com.mgmtsrv.manage";

    fn sample() -> Notification<'static> {
        Notification {
            digest: [0; 16],
            version: VERSION,
            ui_mode: UiMode::Background,
            server_initiated: true,
            session_id: 0x1234,
            server_id: "com.mgmtsrv.manage",
            vendor: b"",
        }
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn the_known_digests_come_out() {
        let of = |nonce: &[u8]| hex(&digest("com.mgmtsrv.manage", "srvpwd", nonce, TRIGGER));
        assert_eq!(of(b"Nonce"), "bc135af33d8bda335e2e634142e0b087");
        assert_eq!(of(&RESYNC_NONCE), "7e68d6fc8b1b07b89be249c01490e969");
        assert_eq!(of(RESYNC_NONCE_TEXT), "968e7ce67bb4d624dcdc7ed3cabe1f53");
    }

    #[test]
    fn the_known_trigger_comes_out_and_goes_in() {
        let octets = sample().encode_signed("srvpwd", b"Nonce");
        assert_eq!(&octets[16..], TRIGGER);
        assert!(verify(&octets, "com.mgmtsrv.manage", "srvpwd", b"Nonce"));
        assert!(!verify(&octets, "com.mgmtsrv.manage", "srvpwd", b"nonce"));
        assert!(!verify(&octets, "com.mgmtsrv.manage", "Srvpwd", b"Nonce"));
        assert!(!verify(&octets[..15], "com.mgmtsrv.manage", "srvpwd", b"Nonce"));
        let decoded = Notification::decode(&octets).unwrap();
        assert!(decoded.is_signed());
        assert_eq!(Notification { digest: [0; 16], ..decoded }, sample());
    }

    #[test]
    fn flags_vendor_octets_and_foreign_versions_survive() {
        for ui_mode in [UiMode::Unspecified, UiMode::Informative, UiMode::UserInteraction] {
            let package = Notification {
                version: 13,
                ui_mode,
                server_initiated: false,
                vendor: b"\0vendor",
                ..sample()
            };
            assert_eq!(Notification::decode(&package.encode()), Ok(package));
        }
    }

    #[test]
    fn reserved_bits_are_ignored_but_can_be_seen() {
        let mut octets = sample().encode();
        assert_eq!(reserved_bits(&octets), 0);
        octets[17] |= 0x05;
        octets[20] = 1;
        assert_eq!(Notification::decode(&octets), Ok(sample()));
        assert_eq!(reserved_bits(&octets), 0x0500_0001);
        assert_eq!(reserved_bits(&octets[..20]), 0);
    }

    #[test]
    fn a_server_id_that_is_none_is_refused() {
        let with_id = |length: u8, id: &[u8]| {
            let mut octets = sample().encode();
            octets.truncate(23);
            octets.push(length);
            octets.extend_from_slice(id);
            Notification::decode(&octets).map(|_| ()).unwrap_err().kind
        };
        assert_eq!(with_id(0, b"abc"), DecodeErrorKind::Malformed("server id is empty"));
        assert_eq!(with_id(4, b"abc"), DecodeErrorKind::LengthOverrun);
        assert_eq!(with_id(3, b"a\xffc"), DecodeErrorKind::Text);
        assert_eq!(with_id(3, b"a\0c"), DecodeErrorKind::Text);
        assert_eq!(with_id(1, b""), DecodeErrorKind::Truncated);
    }
}
