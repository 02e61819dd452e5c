//! What is written down of every change: who made it, what it was, and how it ended.
//!
//! ```text
//!   operator's verb ── operate ──► draft, with what was before ── operated ──► Output::Audit
//!   DM server's commands ── commit ────────────────────────────── committed ─► Output::Audit
//!   accounts, trials, policies: what is told of them (`EventKind`) ──────────► Output::Audit
//! ```
//!
//! Pushes, sessions and devices that come and go change nothing and are not written down.

use crate::gateway::Gateway;
use crate::gateway::agenda::Queued;
use crate::gateway::event::EventKind;
use crate::gateway::management::{Operation, OperationId};

/// One change, or a try at one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Who.
    pub by: By,
    /// What was done: `block`, `replace`, `rolled-back` …
    pub what: String,
    /// To what: a device's or server's id, a URI, the name of a LAN.
    pub subject: Option<String>,
    /// How it was before. Never a secret.
    pub before: Option<String>,
    /// How it is now, or what there is to say of it. Never a secret.
    pub after: Option<String>,
    /// Why it was not done.
    pub failed: Option<String>,
}

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The gateway itself.
    Daemon,
    /// The operator who waits for this operation.
    Operator(OperationId),
    /// A DM server, by its id.
    Server(String),
}

/// What is known of an operation before it is done.
#[derive(Debug)]
pub(super) struct Draft {
    what: &'static str,
    subject: Subject,
    before: Option<String>,
}

/// What an operation changes.
#[derive(Debug)]
enum Subject {
    Device(String),
    Server(String),
    Document,
}

/// What stands for a value that nobody may read.
pub(super) const SECRET: &str = "(secret)";

/// Most characters of a value that is written down.
const VALUE: usize = 200;

impl EventKind {
    /// Whether what is told of it is a change that is written down.
    fn is_change(self) -> bool {
        matches!(
            self,
            Self::Bootstrapped
                | Self::AccountGone
                | Self::Kept
                | Self::RolledBack
                | Self::Policy
                | Self::Provisioned
        )
    }
}

impl Gateway {
    /// Has a change written down.
    pub(super) fn audit(&mut self, mut audit: Audit) {
        for text in [&mut audit.before, &mut audit.after, &mut audit.failed].into_iter().flatten() {
            *text = shortened(text);
        }
        self.outputs.0.push_back(Queued::Audit(Box::new(audit)));
    }

    /// Has what the gateway did by itself written down, if it is a change.
    pub(super) fn audit_event(&mut self, kind: EventKind, subject: &str, why: &str) {
        if kind.is_change() {
            self.audit(Audit {
                by: By::Daemon,
                what: kind.name().to_owned(),
                subject: Some(subject.to_owned()),
                before: None,
                after: Some(why.to_owned()),
                failed: None,
            });
        }
    }

    /// An operator's operation begins: how things are before it.
    pub(super) fn draft(&mut self, id: OperationId, operation: &Operation) {
        let Some((what, subject)) = subject(operation) else { return };
        let before = self.condition(&subject);
        self.drafts.insert(id, Draft { what, subject, before });
    }

    /// An operator's operation ended.
    pub(super) fn audit_operation(
        &mut self,
        id: OperationId,
        result: &Result<Vec<String>, String>,
    ) {
        let Some(Draft { what, subject, before }) = self.drafts.remove(&id) else { return };
        let after = match (result, &subject) {
            (Err(_), _) => None,
            (Ok(lines), Subject::Document) => Some(lines.join("; ")),
            (Ok(_), _) => self.condition(&subject),
        };
        let subject = match subject {
            Subject::Device(id) | Subject::Server(id) => Some(id),
            Subject::Document => None,
        };
        let failed = result.as_ref().err().cloned();
        let (by, what) = (By::Operator(id), what.to_owned());
        self.audit(Audit { by, what, subject, before, after, failed });
    }

    /// How what an operation changes is at the moment, in a few words.
    fn condition(&self, subject: &Subject) -> Option<String> {
        match subject {
            Subject::Device(id) => {
                let key = self.find_by_header(id, &mut String::new())?;
                let record = self.inventory.device(key)?.newest();
                let list = record.list.as_ref().map_or(&[][..], |list| &list.servers);
                let mut parts = vec![record.id.to_string()];
                let joined = |servers: &[crate::gateway::alert::ServerId]| {
                    servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let hardware: Vec<_> = record.hardware.iter().map(ToString::to_string).collect();
                for (name, text) in [
                    ("at", hardware.join(", ")),
                    ("names", joined(list)),
                    ("added", joined(&record.ruling.added)),
                    ("removed", joined(&record.ruling.removed)),
                ] {
                    if !text.is_empty() {
                        parts.push(format!("{name} {text}"));
                    }
                }
                if record.ruling.blocked {
                    parts.push("blocked".to_owned());
                }
                Some(parts.join("; "))
            }
            Subject::Server(id) => Some(self.server_condition(id).to_owned()),
            Subject::Document => None,
        }
    }
}

/// What an operation is called, and what it changes; `None` if it changes nothing.
fn subject(operation: &Operation) -> Option<(&'static str, Subject)> {
    let device = |id: &String| Subject::Device(id.clone());
    let server = |id: &String| Subject::Server(id.clone());
    Some(match operation {
        Operation::Session { .. } | Operation::Rehearse(_) => return None,
        Operation::Apply { .. } => ("bootstrap-apply", Subject::Document),
        Operation::Approve { server: id } => ("approve", server(id)),
        Operation::Deny { server: id } => ("deny", server(id)),
        Operation::Provision { device: id } => ("provision-device", device(id)),
        Operation::Forget { device: id } => ("forget", device(id)),
        Operation::Block { device: id } => ("block", device(id)),
        Operation::Unblock { device: id } => ("unblock", device(id)),
        Operation::Trust { device: id, .. } => ("trust", device(id)),
        Operation::Map { device: id, .. } => ("map-add", device(id)),
        Operation::Unmap { device: id, .. } => ("map-remove", device(id)),
    })
}

pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE) {
        Some(_) => text.chars().take(VALUE - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(shortened("é"), "é");
        let long = shortened(&"é".repeat(VALUE + 1));
        assert_eq!(long.chars().count(), VALUE);
        assert!(long.ends_with('…'));
    }
}
