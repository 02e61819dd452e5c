//! stub
use super::Message;
use crate::proto::wire::DecodeError;
/// stub
pub fn decode(_octets: &[u8]) -> Result<Message<'_>, DecodeError> { todo!() }
/// stub
pub fn encode(_message: &Message<'_>) -> Vec<u8> { todo!() }
