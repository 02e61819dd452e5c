//! What the gateway wants written down of changes goes to the audit on flash, on a thread that may
//! block. Nothing happens, and nobody wakes up, while nothing changes.

use super::configuration::Change;
use super::shell::Shell;
use super::{Signal, journal, pause};
use crate::codes;
use crate::control::{self, BackupHead, Request};
use crate::gateway::audit::{Audit, By};
use crate::gateway::backup;
use crate::gateway::store::Record;
use crate::io::audit::{self, AuditLog, Entry};
use crate::io::control_socket::ControlConnection;
use crate::limits;
use log::Level;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Entries on their way to flash.
pub(super) struct AuditTask {
    state_dir: PathBuf,
    /// Empty while a batch is on its way.
    log: RefCell<Option<AuditLog>>,
    waiting: RefCell<Vec<Entry>>,
    lost: Cell<u64>,
    signal: Signal,
}

impl AuditTask {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            state_dir: state_dir.to_owned(),
            log: RefCell::new(Some(AuditLog::new(state_dir))),
            waiting: RefCell::default(),
            lost: Cell::new(0),
            signal: Signal::new(),
        }
    }

    fn push(&self, entry: Entry) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= limits::AUDIT_WAITING {
            self.lost.set(self.lost.get() + 1);
        } else {
            waiting.push(entry);
        }
        self.signal.set();
    }

    fn take(&self, time: u64) -> Vec<Entry> {
        let mut entries = self.waiting.take();
        let lost = self.lost.take();
        if lost > 0 {
            let lines = if lost == 1 { "1 entry".into() } else { format!("{lost} entries") };
            let why = Some(format!("{lines} found no room while the audit failed"));
            entries.push(Entry::new(time, "daemon", "lost").failed(why));
        }
        entries
    }
}

/// What a request changes of the configuration: a word for it, and the file.
pub(super) fn audited(request: &Request) -> Option<(&'static str, Option<String>)> {
    Some(match request {
        Request::Reload { .. } => ("reload", None),
        Request::ApplyConfiguration { dry_run: false, name, .. } => ("apply", Some(name.clone())),
        Request::Confirm { discard: false } => ("confirm", None),
        Request::Confirm { discard: true } => ("discard", None),
        Request::LogLevel { level: Some(level), .. } => ("log-level", Some(level.clone())),
        _ => return None,
    })
}

impl Shell {
    /// Has something written down that the gateway tells of.
    pub(super) fn write_down(&self, audit: Audit) {
        let by = match audit.by {
            By::Daemon => "daemon".to_owned(),
            By::Server(server) => format!("server:{server}"),
            By::Operator(operation) => match self.caller.operator(operation) {
                Some(uid) => format!("uid:{uid}"),
                None => "uid:unknown".to_owned(),
            },
        };
        let entry = Entry {
            subject: audit.subject,
            before: audit.before,
            after: audit.after,
            ..Entry::new(self.clock.now().unix, by, audit.what)
        };
        self.audit.push(entry.failed(audit.failed));
    }

    /// Has a change of the configuration written down, by what was answered to it.
    pub(super) fn audit_configuration(
        &self,
        by: String,
        what: &str,
        subject: Option<String>,
        answer: &str,
    ) {
        let answer = serde_json::from_str::<Value>(answer).unwrap_or_default();
        let failed = answer["refused"].as_str().map(str::to_owned);
        let Change { before, after } = self.configuration.take_change();
        let lists = [("waits for a restart", "restart"), ("done", "done")];
        let lists = lists.into_iter().filter_map(|(head, name)| {
            let list = answer[name].as_array().filter(|list| !list.is_empty())?;
            let items: Vec<_> = list.iter().filter_map(Value::as_str).collect();
            Some(format!("{head}: {}", items.join(", ")))
        });
        let after = after.into_iter().chain(lists).collect::<Vec<_>>().join("; ");
        let after = Some(after).filter(|after| !after.is_empty() && failed.is_none());
        let before = before.filter(|_| failed.is_none());
        let entry = Entry::new(self.clock.now().unix, by, what);
        self.audit.push(Entry { subject, before, after, ..entry }.failed(failed));
    }

    /// Has a change of the configuration written down that no request made.
    pub(super) fn audit_own_configuration(&self, what: &str, why: &str, failed: Option<String>) {
        let Change { before, after } = self.configuration.take_change();
        let after = [Some(why.to_owned()), after].into_iter().flatten().collect::<Vec<_>>();
        let entry = Entry::new(self.clock.now().unix, "daemon", what);
        self.audit.push(Entry { before, after: Some(after.join("; ")), ..entry }.failed(failed));
    }

    /// Has something written down that the daemon did by itself.
    pub(super) fn write_down_own(&self, what: &str, after: String, failed: Option<String>) {
        let entry = Entry::new(self.clock.now().unix, "daemon", what);
        self.audit.push(Entry { after: Some(after), ..entry }.failed(failed));
    }

    pub(super) fn audit_started(&self) {
        let version = concat!("version ", env!("CARGO_PKG_VERSION"));
        self.write_down_own("start", version.to_owned(), None);
    }

    /// The last entry, at once: nothing else is done any more.
    pub(super) fn audit_stopped(&self) {
        let version = concat!("version ", env!("CARGO_PKG_VERSION"));
        self.write_down_own("stop", version.to_owned(), None);
        let entries = self.audit.take(self.clock.now().unix);
        let mut log = AuditLog::new(&self.audit.state_dir);
        if let Err(error) = log.append(&entries) {
            log::error!("the audit: {error}");
        }
    }

    /// Writes entries to flash, for ever.
    pub(super) async fn audits(self: Rc<Self>) {
        let mut works = true;
        loop {
            self.audit.signal.wait().await;
            let entries = self.audit.take(self.clock.now().unix);
            let log = self.audit.log.take();
            let mut log = log.unwrap_or_else(|| AuditLog::new(&self.audit.state_dir));
            if entries.is_empty() {
                self.audit.log.replace(Some(log));
                continue;
            }
            let (log, entries, result) = smol::unblock(move || {
                let result = log.append(&entries);
                (log, entries, result)
            })
            .await;
            self.audit.log.replace(Some(log));
            if let Err(error) = result {
                if std::mem::replace(&mut works, false) {
                    let why = format!("the audit cannot be written: {error}");
                    journal::write_coded(Level::Error, codes::AUDIT_READ, &why);
                }
                self.put_back(entries);
                pause(limits::STORE_RETRY).await;
            } else if !std::mem::replace(&mut works, true) {
                log::info!("the audit is written again");
            }
        }
    }

    fn put_back(&self, mut entries: Vec<Entry>) {
        let newer = self.audit.waiting.take();
        entries.extend(newer);
        self.audit.waiting.replace(entries);
        self.audit.signal.set();
    }

    /// Sends an operator what the gateway knows.
    pub(super) async fn tell_backup(&self, mut connection: ControlConnection, secrets: bool) {
        let uid = connection.peer_uid();
        let result = if secrets && uid != 0 && uid != nix::unistd::geteuid().as_raw() {
            Err("secrets are for root only; try: as root, or without --with-secrets".to_owned())
        } else {
            self.records().await
        };
        let with = if secrets { "with secrets" } else { "without secrets" };
        let entry = Entry::new(self.clock.now().unix, format!("uid:{uid}"), "backup");
        let entry = Entry { after: Some(with.to_owned()), ..entry };
        self.audit.push(entry.failed(result.as_ref().err().cloned()));
        let records = match result {
            Ok(records) => records,
            Err(why) => return drop(connection.send(&control::refused(&why)).await),
        };
        let lines = backup::export(&records, secrets);
        let (gateway, device) = self.gateway.borrow().identity();
        let head = BackupHead::new(self.clock.now().unix, gateway, device, lines.len());
        let mut sent = connection.send(&control::document(head)).await;
        for line in lines {
            if sent.is_err() {
                return;
            }
            let text = serde_json::to_string(&line).expect("maps with text as keys");
            sent = connection.send(&text).await;
        }
    }

    /// Every record of the store.
    async fn records(&self) -> Result<Vec<Record>, String> {
        for _ in 0..limits::STORE_WAITS {
            if let Some(records) = self.committer.records() {
                return records.map_or_else(|error| Err(error.to_string()), |it| Ok(it.to_vec()));
            }
            pause(limits::STORE_WAIT).await;
        }
        Err("the store is busy all the time; try: again, and df".to_owned())
    }

    /// Sends an operator the lines of the audit.
    pub(super) async fn tell_audit(&self, mut connection: ControlConnection) {
        let state_dir = self.audit.state_dir.clone();
        let lines = smol::unblock(move || audit::lines(&state_dir)).await;
        match lines {
            Ok(lines) => {
                for line in lines {
                    if connection.send(&line.text).await.is_err() {
                        return;
                    }
                }
            }
            Err(error) => {
                let _ = connection.send(&control::refused(&error.to_string())).await;
            }
        }
    }
}
