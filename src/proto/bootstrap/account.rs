//! The account that every bootstrap ends in, and the nodes of DMAcc it stands for.

use super::Fault;
use crate::limits;
use crate::proto::auth::Secret;
use std::fmt;
use std::net::IpAddr;

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
    /// `Ext/MaxMsgSize`: largest message that the server takes, in octets.
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

/// One `AppAddr/<X>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `Addr`: an `http` or `https` URL, or an IP address.
    pub text: String,
    /// `AddrType`.
    pub kind: AddressKind,
    /// `Port/<X>/PortNbr`, in order.
    pub ports: Vec<u16>,
}

/// `AddrType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// A URL, the default.
    Uri,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
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

/// A leaf below an account's node.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The URI relative to the account's node: `AppAddr/1/Addr`.
    pub uri: String,
    /// The value.
    pub value: Value,
}

/// The value of a [`Leaf`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Format `chr`.
    Text(String),
    /// Format `int`.
    Number(u32),
    /// Format `bin`.
    Octets(Vec<u8>),
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

    /// The leaves of DMAcc (StdObj 1.2.1) that stand for this account, interior nodes left to
    /// be made. Dynamic nodes are named by numbers from 1.
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        let mut put = |uri: String, value: Value| leaves.push(Leaf { uri, value });
        let text = |text: &str| Value::Text(text.to_owned());
        put("AppID".into(), text("w7"));
        put("ServerID".into(), text(&self.server_id));
        if let Some(name) = &self.name {
            put("Name".into(), text(name));
        }
        if let Some(reference) = &self.preferred_connection {
            put("PrefConRef".into(), text(reference));
        }
        for (index, reference) in (1..).zip(&self.connections) {
            put(format!("ToConRef/{index}/ConRef"), text(reference));
        }
        for (index, address) in (1..).zip(&self.addresses) {
            put(format!("AppAddr/{index}/Addr"), text(&address.text));
            put(format!("AppAddr/{index}/AddrType"), text(address.kind.name()));
            for (number, port) in (1..).zip(&address.ports) {
                let uri = format!("AppAddr/{index}/Port/{number}/PortNbr");
                put(uri, Value::Number((*port).into()));
            }
        }
        if let Some(kind) = &self.preferred_authentication {
            put("AAuthPref".into(), text(kind.name()));
        }
        for (index, credential) in (1..).zip(&self.credentials) {
            put(format!("AppAuth/{index}/AAuthLevel"), text(credential.level.name()));
            put(format!("AppAuth/{index}/AAuthType"), text(credential.kind.name()));
            if let Some(name) = &credential.name {
                put(format!("AppAuth/{index}/AAuthName"), text(name));
            }
            if let Some(secret) = &credential.secret {
                put(format!("AppAuth/{index}/AAuthSecret"), text(secret.expose()));
            }
            if let Some(nonce) = &credential.nonce {
                put(format!("AppAuth/{index}/AAuthData"), Value::Octets(nonce.clone()));
            }
        }
        if let Some(size) = self.max_message_size {
            put("Ext/MaxMsgSize".into(), Value::Number(size));
        }
        leaves
    }

    /// Reads an account from the leaves below its node, in any order; parts keep the order in
    /// which they first appear. Leaves that DMAcc does not have are skipped, and so are addresses
    /// of types that are of no use on an IP network.
    ///
    /// # Errors
    /// The account cannot be used: [`Self::check`].
    pub fn from_leaves<'a>(
        leaves: impl IntoIterator<Item = &'a Leaf>,
        source: Source,
    ) -> Result<Self, Fault> {
        let mut parts = Parts::default();
        let mut account = Self::new("", source);
        for leaf in leaves {
            parts.take(&mut account, leaf)?;
        }
        account.connections = parts.connections.into_iter().map(|(_, text)| text).collect();
        account.addresses =
            parts.addresses.into_iter().filter_map(|(_, it)| it.address()).collect();
        account.credentials =
            parts.credentials.into_iter().map(|(_, it)| it.credential()).collect();
        account.check()?;
        Ok(account)
    }

    pub(super) fn fault(&self, what: &'static str) -> Fault {
        Fault::Account { server_id: self.server_id.chars().take(limits::SERVER_ID).collect(), what }
    }
}

impl Address {
    /// An address of type URI.
    pub fn uri(text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: AddressKind::Uri, ports: Vec::new() }
    }

    /// The URL to post to. The first port is put into a URL that has none; an IP address is
    /// reached over `https`, unless its port is 80.
    pub fn url(&self) -> String {
        let port = self.ports.first();
        match self.kind {
            AddressKind::Uri => {
                let Some((scheme, rest)) = self.text.split_once("://") else {
                    return self.text.clone();
                };
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                let host_end = authority.rfind(']').map_or(0, |at| at + 1);
                let has_port = authority.get(host_end..).is_some_and(|it| it.contains(':'));
                match port {
                    Some(port) if !has_port => format!("{scheme}://{authority}:{port}{path}"),
                    _ => self.text.clone(),
                }
            }
            AddressKind::Ipv4 | AddressKind::Ipv6 => {
                let scheme = if port == Some(&80) { "http" } else { "https" };
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                match self.kind {
                    AddressKind::Ipv6 => format!("{scheme}://[{}]{port}/", self.text),
                    _ => format!("{scheme}://{}{port}/", self.text),
                }
            }
        }
    }

    fn fault(&self) -> Option<&'static str> {
        let ip = || self.text.parse::<IpAddr>().ok();
        let is_right = match self.kind {
            AddressKind::Uri => is_url(&self.text),
            AddressKind::Ipv4 => ip().is_some_and(|ip| ip.is_ipv4()),
            AddressKind::Ipv6 => ip().is_some_and(|ip| ip.is_ipv6()),
        };
        if !is_right {
            return Some("an address is not of the type it says");
        }
        if self.ports.len() > limits::ACCOUNT_PARTS {
            return Some("too many ports");
        }
        self.ports.contains(&0).then_some("a port is 0")
    }
}

impl AddressKind {
    /// The value of `AddrType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uri => "URI",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }

    /// The type that a name says; without a name, what the address looks like. `None`: a type of
    /// other networks.
    pub(super) fn of(name: &str, address: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(match address.parse() {
                Ok(IpAddr::V4(_)) => Self::Ipv4,
                Ok(IpAddr::V6(_)) => Self::Ipv6,
                Err(_) => Self::Uri,
            });
        }
        let mut all = [Self::Uri, Self::Ipv4, Self::Ipv6].into_iter();
        // Servers of the field put URLs under the type of their host.
        let found = all.find(|kind| kind.name().eq_ignore_ascii_case(name))?;
        Some(if is_url(address) { Self::Uri } else { found })
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

impl Leaf {
    /// Whether the value may never be read or printed: `AAuthSecret` and `AAuthData`.
    pub fn is_secret(&self) -> bool {
        self.uri.ends_with("AAuthSecret") || self.uri.ends_with("AAuthData")
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Leaf");
        out.field("uri", &self.uri);
        if self.is_secret() {
            out.field("value", &"…")
        } else {
            out.field("value", &self.value)
        };
        out.finish()
    }
}

impl Value {
    /// The node's format.
    pub fn format(&self) -> &'static str {
        match self {
            Self::Text(_) => "chr",
            Self::Number(_) => "int",
            Self::Octets(_) => "bin",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number) => number.to_string(),
            Self::Octets(octets) => String::from_utf8_lossy(octets).into_owned(),
        }
    }

    fn number(&self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            _ => self.text().trim().parse().ok(),
        }
    }

    fn octets(&self) -> Vec<u8> {
        match self {
            Self::Octets(octets) => octets.clone(),
            _ => self.text().into_bytes(),
        }
    }
}

/// The repeated parts of an account, by the name of their node.
#[derive(Default)]
struct Parts {
    connections: Vec<(String, String)>,
    addresses: Vec<(String, LooseAddress)>,
    credentials: Vec<(String, LooseCredential)>,
}

#[derive(Default)]
pub(super) struct LooseAddress {
    pub(super) text: String,
    pub(super) kind: String,
    pub(super) ports: Vec<u16>,
}

#[derive(Default)]
struct LooseCredential {
    level: Option<Level>,
    kind: Option<AuthenticationKind>,
    name: Option<String>,
    secret: Option<Secret>,
    nonce: Option<Vec<u8>>,
}

impl Parts {
    fn take(&mut self, account: &mut Account, leaf: &Leaf) -> Result<(), Fault> {
        let text = || leaf.value.text();
        let some = || Some(text()).filter(|text| !text.is_empty());
        let path: Vec<&str> = leaf.uri.split('/').collect();
        match path.as_slice() {
            ["ServerID"] => account.server_id = text(),
            ["Name"] => account.name = some(),
            ["PrefConRef"] => account.preferred_connection = some(),
            ["AAuthPref"] => {
                account.preferred_authentication = some().map(|it| AuthenticationKind::of(&it));
            }
            ["Ext", "MaxMsgSize"] => account.max_message_size = leaf.value.number(),
            ["ToConRef", part, "ConRef"] => *slot(&mut self.connections, part)? = text(),
            ["AppAddr", part, "Addr"] => slot(&mut self.addresses, part)?.text = text(),
            ["AppAddr", part, "AddrType"] => slot(&mut self.addresses, part)?.kind = text(),
            ["AppAddr", part, "Port", _, "PortNbr"] => {
                let port = leaf.value.number().and_then(|port| u16::try_from(port).ok());
                let Some(port) = port else { return Err(account.fault("a port is no number")) };
                slot(&mut self.addresses, part)?.ports.push(port);
            }
            ["AppAuth", part, name] => {
                let credential = slot(&mut self.credentials, part)?;
                match *name {
                    "AAuthLevel" => {
                        credential.level = Level::of(&text());
                        if credential.level.is_none() {
                            return Err(account.fault("AAuthLevel is unknown"));
                        }
                    }
                    "AAuthType" => credential.kind = some().map(|it| AuthenticationKind::of(&it)),
                    "AAuthName" => credential.name = some(),
                    "AAuthSecret" => credential.secret = Some(Secret::new(text())),
                    "AAuthData" => credential.nonce = Some(leaf.value.octets()),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The part of that name, made if it is new.
fn slot<'a, T: Default>(parts: &'a mut Vec<(String, T)>, name: &str) -> Result<&'a mut T, Fault> {
    let index = match parts.iter().position(|(it, _)| it == name) {
        Some(index) => index,
        None if parts.len() >= limits::ACCOUNT_PARTS => {
            return Err(Fault::TooMany("addresses, connections or credentials"));
        }
        None => {
            parts.push((name.to_owned(), T::default()));
            parts.len() - 1
        }
    };
    let part = parts.get_mut(index).map(|(_, part)| part);
    Ok(part.expect("the index is that of a part"))
}

impl LooseAddress {
    /// The address, unless its type is one of other networks.
    pub(super) fn address(self) -> Option<Address> {
        let kind = AddressKind::of(self.kind.trim(), self.text.trim())?;
        Some(Address { text: self.text.trim().to_owned(), kind, ports: self.ports })
    }
}

impl LooseCredential {
    /// What is left out is a digest of the client.
    fn credential(self) -> Credential {
        Credential {
            level: self.level.unwrap_or(Level::Client),
            kind: self.kind.unwrap_or(AuthenticationKind::Digest),
            name: self.name,
            secret: self.secret,
            nonce: self.nonce,
        }
    }
}

fn is_text(text: &str) -> bool {
    text.len() <= limits::ACCOUNT_TEXT && !text.chars().any(char::is_control)
}

/// Whether a text is an http or https URL with a host, without user information and blanks.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
        && !authority.is_empty()
        && !authority.starts_with(':')
        && !authority.contains('@')
        && is_text(text)
        && !text.chars().any(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
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
        ];
        account
    }

    #[test]
    fn an_account_survives_its_leaves() {
        let account = account();
        let leaves = account.leaves();
        assert_eq!(Account::from_leaves(&leaves, Source::Factory), Ok(account));
        assert!(!format!("{leaves:?}").contains("CANARY"));
    }

    #[test]
    fn an_account_that_cannot_be_used_is_refused() {
        let broken: [fn(&mut Account); 9] = [
            |it| it.server_id.clear(),
            |it| it.server_id = "a b".into(),
            |it| it.server_id = "a".repeat(256),
            |it| it.addresses.clear(),
            |it| it.addresses[0].text = "ftp://a/".into(),
            |it| it.addresses[0].text = "https://b@a/".into(),
            |it| it.addresses[0].ports = vec![0],
            |it| it.credentials[0].nonce = Some(vec![0; 129]),
            |it| it.name = Some("a\nb".into()),
        ];
        for change in broken {
            let mut account = account();
            change(&mut account);
            assert!(account.check().is_err(), "{account:?}");
        }
    }

    #[test]
    fn the_port_goes_into_the_url_unless_it_has_one() {
        let url = |text: &str, kind, port: Option<u16>| {
            Address { text: text.into(), kind, ports: port.into_iter().collect() }.url()
        };
        let uri = AddressKind::Uri;
        assert_eq!(url("https://a/b", uri, Some(8443)), "https://a:8443/b");
        assert_eq!(url("https://a:1/b", uri, Some(8443)), "https://a:1/b");
        assert_eq!(url("https://[::1]?c", uri, Some(8443)), "https://[::1]:8443?c");
        assert_eq!(url("http://a", uri, None), "http://a");
        assert_eq!(url("192.0.2.1", AddressKind::Ipv4, None), "https://192.0.2.1/");
        assert_eq!(url("2001:db8::1", AddressKind::Ipv6, Some(80)), "http://[2001:db8::1]:80/");
    }
}
