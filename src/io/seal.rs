//! What may leave the gateway only under a passphrase, and what comes to it signed: ring's
//! ciphers, key derivation and signatures. (RFC 8018 PBKDF2, RFC 8439, RFC 8032.)

use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
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
