//! When sessions with DM servers begin: whoever wants one wishes it, and each server has one wish.

use crate::gateway::Gateway;
use crate::gateway::agenda::Timer;
use crate::gateway::alert::ServerId;
use crate::gateway::event::{Event, EventKind};
use crate::gateway::health::Failed;
use crate::gateway::seam::Now;
use crate::limits;
use std::time::Duration;

/// Why a session is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The server asked for it: its session id.
    Package0(u16),
    /// `interval` has passed.
    Schedule,
    /// An operator wants it.
    Operator,
    /// The account is new or changed.
    Bootstrap,
    /// The server is to be told something.
    Alert,
    /// A change of the server is on trial.
    Trial,
}

impl Cause {
    /// What it says, for people.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::Package0(_) => "the server asked for it by Package #0",
            Self::Schedule => "it is time again",
            Self::Operator => "an operator wants it",
            Self::Bootstrap => "the account is new or changed",
            Self::Alert => "there is something to tell the server",
            Self::Trial => "it shows whether what the server changed may stay",
        }
    }
}

/// A session that is to begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) at: Duration,
    pub(super) cause: Cause,
}

impl Gateway {
    /// Wishes a session with a server, at that time or when an earlier wish has it.
    pub(super) fn wish(&mut self, server: &str, cause: Cause, at: Duration) {
        let Some(entry) = self.management.servers.get_mut(server) else { return };
        if cause == Cause::Alert && entry.failures > 0 && entry.wish.is_some() {
            // Devices that come and go do not make a server that is away be called more often.
            return;
        }
        let sooner = entry.wish.is_none_or(|wish| at < wish.at);
        if sooner || matches!(cause, Cause::Package0(_)) {
            let at = entry.wish.map_or(at, |wish| at.min(wish.at));
            // The session id that the server expects stays, whoever else wants a session.
            let asked = entry.wish.map(|wish| wish.cause);
            let asked = asked.filter(|it| matches!(it, Cause::Package0(_)));
            let cause = match cause {
                Cause::Package0(_) => cause,
                _ => asked.unwrap_or(cause),
            };
            entry.wish = Some(Wish { at, cause });
        }
        self.timers.set_no_later(Timer::Manage, at);
    }

    /// The first session with a server whose account is there (again): soon if none has ended well
    /// yet, else by the schedule. All gateways of a depot start at once when its power returns, so
    /// the time is random.
    pub(super) fn wish_first(&mut self, server: &str, now: Now) {
        let soon = now.uptime + self.random(limits::START_SPREAD);
        if !self.server_entry(server).record.proven {
            self.wish(server, Cause::Bootstrap, soon);
        } else if let Some(interval) = self.management_interval(server) {
            let at = now.uptime + self.random(interval);
            self.wish(server, Cause::Schedule, at);
        }
    }

    /// Begins the sessions whose time has come.
    pub(super) fn sessions_wished(&mut self, now: Now) {
        let due = |server: &super::Server| {
            server.running.is_none() && server.wish.is_some_and(|wish| wish.at <= now.uptime)
        };
        let servers = self.management.servers.iter();
        let servers: Vec<_> =
            servers.filter(|(_, server)| due(server)).map(|(id, _)| id.clone()).collect();
        for id in servers {
            let wish = self.management.servers.get_mut(&id).and_then(|server| server.wish.take());
            if let Some(wish) = wish {
                self.begin_session(&id, wish.cause, now);
            }
        }
    }

    /// The next session by the schedule, a tenth early at most so that gateways do not march in
    /// step.
    pub(super) fn wish_next(&mut self, server: &str, now: Now) {
        if let Some(interval) = self.management_interval(server) {
            let early = self.random(interval / 10);
            self.wish(server, Cause::Schedule, now.uptime + interval - early);
        }
    }

    fn management_interval(&self, server: &str) -> Option<Duration> {
        self.options.management.server(server)?.interval
    }

    pub(super) fn session_failed(
        &mut self,
        server: &str,
        cause: Cause,
        failed: impl Into<Failed>,
        retry_after: Option<Duration>,
        now: Now,
    ) {
        let failed = failed.into();
        self.metrics.counters.managed_sessions_failed += 1;
        let event = Event::new(EventKind::SessionFailed, &*failed.why);
        self.tell(Event { server: ServerId::new(server).ok(), code: Some(failed.code), ..event });
        let Some(entry) = self.management.servers.get_mut(server) else { return };
        entry.failures = entry.failures.saturating_add(1);
        entry.last = Some((now.uptime, Some(failed.clone())));
        entry.why = Some(failed);
        let (failures, proven) = (entry.failures, entry.record.proven);
        if !self.management.has_account(server) {
            return;
        }
        let on_trial = self.management.trial.as_ref().is_some_and(|trial| trial.is_of(server));
        let cause = match cause {
            Cause::Package0(_) => cause,
            _ if on_trial => Cause::Trial,
            // Whoever asked sees it fail; what else is to be done goes on.
            Cause::Operator if !proven => Cause::Bootstrap,
            Cause::Operator if self.has_alerts(server) => Cause::Alert,
            Cause::Operator => return self.wish_next(server, now),
            _ => cause,
        };
        let most = limits::SESSION_RETRY
            .saturating_mul(1 << failures.saturating_sub(1).min(16))
            .min(limits::SESSION_RETRY_MOST);
        // A trial has its time; and before the clock is set, no certificate is valid.
        let is_hasty = on_trial || now.unix < limits::CLOCK_SET;
        let most = if is_hasty { limits::SESSION_RETRY } else { most };
        let wait = self.random(most).max(limits::SESSION_RETRY_LEAST);
        let wait = wait.max(retry_after.unwrap_or_default().min(limits::RETRY_AFTER));
        self.wish(server, cause, now.uptime + wait);
    }

    /// A time from nothing to `most`, which nobody can foresee.
    pub(super) fn random(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.entropy.u64() % most.saturating_add(1))
    }
}
