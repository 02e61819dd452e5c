//! A simulated DM server: an HTTP endpoint for end devices, and a sender of pushes.

use super::command::number;
use super::event::{Report, SimEvent, Sink, summary};
use super::managing::{self, Manager, http};
use super::payload::associated_gateway;
use crate::gateway::seam::Response;
use crate::io::http_server::{Handler, LanListener, LanRequest};
use crate::proto::auth::Secret;
use crate::proto::notification::{Notification, UiMode};
use crate::proto::syncml::{
    AlertCode, Command, Encoding, Header, Item, Location, Message, Meta, Operation, Status,
    StatusCode, Verb,
};
use crate::proto::wsp;
use smol::lock::OnceCell;
use smol::{Async, LocalExecutor};
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Mutex;

/// Most connections at one time: a storm of end devices is the gateway's test, not this one's.
const CONNECTIONS: usize = 4096;

/// Who a DM server is.
#[derive(Clone, Debug)]
pub struct DmServerOptions {
    /// DM server id.
    pub id: String,
    /// HTTP address for sessions; its IP address is also the source of pushes.
    pub listen: SocketAddr,
    /// UDP port that gateways take pushes on.
    pub push_port: u16,
    /// Signs Package #0, the same for all devices. `None`: 16 zero octets.
    pub secret: Option<Secret>,
    /// Nonce of the digest.
    pub nonce: Vec<u8>,
    /// Whether every AssociatedGateway is followed by a push to the address it names.
    pub push_on_association: bool,
}

/// A simulated DM server.
pub struct DmServer {
    options: DmServerOptions,
    /// Where the server listens, once it does.
    address: OnceCell<SocketAddr>,
    next_session: Cell<u16>,
    /// Told by AssociatedGateway: device to GwAddress.
    gateways: RefCell<HashMap<String, String>>,
    /// Sessions in progress by device and SessionID: whether a Get is still to be sent.
    sessions: RefCell<HashMap<(String, String), Phase>>,
    /// How it manages; else it asks for one leaf.
    manager: Option<Mutex<Manager>>,
    /// The last push, for retransmission.
    last: RefCell<Option<(SocketAddr, Vec<u8>)>>,
    sink: Sink,
}

/// How far a session is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The Get is out.
    Asked,
    /// Nothing is left to ask.
    Done,
}

impl DmServer {
    /// Makes a server; it does nothing yet.
    pub fn new(options: DmServerOptions, sink: Sink) -> Rc<Self> {
        Rc::new(Self::with(options, None, sink))
    }

    /// Makes a server that manages its clients. If `management` has an account for it, this signs
    /// Package #0.
    pub fn managing(
        options: DmServerOptions,
        management: managing::Options,
        sink: Sink,
    ) -> Rc<Self> {
        let manager = Manager::new(management);
        Rc::new(Self::with(options, Some(Mutex::new(manager)), sink))
    }

    fn with(options: DmServerOptions, manager: Option<Mutex<Manager>>, sink: Sink) -> Self {
        Self {
            options,
            manager,
            address: OnceCell::new(),
            next_session: Cell::new(1),
            gateways: RefCell::default(),
            sessions: RefCell::default(),
            last: RefCell::default(),
            sink,
        }
    }

    /// Binds the HTTP address and serves sessions for ever.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn serve(self: Rc<Self>) -> io::Result<()> {
        if let Some(manager) = &self.manager {
            let listener = Async::<TcpListener>::bind(self.options.listen)?;
            let address = listener.get_ref().local_addr()?;
            let _ = self.address.set(address).await;
            self.tell(SimEvent::Listening { address });
            return http::serve(&listener, manager, &|event| self.tell(event)).await;
        }
        let listener = LanListener::bind(self.options.listen, None)?.with_connections(CONNECTIONS);
        let address = listener.local_address()?;
        let _ = self.address.set(address).await;
        self.tell(SimEvent::Listening { address });
        let connections = LocalExecutor::new();
        connections.run(listener.serve(&connections, self)).await;
        Ok(())
    }

    /// Waits until the server listens, and tells where: `http://…/dm`, or `https` for one that
    /// manages with a certificate.
    pub async fn url(&self) -> String {
        let manager = self.manager.as_ref().map(managing::lock);
        let secure = manager.is_some_and(|manager| manager.tls().is_some());
        let scheme = if secure { "https" } else { "http" };
        format!("{scheme}://{}/dm", self.address.wait().await)
    }

    /// The gateway of `device`, if the device told it.
    pub fn gateway_of(&self, device: &str) -> Option<String> {
        self.gateways.borrow().get(device).cloned()
    }

    /// Pushes to the gateway that `device` named. Returns the session asked for.
    ///
    /// # Errors
    /// `NotFound` if the device named none or a name that does not resolve; else as
    /// [`push`](Self::push).
    pub async fn push_to_device(&self, device: &str) -> io::Result<u16> {
        let gateway = self.gateway_of(device).ok_or(io::ErrorKind::NotFound)?;
        let port = self.options.push_port;
        let to = match gateway.parse() {
            Ok(address) => address,
            // An address without port, or a name.
            Err(_) => {
                let addresses = smol::net::resolve((gateway.as_str(), port)).await?;
                addresses.into_iter().next().ok_or(io::ErrorKind::NotFound)?
            }
        };
        self.push(to, device).await
    }

    /// Pushes a Package #0 for `device` to `to`, with the next session id, which is returned.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn push(&self, to: SocketAddr, device: &str) -> io::Result<u16> {
        let session = self.next_session();
        self.push_session(to, device, session).await?;
        Ok(session)
    }

    fn next_session(&self) -> u16 {
        let session = self.next_session.get();
        self.next_session.set(session.checked_add(1).unwrap_or(1));
        session
    }

    /// Pushes a Package #0 for `device` that asks for `session`.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn push_session(&self, to: SocketAddr, device: &str, session: u16) -> io::Result<()> {
        self.push_package0(to, Some(device), session).await
    }

    /// Pushes a Package #0 that asks for `session`: of `device`, or without one of the gateway.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn push_package0(
        &self,
        to: SocketAddr,
        device: Option<&str>,
        session: u16,
    ) -> io::Result<()> {
        let package0 = self.package0(session);
        let mut datagram = Vec::new();
        let transaction = session.to_be_bytes()[1];
        wsp::encode_notification(&mut datagram, transaction, device, &package0);
        // Told before what follows from it.
        let device = device.unwrap_or_default().to_owned();
        self.tell(SimEvent::PushSent { device, to, session, package0 });
        self.push_raw(to, &datagram).await?;
        self.last.replace(Some((to, datagram)));
        Ok(())
    }

    /// Pushes a Package #0 for the gateway itself to `to`, with the next session id, which is
    /// returned.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn push_to_gateway(&self, to: SocketAddr) -> io::Result<u16> {
        let session = self.next_session();
        self.push_package0(to, None, session).await?;
        Ok(session)
    }

    /// Sends the last push once more, octet by octet, as a server does that saw no session.
    ///
    /// # Errors
    /// `NotFound` without a last push; what the socket says.
    pub async fn push_again(&self) -> io::Result<()> {
        let last = self.last.borrow().clone();
        let (to, datagram) = last.ok_or(io::ErrorKind::NotFound)?;
        self.push_raw(to, &datagram).await
    }

    /// What one that manages does from the next session on.
    pub fn set_script(&self, script: managing::Script) {
        if let Some(manager) = &self.manager {
            managing::lock(manager).set_script(script);
        }
    }

    /// Sends any octets.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn push_raw(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        let own = self.options.listen.ip();
        let own = match to.ip() {
            _ if own.is_ipv4() == to.is_ipv4() => own,
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = Async::<UdpSocket>::bind(SocketAddr::new(own, 0))?;
        socket.send_to(datagram, to).await.map(|_| ())
    }

    /// Package #0 of this server for a session: background, asked for by the server.
    pub fn package0(&self, session: u16) -> Vec<u8> {
        if let Some(manager) = &self.manager {
            if managing::lock(manager).has_account() {
                return managing::lock(manager).package0(session);
            }
        }
        let notification = Notification {
            digest: [0; 16],
            version: 11,
            ui_mode: UiMode::Background,
            server_initiated: true,
            session_id: session,
            server_id: &self.options.id,
            vendor: &[],
        };
        match &self.options.secret {
            Some(secret) => notification.encode_signed(secret.expose(), &self.options.nonce),
            None => notification.encode(),
        }
    }

    fn tell(&self, event: SimEvent) {
        (self.sink)(Report { who: self.options.id.clone(), event });
    }

    /// Takes one message and writes its answer. AssociatedGateway alerts are kept, and named to
    /// the caller.
    fn converse(
        &self,
        message: &Message<'_>,
        local: SocketAddr,
    ) -> (Message<'static>, Vec<String>) {
        let header = &message.header;
        let device = header.source.uri.to_string();
        let session = header.session_id.to_string();
        let key = (device.clone(), session.clone());
        let received = SimEvent::MessageReceived {
            with: device.clone(),
            session: session.clone(),
            message: header.message_id,
            summary: summary(message),
        };
        let woken = has_alert(message, AlertCode::SERVER_INITIATED);
        let opens = woken || has_alert(message, AlertCode::CLIENT_INITIATED);
        if opens {
            let (with, session) = (device.clone(), session.clone());
            self.tell(SimEvent::SessionOpened { with, session, woken });
        }
        self.tell(received);

        let mut commands = vec![Command::Status(status(header, "0", "SyncHdr"))];
        let mut associated = Vec::new();
        for command in &message.commands {
            if matches!(command, Command::Status(_) | Command::Results(_)) {
                continue;
            }
            commands.push(Command::Status(status(header, command.command_id(), command.name())));
            if let Command::Alert(alert) = command {
                if let Some(address) = associated_gateway(alert) {
                    let event = SimEvent::AssociatedGatewayReceived {
                        device: device.clone(),
                        address: address.clone(),
                    };
                    self.tell(event);
                    self.gateways.borrow_mut().insert(device.clone(), address);
                    associated.push(device.clone());
                }
            }
        }
        if woken {
            commands.push(get("./DevInfo/DevId"));
            self.sessions.borrow_mut().insert(key.clone(), Phase::Asked);
        }
        let phase = self.sessions.borrow().get(&key).copied().unwrap_or(Phase::Done);
        number(&mut commands, false);
        let answer = Message {
            header: Header {
                version_dtd: "1.2".into(),
                version_protocol: "DM/1.2".into(),
                session_id: session.clone().into(),
                message_id: header.message_id,
                target: Location { uri: device.clone().into(), name: None },
                source: Location { uri: self.options.id.clone().into(), name: None },
                response_uri: Some(response_uri(local).into()),
                credentials: None,
                meta: Meta::default(),
            },
            commands,
            is_final: true,
        };
        self.tell(SimEvent::MessageSent {
            with: device.clone(),
            session: session.clone(),
            message: header.message_id,
            summary: summary(&answer),
        });
        if phase == Phase::Done || !opens {
            self.sessions.borrow_mut().remove(&key);
            let why = match phase {
                Phase::Asked => format!("completed with {device}, woken by a push"),
                Phase::Done => "the device had something to tell".to_owned(),
            };
            self.tell(SimEvent::SessionEnded { with: device, session, ok: true, why });
        }
        (answer, associated)
    }
}

impl Handler for DmServer {
    async fn request(&self, request: LanRequest) -> Response {
        let encoding = request.content_type.as_deref().and_then(Encoding::of_content_type);
        let Some(encoding) = encoding else { return refusal(415) };
        if request.method != "POST" {
            return refusal(405);
        }
        let Ok(message) = encoding.decode(&request.body) else { return refusal(400) };
        let (answer, associated) = self.converse(&message, request.local);
        if self.options.push_on_association {
            for device in associated {
                // Lost like any datagram: the report of a push that was sent is missing.
                let _ = self.push_to_device(&device).await;
            }
        }
        Response {
            status: 200,
            content_type: Some(encoding.content_type()),
            retry_after: None,
            body: encoding.encode(&answer),
        }
    }
}

fn refusal(status: u16) -> Response {
    Response { status, content_type: None, retry_after: None, body: Vec::new() }
}

fn response_uri(local: SocketAddr) -> String {
    // A scope means nothing to the peer.
    format!("http://{}/dm", SocketAddr::new(local.ip(), local.port()))
}

fn has_alert(message: &Message<'_>, code: AlertCode) -> bool {
    let is = |command: &Command<'_>| matches!(command, Command::Alert(alert) if alert.code == Some(code));
    message.commands.iter().any(is)
}

fn status(header: &Header<'_>, command_ref: &str, command: &'static str) -> Status<'static> {
    let accepted = command_ref == "0" && header.credentials.is_some();
    Status {
        message_ref: header.message_id.to_string().into(),
        command_ref: command_ref.to_owned().into(),
        command: command.into(),
        code: if accepted { StatusCode::AUTHENTICATED } else { StatusCode::OK },
        ..Status::default()
    }
}

fn get(uri: &'static str) -> Command<'static> {
    let target = Some(Location { uri: uri.into(), name: None });
    Command::Operation(Operation {
        verb: Verb::Get,
        command_id: Cow::default(),
        meta: Meta::default(),
        correlator: None,
        items: vec![Item { target, ..Item::default() }],
    })
}
