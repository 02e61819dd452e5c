//! The gateway as a DM client: its tree, its accounts, its sessions with DM servers.
//!
//! ```text
//!   Package #0, schedule, operator, bootstrap, alert ──► wish ──► session ──► Output::Call
//!                                                                   ▲             │
//!   tree, settings ◄── committed ◄── Output::Commit ◄── obeys ──────┴── Input::Called
//! ```
//!
//! One session runs with each server at a time, and one change of the tree at a time waits for the
//! store; what would touch the tree meanwhile waits for it. A change that could cut the gateway off
//! is a [`trial`]: it stays only if the server that made it finds us once more.

mod accounts;
mod alerts;
mod bootstrap;
mod install;
mod live;
mod obey;
mod operate;
mod packages;
mod records;
mod sessions;
mod trial;
mod view;

pub use operate::{Operation, OperationId};
pub use view::NodeView;

use crate::gateway::Gateway;
use crate::gateway::agenda::{Queued, Timer};
use crate::gateway::seam::{CallId, CallResult, Change, CommitId, Now, StoreError};
use crate::limits;
use crate::proto::bootstrap::security::Keys;
use crate::proto::bootstrap::{self, Account};
use crate::proto::syncml::Encoding;
use crate::proto::tree::{self, Format, Transaction, Tree};
use accounts::Accounts;
use alerts::AttachAlerts;
use install::Installation;
use records::{ServerRecord, Settings};
use sessions::{Running, Wish};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;
use trial::Trial;

/// What the configuration says of the gateway as a DM client.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `[gateway] device-id`: DevInfo/DevId, by default the gateway's id.
    pub device_id: String,
    /// `[[server]]`.
    pub servers: Vec<ServerOptions>,
    /// `[bootstrap] network-pin-file`, `user-pin-file`.
    pub keys: Keys,
    /// `[bootstrap] allow`: servers that wanted ones may be bootstrapped of without asking; `*`
    /// stands for any characters.
    pub allow: Vec<String>,
    /// `[bootstrap] sources`, in order.
    pub sources: Vec<Source>,
    /// `[bootstrap] parameters` of the request: names, and values in which `{device}` and
    /// `{server}` stand for the gateway's and the wanted server's id.
    pub parameters: Vec<(String, String)>,
}

/// One `[[server]]`.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// `id`.
    pub id: String,
    /// `allow-http`: whether sessions may go without TLS.
    pub allow_http: bool,
    /// `encoding`.
    pub encoding: Encoding,
    /// `interval` between sessions that nothing else asks for; `None` for none.
    pub interval: Option<Duration>,
}

/// Where accounts of wanted servers are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `card`: the smartcard.
    Card,
    /// `fetch`: an HTTPS server at this URL.
    Fetch(String),
    /// `srv`: HTTPS servers that DNS SRV names, and the path there.
    Service {
        /// `_dm-bootstrap._tcp.example.com` …
        name: String,
        /// `/bootstrap` …
        path: String,
    },
}

/// Everything that makes the gateway a DM client.
pub(super) struct Management {
    tree: Tree,
    accounts: Accounts,
    settings: Settings,
    servers: BTreeMap<String, Server>,
    calls: HashMap<CallId, Purpose>,
    next_call: u64,
    next_session: u64,
    open: Option<Open>,
    deferred: VecDeque<Deferred>,
    trial: Option<Trial>,
    alerts: AttachAlerts,
    tries: bootstrap::Tries,
    files: HashMap<String, [u8; 32]>,
    card: Card,
}

/// A DM server that the gateway has an account with, or wants one.
#[derive(Debug, Default)]
pub(super) struct Server {
    record: ServerRecord,
    running: Option<Box<Running>>,
    wish: Option<Wish>,
    /// Sessions that failed since the last that did not.
    failures: u32,
    /// Why the last session, or the search for an account, failed.
    why: Option<String>,
    /// Session ids of Package #0, newest last, with when they came.
    heard: VecDeque<(u16, Duration)>,
    /// The search for an account.
    search: install::Search,
}

/// A change that waits for the store.
struct Open {
    commit: CommitId,
    transaction: Transaction,
    settings: Option<Settings>,
    then: Then,
}

/// What goes on when a change is on flash, or is not.
enum Then {
    /// A session's reply.
    Session(String),
    /// Accounts are there, or gone.
    Install(Installation),
    /// What was tried is as it was before.
    RolledBack(String),
}

/// What waits until the tree is free.
enum Deferred {
    Called(CallId, CallResult),
    Install(Installation),
    RollBack,
}

/// What a call is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// A message of the session with this server.
    Session(String),
    /// The search for an account with this server.
    Search(String),
}

/// Whether a smartcard is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Card {
    #[default]
    Idle,
    Reading,
}

impl Management {
    pub(super) fn new(options: &super::Options) -> Self {
        let management = &options.management;
        let descriptions = [
            tree::DEV_INFO,
            tree::DEV_DETAIL,
            tree::DM_ACC,
            tree::INBOX,
            tree::GW_CONFIG,
            tree::GW_DEVICE_INVENTORY,
        ];
        let mut tree = Tree::new(&descriptions).expect("our own descriptions are right");
        live::mount(&mut tree);
        let version = env!("CARGO_PKG_VERSION");
        let id =
            if management.device_id.is_empty() { &options.id } else { &management.device_id };
        let mut transaction = tree.begin();
        for (uri, text) in [
            ("./DevInfo/DevId", id.as_str()),
            ("./DevInfo/Man", "dm-gateway"),
            ("./DevInfo/Mod", "dm-gateway"),
            ("./DevInfo/DmV", "1.2"),
            ("./DevInfo/Lang", "en"),
            ("./DevDetail/DevTyp", "gateway"),
            ("./DevDetail/OEM", "dm-gateway"),
            ("./DevDetail/FwV", version),
            ("./DevDetail/SwV", version),
            ("./DevDetail/HwV", std::env::consts::ARCH),
        ] {
            tree.write(uri, Format::Chr, text.as_bytes(), 0, &mut transaction)
                .expect("DevInfo and DevDetail have these leaves");
        }
        tree.keep(transaction);
        Self {
            tree,
            accounts: Accounts::default(),
            settings: Settings::default(),
            servers: BTreeMap::new(),
            calls: HashMap::new(),
            next_call: 0,
            next_session: 0,
            open: None,
            deferred: VecDeque::new(),
            trial: None,
            alerts: AttachAlerts::default(),
            tries: bootstrap::Tries::default(),
            files: HashMap::new(),
            card: Card::Idle,
        }
    }

    /// Whether the gateway has an account with a server.
    pub(super) fn has_account(&self, server: &str) -> bool {
        self.accounts.get(server).is_some()
    }

    fn account(&self, server: &str) -> Option<&Account> {
        self.accounts.get(server)
    }
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Hands changes to the store; nothing else touches the tree until it has answered.
    fn commit_open(
        &mut self,
        changes: Vec<Change>,
        transaction: Transaction,
        settings: Option<Settings>,
        then: Then,
        now: Now,
    ) {
        let commit = self.commit_alone(changes);
        self.management.open = Some(Open { commit, transaction, settings, then });
        // Nothing waits for ever: a store that does not answer is reported by the store itself.
        let _ = now;
    }

    /// Hands changes to the store that nothing waits for.
    fn commit_alone(&mut self, changes: Vec<Change>) -> CommitId {
        let commit = CommitId(self.next_commit);
        self.next_commit += 1;
        self.outputs.0.push_back(Queued::Commit { commit, changes });
        commit
    }

    /// Whether the store's answer was to a change of the management; goes on with it then.
    pub(super) fn management_committed(
        &mut self,
        commit: CommitId,
        result: &Result<(), StoreError>,
        now: Now,
    ) -> bool {
        let is_ours = self.management.open.as_ref().is_some_and(|open| open.commit == commit);
        let Some(open) = self.management.open.take_if(|_| is_ours) else { return false };
        let Open { transaction, settings, then, .. } = open;
        let ok = result.is_ok();
        if ok {
            self.management.tree.keep(transaction);
            if let Some(settings) = settings {
                self.apply_settings(settings);
            }
            self.read_accounts();
        } else {
            self.undo(transaction);
        }
        match then {
            Then::Session(server) => self.session_committed(&server, ok, now),
            Then::Install(installation) => self.installed(installation, ok, now),
            Then::RolledBack(server) => self.rolled_back(&server, now),
        }
        self.go_on(now);
        true
    }

    /// Does what waited for the tree, as far as it is free.
    fn go_on(&mut self, now: Now) {
        while self.management.open.is_none()
            && let Some(deferred) = self.management.deferred.pop_front()
        {
            match deferred {
                Deferred::Called(call, result) => self.called(call, result, now),
                Deferred::Install(installation) => self.install(installation, now),
                Deferred::RollBack => self.roll_back(now),
            }
        }
    }

    /// Takes the answer to a call.
    pub(super) fn called(&mut self, call: CallId, result: CallResult, now: Now) {
        if self.management.open.is_some() {
            return self.management.deferred.push_back(Deferred::Called(call, result));
        }
        match self.management.calls.remove(&call) {
            Some(Purpose::Session(server)) => self.session_called(&server, call, result, now),
            Some(Purpose::Search(server)) => self.search_called(&server, result, now),
            None => {}
        }
    }

    /// What is due: sessions that are wished, trials that nobody confirmed, searches to repeat.
    pub(super) fn manage(&mut self, now: Now) {
        self.trial_due(now);
        self.deliver_alerts(now);
        let due: Vec<_> = self.management.servers.iter();
        let _ = due;
    }
}
