//! What a DM server commands is done to the tree.

use super::accounts::{DM_ACC, any_usable, has_twins};
use super::live::Live;
use super::records::Settings;
use crate::gateway::Gateway;
use crate::gateway::seam::Now;
use crate::limits;
use crate::proto::bootstrap::{self, Source};
use crate::proto::gwmo;
use crate::proto::session::client::{Outcome, Request, Target};
use crate::proto::syncml::{Encoding, StatusCode, Verb};
use crate::proto::tree::{self, Mark, Rights, Subject, Transaction, Tree};

/// The tree while a message of a server is carried out.
pub(super) struct Obeys<'a> {
    tree: &'a mut Tree,
    live: Live<'a>,
    server: &'a str,
    encoding: Encoding,
    /// Seconds since 1970; 0 while the clock is not set.
    unix: u64,
    /// Whether another server's change is on trial.
    is_occupied: bool,
    /// Where the Atomic under way began, and whether what was before it could cut the gateway off.
    atomic: Option<(Mark, bool)>,
    done: Done,
}

/// What was done.
pub(super) struct Done {
    /// In the tree.
    pub(super) transaction: Transaction,
    /// To the settings.
    pub(super) settings: Option<Settings>,
    /// Whether it could cut the gateway off.
    pub(super) is_critical: bool,
}

impl Obeys<'_> {
    /// What was done.
    pub(super) fn done(self) -> Done {
        Done { settings: self.live.settings(), ..self.done }
    }

    fn carry_out(&mut self, request: &Request<'_>) -> Outcome {
        let critical = request.verb != Verb::Get && is_critical(request.uri);
        if critical && self.is_occupied {
            // Two changes on trial could not be taken back one by one.
            return StatusCode::RETRY_LATER.into();
        }
        let was_usable = critical && any_usable(self.tree);
        let mark = self.done.transaction.mark();
        let request_of_tree = tree::Request {
            verb: request.verb,
            uri: request.uri,
            source: request.source,
            kind: request.meta.kind.as_deref(),
            format: request.meta.format.as_deref(),
            data: request.data,
        };
        let caller = tree::Caller {
            subject: Subject::Server(self.server),
            now: self.unix,
            encoding: self.encoding,
        };
        let transaction = &mut self.done.transaction;
        let outcome = self.tree.execute(&request_of_tree, &caller, &mut self.live, transaction);
        let mut code = outcome.status;
        if code.is_success() && outcome.delivery.is_some() {
            code = self.deliver(request);
        }
        if code.is_success()
            && critical
            && (was_usable && !any_usable(self.tree) || has_twins(self.tree))
        {
            code = StatusCode::NOT_ALLOWED;
        }
        if !code.is_success() {
            self.tree.undo_to(&mut self.done.transaction, mark, &mut self.live);
        } else if critical || outcome.delivery.is_some() {
            self.done.is_critical = true;
        }
        Outcome { code, items: outcome.items }
    }

    /// Puts what came to the Inbox where it belongs: accounts below DMAcc.
    fn deliver(&mut self, request: &Request<'_>) -> StatusCode {
        if self.is_occupied {
            return StatusCode::RETRY_LATER;
        }
        if !self.tree.allows(DM_ACC, self.server, Rights::ADD) {
            return StatusCode::PERMISSION_DENIED;
        }
        let octets = match request.data {
            Some(data) => match data.text() {
                Some(text) => text.as_bytes().to_vec(),
                None => match data {
                    crate::proto::syncml::Data::Binary(octets) => octets.to_vec(),
                    _ => Vec::new(),
                },
            },
            None => Vec::new(),
        };
        let Ok(accounts) = bootstrap::read(&octets, Source::Session) else {
            return StatusCode::UNSUPPORTED_TYPE;
        };
        let unix = self.unix;
        for account in &accounts {
            // Whoever may add accounts may not therefore change those of others.
            let held = super::install::node_of_server(self.tree, &account.server_id);
            let may = |node: &String| {
                self.tree.allows(&format!("{DM_ACC}/{node}"), self.server, Rights::REPLACE)
            };
            if held.as_ref().is_some_and(|node| !may(node)) {
                return StatusCode::PERMISSION_DENIED;
            }
            let written =
                super::install::write(self.tree, account, unix, &mut self.done.transaction);
            if let Err(code) = written {
                return code;
            }
        }
        StatusCode::OK
    }
}

impl Target for Obeys<'_> {
    fn execute(&mut self, request: &Request<'_>) -> Outcome {
        self.carry_out(request)
    }

    fn begin(&mut self) {
        self.atomic = Some((self.done.transaction.mark(), self.done.is_critical));
    }

    fn commit(&mut self) {
        self.atomic = None;
    }

    fn rollback(&mut self) -> bool {
        if let Some((mark, is_critical)) = self.atomic.take() {
            self.done.is_critical = is_critical;
            self.tree.undo_to(&mut self.done.transaction, mark, &mut self.live);
        }
        true
    }
}

/// Whether a change there could keep servers from reaching the gateway.
pub(super) fn is_critical(uri: &str) -> bool {
    let path = uri.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').filter(|segment| !matches!(*segment, "" | "."));
    // At the root everything is below.
    segments.next().is_none_or(|first| {
        [DM_ACC, gwmo::CONFIG].iter().any(|root| root.strip_prefix("./") == Some(first))
    })
}

impl Gateway {
    /// The tree, to obey a server.
    pub(super) fn obeys<'a>(
        &'a mut self,
        server: &'a str,
        encoding: Encoding,
        now: Now,
    ) -> Obeys<'a> {
        self.report(Some(server), now);
        let management = &mut self.management;
        let is_occupied = management.trial.as_ref().is_some_and(|trial| !trial.is_of(server));
        let transaction = management.tree.begin();
        Obeys {
            live: Live::new(
                &self.options,
                &self.inventory,
                (&management.settings, &management.report),
                now,
            ),
            tree: &mut management.tree,
            server,
            encoding,
            unix: if now.unix >= limits::CLOCK_SET { now.unix } else { 0 },
            is_occupied,
            atomic: None,
            done: Done { transaction, settings: None, is_critical: false },
        }
    }

    /// Undoes what was done to the tree.
    pub(super) fn undo(&mut self, transaction: Transaction, now: Now) {
        let management = &mut self.management;
        let mut live = Live::new(
            &self.options,
            &self.inventory,
            (&management.settings, &management.report),
            now,
        );
        management.tree.undo(transaction, &mut live);
    }
}
