//! What may leave the gateway only under a passphrase, and what comes to it signed: ring's
//! ciphers, key derivation and signatures. (RFC 8018 PBKDF2, RFC 8439, RFC 8032.)

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;

use crate::limits::{SEAL_ROUNDS, SEAL_ROUNDS_MOST};

/// Octets under a passphrase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// How the key is derived.
    pub kdf: String,
    /// In how many rounds.
    pub rounds: u32,
    /// Base64.
    pub salt: String,
    /// How the octets are encrypted.
    pub cipher: String,
    /// Base64.
    pub nonce: String,
    /// Base64.
    pub data: String,
}

const KDF: &str = "pbkdf2-hmac-sha256";
const CIPHER: &str = "chacha20-poly1305";
const KEY: usize = 32;

impl Sealed {
    /// Encrypts octets. `context` has to be the same when they are opened.
    ///
    /// # Errors
    /// The kernel gave no randomness.
    pub fn seal(octets: &[u8], passphrase: &str, context: &[u8]) -> Result<Self, String> {
        let (mut salt, mut nonce) = ([0; 16], [0; NONCE_LEN]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut salt).and_then(|()| random.fill(&mut nonce));
        filled.map_err(|_| "the kernel gave no randomness".to_owned())?;
        let mut data = octets.to_vec();
        key(passphrase, &salt, SEAL_ROUNDS)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut data,
            )
            .map_err(|_| "there is too much to encrypt".to_owned())?;
        Ok(Self {
            kdf: KDF.to_owned(),
            rounds: SEAL_ROUNDS,
            salt: BASE64.encode(salt),
            cipher: CIPHER.to_owned(),
            nonce: BASE64.encode(nonce),
            data: BASE64.encode(data),
        })
    }

    /// Decrypts them.
    ///
    /// # Errors
    /// A sentence: the passphrase is wrong, or somebody changed something.
    pub fn open(&self, passphrase: &str, context: &[u8]) -> Result<Vec<u8>, String> {
        let odd = || "what is encrypted is of another kind, or damaged".to_owned();
        if self.kdf != KDF || self.cipher != CIPHER || self.rounds > SEAL_ROUNDS_MOST {
            return Err(odd());
        }
        let decode = |text: &str| BASE64.decode(text).map_err(|_| odd());
        let (salt, mut data) = (decode(&self.salt)?, decode(&self.data)?);
        let nonce = Nonce::try_assume_unique_for_key(&decode(&self.nonce)?).map_err(|_| odd())?;
        let key = key(passphrase, &salt, self.rounds)?;
        let opened = key.open_in_place(nonce, Aad::from(context), &mut data);
        let opened = opened
            .map_err(|_| "the passphrase is wrong, or what is encrypted was changed".to_owned())?;
        Ok(opened.to_vec())
    }
}

/// A public key of Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

/// A private key of Ed25519. It does not print.
pub struct PrivateKey(Ed25519KeyPair);

/// What stands before the 32 octets of a key in DER: PKCS #8 (RFC 8410, 7) and
/// SubjectPublicKeyInfo (RFC 8410, 4).
const PRIVATE: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

/// Length of a signature in octets.
pub const SIGNATURE: usize = 64;

impl PublicKey {
    /// Reads `ed25519:` and base64.
    pub fn parse(text: &str) -> Option<Self> {
        let octets = BASE64.decode(text.strip_prefix("ed25519:")?).ok()?;
        Some(Self(octets.try_into().ok()?))
    }

    /// The public key in a PEM file, of a public or a private key.
    pub fn of_pem(pem: &str) -> Option<Self> {
        let der = der(pem)?;
        match der.strip_prefix(&PUBLIC) {
            Some(octets) => Some(Self(octets.try_into().ok()?)),
            None => Some(PrivateKey::of_pem(pem)?.public()),
        }
    }

    /// Whether a signature is of this key over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// `ed25519:` and base64.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", BASE64.encode(self.0))
    }
}

impl PrivateKey {
    /// A new key, and its PEM (PKCS #8).
    ///
    /// # Errors
    /// The kernel gave no randomness.
    pub fn generate() -> Result<(Self, String), String> {
        let mut seed = [0; 32];
        let filled = SystemRandom::new().fill(&mut seed);
        filled.map_err(|_| "the kernel gave no randomness".to_owned())?;
        let der = BASE64.encode([&PRIVATE[..], &seed].concat());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let key = Self::of_pem(&pem).expect("32 octets are a key");
        Ok((key, pem))
    }

    /// The key in a PEM file (PKCS #8), as `openssl genpkey -algorithm ed25519` writes it.
    pub fn of_pem(pem: &str) -> Option<Self> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der(pem)?).ok().map(Self)
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        let mut octets = [0; 32];
        octets.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(octets)
    }

    /// Signs.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

/// The octets of the first key in PEM.
fn der(pem: &str) -> Option<Vec<u8>> {
    let lines = pem.lines().map(str::trim);
    let mut lines = lines.skip_while(|line| !line.starts_with("-----BEGIN ")).skip(1);
    let text: String = lines.by_ref().take_while(|line| !line.starts_with("-----END ")).collect();
    BASE64.decode(text).ok()
}

fn key(passphrase: &str, salt: &[u8], rounds: u32) -> Result<LessSafeKey, String> {
    let rounds = NonZeroU32::new(rounds).ok_or("the key is derived in no round")?;
    let mut octets = [0; KEY];
    pbkdf2::derive(PBKDF2_HMAC_SHA256, rounds, salt, passphrase.as_bytes(), &mut octets);
    let key = UnboundKey::new(&CHACHA20_POLY1305, &octets);
    Ok(LessSafeKey::new(key.expect("the key has the cipher's length")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_by_its_passphrase_and_context_only() {
        let sealed = Sealed::seal(b"secret", "correct horse", b"unit 1").unwrap();
        assert!(!format!("{sealed:?}").contains("secret"));
        assert_eq!(sealed.open("correct horse", b"unit 1").unwrap(), b"secret");
        assert!(sealed.open("correct hors", b"unit 1").is_err());
        assert!(sealed.open("correct horse", b"unit 2").is_err());
        let other = Sealed::seal(b"secret", "correct horse", b"unit 1").unwrap();
        assert_ne!(other.data, sealed.data);
        let changed = Sealed { data: other.data, ..sealed.clone() };
        assert!(changed.open("correct horse", b"unit 1").is_err());
        for odd in [
            Sealed { kdf: "md5".into(), ..sealed.clone() },
            Sealed { rounds: 0, ..sealed.clone() },
            Sealed { rounds: u32::MAX, ..sealed.clone() },
            Sealed { nonce: "AA==".into(), ..sealed.clone() },
            Sealed { data: "!".into(), ..sealed },
        ] {
            assert!(odd.open("correct horse", b"unit 1").is_err(), "{odd:?}");
        }
    }
}
