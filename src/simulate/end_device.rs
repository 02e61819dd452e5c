//! A simulated end device: a DM client with a push port.

use super::event::{Digest, Report, SimEvent, Sink};
use super::payload::{ASSOCIATED_GATEWAY, LIST, gateway_address, server_list};
use super::session::{Link, Peer, Session};
use crate::limits::DATAGRAM;
use crate::proto::auth::{Scheme, Secret};
use crate::proto::notification::{self, Notification};
use crate::proto::syncml::{Alert, AlertCode, Data, Encoding, Item, Location, Meta};
use crate::proto::wsp::Push;
use smol::lock::{Mutex, Semaphore};
use smol::{Async, LocalExecutor};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;

/// Bounds the TCP connections open at one time; shared by the simulators of a process, which
/// share its file descriptors.
pub type Gate = Arc<Semaphore>;

/// Makes a [`Gate`] for `connections` connections.
pub fn gate(connections: usize) -> Gate {
    Arc::new(Semaphore::new(connections))
}

/// Who an end device is, and how it behaves.
#[derive(Clone, Debug)]
pub struct EndDeviceOptions {
    /// Its id: SyncHdr Source and DevInfo DevId, `IMEI:…` or `mac:…`.
    pub id: String,
    /// UDP address for pushes; its IP address is also the source of the HTTP connections.
    pub listen: SocketAddr,
    /// The gateway's DM server id. `None`: every id that is not one of `servers`.
    pub gateway_id: Option<String>,
    /// The gateway's LAN DM server, an `http` URL.
    pub gateway_url: String,
    /// The DM servers it is bootstrapped to.
    pub servers: Vec<Server>,
    /// How its messages are encoded.
    pub encoding: Encoding,
    /// Which spellings of GwMO it uses.
    pub profile: Profile,
    /// Its account with the gateway, if any.
    pub account: Option<Account>,
    /// Where it differs from the documents.
    pub quirks: Vec<Quirk>,
}

/// A DM server that an end device is bootstrapped to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// DM server id.
    pub id: String,
    /// Where sessions go.
    pub url: String,
    /// The secret that its Package #0 is signed with. `None`: the digest is not checked.
    pub secret: Option<Secret>,
}

/// An end device's account with the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// How the device proves who it is; `None`: not at all.
    pub scheme: Option<Scheme>,
    /// Its user name.
    pub user: String,
    /// Its secret.
    pub secret: Secret,
    /// The gateway's secret. With it, the gateway's Cred and the digest of its Package #0 are
    /// checked.
    pub server_secret: Option<Secret>,
}

/// Which spellings of the GwMO alerts a device uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The registered alert types.
    #[default]
    Registered,
    /// The change request's.
    Draft,
}

/// One way in which a real client differs from the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quirk {
    /// Answers Alert 1230 with Status 406 (AOSP, Koneki).
    Answer406,
    /// Answers Alert 1230 with Status 500 (libdmclient).
    Answer500,
    /// Answers Alert 1230 with Status 501 (hs20).
    Answer501,
    /// Falls silent at Alert 1230, its connection open.
    Silence,
    /// Crashes at Alert 1230: the connection closes, all state is lost (libdmclient).
    Crash,
    /// Brings its list in package 1, unasked.
    ListUnasked,
    /// Sends the list escaped (an inline string in WBXML) instead of as CDATA (OPAQUE).
    ListEscaped,
    /// Answers 200 but never sends a list.
    NoList,
    /// Ends payloads with the stray `--` of the change request.
    StrayDashes,
    /// Puts blanks around the ids on its list.
    BlankIds,
    /// Puts Meta on the Alert instead of the Item (Koneki).
    MetaOnCommand,
    /// Sends no Status for SyncHdr (hs20).
    NoHeaderStatus,
    /// Gives all commands of a message the same CmdID (hs20).
    DuplicateIds,
    /// Sends package 1 again with a Status for SyncHdr in front after 401 or 407 (AOSP).
    CredAgain,
    /// Sends a basic Cred with empty data (Koneki).
    EmptyCred,
    /// Cannot go on without RespURI (Koneki).
    NeedsRespUri,
    /// Drops the session unless the reply is WBXML with header octet 02 (AOSP).
    WbxmlHeaderCheck,
    /// Speaks HTTP/1.0 (AOSP).
    Http10,
    /// Swaps the octets of the session id in Package #0 (libdmclient).
    SwapSessionId,
}

impl Quirk {
    /// All quirks by their names on the command line.
    pub const NAMES: [(&'static str, Self); 19] = [
        ("answer-406", Self::Answer406),
        ("answer-500", Self::Answer500),
        ("answer-501", Self::Answer501),
        ("silence", Self::Silence),
        ("crash", Self::Crash),
        ("list-unasked", Self::ListUnasked),
        ("list-escaped", Self::ListEscaped),
        ("no-list", Self::NoList),
        ("stray-dashes", Self::StrayDashes),
        ("blank-ids", Self::BlankIds),
        ("meta-on-command", Self::MetaOnCommand),
        ("no-header-status", Self::NoHeaderStatus),
        ("duplicate-ids", Self::DuplicateIds),
        ("cred-again", Self::CredAgain),
        ("empty-cred", Self::EmptyCred),
        ("needs-resp-uri", Self::NeedsRespUri),
        ("wbxml-header-check", Self::WbxmlHeaderCheck),
        ("http-1.0", Self::Http10),
        ("swap-session-id", Self::SwapSessionId),
    ];

    /// The quirk of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, quirk)| *quirk)
    }
}

/// The nonces between a device and one peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Nonces {
    /// For the device's next credentials.
    pub(super) client: Vec<u8>,
    /// For the peer's next credentials and Package #0.
    pub(super) server: Vec<u8>,
}

/// What a device knows of its gateway.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// Its DM server id; `None` for every id that is nobody else's.
    pub(super) id: Option<String>,
    /// Its LAN DM server.
    pub(super) url: String,
    /// The device's account with it.
    pub(super) account: Option<Account>,
}

/// A simulated end device. It holds one session at a time.
pub struct EndDevice {
    pub(super) options: EndDeviceOptions,
    /// What it knows of the gateway; nothing as it leaves the factory.
    pub(super) known: RefCell<Option<Known>>,
    /// The pin of its user, which a bootstrap must prove to know; `None` if none need.
    pub(super) pin: Option<Secret>,
    servers: RefCell<Vec<Server>>,
    pub(super) nonces: RefCell<HashMap<String, Nonces>>,
    /// A connection on which the device went silent.
    silent: RefCell<Option<Link>>,
    next_session: Cell<u16>,
    busy: Mutex<()>,
    pub(super) gate: Gate,
    sink: Sink,
}

impl EndDevice {
    /// Makes a device; it does nothing yet.
    pub fn new(options: EndDeviceOptions, gate: Gate, sink: Sink) -> Rc<Self> {
        let known = Known {
            id: options.gateway_id.clone(),
            url: options.gateway_url.clone(),
            account: options.account.clone(),
        };
        Rc::new(Self::knowing(options, Some(known), None, gate, sink))
    }

    pub(super) fn knowing(
        options: EndDeviceOptions,
        known: Option<Known>,
        pin: Option<Secret>,
        gate: Gate,
        sink: Sink,
    ) -> Self {
        Self {
            known: RefCell::new(known),
            pin,
            servers: RefCell::new(options.servers.clone()),
            options,
            nonces: RefCell::default(),
            silent: RefCell::default(),
            next_session: Cell::new(1),
            busy: Mutex::new(()),
            gate,
            sink,
        }
    }

    /// Binds the push port and obeys pushes for ever.
    ///
    /// # Errors
    /// If the socket cannot be bound or fails.
    pub async fn serve(self: Rc<Self>) -> io::Result<()> {
        let socket = Async::<UdpSocket>::bind(self.options.listen)?;
        self.tell(SimEvent::Listening { address: socket.get_ref().local_addr()? });
        let sessions = LocalExecutor::new();
        let receive = async {
            let mut buffer = vec![0; DATAGRAM];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await?;
                let datagram = buffer.get(..length).unwrap_or_default().to_vec();
                let device = Rc::clone(&self);
                sessions.spawn(async move { device.receive(from, &datagram).await }).detach();
            }
        };
        sessions.run(receive).await
    }

    /// Does what a datagram on the push port asks for; returns when its session is over.
    pub async fn receive(&self, from: SocketAddr, datagram: &[u8]) {
        if self.known.borrow().is_none() {
            return self.bootstrapped(from, datagram).await;
        }
        let wake = match self.judge(from, datagram) {
            Ok(wake) => wake,
            Err(reason) => {
                let datagram = datagram.to_vec();
                self.tell(SimEvent::PushRefused { from, reason, datagram });
                return;
            }
        };
        match wake.peer {
            Some(peer) => {
                let _alone = self.busy.lock().await;
                self.session(peer, wake.session, true, Vec::new()).await;
            }
            None => self.session_with_gateway(Some(wake.session)).await,
        }
    }

    /// Opens a session with the gateway without being asked (Alert 1201).
    pub async fn open_session(&self) {
        self.session_with_gateway(None).await;
    }

    /// Changes the list of servers and tells the gateway so, in a session of its own.
    pub async fn change_servers(&self, servers: Vec<Server>) {
        self.servers.replace(servers);
        let _alone = self.busy.lock().await;
        let session = self.own_session();
        let list = self.list_alert();
        let outcome = self.session(self.gateway(), session, false, vec![list]).await;
        self.associate(outcome).await;
    }

    /// The ids of the servers it is bootstrapped to.
    pub fn server_ids(&self) -> Vec<String> {
        self.servers.borrow().iter().map(|server| server.id.clone()).collect()
    }

    pub(super) fn has(&self, quirk: Quirk) -> bool {
        self.options.quirks.contains(&quirk)
    }

    pub(super) fn tell(&self, event: SimEvent) {
        (self.sink)(Report { who: self.options.id.clone(), event });
    }

    /// The BootstrappedDMSList alert, with the quirks of this device.
    pub(super) fn list_alert(&self) -> Alert<'static> {
        let servers = self.servers.borrow();
        let payload = server_list(
            servers.iter().map(|server| server.id.as_str()),
            self.has(Quirk::BlankIds),
            self.has(Quirk::StrayDashes),
        );
        self.generic_alert(LIST, url_host(&self.gateway().url).to_owned(), payload)
    }

    /// Forgets what a reset would wipe.
    pub(super) fn crash(&self) {
        self.nonces.borrow_mut().clear();
    }

    /// Keeps the connection open, and never uses it again.
    pub(super) fn fall_silent(&self, link: Link) {
        self.silent.replace(Some(link));
    }

    async fn session_with_gateway(&self, woken: Option<u16>) {
        let _alone = self.busy.lock().await;
        let session = woken.unwrap_or_else(|| self.own_session());
        let mut alerts = Vec::new();
        if self.has(Quirk::ListUnasked) {
            alerts.push(self.list_alert());
        }
        let outcome = self.session(self.gateway(), session, woken.is_some(), alerts).await;
        self.associate(outcome).await;
    }

    /// Tells every server on the list where the gateway is, if the gateway said it may.
    /// (GwMO change request, 8.6.1.3, step 3.)
    async fn associate(&self, detection: Option<(String, bool)>) {
        let Some((address, true)) = detection else { return };
        let servers = self.servers.borrow().clone();
        for server in servers {
            let payload = gateway_address(&address);
            let alert = self.generic_alert(ASSOCIATED_GATEWAY, server.url.clone(), payload);
            let event = SimEvent::AssociatedGatewaySent {
                server: server.id.clone(),
                address: address.clone(),
            };
            self.tell(event);
            self.session(Peer::server(server), self.own_session(), false, vec![alert]).await;
        }
    }

    async fn session(
        &self,
        peer: Peer,
        session: u16,
        woken: bool,
        alerts: Vec<Alert<'static>>,
    ) -> Option<(String, bool)> {
        self.silent.replace(None);
        let session =
            if woken && self.has(Quirk::SwapSessionId) { session.swap_bytes() } else { session };
        // Boxed: a session is large, and most devices of a fleet have none.
        Box::pin(Session::run(self, peer, session, woken, alerts)).await
    }

    fn generic_alert(
        &self,
        kind: [&'static str; 2],
        target: String,
        payload: String,
    ) -> Alert<'static> {
        let [registered, draft] = kind;
        let (kind, format) = match self.options.profile {
            Profile::Registered => (registered, "chr"),
            Profile::Draft => (draft, "text/plain"),
        };
        let meta = Meta { kind: Some(kind.into()), format: Some(format.into()), ..Meta::default() };
        let (on_alert, on_item) = if self.has(Quirk::MetaOnCommand) {
            (meta, Meta::default())
        } else {
            (Meta::default(), meta)
        };
        let data = if self.has(Quirk::ListEscaped) {
            Data::Text(payload.into())
        } else {
            Data::Markup(payload.into())
        };
        let location = |uri: String| Some(Location { uri: uri.into(), name: None });
        let item = Item {
            target: location(target),
            source: location(self.options.id.clone()),
            meta: on_item,
            data: Some(data),
            more_data: false,
        };
        Alert {
            code: Some(AlertCode::GENERIC),
            meta: on_alert,
            items: vec![item],
            ..Alert::default()
        }
    }

    pub(super) fn gateway(&self) -> Peer {
        let known = self.known.borrow();
        let known = known.as_ref();
        Peer {
            id: self.gateway_id().unwrap_or_else(|| "gateway".to_owned()),
            url: known.map(|known| known.url.clone()).unwrap_or_default(),
            account: known.and_then(|known| known.account.clone()),
            is_gateway: true,
        }
    }

    /// The gateway's DM server id, as far as the device knows it.
    pub(super) fn gateway_id(&self) -> Option<String> {
        self.known.borrow().as_ref().and_then(|known| known.id.clone())
    }

    fn own_session(&self) -> u16 {
        let session = self.next_session.get();
        self.next_session.set(session.checked_add(1).unwrap_or(1));
        session
    }

    /// Reads a push: which session it asks for, or why it is not obeyed. `PushReceived` is told
    /// here.
    fn judge(&self, from: SocketAddr, datagram: &[u8]) -> Result<Wake, String> {
        let push = Push::decode(datagram).map_err(|error| format!("not a WSP push: {error}"))?;
        if !push.is_notification() {
            return Err("its content is not a DM notification".into());
        }
        if !push.is_for_dm() {
            return Err("its application id is not that of DM".into());
        }
        let package0 = push.body;
        let notification =
            Notification::decode(package0).map_err(|error| format!("bad Package #0: {error}"))?;
        let id = notification.server_id;
        let server = self.servers.borrow().iter().find(|server| server.id == id).cloned();
        let known = self.gateway_id().is_none_or(|gateway| gateway == id);
        if server.is_none() && !known {
            return Err(format!("no account with {id}"));
        }
        let secret = match &server {
            Some(server) => server.secret.clone(),
            None => self.gateway().account.and_then(|account| account.server_secret),
        };
        let key = server.as_ref().map_or_else(|| self.gateway().id, |server| server.id.clone());
        let nonces = self.nonces.borrow();
        let nonce = nonces.get(&key).map(|nonces| nonces.server.as_slice()).unwrap_or_default();
        let digest = match secret.as_ref().map(Secret::expose) {
            None => Digest::Unchecked,
            Some(secret) if notification::verify(package0, id, secret, nonce) => Digest::Right,
            // The special nonce with which server and device find together again.
            Some(secret) if notification::verify(package0, id, secret, &[0; 4]) => Digest::Right,
            Some(_) => Digest::Wrong,
        };
        self.tell(SimEvent::PushReceived {
            from,
            server: id.to_owned(),
            session: notification.session_id,
            digest,
            package0: package0.to_vec(),
        });
        if digest == Digest::Wrong {
            return Err(format!("wrong digest from {id}"));
        }
        Ok(Wake { peer: server.map(Peer::server), session: notification.session_id })
    }
}

/// The host of a URL, without port and brackets.
fn url_host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// What a push asks for.
struct Wake {
    /// With whom: a server on the list, or (`None`) the gateway.
    peer: Option<Peer>,
    session: u16,
}
