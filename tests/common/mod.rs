//! The Lab: a whole gateway without Linux. Its store is memory, its clock stands until it is
//! told to go on, its network is what the test says.
//!
//! ```text
//!   test ──Input──► Gateway ──Output──► Lab: pushes, responses, events are kept for the test,
//!                      ▲                     commits go to the MemoryStore
//!                      └─────Committed───────────┘
//! ```
//!
//! [`Lab`] speaks for the kernel and the WAN, [`Client`] for one end device.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod client;

pub use client::{Client, Proof, Reply, list_alert};

use dm_gateway::gateway::Gateway;
use dm_gateway::gateway::alert::WireProfile;
use dm_gateway::gateway::audit::Audit;
use dm_gateway::gateway::device::DeviceId;
use dm_gateway::gateway::event::{Event, EventKind};
use dm_gateway::gateway::management::{self, Operation, OperationId, ReloadReport};
use dm_gateway::gateway::policy::{DeviceAuth, Policy, Verify};
use dm_gateway::gateway::seam::{
    Call, CallId, CallResult, Change, CommitId, ConnectionId, Input, LanId, Lease, LinkEvent,
    MacAddress, NeighbourEvent, NeighbourState, Now, Output, PushRequest, Request, Response,
};
use dm_gateway::gateway::store::{MemoryStore, Store};
use dm_gateway::gateway::view::DeviceView;
use dm_gateway::gateway::{Account, Detect, LanOptions, Options};
use dm_gateway::proto::auth::Secret;
use dm_gateway::proto::bootstrap::Profile;
use dm_gateway::proto::notification::{Notification, UiMode};
use dm_gateway::proto::wsp;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
/// The interface of the first LAN; the next LAN has the next number.
pub const INTERFACE: u32 = 2;
/// `[gateway] id` in every Lab.
pub const GATEWAY: &str = "gw.example";

pub use NeighbourState::{Failed, Incomplete, Reachable, Stale};

/// A datagram that the gateway sent to an end device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    pub lan: LanId,
    pub to: SocketAddr,
    pub datagram: Vec<u8>,
}

impl Sent {
    /// Package #0 in it.
    pub fn package0(&self) -> Vec<u8> {
        wsp::Push::decode(&self.datagram).unwrap().body.to_vec()
    }

    /// The server that its Package #0 names.
    pub fn server(&self) -> String {
        Notification::decode(&self.package0()).unwrap().server_id.to_owned()
    }
}

/// A gateway, its store, its clock, and what it did since it was last looked at.
pub struct Lab {
    pub gateway: Gateway,
    pub options: Options,
    pub store: MemoryStore,
    pub now: Now,
    /// Datagrams to end devices.
    pub sent: Vec<Sent>,
    /// Addresses that the kernel was asked about.
    pub probes: Vec<IpAddr>,
    /// What watchers were told.
    pub events: Vec<Event>,
    /// What the log was told: events, and how many more of their kind each stands for.
    pub logged: Vec<(Event, u64)>,
    /// Commits asked for since the start.
    pub commits: usize,
    /// Calls that the gateway makes and nobody has answered yet.
    pub calls: VecDeque<(CallId, Call)>,
    /// How operations ended.
    pub operated: Vec<(OperationId, Result<Vec<String>, String>)>,
    /// What was written down of changes.
    pub audits: Vec<Audit>,
    /// Whether commits wait for [`Lab::commit`].
    pub slow_flash: bool,
    waiting: VecDeque<(CommitId, Vec<Change>)>,
    responses: Vec<(ConnectionId, Response)>,
    connections: u64,
}

impl Lab {
    /// A started gateway, its interfaces up and the neighbour table empty.
    pub fn new(options: Options) -> Self {
        Self::with_store(options, MemoryStore::default())
    }

    /// One LAN, with the policy `transparent`.
    pub fn transparent() -> Self {
        Self::new(options(&[Policy::Transparent]))
    }

    pub fn with_store(options: Options, mut store: MemoryStore) -> Self {
        let now = Now { uptime: Duration::ZERO, unix: 1_800_000_000 };
        let gateway = started(&options, &mut store, now);
        let mut lab = Self {
            gateway,
            options,
            store,
            now,
            sent: Vec::new(),
            probes: Vec::new(),
            events: Vec::new(),
            logged: Vec::new(),
            commits: 0,
            calls: VecDeque::new(),
            operated: Vec::new(),
            audits: Vec::new(),
            slow_flash: false,
            waiting: VecDeque::new(),
            responses: Vec::new(),
            connections: 0,
        };
        lab.boot();
        lab
    }

    /// Ends the gateway as `kill -9` does, and starts another one on what the store has.
    pub fn restart(&mut self) {
        self.now.uptime = Duration::ZERO;
        self.waiting.clear();
        self.calls.clear();
        self.gateway = started(&self.options, &mut self.store, self.now);
        self.boot();
    }

    fn boot(&mut self) {
        self.drain();
        for lan in 0..self.options.lans.len() {
            self.link(lan, true);
        }
        self.handle(Input::Neighbour(NeighbourEvent::DumpBegin));
        self.handle(Input::Neighbour(NeighbourEvent::DumpEnd));
    }

    /// One input, and everything that comes of it.
    pub fn handle(&mut self, input: Input<'_>) {
        self.gateway.handle(input, self.now);
        self.drain();
    }

    /// A new configuration, now and after a restart.
    pub fn reconfigure(&mut self, options: Options) -> ReloadReport {
        self.options = options.clone();
        let report = self.gateway.reconfigure(options, self.now);
        self.drain();
        report
    }

    fn drain(&mut self) {
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Push { lan, to, datagram } => {
                    self.sent.push(Sent { lan, to, datagram: datagram.to_vec() });
                }
                Output::Response { connection, response } => {
                    self.responses.push((connection, response));
                }
                Output::Commit { commit, changes } => {
                    self.commits += 1;
                    self.waiting.push_back((commit, changes));
                }
                Output::Probe { address, .. } => self.probes.push(address),
                Output::Call { call, request } => self.calls.push_back((call, request)),
                Output::Operated { operation, result } => self.operated.push((operation, result)),
                Output::Audit(audit) => self.audits.push(audit),
                Output::Event(event) => self.events.push(event),
                Output::Log { event, held_back } => self.logged.push((event, held_back)),
            }
        }
        if !self.slow_flash {
            self.commit();
        }
    }

    /// Makes everything durable that waits for it.
    pub fn commit(&mut self) {
        while let Some((commit, changes)) = self.waiting.pop_front() {
            let result = self.store.commit(&[changes]);
            self.gateway.handle(Input::Committed { commit, result }, self.now);
            self.drain();
        }
    }

    /// Lets time go by. Timeouts come when the gateway asked for them.
    pub fn advance(&mut self, time: Duration) {
        let end = self.now.uptime + time;
        let mut again = 0;
        while let Some(due) = self.gateway.poll_timeout().filter(|due| *due <= end) {
            self.set_uptime(due.max(self.now.uptime));
            self.handle(Input::Timeout);
            let is_due = self.gateway.poll_timeout().is_some_and(|next| next <= self.now.uptime);
            again = if is_due { again + 1 } else { 0 };
            assert!(again < 1_000, "a timer fires for ever");
        }
        self.set_uptime(end);
    }

    fn set_uptime(&mut self, uptime: Duration) {
        let seconds = uptime.as_secs() - self.now.uptime.as_secs();
        self.now = Now { uptime, unix: self.now.unix + seconds };
    }

    // --- The kernel ---------------------------------------------------------------------

    /// A neighbour entry of the first LAN is new or changed.
    pub fn neighbour(&mut self, ip: &str, mac: u8, state: NeighbourState) {
        self.neighbour_on(0, ip, mac_of(mac), state);
    }

    pub fn neighbour_on(&mut self, lan: usize, ip: &str, mac: MacAddress, state: NeighbourState) {
        let mac = (!matches!(state, Failed | Incomplete)).then_some(mac);
        let (interface, address) = (INTERFACE + lan as u32, ip.parse().unwrap());
        self.handle(Input::Neighbour(NeighbourEvent::Entry { interface, address, mac, state }));
    }

    /// A neighbour entry of the first LAN goes.
    pub fn neighbour_removed(&mut self, ip: &str, state: NeighbourState) {
        let (interface, address) = (INTERFACE, ip.parse().unwrap());
        self.handle(Input::Neighbour(NeighbourEvent::Removed { interface, address, state }));
    }

    /// The interface of a LAN gets or loses its carrier.
    pub fn link(&mut self, lan: usize, running: bool) {
        self.handle(Input::Link(LinkEvent {
            index: INTERFACE + lan as u32,
            name: self.options.lans[lan].interface.clone(),
            running,
            removed: false,
            mac: Some(MacAddress([0, 0x16, 0x3e, 0xff, 0, lan as u8])),
        }));
    }

    /// The lease file of the first LAN says this.
    pub fn leases(&mut self, leases: &[(u8, &str)]) {
        let expiry = self.now.unix + 3600;
        let lease = |&(mac, ip): &(u8, &str)| Lease {
            expiry,
            mac: mac_of(mac),
            address: ip.parse().unwrap(),
        };
        let leases: Vec<_> = leases.iter().map(lease).collect();
        self.handle(Input::Leases { lan: LanId(0), leases: &leases });
    }

    // --- The WAN ------------------------------------------------------------------------

    /// A push of `server` for `device`, different each time by its `session`.
    pub fn push(&mut self, server: &str, device: &str, session: u16) {
        self.datagram(&push_of(server, device, session));
    }

    pub fn datagram(&mut self, datagram: &[u8]) {
        self.datagram_from("198.51.100.7:9200", datagram);
    }

    pub fn datagram_from(&mut self, from: &str, datagram: &[u8]) {
        self.handle(Input::Push { from: from.parse().unwrap(), datagram });
    }

    /// The same push over HTTP; `None` while the answer waits for the kernel.
    pub fn push_http(&mut self, server: &str, device: &str, session: u16) -> Option<Response> {
        let connection = self.push_request(&push_fields(device), &package0(server, session));
        self.response(connection)
    }

    pub fn push_request(&mut self, fields: &[(&str, &[u8])], body: &[u8]) -> ConnectionId {
        self.push_request_from("198.51.100.7:9200", PushRequest { method: "POST", fields, body })
    }

    pub fn push_request_from(&mut self, from: &str, request: PushRequest<'_>) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let from = from.parse().unwrap();
        self.handle(Input::PushRequest { connection, from, request });
        connection
    }

    // --- HTTP ---------------------------------------------------------------------------

    /// Posts `body` to `/dm`; `None` while the answer waits for the store.
    pub fn post(
        &mut self,
        lan: usize,
        from: IpAddr,
        content_type: &str,
        body: &[u8],
    ) -> Option<Response> {
        let content_type = Some(content_type);
        let request = Request { method: "POST", path: "/dm", content_type, body };
        let connection = self.request(lan, from, request);
        self.response(connection)
    }

    pub fn request(&mut self, lan: usize, from: IpAddr, request: Request<'_>) -> ConnectionId {
        self.connections += 1;
        let connection = ConnectionId(self.connections);
        let local = match from {
            IpAddr::V4(_) => format!("192.168.{}.1:8080", 4 + lan),
            IpAddr::V6(_) => format!("[fd00:{}::1]:8080", 4 + lan),
        };
        self.handle(Input::Request {
            connection,
            lan: LanId(lan),
            from: SocketAddr::new(from, 40_000),
            local: local.parse().unwrap(),
            request,
        });
        connection
    }

    /// The answer to a request, taken away.
    pub fn response(&mut self, connection: ConnectionId) -> Option<Response> {
        let index = self.responses.iter().position(|(known, _)| *known == connection)?;
        Some(self.responses.remove(index).1)
    }

    // --- Servers and operators ------------------------------------------------------------

    /// Has the gateway do something; `None` while the answer waits.
    pub fn operate(&mut self, request: Operation) -> Option<Result<Vec<String>, String>> {
        self.connections += 1;
        let operation = OperationId(self.connections);
        self.handle(Input::Operate { operation, request });
        let index = self.operated.iter().position(|(known, _)| *known == operation)?;
        Some(self.operated.remove(index).1)
    }

    /// Answers a call.
    pub fn called(&mut self, call: CallId, result: CallResult) {
        self.handle(Input::Called { call, result });
    }

    // --- What can be seen ----------------------------------------------------------------

    /// The datagrams since this was last asked.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// The addresses that datagrams went to since this was last asked.
    pub fn take_targets(&mut self) -> Vec<String> {
        self.take_sent().into_iter().map(|sent| sent.to.ip().to_string()).collect()
    }

    /// The events of one kind since this was last asked; the others are dropped.
    pub fn take_events(&mut self, kind: EventKind) -> Vec<Event> {
        std::mem::take(&mut self.events).into_iter().filter(|event| event.kind == kind).collect()
    }

    /// How often something was refused for this reason.
    pub fn refused(&self, reason: &str) -> u64 {
        self.gateway.status(self.now).refused.get(reason).map_or(0, |refusals| refusals.count)
    }

    /// The device of that id.
    pub fn device(&self, id: &str) -> Option<DeviceView> {
        self.gateway.devices(self.now).into_iter().find(|device| device.id == id)
    }

    pub fn state(&self, id: &str) -> String {
        self.device(id).map_or_else(|| "unknown".to_owned(), |device| device.state)
    }

    pub fn device_ids(&self) -> Vec<String> {
        self.gateway.devices(self.now).into_iter().map(|device| device.id).collect()
    }

    /// The mappings in force, as `server > device`.
    pub fn mappings(&self) -> Vec<String> {
        let mappings = self.gateway.mappings(self.now).into_iter();
        mappings.map(|mapping| format!("{} > {}", mapping.server, mapping.device)).collect()
    }

    /// A device of the first LAN that is mapped: at 192.168.4.`mac`, known as [`name`]`(mac)`.
    pub fn mapped_device(&mut self, mac: u8, servers: &[&str]) -> Client {
        let ip = format!("192.168.4.{mac}");
        self.neighbour(&ip, mac, Reachable);
        let mut client = Client::new(&name(mac), &ip);
        assert_eq!(client.session(self, servers), Some(200));
        self.advance(MINUTE);
        self.take_sent();
        self.events.clear();
        client
    }
}

fn started(options: &Options, store: &mut MemoryStore, now: Now) -> Gateway {
    let mut gateway = Gateway::new(options.clone(), &store.load().unwrap(), [7; 32], now);
    gateway.observe(true);
    gateway
}

/// Options with one LAN for each policy: `lan0` on the interface `eth0`, and so on.
pub fn options(policies: &[Policy]) -> Options {
    let lans = policies.iter().enumerate().map(|(index, policy)| LanOptions {
        name: format!("lan{index}").into(),
        interface: format!("eth{index}"),
        policy_locked: false,
        policy: *policy,
        detect: Detect { neighbours: true, leases: true, configured: true },
        verify: Verify::Neighbour,
        device_auth: DeviceAuth::None,
        push_port: 2948,
        request_interval: Some(SECOND / 20),
        request_burst: 100,
        listen: vec![format!("192.168.{}.1:8080", 4 + index).parse().unwrap()],
        trusted_link: false,
        provision: false,
        bootstrap_profile: Profile::Dm,
        bootstrap_listen: Vec::new(),
    });
    Options {
        id: GATEWAY.to_owned(),
        public_address: Some("203.0.113.9".to_owned()),
        share_address: true,
        wire_profile: WireProfile::Registered,
        push_interval: Some(SECOND),
        trigger_expiry: 15 * MINUTE,
        trusted_sources: Vec::new(),
        push_token: None,
        lans: lans.collect(),
        accounts: Vec::new(),
        management: management::Options::default(),
    }
}

/// An account on the first LAN whose secrets are `device-secret` and `server-secret`.
pub fn account(id: &str) -> Account {
    Account {
        id: DeviceId::parse(id).unwrap(),
        lan: Some(LanId(0)),
        address: None,
        user: id.to_owned(),
        secret: Some(Secret::new("device-secret")),
        server_secret: Some(Secret::new("server-secret")),
        pin: None,
    }
}

/// An Ethernet address as a maker assigns it.
pub fn mac_of(number: u8) -> MacAddress {
    MacAddress([0, 0x16, 0x3e, 0, 0, number])
}

/// The identity of a device of which only that address is known.
pub fn mac_id(number: u8) -> String {
    format!("mac:{}", mac_of(number))
}

/// The name that device `number` gives itself.
pub fn name(number: u8) -> String {
    format!("IMEI:49015420323751{number}")
}

/// Package #0 of a server, without a digest.
pub fn package0(server: &str, session_id: u16) -> Vec<u8> {
    let notification = Notification {
        digest: [0x5a; 16],
        version: 11,
        ui_mode: UiMode::Background,
        server_initiated: true,
        session_id,
        server_id: server,
        vendor: b"vendor",
    };
    notification.encode()
}

/// A push as a DM server sends it to a gateway.
pub fn push_of(server: &str, device: &str, session: u16) -> Vec<u8> {
    let mut datagram = Vec::new();
    wsp::encode_notification(&mut datagram, 1, Some(device), &package0(server, session));
    datagram
}

/// The header fields of a push over HTTP.
pub fn push_fields(device: &str) -> [(&str, &[u8]); 3] {
    [
        ("content-type", b"application/vnd.syncml.notification"),
        ("x-wap-application-id", b"x-wap-application:syncml.dm"),
        ("x-oma-gwmo", device.as_bytes()),
    ]
}
