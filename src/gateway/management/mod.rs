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
//! is a `trial`: it stays only if the server that made it finds us once more.

mod accounts;
mod alerts;
mod audit;
mod bootstrap;
mod failures;
mod handover;
mod install;
mod live;
mod obey;
mod operate;
mod packages;
mod provision;
mod reconfigure;
mod records;
mod report;
mod sessions;
mod trial;
mod view;
mod wishes;

pub use operate::{ANOTHER_FOLLOWS, Operation, OperationId};
pub use reconfigure::{ReloadReport, RemoteValue};
pub use view::NodeView;
pub(super) use view::Sessions;

use crate::gateway::Gateway;
use crate::gateway::agenda::{Queued, Timer};
use crate::gateway::alert::ServerId;
use crate::gateway::device::DeviceKey;
use crate::gateway::event::{Event, EventKind};
use crate::gateway::health::Failed;
use crate::gateway::policy::Policy;
use crate::gateway::seam::{CallId, CallResult, Change, CommitId, LanId, Now};
use crate::limits;
use crate::proto::bootstrap::Account;
use crate::proto::bootstrap::security::Keys;
use crate::proto::gwmo;
use crate::proto::syncml::Encoding;
use crate::proto::tree::{self, Format, Transaction, Tree};
use accounts::Accounts;
use alerts::AttachAlerts;
use bootstrap::{Search, Tries};
use install::Installation;
use provision::Provisioning;
use records::{Provisioned, ServerRecord, Settings};
use report::Report;
use sessions::{Running, Saved};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;
use trial::Trial;
use wishes::Wish;

/// What the configuration says of the gateway as a DM client.
#[derive(Clone, Debug)]
pub struct Options {
    /// `[gateway] device-id`: DevInfo/DevId, by default the gateway's id.
    pub device_id: String,
    /// `[gateway] remote-settings`: whether DM servers may set Gw Config. If not, what they set
    /// before does not count either.
    pub remote_settings: bool,
    /// `[gateway] locked`, as far as DM servers are concerned; policies are in the LANs.
    pub locked: Locked,
    /// What the gateway runs on: DevDetail/HwV.
    pub hardware: String,
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

/// What DM servers may not set, whatever they set before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Locked {
    /// `gateway.public-address`.
    pub public_address: bool,
    /// `gateway.share-address`.
    pub share_address: bool,
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
        /// Whether hosts outside of the domain in `name` are asked too: only where a `trust` of
        /// the operator's own says who they are, for DNS proves nothing.
        any_host: bool,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            device_id: String::new(),
            remote_settings: true,
            locked: Locked::default(),
            hardware: String::new(),
            servers: Vec::new(),
            keys: Keys::default(),
            allow: Vec::new(),
            sources: Vec::new(),
            parameters: Vec::new(),
        }
    }
}

impl Options {
    /// The `[[server]]` of a server.
    fn server(&self, id: &str) -> Option<&ServerOptions> {
        self.servers.iter().find(|server| server.id == id)
    }
}

/// Everything that makes the gateway a DM client.
pub(super) struct Management {
    tree: Tree,
    accounts: Accounts,
    /// What DM servers set, and what was configured.
    settings: Settings,
    configured: Configured,
    servers: BTreeMap<String, Server>,
    calls: HashMap<CallId, Purpose>,
    next_call: u64,
    next_session: u64,
    open: Option<Open>,
    deferred: VecDeque<Deferred>,
    trial: Option<Trial>,
    alerts: AttachAlerts,
    /// Wrong proofs on pushed bootstraps.
    tries: Tries,
    /// Digests of the documents that were applied, by the way they came, the newest last.
    applied: HashMap<String, Vec<u8>>,
    /// Accounts that end devices were given, by the normal form of the id in them.
    given: HashMap<String, Provisioned>,
    /// How the gateway is, for whoever reads the tree at the moment.
    report: Report,
}

/// What Gw Config may change, as the configuration has it.
struct Configured {
    public_address: Option<String>,
    share_address: bool,
    policies: Vec<Policy>,
}

/// A DM server that the gateway has an account with, or wants one.
#[derive(Debug, Default)]
pub(super) struct Server {
    record: ServerRecord,
    running: Option<Box<Running>>,
    wish: Option<Wish>,
    /// What failed in a row: sessions, or searches for an account.
    failures: u32,
    /// Why the last of them did.
    why: Option<Failed>,
    /// When the last session ended, and why it failed if it did.
    last: Option<(Duration, Option<Failed>)>,
    /// Session ids of Package #0, newest last, with when they came.
    heard: VecDeque<(u16, Duration)>,
    search: Search,
    /// When it was last called to be told of devices.
    told: Option<Duration>,
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
    Session(Saved),
    /// Accounts are there, or gone.
    Install(Installation),
    /// An end device gets its account.
    Provision(Provisioning),
    /// What was tried stays.
    Kept(Trial),
    /// What was tried is as it was before.
    RolledBack(Trial),
}

/// What waits until the tree is free.
enum Deferred {
    Called(CallId, CallResult),
    Install(Installation),
    Provision(DeviceKey, Option<OperationId>),
}

/// What a call is for.
#[derive(Clone, Debug)]
enum Purpose {
    /// A message of the session with this server.
    Session(String),
    /// The search for an account with this server.
    Search(String),
}

impl Management {
    pub(super) fn new(options: &super::Options) -> Self {
        let descriptions = [
            tree::DEV_INFO,
            tree::DEV_DETAIL,
            tree::DM_ACC,
            tree::INBOX,
            tree::GW_CONFIG,
            tree::GW_DEVICE_INVENTORY,
            tree::GW_STATUS,
        ];
        let mut tree = Tree::new(&descriptions).expect("our own descriptions are right");
        live::mount(&mut tree);
        describe(&mut tree, options);
        Self {
            tree,
            accounts: Accounts::default(),
            settings: Settings::default(),
            configured: Configured {
                public_address: options.public_address.clone(),
                share_address: options.share_address,
                policies: options.lans.iter().map(|lan| lan.policy).collect(),
            },
            servers: BTreeMap::new(),
            calls: HashMap::new(),
            next_call: 0,
            next_session: 0,
            open: None,
            deferred: VecDeque::new(),
            trial: None,
            alerts: AttachAlerts::default(),
            tries: Tries::default(),
            applied: HashMap::new(),
            given: HashMap::new(),
            report: Report::default(),
        }
    }

    /// Whether the gateway has an account with a server.
    pub(super) fn has_account(&self, server: &str) -> bool {
        self.accounts.get(server).is_some()
    }

    /// Servers that the gateway has an account with.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &str> {
        self.accounts.servers()
    }

    fn account(&self, server: &str) -> Option<&Account> {
        self.accounts.get(server)
    }
}

/// Writes DevInfo and DevDetail, which are not kept.
fn describe(tree: &mut Tree, options: &super::Options) {
    let device_id = &options.management.device_id;
    let id = if device_id.is_empty() { &options.id } else { device_id };
    let version = env!("CARGO_PKG_VERSION");
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
        ("./DevDetail/HwV", options.management.hardware.as_str()),
    ] {
        tree.write(uri, Format::Chr, text.as_bytes(), 0, &mut transaction)
            .expect("DevInfo and DevDetail have these leaves");
    }
    tree.write("./DevDetail/LrgObj", Format::Bool, b"true", 0, &mut transaction)
        .expect("DevDetail has this leaf");
    for (name, most) in [
        ("MaxDepth", limits::TREE_DEPTH),
        ("MaxTotLen", limits::TREE_URI),
        ("MaxSegLen", limits::TREE_SEGMENT),
    ] {
        let (uri, most) = (format!("./DevDetail/URI/{name}"), most.to_string());
        tree.write(&uri, Format::Chr, most.as_bytes(), 0, &mut transaction)
            .expect("DevDetail has these leaves");
    }
    // Whoever has an account may set what may be set: accounts come by proof or approval only.
    tree.write_acl(gwmo::CONFIG, "Get=*&Replace=*", 0, &mut transaction)
        .expect("the description has this node");
    tree.keep(transaction);
}

impl fmt::Debug for Management {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Management").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Takes a record of the store, if it is one of the management. Records come in the order of
    /// their keys.
    pub(super) fn restore_management(&mut self, key: &[u8], value: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(key) else { return false };
        let management = &mut self.management;
        match text.split_at_checked(1) {
            Some((records::SETTINGS, "")) => {
                management.settings = records::read(text, value).unwrap_or_default();
            }
            Some((records::TRIAL, "")) => management.trial = Trial::restored(value),
            Some(("t", uri)) => {
                if let Err(error) = management.tree.restore(uri, value) {
                    log::error!("{uri} in the store is unreadable: {error}");
                }
            }
            Some(("s", server)) => {
                let record = records::read(text, value).unwrap_or_default();
                self.server_entry(server).record = record;
            }
            Some(("f", name)) => {
                management.applied.insert(name.to_owned(), value.to_vec());
            }
            Some(("p", device)) => self.restore_provisioned(text, device, value),
            _ => return false,
        }
        true
    }

    /// Everything is restored: goes on with what was under way at the end of the process.
    pub(super) fn resume_management(&mut self, now: Now) {
        self.read_accounts();
        let settings = self.management.settings.clone();
        self.apply_settings(settings, now);
        let servers: Vec<_> = self.management.accounts.servers().map(str::to_owned).collect();
        for server in servers {
            self.wish_first(&server, now);
        }
        self.resume_trial(now);
    }

    /// Does what is due: sessions, trials, searches.
    pub(super) fn manage(&mut self, now: Now) {
        self.trial_due(now);
        self.look_for_wanted(now);
        self.sessions_wished(now);
        let servers = self.management.servers.values();
        let wishes = servers.filter(|server| server.running.is_none()).filter_map(|server| {
            let search = match server.search {
                // Later it begins when a device wants the server again.
                Search::Failed { again } if again > now.uptime => Some(again),
                _ => None,
            };
            server.wish.map(|wish| wish.at).into_iter().chain(search).min()
        });
        if let Some(next) = wishes.min() {
            self.timers.set_no_later(Timer::Manage, next.max(now.uptime));
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
        self.manage(now);
    }

    /// Whether the store's answer was to a change of the management; goes on with it then.
    pub(super) fn management_committed(&mut self, commit: CommitId, ok: bool, now: Now) -> bool {
        let is_ours = |open: &mut Open| open.commit == commit;
        let Some(open) = self.management.open.take_if(is_ours) else { return false };
        let Open { transaction, settings, then, .. } = open;
        if ok {
            self.management.tree.keep(transaction);
            self.read_accounts();
            if let Some(settings) = settings {
                self.apply_settings(settings, now);
            }
        } else {
            self.undo(transaction, now);
        }
        match then {
            Then::Session(saved) => self.session_committed(saved, ok, now),
            Then::Install(installation) => self.installed(installation, ok, now),
            Then::Provision(provisioning) => self.provisioned(provisioning, ok, now),
            Then::Kept(trial) => self.kept(trial, ok, now),
            Then::RolledBack(trial) => self.rolled_back(trial, ok, now),
        }
        while self.management.open.is_none() {
            let Some(deferred) = self.management.deferred.pop_front() else { break };
            match deferred {
                Deferred::Called(call, result) => self.called(call, result, now),
                Deferred::Install(installation) => self.install(installation, now),
                Deferred::Provision(key, operation) => self.offer(key, operation),
            }
        }
        self.manage(now);
        true
    }

    /// Hands changes to the store; nothing else touches the tree until it has answered.
    fn commit_open(
        &mut self,
        changes: Vec<Change>,
        transaction: Transaction,
        settings: Option<Settings>,
        then: Then,
    ) {
        let commit = self.commit_alone(changes);
        self.management.open = Some(Open { commit, transaction, settings, then });
    }

    /// Hands changes to the store that nothing waits for.
    fn commit_alone(&mut self, changes: Vec<Change>) -> CommitId {
        let commit = CommitId(self.next_commit);
        self.next_commit += 1;
        self.outputs.0.push_back(Queued::Commit { commit, changes });
        commit
    }

    /// Tells of something that concerns a server.
    fn tell_of_server(&mut self, kind: EventKind, server: &str, why: &str) {
        self.audit_event(kind, server, why);
        self.tell(Event { server: ServerId::new(server).ok(), ..Event::new(kind, why) });
    }

    /// Tells of something that concerns a LAN.
    fn tell_of_lan(&mut self, kind: EventKind, lan: LanId, why: &str) {
        let name = self.options.lans[lan.0].name.clone();
        self.audit_event(kind, &name, why);
        self.tell(Event { lan: Some(name), ..Event::new(kind, why) });
    }
}
