//! A simulated DM server that manages: it wants to know who its client is, proves who it is
//! itself, runs a script of commands, and misbehaves if it is told to.
//!
//! Written by the documents a second time, not with the session of the gateway, so that a
//! misreading on either side shows. A [`Manager`] takes messages in and gives them out as octets;
//! a [`Server`] carries them over HTTP or HTTPS, on a thread of its own.

pub(super) mod http;
mod manager;
mod parts;
mod script;
mod server;

pub use manager::{Answer, Manager};
pub use script::Script;
pub(super) use server::lock;
pub use server::{Handle, Server};

use crate::io::tls_server::TlsServer;
use crate::proto::auth::{Scheme, Secret};

/// How a simulated DM server manages.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// DM server id.
    pub id: String,
    /// Where clients are told to send answers (`RespURI`); `None`: where they sent the message.
    pub url: Option<String>,
    /// How a client has to prove who it is; `None` takes everybody.
    pub client: Option<Account>,
    /// How the server proves who it is.
    pub server: Option<Account>,
    /// What to do in a session.
    pub script: Script,
    /// The MaxMsgSize to announce, in octets.
    pub max_message_size: Option<u64>,
    /// The MaxObjSize to announce, in octets.
    pub max_object_size: Option<u64>,
    /// Serves over TLS with this certificate; else over plain HTTP.
    pub tls: Option<TlsServer>,
    /// What to do wrong.
    pub misbehaviour: Option<Misbehaviour>,
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
    /// The nonce for this side's next credentials.
    pub nonce: Vec<u8>,
}

/// What a simulated DM server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Proves itself with another secret.
    WrongCredentials,
    /// Does not prove itself.
    NoCredentials,
    /// Proves itself with an old nonce until it is given a new one.
    StaleNonce,
    /// Wants the client's secret as it is.
    BasicOnly,
    /// Does not know the version of the protocol.
    Version513,
    /// Sends a large object that is shorter than it said.
    BrokenObject,
    /// Redirects to another web server.
    Redirect,
    /// Wants answers sent to a private address.
    PrivateUri,
    /// Takes its time.
    Slow,
    /// Closes the connection instead of an answer.
    Cut,
}

impl Misbehaviour {
    /// All of them, with their names.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("wrong-credentials", Self::WrongCredentials),
        ("no-credentials", Self::NoCredentials),
        ("stale-nonce", Self::StaleNonce),
        ("basic-only", Self::BasicOnly),
        ("version-513", Self::Version513),
        ("broken-object", Self::BrokenObject),
        ("redirect", Self::Redirect),
        ("private-uri", Self::PrivateUri),
        ("slow", Self::Slow),
        ("cut", Self::Cut),
    ];

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, it)| *it)
    }
}
