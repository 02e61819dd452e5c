//! One DM session of a simulated end device, package by package. (DM Protocol 1.2.1, 8.)

use super::command::{asks, device_info, empty_credentials, fresh_nonce, list_id, number};
use super::end_device::{Account, EndDevice, Nonces, Quirk, Server};
use super::event::{SimEvent, summary};
use super::payload;
use crate::io::http_client::{Answer, Client};
use crate::limits::LAN_BODY;
use crate::proto::auth::{self, Scheme, Verdict};
use crate::proto::syncml::{
    Alert, AlertCode, Command, Encoding, Header, Location, Message, Meta, Operation, Results,
    Status, StatusCode, Verb,
};
use smol::Timer;
use smol::lock::SemaphoreGuardArc;
use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Duration;

/// Most messages of one session before the device gives up: a peer that never ends it.
const MESSAGES: u32 = 20;

/// Most times a device answers a challenge in one session.
const CHALLENGES: u32 = 2;

/// Most times a message is sent again because the peer asked to come back later, and the pause.
const RETRIES: u32 = 20;
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for one answer. In a storm the gateway has thousands waiting in line.
const PATIENCE: Duration = Duration::from_secs(60);

/// With whom a session is held.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) id: String,
    pub(super) url: String,
    pub(super) account: Option<Account>,
    pub(super) is_gateway: bool,
}

impl Peer {
    /// One of the device's own DM servers.
    pub(super) fn server(server: Server) -> Self {
        Self { id: server.id, url: server.url, account: None, is_gateway: false }
    }
}

/// A session under way.
pub(super) struct Session<'d> {
    device: &'d EndDevice,
    peer: Peer,
    id: String,
    link: Link,
    url: String,
    message: u32,
    /// Whether the peer said 212: no more Cred.
    authenticated: bool,
    /// Whether the device said 212 to the peer.
    server_proven: bool,
    challenges: u32,
    /// MsgID and CmdID of the list that waits for its Status.
    list: Option<(u32, String)>,
    detection: Option<(String, bool)>,
    /// Whether the device stopped talking in the middle.
    silent: bool,
}

/// A session's connection, and its place among the connections of the process.
pub(super) struct Link {
    client: Client,
    _permit: SemaphoreGuardArc,
}

/// What to do after an answer.
enum Next {
    /// Send these commands.
    Send(Vec<Command<'static>>),
    /// The session is over.
    End,
    /// Stop talking; whether the connection stays open.
    Vanish { open: bool },
}

impl Session<'_> {
    /// Holds a session to its end. Returns what a Device Detection Alert said, if one came and
    /// the device understands it.
    pub(super) async fn run(
        device: &EndDevice,
        peer: Peer,
        session: u16,
        woken: bool,
        alerts: Vec<Alert<'static>>,
    ) -> Option<(String, bool)> {
        let with = peer.id.clone();
        let id = format!("{session:X}");
        let link = Link::new(device).await;
        device.tell(SimEvent::SessionOpened { with: with.clone(), session: id.clone(), woken });
        let mut session = Session {
            device,
            url: peer.url.clone(),
            peer,
            id: id.clone(),
            link,
            message: 0,
            authenticated: false,
            server_proven: false,
            challenges: 0,
            list: None,
            detection: None,
            silent: false,
        };
        let (ok, why) = match session.hold(woken, alerts).await {
            Ok(()) => (true, "nothing left to do".to_owned()),
            Err(why) => (false, why),
        };
        device.tell(SimEvent::SessionEnded { with, session: id, ok, why });
        if session.silent {
            device.fall_silent(session.link);
        }
        session.detection
    }

    async fn hold(&mut self, woken: bool, alerts: Vec<Alert<'static>>) -> Result<(), String> {
        let mut commands = self.package1(woken, alerts);
        loop {
            if self.message == MESSAGES {
                return Err("the peer does not end it".into());
            }
            let answer = self.send(&mut commands).await?;
            let (_, content_type, body) = answer;
            let content_type = content_type.unwrap_or_default();
            let encoding = Encoding::of_content_type(&content_type)
                .ok_or_else(|| format!("answer of type {content_type:?}"))?;
            if self.device.has(Quirk::WbxmlHeaderCheck)
                && (encoding != Encoding::Wbxml || body.first() != Some(&2))
            {
                return Err("the answer is not WBXML with header octet 02".into());
            }
            let message = encoding.decode(&body).map_err(|error| format!("bad answer: {error}"))?;
            self.tell_received(&message);
            match self.answer(&message, &commands)? {
                Next::Send(next) => commands = next,
                Next::End => return Ok(()),
                Next::Vanish { open } => {
                    if open {
                        self.silent = true;
                        return Err("the device falls silent".into());
                    }
                    self.device.crash();
                    return Err("the device crashes".into());
                }
            }
        }
    }

    fn package1(&self, woken: bool, alerts: Vec<Alert<'static>>) -> Vec<Command<'static>> {
        let code = if woken { AlertCode::SERVER_INITIATED } else { AlertCode::CLIENT_INITIATED };
        let mut commands = vec![
            Command::Alert(Alert { code: Some(code), ..Alert::default() }),
            Command::Operation(Operation {
                verb: Verb::Replace,
                command_id: Cow::default(),
                meta: Meta::default(),
                correlator: None,
                items: device_info(&self.device.options.id),
            }),
        ];
        commands.extend(alerts.into_iter().map(Command::Alert));
        commands
    }

    /// Numbers and sends `commands` as the next message. A peer that is busy is asked again.
    async fn send(&mut self, commands: &mut Vec<Command<'static>>) -> Result<Answer, String> {
        self.message += 1;
        number(commands, self.device.has(Quirk::DuplicateIds));
        let is_final = true;
        let message = Message { header: self.header(), commands: commands.clone(), is_final };
        let encoding = self.device.options.encoding;
        let body = encoding.encode(&message);
        self.device.tell(SimEvent::MessageSent {
            with: self.peer.id.clone(),
            session: self.id.clone(),
            message: self.message,
            summary: summary(&message),
        });
        if let Some(id) = commands.iter().find_map(list_id) {
            self.list = Some((self.message, id));
            self.device.tell(SimEvent::ListSent { servers: self.device.server_ids() });
        }
        for _ in 0..RETRIES {
            let client = &mut self.link.client;
            let answer = client.post(&self.url, encoding.content_type(), &body, PATIENCE).await;
            let answer = answer.map_err(|error| format!("no answer: {error}"))?;
            match answer.0 {
                200 => return Ok(answer),
                503 => drop(Timer::after(RETRY_PAUSE).await),
                status => return Err(format!("HTTP status {status}")),
            }
        }
        Err("the peer is busy for ever".into())
    }

    fn header(&self) -> Header<'static> {
        let options = &self.device.options;
        let account = self.peer.account.as_ref();
        let scheme = account.and_then(|account| account.scheme);
        let user = account.filter(|_| scheme == Some(Scheme::Md5));
        let credentials = match (account, scheme) {
            _ if self.device.has(Quirk::EmptyCred) => Some(empty_credentials()),
            (Some(account), Some(scheme)) if !self.authenticated => {
                let nonce = self.nonces().client;
                Some(auth::credentials(scheme, &account.user, &account.secret, &nonce))
            }
            _ => None,
        };
        Header {
            version_dtd: "1.2".into(),
            version_protocol: "DM/1.2".into(),
            session_id: self.id.clone().into(),
            message_id: self.message,
            target: Location { uri: self.peer.url.clone().into(), name: None },
            source: Location {
                uri: options.id.clone().into(),
                name: user.map(|account| account.user.clone().into()),
            },
            response_uri: None,
            credentials,
            meta: Meta { max_message_size: Some(LAN_BODY as u64), ..Meta::default() },
        }
    }

    fn tell_received(&self, message: &Message<'_>) {
        self.device.tell(SimEvent::MessageReceived {
            with: self.peer.id.clone(),
            session: self.id.clone(),
            message: message.header.message_id,
            summary: summary(message),
        });
    }

    /// Judges the peer's message. `sent` is what it answers.
    fn answer(&mut self, message: &Message<'_>, sent: &[Command<'static>]) -> Result<Next, String> {
        let header = &message.header;
        if !header.session_id.eq_ignore_ascii_case(&self.id) {
            return Err(format!("the answer belongs to session {}", header.session_id));
        }
        match header.response_uri.as_deref() {
            Some(uri) => {
                self.url = uri.to_owned();
            }
            None if self.device.has(Quirk::NeedsRespUri) => {
                return Err("no RespURI: this client would spin for ever".into());
            }
            None => {}
        }
        if let Some(next) = self.own_header_status(message, sent)? {
            return Ok(next);
        }
        self.list_status(message);

        let verdict = self.judge_server(header);
        self.server_proven |= verdict == Some(StatusCode::AUTHENTICATED);
        let mut answers = Vec::new();
        if !self.device.has(Quirk::NoHeaderStatus) {
            answers.push(Command::Status(self.header_status(header, verdict)));
        }
        let mut work = false;
        for command in &message.commands {
            if matches!(command, Command::Status(_) | Command::Results(_)) {
                continue;
            }
            if let (Command::Alert(alert), true) =
                (command, verdict.is_none_or(StatusCode::is_success))
            {
                match alert.code {
                    Some(AlertCode::SESSION_ABORT) => return Err("the peer broke it off".into()),
                    Some(AlertCode::DEVICE_DETECTION) if self.device.has(Quirk::Silence) => {
                        return Ok(Next::Vanish { open: true });
                    }
                    Some(AlertCode::DEVICE_DETECTION) if self.device.has(Quirk::Crash) => {
                        return Ok(Next::Vanish { open: false });
                    }
                    _ => {}
                }
            }
            work = true;
            self.obey(header, command, verdict, &mut answers);
        }
        let waits = !message.is_final;
        if work || waits {
            if waits && answers.len() <= 1 {
                let code = Some(AlertCode::NEXT_MESSAGE);
                answers.push(Command::Alert(Alert { code, ..Alert::default() }));
            }
            return Ok(Next::Send(answers));
        }
        match verdict {
            Some(code) if !code.is_success() => Err("the peer did not prove who it is".into()),
            _ => Ok(Next::End),
        }
    }

    /// Reads the Status of our own SyncHdr: a challenge has the same commands sent again.
    fn own_header_status(
        &mut self,
        message: &Message<'_>,
        sent: &[Command<'static>],
    ) -> Result<Option<Next>, String> {
        let status = message.commands.iter().find_map(|command| match command {
            Command::Status(status) if status.command_ref == "0" => Some(status),
            _ => None,
        });
        let Some(status) = status else { return Ok(None) };
        let nonce = status.challenge.as_ref().and_then(auth::next_nonce);
        if let Some(nonce) = nonce {
            self.change_nonces(|nonces| nonces.client = nonce);
        }
        match status.code {
            StatusCode::AUTHENTICATED => self.authenticated = true,
            StatusCode::INVALID_CREDENTIALS | StatusCode::MISSING_CREDENTIALS => {
                let able =
                    self.peer.account.as_ref().is_some_and(|account| account.scheme.is_some());
                if !able || status.challenge.is_none() || self.challenges == CHALLENGES {
                    return Err(format!("the peer refuses the device: {}", status.code.0));
                }
                self.challenges += 1;
                let mut again = sent.to_vec();
                if self.device.has(Quirk::CredAgain) {
                    let answers_header = |command: &Command<'_>| matches!(command, Command::Status(status) if status.command_ref == "0");
                    again.retain(|command| !answers_header(command));
                    let leading = self.header_status(&message.header, None);
                    again.insert(0, Command::Status(leading));
                }
                return Ok(Some(Next::Send(again)));
            }
            code if !code.is_success() => {
                return Err(format!("the peer refuses the message: {}", code.0));
            }
            _ => {}
        }
        Ok(None)
    }

    fn list_status(&mut self, message: &Message<'_>) {
        let Some((list_message, list_command)) = &self.list else { return };
        let list_message = list_message.to_string();
        let status = message.commands.iter().rev().find_map(|command| match command {
            Command::Status(status)
                if status.message_ref == list_message.as_str()
                    && status.command_ref == list_command.as_str()
                    && status.command == "Alert" =>
            {
                Some(status.code.0)
            }
            _ => None,
        });
        if let Some(status) = status {
            self.list = None;
            self.device.tell(SimEvent::ListAnswered { status });
        }
    }

    /// Whether the gateway proves who it is: `None` without a secret to judge by, or when it has
    /// done so before in this session.
    fn judge_server(&self, header: &Header<'_>) -> Option<StatusCode> {
        if self.server_proven {
            return None;
        }
        let account = self.peer.account.as_ref()?;
        let secret = account.server_secret.as_ref()?;
        let scheme = account.scheme.unwrap_or(Scheme::Md5);
        let known = self.device.gateway_id();
        let user = match &header.source.name {
            Some(name) => name,
            None => known.as_deref().unwrap_or(&header.source.uri),
        };
        let nonce = self.nonces().server;
        Some(match auth::verify(scheme, header.credentials.as_ref(), user, secret, &nonce) {
            Verdict::Accepted => StatusCode::AUTHENTICATED,
            Verdict::Missing => StatusCode::MISSING_CREDENTIALS,
            Verdict::Wrong => StatusCode::INVALID_CREDENTIALS,
        })
    }

    /// The Status for the peer's SyncHdr; with a verdict, its challenge carries a new nonce.
    fn header_status(&self, header: &Header<'_>, verdict: Option<StatusCode>) -> Status<'static> {
        let challenge = verdict.map(|_| {
            let scheme = self.peer.account.as_ref().and_then(|account| account.scheme);
            let nonce = fresh_nonce();
            let challenge = auth::challenge(scheme.unwrap_or(Scheme::Md5), &nonce);
            self.change_nonces(|nonces| nonces.server = nonce);
            challenge
        });
        Status {
            message_ref: header.message_id.to_string().into(),
            command_ref: "0".into(),
            command: "SyncHdr".into(),
            target_refs: vec![self.device.options.id.clone().into()],
            source_refs: vec![header.source.uri.to_string().into()],
            challenge,
            code: verdict.unwrap_or(StatusCode::OK),
            ..Status::default()
        }
    }

    /// Carries out one command: its Status, and what comes with it.
    fn obey(
        &mut self,
        header: &Header<'_>,
        command: &Command<'_>,
        verdict: Option<StatusCode>,
        answers: &mut Vec<Command<'static>>,
    ) {
        let mut status = Status {
            message_ref: header.message_id.to_string().into(),
            command_ref: command.command_id().to_string().into(),
            command: command.name().into(),
            code: StatusCode::OK,
            ..Status::default()
        };
        if let Some(code) = verdict.filter(|code| !code.is_success()) {
            status.code = code;
            answers.push(Command::Status(status));
            return;
        }
        let mut extra = None;
        match command {
            Command::Alert(alert) if alert.code == Some(AlertCode::DEVICE_DETECTION) => {
                status.code = self.detected(alert);
                if status.code.is_success() && !self.device.has(Quirk::NoList) {
                    extra = Some(Command::Alert(self.device.list_alert()));
                }
            }
            Command::Alert(alert) if alert.code == Some(AlertCode::NEXT_MESSAGE) => {}
            Command::Operation(get) if get.verb == Verb::Get => {
                match device_info(&self.device.options.id).into_iter().find(|leaf| asks(get, leaf))
                {
                    Some(leaf) => {
                        extra = Some(Command::Results(Results {
                            message_ref: Some(header.message_id.to_string().into()),
                            command_ref: get.command_id.to_string().into(),
                            items: vec![leaf],
                            ..Results::default()
                        }));
                    }
                    None => status.code = StatusCode::NOT_FOUND,
                }
            }
            Command::Operation(set) if set.verb != Verb::Exec && set.verb != Verb::Copy => {}
            _ => status.code = StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED,
        }
        answers.push(Command::Status(status));
        answers.extend(extra);
    }

    /// What a device that knows GwMO makes of a Device Detection Alert.
    fn detected(&mut self, alert: &Alert<'_>) -> StatusCode {
        let has = |quirk| self.device.has(quirk);
        if has(Quirk::Answer406) {
            return StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED;
        } else if has(Quirk::Answer500) {
            return StatusCode::COMMAND_FAILED;
        } else if has(Quirk::Answer501) {
            return StatusCode::NOT_IMPLEMENTED;
        }
        let Some((address, share)) = payload::detection(alert).filter(|_| self.peer.is_gateway)
        else {
            return StatusCode::INCOMPLETE_COMMAND;
        };
        self.device.tell(SimEvent::Detection { address: address.clone(), share });
        self.detection = Some((address, share));
        StatusCode::OK
    }

    fn nonces(&self) -> Nonces {
        self.device.nonces.borrow().get(&self.peer.id).cloned().unwrap_or_default()
    }

    fn change_nonces(&self, change: impl FnOnce(&mut Nonces)) {
        change(self.device.nonces.borrow_mut().entry(self.peer.id.clone()).or_default());
    }
}

impl Link {
    /// Connections come from the address of the device's push port; the kernel picks one for a
    /// link-local address, whose scope is that of the peer.
    async fn new(device: &EndDevice) -> Self {
        let own = device.options.listen.ip();
        let link_local = matches!(own, IpAddr::V6(own) if own.is_unicast_link_local());
        let client = Client::new((!own.is_unspecified() && !link_local).then_some(own));
        let client = if device.has(Quirk::Http10) { client.with_http10() } else { client };
        Self { client, _permit: device.gate.acquire_arc().await }
    }
}
