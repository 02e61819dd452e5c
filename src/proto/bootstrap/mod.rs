//! Bootstrap: how a device learns of a DM server, whatever carries the news.
//!
//! ```text
//!  factory file ─┐
//!  smartcard ────┤ card      ┌─ dm  SyncML, MgmtTree ─┐
//!  push ─────────┤ push ─────┤                        ├─► [Account] ──► nodes below ./DMAcc
//!  fetch ────────┘ fetch     └─ cp  w7 APPLICATION ───┘
//!                  security: SEC, MAC
//! ```
//!
//! (OMA-TS-DM_Bootstrap 1.2.1; OMA-WAP-TS-ProvCont 1.1; OMA-TS-DM_StdObj 1.2.1, DMAcc.) A document
//! is read as a whole: one account in it that cannot be used refuses all of it, so nothing is half
//! installed. Who may send one is [`security`]'s matter, and the caller's.

pub mod account;
pub mod card;
pub mod cp;
pub mod dm;
pub mod fetch;
mod markup;
mod prov;
pub mod push;
pub mod security;
mod tnds;
mod wbxml;

pub use account::{
    Account, Address, AddressKind, AuthenticationKind, Credential, Leaf, Level, Source, Value,
};

use super::wire::DecodeError;
use std::fmt;

/// Which of the two families of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// OMA DM: a SyncML message, or a serialised tree.
    Dm,
    /// OMA Client Provisioning: `wap-provisioningdoc`.
    Cp,
}

/// Why a document makes no account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The octets are no document.
    Document(DecodeError),
    /// The root element is none of a bootstrap.
    Root(String),
    /// The document has no account for device management.
    NoAccount,
    /// More than a bound allows; the text names of what.
    TooMany(&'static str),
    /// An account cannot be used.
    Account {
        /// Its server id, as far as it has one.
        server_id: String,
        /// What is wrong with it.
        what: &'static str,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(error) => write!(f, "the document cannot be read: {error}"),
            Self::Root(name) => {
                write!(f, "<{}> is no bootstrap document", name.escape_debug())
            }
            Self::NoAccount => f.write_str("the document has no DM account (w7)"),
            Self::TooMany(what) => write!(f, "the document has too many {what}"),
            Self::Account { server_id, what } => {
                write!(f, "the account of \"{}\": {what}", server_id.escape_debug())
            }
        }
    }
}

impl std::error::Error for Fault {}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Document(error)
    }
}

/// Reads a bootstrap document of any kind, by what it is: a SyncML message, a serialised tree
/// (`MgmtTree`) or a provisioning document, each as XML or WBXML. Octets FF behind the end, with
/// which smartcards pad, do not count. The accounts are in the order of the document.
///
/// # Errors
/// See [`Fault`]; no account is then to be used.
pub fn read(document: &[u8], source: Source) -> Result<Vec<Account>, Fault> {
    let end = document.iter().rposition(|octet| *octet != 0xff).map_or(0, |last| last + 1);
    let root = markup::read(document.get(..end).unwrap_or_default())?;
    let accounts = match root.name.as_str() {
        "SyncML" => dm::message(&root, source)?,
        "MgmtTree" => dm::tree(&root, source)?,
        "wap-provisioningdoc" => cp::accounts(&root, source)?,
        name => return Err(Fault::Root(name.chars().take(64).collect())),
    };
    if accounts.is_empty() {
        return Err(Fault::NoAccount);
    }
    for (index, account) in accounts.iter().enumerate() {
        account.check()?;
        if accounts.iter().take(index).any(|it| it.server_id == account.server_id) {
            return Err(account.fault("stands twice in the document"));
        }
    }
    Ok(accounts)
}
