//! What operators have the gateway do.

use super::bootstrap::Search;
use super::wishes::Cause;
use crate::gateway::Gateway;
use crate::gateway::agenda::Queued;
use crate::gateway::seam::Now;

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
}

impl Gateway {
    /// Does what an operator wants; the answer is an [`Output`](crate::gateway::seam::Output).
    pub(in crate::gateway) fn operate(&mut self, id: OperationId, operation: Operation, now: Now) {
        match operation {
            Operation::Session { server } => self.session_now(id, &server, now),
            Operation::Apply { document } => self.apply(id, &document, now),
            Operation::Approve { server } => self.approve(id, &server, now),
            Operation::Provision { device } => self.provision(id, &device),
        }
    }

    pub(super) fn operated(&mut self, operation: OperationId, result: Result<Vec<String>, String>) {
        self.outputs.0.push_back(Queued::Operated { operation, result });
    }

    fn session_now(&mut self, id: OperationId, server: &str, now: Now) {
        if !self.management.has_account(server) {
            let known: Vec<_> = self.management.accounts.servers().collect();
            let known = if known.is_empty() {
                "no account at all".to_owned()
            } else {
                format!("accounts with {}", known.join(", "))
            };
            return self.operated(
                id,
                Err(format!(
                    "the gateway has no account with {server}, it has {known}; try: dm-gateway \
                     servers"
                )),
            );
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

    fn approve(&mut self, id: OperationId, server: &str, now: Now) {
        if self.management.has_account(server) {
            return self
                .operated(id, Err(format!("the gateway has an account with {server} already")));
        }
        if !self.wanted_servers().iter().any(|wanted| wanted == server) {
            let why = format!(
                "no device of a LAN with policy bootstrap wants {server}; try: dm-gateway servers"
            );
            return self.operated(id, Err(why));
        }
        let entry = self.server_entry(server);
        entry.record.approved = true;
        if !matches!(entry.search, Search::Running { .. }) {
            entry.search = Search::Idle;
        }
        self.keep_server(server);
        self.operated(id, Ok(vec![format!("{server}: approved")]));
        self.look_for_wanted(now);
    }
}
