//! What the simulators tell: events in plain English and as JSON.

use crate::proto::syncml::{Alert, Command, Message};
use serde::{Serialize, Serializer};
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;

/// Takes reports as they happen. It is called between two steps of a simulator and must not
/// block: a channel's `try_send`, a line on stdout, a counter.
pub type Sink = Rc<dyn Fn(Report)>;

/// An event and the simulator that saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Id of the end device or DM server.
    pub who: String,
    /// What happened.
    #[serde(flatten)]
    pub event: SimEvent,
}

/// What happened at a simulated peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum SimEvent {
    /// Ready: the sockets are bound.
    Listening {
        /// Where: UDP for an end device, HTTP for a DM server.
        address: SocketAddr,
    },
    /// An end device received a Package #0 that concerns it.
    PushReceived {
        /// The datagram's source.
        from: SocketAddr,
        /// The DM server it names.
        server: String,
        /// The session it asks for.
        session: u16,
        /// What the device makes of the digest.
        digest: Digest,
        /// The octets of Package #0.
        #[serde(serialize_with = "hex")]
        package0: Vec<u8>,
    },
    /// An end device without an account installed the one in a bootstrap.
    Bootstrapped {
        /// The datagram's source.
        from: SocketAddr,
        /// The DM server that the account is for.
        server: String,
        /// Where that is.
        url: String,
    },
    /// An end device received a datagram that it does nothing about.
    PushRefused {
        /// The datagram's source.
        from: SocketAddr,
        /// Why.
        reason: String,
        /// The datagram.
        #[serde(serialize_with = "hex")]
        datagram: Vec<u8>,
    },
    /// A DM server sends a push.
    PushSent {
        /// The end device named in X-Oma-GwMO; empty if the gateway itself is meant.
        device: String,
        /// Where to.
        to: SocketAddr,
        /// The session asked for.
        session: u16,
        /// The octets of Package #0.
        #[serde(serialize_with = "hex")]
        package0: Vec<u8>,
    },
    /// A DM session began.
    SessionOpened {
        /// The other side's id.
        with: String,
        /// SessionID.
        session: String,
        /// Whether a trigger caused it (Alert 1200); else the device's own idea (1201).
        woken: bool,
    },
    /// A SyncML message left.
    MessageSent {
        /// The other side's id.
        with: String,
        /// SessionID.
        session: String,
        /// MsgID.
        message: u32,
        /// Its commands in a few words.
        summary: String,
    },
    /// A SyncML message came.
    MessageReceived {
        /// The other side's id.
        with: String,
        /// SessionID.
        session: String,
        /// MsgID.
        message: u32,
        /// Its commands in a few words.
        summary: String,
    },
    /// An end device understood a Device Detection Alert.
    Detection {
        /// GwAddress.
        address: String,
        /// Share.
        share: bool,
    },
    /// An end device sent its BootstrappedDMSList.
    ListSent {
        /// The ids on it.
        servers: Vec<String>,
    },
    /// The gateway answered the list.
    ListAnswered {
        /// Status code.
        status: u16,
    },
    /// An end device told a DM server where its gateway is.
    AssociatedGatewaySent {
        /// The DM server.
        server: String,
        /// GwAddress.
        address: String,
    },
    /// A DM server was told where a device's gateway is.
    AssociatedGatewayReceived {
        /// The end device.
        device: String,
        /// GwAddress.
        address: String,
    },
    /// A client answered a command.
    CommandAnswered {
        /// The client.
        device: String,
        /// `Replace` …
        command: String,
        /// The node, if it has one.
        uri: String,
        /// Status code.
        status: u16,
    },
    /// A client sent what a Get asked for.
    ResultReceived {
        /// The client.
        device: String,
        /// The node.
        uri: String,
        /// Its value; octets in hexadecimal.
        value: String,
    },
    /// A bootstrap server was asked for an account.
    BootstrapAsked {
        /// Who asked, `device` of the request.
        device: String,
        /// The DM server of the account, `server` of the request.
        server: String,
        /// HTTP status of the answer.
        status: u16,
    },
    /// A DM session ended.
    SessionEnded {
        /// The other side's id.
        with: String,
        /// SessionID.
        session: String,
        /// Whether it was closed as the protocol wants it.
        ok: bool,
        /// How it ended.
        why: String,
    },
}

/// What an end device makes of the digest in a Package #0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digest {
    /// It has no secret to check it with.
    Unchecked,
    /// It is right.
    Right,
    /// It is wrong: the push is not obeyed.
    Wrong,
}

impl SimEvent {
    /// The event's name, as in JSON and behind `--wait`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Listening { .. } => "listening",
            Self::PushReceived { .. } => "push-received",
            Self::Bootstrapped { .. } => "bootstrapped",
            Self::PushRefused { .. } => "push-refused",
            Self::PushSent { .. } => "push-sent",
            Self::SessionOpened { .. } => "session-opened",
            Self::MessageSent { .. } => "message-sent",
            Self::MessageReceived { .. } => "message-received",
            Self::Detection { .. } => "detection",
            Self::ListSent { .. } => "list-sent",
            Self::ListAnswered { .. } => "list-answered",
            Self::AssociatedGatewaySent { .. } => "associated-gateway-sent",
            Self::AssociatedGatewayReceived { .. } => "associated-gateway-received",
            Self::CommandAnswered { .. } => "command-answered",
            Self::ResultReceived { .. } => "result-received",
            Self::BootstrapAsked { .. } => "bootstrap-asked",
            Self::SessionEnded { .. } => "session-ended",
        }
    }

    /// All names, for the help text of `--wait`.
    pub const NAMES: [&'static str; 17] = [
        "listening",
        "push-received",
        "bootstrapped",
        "push-refused",
        "push-sent",
        "session-opened",
        "message-sent",
        "message-received",
        "detection",
        "list-sent",
        "list-answered",
        "associated-gateway-sent",
        "associated-gateway-received",
        "command-answered",
        "result-received",
        "bootstrap-asked",
        "session-ended",
    ];
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.who, self.event)
    }
}

impl fmt::Display for SimEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listening { address } => write!(f, "listens on {address}"),
            Self::PushReceived { from, server, session, digest, package0 } => {
                let digest = match digest {
                    Digest::Unchecked => "not checked",
                    Digest::Right => "right",
                    Digest::Wrong => "wrong",
                };
                let octets = package0.len();
                write!(
                    f,
                    "<- {from}: Package #0 of {server}, session {session:X}, {octets} octets, digest {digest}"
                )
            }
            Self::Bootstrapped { from, server, url } => {
                write!(f, "<- {from}: a bootstrap: it has an account with {server} at {url}")
            }
            Self::PushRefused { from, reason, .. } => {
                write!(f, "<- {from}: a push that is not obeyed: {reason}")
            }
            Self::PushSent { device, to, session, package0 } => {
                let octets = package0.len();
                let device = if device.is_empty() { "the gateway itself" } else { device };
                write!(f, "-> {to}: Package #0 for {device}, session {session:X}, {octets} octets")
            }
            Self::SessionOpened { with, session, woken } => {
                let why = if *woken { "woken by a push" } else { "on the device's own account" };
                write!(f, "opens session {session} with {with}, {why}")
            }
            Self::MessageSent { with, session, message, summary } => {
                write!(f, "-> {with}: session {session} message {message}: {summary}")
            }
            Self::MessageReceived { with, session, message, summary } => {
                write!(f, "<- {with}: session {session} message {message}: {summary}")
            }
            Self::Detection { address, share } => {
                let may = if *share { "may" } else { "may not" };
                write!(f, "is told of its gateway {address}, which its servers {may} know")
            }
            Self::ListSent { servers } => {
                write!(f, "names the DM servers it is bootstrapped to: ")?;
                if servers.is_empty() {
                    f.write_str("none")
                } else {
                    f.write_str(&servers.join(", "))
                }
            }
            Self::ListAnswered { status } => {
                write!(f, "the gateway answers the list with Status {status}")
            }
            Self::AssociatedGatewaySent { server, address } => {
                write!(f, "tells {server} that its gateway is {address}")
            }
            Self::AssociatedGatewayReceived { device, address } => {
                write!(f, "is told by {device} that its gateway is {address}")
            }
            Self::CommandAnswered { device, command, uri, status } => {
                let space = if uri.is_empty() { "" } else { " " };
                write!(f, "is told by {device}: {command}{space}{uri}: Status {status}")
            }
            Self::ResultReceived { device, uri, value } => {
                write!(f, "is told by {device}: {uri} is {value:?}")
            }
            Self::BootstrapAsked { device, server, status } => {
                write!(f, "<- GET for {device}: an account with {server}: HTTP status {status}")
            }
            Self::SessionEnded { with, session, ok, why } => {
                let how = if *ok { "completed" } else { "failed" };
                write!(f, "session {session} with {with} {how}: {why}")
            }
        }
    }
}

/// The commands of `message` in a few words.
pub(super) fn summary(message: &Message<'_>) -> String {
    let mut out = String::new();
    for command in &message.commands {
        if !out.is_empty() {
            out.push_str(", ");
        }
        // Writing to a String cannot fail.
        let _ = match command {
            Command::Status(status) => {
                write!(out, "Status {} of {}", status.code.0, status.command)
            }
            Command::Alert(alert) => write!(out, "Alert {}", alert_words(alert)),
            Command::Operation(operation) => {
                let uri = operation.items.first().and_then(|item| item.target.as_ref());
                match uri {
                    Some(target) => write!(out, "{} {}", operation.verb.name(), target.uri),
                    None => write!(out, "{}", operation.verb.name()),
                }
            }
            other => write!(out, "{}", other.name()),
        };
    }
    if out.is_empty() {
        out.push_str("nothing");
    }
    out
}

fn alert_words(alert: &Alert<'_>) -> String {
    let code = alert.code.map(|code| code.0).unwrap_or_default();
    let kind = alert.items.first().and_then(|item| item.meta.kind.as_deref());
    match kind.or(alert.meta.kind.as_deref()) {
        Some(kind) => format!("{code} {}", kind.trim()),
        None => code.to_string(),
    }
}

fn hex<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Hex(octets))
}

/// Octets in lower-case hexadecimal.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_json_object_with_octets_in_hex() {
        let event = SimEvent::PushReceived {
            from: "127.0.0.1:9200".parse().unwrap(),
            server: "acme".into(),
            session: 26,
            digest: Digest::Unchecked,
            package0: vec![0x0a, 0xff],
        };
        let report = Report { who: "IMEI:1".into(), event };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            "{\"who\":\"IMEI:1\",\"event\":\"push-received\",\"from\":\"127.0.0.1:9200\",\
             \"server\":\"acme\",\"session\":26,\"digest\":\"unchecked\",\"package0\":\"0aff\"}"
        );
        assert_eq!(
            report.to_string(),
            "IMEI:1: <- 127.0.0.1:9200: Package #0 of acme, session 1A, 2 octets, digest not checked"
        );
    }

    #[test]
    fn the_names_are_those_of_json() {
        let event = SimEvent::ListAnswered { status: 200 };
        let value = serde_json::to_value(&event).unwrap();
        assert_eq!(value["event"], event.name());
        assert!(SimEvent::NAMES.contains(&event.name()));
    }
}
