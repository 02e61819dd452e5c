//! What goes into a session and what comes out of it.

#[cfg(doc)]
use super::ClientSession;
use super::Why;
#[cfg(doc)]
use crate::proto::auth;
use crate::proto::auth::{Scheme, Secret};
use crate::proto::syncml::{Alert, Encoding, Item, StatusCode};

/// With whom a session is held, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who we are: the Source of every message.
    pub device_id: String,
    /// Who commands: the id that rights are given to.
    pub server_id: String,
    /// The account's address.
    pub uri: String,
    /// Further hosts that the server may have answers sent to.
    pub hosts: Vec<String>,
    /// SessionID; that of Package #0 if there was one.
    pub session_id: u16,
    /// Whether the server asked for the session (Alert 1200) or not (1201).
    pub server_initiated: bool,
    /// How messages are written; read they are in either way.
    pub encoding: Encoding,
    /// Whether the transport is TLS with a verified server: only there a secret may go, or come,
    /// as it is (`syncml:auth-basic`).
    pub secure: bool,
    /// How we prove who we are.
    pub client: Option<Account>,
    /// How the server must; `None` obeys whoever answers.
    pub server: Option<Account>,
    /// The nonces of the last session.
    pub nonces: Nonces,
    /// Largest message that we take, in octets.
    pub max_message_size: u64,
    /// Largest object that we take, in octets.
    pub max_object_size: u64,
    /// DevInfo: an item for each leaf, its Source the URI.
    pub device_info: Vec<Item<'static>>,
    /// Generic alerts to deliver.
    pub alerts: Vec<Alert<'static>>,
}

/// One side's name and secret.
#[derive(Clone, Debug)]
pub struct Account {
    /// How they are used.
    pub scheme: Scheme,
    /// The user name.
    pub name: String,
    /// The secret.
    pub secret: Secret,
}

/// The nonces for the next credentials, which outlast a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nonces {
    /// For ours.
    pub client: Vec<u8>,
    /// For the server's, in sessions and in Package #0.
    pub server: Vec<u8>,
}

/// A message to post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub uri: String,
    /// What.
    pub body: Vec<u8>,
    /// How it is written.
    pub encoding: Encoding,
    /// The value of the header [`auth::MAC_HEADER`], if it is to have one.
    pub mac: Option<String>,
    /// What was carried out since the message before, with what result.
    pub executed: Vec<Executed>,
}

/// One command that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    /// `Replace` …
    pub command: String,
    /// Its nodes, separated by blanks; empty for what has none.
    pub uri: String,
    /// The Status.
    pub code: StatusCode,
}

/// A message of the server.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// How it is written.
    pub encoding: Encoding,
    /// The octets.
    pub body: &'a [u8],
    /// The value of the header [`auth::MAC_HEADER`].
    pub mac: Option<&'a str>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make durable what the target was changed by, and these nonces; then call
    /// [`committed`](ClientSession::committed). The reply waits for it.
    Commit(Nonces),
    /// Post this, and hand the answer to [`receive`](ClientSession::receive).
    Send(Outgoing),
    /// The session is over.
    End(Ending),
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why; [`Why::Done`] if all is well.
    pub why: Why,
    /// The nonces to keep for the next one.
    pub nonces: Nonces,
    /// What the server said to each alert; `None` if it said nothing, or did not prove who it is.
    pub alerts: Vec<Option<StatusCode>>,
}

impl Ending {
    /// Whether it ended as the protocol wants it.
    pub fn ok(&self) -> bool {
        self.why == Why::Done
    }
}
