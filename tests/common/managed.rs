//! A Lab whose gateway is managed: simulated DM servers answer its calls, or do not.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses its own part")]

use crate::common::{GATEWAY, Lab, options};
use dm_gateway::gateway::Options;
use dm_gateway::gateway::event::EventKind;
use dm_gateway::gateway::management::{Operation, ServerOptions};
use dm_gateway::gateway::policy::Policy;
use dm_gateway::gateway::seam::{Call, CallKind, CallResult, HttpReply, Reply};
use dm_gateway::proto::auth::{Scheme, Secret};
use dm_gateway::proto::syncml::Encoding;
use dm_gateway::proto::wsp;
use dm_gateway::simulate::SimEvent;
use dm_gateway::simulate::managing::{self, Answer, Manager, Script};
use std::collections::BTreeMap;
use std::time::Duration;

/// The DM servers of most tests.
pub const ONE: &str = "one.example";
pub const TWO: &str = "two.example";

/// A managed gateway, and those who manage it.
pub struct Managed {
    pub lab: Lab,
    pub servers: BTreeMap<String, Manager>,
    /// Servers that answer with this instead.
    pub instead: BTreeMap<String, CallResult>,
    /// When who was called.
    pub called: Vec<(Duration, String)>,
    fresh: u64,
}

/// One LAN, and the servers over HTTPS without an interval.
pub fn managed_options(policy: Policy) -> Options {
    let mut options = options(&[policy]);
    options.management.servers = [ONE, TWO].map(server_options).to_vec();
    options
}

fn server_options(id: &str) -> ServerOptions {
    ServerOptions {
        id: id.to_owned(),
        allow_http: false,
        encoding: Encoding::Wbxml,
        interval: None,
    }
}

impl Managed {
    /// A gateway without an account; the servers are there.
    pub fn new(options: Options) -> Self {
        let lab = Lab::new(options);
        let servers = [ONE, TWO].map(|id| (id.to_owned(), manager(id)));
        Self {
            lab,
            servers: servers.into(),
            instead: BTreeMap::new(),
            called: Vec::new(),
            fresh: 0,
        }
    }

    /// A gateway that has an account with the first server, whose first session is over.
    pub fn active() -> Self {
        Self::active_with(managed_options(Policy::Ignore), &[ONE])
    }

    /// A gateway that has had its first session with these servers.
    pub fn active_with(options: Options, servers: &[&str]) -> Self {
        let mut managed = Self::new(options);
        for server in servers {
            managed.apply(server).unwrap();
            managed.serve();
            assert_eq!(managed.state(server), "active");
        }
        managed.told(ONE);
        managed.told(TWO);
        managed.called.clear();
        managed.lab.events.clear();
        managed
    }

    /// `bootstrap apply` of an account with a server.
    pub fn apply(&mut self, server: &str) -> Result<Vec<String>, String> {
        let document = document(server, server, "").into_bytes();
        self.lab.operate(Operation::Apply { document }).unwrap()
    }

    /// Answers calls until there are none.
    pub fn serve(&mut self) {
        let mut count = 0;
        while self.serve_one() {
            count += 1;
            assert!(count < 1_000, "they talk for ever");
        }
    }

    /// Answers one call. False if there is none.
    pub fn serve_one(&mut self) -> bool {
        let Some((id, call)) = self.lab.calls.pop_front() else { return false };
        self.called.push((self.lab.now.uptime, call.server.clone()));
        let answer = match self.instead.get(&call.server) {
            Some(instead) => instead.clone(),
            None => self.answer(&call),
        };
        self.lab.called(id, answer);
        true
    }

    fn answer(&mut self, call: &Call) -> CallResult {
        let CallKind::Message { url, content_type, mac, body, .. } = &call.kind else {
            return Err("only sessions are answered here".into());
        };
        let Some(server) = self.servers.get_mut(&call.server) else {
            return Err("no such host".into());
        };
        self.fresh += 1;
        let fresh = format!("nonce {}", self.fresh);
        let encoding = Encoding::of_content_type(content_type).unwrap();
        match server.answer(encoding, body, mac.as_deref(), url, fresh.as_bytes()) {
            Answer::Message { encoding, body, mac } => Ok(Reply::Http(HttpReply {
                status: 200,
                content_type: Some(encoding.content_type().to_owned()),
                mac,
                body,
                ..HttpReply::default()
            })),
            Answer::Redirect(_) => Ok(http(302)),
            Answer::Refused => Ok(http(400)),
            Answer::Cut => Err("the connection was closed".into()),
        }
    }

    /// Lets time go by, with servers that answer at once.
    pub fn advance(&mut self, time: Duration) {
        let end = self.lab.now.uptime + time;
        self.serve();
        while self.lab.now.uptime < end {
            let next = self.lab.gateway.poll_timeout().map_or(end, |next| next.min(end));
            self.lab.advance(next.saturating_sub(self.lab.now.uptime));
            self.serve();
        }
    }

    /// A session that an operator wants, by this script: what the server heard in it.
    pub fn session(&mut self, server: &str, script: &str) -> Vec<String> {
        self.begin(server, script);
        self.serve();
        self.told(server)
    }

    /// The same, not answered yet.
    pub fn begin(&mut self, server: &str, script: &str) {
        self.script(server, script);
        let operation = Operation::Session { server: server.to_owned() };
        self.lab.operate(operation).unwrap().unwrap();
    }

    /// What the server does from its next session on.
    pub fn script(&mut self, server: &str, script: &str) {
        let script = Script::parse(script).unwrap();
        self.servers.get_mut(server).unwrap().set_script(script);
    }

    /// The server's Package #0 for the gateway.
    pub fn wake(&mut self, server: &str, session_id: u16) {
        let package = self.servers[server].package0(session_id);
        self.push(&package);
    }

    /// A push of this Package #0 that names no end device.
    pub fn push(&mut self, package: &[u8]) {
        let mut datagram = Vec::new();
        wsp::encode_notification(&mut datagram, 1, None, package);
        self.lab.datagram(&datagram);
        self.lab.advance(Duration::ZERO);
    }

    /// What a server heard since it was last asked: `1201` (or `1200`) for a session that begins,
    /// then commands with their statuses and results, then `end` or why not.
    pub fn told(&mut self, server: &str) -> Vec<String> {
        let events = self.servers.get_mut(server).unwrap().events();
        let line = |event| match event {
            SimEvent::SessionOpened { woken, .. } => {
                Some(if woken { "1200" } else { "1201" }.to_owned())
            }
            SimEvent::CommandAnswered { command, uri, status, .. } => {
                Some(format!("{command} {uri} {status}").replace("  ", " "))
            }
            SimEvent::ResultReceived { uri, value, .. } => Some(format!("{uri} = {value}")),
            SimEvent::SessionEnded { ok: true, .. } => Some("end".to_owned()),
            SimEvent::SessionEnded { why, .. } => Some(why),
            _ => None,
        };
        events.into_iter().filter_map(line).collect()
    }

    /// What `dm-gateway servers` shows of a server.
    pub fn state(&self, server: &str) -> String {
        let servers = self.lab.gateway.servers(self.lab.now);
        servers.into_iter().find(|it| it.id == server).map_or_else(String::new, |it| it.state)
    }

    /// The value of a leaf, as `dm-gateway tree` shows it.
    pub fn leaf(&mut self, uri: &str) -> Option<String> {
        let now = self.lab.now;
        self.lab.gateway.tree(uri, now).ok()?.into_iter().next()?.value
    }

    /// The whole tree, as `dm-gateway tree .` shows it, but for what counts by itself.
    pub fn tree(&mut self) -> Vec<String> {
        let now = self.lab.now;
        let nodes = self.lab.gateway.tree(".", now).unwrap().into_iter();
        let nodes = nodes.filter(|node| !node.uri.starts_with("./GwStatus"));
        nodes.map(|node| format!("{} {:?} {}", node.uri, node.value, node.format)).collect()
    }

    /// What the store has of the management, but for what is known of servers.
    pub fn kept(&self) -> BTreeMap<String, Vec<u8>> {
        let records = self.lab.store.records().iter();
        let records =
            records.map(|(key, value)| (String::from_utf8(key.clone()).unwrap(), value.clone()));
        records.filter(|(key, _)| key.starts_with(['t', 'g', 'u'])).collect()
    }

    /// What watchers were told of this kind since it was last asked.
    pub fn events(&mut self, kind: EventKind) -> usize {
        self.lab.take_events(kind).len()
    }

    /// When the server was called since this was last asked.
    pub fn calls_of(&mut self, server: &str) -> Vec<Duration> {
        let called = std::mem::take(&mut self.called).into_iter();
        called.filter(|(_, it)| it == server).map(|(at, _)| at).collect()
    }
}

/// An HTTP answer without a body.
pub fn http(status: u16) -> Reply {
    Reply::Http(HttpReply { status, ..HttpReply::default() })
}

fn manager(id: &str) -> Manager {
    let account = |name: &str| managing::Account {
        scheme: Scheme::Md5,
        name: name.to_owned(),
        secret: Secret::new(format!("{name}'s secret")),
        nonce: b"first".to_vec(),
    };
    Manager::new(managing::Options {
        id: id.to_owned(),
        client: Some(account(GATEWAY)),
        server: Some(account(id)),
        ..managing::Options::default()
    })
}

/// A factory file: the account with a server, as the node `node`. `acl` is the node's, empty for
/// none.
pub fn document(node: &str, server: &str, acl: &str) -> String {
    let acl = if acl.is_empty() { String::new() } else { format!("<ACL>{acl}</ACL>") };
    let credential = |node: &str, level: &str, name: &str| {
        // `first`, in base64.
        format!(
            "<Node><NodeName>{node}</NodeName>\
             <Node><NodeName>AAuthLevel</NodeName><Value>{level}</Value></Node>\
             <Node><NodeName>AAuthType</NodeName><Value>DIGEST</Value></Node>\
             <Node><NodeName>AAuthName</NodeName><Value>{name}</Value></Node>\
             <Node><NodeName>AAuthSecret</NodeName><Value>{name}'s secret</Value></Node>\
             <Node><NodeName>AAuthData</NodeName><RTProperties><Format><bin/></Format>\
             </RTProperties><Value>Zmlyc3Q=</Value></Node></Node>"
        )
    };
    format!(
        "<MgmtTree xmlns=\"syncml:dmddf1.2\"><VerDTD>1.2</VerDTD><Node>\
         <NodeName>{node}</NodeName><Path>./DMAcc</Path>\
         <RTProperties>{acl}<Format><node/></Format>\
         <Type><DDFName>urn:oma:mo:oma-dm-dmacc:1.0</DDFName></Type></RTProperties>\
         <Node><NodeName>AppID</NodeName><Value>w7</Value></Node>\
         <Node><NodeName>ServerID</NodeName><Value>{server}</Value></Node>\
         <Node><NodeName>Name</NodeName><Value>before</Value></Node>\
         <Node><NodeName>AppAddr</NodeName><Node><NodeName>a</NodeName>\
         <Node><NodeName>Addr</NodeName><Value>https://{server}/dm</Value></Node>\
         <Node><NodeName>AddrType</NodeName><Value>URI</Value></Node></Node></Node>\
         <Node><NodeName>AAuthPref</NodeName><Value>DIGEST</Value></Node>\
         <Node><NodeName>AppAuth</NodeName>{}{}</Node></Node></MgmtTree>",
        credential("client", "CLCRED", GATEWAY),
        credential("server", "SRVCRED", server),
    )
}
