//! Why a session ended.

use crate::proto::syncml::StatusCode;
use crate::proto::wire::DecodeError;
use std::fmt;

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The server has nothing more to say.
    Done,
    /// We broke it off.
    GivenUp,
    /// The server broke it off (Alert 1223).
    Aborted,
    /// No answer; the HTTP status if that was all there was.
    NoAnswer(Option<u16>),
    /// The answer is not SyncML.
    Undecodable(DecodeError),
    /// The answer belongs to another session.
    OtherSession,
    /// The answer is an older one, or none was asked for.
    OutOfOrder,
    /// The server refuses us: the Status of our header.
    Refused(StatusCode),
    /// The server wants a proof that the account does not allow.
    SchemeRefused,
    /// The server wants `syncml:auth-basic`, the secret itself, and the account says otherwise.
    BasicAsked,
    /// The server did not prove who it is.
    ServerNotAuthenticated,
    /// The account wants `syncml:auth-basic` where the transport is not secure.
    BasicInClear,
    /// The server speaks another version: the Status it was told, 505 or 513.
    Version(StatusCode),
    /// The server wants answers sent where the account does not allow it.
    ResponseUri,
    /// The server takes only messages that are too small for any answer.
    MessageSize,
    /// The session has too many messages, or too much waits to be sent.
    TooMuch,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "nothing left to do",
            Self::GivenUp => "broken off by us",
            Self::Aborted => "broken off by the server",
            Self::NoAnswer(None) => "the server does not answer",
            Self::NoAnswer(Some(status)) => {
                return write!(f, "the server answers with HTTP status {status}");
            }
            Self::Undecodable(error) => return write!(f, "the answer is not SyncML: {error}"),
            Self::OtherSession => "the answer belongs to another session",
            Self::OutOfOrder => "the answer is out of order",
            Self::Refused(code) => return write!(f, "the server refuses us: Status {}", code.0),
            Self::SchemeRefused => "the server wants a proof that the account does not allow",
            Self::BasicAsked => {
                "the server asks for basic authentication (syncml:auth-basic), which the account \
                 does not allow"
            }
            Self::ServerNotAuthenticated => "the server did not prove who it is",
            Self::BasicInClear => "syncml:auth-basic needs a secure transport",
            Self::Version(code) => {
                return write!(f, "the server speaks another version: Status {}", code.0);
            }
            Self::ResponseUri => {
                "the server wants answers sent where the account does not allow it"
            }
            Self::MessageSize => "the server takes only messages that are too small",
            Self::TooMuch => "the session does not end",
        })
    }
}
