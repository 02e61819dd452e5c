//! Accounts come and go: whatever brought them, they are installed here, all or none.

use super::accounts::DM_ACC;
use super::records::{change, removal};
use super::trial::Trial;
use super::wishes::Cause;
use super::{Deferred, OperationId, Server, Then};
use crate::gateway::Gateway;
use crate::gateway::event::EventKind;
use crate::gateway::seam::{Change, Now};
use crate::limits;
use crate::proto::bootstrap::{Account, Source, Value};
use crate::proto::syncml::StatusCode;
use crate::proto::tree::{Format, Transaction, Tree, uri};
use sha2::{Digest, Sha256};

/// Accounts to be installed or taken away.
#[derive(Debug)]
pub(super) struct Installation {
    /// To be made, or made anew.
    pub(super) accounts: Vec<Account>,
    /// Servers whose accounts go.
    pub(super) gone: Vec<String>,
    /// The document that all of it is from.
    pub(super) document: Option<Document>,
    /// The wanted server for whose sake it is done.
    pub(super) search: Option<String>,
    /// The trial that is under way, without what is overwritten now.
    pub(super) trial: Option<Option<Trial>>,
    /// The operator who waits for it.
    pub(super) operation: Option<OperationId>,
    /// What was done, for people.
    pub(super) lines: Vec<String>,
}

/// A document that is applied once only.
#[derive(Debug)]
pub(super) struct Document {
    /// Which way it came: a file's name, `card`, `push`.
    pub(super) way: String,
    /// Its SHA-256.
    digest: [u8; 32],
    /// How many that came this way are remembered.
    remembered: usize,
}

impl Document {
    pub(super) fn new(way: &str, document: &[u8], remembered: usize) -> Self {
        Self { way: way.to_owned(), digest: Sha256::digest(document).into(), remembered }
    }
}

impl Installation {
    /// To install these accounts.
    pub(super) fn of(accounts: Vec<Account>) -> Self {
        Self {
            accounts,
            gone: Vec::new(),
            document: None,
            search: None,
            trial: None,
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
        if installation.document.as_ref().is_some_and(|document| self.is_applied(document)) {
            // It came again while the store was busy.
            return;
        }
        let unix = if now.unix >= limits::CLOCK_SET { now.unix } else { 0 };
        let mut transaction = self.management.tree.begin();
        let (mut failed, mut gone_nodes) = (None, Vec::new());
        for server in &installation.gone {
            if let Some(node) = self.management.accounts.node(server) {
                gone_nodes.push(format!("t{DM_ACC}/{node}"));
                let removed =
                    self.management.tree.remove(&format!("{DM_ACC}/{node}"), &mut transaction);
                failed = failed.or_else(|| removed.err().map(|code| (server.clone(), code)));
                self.management.tree.forget_server(server, unix, &mut transaction);
                installation.lines.push(format!("{server}: account removed"));
            }
        }
        for account in &installation.accounts {
            let server = &account.server_id;
            let is_known = self.management.has_account(server);
            let written = write(&mut self.management.tree, account, unix, &mut transaction);
            failed = failed.or_else(|| written.err().map(|code| (server.clone(), code)));
            let done = if is_known { "changed" } else { "made" };
            let url = account.url().unwrap_or_default();
            installation.lines.push(format!("{server}: account {done}, {url}"));
        }
        if let Some((server, code)) = failed {
            self.undo(transaction, now);
            let why = format!("the account of {server} cannot be written: Status {}", code.0);
            log::error!("{why}");
            return self.install_failed(installation, why, now);
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
        installation.trial = self.trial_beside(&installation.accounts, gone_nodes, &mut changes);
        if let Some(document) = &installation.document {
            let key = format!("f{}", document.way).into_bytes();
            changes.push(Change { key, value: Some(self.applied_with(document)) });
        }
        self.commit_open(changes, transaction, None, Then::Install(installation));
    }

    /// Accounts are on flash, or are not there.
    pub(super) fn installed(&mut self, mut installation: Installation, ok: bool, now: Now) {
        if !ok {
            let why = "the store could not keep it".to_owned();
            return self.install_failed(installation, why, now);
        }
        if let Some(document) = &installation.document {
            let applied = self.applied_with(document);
            self.management.applied.insert(document.way.clone(), applied);
        }
        if let (Some(trial), true) = (installation.trial.take(), self.management.trial.is_some()) {
            self.management.trial = trial;
        }
        for server in &installation.gone {
            self.management.servers.remove(server);
            self.tell_of_server(EventKind::AccountGone, server, "its source has it no more");
        }
        for account in &installation.accounts {
            let entry = self.server_entry(&account.server_id);
            // What a session by the old account would still learn is not the new one's.
            let was_running = entry.running.take().is_some();
            *entry = Server {
                record: super::records::ServerRecord {
                    approved: entry.record.approved,
                    source: Some(name_of(account.source).to_owned()),
                    heard: std::mem::take(&mut entry.record.heard),
                    ..Default::default()
                },
                heard: std::mem::take(&mut entry.heard),
                ..Server::default()
            };
            if was_running {
                let why = "its account is another one now; a new session follows";
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
        if let Some(server) = installation.search {
            if !self.management.has_account(&server) {
                self.source_failed(&server, "the source has no account with it".to_owned(), now);
            }
        }
    }

    fn install_failed(&mut self, installation: Installation, why: String, now: Now) {
        for account in &installation.accounts {
            self.tell_of_server(EventKind::BootstrapFailed, &account.server_id, &why);
        }
        if let Some(operation) = installation.operation {
            self.operated(operation, Err(why.clone()));
        }
        if let Some(server) = installation.search {
            self.source_failed(&server, why, now);
        }
    }

    /// Whether a document was applied before.
    pub(super) fn is_applied(&self, document: &Document) -> bool {
        let applied = self.management.applied.get(&document.way);
        applied.is_some_and(|digests| digests.chunks(32).any(|digest| digest == document.digest))
    }

    /// The digests of what came a way, with that of `document`.
    fn applied_with(&self, document: &Document) -> Vec<u8> {
        let before = self.management.applied.get(&document.way);
        let mut digests = before.cloned().unwrap_or_default();
        digests.extend(document.digest);
        let over = digests.len().saturating_sub(32 * document.remembered);
        digests.split_off(over)
    }

    /// A trial goes on beside new accounts, and does not undo them: what is left of it then, also
    /// for the store. `None` if it stays as it is.
    fn trial_beside(
        &self,
        accounts: &[Account],
        mut nodes: Vec<String>,
        changes: &mut Vec<Change>,
    ) -> Option<Option<Trial>> {
        let trial = self.management.trial.as_ref()?;
        let node = |account: &Account| {
            format!("t{DM_ACC}/{}", node_of(&self.management.tree, &account.server_id))
        };
        nodes.extend(accounts.iter().map(node));
        let is_new = |key: &str| {
            let below = |node: &String| {
                key.strip_prefix(&**node)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            nodes.iter().any(below) || changes.iter().any(|change| change.key == key.as_bytes())
        };
        let (rest, record) = trial.without(is_new)?;
        changes.push(record);
        Some(rest)
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
