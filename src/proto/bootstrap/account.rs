//! The account that every bootstrap ends in.

mod address;
mod leaves;

pub use address::{Address, AddressKind};
pub use leaves::{Leaf, Value};

pub(super) use address::{LooseAddress, is_authority};

use super::Fault;
use crate::limits;
use crate::proto::auth::Secret;
use std::fmt;

/// A DM account (`w7`): what a client needs to open a session with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// `ServerID`: 1 to [`limits::SERVER_ID`] octets, without blanks and `= & * +`. A name; it is
    /// never used as an address.
    pub server_id: String,
    /// `Name`, for people.
    pub name: Option<String>,
    /// `AppAddr`, in order: at least one.
    pub addresses: Vec<Address>,
    /// `PrefConRef`: which connectivity to use.
    pub preferred_connection: Option<String>,
    /// `ToConRef/<X>/ConRef`.
    pub connections: Vec<String>,
    /// `AAuthPref`: the type of the first credentials.
    pub preferred_authentication: Option<AuthenticationKind>,
    /// `AppAuth`.
    pub credentials: Vec<Credential>,
    /// `Ext/MaxMsgSize`: largest message that the server takes, in octets, up to 2³¹ - 1.
    pub max_message_size: Option<u32>,
    /// The ACL that the document gives the account's node. Provisioning documents give the
    /// server Get, Replace and Delete (DM Bootstrap, 5.3).
    pub acl: Option<String>,
    /// What it came from.
    pub source: Source,
}

/// What an account came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A file of the image or the operator.
    Factory,
    /// A smartcard: goes when the card no longer has it.
    Card,
    /// A push of a server.
    Push,
    /// Fetched from a bootstrap server.
    Fetch,
    /// Made by a server in a session.
    Session,
}

/// One `AppAuth/<X>`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// `AAuthLevel`: who proves themselves by it.
    pub level: Level,
    /// `AAuthType`.
    pub kind: AuthenticationKind,
    /// `AAuthName`.
    pub name: Option<String>,
    /// `AAuthSecret`.
    pub secret: Option<Secret>,
    /// `AAuthData`: the nonce, raw octets.
    pub nonce: Option<Vec<u8>>,
}

/// `AAuthLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// `CLCRED`: the client to the server.
    Client,
    /// `SRVCRED`: the server to the client.
    Server,
    /// `OBEX`.
    Obex,
    /// `HTTP`.
    Http,
}

/// `AAuthType` and `AAuthPref`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AuthenticationKind {
    /// `BASIC`: syncml:auth-basic.
    Basic,
    /// `DIGEST`: syncml:auth-md5.
    Digest,
    /// `HMAC`: syncml:auth-MAC.
    Hmac,
    /// `HTTP-BASIC`.
    HttpBasic,
    /// `HTTP-DIGEST`.
    HttpDigest,
    /// `TRANSPORT`: the transport proves it, by a certificate.
    Transport,
    /// Another one, by its name.
    Other(String),
}

impl Account {
    /// An account without addresses and credentials.
    pub fn new(server_id: impl Into<String>, source: Source) -> Self {
        Self {
            server_id: server_id.into(),
            name: None,
            addresses: Vec::new(),
            preferred_connection: None,
            connections: Vec::new(),
            preferred_authentication: None,
            credentials: Vec::new(),
            max_message_size: None,
            acl: None,
            source,
        }
    }

    /// The first credential of that level.
    pub fn credential(&self, level: Level) -> Option<&Credential> {
        self.credentials.iter().find(|credential| credential.level == level)
    }

    /// Where sessions go: the URL of the first address.
    pub fn url(&self) -> Option<String> {
        self.addresses.first().map(Address::url)
    }

    /// Checks that the account can be used and is within the bounds.
    ///
    /// # Errors
    /// [`Fault::Account`], which says what is wrong.
    pub fn check(&self) -> Result<(), Fault> {
        let fault = |what| Err(self.fault(what));
        let bad_id = |it: char| it.is_control() || it.is_whitespace() || "=&*+".contains(it);
        if self.server_id.is_empty() {
            return fault("ServerID is missing");
        }
        if self.server_id.len() > limits::SERVER_ID || self.server_id.contains(bad_id) {
            return fault("ServerID is too long, or has a blank or one of = & * +");
        }
        if self.addresses.is_empty() {
            return fault("no address that can be used");
        }
        let texts = [&self.name, &self.preferred_connection, &self.acl];
        if !texts.into_iter().flatten().chain(&self.connections).all(|text| is_text(text)) {
            return fault("text is too long or has control characters");
        }
        if let Some(what) = self.addresses.iter().find_map(|address| address.fault()) {
            return fault(what);
        }
        if self.addresses.len() > limits::ACCOUNT_PARTS
            || self.connections.len() > limits::ACCOUNT_PARTS
            || self.credentials.len() > limits::ACCOUNT_PARTS
        {
            return fault("too many addresses, connections or credentials");
        }
        let demands = self.credential(Level::Server).is_some();
        if demands && !self.credentials.iter().any(|it| it.level == Level::Server && it.proves()) {
            return fault("SRVCRED has no secret, or is of a type that cannot be checked");
        }
        let clients = || self.credentials.iter().filter(|it| it.level == Level::Client);
        let is_other = |it: &Credential| matches!(it.kind, AuthenticationKind::Other(_));
        if clients().next().is_some() && clients().all(is_other) {
            return fault("CLCRED is of an unknown type");
        }
        for credential in &self.credentials {
            let secret = credential.secret.as_ref().map(Secret::expose);
            let texts = [credential.name.as_deref(), secret];
            if !texts.into_iter().flatten().all(is_text) || !is_text(credential.kind.name()) {
                return fault("credentials are too long or have control characters");
            }
            if credential.nonce.as_ref().is_some_and(|nonce| nonce.len() > limits::NONCE) {
                return fault("the nonce is too long");
            }
        }
        Ok(())
    }

    pub(super) fn fault(&self, what: &'static str) -> Fault {
        Fault::Account { server_id: self.server_id.chars().take(limits::SERVER_ID).collect(), what }
    }
}

impl Credential {
    /// Whether somebody can be told by it: by a secret, or by the transport.
    fn proves(&self) -> bool {
        match self.kind {
            AuthenticationKind::Basic | AuthenticationKind::Digest | AuthenticationKind::Hmac => {
                self.secret.is_some()
            }
            AuthenticationKind::Transport => true,
            _ => false,
        }
    }
}

impl Level {
    const ALL: [Self; 4] = [Self::Client, Self::Server, Self::Obex, Self::Http];

    /// The value of `AAuthLevel` in DMAcc.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "CLCRED",
            Self::Server => "SRVCRED",
            Self::Obex => "OBEX",
            Self::Http => "HTTP",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }
}

impl AuthenticationKind {
    const NAMED: [Self; 6] =
        [Self::Basic, Self::Digest, Self::Hmac, Self::HttpBasic, Self::HttpDigest, Self::Transport];

    /// The value of `AAuthType`.
    pub fn name(&self) -> &str {
        match self {
            Self::Basic => "BASIC",
            Self::Digest => "DIGEST",
            Self::Hmac => "HMAC",
            Self::HttpBasic => "HTTP-BASIC",
            Self::HttpDigest => "HTTP-DIGEST",
            Self::Transport => "TRANSPORT",
            Self::Other(name) => name,
        }
    }

    /// The type of that name, case ignored; the names of SyncML are taken too.
    pub fn of(name: &str) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("syncml:auth-basic") {
            return Self::Basic;
        }
        if is("syncml:auth-md5") || is("MD5") {
            return Self::Digest;
        }
        if is("syncml:auth-MAC") {
            return Self::Hmac;
        }
        let found = Self::NAMED.into_iter().find(|kind| is(kind.name()));
        found.unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Credential");
        out.field("level", &self.level).field("kind", &self.kind).field("name", &self.name);
        out.field("secret", &self.secret).field("nonce", &self.nonce.as_ref().map(|_| "…"));
        out.finish()
    }
}

fn is_text(text: &str) -> bool {
    text.len() <= limits::ACCOUNT_TEXT && !text.chars().any(char::is_control)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(super) fn account() -> Account {
        let mut account = Account::new("com.example.dm", Source::Factory);
        account.addresses =
            vec![Address { ports: vec![8443], ..Address::uri("https://a.example/dm") }];
        account.connections = vec!["wan0".into(), "lte".into()];
        account.preferred_authentication = Some(AuthenticationKind::Digest);
        account.max_message_size = Some(16_384);
        account.credentials = vec![
            Credential {
                level: Level::Client,
                kind: AuthenticationKind::Digest,
                name: Some("gw".into()),
                secret: Some(Secret::new("CANARY")),
                nonce: Some(vec![0, 1, 0xff]),
            },
            Credential {
                level: Level::Server,
                kind: AuthenticationKind::Other("SECURID".into()),
                name: None,
                secret: None,
                nonce: None,
            },
            Credential {
                level: Level::Server,
                kind: AuthenticationKind::Hmac,
                name: None,
                secret: Some(Secret::new("CANARY")),
                nonce: None,
            },
        ];
        account
    }

    #[test]
    fn an_account_that_cannot_be_used_is_refused() {
        let broken: [fn(&mut Account); 12] = [
            |it| it.server_id.clear(),
            |it| it.server_id = "a b".into(),
            |it| it.server_id = "a".repeat(256),
            |it| it.addresses.clear(),
            |it| it.addresses[0].text = "ftp://a/".into(),
            |it| it.addresses[0].text = "https://b@a/".into(),
            |it| it.addresses[0].ports = vec![0],
            |it| it.credentials[0].nonce = Some(vec![0; 129]),
            |it| it.name = Some("a\nb".into()),
            |it| it.credentials[0].kind = AuthenticationKind::of("DIGST"),
            // A server that has to prove itself and cannot: none of its commands would count.
            |it| it.credentials[2].kind = AuthenticationKind::of("DIGST"),
            |it| it.credentials[2].secret = None,
        ];
        for change in broken {
            let mut account = account();
            change(&mut account);
            assert!(account.check().is_err(), "{account:?}");
        }
    }
}
