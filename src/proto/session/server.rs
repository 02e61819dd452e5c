//! The server's side of a DM session.
//!
//! ```text
//!   client                                   server
//!   package 1: credentials, Alert 1200/1201,
//!              DevInfo, generic alerts  ──►  receive ── Turn: statuses, what to decide
//!                                       ◄──  reply:  statuses, our commands    (package 2)
//!   package 3: statuses, generic alerts ──►  receive
//!                                       ◄──  reply:  statuses, no command: end (package 4)
//! ```
//!
//! Invariant: nothing a client sends is acted upon before its credentials were accepted; each
//! command of a message that failed authentication is answered with the same code.

use crate::limits;
use crate::proto::auth::{self, Scheme, Secret, Verdict};
use crate::proto::syncml::{
    Alert, AlertCode, Command, Header, Location, Message, Meta, Status, StatusCode, Verb,
};
use std::borrow::Cow;

/// What a session needs to know of the client's account.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// How the client must authenticate itself; `None` accepts anybody.
    pub scheme: Option<Scheme>,
    /// The client's user name and secret; `None` while the client has no account here.
    pub client: Option<(String, Secret)>,
    /// The nonce that the client is expected to use.
    pub client_nonce: Vec<u8>,
    /// Our own user name and secret towards the client, if it wants us authenticated.
    pub server: Option<(String, Secret)>,
    /// The nonce that the client gave for our next credentials.
    pub server_nonce: Vec<u8>,
}

/// The server's side of one session.
#[derive(Debug)]
pub struct ServerSession {
    credentials: Credentials,
    authenticated: bool,
    tries: u8,
    trusted: bool,
    own_scheme: Option<Scheme>,
    own_tries: u8,
    message_id: u32,
    messages: u32,
    queue: Vec<Queued>,
}

#[derive(Debug)]
struct Queued {
    alert: Alert<'static>,
    /// MsgID and CmdID under which it went out.
    sent: Option<(String, String)>,
    answer: Option<StatusCode>,
}

/// What one message of the client brought, its commands provisionally answered.
#[derive(Debug)]
pub struct Turn<'m> {
    /// How the credentials compare.
    pub verdict: Verdict,
    /// A Status for the header and for each command; those of generic alerts say 200 until
    /// they are decided.
    pub statuses: Vec<Status<'static>>,
    /// Generic alerts to decide, each with the index of its Status.
    pub generic_alerts: Vec<(usize, &'m Alert<'m>)>,
    /// The answer to our Device Detection Alert, if this message brought it.
    pub detection: Option<StatusCode>,
    /// `./DevInfo/DevId`, if this message brought it.
    pub device_id: Option<&'m str>,
    /// A nonce that the client gave for our next credentials.
    pub server_nonce: Option<Vec<u8>>,
    /// Whether the client broke the session off.
    pub aborted: bool,
    is_final: bool,
}

/// A message to send, and whether it ends the session.
#[derive(Debug)]
pub struct Reply {
    /// The message.
    pub message: Message<'static>,
    /// Whether the session is over once the client has it.
    pub ended: bool,
}

impl ServerSession {
    /// A session in which nothing was said yet.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            authenticated: false,
            tries: 0,
            trusted: false,
            own_scheme: credentials.scheme,
            own_tries: 0,
            message_id: 0,
            messages: 0,
            queue: Vec::new(),
            credentials,
        }
    }

    /// Whether the client proved who it is by a secret.
    pub fn is_proven(&self) -> bool {
        self.authenticated && self.credentials.scheme.is_some()
    }

    /// The nonce of a challenge that the client has not answered.
    pub fn open_challenge(&self) -> Option<Vec<u8>> {
        (!self.authenticated && self.tries > 0).then(|| self.credentials.client_nonce.clone())
    }

    /// Has `alert` sent to the client with the next reply that may carry commands.
    pub fn send(&mut self, alert: Alert<'static>) {
        self.queue.push(Queued { alert, sent: None, answer: None });
    }

    /// Takes one message of the client.
    pub fn receive<'m>(&mut self, message: &'m Message<'m>) -> Turn<'m> {
        self.messages += 1;
        let verdict = self.authenticate(&message.header);
        let code = match verdict {
            Verdict::Accepted if self.credentials.scheme.is_some() => StatusCode::AUTHENTICATED,
            Verdict::Accepted => StatusCode::OK,
            Verdict::Missing => StatusCode::MISSING_CREDENTIALS,
            Verdict::Wrong => StatusCode::INVALID_CREDENTIALS,
        };
        let mut turn = Turn {
            verdict,
            statuses: vec![header_status(message, code)],
            generic_alerts: Vec::new(),
            detection: None,
            device_id: None,
            server_nonce: None,
            aborted: false,
            is_final: message.is_final,
        };
        if verdict == Verdict::Accepted {
            for command in &message.commands {
                self.command(message, command, &mut turn);
            }
        } else {
            refuse_all(message, code, &mut turn.statuses);
        }
        turn
    }

    fn authenticate(&mut self, header: &Header<'_>) -> Verdict {
        let Some(scheme) = self.credentials.scheme else {
            self.authenticated = true;
            return Verdict::Accepted;
        };
        if self.authenticated {
            return Verdict::Accepted;
        }
        let credentials = header.credentials.as_ref();
        let verdict = match &self.credentials.client {
            Some((user, secret)) => {
                auth::verify(scheme, credentials, user, secret, &self.credentials.client_nonce)
            }
            None if credentials.is_some() => Verdict::Wrong,
            None => Verdict::Missing,
        };
        match verdict {
            Verdict::Accepted => self.authenticated = true,
            Verdict::Missing | Verdict::Wrong => self.tries += 1,
        }
        verdict
    }

    fn command<'m>(
        &mut self,
        message: &Message<'_>,
        command: &'m Command<'m>,
        turn: &mut Turn<'m>,
    ) {
        let code = match command {
            Command::Status(status) => return self.status(status, turn),
            Command::Results(_) => return,
            Command::Alert(alert) => match alert.code {
                Some(AlertCode::GENERIC) => {
                    turn.generic_alerts.push((turn.statuses.len(), alert));
                    StatusCode::OK
                }
                Some(AlertCode::SESSION_ABORT) => {
                    turn.aborted = true;
                    StatusCode::OK
                }
                Some(
                    AlertCode::SERVER_INITIATED
                    | AlertCode::CLIENT_INITIATED
                    | AlertCode::NEXT_MESSAGE
                    | AlertCode(1224 | 1225),
                ) => StatusCode::OK,
                Some(_) => StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED,
                None => StatusCode::INCOMPLETE_COMMAND,
            },
            Command::Operation(operation) if operation.verb == Verb::Replace => {
                let mut all_known = true;
                for item in &operation.items {
                    let uri = item.source.as_ref().or(item.target.as_ref()).map(|l| &*l.uri);
                    let uri = uri.unwrap_or_default();
                    let uri = uri.strip_prefix("./").unwrap_or(uri);
                    all_known &= uri.starts_with("DevInfo/");
                    if uri == "DevInfo/DevId" {
                        turn.device_id = item.data.as_ref().and_then(|data| data.text());
                    }
                }
                if all_known { StatusCode::OK } else { StatusCode::NOT_ALLOWED }
            }
            // A client may send nothing else. (DM Protocol 1.2.1, 7.)
            Command::Operation(_) => StatusCode::NOT_ALLOWED,
            Command::Group(_) => StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED,
            Command::Other { .. } => StatusCode::NOT_IMPLEMENTED,
        };
        turn.statuses.push(command_status(message, command, code));
    }

    fn status(&mut self, status: &Status<'_>, turn: &mut Turn<'_>) {
        let unauthenticated = matches!(
            status.code,
            StatusCode::INVALID_CREDENTIALS | StatusCode::MISSING_CREDENTIALS
        );
        // Basic instead of what is configured would give the secret away.
        let kind = status.challenge.as_ref().and_then(|challenge| challenge.kind.as_deref());
        if kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(Scheme::Md5.name())) {
            self.own_scheme = self.own_scheme.and(Some(Scheme::Md5));
        }
        if let Some(nonce) = status.challenge.as_ref().and_then(auth::next_nonce) {
            self.credentials.server_nonce.clone_from(&nonce);
            turn.server_nonce = Some(nonce);
        }
        if status.command == "SyncHdr" || status.command_ref == "0" {
            if unauthenticated {
                self.own_tries = self.own_tries.saturating_add(1);
                self.trusted = false;
            } else if status.code == StatusCode::AUTHENTICATED {
                self.trusted = true;
            }
            return;
        }
        let answered = self.queue.iter_mut().find(|queued| {
            queued.sent.as_ref().is_some_and(|(message, command)| {
                *message == status.message_ref && *command == status.command_ref
            })
        });
        let Some(answered) = answered else { return };
        if unauthenticated && self.credentials.server.is_some() {
            // Not obeyed because the client does not trust us yet: say it again with the
            // credentials that it asked for.
            answered.sent = None;
            return;
        }
        answered.answer = Some(status.code);
        if answered.alert.code == Some(AlertCode::DEVICE_DETECTION) {
            turn.detection = Some(status.code);
        }
    }

    /// Answers a message. `uri` is ours, `next_nonce` the nonce for the client's next
    /// credentials; it goes out with a challenge, or with the acceptance of auth-md5.
    pub fn reply(
        &mut self,
        request: &Message<'_>,
        turn: Turn<'_>,
        uri: &str,
        next_nonce: &[u8],
    ) -> Reply {
        let Turn { verdict, mut statuses, aborted, is_final, .. } = turn;
        let accepted = verdict == Verdict::Accepted && statuses[0].code.is_success();
        let authenticated_now = statuses[0].code == StatusCode::AUTHENTICATED;
        if let Some(scheme) = self.credentials.scheme {
            if verdict != Verdict::Accepted
                || authenticated_now && scheme == Scheme::Md5 && !next_nonce.is_empty()
            {
                self.credentials.client_nonce = next_nonce.to_vec();
                statuses[0].challenge = Some(auth::challenge(scheme, next_nonce));
            }
        }
        let hopeless = self.tries >= limits::AUTHENTICATION_TRIES
            || self.own_tries >= limits::AUTHENTICATION_TRIES
            || self.messages >= limits::SESSION_MESSAGES;
        self.message_id += 1;
        let mut commands: Vec<_> = statuses.into_iter().map(Command::Status).collect();
        let mut sent = false;
        if accepted && !aborted && !hopeless {
            if is_final {
                sent = self.send_queued(&mut commands);
            } else {
                let code = Some(AlertCode::NEXT_MESSAGE);
                commands.push(Command::Alert(Alert { code, ..Alert::default() }));
            }
        }
        for (index, command) in commands.iter_mut().enumerate() {
            let id = Cow::Owned((index + 1).to_string());
            match command {
                Command::Status(status) => status.command_id = id,
                Command::Alert(alert) => alert.command_id = id,
                _ => {}
            }
        }
        let challenged = verdict != Verdict::Accepted && !hopeless;
        let more = accepted && !is_final && !aborted && !hopeless;
        Reply {
            message: Message {
                header: self.header(request, uri, accepted),
                commands,
                is_final: !more,
            },
            ended: !sent && !challenged && !more,
        }
    }

    fn send_queued(&mut self, commands: &mut Vec<Command<'static>>) -> bool {
        let mut sent = false;
        for queued in &mut self.queue {
            if queued.sent.is_none() && queued.answer.is_none() {
                let command_id = (commands.len() + 1).to_string();
                commands.push(Command::Alert(queued.alert.clone()));
                queued.sent = Some((self.message_id.to_string(), command_id));
                sent = true;
            }
        }
        sent
    }

    /// `accepted`: our own credentials are for the client, not for whoever uses its name.
    fn header(&self, request: &Message<'_>, uri: &str, accepted: bool) -> Header<'static> {
        let (mut name, mut own) = (None, None);
        if let (Some(scheme), Some((user, secret)), true) =
            (self.own_scheme, &self.credentials.server, accepted && !self.trusted)
        {
            let nonce = &self.credentials.server_nonce;
            own = Some(auth::credentials(scheme, user, secret, nonce));
            name = Some(Cow::Owned(user.clone()));
        }
        Header {
            version_dtd: "1.2".into(),
            version_protocol: "DM/1.2".into(),
            session_id: owned(&request.header.session_id),
            message_id: self.message_id,
            target: Location { uri: owned(&request.header.source.uri), name: None },
            source: Location { uri: Cow::Owned(uri.to_owned()), name },
            response_uri: Some(Cow::Owned(uri.to_owned())),
            credentials: own,
            meta: Meta { max_message_size: Some(limits::LAN_BODY as u64), ..Meta::default() },
        }
    }
}

/// The answer to a message that is not acted upon at all, whoever sent it.
pub fn refusal(request: &Message<'_>, code: StatusCode, uri: &str) -> Message<'static> {
    let mut session = ServerSession::new(Credentials::default());
    let mut statuses = vec![header_status(request, code)];
    refuse_all(request, code, &mut statuses);
    let turn = Turn {
        verdict: Verdict::Accepted,
        statuses,
        generic_alerts: Vec::new(),
        detection: None,
        device_id: None,
        server_nonce: None,
        aborted: false,
        is_final: true,
    };
    session.reply(request, turn, uri, &[]).message
}

fn refuse_all(message: &Message<'_>, code: StatusCode, statuses: &mut Vec<Status<'static>>) {
    let commands = message.commands.iter();
    let answered = commands.filter(|c| !matches!(c, Command::Status(_) | Command::Results(_)));
    statuses.extend(answered.map(|command| command_status(message, command, code)));
}

fn header_status(message: &Message<'_>, code: StatusCode) -> Status<'static> {
    Status {
        message_ref: Cow::Owned(message.header.message_id.to_string()),
        command_ref: "0".into(),
        command: "SyncHdr".into(),
        target_refs: vec![owned(&message.header.target.uri)],
        source_refs: vec![owned(&message.header.source.uri)],
        code,
        ..Status::default()
    }
}

fn command_status(
    message: &Message<'_>,
    command: &Command<'_>,
    code: StatusCode,
) -> Status<'static> {
    Status {
        message_ref: Cow::Owned(message.header.message_id.to_string()),
        command_ref: owned(command.command_id()),
        command: command.name().into(),
        code,
        ..Status::default()
    }
}

fn owned(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}
