//! Package #0
use super::wire::DecodeError;
/// Package #0 of DM 1.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Digest.
    pub digest: [u8; 16],
    /// Version times ten: 11 in DM 1.2.
    pub version: u16,
    /// ui-mode
    pub ui_mode: UiMode,
    /// Whether the server (1) or the user/client (0) caused it.
    pub server_initiated: bool,
    /// session id
    pub session_id: u16,
    /// server id
    pub server_id: &'a str,
    /// vendor specific octets after the server id
    pub vendor: &'a [u8],
}
/// ui-mode
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UiMode {
    /// 00
    Unspecified,
    /// 01
    Background,
    /// 10
    Informative,
    /// 11
    UserInteraction,
}
impl<'a> Notification<'a> {
    /// decode; ignores reserved bits; refuses id length 0, past the end, < 25 octets, server id not clean UTF-8
    pub fn decode(_octets: &'a [u8]) -> Result<Self, DecodeError> { todo!() }
    /// Encodes with `digest` as it stands.
    pub fn encode(&self) -> Vec<u8> { todo!() }
    /// Encodes with the digest computed from secret and nonce.
    pub fn encode_signed(&self, _secret: &str, _nonce: &[u8]) -> Vec<u8> { todo!() }
}
/// MD5(B64(MD5(server-id:secret)):nonce:B64(MD5(trigger)))
pub fn digest(_server_id: &str, _secret: &str, _nonce: &[u8], _trigger: &[u8]) -> [u8; 16] { todo!() }
/// constant time
pub fn verify(_package: &[u8], _server_id: &str, _secret: &str, _nonce: &[u8]) -> bool { todo!() }
