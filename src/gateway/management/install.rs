//! Accounts come and go: whatever brought them, they are installed here, all or none.

use super::accounts::DM_ACC;
use super::records::{change, removal};
use super::sessions::Cause;
use super::{Deferred, OperationId, Server, Then};
use crate::gateway::Gateway;
use crate::gateway::event::EventKind;
use crate::gateway::seam::{Change, Now};
use crate::limits;
use crate::proto::bootstrap::{Account, Source, Value};
use crate::proto::syncml::StatusCode;
use crate::proto::tree::{Format, Transaction, Tree, uri};

/// Accounts to be installed or taken away.
#[derive(Debug)]
pub(super) struct Installation {
    /// To be made, or made anew.
    pub(super) accounts: Vec<Account>,
    /// Servers whose accounts go.
    pub(super) gone: Vec<String>,
    /// What else is to be durable then.
    pub(super) changes: Vec<Change>,
    /// The nodes that it concerns.
    nodes: Vec<String>,
    /// The operator who waits for it.
    pub(super) operation: Option<OperationId>,
    /// What was done, for people.
    pub(super) lines: Vec<String>,
}

impl Installation {
    /// To install these accounts.
    pub(super) fn of(accounts: Vec<Account>) -> Self {
        Self {
            accounts,
            gone: Vec::new(),
            changes: Vec::new(),
            nodes: Vec::new(),
            operation: None,
            lines: Vec::new(),
        }
    }
}

impl Gateway {
    /// Installs accounts; the first sessions with their servers follow.
    pub(super) fn install(&mut self, mut installation: Installation, now: Now) {
        if self.management.open.is_some() {
            return self.management.deferred.push_back(Deferred::Install(installation));
        }
        let unix = if now.unix >= limits::CLOCK_SET { now.unix } else { 0 };
        let mut transaction = self.management.tree.begin();
        let mut failed = None;
        for server in &installation.gone {
            if let Some(node) = self.management.accounts.node(server) {
                installation.nodes.push(format!("{DM_ACC}/{node}"));
                let removed =
                    self.management.tree.remove(&format!("{DM_ACC}/{node}"), &mut transaction);
                failed = failed.or(removed.err().map(|code| (server.clone(), code)));
                self.management.tree.forget_server(server, unix, &mut transaction);
                installation.lines.push(format!("{server}: account removed"));
            }
        }
        for account in &installation.accounts {
            let server = &account.server_id;
            let is_known = self.management.has_account(server);
            let written = write(&mut self.management.tree, account, unix, &mut transaction);
            failed = failed.or(written.err().map(|code| (server.clone(), code)));
            let node = node_of_server(&self.management.tree, server);
            installation.nodes.extend(node.map(|node| format!("{DM_ACC}/{node}")));
            let done = if is_known { "changed" } else { "made" };
            let url = account.url().unwrap_or_default();
            installation.lines.push(format!("{server}: account {done}, {url}"));
        }
        if let Some((server, code)) = failed {
            self.undo(transaction, now);
            let why = format!("the account of {server} cannot be written: Status {}", code.0);
            log::error!("{why}");
            return self.install_failed(&installation, why);
        }
        let mut changes = self.changes(&transaction);
        for account in &installation.accounts {
            let mut record = self
                .management
                .servers
                .get(&account.server_id)
                .map(|it| it.record.clone())
                .unwrap_or_default();
            record.source = Some(name_of(account.source).to_owned());
            record.proven = false;
            record.client_nonce.clear();
            record.server_nonce.clear();
            changes.push(change(format!("s{}", account.server_id), &record));
        }
        changes.extend(installation.gone.iter().map(|server| removal(format!("s{server}"))));
        changes.append(&mut installation.changes);
        self.commit_open(changes, transaction, None, Then::Install(installation));
    }

    /// Accounts are on flash, or are not there.
    pub(super) fn installed(&mut self, installation: Installation, ok: bool, now: Now) {
        if !ok {
            let why = "the store could not keep it".to_owned();
            return self.install_failed(&installation, why);
        }
        let servers = installation.gone.iter();
        let made = installation.accounts.iter().map(|account| &account.server_id);
        let servers: Vec<_> = servers.chain(made).map(String::as_str).collect();
        self.spare(&installation.nodes, &servers);
        for server in &installation.gone {
            self.management.servers.remove(server);
            self.tell_of_server(EventKind::AccountGone, server, "its source has it no more");
        }
        for account in &installation.accounts {
            let entry = self.server_entry(&account.server_id);
            let (running, heard) = (entry.running.take(), std::mem::take(&mut entry.heard));
            *entry = Server {
                record: super::records::ServerRecord {
                    approved: entry.record.approved,
                    source: Some(name_of(account.source).to_owned()),
                    ..Default::default()
                },
                // Triggers of before are not to come again with the account's own nonce.
                heard,
                ..Server::default()
            };
            if running.is_some() {
                // It would go on by credentials that are no more.
                let why = "its account is another now";
                self.tell_of_server(EventKind::SessionFailed, &account.server_id, why);
            }
            let origin = origin(account.source);
            let why = format!("the gateway has an account with it now; it came from {origin}");
            self.tell_of_server(EventKind::Bootstrapped, &account.server_id, &why);
            self.wish(&account.server_id, Cause::Bootstrap, now.uptime);
        }
        if let Some(operation) = installation.operation {
            self.operated(operation, Ok(installation.lines));
        }
    }

    fn install_failed(&mut self, installation: &Installation, why: String) {
        for account in &installation.accounts {
            self.tell_of_server(EventKind::BootstrapFailed, &account.server_id, &why);
            if let Some(entry) = self.management.servers.get_mut(&account.server_id) {
                entry.why = Some(why.clone());
            }
        }
        if let Some(operation) = installation.operation {
            self.operated(operation, Err(why));
        }
    }

    /// What is known of a server, from now on something.
    pub(super) fn server_entry(&mut self, server: &str) -> &mut Server {
        self.management.servers.entry(server.to_owned()).or_default()
    }
}

/// Writes an account: over the one that its server has, else beside the others.
///
/// # Errors
/// The status that says why not; the transaction then holds a part of it.
pub(super) fn write(
    tree: &mut Tree,
    account: &Account,
    unix: u64,
    transaction: &mut Transaction,
) -> Result<(), StatusCode> {
    let node = node_of(tree, &account.server_id);
    let at = format!("{DM_ACC}/{node}");
    // Parts that the new account does not have are not to stay.
    let parts: Vec<_> = tree.children(&at).map(str::to_owned).collect();
    for part in parts {
        tree.remove(&format!("{at}/{part}"), transaction)?;
    }
    for leaf in account.leaves() {
        let (format, octets) = match leaf.value {
            Value::Text(text) => (Format::Chr, text.into_bytes()),
            Value::Number(number) => (Format::Int, number.to_string().into_bytes()),
            Value::Octets(octets) => (Format::Bin, octets),
        };
        tree.write(&format!("{at}/{}", leaf.uri), format, &octets, unix, transaction)?;
    }
    let id = &account.server_id;
    let own = format!("Get={id}&Replace={id}&Delete={id}");
    let acl = account.acl.clone().unwrap_or(own);
    tree.write_acl(&at, &acl, unix, transaction)
}

/// The node of a server's account: the one it has, else a new name.
fn node_of(tree: &Tree, server: &str) -> String {
    let names: Vec<_> = tree.children(DM_ACC).map(str::to_owned).collect();
    if let Some(name) = node_of_server(tree, server) {
        return name;
    }
    if uri::check_name(server).is_ok()
        && !server.contains(['/', '?', '%'])
        && !names.iter().any(|name| name == server)
    {
        return server.to_owned();
    }
    (1..).map(|number| number.to_string()).find(|name| !names.contains(name)).unwrap_or_default()
}

/// The name of the node whose account is with a server.
pub(super) fn node_of_server(tree: &Tree, server: &str) -> Option<String> {
    let has_id = |name: &&str| tree.text(&format!("{DM_ACC}/{name}/ServerID")) == Some(server);
    tree.children(DM_ACC).find(has_id).map(str::to_owned)
}

/// Where an account comes from, for people.
fn origin(source: Source) -> &'static str {
    match source {
        Source::Factory => "a file",
        Source::Card => "the smartcard",
        Source::Push => "a push that was proven",
        Source::Fetch => "a bootstrap server, by HTTPS",
        Source::Session => "a session with a DM server",
    }
}

/// The name of a source in the store.
fn name_of(source: Source) -> &'static str {
    match source {
        Source::Factory => "factory",
        Source::Card => "card",
        Source::Push => "push",
        Source::Fetch => "fetch",
        Source::Session => "session",
    }
}
