//! Why sessions with DM servers fail, by stable codes.

use crate::codes;
use crate::gateway::health::Failed;
use crate::proto::session::client::Why;

/// The failure of a session that ended so.
pub(super) fn of_why(why: Why) -> Failed {
    let code = match why {
        Why::BasicAsked => codes::BASIC,
        Why::Refused(_) | Why::SchemeRefused => codes::CREDENTIALS,
        Why::ServerNotAuthenticated => codes::UNPROVEN,
        Why::BasicInClear => codes::PLAIN_HTTP,
        Why::Undecodable(_) | Why::Version(_) | Why::MessageSize => codes::ANSWER,
        _ => codes::SESSION,
    };
    Failed::new(code, why.to_string())
}

/// The failure of a session whose server answers with that HTTP status instead of a message.
pub(super) fn of_status(status: u16) -> Failed {
    match status {
        200 => Failed::new(codes::ANSWER, "the answer is not SyncML by its Content-Type"),
        300..=399 => {
            let why =
                format!("the server answers with HTTP status {status}: redirects are not followed");
            Failed::new(codes::ANSWER, why)
        }
        401 | 407 => {
            let why = format!(
                "the server answers with HTTP status {status}: it, or a proxy, asks for a password over HTTP"
            );
            Failed::new(codes::BASIC, why)
        }
        _ => Failed::new(codes::ANSWER, format!("the server answers with HTTP status {status}")),
    }
}
