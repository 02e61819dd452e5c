//! What is said on the control socket: one line of JSON asks, lines of JSON answer.
//!
//! ```text
//! {"request":"devices"}                            {"schema":1,"devices":[…]}
//! {"request":"explain","server":…,"device":…}      {"schema":1,"allowed":true,…}
//! {"request":"monitor"}                            {"schema":1,"monitor":true}
//!                                                  {"schema":1,"event":"forwarded",…}  and so on
//! anything else                                    {"schema":1,"error":"…"}
//! ```
//!
//! `--json` prints these lines as they are. Schema 1 may gain fields; none changes its meaning.

mod answers;
pub mod openmetrics;
mod request;
mod trace;

pub use answers::{BackupHead, Done, Failure, Fault, Nodes, Refused, Rehearsed, Watching};
pub use request::Request;
pub use trace::TraceLine;

use crate::codes::{self, Code, Trouble};
use crate::config::view::{Difference, ValueView};
use crate::gateway::Gateway;
use crate::gateway::event::Event;
use crate::gateway::health::{HealthLine, Severity};
use crate::gateway::management::{Operation, RemoteValue};
use crate::gateway::seam::Now;
use crate::gateway::view::{DeviceView, Health, MappingView, ServerView, Status};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::time::Duration;

/// Version of the JSON.
pub const SCHEMA: u32 = 1;

/// Name of the line that stands for events left out, among the names of
/// [`EventKind`](crate::gateway::event::EventKind).
pub const LOST: &str = "lost";

/// One line of an answer.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Document<T> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The rest of the line.
    #[serde(flatten)]
    pub body: T,
}

/// Answers [`Request::Status`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct StatusAnswer {
    /// What the gateway says.
    #[serde(flatten)]
    pub status: Status,
    /// What its sockets and its store say.
    pub io: IoCounters,
    /// What there is to know of the configuration.
    #[serde(default)]
    pub configuration: ConfigurationState,
}

/// What there is to know of the configuration of a running daemon.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct ConfigurationState {
    /// Why the files are not in force, if the last `reload` failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Trouble>,
    /// Keys that wait for a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
    /// After how many seconds what is on trial is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<u64>,
}

/// Answers [`Request::Reload`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Reloaded {
    /// Keys whose new values count.
    pub applied: Vec<String>,
    /// Keys that wait for a restart; the old values are in force.
    pub restart: Vec<String>,
    /// What DM servers set; unless it is locked it counts, whatever the files say.
    #[serde(default)]
    pub remote: Vec<RemoteValue>,
    /// The DM server whose change is on trial, if one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<String>,
    /// What is permitted and yet rarely meant.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The same, each with its code.
    #[serde(default)]
    pub oddities: Vec<Trouble>,
    /// Whether the daemon starts anew now.
    #[serde(default)]
    pub restarts: bool,
}

/// Answers [`Request::Configuration`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct InForce {
    /// Every key with the value that counts.
    pub values: Vec<ValueView>,
    /// Whether it is on trial and so on.
    pub state: ConfigurationState,
}

/// Answers [`Request::ApplyConfiguration`].
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Applied {
    /// What changes.
    pub differences: Vec<Difference>,
    /// What of it counts; of a dry run, what would.
    #[serde(flatten)]
    pub reloaded: Reloaded,
    /// After how many seconds it is taken back; 0 of a dry run.
    pub seconds: u64,
}

/// Counters of what the gateway cannot see, since the start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct IoCounters {
    /// Pushes thrown away because they were longer than any Package #0.
    pub pushes_oversize: u64,
    /// Pushes that the kernel dropped because they came faster than they were read.
    pub pushes_dropped_by_kernel: u64,
    /// Pushes that the kernel took for a LAN.
    pub pushes_sent: u64,
    /// Pushes that the kernel refused to send: no route, forbidden.
    pub pushes_refused_by_kernel: u64,
    /// Pushes given up because a LAN's send buffer stayed full.
    pub pushes_unsent: u64,
    /// Batches of changes that became durable, each with one flush.
    pub store_flushes: u64,
    /// Octets of pushes that came from the WAN, those of HTTP without their heads.
    #[serde(default)]
    pub push_octets_received: u64,
    /// Octets of pushes to LANs.
    #[serde(default)]
    pub push_octets_sent: u64,
    /// Octets that servers answered with: messages and bootstrap documents, without HTTP and TLS.
    #[serde(default)]
    pub server_octets_received: u64,
    /// Octets of messages to servers, without HTTP and TLS.
    #[serde(default)]
    pub server_octets_sent: u64,
    /// Runs of programs in `[events] directory`.
    #[serde(default)]
    pub hooks_run: u64,
    /// Those of them that failed or took too long.
    #[serde(default)]
    pub hooks_failed: u64,
    /// Events that these programs were not told of, because too many waited.
    #[serde(default)]
    pub hooks_dropped: u64,
}

/// Answers [`Request::Devices`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Devices {
    /// By id.
    pub devices: Vec<DeviceView>,
}

/// Answers [`Request::Servers`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Servers {
    /// By id.
    pub servers: Vec<ServerView>,
}

/// Answers [`Request::Mappings`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub struct Mappings {
    /// By server and device.
    pub mappings: Vec<MappingView>,
}

/// One event.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct EventLine {
    /// What happened: a name of [`EventKind`](crate::gateway::event::EventKind), or [`LOST`].
    pub event: String,
    /// The end device concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The DM server concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The LAN concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lan: Option<String>,
    /// The address concerned, with its port where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Why it was refused: a name of [`Reason`](crate::gateway::event::Reason).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Id of the [`Code`] of what is wrong, where something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why, for people.
    #[serde(default)]
    pub why: String,
    /// Seconds since the gateway's start, to the microsecond.
    #[serde(default)]
    pub uptime: f64,
    /// Seconds since 1970 by the gateway's wall clock.
    #[serde(default)]
    pub time: u64,
    /// How many events were left out; in a line [`LOST`] only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// One step on the way to a DM server.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct StepLine {
    /// `url`, `dns`, `tcp` (for each address), `tls`, `session`.
    pub step: String,
    /// Whether it went well.
    pub ok: bool,
    /// Milliseconds that it took.
    pub ms: f64,
    /// What came of it, for people.
    pub what: String,
    /// What is wrong, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// A step, as it went.
pub fn step(name: &str, time: Duration, result: Result<String, (Code, String)>) -> StepLine {
    let (ok, what, trouble) = match result {
        Ok(what) => (true, what, None),
        Err((code, what)) => {
            let (cause, next) = (Some(code.cause.to_owned()), Some(code.remedy.to_owned()));
            let trouble = Trouble { code: code.id.into(), what: what.clone(), cause, next };
            (false, what, Some(trouble))
        }
    };
    StepLine { step: name.to_owned(), ok, ms: time.as_micros() as f64 / 1e3, what, trouble }
}

/// One step, one line without its end.
pub fn step_line(step: &StepLine) -> String {
    document(step)
}

/// Reads a request.
///
/// # Errors
/// The line to answer with.
pub fn parse(line: &str) -> Result<Request, String> {
    serde_json::from_str(line)
        .map_err(|error| document(Fault { error: format!("not a request: {error}") }))
}

/// What an operator wants done with a request, if it is not only a question.
///
/// # Errors
/// The line to answer with.
pub fn operation(request: &Request) -> Result<Option<Operation>, String> {
    Ok(Some(match request {
        Request::Session { server, .. } => Operation::Session { server: server.clone() },
        Request::Approve { server } => Operation::Approve { server: server.clone() },
        Request::Provision { device } => Operation::Provision { device: device.clone() },
        Request::Deny { server } => Operation::Deny { server: server.clone() },
        Request::Forget { device } => Operation::Forget { device: device.clone() },
        Request::Block { device } => Operation::Block { device: device.clone() },
        Request::Unblock { device } => Operation::Unblock { device: device.clone() },
        Request::Trust { device, mac } => {
            Operation::Trust { device: device.clone(), hardware: mac.clone() }
        }
        Request::Map { server, device } => {
            Operation::Map { server: server.clone(), device: device.clone() }
        }
        Request::Unmap { server, device } => {
            Operation::Unmap { server: server.clone(), device: device.clone() }
        }
        Request::DryRun { of } => match operation(of)? {
            Some(operation) => Operation::Rehearse(operation.into()),
            None => {
                let error = "there is nothing to try in a question".to_owned();
                return Err(document(Fault { error }));
            }
        },
        Request::Apply { document } => {
            let document = BASE64
                .decode(document)
                .map_err(|error| self::document(Fault { error: format!("not base64: {error}") }))?;
            Operation::Apply { document }
        }
        _ => return Ok(None),
    }))
}

/// The answer to an operation, one line without its end.
pub fn operated(request: &Request, result: Result<Vec<String>, String>) -> String {
    match result {
        Ok(would) if matches!(request, Request::DryRun { .. }) => document(Rehearsed { would }),
        result => told(result.map(|done| Done { done })),
    }
}

/// The answer to what is not done, one line without its end.
pub fn refused(why: &str) -> String {
    document(Refused { refused: why.to_owned(), code: None })
}

/// The answer to a question, one line without its end.
pub fn answer(
    gateway: &mut Gateway,
    request: &Request,
    io: &IoCounters,
    configuration: &ConfigurationState,
    now: Now,
) -> String {
    match request {
        Request::Status => {
            let (mut status, configuration) = (gateway.status(now), configuration.clone());
            if let Some(error) = &configuration.error {
                // The next start would fail.
                status.problems.push(error.to_string());
                let line =
                    HealthLine { severity: Severity::Fail, trouble: error.clone(), server: None };
                status.troubles.insert(0, line);
                status.health = match status.health {
                    Health::Healthy => Health::Degraded,
                    other => other,
                };
            }
            if !configuration.restart.is_empty() {
                let sentence = format!(
                    "{} will count after a restart; try: dm-gateway reload --restart",
                    configuration.restart.join(", ")
                );
                let trouble = Trouble::new(codes::RESTART_NEEDED, &sentence);
                let severity = Severity::Warn;
                status.troubles.push(HealthLine { severity, trouble, server: None });
            }
            document(StatusAnswer { status, io: *io, configuration })
        }
        Request::Devices => document(Devices { devices: gateway.devices(now) }),
        Request::Servers => document(Servers { servers: gateway.servers(now) }),
        Request::Device { device } => told(gateway.device_details(device, now)),
        Request::Server { server } => told(gateway.server_details(server, now)),
        Request::Mappings => document(Mappings { mappings: gateway.mappings(now) }),
        Request::Explain { server, device } => document(gateway.explain(server, device)),
        Request::Tree { uri } => told(gateway.tree(uri, now).map(|nodes| Nodes { nodes })),
        // The others are done, not answered.
        _ => document(Watching { monitor: true }),
    }
}

fn told(result: Result<impl Serialize, String>) -> String {
    match result {
        Ok(body) => document(body),
        Err(refused) => document(Refused { refused, code: None }),
    }
}

/// One event, one line without its end.
pub fn event_line(event: &Event, now: Now) -> String {
    document(line_of(event, now))
}

/// One event as it is told.
pub fn line_of(event: &Event, now: Now) -> EventLine {
    EventLine {
        event: event.kind.name().to_owned(),
        device: event.device.as_deref().map(str::to_owned),
        server: event.server.as_ref().map(ToString::to_string),
        lan: event.lan.as_deref().map(str::to_owned),
        address: event.address.map(address),
        reason: event.reason.map(|reason| reason.name().to_owned()),
        code: event.code().map(|code| code.id.to_owned()),
        why: event.why.clone(),
        uptime: now.uptime.as_micros() as f64 / 1e6,
        time: now.unix,
        count: None,
    }
}

/// Stands for events that a watcher did not take in time, one line without its end.
pub fn lost_line(count: u64) -> String {
    let why = "events were left out: whoever watches reads too slowly".to_owned();
    document(EventLine { event: LOST.to_owned(), why, count: Some(count), ..EventLine::default() })
}

fn address(address: SocketAddr) -> String {
    match address.port() {
        0 => address.ip().to_string(),
        _ => address.to_string(),
    }
}

/// The answer to what is not done, one line without its end.
pub fn refusal(trouble: &Trouble) -> String {
    let code = Some(trouble.code.to_string());
    document(Refused { refused: trouble.to_string(), code })
}

/// A document of this schema, one line without its end.
pub fn document(body: impl Serialize) -> String {
    let document = Document { schema: SCHEMA, body };
    serde_json::to_string(&document).expect("maps with text as keys can be written")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::event::EventKind;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn value(line: &str) -> Value {
        assert!(!line.contains('\n'));
        serde_json::from_str(line).unwrap()
    }

    #[test]
    fn requests_are_what_the_clients_write() {
        let explain = Request::Explain { server: "s\"\n".into(), device: "IMEI:1".into() };
        let line = serde_json::to_string(&explain).unwrap();
        assert_eq!(line, r#"{"request":"explain","server":"s\"\n","device":"IMEI:1"}"#);
        assert_eq!(parse(&line), Ok(explain));
        assert_eq!(parse(r#"{"request":"mappings"}"#), Ok(Request::Mappings));
        assert_eq!(parse(r#"{"request":"monitor","later":1}"#), Ok(Request::Monitor));
    }

    #[test]
    fn what_is_no_request_is_answered_with_an_error_line() {
        for line in ["", "status", "[]", r#"{"request":"reboot"}"#, r#"{"request":"explain"}"#] {
            let fault = value(&parse(line).unwrap_err());
            assert_eq!(fault["schema"], 1);
            assert!(fault["error"].as_str().unwrap().starts_with("not a request: "), "{fault}");
        }
        let deep = "[".repeat(60_000);
        assert!(parse(&deep).is_err());
    }

    #[test]
    fn an_event_is_one_flat_line() {
        let event = Event {
            kind: EventKind::Forwarded,
            device: Some("IMEI:\u{1b}[2J\n".into()),
            server: None,
            lan: Some("depot".into()),
            address: Some("192.0.2.7:2948".parse().unwrap()),
            reason: None,
            code: None,
            why: "because".into(),
        };
        let now = Now { uptime: Duration::from_micros(1_234_567), unix: 99 };
        let line = value(&event_line(&event, now));
        let expected = json!({
            "schema": 1, "event": "forwarded", "device": "IMEI:\u{1b}[2J\n", "lan": "depot",
            "address": "192.0.2.7:2948", "why": "because", "uptime": 1.234567, "time": 99,
        });
        assert_eq!(line, expected);
        let peer = Event { address: Some("[fe80::1%3]:0".parse().unwrap()), ..event };
        assert_eq!(value(&event_line(&peer, now))["address"], "fe80::1");
    }

    #[test]
    fn lost_events_are_told_in_a_line_of_the_same_form() {
        let line: Document<EventLine> = serde_json::from_str(&lost_line(7)).unwrap();
        assert_eq!((line.body.event.as_str(), line.body.count), (LOST, Some(7)));
    }
}
