//! The session of a managing server: one message in, one out.

use super::parts::{code_of, has_alert, number, status, uri_of};
use super::{Account, Misbehaviour, Options, Script};
use crate::io::tls_server::TlsServer;
use crate::proto::auth::{self, Scheme, Secret, Verdict};
use crate::proto::notification::{Notification, UiMode};
use crate::proto::syncml::{
    Alert, AlertCode, Command, Data, Encoding, Header, Location, Message, Meta, Results, Status,
    StatusCode,
};
use crate::simulate::event::{Hex, SimEvent, summary};
use std::collections::HashMap;

/// Where a server redirects to that does so.
const ELSEWHERE: &str = "http://192.0.2.1/dm";

/// Where a server wants answers sent that has no business there.
const PRIVATE: &str = "http://10.0.0.1/dm";

/// A large object that ends early.
const BROKEN: &str =
    "large 40 replace ./Large chr the first of\nmore\nreplace ./Large chr too little\n";

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
    options: Options,
    /// What is sent instead of the script by one that breaks large objects.
    broken: Script,
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
    /// A server that manages as `options` say.
    pub fn new(options: Options) -> Self {
        let (sessions, told) = (HashMap::new(), Vec::new());
        let broken = Script::parse(BROKEN).unwrap_or_default();
        Self { options, broken, sessions, told }
    }

    /// What to do from the next session on.
    pub fn set_script(&mut self, script: Script) {
        self.options.script = script;
    }

    /// What to do wrong from now on.
    pub fn set_misbehaviour(&mut self, misbehaviour: Option<Misbehaviour>) {
        self.options.misbehaviour = misbehaviour;
    }

    /// What it does wrong now.
    pub fn misbehaviour(&self) -> Option<Misbehaviour> {
        self.options.misbehaviour
    }

    /// What it shows of itself where it is called over TLS.
    pub fn tls(&self) -> Option<&TlsServer> {
        self.options.tls.as_ref()
    }

    /// Whether it has an account to prove itself by.
    pub fn has_account(&self) -> bool {
        self.options.server.is_some()
    }

    /// Package #0 that asks for a session, signed with the nonce for the server's next
    /// credentials; without an account, with a digest of zero octets.
    pub fn package0(&self, session_id: u16) -> Vec<u8> {
        let notification = Notification {
            digest: [0; 16],
            version: 11,
            ui_mode: UiMode::Background,
            server_initiated: true,
            session_id,
            server_id: &self.options.id,
            vendor: &[],
        };
        match &self.options.server {
            Some(account) => {
                let (secret, nonce) = self.proof(account);
                notification.encode_signed(secret.expose(), &nonce)
            }
            None => notification.encode(),
        }
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
        match self.options.misbehaviour {
            Some(Misbehaviour::Redirect) => return Answer::Redirect(ELSEWHERE),
            Some(Misbehaviour::Cut) => return Answer::Cut,
            _ => {}
        }
        let Ok(message) = encoding.decode(body) else { return Answer::Refused };
        let header = &message.header;
        let (with, id) = (header.source.uri.to_string(), header.session_id.to_string());
        let key = (with.clone(), id.clone());
        let kept = self.sessions.remove(&key).filter(|_| header.message_id > 1);
        let opened = kept.is_none();
        let mut session = kept.unwrap_or_default();
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
        let refused = self.options.misbehaviour == Some(Misbehaviour::Version513);
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
        let script = match self.options.misbehaviour {
            Some(Misbehaviour::BrokenObject) => &self.broken,
            _ => &self.options.script,
        };
        script.0.get(index).map(|page| (page.commands.clone(), page.is_final))
    }

    fn judge(
        &mut self,
        session: &mut Session,
        message: &Message<'_>,
        body: &[u8],
        mac: Option<&str>,
    ) -> Verdict {
        let (Some(scheme), Some(account)) = (self.asked(), &self.options.client) else {
            return Verdict::Accepted;
        };
        let Account { name, secret, nonce, .. } = account;
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
        match self.options.misbehaviour {
            Some(Misbehaviour::BasicOnly) => Some(Scheme::Basic),
            _ => self.options.client.as_ref().map(|account| account.scheme),
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
            _ if self.options.misbehaviour == Some(Misbehaviour::Version513) => {
                StatusCode::PROTOCOL_NOT_SUPPORTED
            }
            (Verdict::Accepted, None | Some(Scheme::Mac)) => StatusCode::OK,
            (Verdict::Accepted, _) => StatusCode::AUTHENTICATED,
            (verdict, _) => code_of(verdict),
        };
        let first =
            !session.challenged || verdict != Verdict::Accepted || scheme == Some(Scheme::Mac);
        let challenge = scheme.filter(|_| first).map(|scheme| {
            if let Some(account) = &mut self.options.client {
                account.nonce = fresh.to_vec();
            }
            auth::challenge(scheme, fresh)
        });
        session.challenged |= verdict == Verdict::Accepted;
        Status {
            message_ref: header.message_id.to_string().into(),
            command_ref: "0".into(),
            command: "SyncHdr".into(),
            target_refs: vec![self.options.id.clone().into()],
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
                if let Some(account) = &mut self.options.server {
                    account.nonce = nonce;
                }
                if self.options.misbehaviour == Some(Misbehaviour::StaleNonce) {
                    self.options.misbehaviour = None;
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
                    session.pieces.push_str(&Hex(octets).to_string());
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
        let options = &self.options;
        let (mut name, mut credentials) = (None, None);
        if let Some(account) = &options.server {
            if options.misbehaviour != Some(Misbehaviour::NoCredentials)
                && account.scheme != Scheme::Mac
                && !session.believed
            {
                let (secret, nonce) = self.proof(account);
                let user = &account.name;
                credentials = Some(auth::credentials(account.scheme, user, &secret, &nonce));
                name = Some(user.clone().into());
            }
        }
        let uri = match (options.misbehaviour, &options.url) {
            (Some(Misbehaviour::PrivateUri), _) => PRIVATE,
            (_, Some(url)) => url,
            _ => uri,
        };
        let header = Header {
            version_dtd: "1.2".into(),
            version_protocol: "DM/1.2".into(),
            session_id: request.header.session_id.to_string().into(),
            message_id: session.message,
            target: Location { uri: request.header.source.uri.to_string().into(), name: None },
            source: Location { uri: options.id.clone().into(), name },
            response_uri: Some(uri.to_owned().into()),
            credentials,
            meta: Meta {
                max_message_size: options.max_message_size,
                max_object_size: options.max_object_size,
                ..Meta::default()
            },
        };
        Message { header, commands, is_final }
    }

    fn mac(&self, body: &[u8]) -> Option<String> {
        let account = self.options.server.as_ref()?;
        let speaks = account.scheme == Scheme::Mac
            && self.options.misbehaviour != Some(Misbehaviour::NoCredentials);
        let (secret, nonce) = self.proof(account);
        speaks.then(|| auth::mac(&account.name, &secret, &nonce, body))
    }

    /// Secret and nonce to prove ourselves by, right or wrong.
    fn proof(&self, account: &Account) -> (Secret, Vec<u8>) {
        let Account { secret, nonce, .. } = account.clone();
        match self.options.misbehaviour {
            Some(Misbehaviour::WrongCredentials) => (Secret::new("another"), nonce),
            Some(Misbehaviour::StaleNonce) => (secret, b"yesterday's".to_vec()),
            _ => (secret, nonce),
        }
    }
}
