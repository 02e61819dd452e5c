//! Sessions with DM servers: how they begin, go on and end.

use super::accounts::{Accounts, Changed};
use super::failures::{of_status, of_why};
use super::obey::Done;
use super::records::{ServerRecord, change, removal};
use super::trial::Trial;
use super::wishes::Cause;
use super::{Purpose, Server, Then};
use crate::codes;
use crate::gateway::Gateway;
use crate::gateway::agenda::Queued;
use crate::gateway::audit::Audit;
use crate::gateway::event::EventKind;
use crate::gateway::health::Failed;
use crate::gateway::seam::{Call, CallId, CallKind, CallResult, Change, CommitId, Now, Reply};
use crate::limits;
use crate::proto::auth::Scheme;
use crate::proto::bootstrap::{Account, AuthenticationKind, Credential, Level};
use crate::proto::session::client::{
    self, ClientSession, Ending, Incoming, Nonces, Outgoing, Step, Why,
};
use crate::proto::syncml::{Encoding, Item, Location};
use crate::proto::tree::Transaction;
use std::time::Duration;

/// A session under way.
#[derive(Debug)]
pub(super) struct Running {
    session: ClientSession,
    /// Counts sessions since the start: a trial is passed by a later one.
    pub(super) number: u64,
    pub(super) session_id: u16,
    cause: Cause,
    call: Option<CallId>,
    allow_http: bool,
    /// Nonces as the store has them.
    nonces: Nonces,
    /// The alerts that package 1 carried.
    alerts: Vec<super::alerts::Told>,
}

/// What a session had changed when it had to wait for the store.
#[derive(Debug)]
pub(super) struct Saved {
    server: String,
    /// The trial before.
    trial: Option<Trial>,
    /// The nonces before.
    nonces: Nonces,
    accounts: Changed,
    /// What is written down of it.
    audits: Vec<Audit>,
}

impl Gateway {
    pub(super) fn begin_session(&mut self, server: &str, cause: Cause, now: Now) {
        let Some(account) = self.management.account(server).cloned() else {
            return self.session_failed(
                server,
                cause,
                "the gateway has no account with it",
                None,
                now,
            );
        };
        let configured = self.options.management.server(server);
        let allow_http = configured.is_some_and(|it| it.allow_http);
        let encoding = configured.map_or(Encoding::Wbxml, |it| it.encoding);
        let uri = account.url().unwrap_or_default();
        let secure = uri.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        if !secure && !allow_http {
            let why =
                "its account goes over plain HTTP, which `[[server]] allow-http` does not allow";
            let failed = Failed::new(codes::PLAIN_HTTP, why);
            return self.session_failed(server, cause, failed, None, now);
        }
        if lacks_proof(&account, secure) {
            let why = "its account wants the server to prove itself (SRVCRED), and that could not \
                       be checked: there is no AAuthSecret, or the AAuthType is none of BASIC, \
                       DIGEST and HMAC";
            let failed = Failed::new(codes::UNPROVEN, why);
            return self.session_failed(server, cause, failed, None, now);
        }
        let session_id = match cause {
            Cause::Package0(id) => id,
            _ => self.entropy.session_id(),
        };
        let record =
            self.management.servers.get(server).map(|it| it.record.clone()).unwrap_or_default();
        let nonces = Nonces {
            client: nonce(&record.client_nonce, credential(&account, Level::Client)),
            server: nonce(&record.server_nonce, credential(&account, Level::Server)),
        };
        let alerts = self.alerts_for(server);
        if !alerts.is_empty() {
            self.server_entry(server).told = Some(now.uptime);
        }
        let options = client::Options {
            device_id: self.management.tree.text("./DevInfo/DevId").unwrap_or_default().to_owned(),
            server_id: server.to_owned(),
            hosts: account.addresses.iter().skip(1).filter_map(|it| host(&it.url())).collect(),
            uri,
            session_id,
            server_initiated: matches!(cause, Cause::Package0(_)),
            encoding,
            secure,
            client: prover(&account, Level::Client),
            server: prover(&account, Level::Server),
            nonces: nonces.clone(),
            max_message_size: limits::CLIENT_MESSAGE as u64,
            max_object_size: limits::TREE_VALUE as u64,
            device_info: self.device_info(),
            alerts: alerts.iter().map(|(_, alert)| alert.clone()).collect(),
        };
        match ClientSession::start(options) {
            Ok((session, outgoing)) => {
                self.management.next_session += 1;
                let mut running = Box::new(Running {
                    session,
                    number: self.management.next_session,
                    session_id,
                    cause,
                    call: None,
                    allow_http,
                    nonces,
                    alerts: alerts.into_iter().map(|(told, _)| told).collect(),
                });
                self.metrics.counters.managed_sessions += 1;
                // What stands behind the `?` may be a token.
                let uri = outgoing.uri.split('?').next().unwrap_or_default();
                let why = format!("{}: message 1 goes to {uri}", cause.sentence());
                self.tell_of_server(EventKind::SessionStarted, server, &why);
                self.post(server, &mut running, outgoing);
                self.put_back(server, running);
            }
            Err(why) => self.session_failed(server, cause, of_why(why), None, now),
        }
    }

    /// Takes the answer to a message.
    pub(super) fn session_called(
        &mut self,
        server: &str,
        call: CallId,
        result: CallResult,
        now: Now,
    ) {
        let entry = self.management.servers.get_mut(server);
        let Some(mut running) =
            entry.and_then(|it| it.running.take_if(|running| running.call == Some(call)))
        else {
            return;
        };
        running.call = None;
        let reply = match result {
            Ok(Reply::Http(reply)) => reply,
            Ok(_) => return self.broken_off(server, *running, None, "no answer".into(), None, now),
            Err(failed) => return self.broken_off(server, *running, None, failed, None, now),
        };
        let encoding = reply.content_type.as_deref().and_then(Encoding::of_content_type);
        let (200, Some(encoding)) = (reply.status, encoding) else {
            let failed = of_status(reply.status);
            return self.broken_off(
                server,
                *running,
                Some(reply.status),
                failed,
                reply.retry_after,
                now,
            );
        };
        let fresh = self.entropy.nonce();
        let incoming = Incoming { encoding, body: &reply.body, mac: reply.mac.as_deref() };
        let mut obeys = self.obeys(server, encoding, now);
        let step = running.session.receive(&incoming, fresh, &mut obeys);
        let done = obeys.done();
        self.step(server, running, step, done, now);
    }

    /// Goes on after a commit.
    pub(super) fn session_committed(&mut self, saved: Saved, ok: bool, now: Now) {
        let Saved { server, trial, nonces, accounts, audits } = saved;
        let server = &*server;
        self.audit_commit(audits, ok);
        if ok {
            self.accounts_changed(&accounts, now);
        } else {
            self.management.trial = trial;
        }
        let entry = self.management.servers.get_mut(server);
        let Some(mut running) = entry.and_then(|it| it.running.take()) else { return };
        if !ok {
            running.nonces = nonces;
        }
        let step = running.session.committed(ok);
        let done =
            Done { transaction: self.management.tree.begin(), settings: None, is_critical: false };
        self.step(server, running, step, done, now);
    }

    /// What is kept of a server whose account a session made.
    fn record_of_made(&self, server: &str) -> ServerRecord {
        let approved = self.management.servers.get(server).is_some_and(|it| it.record.approved);
        ServerRecord { approved, source: Some("session".to_owned()), ..ServerRecord::default() }
    }

    /// A session made accounts, or deleted them, and that is on flash.
    fn accounts_changed(&mut self, accounts: &Changed, now: Now) {
        for server in &accounts.gone {
            self.management.servers.remove(server);
            self.tell_of_server(EventKind::AccountGone, server, "a DM server deleted it");
        }
        for server in &accounts.made {
            let record = self.record_of_made(server);
            let entry = self.server_entry(server);
            let heard = std::mem::take(&mut entry.heard);
            *entry = Server { record, heard, ..Server::default() };
            let why = "the gateway has an account with it, from: session";
            self.tell_of_server(EventKind::Bootstrapped, server, why);
            self.wish(server, Cause::Bootstrap, now.uptime);
        }
    }

    fn step(&mut self, server: &str, mut running: Box<Running>, step: Step, done: Done, now: Now) {
        match step {
            Step::Commit(nonces) => {
                let mut changes = self.changes(&done.transaction);
                if let Some(settings) = &done.settings {
                    changes.push(change(super::records::SETTINGS, settings));
                }
                if let Some(entry) = self.management.servers.get(server) {
                    let mut record = entry.record.clone();
                    record.set_nonces(&nonces);
                    changes.push(change(format!("s{server}"), &record));
                }
                let trial = self.management.trial.clone();
                let mut accounts = Changed::default();
                if done.is_critical {
                    accounts = Accounts::read(&self.management.tree)
                        .changed_since(&self.management.accounts, server);
                    changes.extend(accounts.gone.iter().map(|gone| removal(format!("s{gone}"))));
                    for made in &accounts.made {
                        changes.push(change(format!("s{made}"), &self.record_of_made(made)));
                    }
                    self.begin_trial(server, running.number, &done, &accounts, &mut changes, now);
                }
                let audits = self.changes_by(server, &done);
                let nonces = std::mem::replace(&mut running.nonces, nonces);
                self.put_back(server, running);
                self.commit_open(
                    changes,
                    done.transaction,
                    done.settings,
                    Then::Session(Saved {
                        server: server.to_owned(),
                        trial,
                        nonces,
                        accounts,
                        audits,
                    }),
                );
            }
            Step::Send(outgoing) => {
                // Whatever changed something came here by way of a commit.
                self.undo(done.transaction, now);
                self.tell_executed(server, &outgoing);
                self.post(server, &mut running, outgoing);
                self.put_back(server, running);
            }
            Step::End(ending) => {
                self.undo(done.transaction, now);
                self.session_ended(server, *running, &ending, None, now);
            }
        }
    }

    fn post(&mut self, server: &str, running: &mut Running, outgoing: Outgoing) {
        let call = self.call(
            Purpose::Session(server.to_owned()),
            Call {
                server: server.to_owned(),
                kind: CallKind::Message {
                    url: outgoing.uri,
                    allow_http: running.allow_http,
                    content_type: outgoing.encoding.content_type(),
                    mac: outgoing.mac,
                    body: outgoing.body,
                },
            },
        );
        running.call = Some(call);
    }

    /// Has a call made.
    pub(super) fn call(&mut self, purpose: Purpose, request: Call) -> CallId {
        let call = CallId(self.management.next_call);
        self.management.next_call += 1;
        self.management.calls.insert(call, purpose);
        self.outputs.0.push_back(Queued::Call { call, request });
        call
    }

    fn put_back(&mut self, server: &str, running: Box<Running>) {
        if let Some(entry) = self.management.servers.get_mut(server) {
            // What the store has by now.
            entry.record.set_nonces(&running.nonces);
            entry.running = Some(running);
        }
    }

    /// No answer came, or none that goes on.
    fn broken_off(
        &mut self,
        server: &str,
        mut running: Running,
        status: Option<u16>,
        failed: Failed,
        retry_after: Option<Duration>,
        now: Now,
    ) {
        let mut ending = running.session.no_answer(status);
        if ending.why == Why::Done {
            ending.why = Why::NoAnswer(status);
        }
        self.end(server, running, &ending, Some(failed), retry_after, now);
    }

    fn session_ended(
        &mut self,
        server: &str,
        running: Running,
        ending: &Ending,
        retry_after: Option<Duration>,
        now: Now,
    ) {
        self.end(server, running, ending, None, retry_after, now);
    }

    fn end(
        &mut self,
        server: &str,
        running: Running,
        ending: &Ending,
        failed: Option<Failed>,
        retry_after: Option<Duration>,
        now: Now,
    ) {
        let (ok, mut changed) = (ending.ok(), false);
        self.alerts_told(server, &running.alerts, &ending.alerts, ok);
        if let Some(entry) = self.management.servers.get_mut(server) {
            let record = &mut entry.record;
            changed = ok && !record.proven
                || record.client_nonce != ending.nonces.client
                || record.server_nonce != ending.nonces.server
                || running.nonces != ending.nonces;
            record.proven |= ok;
            record.set_nonces(&ending.nonces);
            changed |= matches!(running.cause, Cause::Package0(_)) && !record.heard.is_empty();
        }
        if changed {
            self.keep_server(server);
        }
        if !ok {
            let failed = failed.unwrap_or_else(|| of_why(ending.why));
            return self.session_failed(server, running.cause, failed, retry_after, now);
        }
        if let Some(entry) = self.management.servers.get_mut(server) {
            entry.failures = 0;
            entry.why = None;
            entry.last = Some((now.uptime, None));
        }
        self.tell_of_server(EventKind::SessionEnded, server, "the session ended as it should");
        self.trial_passed(server, running.number, now);
        self.wish_next(server, now);
        if self.has_alerts(server) {
            self.wish_to_tell(server, now);
        }
    }

    /// The changes of a transaction for the store.
    pub(super) fn changes(&self, transaction: &Transaction) -> Vec<Change> {
        let changes = transaction.changes(&self.management.tree).into_iter();
        changes
            .map(|it| Change { key: format!("t{}", it.uri).into_bytes(), value: it.after })
            .collect()
    }

    /// Has what is known of a server made durable.
    pub(super) fn keep_server(&mut self, server: &str) -> Option<CommitId> {
        let entry = self.management.servers.get(server)?;
        let change = change(format!("s{server}"), &entry.record);
        Some(self.commit_alone(vec![change]))
    }

    fn tell_executed(&mut self, server: &str, outgoing: &Outgoing) {
        for executed in &outgoing.executed {
            let blank = if executed.uri.is_empty() { "" } else { " " };
            let (code, meaning) = (executed.code.0, executed.code.meaning());
            let why = format!("{}{blank}{}: {code} {meaning}", executed.command, executed.uri);
            let why = why.trim_end();
            self.audit_command(server, executed);
            self.tell_of_server(EventKind::Command, server, why);
        }
    }

    /// DevInfo, as package 1 tells it.
    fn device_info(&self) -> Vec<Item<'static>> {
        let leaf = |name: &str| {
            let uri = format!("./DevInfo/{name}");
            let text = self.management.tree.text(&uri)?.to_owned();
            Some(Item {
                source: Some(Location { uri: uri.into(), name: None }),
                data: Some(crate::proto::syncml::Data::Text(text.into())),
                ..Item::default()
            })
        };
        ["DevId", "Man", "Mod", "DmV", "Lang"].into_iter().filter_map(leaf).collect()
    }
}

/// How one side proves itself, if its account says so.
fn prover(account: &Account, level: Level) -> Option<client::Account> {
    let credential = credential(account, level)?;
    // Without a name of its own a server goes by its id.
    let name = credential.name.clone().unwrap_or_else(|| match level {
        Level::Server => account.server_id.clone(),
        _ => String::new(),
    });
    let secret = credential.secret.clone()?;
    Some(client::Account { scheme: scheme(credential)?, name, secret })
}

/// The credential of a level that counts: the first that messages can carry, for us of the
/// preferred type if there is one.
pub(super) fn credential(account: &Account, level: Level) -> Option<&Credential> {
    let usable =
        |it: &&Credential| it.level == level && it.secret.is_some() && scheme(it).is_some();
    let preferred = account.preferred_authentication.as_ref().filter(|_| level == Level::Client);
    let mut of_kind = account.credentials.iter().filter(usable);
    of_kind
        .find(|it| preferred.is_some_and(|kind| it.kind == *kind))
        .or_else(|| account.credentials.iter().find(usable))
}

fn scheme(credential: &Credential) -> Option<Scheme> {
    match credential.kind {
        AuthenticationKind::Basic => Some(Scheme::Basic),
        AuthenticationKind::Digest => Some(Scheme::Md5),
        AuthenticationKind::Hmac => Some(Scheme::Mac),
        _ => None,
    }
}

/// Whether the account wants a proof of the server that nothing here could check: whoever answers
/// would be obeyed. `TRANSPORT` is what TLS does anyway.
fn lacks_proof(account: &Account, secure: bool) -> bool {
    let is_done = |it: &Credential| secure && it.kind == AuthenticationKind::Transport;
    account.credential(Level::Server).is_some_and(|it| !is_done(it))
        && prover(account, Level::Server).is_none()
}

/// The nonce in use: the newest, else the account's own.
pub(super) fn nonce(newest: &[u8], credential: Option<&Credential>) -> Vec<u8> {
    if !newest.is_empty() {
        return newest.to_vec();
    }
    credential.and_then(|credential| credential.nonce.clone()).unwrap_or_default()
}

/// The host of a URL, without its port; of an IPv6 address without the brackets, too.
fn host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let host = match bracketed {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    };
    (!host.is_empty()).then(|| host.to_owned())
}
