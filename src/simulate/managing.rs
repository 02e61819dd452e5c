//! A simulated DM server that manages: it wants to know who its client is, proves who it is
//! itself, runs a script of commands, and misbehaves if it is told to.
//!
//! Written by the documents a second time, not with the session of the gateway, so that a
//! misreading on either side shows. Messages go in and come out as octets; [`http`] carries them.

pub(super) mod http;
mod script;

pub use script::Script;

use super::event::{SimEvent, summary};
use crate::proto::auth::{self, Scheme, Secret, Verdict};
use crate::proto::syncml::{
    Alert, AlertCode, Command, Data, Encoding, Header, Item, Location, Message, Meta, Operation,
    Results, Status, StatusCode, Verb,
};
use std::collections::HashMap;

/// How a simulated DM server manages.
#[derive(Clone, Debug, Default)]
pub struct Management {
    /// How the client has to prove who it is, and how the server does.
    pub scheme: Option<Scheme>,
    /// The client's name and secret.
    pub client: Option<(String, Secret)>,
    /// The server's name and secret towards the client.
    pub server: Option<(String, Secret)>,
    /// The nonce for the client's next credentials.
    pub client_nonce: Vec<u8>,
    /// The nonce for the server's next credentials.
    pub server_nonce: Vec<u8>,
    /// What to do in a session.
    pub script: Script,
    /// The MaxMsgSize to announce, in octets.
    pub max_message_size: Option<u64>,
    /// What to do wrong.
    pub misbehaviour: Option<Misbehaviour>,
}

/// What a simulated DM server does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Proves itself with another secret.
    WrongCredentials,
    /// Does not prove itself.
    NoCredentials,
    /// Proves itself with an old nonce until it is given a new one.
    StaleNonce,
    /// Wants the client's secret as it is.
    BasicOnly,
    /// Does not know the version of the protocol.
    Version513,
    /// Sends a large object that is shorter than it said.
    BrokenObject,
    /// Redirects to another web server.
    Redirect,
    /// Wants answers sent to a private address.
    PrivateUri,
    /// Takes its time.
    Slow,
    /// Closes the connection instead of an answer.
    Cut,
}

impl Misbehaviour {
    /// All of them, with their names.
    pub const NAMES: [(&'static str, Self); 10] = [
        ("wrong-credentials", Self::WrongCredentials),
        ("no-credentials", Self::NoCredentials),
        ("stale-nonce", Self::StaleNonce),
        ("basic-only", Self::BasicOnly),
        ("version-513", Self::Version513),
        ("broken-object", Self::BrokenObject),
        ("redirect", Self::Redirect),
        ("private-uri", Self::PrivateUri),
        ("slow", Self::Slow),
        ("cut", Self::Cut),
    ];

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, it)| *it)
    }
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A message, and the value of its header [`auth::MAC_HEADER`].
    Message {
        /// How it is written.
        encoding: Encoding,
        /// The octets.
        body: Vec<u8>,
        /// The header's value.
        mac: Option<String>,
    },
    /// HTTP 302, to there.
    Redirect(&'static str),
    /// HTTP 400.
    Refused,
    /// Nothing: the connection is closed.
    Cut,
}

/// A DM server that manages.
#[derive(Debug)]
pub struct Manager {
    id: String,
    management: Management,
    sessions: HashMap<(String, String), Session>,
    told: Vec<SimEvent>,
}

#[derive(Debug, Default)]
struct Session {
    message: u32,
    authenticated: bool,
    /// Whether the client believes that we are who we say.
    believed: bool,
    challenged: bool,
    tries: u8,
    /// The next message of the script.
    page: usize,
    /// The commands that went out last, for a second try, and whether that ended the package.
    sent: Vec<Command<'static>>,
    /// What has come of a large object.
    pieces: String,
}

impl Manager {
    /// A server of that id.
    pub fn new(id: &str, management: Management) -> Self {
        let (sessions, told) = (HashMap::new(), Vec::new());
        Self { id: id.to_owned(), management, sessions, told }
    }

    /// What happened since it was last asked.
    pub fn events(&mut self) -> Vec<SimEvent> {
        std::mem::take(&mut self.told)
    }

    /// Answers one message. `mac` is the value of its header [`auth::MAC_HEADER`], `uri` where
    /// it was posted to, `fresh` a nonce never used before.
    pub fn answer(
        &mut self,
        encoding: Encoding,
        body: &[u8],
        mac: Option<&str>,
        uri: &str,
        fresh: &[u8],
    ) -> Answer {
        match self.management.misbehaviour {
            Some(Misbehaviour::Redirect) => return Answer::Redirect("http://192.0.2.1/dm"),
            Some(Misbehaviour::Cut) => return Answer::Cut,
            _ => {}
        }
        let Ok(message) = encoding.decode(body) else { return Answer::Refused };
        let header = &message.header;
        let (with, id) = (header.source.uri.to_string(), header.session_id.to_string());
        let key = (with.clone(), id.clone());
        let opened = !self.sessions.contains_key(&key);
        let mut session = self.sessions.remove(&key).unwrap_or_default();
        if opened {
            let woken = has_alert(&message, AlertCode::SERVER_INITIATED);
            let (with, session) = (with.clone(), id.clone());
            self.told.push(SimEvent::SessionOpened { with, session, woken });
        }
        self.told.push(SimEvent::MessageReceived {
            with: with.clone(),
            session: id.clone(),
            message: header.message_id,
            summary: summary(&message),
        });
        let (answer, end) = self.turn(&mut session, &message, body, mac, uri, fresh);
        self.told.push(SimEvent::MessageSent {
            with: with.clone(),
            session: id.clone(),
            message: answer.header.message_id,
            summary: summary(&answer),
        });
        let body = encoding.encode(&answer);
        let mac = self.mac(&body);
        match end {
            None => drop(self.sessions.insert(key, session)),
            Some((ok, why)) => {
                let why = why.to_owned();
                self.told.push(SimEvent::SessionEnded { with, session: id, ok, why });
            }
        }
        Answer::Message { encoding, body, mac }
    }

    /// The answer, and how the session ends if it does.
    fn turn(
        &mut self,
        session: &mut Session,
        message: &Message<'_>,
        body: &[u8],
        mac: Option<&str>,
        uri: &str,
        fresh: &[u8],
    ) -> (Message<'static>, Option<(bool, &'static str)>) {
        let verdict = self.judge(session, message, body, mac);
        let header_status = self.header_status(session, &message.header, verdict, fresh);
        let mut commands = vec![Command::Status(header_status)];
        let again = self.read_statuses(session, message);
        // A client that asks for the next message has nothing more to say itself.
        let mut more_wanted = !message.is_final && !has_alert(message, AlertCode::NEXT_MESSAGE);
        for command in &message.commands {
            match command {
                Command::Status(_) => {}
                Command::Results(results) => {
                    if let Some(kept) = self.results(session, message, results) {
                        commands.push(Command::Status(kept));
                        more_wanted = true;
                    }
                }
                Command::Alert(alert) if alert.code == Some(AlertCode::SESSION_ABORT) => {
                    return (
                        self.message(session, message, commands, uri, true),
                        Some((false, "the client broke it off")),
                    );
                }
                command => {
                    let code = if verdict == Verdict::Accepted {
                        StatusCode::OK
                    } else {
                        code_of(verdict)
                    };
                    commands.push(Command::Status(status(&message.header, command, code)));
                }
            }
        }
        let refused = self.management.misbehaviour == Some(Misbehaviour::Version513);
        if refused || session.tries > 2 {
            let why = if refused { "the version is refused" } else { "the client is refused" };
            return (self.message(session, message, commands, uri, true), Some((false, why)));
        }
        if verdict != Verdict::Accepted {
            return (self.message(session, message, commands, uri, true), None);
        }
        if more_wanted {
            let code = Some(AlertCode::NEXT_MESSAGE);
            commands.push(Command::Alert(Alert { code, ..Alert::default() }));
            return (self.message(session, message, commands, uri, false), None);
        }
        let page = if again && !session.sent.is_empty() {
            Some((session.sent.clone(), true))
        } else {
            let page = self.page(session.page);
            session.page += usize::from(page.is_some());
            page
        };
        let Some((page, is_final)) = page else {
            return (
                self.message(session, message, commands, uri, true),
                Some((true, "nothing left to do")),
            );
        };
        let answers = commands.len();
        commands.extend(page);
        number(&mut commands, &mut 0);
        session.sent = commands.get(answers..).unwrap_or_default().to_vec();
        (self.message(session, message, commands, uri, is_final), None)
    }

    /// The commands of that message of the script.
    fn page(&self, index: usize) -> Option<(Vec<Command<'static>>, bool)> {
        if self.management.misbehaviour == Some(Misbehaviour::BrokenObject) {
            let chunk = |data: &'static str, size, more_data| {
                let target = Some(Location { uri: "./Large".into(), name: None });
                let meta = Meta { size, format: Some("chr".into()), ..Meta::default() };
                let data = Some(Data::Text(data.into()));
                let items = vec![Item { target, meta, data, more_data, source: None }];
                let (meta, correlator) = (Meta::default(), None);
                let operation = Operation {
                    verb: Verb::Replace,
                    command_id: "".into(),
                    meta,
                    correlator,
                    items,
                };
                vec![Command::Operation(operation)]
            };
            return match index {
                0 => Some((chunk("the first of", Some(40), true), false)),
                1 => Some((chunk(" too little", None, false), true)),
                _ => None,
            };
        }
        self.management.script.0.get(index).map(|page| (page.commands.clone(), page.is_final))
    }

    fn judge(
        &mut self,
        session: &mut Session,
        message: &Message<'_>,
        body: &[u8],
        mac: Option<&str>,
    ) -> Verdict {
        let management = &self.management;
        let (Some(scheme), Some((name, secret))) = (self.asked(), &management.client) else {
            return Verdict::Accepted;
        };
        let nonce = &management.client_nonce;
        let verdict = match scheme {
            Scheme::Mac => auth::verify_mac(mac, name, secret, nonce, body),
            _ if session.authenticated => Verdict::Accepted,
            _ => auth::verify(scheme, message.header.credentials.as_ref(), name, secret, nonce),
        };
        session.authenticated |= verdict == Verdict::Accepted;
        session.tries += u8::from(verdict != Verdict::Accepted);
        verdict
    }

    /// The scheme that the client is asked for.
    fn asked(&self) -> Option<Scheme> {
        match self.management.misbehaviour {
            Some(Misbehaviour::BasicOnly) => Some(Scheme::Basic),
            _ => self.management.scheme,
        }
    }

    fn header_status(
        &mut self,
        session: &mut Session,
        header: &Header<'_>,
        verdict: Verdict,
        fresh: &[u8],
    ) -> Status<'static> {
        let scheme = self.asked();
        let code = match (verdict, scheme) {
            _ if self.management.misbehaviour == Some(Misbehaviour::Version513) => {
                StatusCode::PROTOCOL_NOT_SUPPORTED
            }
            (Verdict::Accepted, None | Some(Scheme::Mac)) => StatusCode::OK,
            (Verdict::Accepted, _) => StatusCode::AUTHENTICATED,
            (verdict, _) => code_of(verdict),
        };
        let first =
            !session.challenged || verdict != Verdict::Accepted || scheme == Some(Scheme::Mac);
        let challenge = scheme.filter(|_| first).map(|scheme| {
            self.management.client_nonce = fresh.to_vec();
            auth::challenge(scheme, fresh)
        });
        session.challenged |= verdict == Verdict::Accepted;
        Status {
            message_ref: header.message_id.to_string().into(),
            command_ref: "0".into(),
            command: "SyncHdr".into(),
            target_refs: vec![self.id.clone().into()],
            source_refs: vec![header.source.uri.to_string().into()],
            challenge,
            code,
            ..Status::default()
        }
    }

    /// Reads what the client answered: whether it wants the commands again.
    fn read_statuses(&mut self, session: &mut Session, message: &Message<'_>) -> bool {
        let mut again = false;
        for command in &message.commands {
            let Command::Status(status) = command else { continue };
            let unbelieved = matches!(status.code.0, 401 | 407);
            if let Some(nonce) = status.challenge.as_ref().and_then(auth::next_nonce) {
                self.management.server_nonce = nonce;
                if self.management.misbehaviour == Some(Misbehaviour::StaleNonce) {
                    self.management.misbehaviour = None;
                }
            }
            if status.command_ref == "0" {
                session.believed |= status.code == StatusCode::AUTHENTICATED;
                again |= unbelieved;
            } else if !unbelieved {
                self.told.push(SimEvent::CommandAnswered {
                    device: message.header.source.uri.to_string(),
                    command: status.command.to_string(),
                    uri: uri_of(&session.sent, status),
                    status: status.code.0,
                });
            }
        }
        again
    }

    /// Keeps what a Get brought. The Status of a chunk, if there is more to come.
    fn results(
        &mut self,
        session: &mut Session,
        message: &Message<'_>,
        results: &Results<'_>,
    ) -> Option<Status<'static>> {
        let mut kept = None;
        for item in &results.items {
            match &item.data {
                Some(Data::Text(text) | Data::Markup(text)) => session.pieces.push_str(text),
                Some(Data::Binary(octets)) => {
                    session.pieces.push_str(&super::event::Hex(octets).to_string());
                }
                None => {}
            }
            if item.more_data {
                let answered = Command::Results(Results {
                    command_id: results.command_id.to_string().into(),
                    ..Results::default()
                });
                kept = Some(status(&message.header, &answered, StatusCode::CHUNK_KEPT));
                continue;
            }
            let uri = item.source.as_ref().map(|source| source.uri.to_string());
            self.told.push(SimEvent::ResultReceived {
                device: message.header.source.uri.to_string(),
                uri: uri.unwrap_or_default(),
                value: std::mem::take(&mut session.pieces),
            });
        }
        kept
    }

    fn message(
        &self,
        session: &mut Session,
        request: &Message<'_>,
        mut commands: Vec<Command<'static>>,
        uri: &str,
        is_final: bool,
    ) -> Message<'static> {
        session.message += 1;
        number(&mut commands, &mut 0);
        let management = &self.management;
        let (mut name, mut credentials) = (None, None);
        if let (Some((user, secret)), Some(scheme)) = (&management.server, management.scheme)
            && management.misbehaviour != Some(Misbehaviour::NoCredentials)
            && scheme != Scheme::Mac
            && !session.believed
        {
            let (secret, nonce) = self.proof(secret);
            credentials = Some(auth::credentials(scheme, user, &secret, &nonce));
            name = Some(user.clone().into());
        }
        let uri = match management.misbehaviour {
            Some(Misbehaviour::PrivateUri) => "http://10.0.0.1/dm",
            _ => uri,
        };
        let header = Header {
            version_dtd: "1.2".into(),
            version_protocol: "DM/1.2".into(),
            session_id: request.header.session_id.to_string().into(),
            message_id: session.message,
            target: Location { uri: request.header.source.uri.to_string().into(), name: None },
            source: Location { uri: self.id.clone().into(), name },
            response_uri: Some(uri.to_owned().into()),
            credentials,
            meta: Meta { max_message_size: management.max_message_size, ..Meta::default() },
        };
        Message { header, commands, is_final }
    }

    fn mac(&self, body: &[u8]) -> Option<String> {
        let (name, secret) = self.management.server.as_ref()?;
        let speaks = self.management.scheme == Some(Scheme::Mac)
            && self.management.misbehaviour != Some(Misbehaviour::NoCredentials);
        let (secret, nonce) = self.proof(secret);
        speaks.then(|| auth::mac(name, &secret, &nonce, body))
    }

    /// Secret and nonce to prove ourselves by, right or wrong.
    fn proof(&self, secret: &Secret) -> (Secret, Vec<u8>) {
        let nonce = self.management.server_nonce.clone();
        match self.management.misbehaviour {
            Some(Misbehaviour::WrongCredentials) => (Secret::new("another"), nonce),
            Some(Misbehaviour::StaleNonce) => (secret.clone(), b"yesterday's".to_vec()),
            _ => (secret.clone(), nonce),
        }
    }
}

fn code_of(verdict: Verdict) -> StatusCode {
    match verdict {
        Verdict::Accepted => StatusCode::OK,
        Verdict::Missing => StatusCode::MISSING_CREDENTIALS,
        Verdict::Wrong => StatusCode::INVALID_CREDENTIALS,
    }
}

fn status(header: &Header<'_>, command: &Command<'_>, code: StatusCode) -> Status<'static> {
    Status {
        message_ref: header.message_id.to_string().into(),
        command_ref: command.command_id().to_string().into(),
        command: command.name().into(),
        code,
        ..Status::default()
    }
}

fn has_alert(message: &Message<'_>, code: AlertCode) -> bool {
    let is = |command: &Command<'_>| matches!(command, Command::Alert(alert) if alert.code == Some(code));
    message.commands.iter().any(is)
}

/// Gives the commands, those in groups included, their CmdIDs.
fn number(commands: &mut [Command<'static>], last: &mut u32) {
    for command in commands {
        *last += 1;
        let id = last.to_string().into();
        match command {
            Command::Status(status) => status.command_id = id,
            Command::Results(results) => results.command_id = id,
            Command::Alert(alert) => alert.command_id = id,
            Command::Operation(operation) => operation.command_id = id,
            Command::Group(group) => {
                group.command_id = id;
                number(&mut group.commands, last);
            }
            Command::Other { command_id, .. } => *command_id = id,
        }
    }
}

/// The node that a Status is about: its own TargetRef, or that of the command answered.
fn uri_of(sent: &[Command<'static>], status: &Status<'_>) -> String {
    if let Some(target) = status.target_refs.first() {
        return target.to_string();
    }
    let mut open: Vec<&Command<'static>> = sent.iter().collect();
    while let Some(command) = open.pop() {
        match command {
            Command::Operation(it) if it.command_id == status.command_ref => {
                let target = it.items.first().and_then(|item| item.target.as_ref());
                return target.map(|target| target.uri.to_string()).unwrap_or_default();
            }
            Command::Group(group) => open.extend(&group.commands),
            _ => {}
        }
    }
    String::new()
}
