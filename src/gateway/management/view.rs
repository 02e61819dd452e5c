//! What people and programs are shown of the management.

use super::Management;
use super::bootstrap::Search;
use super::live::Live;
use crate::codes::Trouble;
use crate::gateway::Gateway;
use crate::gateway::audit::SECRET;
use crate::gateway::health::Failed;
use crate::gateway::seam::Now;
use crate::gateway::view::{NextView, SessionView, TrialView};
use crate::proto::syncml::{Encoding, StatusCode, Verb};
use crate::proto::tree::{Caller, Request, Subject};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// One node of the tree.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct NodeView {
    /// Its URI.
    pub uri: String,
    /// `node`, `chr`, `int` …
    pub format: String,
    /// The media type of a leaf, or the object that an interior node is the root of.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value of a leaf; octets as base64, secrets as `(secret)`.
    pub value: Option<String>,
    /// Whether `[gateway] locked` keeps DM servers from setting it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locked: bool,
}

/// What there is to tell of sessions with a server.
#[derive(Default)]
pub(in crate::gateway) struct Sessions {
    pub(in crate::gateway) running: bool,
    pub(in crate::gateway) session: Option<SessionView>,
    pub(in crate::gateway) next: Option<NextView>,
    pub(in crate::gateway) failures: u32,
}

impl Management {
    /// The change that is on trial.
    pub(in crate::gateway) fn trial(&self, now: Now) -> Option<TrialView> {
        let trial = self.trial.as_ref()?;
        let rest = trial.until().saturating_sub(now.uptime).as_secs();
        Some(TrialView { server: trial.server().to_owned(), rest })
    }

    /// Servers with an account whose last session failed, and why it did.
    pub(in crate::gateway) fn failed_servers(&self) -> impl Iterator<Item = (&str, &Failed)> {
        let servers = self.servers.iter().filter(|(id, _)| self.has_account(id));
        servers.filter_map(|(id, server)| Some((id.as_str(), server.why.as_ref()?)))
    }

    /// Where the account with a server goes.
    pub(in crate::gateway) fn account_url(&self, server: &str) -> Option<String> {
        self.account(server)?.url()
    }

    /// What there is to tell of sessions with a server.
    pub(in crate::gateway) fn sessions_of(&self, server: &str, now: Now) -> Sessions {
        let Some(entry) = self.servers.get(server) else { return Sessions::default() };
        let session = entry.last.as_ref().map(|(at, failed)| SessionView {
            age: now.uptime.saturating_sub(*at).as_secs(),
            ok: failed.is_none(),
            trouble: failed
                .as_ref()
                .map(|failed| Trouble::new(failed.code, &failed.why).or_try(failed.code.remedy)),
        });
        let next = entry.wish.filter(|_| entry.running.is_none()).map(|wish| NextView {
            wait: wish.at.saturating_sub(now.uptime).as_secs(),
            why: wish.cause.sentence().to_owned(),
        });
        Sessions { running: entry.running.is_some(), session, next, failures: entry.failures }
    }

    /// Why the last session with a server failed, or the last search for an account.
    pub(in crate::gateway) fn failure(&self, server: &str) -> Option<&Failed> {
        self.servers.get(server)?.why.as_ref()
    }
}

impl Gateway {
    /// The node at a URI and all below it.
    ///
    /// # Errors
    /// For people: there is none, or it is no URI.
    pub fn tree(&mut self, uri: &str, now: Now) -> Result<Vec<NodeView>, String> {
        self.report(None, now);
        let mut nodes = Vec::new();
        let path = uri.strip_prefix("./").unwrap_or(uri).trim_end_matches('/');
        let root = if path == "." { path.to_owned() } else { format!("./{path}") };
        match self.walk(&root, now, &mut nodes, 0) {
            Ok(()) => Ok(nodes),
            Err(StatusCode::NOT_FOUND) => {
                Err(format!("there is no node {uri}; try: dm-gateway tree"))
            }
            Err(_) => Err(format!(
                "`{uri}` is no URI of a node; try: ./DevInfo/DevId, or `.` for all nodes"
            )),
        }
    }

    fn walk(
        &mut self,
        uri: &str,
        now: Now,
        nodes: &mut Vec<NodeView>,
        depth: usize,
    ) -> Result<(), StatusCode> {
        let format = self.read(uri, "Format", now)?;
        let kind = self.read(uri, "Type", now).unwrap_or_default();
        let is_interior = format == "node";
        let value = if is_interior { None } else { Some(self.leaf(uri, now)) };
        let locked = self.is_locked(uri);
        nodes.push(NodeView { uri: uri.to_owned(), format, kind, value, locked });
        if is_interior && depth < crate::limits::TREE_DEPTH {
            for name in self.names_below(uri, now) {
                self.walk(&format!("{uri}/{name}"), now, nodes, depth + 1)?;
            }
        }
        Ok(())
    }

    fn leaf(&mut self, uri: &str, now: Now) -> String {
        if !self.management.tree.is_readable(uri) {
            return SECRET.to_owned();
        }
        self.get(uri, now).unwrap_or_default()
    }

    fn names_below(&mut self, uri: &str, now: Now) -> Vec<String> {
        let text = self.get(uri, now).unwrap_or_default();
        text.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn read(&mut self, uri: &str, property: &str, now: Now) -> Result<String, StatusCode> {
        self.get(&format!("{uri}?prop={property}"), now)
    }

    /// A Get of the gateway itself, as text.
    fn get(&mut self, uri: &str, now: Now) -> Result<String, StatusCode> {
        let management = &mut self.management;
        let mut live = Live::new(
            &self.options,
            &self.inventory,
            (&management.settings, &management.report),
            now,
        );
        let mut transaction = management.tree.begin();
        let request =
            Request { verb: Verb::Get, uri, source: None, kind: None, format: None, data: None };
        let caller = Caller { subject: Subject::Gateway, now: 0, encoding: Encoding::Xml };
        let outcome = management.tree.execute(&request, &caller, &mut live, &mut transaction);
        management.tree.keep(transaction);
        if !outcome.status.is_success() {
            return Err(outcome.status);
        }
        let data = outcome.items.into_iter().next().and_then(|item| item.data);
        Ok(match data {
            Some(data) => match (data.text(), &data) {
                (Some(text), _) => text.to_owned(),
                (None, crate::proto::syncml::Data::Binary(octets)) => BASE64.encode(octets),
                _ => String::new(),
            },
            None => String::new(),
        })
    }

    /// How a server stands with the gateway, in a word.
    pub(in crate::gateway) fn server_condition(&self, server: &str) -> &'static str {
        let record = self.management.servers.get(server).map(|it| &it.record);
        match record {
            _ if self.management.has_account(server) => "account",
            Some(record) if record.denied => "denied",
            Some(record) if record.approved => "approved",
            _ => "neither approved nor denied",
        }
    }

    /// The state of a server that the gateway manages itself with, or is to, and why.
    pub(in crate::gateway) fn server_state(
        &self,
        server: &str,
        wanted: bool,
    ) -> Option<(&'static str, Option<String>)> {
        let entry = self.management.servers.get(server);
        let why = entry.and_then(|entry| Some(entry.why.as_ref()?.why.clone()));
        if self.management.has_account(server) {
            let proven = entry.is_some_and(|entry| entry.record.proven);
            return Some(match (&why, proven) {
                (Some(_), _) => ("failed", why),
                (None, true) => ("active", None),
                (None, false) => ("bootstrapping", Some("its first session is to come".to_owned())),
            });
        }
        if !wanted {
            return None;
        }
        Some(match entry.map(|entry| &entry.search) {
            _ if self.options.management.sources.is_empty() => (
                "wanted",
                Some("no `[bootstrap] sources`; try: dm-gateway bootstrap apply FILE".to_owned()),
            ),
            _ if entry.is_some_and(|entry| entry.record.denied) => (
                "denied",
                Some(format!("by an operator; try: dm-gateway servers approve {server}")),
            ),
            _ if !self.may_bootstrap(server) => (
                "pending-approval",
                Some(format!("try: dm-gateway servers approve {server}, or `[bootstrap] allow`")),
            ),
            Some(Search::Running { .. }) => {
                ("bootstrapping", Some("its account is being looked for".to_owned()))
            }
            Some(Search::Failed { .. }) => ("failed", why),
            _ => ("wanted", None),
        })
    }
}
