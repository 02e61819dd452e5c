//! What operators have the gateway do.

use super::bootstrap::Search;
use super::wishes::Cause;
use crate::gateway::Gateway;
use crate::gateway::agenda::Queued;
use crate::gateway::alert::ServerId;
use crate::gateway::ruling::{Answer, Approval};
use crate::gateway::seam::Now;
use crate::limits;

/// One operation that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub u64);

/// How [`Operation::Session`] is answered if the session has to wait for one under way.
pub const ANOTHER_FOLLOWS: &str = "a session with it is under way; another follows";

/// What an operator wants done.
#[derive(Clone, Debug)]
pub enum Operation {
    /// `session SERVER`: a session now. Answered when it has begun.
    Session {
        /// The server's id.
        server: String,
    },
    /// `bootstrap apply FILE`: the accounts in a document.
    Apply {
        /// The document.
        document: Vec<u8>,
    },
    /// `servers approve ID`: a wanted server may be bootstrapped.
    Approve {
        /// The server's id.
        server: String,
    },
    /// `devices provision ID`: an account for the gateway on an end device.
    Provision {
        /// The device's id or alias.
        device: String,
    },
    /// `servers deny ID`: a server may not be bootstrapped, whoever wants it.
    Deny {
        /// The server's id.
        server: String,
    },
    /// `devices forget ID`: all that is known of a device goes.
    Forget {
        /// The device's id or alias.
        device: String,
    },
    /// `devices block ID`: pushes and sessions of a device are refused.
    Block {
        /// The device's id or alias.
        device: String,
    },
    /// `devices unblock ID`.
    Unblock {
        /// The device's id or alias.
        device: String,
    },
    /// `devices trust ID`: a conflict about a device's identity is settled.
    Trust {
        /// The device's id or alias.
        device: String,
        /// For whom: an Ethernet address; else for whom it is held for.
        hardware: Option<String>,
    },
    /// `map add SERVER DEVICE`: a server may wake a device, whatever the device says.
    Map {
        /// The server's id.
        server: String,
        /// The device's id or alias.
        device: String,
    },
    /// `map remove SERVER DEVICE`: a server may not wake a device, whatever the device says.
    Unmap {
        /// The server's id.
        server: String,
        /// The device's id or alias.
        device: String,
    },
    /// `--dry-run`: what the operation would do; answered with it, and not done.
    Rehearse(Box<Self>),
}

impl Gateway {
    /// Does what an operator wants; the answer is an [`Output`](crate::gateway::seam::Output).
    pub(in crate::gateway) fn operate(&mut self, id: OperationId, operation: Operation, now: Now) {
        self.draft(id, &operation);
        match &operation {
            Operation::Session { server } => self.session_now(id, server, now),
            Operation::Apply { document } => self.apply(id, document, now),
            Operation::Approve { server } => self.approve(id, server),
            Operation::Deny { server } => self.deny(id, server),
            Operation::Provision { device } => self.provision(id, device),
            Operation::Rehearse(operation) => {
                let result = self.rehearse(operation);
                self.operated(id, result);
            }
            _ => match self.plan(&operation) {
                Ok(plan) => self.enact(id, plan),
                Err(why) => self.operated(id, Err(why)),
            },
        }
    }

    /// What an operation would do.
    ///
    /// # Errors
    /// For people: why it would be refused.
    fn rehearse(&self, operation: &Operation) -> Result<Vec<String>, String> {
        match operation {
            Operation::Session { server } => {
                self.may_session(server)?;
                Ok(vec![format!("{server}: a session with it begins")])
            }
            Operation::Apply { document } => self.plan_apply(document),
            Operation::Approve { server } => self.plan_approve(server),
            Operation::Deny { server } => self.plan_deny(server),
            Operation::Provision { device } => self.plan_provision(device),
            Operation::Rehearse(operation) => self.rehearse(operation),
            _ => self.plan(operation).map(Self::rehearsed),
        }
    }

    /// Answers an operator.
    pub(in crate::gateway) fn operated(
        &mut self,
        operation: OperationId,
        result: Result<Vec<String>, String>,
    ) {
        self.audit_operation(operation, &result);
        self.outputs.0.push_back(Queued::Operated { operation, result });
    }

    fn session_now(&mut self, id: OperationId, server: &str, now: Now) {
        if let Err(why) = self.may_session(server) {
            return self.operated(id, Err(why));
        }
        let entry = self.server_entry(server);
        let line =
            if entry.running.is_some() { ANOTHER_FOLLOWS } else { "a session with it begins" };
        // The operator's wish comes before whatever else waits its time.
        entry.wish.take_if(|wish| !matches!(wish.cause, Cause::Package0(_)));
        self.wish(server, Cause::Operator, now.uptime);
        self.operated(id, Ok(vec![format!("{server}: {line}")]));
        self.manage(now);
    }

    fn may_session(&self, server: &str) -> Result<(), String> {
        if self.management.has_account(server) {
            return Ok(());
        }
        let known: Vec<_> = self.management.accounts.servers().collect();
        let known = if known.is_empty() {
            "no account at all".to_owned()
        } else {
            format!("accounts with {}", known.join(", "))
        };
        Err(format!(
            "the gateway has no account with {server}, it has {known}; try: dm-gateway servers"
        ))
    }

    fn approve(&mut self, id: OperationId, server: &str) {
        match self.plan_approve(server) {
            Ok(lines) => {
                let entry = self.server_entry(server);
                if !matches!(entry.search, Search::Running { .. }) {
                    entry.search = Search::Idle;
                }
                self.keep_approval(id, server, (true, false), lines);
            }
            Err(why) => self.operated(id, Err(why)),
        }
    }

    fn plan_approve(&self, server: &str) -> Result<Vec<String>, String> {
        if self.management.has_account(server) {
            return Err(format!("the gateway has an account with {server} already"));
        }
        let record = self.management.servers.get(server).map(|it| &it.record);
        let is_denied = record.is_some_and(|record| record.denied);
        if !is_denied && !self.wanted_servers().iter().any(|wanted| wanted == server) {
            return Err(format!(
                "no device of a LAN with policy bootstrap wants {server}; try: dm-gateway servers"
            ));
        }
        Ok(vec![format!("{server}: approved")])
    }

    fn deny(&mut self, id: OperationId, server: &str) {
        match self.plan_deny(server) {
            Ok(lines) => {
                // What a search under way finds is not taken.
                self.server_entry(server).search = Search::Idle;
                self.keep_approval(id, server, (false, true), lines);
            }
            Err(why) => self.operated(id, Err(why)),
        }
    }

    fn plan_deny(&self, server: &str) -> Result<Vec<String>, String> {
        if ServerId::new(server).is_err() {
            return Err(format!("`{server}` is no id of a DM server; try: dm-gateway servers"));
        }
        if self.management.has_account(server) {
            return Err(format!(
                "the gateway has an account with {server}: it is managed by it, not looking for it"
            ));
        }
        let known = self.management.servers.get(server);
        if known.is_some_and(|it| it.record.denied) {
            return Err(format!("{server} is denied already"));
        }
        if known.is_none() && self.management.servers.len() >= limits::MANAGED_SERVERS {
            return Err(format!("{} servers are kept, the most", limits::MANAGED_SERVERS));
        }
        Ok(vec![format!("{server}: denied; no account with it is looked for, whoever wants it")])
    }

    /// Keeps an operator's word on a server, and answers when that is on flash.
    fn keep_approval(
        &mut self,
        id: OperationId,
        server: &str,
        approval: Approval,
        lines: Vec<String>,
    ) {
        let before = self.set_approval(server, approval);
        if let Some(commit) = self.keep_server(server) {
            let before = Some((server.to_owned(), before));
            self.await_store(commit, Answer { server: before, ..Answer::only(id, lines) });
        }
    }

    /// Sets whether a server may be bootstrapped; how it was before.
    pub(in crate::gateway) fn set_approval(&mut self, server: &str, new: Approval) -> Approval {
        let record = &mut self.server_entry(server).record;
        let before = (record.approved, record.denied);
        (record.approved, record.denied) = new;
        before
    }
}
