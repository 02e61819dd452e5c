//! The client's side of a DM session: obeys a DM server.
//!
//! ```text
//!   client                                          server
//!   start:  credentials, Alert 1200/1201,
//!           DevInfo, generic alerts            ──►              (package 1)
//!   receive ── Step::Commit, committed ──┐     ◄──  statuses, commands  (2, 4)
//!   Step::Send: statuses, results  ◄─────┘     ──►              (package 3)
//!   receive ── Step::End                       ◄──  statuses, no command: end
//! ```
//!
//! Invariants: nothing is carried out for a server that has not proven who it is, where the account
//! wants proof. A reply that reports a change leaves only after the caller said that the change
//! lasts. No message is larger than the server takes. What proves who we are goes to no host that
//! the account does not allow.

mod object;
mod outbox;
mod parts;
mod proof;
mod target;
mod uri;
mod values;
mod why;
mod work;

pub use target::{Outcome, Request, Target};
pub use values::{Account, Ending, Executed, Incoming, Nonces, Options, Outgoing, Step};
pub use why::Why;

use crate::limits;
use crate::proto::auth::{self, Scheme, Verdict};
use crate::proto::syncml::{
    Alert, AlertCode, Command, Header, Location, Message, Meta, Status, StatusCode,
};
use object::Arriving;
use outbox::Answer;
use parts::{executed, is_alert, needs_answer, package1, version_fault};
use std::collections::VecDeque;
use work::{Bounds, Work};

/// The client's side of one session.
#[derive(Debug)]
pub struct ClientSession {
    options: Options,
    /// Where the next message goes.
    uri: String,
    /// How we prove who we are, after what the server asked for.
    scheme: Option<Scheme>,
    client_nonce: Vec<u8>,
    client_tries: u8,
    /// Whether the server wants no more credentials.
    accepted: bool,
    server_nonce: Vec<u8>,
    server_tries: u8,
    /// Whether the server proved who it is.
    trusted: bool,
    message_id: u32,
    /// MsgID and digest of the server's last message.
    heard: (u32, [u8; 16]),
    repeats: u8,
    /// MaxMsgSize and MaxObjSize of the server.
    max_message: Option<u64>,
    max_object: Option<u64>,
    arriving: Option<Arriving>,
    outbox: VecDeque<Answer>,
    /// What the last message carried, for a challenge.
    sent: Vec<Answer>,
    last: Option<Outgoing>,
    /// What the server said to the alerts.
    outcomes: Vec<Option<StatusCode>>,
    turn: Option<Turn>,
    /// Why the session ends with the next answer.
    closing: Option<Why>,
}

/// A message of the server that is not answered yet.
#[derive(Debug)]
struct Turn {
    status: Option<Status<'static>>,
    /// Whether the server's package goes on.
    ask: bool,
    /// Nonces (kept, and in use for the server's credentials) as they were.
    before: (Nonces, Vec<u8>),
    /// Answers that waited before.
    old: usize,
}

impl ClientSession {
    /// Begins a session: it, and package 1.
    ///
    /// # Errors
    /// [`Why::BasicInClear`] if a secret would have to go in clear.
    pub fn start(options: Options) -> Result<(Self, Outgoing), Why> {
        let accounts = [&options.client, &options.server];
        let basic =
            accounts.iter().any(|it| it.as_ref().is_some_and(|it| it.scheme == Scheme::Basic));
        if basic && !options.secure {
            return Err(Why::BasicInClear);
        }
        let mut session = Self {
            uri: options.uri.clone(),
            scheme: options.client.as_ref().map(|account| account.scheme),
            client_nonce: options.nonces.client.clone(),
            client_tries: 0,
            accepted: false,
            server_nonce: options.nonces.server.clone(),
            server_tries: 0,
            trusted: false,
            message_id: 0,
            heard: (0, [0; 16]),
            repeats: 0,
            max_message: None,
            max_object: None,
            arriving: None,
            outbox: package1(&options),
            sent: Vec::new(),
            last: None,
            outcomes: vec![None; options.alerts.len()],
            turn: None,
            closing: None,
            options,
        };
        let outgoing = session.compose(None, false)?;
        Ok((session, outgoing))
    }

    /// Takes the server's answer. `fresh` are random octets, used as a nonce if the server is
    /// given a new one.
    pub fn receive(
        &mut self,
        incoming: &Incoming<'_>,
        fresh: [u8; 16],
        target: &mut impl Target,
    ) -> Step {
        if let Some(why) = self.closing {
            return self.end(why);
        }
        match self.take(incoming, fresh, target) {
            Ok(step) => step,
            Err(why) => self.end(why),
        }
    }

    /// Goes on after a [`Step::Commit`]. If that failed, what was to last is answered with 500 and
    /// the nonces are what they were.
    pub fn committed(&mut self, ok: bool) -> Step {
        let Some(mut turn) = self.turn.take() else {
            return self.end(self.closing.unwrap_or(Why::OutOfOrder));
        };
        if !ok {
            self.undone(&mut turn);
        }
        let executed = self.outbox.iter().skip(turn.old).filter_map(executed).collect();
        match self.compose(turn.status, turn.ask) {
            Ok(outgoing) => Step::Send(Outgoing { executed, ..outgoing }),
            Err(why) => self.end(why),
        }
    }

    /// Breaks the session off: the message that tells the server, with the statuses that it is
    /// owed; what waits for [`committed`](Self::committed) counts as failed. `None` if it takes
    /// none so large. Whatever comes back is the end.
    pub fn abort(&mut self) -> Option<Outgoing> {
        self.closing = Some(Why::GivenUp);
        let mut status = None;
        if let Some(mut turn) = self.turn.take() {
            self.undone(&mut turn);
            status = turn.status;
        }
        self.outbox.retain(|answer| matches!(answer.command, Command::Status(_)));
        let code = Some(AlertCode::SESSION_ABORT);
        let alert = || Answer::of(Command::Alert(Alert { code, ..Alert::default() }));
        self.outbox.push_back(alert());
        let whole = self.compose(status, false).ok().filter(|_| self.outbox.is_empty());
        if whole.is_some() {
            return whole;
        }
        self.message_id = self.message_id.saturating_sub(1);
        self.outbox = VecDeque::from([alert()]);
        self.compose(None, false).ok()
    }

    /// Ends the session without the server: no answer came, or none that was HTTP 200.
    pub fn no_answer(&mut self, http_status: Option<u16>) -> Ending {
        self.ending(self.closing.unwrap_or(Why::NoAnswer(http_status)))
    }

    /// Answers with 500 what was to last and did not, and takes the nonces back.
    fn undone(&mut self, turn: &mut Turn) {
        (self.options.nonces, self.server_nonce) = turn.before.clone();
        if let Some(status) = &mut turn.status {
            status.challenge = None;
        }
        for answer in self.outbox.iter_mut().skip(turn.old).filter(|answer| answer.durable) {
            if let Command::Status(status) = &mut answer.command {
                status.code = StatusCode::COMMAND_FAILED;
            }
        }
    }

    fn take(
        &mut self,
        incoming: &Incoming<'_>,
        fresh: [u8; 16],
        target: &mut impl Target,
    ) -> Result<Step, Why> {
        if self.turn.is_some() || self.message_id == 0 {
            return Err(Why::OutOfOrder);
        }
        let message = incoming.encoding.decode(incoming.body).map_err(Why::Undecodable)?;
        let header = &message.header;
        // Some write leading zeros.
        if u16::from_str_radix(&header.session_id, 16) != Ok(self.options.session_id) {
            return Err(Why::OtherSession);
        }
        if let Some(again) = self.repeated(header.message_id, incoming.body)? {
            return Ok(Step::Send(again));
        }
        if self.message_id >= limits::CLIENT_MESSAGES || self.outbox.len() > limits::ANSWERS {
            return Err(Why::TooMuch);
        }
        self.max_message = header.meta.max_message_size.or(self.max_message);
        self.max_object = header.meta.max_object_size.or(self.max_object);
        if let Some(code) = version_fault(header) {
            return self.refuse_version(&message, code, target);
        }
        if let Some(given) = &header.response_uri {
            let options = &self.options;
            let uri = uri::resolve(&options.uri, &options.hosts, &self.uri, given);
            self.uri = uri.ok_or(Why::ResponseUri)?;
        }
        let before = (self.options.nonces.clone(), self.server_nonce.clone());
        let verdict = self.judge(header, incoming);
        let challenged = self.own_status(&message)?;
        self.statuses(&message, challenged);
        if verdict == Verdict::Accepted {
            // An accepted server's nonce is the one that it expects next time.
            self.options.nonces.client.clone_from(&self.client_nonce);
        }
        let has_commands = message.commands.iter().any(needs_answer);
        if message.commands.iter().any(|command| is_alert(command, AlertCode::SESSION_ABORT)) {
            return Err(Why::Aborted);
        }
        let goes_on = has_commands || challenged || !message.is_final || !self.outbox.is_empty();
        let accepted = verdict == Verdict::Accepted;
        if !accepted && (!goes_on || self.hopeless()) {
            return Err(Why::ServerNotAuthenticated);
        }
        if !goes_on {
            self.trusted = self.options.server.is_some();
            return Err(Why::Done);
        }
        // A server that sent no command is not challenged: there is nothing to be refused.
        let status = (accepted || has_commands).then(|| self.header_status(header, verdict, fresh));
        if challenged {
            let again = std::mem::take(&mut self.sent);
            again.into_iter().rev().for_each(|answer| self.outbox.push_front(answer));
        }
        let old = self.work(&message, verdict, target);
        let lasts = self.outbox.iter().skip(old).any(|answer| answer.durable);
        let commit = lasts || before.0 != self.options.nonces;
        // A server that asks us for more has nothing more to say itself for now.
        let asked = message.commands.iter().any(|it| is_alert(it, AlertCode::NEXT_MESSAGE));
        let ask = !message.is_final && !asked;
        self.turn = Some(Turn { status, ask, before, old });
        if commit {
            return Ok(Step::Commit(self.options.nonces.clone()));
        }
        Ok(self.committed(true))
    }

    /// What to send if this message was answered before.
    fn repeated(&mut self, message_id: u32, body: &[u8]) -> Result<Option<Outgoing>, Why> {
        let digest = auth::md5_of(&[body]);
        let (last, last_digest) = self.heard;
        if message_id > last {
            self.heard = (message_id, digest);
            return Ok(None);
        }
        self.repeats += 1;
        let same = message_id == last && digest == last_digest;
        match &self.last {
            Some(outgoing) if same && self.repeats <= limits::SERVER_REPEATS => {
                Ok(Some(Outgoing { executed: Vec::new(), ..outgoing.clone() }))
            }
            _ => Err(Why::OutOfOrder),
        }
    }

    fn refuse_version(
        &mut self,
        message: &Message<'_>,
        code: StatusCode,
        target: &mut impl Target,
    ) -> Result<Step, Why> {
        let why = Why::Version(code);
        if !message.commands.iter().any(needs_answer) {
            return Err(why);
        }
        let bounds = self.bounds();
        let mut nothing = None;
        let id = message.header.message_id;
        let mut work = Work::new(target, &self.options.server_id, id, bounds, &mut nothing);
        work.refuse(&message.commands, code);
        self.outbox = work.answers.into();
        self.closing = Some(why);
        let status = Status { code, ..self.status_of(&message.header) };
        self.compose(Some(status), false).map(Step::Send)
    }

    fn status_of(&self, header: &Header<'_>) -> Status<'static> {
        Status {
            message_ref: header.message_id.to_string().into(),
            command_ref: "0".into(),
            command: "SyncHdr".into(),
            target_refs: vec![header.target.uri.to_string().into()],
            source_refs: vec![header.source.uri.to_string().into()],
            code: StatusCode::OK,
            ..Status::default()
        }
    }

    /// Reads the statuses of what we sent.
    fn statuses(&mut self, message: &Message<'_>, challenged: bool) {
        if challenged {
            return;
        }
        let own = self.message_id.to_string();
        for command in &message.commands {
            let Command::Status(status) = command else { continue };
            if status.message_ref != own {
                continue;
            }
            let answered = |sent: &&Answer| *sent.command.command_id() == status.command_ref;
            let Some(sent) = self.sent.iter().find(answered) else { continue };
            let chunk = outbox::more_data(&sent.command);
            if let Some(outcome) = sent.alert.and_then(|alert| self.outcomes.get_mut(alert)) {
                if !chunk || !status.code.is_success() {
                    *outcome = Some(status.code);
                }
            }
            if chunk && !status.code.is_success() {
                self.stop_sending();
            }
        }
    }

    /// Drops the rest of an object that the server does not want.
    fn stop_sending(&mut self) {
        if let Some(index) = self.outbox.iter().position(|answer| answer.continued) {
            self.outbox.remove(index);
        }
    }

    /// Carries the commands out, or refuses them. From where on the outbox holds their answers.
    fn work(&mut self, message: &Message<'_>, verdict: Verdict, target: &mut impl Target) -> usize {
        let bounds = self.bounds();
        let (server, id) = (&self.options.server_id, message.header.message_id);
        let mut work = Work::new(target, server, id, bounds, &mut self.arriving);
        match verdict {
            Verdict::Accepted => work.all(&message.commands),
            Verdict::Missing => work.refuse(&message.commands, StatusCode::MISSING_CREDENTIALS),
            Verdict::Wrong => work.refuse(&message.commands, StatusCode::INVALID_CREDENTIALS),
        }
        let (ahead, answers, stop) = (work.ahead, work.answers, work.stop_sending);
        if stop {
            self.stop_sending();
        }
        ahead.into_iter().rev().for_each(|answer| self.outbox.push_front(answer));
        let old = self.outbox.len();
        self.outbox.extend(answers);
        old
    }

    fn bounds(&self) -> Bounds {
        // What header and Status of the header take of a message.
        let frame = 512 + self.uri.len() + 2 * self.options.device_id.len();
        let waiting = self.outbox.iter();
        let waiting = waiting.map(|answer| outbox::octets(outbox::items_of(&answer.command)));
        Bounds {
            taken: self.options.max_object_size,
            given: self.max_object,
            room: self.most().saturating_sub(frame),
            encoding: self.options.encoding,
            waiting: waiting.sum(),
        }
    }

    /// Largest message that the server takes, in octets.
    fn most(&self) -> usize {
        self.max_message
            .map_or(limits::SERVER_MESSAGE, |most| usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// Makes the next message out of what waits.
    fn compose(&mut self, status: Option<Status<'static>>, ask: bool) -> Result<Outgoing, Why> {
        self.message_id += 1;
        let (most, encoding) = (self.most(), self.options.encoding);
        let header = self.header();
        let filled = outbox::fill(&mut self.outbox, header, status, ask, most, encoding);
        let filled = filled.ok_or(Why::MessageSize)?;
        self.sent = filled.answers;
        let mac = match (&self.options.client, self.scheme) {
            (Some(Account { name, secret, .. }), Some(Scheme::Mac)) => {
                Some(auth::mac(name, secret, &self.client_nonce, &filled.octets))
            }
            _ => None,
        };
        let uri = self.uri.clone();
        let outgoing = Outgoing { uri, body: filled.octets, encoding, mac, executed: Vec::new() };
        self.last = Some(outgoing.clone());
        Ok(outgoing)
    }

    fn header(&self) -> Header<'static> {
        let options = &self.options;
        let (mut name, mut credentials) = (None, None);
        if let (Some(account), Some(scheme)) = (&options.client, self.scheme) {
            name = (scheme != Scheme::Basic).then(|| account.name.clone().into());
            if scheme != Scheme::Mac && !self.accepted {
                let nonce = &self.client_nonce;
                credentials =
                    Some(auth::credentials(scheme, &account.name, &account.secret, nonce));
            }
        }
        Header {
            version_dtd: "1.2".into(),
            version_protocol: "DM/1.2".into(),
            session_id: self.session_id().into(),
            message_id: self.message_id,
            target: Location { uri: self.uri.clone().into(), name: None },
            source: Location { uri: options.device_id.clone().into(), name },
            response_uri: None,
            credentials,
            meta: Meta {
                max_message_size: Some(options.max_message_size),
                max_object_size: Some(options.max_object_size),
                ..Meta::default()
            },
        }
    }

    fn session_id(&self) -> String {
        format!("{:X}", self.options.session_id)
    }

    fn end(&mut self, why: Why) -> Step {
        Step::End(self.ending(why))
    }

    fn ending(&mut self, why: Why) -> Ending {
        self.closing = Some(why);
        let believed = self.trusted || self.options.server.is_none();
        let alerts = if believed { self.outcomes.clone() } else { vec![None; self.outcomes.len()] };
        Ending { why, nonces: self.options.nonces.clone(), alerts }
    }
}
