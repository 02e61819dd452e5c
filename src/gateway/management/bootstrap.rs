//! How the gateway comes by accounts: files, the smartcard, pushes, and the search for servers
//! that end devices want.
//!
//! A server's id is a name. It is looked for where the configuration says, and never fetched as
//! an address, whatever it looks like: end devices name it. (GwMO change request, 8.6.1.2.)

use super::install::{Document, Installation};
use super::records::ServerRecord;
use super::{Management, OperationId, Purpose, Source};
use crate::gateway::Gateway;
use crate::gateway::agenda::Timer;
use crate::gateway::arrival::Outcome;
use crate::gateway::event::{EventKind, Reason};
use crate::gateway::policy::Policy;
use crate::gateway::seam::{Call, CallKind, CallResult, Now, Reply};
use crate::limits;
use crate::proto::bootstrap::security::Refusal;
use crate::proto::bootstrap::{self, fetch, push::Received};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// The search for an account with one server.
#[derive(Debug, Default)]
pub(super) enum Search {
    /// Not needed, not allowed, or not begun.
    #[default]
    Idle,
    /// Under way: sources and URLs that are still to be asked.
    Running {
        /// The next of `[bootstrap] sources`.
        source: usize,
        /// Services of the source before it that were not asked yet.
        services: VecDeque<String>,
        /// Why those before gave none.
        why: String,
        /// The longest Retry-After of theirs.
        wait: Duration,
    },
    /// Nobody had one; it begins again then.
    Failed {
        /// When.
        again: Duration,
    },
}

/// Wrong proofs on pushed documents, as a bucket.
#[derive(Debug, Default)]
pub(super) struct Tries(VecDeque<Duration>);

impl Tries {
    fn exhausted(&mut self, now: Duration) -> bool {
        while self.0.front().is_some_and(|at| now >= *at + limits::PIN_WINDOW) {
            self.0.pop_front();
        }
        self.0.len() >= limits::PIN_TRIES
    }
}

impl Gateway {
    // --- Pushed ------------------------------------------------------------------------------

    /// Takes a bootstrap document that was pushed to the gateway itself. Whoever sent it is told
    /// nothing.
    pub(in crate::gateway) fn pushed_bootstrap(
        &mut self,
        from: SocketAddr,
        received: &Received<'_>,
        now: Now,
    ) -> Outcome {
        if self.management.tries.exhausted(now.uptime) {
            return self.refuse_push(Reason::BootstrapTries, from);
        }
        match received.verify(&self.options.management.keys) {
            Ok(()) => {}
            Err(refusal) => {
                if refusal == Refusal::Wrong {
                    self.management.tries.0.push_back(now.uptime);
                    self.audit_unproven(from);
                }
                return self.refuse_push(Reason::BootstrapUnproven, from);
            }
        }
        match bootstrap::read(received.document, bootstrap::Source::Push) {
            Ok(accounts) => {
                let document = Document::new("push", received.document, limits::PUSHES_REMEMBERED);
                // Networks repeat pushes; whoever replays one must not bring an old account back.
                if self.is_applied(&document) {
                    return self.refuse_push(Reason::Repeat, from);
                }
                let document = Some(document);
                self.install(Installation { document, ..Installation::of(accounts) }, now);
                Outcome::Sent
            }
            Err(fault) => {
                log::warn!("a bootstrap push is proven, and cannot be used: {fault}");
                self.refuse_push(Reason::BootstrapMalformed, from)
            }
        }
    }

    // --- Files and operators -----------------------------------------------------------------

    /// Takes a file of the bootstrap directories, unless just that was applied before.
    pub(in crate::gateway) fn bootstrap_file(&mut self, name: &str, document: &[u8], now: Now) {
        match bootstrap::read(document, bootstrap::Source::Factory) {
            Ok(accounts) => {
                let document = Some(Document::new(name, document, 1));
                self.install(Installation { document, ..Installation::of(accounts) }, now);
            }
            Err(fault) => log::error!("{name}: {fault}"),
        }
    }

    /// `bootstrap apply`.
    pub(in crate::gateway) fn apply(&mut self, operation: OperationId, document: &[u8], now: Now) {
        match bootstrap::read(document, bootstrap::Source::Factory) {
            Ok(accounts) => {
                let mut installation = Installation::of(accounts);
                installation.operation = Some(operation);
                self.install(installation, now);
            }
            Err(fault) => self.operated(operation, Err(fault.to_string())),
        }
    }

    /// What `bootstrap apply` would do.
    pub(super) fn plan_apply(&self, document: &[u8]) -> Result<Vec<String>, String> {
        let accounts = bootstrap::read(document, bootstrap::Source::Factory)
            .map_err(|fault| fault.to_string())?;
        let line = |account: &bootstrap::Account| {
            let server = &account.server_id;
            let done = if self.management.has_account(server) { "changed" } else { "made" };
            format!("{server}: account {done}, {}", account.url().unwrap_or_default())
        };
        Ok(accounts.iter().map(line).collect())
    }

    // --- The smartcard -----------------------------------------------------------------------

    /// Takes what is on the smartcard: what it brought before and has no more goes.
    pub(in crate::gateway) fn card(&mut self, document: Option<&[u8]>, now: Now) {
        if let Err(why) = self.card_read(document, None, now) {
            log::error!("{why}");
        }
    }

    /// Takes what is on the smartcard, perhaps in search of a server.
    ///
    /// # Errors
    /// Why nothing came of it; a search goes on elsewhere then.
    fn card_read(
        &mut self,
        document: Option<&[u8]>,
        search: Option<&str>,
        now: Now,
    ) -> Result<(), String> {
        let accounts = match document.map(|it| bootstrap::read(it, bootstrap::Source::Card)) {
            None => Vec::new(),
            Some(Ok(accounts)) => accounts,
            // A card that cannot be read says nothing of what it has.
            Some(Err(fault)) => return Err(format!("the smartcard's bootstrap: {fault}")),
        };
        let octets = document.unwrap_or_default();
        let has = |server: &str| accounts.iter().any(|account| account.server_id == server);
        let gone = self.management.servers.iter();
        let gone =
            gone.filter(|(id, server)| server.record.source.as_deref() == Some("card") && !has(id));
        let gone: Vec<_> = gone.map(|(id, _)| id.clone()).collect();
        let document = Document::new("card", octets, 1);
        let mut installation = Installation { gone, ..Installation::of(accounts) };
        if self.is_applied(&document) {
            // What was taken from it is not brought back, unless a device wants it.
            installation.gone.clear();
            installation.accounts.retain(|account| Some(&*account.server_id) == search);
        } else {
            installation.document = Some(document);
        }
        if installation.accounts.is_empty() && installation.gone.is_empty() {
            return match search {
                Some(_) => Err("the smartcard has no account with it".to_owned()),
                None => Ok(()),
            };
        }
        installation.search = search.map(str::to_owned);
        self.install(installation, now);
        Ok(())
    }

    // --- Wanted servers ----------------------------------------------------------------------

    /// A device brought a new list: looks after it when the others of a storm are there too.
    pub(in crate::gateway) fn look_for_wanted_soon(&mut self, now: Now) {
        if self.options.lans.iter().any(|lan| lan.policy == Policy::Bootstrap) {
            self.timers.set_no_later(Timer::Manage, now.uptime + limits::WANTED_DELAY);
        }
    }

    /// Looks after servers that devices want: whoever may be bootstrapped is looked for.
    pub(super) fn look_for_wanted(&mut self, now: Now) {
        if self.options.lans.iter().all(|lan| lan.policy != Policy::Bootstrap) {
            return;
        }
        let wanted = self.wanted_servers();
        if self.management.servers.len() >= limits::MANAGED_SERVERS {
            self.forget_unwanted(&wanted);
        }
        for server in wanted {
            if self.management.has_account(&server)
                || self.management.servers.len() >= limits::MANAGED_SERVERS
                    && !self.management.servers.contains_key(&server)
            {
                continue;
            }
            let entry = self.management.servers.get(&server);
            let due = match entry.map(|entry| &entry.search) {
                None | Some(Search::Idle) => true,
                Some(Search::Running { .. }) => false,
                Some(Search::Failed { again }) => *again <= now.uptime,
            };
            if due && self.may_bootstrap(&server) {
                self.search(&server, now);
            }
        }
    }

    /// Makes room: of a server that nobody wants, and that there was no account with and nobody's
    /// approval for, nothing needs to be known. `wanted` is in order.
    fn forget_unwanted(&mut self, wanted: &[String]) {
        let Management { servers, accounts, .. } = &mut self.management;
        servers.retain(|id, server| {
            server.record != ServerRecord::default()
                || server.running.is_some()
                || matches!(server.search, Search::Running { .. })
                || accounts.get(id).is_some()
                || wanted.binary_search(id).is_ok()
        });
    }

    /// Whether the allow-list or an operator lets a server be bootstrapped.
    pub(super) fn may_bootstrap(&self, server: &str) -> bool {
        let record = self.management.servers.get(server).map(|it| &it.record);
        if record.is_some_and(|record| record.denied) {
            return false;
        }
        record.is_some_and(|record| record.approved)
            || self.options.management.allow.iter().any(|pattern| matches(pattern, server))
    }

    fn search(&mut self, server: &str, now: Now) {
        let why = "no source of bootstraps is configured (`[bootstrap] sources`)".to_owned();
        self.server_entry(server).search =
            Search::Running { source: 0, services: VecDeque::new(), why, wait: Duration::ZERO };
        self.tell_of_server(
            EventKind::Bootstrapping,
            server,
            "a device wants it, and it may be had: its account is looked for",
        );
        self.ask_next_source(server, now);
    }

    fn ask_next_source(&mut self, server: &str, now: Now) {
        let sources = self.options.management.sources.clone();
        let entry = self.server_entry(server);
        let Search::Running { source, services, why, .. } = &mut entry.search else { return };
        if let Some(url) = services.pop_front() {
            return self.fetch(server, &url, now);
        }
        let Some(next) = sources.get(*source) else {
            let why = std::mem::take(why);
            return self.search_failed(server, why, now);
        };
        *source += 1;
        let kind = match next {
            Source::Card => CallKind::Card,
            Source::Service { name, .. } => CallKind::Services { name: name.clone() },
            Source::Fetch(url) => return self.fetch(server, &url.clone(), now),
        };
        self.call(Purpose::Search(server.to_owned()), Call { server: server.to_owned(), kind });
    }

    fn fetch(&mut self, server: &str, base: &str, now: Now) {
        let device = self.management.tree.text("./DevInfo/DevId").unwrap_or_default().to_owned();
        let fill = |text: &str| text.replace("{device}", &device).replace("{server}", server);
        let parameters = &self.options.management.parameters;
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (name.as_str(), fill(value))).collect();
        let borrowed: Vec<_> =
            parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let Some(url) = fetch::url(base, &borrowed) else {
            return self.source_failed(server, format!("{base} is no https URL"), now);
        };
        let kind = CallKind::Fetch { url, accept: fetch::ACCEPT };
        self.call(Purpose::Search(server.to_owned()), Call { server: server.to_owned(), kind });
    }

    /// Takes the answer of a source.
    pub(super) fn search_called(&mut self, server: &str, result: CallResult, now: Now) {
        let searching = self.management.servers.get(server);
        if !searching.is_some_and(|it| matches!(it.search, Search::Running { .. })) {
            return;
        }
        match result {
            Err(failed) => self.source_failed(server, failed.why, now),
            Ok(Reply::Services(found)) => self.services_found(server, &found, now),
            Ok(Reply::Card(document)) => {
                if let Err(why) = self.card_read(document.as_deref(), Some(server), now) {
                    self.source_failed(server, why, now);
                }
            }
            Ok(Reply::Http(reply)) => {
                if let Search::Running { wait, .. } = &mut self.server_entry(server).search {
                    *wait = (*wait).max(reply.retry_after.unwrap_or_default());
                }
                let answer =
                    fetch::answer(reply.status, reply.content_type.as_deref(), &reply.body);
                let accounts = match answer {
                    Ok(received) => self.fetched(server, &received),
                    Err(failure) => Err(format!("the bootstrap server gave none: {failure}")),
                };
                match accounts {
                    Ok(accounts) => {
                        let search = Some(server.to_owned());
                        self.install(Installation { search, ..Installation::of(accounts) }, now);
                    }
                    Err(why) => self.source_failed(server, why, now),
                }
            }
        }
    }

    /// The account in a fetched document, which TLS proves, and SEC and MAC where it has them.
    fn fetched(
        &self,
        server: &str,
        received: &Received<'_>,
    ) -> Result<Vec<bootstrap::Account>, String> {
        if received.security.is_some() && received.verify(&self.options.management.keys).is_err() {
            return Err("the fetched document is not proven by its SEC and MAC".to_owned());
        }
        let accounts = bootstrap::read(received.document, bootstrap::Source::Fetch);
        let accounts = accounts.map_err(|fault| format!("the fetched document: {fault}"))?;
        if accounts.iter().any(|account| account.server_id != server) {
            return Err("the fetched document is of another server".to_owned());
        }
        Ok(accounts)
    }

    fn services_found(&mut self, server: &str, found: &[(String, u16)], now: Now) {
        let sources = &self.options.management.sources;
        let Some(entry) = self.management.servers.get_mut(server) else { return };
        let Search::Running { source, services, .. } = &mut entry.search else { return };
        if let Some(Source::Service { name, path, any_host }) =
            source.checked_sub(1).and_then(|last| sources.get(last))
        {
            let found = found.iter();
            let found = found.filter(|(host, _)| *any_host || fetch::is_of_domain(host, name));
            let urls = found.filter_map(|(host, port)| fetch::url_of_service(host, *port, path));
            services.extend(urls.take(limits::SERVICES));
        }
        if services.is_empty() {
            let why = "DNS names no bootstrap server that may be asked: those of other domains \
                       take a `[bootstrap] trust` of your own";
            return self.source_failed(server, why.to_owned(), now);
        }
        self.ask_next_source(server, now);
    }

    pub(super) fn source_failed(&mut self, server: &str, reason: String, now: Now) {
        log::debug!("bootstrap of {server}: {reason}");
        if let Search::Running { why, .. } = &mut self.server_entry(server).search {
            *why = reason;
        }
        self.ask_next_source(server, now);
    }

    fn search_failed(&mut self, server: &str, why: String, now: Now) {
        self.tell_of_server(EventKind::BootstrapFailed, server, &why);
        let entry = self.server_entry(server);
        entry.failures = entry.failures.saturating_add(1);
        let tries = entry.failures;
        let most =
            limits::SEARCH_RETRY.saturating_mul(1 << tries.min(8)).min(limits::SESSION_RETRY_MOST);
        entry.why = Some(why.into());
        let asked = match entry.search {
            Search::Running { wait, .. } => wait.min(limits::RETRY_AFTER),
            _ => Duration::ZERO,
        };
        let wait = limits::SEARCH_RETRY / 2 + self.random(most);
        let again = now.uptime + wait.max(asked);
        self.server_entry(server).search = Search::Failed { again };
        self.timers.set_no_later(Timer::Manage, again);
    }
}

/// Whether `text` fits a pattern in which `*` stands for any characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_ids() {
        for (pattern, text, fits) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("com.example.*", "com.example.dms", true),
            ("com.example.*", "com.examples", false),
            ("*.example", "dms.example", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }
}
