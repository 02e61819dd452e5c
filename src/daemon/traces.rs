//! Traces: the messages of one end device or DM server, decoded and without their secrets, for an
//! operator who looks. While nobody does, all of this is one look at an empty list.

use super::pause;
use super::shell::Shell;
use crate::cli::decode::masked;
use crate::config::nearest;
use crate::control::{self, TraceLine};
use crate::gateway::Gateway;
use crate::gateway::device::DeviceId;
use crate::gateway::seam::{
    Call, CallId, CallKind, ConnectionId, Input, Now, PushRequest, Reply, Response,
};
use crate::io::control_socket::ControlConnection;
use crate::limits;
use crate::proto::notification::Notification;
use crate::proto::syncml::Encoding;
use crate::proto::wsp::{self, Push};
use smol::channel::{self, Sender};
use smol::future;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

/// The traces under way.
#[derive(Default)]
pub(super) struct Traces {
    active: RefCell<Vec<Trace>>,
    /// Answers that belong to traced messages, and the other end as it is shown.
    connections: RefCell<HashMap<ConnectionId, (Rc<str>, String)>>,
    calls: RefCell<HashMap<CallId, (Rc<str>, String)>>,
}

struct Trace {
    peer: Rc<str>,
    lines: Sender<String>,
    lost: Rc<Cell<u64>>,
    left: Cell<u64>,
    /// As a device it is known by these names, at these addresses.
    names: Vec<String>,
    addresses: Vec<IpAddr>,
}

/// Who takes part in a message, as far as it says.
#[derive(Default)]
struct Parties<'a> {
    device: Option<&'a str>,
    server: Option<&'a str>,
    address: Option<IpAddr>,
}

impl Trace {
    fn concerns(&self, parties: &Parties<'_>) -> bool {
        let named = parties.device.and_then(|device| {
            let device = wsp::route(device).map_or(device, |route| route.device);
            DeviceId::parse(device)
        });
        parties.server == Some(&*self.peer)
            || named.is_some_and(|id| self.names.iter().any(|name| name == id.normal()))
            || parties.address.is_some_and(|ip| self.addresses.contains(&ip.to_canonical()))
    }
}

impl Traces {
    pub(super) fn are_none(&self) -> bool {
        self.active.borrow().is_empty()
    }

    /// Looks up by what and where the traced devices are known.
    pub(super) fn refresh(&self, gateway: &RefCell<Gateway>) {
        if self.are_none() {
            return;
        }
        let gateway = gateway.borrow();
        for trace in &mut *self.active.borrow_mut() {
            let known = gateway.known_as(&trace.peer);
            let unknown = || DeviceId::parse(&trace.peer).map(|id| id.normal().to_owned());
            (trace.names, trace.addresses) =
                known.unwrap_or_else(|| (unknown().into_iter().collect(), Vec::new()));
        }
    }

    /// Takes down what comes in.
    pub(super) fn input(&self, input: &Input<'_>, now: Now) {
        if self.are_none() {
            return;
        }
        match input {
            Input::Push { from, datagram } => {
                let Ok(push) = Push::decode(datagram) else { return };
                let package = Notification::decode(push.body).ok();
                let parties = Parties {
                    device: push.gateway_header(),
                    server: package.as_ref().map(|package| package.server_id),
                    address: None,
                };
                self.tell(&parties, "in", "push", &from.to_string(), None, datagram, now);
            }
            Input::PushRequest { connection, from, request } => {
                let PushRequest { fields, body, .. } = request;
                let package = Notification::decode(body).ok();
                let device = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(GWMO));
                let parties = Parties {
                    device: device.and_then(|(_, value)| std::str::from_utf8(value).ok()),
                    server: package.as_ref().map(|package| package.server_id),
                    address: None,
                };
                let from = from.to_string();
                if let Some(peer) = self.tell(&parties, "in", "http-push", &from, None, body, now) {
                    self.expect(&self.connections, *connection, peer, from);
                }
            }
            Input::Request { connection, from, request, .. } => {
                let encoding = request.content_type.and_then(Encoding::of_content_type);
                let message = encoding.and_then(|it| it.decode(request.body).ok());
                let parties = Parties {
                    device: message.as_ref().map(|it| &*it.header.source.uri),
                    server: None,
                    address: Some(from.ip()),
                };
                let (from, body) = (from.to_string(), request.body);
                if let Some(peer) = self.tell(&parties, "in", "device-http", &from, None, body, now)
                {
                    self.expect(&self.connections, *connection, peer, from);
                }
            }
            Input::Called { call, result } => {
                let Some((peer, address)) = self.calls.borrow_mut().remove(call) else { return };
                let parties = Parties { server: Some(&peer), ..Parties::default() };
                match result {
                    Ok(Reply::Http(reply)) => {
                        let (status, body) = (Some(reply.status), &reply.body);
                        self.tell(&parties, "in", "server-http", &address, status, body, now);
                    }
                    Ok(_) => {}
                    Err(why) => {
                        let line = TraceLine {
                            lines: vec![format!("! no answer: {}", why.why)],
                            ..line("in", "server-http", &address, now)
                        };
                        self.send(&parties, &line);
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes down a push to a LAN.
    pub(super) fn pushed(&self, to: SocketAddr, datagram: &[u8], now: Now) {
        if self.are_none() {
            return;
        }
        let push = Push::decode(datagram).ok();
        let package = push.as_ref().and_then(|push| Notification::decode(push.body).ok());
        let parties = Parties {
            device: None,
            server: package.as_ref().map(|package| package.server_id),
            address: Some(to.ip()),
        };
        self.tell(&parties, "out", "push", &to.to_string(), None, datagram, now);
    }

    /// Takes down the answer to a request.
    pub(super) fn responded(&self, connection: ConnectionId, response: &Response, now: Now) {
        if self.are_none() {
            return;
        }
        let Some((peer, address)) = self.connections.borrow_mut().remove(&connection) else {
            return;
        };
        let carrier = if response.content_type.is_some() { "device-http" } else { "http" };
        let line = TraceLine {
            octets: response.body.len(),
            status: Some(response.status),
            lines: said(&response.body),
            ..line("out", carrier, &address, now)
        };
        self.send_to(|trace| trace.peer == peer, &line);
    }

    /// Takes down a message to a server.
    pub(super) fn called(&self, call: CallId, request: &Call, now: Now) {
        if self.are_none() {
            return;
        }
        let (CallKind::Message { url, .. } | CallKind::Fetch { url, .. }) = &request.kind else {
            return;
        };
        let body: &[u8] = match &request.kind {
            CallKind::Message { body, .. } => body,
            _ => &[],
        };
        let parties = Parties { server: Some(&request.server), ..Parties::default() };
        // What stands behind the `?` may be a token.
        let url = url.split('?').next().unwrap_or_default().to_owned();
        if let Some(peer) = self.tell(&parties, "out", "server-http", &url, None, body, now) {
            self.expect(&self.calls, call, peer, url);
        }
    }

    /// Ends all traces.
    pub(super) fn end(&self) {
        self.active.borrow_mut().clear();
    }

    /// Forgets those that have ended.
    fn forget(&self) {
        let mut active = self.active.borrow_mut();
        active.retain(|trace| !trace.lines.is_closed());
        if active.is_empty() {
            self.connections.borrow_mut().clear();
            self.calls.borrow_mut().clear();
        }
    }

    fn expect<K: Eq + std::hash::Hash>(
        &self,
        answers: &RefCell<HashMap<K, (Rc<str>, String)>>,
        key: K,
        peer: Rc<str>,
        address: String,
    ) {
        let mut answers = answers.borrow_mut();
        if answers.len() < limits::TRACE_ANSWERS {
            answers.insert(key, (peer, address));
        }
    }

    /// Tells the traces that a message concerns; the peer of one of them.
    #[allow(clippy::too_many_arguments, reason = "each is a field of the line")]
    fn tell(
        &self,
        parties: &Parties<'_>,
        way: &str,
        carrier: &str,
        address: &str,
        status: Option<u16>,
        octets: &[u8],
        now: Now,
    ) -> Option<Rc<str>> {
        let peer = {
            let active = self.active.borrow();
            Rc::clone(&active.iter().find(|trace| trace.concerns(parties))?.peer)
        };
        let line = TraceLine {
            octets: octets.len(),
            status,
            lines: said(octets),
            ..line(way, carrier, address, now)
        };
        self.send(parties, &line);
        Some(peer)
    }

    fn send(&self, parties: &Parties<'_>, line: &TraceLine) {
        self.send_to(|trace| trace.concerns(parties), line);
    }

    fn send_to(&self, is_one: impl Fn(&Trace) -> bool, line: &TraceLine) {
        for trace in self.active.borrow().iter().filter(|trace| is_one(trace)) {
            let Some(left) = trace.left.get().checked_sub(1) else { continue };
            trace.left.set(left);
            let lost = Some(trace.lost.get()).filter(|lost| *lost > 0);
            let text = control::document(TraceLine { lost, ..line.clone() });
            if trace.lines.try_send(text).is_ok() {
                trace.lost.set(0);
            } else {
                trace.lost.set(trace.lost.get() + 1);
            }
            if left == 0 {
                trace.lines.close();
            }
        }
    }
}

/// The header of a push over HTTP that names its device.
const GWMO: &str = "x-oma-gwmo";

fn line(way: &str, carrier: &str, address: &str, now: Now) -> TraceLine {
    TraceLine {
        trace: way.to_owned(),
        carrier: Some(carrier.to_owned()),
        address: Some(address.to_owned()),
        uptime: now.uptime.as_micros() as f64 / 1e6,
        time: now.unix,
        ..TraceLine::default()
    }
}

fn said(octets: &[u8]) -> Vec<String> {
    if octets.is_empty() { Vec::new() } else { masked(octets) }
}

impl Shell {
    /// The first line of a trace: whether anybody is known by that name.
    pub(super) fn trace_begins(&self, peer: &str) -> String {
        let (gateway, now) = (self.gateway.borrow(), self.clock.now());
        let (devices, servers) = (gateway.devices(now), gateway.servers(now));
        let is_known = gateway.known_as(peer).is_some() || servers.iter().any(|it| it.id == peer);
        let names = devices.iter().flat_map(|it| [&it.id].into_iter().chain(&it.aliases));
        let names: Vec<&str> =
            names.chain(servers.iter().map(|it| &it.id)).map(|it| &**it).collect();
        let part = || names.iter().find(|name| name.contains(peer)).copied();
        let near = nearest(peer, &names).or_else(part).filter(|_| !peer.is_empty());
        let mut lines = Vec::new();
        if !is_known {
            let mut line = format!("no end device and no DM server is known as {peer} yet");
            if let Some(near) = near {
                line.push_str(&format!("; did you mean {near}?"));
            }
            lines.push(line);
        }
        let begun = TraceLine {
            trace: "begin".to_owned(),
            monitor: true,
            lines,
            uptime: now.uptime.as_micros() as f64 / 1e6,
            time: now.unix,
            ..TraceLine::default()
        };
        control::document(begun)
    }

    /// Tells an operator the messages of a peer, until the time or the number is up.
    pub(super) async fn trace(
        &self,
        mut connection: ControlConnection,
        peer: String,
        seconds: u64,
        messages: u64,
    ) {
        let time = Duration::from_secs(seconds).min(limits::TRACE_TIME);
        let most = messages.clamp(1, limits::TRACE_MESSAGES);
        if self.traces.active.borrow().len() >= limits::TRACES {
            let why = format!("{} traces run already", limits::TRACES);
            return end(&mut connection, &why, self.clock.now()).await;
        }
        let (send, lines) = channel::bounded(limits::TRACE_WAITING);
        self.traces.active.borrow_mut().push(Trace {
            peer: peer.into(),
            lines: send,
            lost: Rc::default(),
            left: Cell::new(most),
            names: Vec::new(),
            addresses: Vec::new(),
        });
        let copy = async {
            while let Ok(line) = lines.recv().await {
                if connection.send(&line).await.is_err() {
                    return "nobody reads";
                }
            }
            "the number of messages is up"
        };
        let late = async {
            pause(time).await;
            "the time is up"
        };
        let why = future::or(copy, late).await;
        lines.close();
        self.traces.forget();
        end(&mut connection, why, self.clock.now()).await;
    }
}

async fn end(connection: &mut ControlConnection, why: &str, now: Now) {
    let line = TraceLine {
        trace: "end".to_owned(),
        lines: vec![why.to_owned()],
        uptime: now.uptime.as_micros() as f64 / 1e6,
        time: now.unix,
        ..TraceLine::default()
    };
    // Whoever has gone needs no telling.
    let _ = connection.send(&control::document(line)).await;
}
