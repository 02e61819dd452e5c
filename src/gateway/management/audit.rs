//! What is written down of the commands of DM servers: each node that changed, once it is on
//! flash, and each command that was refused.

use super::obey::Done;
use crate::gateway::Gateway;
use crate::gateway::audit::{Audit, By, SECRET};
use crate::gateway::event::Reason;
use crate::limits;
use crate::proto::session::client::Executed;
use crate::proto::tree::{self, Facts};
use std::net::SocketAddr;

impl Gateway {
    /// What the commands of one message of a server changed, for when it is on flash.
    pub(super) fn changes_by(&self, server: &str, done: &Done) -> Vec<Audit> {
        let audit = |what: &str, subject: String, before, after| Audit {
            by: By::Server(server.to_owned()),
            what: what.to_owned(),
            subject: Some(subject),
            before,
            after,
            failed: None,
        };
        let mut audits = Vec::new();
        for change in done.transaction.changes(&self.management.tree) {
            let Some((what, before, after)) = self.difference(&change) else { continue };
            audits.push(audit(what, change.uri, before, after));
        }
        if let Some(settings) = &done.settings {
            let text = |settings| serde_json::to_string(settings).ok();
            let (before, after) = (text(&self.management.settings), text(settings));
            audits.push(audit("replace", crate::proto::gwmo::CONFIG.to_owned(), before, after));
        }
        let over = audits.len().saturating_sub(limits::AUDIT_CHANGES);
        if over > 0 {
            audits.truncate(limits::AUDIT_CHANGES);
            audits.push(audit("more", format!("{over} more nodes"), None, None));
        }
        audits
    }

    /// The commands are on flash, or are not.
    pub(super) fn audit_commit(&mut self, audits: Vec<Audit>, ok: bool) {
        for mut audit in audits {
            if !ok {
                audit.failed = Some("the store could not keep it".to_owned());
            }
            self.audit(audit);
        }
    }

    /// A command of a server was answered: whether that is to be known besides what it changed.
    pub(super) fn audit_command(&mut self, server: &str, executed: &Executed) {
        let is_refused = !executed.code.is_success();
        let changes = ["Add", "Replace", "Delete", "Copy"].contains(&&*executed.command);
        if executed.command != "Exec" && !(changes && is_refused) {
            return;
        }
        let (code, meaning) = (executed.code.0, executed.code.meaning());
        self.audit(Audit {
            by: By::Server(server.to_owned()),
            what: executed.command.to_lowercase(),
            subject: Some(executed.uri.clone()).filter(|uri| !uri.is_empty()),
            before: None,
            after: None,
            failed: is_refused.then(|| format!("{code} {meaning}")),
        });
    }

    /// Somebody pushed a bootstrap with a wrong proof. Tries are bounded, so these lines are.
    pub(super) fn audit_unproven(&mut self, from: SocketAddr) {
        self.audit(Audit {
            by: By::Daemon,
            what: "bootstrap-push".to_owned(),
            subject: Some(from.to_string()),
            before: None,
            after: None,
            failed: Some(Reason::BootstrapUnproven.to_string()),
        });
    }

    /// What happened to a node: the word for it, its value before and now. `None` if only its
    /// counters changed.
    fn difference(
        &self,
        change: &tree::Change,
    ) -> Option<(&'static str, Option<String>, Option<String>)> {
        let facts = |record: &Option<Vec<u8>>| {
            let facts = record.as_ref().and_then(|record| Facts::decode(record).ok());
            facts.map(|facts| Facts { changed: 0, version: 0, ..facts })
        };
        let (before, after) = (facts(&change.before), facts(&change.after));
        if before == after {
            return None;
        }
        let is_readable = self.management.tree.is_readable(&change.uri);
        let shown = |facts: &Option<Facts>| {
            let facts = facts.as_ref().filter(|facts| !facts.is_interior())?;
            if !is_readable {
                return Some(SECRET.to_owned());
            }
            let text = std::str::from_utf8(&facts.value).map(str::to_owned);
            Some(text.unwrap_or_else(|_| format!("{} octets", facts.value.len())))
        };
        let mut values = (shown(&before), shown(&after));
        let what = match (&before, &after) {
            (None, _) => "add",
            (_, None) => "delete",
            (Some(before), Some(after)) if before.acl != after.acl => {
                let acl = |facts: &Facts| {
                    facts.acl.as_ref().map_or_else(|| "inherited".to_owned(), ToString::to_string)
                };
                values = (Some(acl(before)), Some(acl(after)));
                "replace-acl"
            }
            _ => "replace",
        };
        Some((what, values.0, values.1))
    }
}
