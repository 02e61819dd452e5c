//! The accounts below `./DMAcc`.

use crate::gateway::Gateway;
use crate::proto::bootstrap::{Account, Leaf, Source, Value};
use crate::proto::tree::{Format, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// The accounts that can be used, by server id.
#[derive(Debug, Default)]
pub(super) struct Accounts(BTreeMap<String, Held>);

#[derive(Debug)]
struct Held {
    node: String,
    account: Account,
}

/// Servers whose accounts a session changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    /// New, or with other credentials.
    pub(super) made: Vec<String>,
    /// There no more.
    pub(super) gone: Vec<String>,
}

/// Where accounts are.
pub(super) const DM_ACC: &str = "./DMAcc";

impl Accounts {
    /// Reads them all.
    pub(super) fn read(tree: &Tree) -> Self {
        let mut accounts = BTreeMap::new();
        for node in tree.children(DM_ACC) {
            if let Some(account) = account_at(tree, node) {
                accounts
                    .entry(account.server_id.clone())
                    .or_insert_with(|| Held { node: node.to_owned(), account });
            }
        }
        Self(accounts)
    }

    /// What is other than in these, but for the account of `server` itself: its session goes on by
    /// what it began with.
    pub(super) fn changed_since(&self, before: &Self, server: &str) -> Changed {
        let is_other = |id: &&String| **id != server;
        let made = self.0.iter().filter(|(id, held)| {
            let old = before.get(id);
            old.is_none_or(|old| old.credentials != held.account.credentials)
        });
        let made = made.map(|(id, _)| id).filter(is_other).cloned().collect();
        let gone = before.0.keys().filter(|id| self.get(id).is_none()).filter(is_other);
        Changed { made, gone: gone.cloned().collect() }
    }

    pub(super) fn get(&self, server: &str) -> Option<&Account> {
        self.0.get(server).map(|held| &held.account)
    }

    /// The name of the account's node.
    pub(super) fn node(&self, server: &str) -> Option<&str> {
        self.0.get(server).map(|held| &*held.node)
    }

    /// Server ids.
    pub(super) fn servers(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Whether there is an account that can be used.
pub(super) fn any_usable(tree: &Tree) -> bool {
    tree.children(DM_ACC).any(|node| account_at(tree, node).is_some())
}

/// Whether two accounts are with the same server: which of them counts would be chance.
pub(super) fn has_twins(tree: &Tree) -> bool {
    let mut seen = BTreeSet::new();
    let ids = tree.children(DM_ACC).filter_map(|node| {
        tree.text(&format!("{DM_ACC}/{node}/ServerID")).filter(|id| !id.is_empty())
    });
    ids.into_iter().any(|id| !seen.insert(id))
}

fn account_at(tree: &Tree, node: &str) -> Option<Account> {
    let mut leaves = Vec::new();
    collect(tree, &format!("{DM_ACC}/{node}"), "", &mut leaves);
    Account::from_leaves(&leaves, Source::Session).ok()
}

fn collect(tree: &Tree, uri: &str, below: &str, leaves: &mut Vec<Leaf>) {
    for name in tree.children(uri) {
        let child = format!("{uri}/{name}");
        let path = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        let Some(facts) = tree.facts(&child) else { continue };
        if facts.is_interior() {
            collect(tree, &child, &path, leaves);
        } else if let Some(value) = value_of(facts.format, &facts.value) {
            leaves.push(Leaf { uri: path, value });
        }
    }
}

fn value_of(format: Format, octets: &[u8]) -> Option<Value> {
    if format == Format::Bin {
        return Some(Value::Octets(octets.to_vec()));
    }
    let text = std::str::from_utf8(octets).ok()?;
    Some(match (format, text.parse()) {
        (Format::Int, Ok(number)) => Value::Number(number),
        _ => Value::Text(text.to_owned()),
    })
}

impl Gateway {
    /// Takes the accounts from the tree after it changed.
    pub(super) fn read_accounts(&mut self) {
        self.management.accounts = Accounts::read(&self.management.tree);
    }
}
