//! The leaves of DMAcc that stand for an account.

use super::{Account, AuthenticationKind, Credential, Fault, Level, LooseAddress, Source};
use crate::limits;
use crate::proto::auth::Secret;
use std::fmt;

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
            ["Ext", "MaxMsgSize"] => {
                let is_int = |size: &u32| i32::try_from(*size).is_ok();
                account.max_message_size = leaf.value.number().filter(is_int);
            }
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

#[cfg(test)]
mod tests {
    use super::super::tests::account;
    use super::*;

    #[test]
    fn an_account_survives_its_leaves() {
        let account = account();
        let leaves = account.leaves();
        assert_eq!(Account::from_leaves(&leaves, Source::Factory), Ok(account));
        assert!(!format!("{leaves:?}").contains("CANARY"));
    }
}
