//! Cred, Chal, nonces
use super::syncml::{Credentials, Meta};

/// A secret that never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);
impl Secret {
    /// wraps
    pub fn new(text: impl Into<String>) -> Self { Self(text.into()) }
    /// the text
    pub fn expose(&self) -> &str { &self.0 }
}
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("Secret(…)") }
}
/// auth type of SyncML
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// syncml:auth-basic
    Basic,
    /// syncml:auth-md5
    Md5,
}
/// How credentials in a message compare with the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// right
    Accepted,
    /// none given, or empty -> 407
    Missing,
    /// wrong, or of another type than `scheme` -> 401
    Wrong,
}
/// Judge `credentials` (user name for md5 is not needed beyond the account's own).
pub fn verify(_scheme: Scheme, _credentials: Option<&Credentials<'_>>, _user: &str, _secret: &Secret, _nonce: &[u8]) -> Verdict { todo!() }
/// Builds Cred.
pub fn credentials(_scheme: Scheme, _user: &str, _secret: &Secret, _nonce: &[u8]) -> Credentials<'static> { todo!() }
/// Builds Chal's Meta; nonce only for md5.
pub fn challenge(_scheme: Scheme, _nonce: &[u8]) -> Meta<'static> { todo!() }
/// Nonce octets out of a Chal's NextNonce (base64, missing padding tolerated; text that is not base64 is taken as is)
pub fn next_nonce(_challenge: &Meta<'_>) -> Option<Vec<u8>> { todo!() }
