//! Changes on trial: a change that could cut the gateway off stays only if the server that made
//! it finds us once more.
//!
//! ```text
//!   commit ──► trial, also in the store ──► a later session with that server ends well: it stays
//!                                       └── ten minutes pass: all is as it was before
//! ```

use super::Then;
use super::accounts::Changed;
use super::obey::{Done, is_critical};
use super::records::{self, SETTINGS, Settings, TRIAL, TrialRecord, change, removal};
use super::wishes::Cause;
use crate::gateway::Gateway;
use crate::gateway::agenda::Timer;
use crate::gateway::event::EventKind;
use crate::gateway::seam::{Change, Now};
use crate::limits;
use crate::proto::tree::{self, Facts, Tree};
use std::time::Duration;

/// A change on trial.
#[derive(Clone, Debug, Default)]
pub(super) struct Trial {
    record: TrialRecord,
    /// The number of the session that made it; 0 if that was before the start.
    made_in: u64,
    /// When it ends.
    until: Duration,
    /// Sessions that changed something more.
    rounds: u32,
}

impl Trial {
    /// The server that made it.
    pub(super) fn server(&self) -> &str {
        &self.record.server
    }

    /// When it is taken back.
    pub(super) fn until(&self) -> Duration {
        self.until
    }

    /// From the store.
    pub(super) fn restored(value: &[u8]) -> Option<Self> {
        let record = records::read::<TrialRecord>(TRIAL, value)?;
        Some(Self { record, ..Self::default() })
    }

    /// What is left of it without the keys that are `overwritten`, `None` for nothing, and what
    /// the store is told. `None` if it has none of them.
    pub(super) fn without(
        &self,
        overwritten: impl Fn(&str) -> bool,
    ) -> Option<(Option<Self>, Change)> {
        let mut rest = self.clone();
        rest.record.before.retain(|key, _| !overwritten(key));
        if rest.record.before.len() == self.record.before.len() {
            return None;
        }
        if rest.record.before.is_empty() {
            return Some((None, removal(TRIAL)));
        }
        let record = change(TRIAL, &rest.record);
        Some((Some(rest), record))
    }

    /// Whether that server made it.
    pub(super) fn is_of(&self, server: &str) -> bool {
        self.record.server == server
    }
}

impl Gateway {
    /// Has what a session changed be on trial; what the store is told in the same commit.
    pub(super) fn begin_trial(
        &mut self,
        server: &str,
        number: u64,
        done: &Done,
        accounts: &Changed,
        changes: &mut Vec<Change>,
        now: Now,
    ) {
        let management = &mut self.management;
        // The rest is not taken back: others may build on it meanwhile.
        let nodes = done.transaction.changes(&management.tree).into_iter();
        let nodes: Vec<_> = nodes.filter(|node| is_critical(&node.uri)).collect();
        if nodes.is_empty() && done.settings.is_none() {
            return;
        }
        let before = management.trial.take();
        // What is only written again, as by a script of every night, cuts nobody off.
        let is_new = done.settings.is_some() || nodes.iter().any(differs);
        if before.is_none() && !is_new {
            return;
        }
        let mut trial = before.unwrap_or_default();
        if is_new {
            trial.rounds += u32::from(trial.made_in < number);
            (trial.made_in, trial.until) = (number, now.uptime + limits::TRIAL);
        }
        let (record, until) = (&mut trial.record, trial.until);
        record.server = server.to_owned();
        for node in nodes {
            // What was before the first of several changes is what it goes back to.
            record.before.entry(format!("t{}", node.uri)).or_insert(node.before);
        }
        if done.settings.is_some() {
            let is_set = management.settings != Settings::default();
            let before = is_set.then(|| serde_json::to_vec(&management.settings).ok()).flatten();
            record.before.entry(SETTINGS.to_owned()).or_insert(before);
        }
        for server in [&accounts.made, &accounts.gone].into_iter().flatten() {
            let before = management.servers.get(server).map(|it| &it.record);
            let before = before.and_then(|record| serde_json::to_vec(record).ok());
            record.before.entry(format!("s{server}")).or_insert(before);
        }
        changes.push(change(TRIAL, record));
        management.trial = Some(trial);
        self.timers.set_no_later(Timer::Manage, until);
    }

    /// Goes on with a trial that was not over at the end of the process: it has its time anew.
    pub(super) fn resume_trial(&mut self, now: Now) {
        let Some(trial) = &mut self.management.trial else { return };
        trial.until = now.uptime + limits::TRIAL;
        let (server, until) = (trial.record.server.clone(), trial.until);
        self.timers.set_no_later(Timer::Manage, until);
        self.server_entry(&server);
        self.wish(&server, Cause::Trial, now.uptime + limits::TRIAL_DELAY);
    }

    /// A session ended well: whether that was what a trial waited for.
    pub(super) fn trial_passed(&mut self, server: &str, number: u64, now: Now) {
        let Some(trial) = &self.management.trial else { return };
        if !trial.is_of(server) {
            return;
        }
        if trial.made_in == u64::MAX {
            // It is over, and the store does not take it.
            return;
        }
        if trial.made_in >= number {
            // A server that changes something in every session is not called ever so often for it.
            let rounds = trial.rounds.saturating_sub(1).min(16);
            let wait = limits::TRIAL_DELAY.saturating_mul(1 << rounds).min(limits::TRIAL / 2);
            return self.wish(server, Cause::Trial, now.uptime + wait);
        }
        let Some(trial) = self.management.trial.take() else { return };
        let transaction = self.management.tree.begin();
        self.commit_open(vec![removal(TRIAL)], transaction, None, Then::Kept(trial));
    }

    /// That a trial is over is on flash. If it is not, one more session is to show it: no restart
    /// may take back what is long in use.
    pub(super) fn kept(&mut self, trial: Trial, ok: bool, now: Now) {
        let server = trial.record.server.clone();
        if ok {
            let why = "the server found us again: what it changed stays";
            return self.tell_of_server(EventKind::Kept, &server, why);
        }
        let until = now.uptime + limits::TRIAL;
        self.management.trial = Some(Trial { until, ..trial });
        self.timers.set_no_later(Timer::Manage, until);
        self.wish(&server, Cause::Trial, now.uptime + limits::SESSION_RETRY);
    }

    /// Ends a trial that nobody confirmed.
    pub(super) fn trial_due(&mut self, now: Now) {
        let Some(trial) = &self.management.trial else { return };
        if now.uptime < trial.until {
            return self.timers.set_no_later(Timer::Manage, trial.until);
        }
        // While another change waits for the store this is asked again when that is over.
        if self.management.open.is_none() {
            self.roll_back(now);
        }
    }

    /// Makes everything as it was before the trial.
    pub(super) fn roll_back(&mut self, now: Now) {
        let Some(trial) = self.management.trial.take() else { return };
        let before = trial.record.before.clone();
        let mut changes = vec![removal(TRIAL)];
        let mut settings = None;
        let tree = &mut self.management.tree;
        let mut transaction = tree.begin();
        // The deepest first; what is gone with its parent is gone.
        for (key, _) in before.iter().rev().filter(|(_, value)| value.is_none()) {
            if let Some(uri) = key.strip_prefix('t') {
                let _ = tree.remove(uri, &mut transaction);
            }
        }
        tree.keep(transaction);
        for (key, value) in &before {
            changes.push(Change { key: key.clone().into_bytes(), value: value.clone() });
            match (key.strip_prefix('t'), value) {
                (Some(uri), Some(value)) => restore(tree, uri, value),
                (None, value) if key == SETTINGS => {
                    let read = |value: &Vec<u8>| records::read(key, value);
                    settings = Some(value.as_ref().and_then(read).unwrap_or_default());
                }
                _ => {}
            }
        }
        if let Some(settings) = settings {
            self.apply_settings(settings, now);
        }
        for (key, value) in &before {
            let Some(server) = key.strip_prefix('s') else { continue };
            let record = value.as_ref().and_then(|value| records::read(key, value));
            match record {
                Some(record) => self.server_entry(server).record = record,
                None => drop(self.management.servers.remove(server)),
            }
        }
        self.read_accounts();
        let transaction = self.management.tree.begin();
        self.commit_open(changes, transaction, None, Then::RolledBack(trial));
    }

    /// A roll-back is on flash; if it is not, it is done once more.
    pub(super) fn rolled_back(&mut self, trial: Trial, ok: bool, now: Now) {
        if !ok {
            let until = now.uptime + limits::SESSION_RETRY;
            self.timers.set_no_later(Timer::Manage, until);
            self.management.trial = Some(Trial { made_in: u64::MAX, until, ..trial });
            return;
        }
        let before = trial.record.before.iter().filter(|(_, value)| value.is_some());
        for server in before.filter_map(|(key, _)| key.strip_prefix('s')) {
            // What was planned with it went with its account.
            self.wish_first(server, now);
        }
        let server = &*trial.record.server;
        self.tell_of_server(
            EventKind::RolledBack,
            server,
            "no session with the server came about: all is as it was before its change",
        );
        self.wish(server, Cause::Bootstrap, now.uptime + limits::TRIAL_DELAY);
    }
}

/// Whether a node is other than before in more than its VerNo and TStamp.
fn differs(node: &tree::Change) -> bool {
    let facts = |record: &Option<Vec<u8>>| {
        let facts = record.as_ref().and_then(|record| Facts::decode(record).ok());
        facts.map(|facts| Facts { changed: 0, version: 0, ..facts })
    };
    facts(&node.before) != facts(&node.after)
}

fn restore(tree: &mut Tree, uri: &str, record: &[u8]) {
    if let Err(error) = Facts::decode(record).and_then(|_| tree.restore(uri, record)) {
        log::error!("{uri} cannot be put back: {error}");
    }
}
