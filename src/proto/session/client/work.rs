//! Carries out the commands of one message of a DM server and puts their answers together.
//! (DM Protocol 1.2.1, 6 and 8; RepPro 1.2.1, 6.6.)
//!
//! Every command gets a Status, in the order in which they came; what a Get found follows its
//! Status. Items of one command that end alike share a Status, else each has its own, which names
//! it by a TargetRef.

use super::object::{self, Arriving, Chunk};
use super::outbox::Answer;
use super::target::{Outcome, Request, Target};
use crate::limits;
use crate::proto::syncml::{
    Alert, AlertCode, Command, Encoding, Group, Item, Location, Meta, Operation, Results, Status,
    StatusCode, Verb,
};
use std::borrow::Cow;

/// The bounds that answers and objects have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Largest object to take, in octets.
    pub(super) taken: u64,
    /// Largest object that the server takes.
    pub(super) given: Option<u64>,
    /// Room for answers in one message, in octets.
    pub(super) room: usize,
    /// How messages are written.
    pub(super) encoding: Encoding,
    /// Octets of memory that what waits already takes.
    pub(super) waiting: usize,
}

/// The work of one message.
pub(super) struct Work<'w, T> {
    target: &'w mut T,
    server: &'w str,
    /// MsgID of the message.
    message: String,
    bounds: Bounds,
    arriving: &'w mut Option<Arriving>,
    /// Whether a Get found more than may wait: the rest of the message finds nothing.
    is_full: bool,
    pub(super) answers: Vec<Answer>,
    /// Statuses that leave before what waits already: of requests for it.
    pub(super) ahead: Vec<Answer>,
    /// Whether the server broke off what we send.
    pub(super) stop_sending: bool,
}

impl<'w, T: Target> Work<'w, T> {
    pub(super) fn new(
        target: &'w mut T,
        server: &'w str,
        message: u32,
        bounds: Bounds,
        arriving: &'w mut Option<Arriving>,
    ) -> Self {
        let message = message.to_string();
        Self {
            target,
            server,
            message,
            bounds,
            arriving,
            is_full: false,
            answers: Vec::new(),
            ahead: Vec::new(),
            stop_sending: false,
        }
    }

    /// Carries out all of `commands`.
    pub(super) fn all(&mut self, commands: &[Command<'_>]) {
        let mut goes_on = self.arriving.is_none();
        for command in commands {
            if answerless(command) {
                continue;
            }
            if !goes_on && !is_request_for_more(command) {
                goes_on = true;
                self.must_continue(command);
            }
            self.command(command, false);
            if is_request_for_more(command) {
                let status = self.answers.pop();
                self.ahead.extend(status.map(|it| Answer { ahead: true, ..it }));
            }
        }
        if !goes_on {
            self.break_off();
        }
    }

    /// Answers all of `commands` with `code` and does nothing.
    pub(super) fn refuse(&mut self, commands: &[Command<'_>], code: StatusCode) {
        for command in commands.iter().filter(|command| !answerless(command)) {
            self.skip(command, code);
        }
    }

    /// Breaks the arriving object off unless `command` goes on with it.
    fn must_continue(&mut self, command: &Command<'_>) {
        let continues = match (command, self.arriving.as_ref()) {
            (Command::Operation(operation), Some(arriving)) => {
                let uri = operation.items.first().and_then(|item| item.target.as_ref());
                uri.is_some_and(|uri| arriving.is(operation.verb, &uri.uri))
            }
            _ => false,
        };
        if !continues {
            self.break_off();
        }
    }

    fn break_off(&mut self) {
        if let Some(arriving) = self.arriving.take() {
            self.answers.push(Answer::of(Command::Alert(arriving.broken_off())));
        }
    }

    /// Whether it succeeded. The recursion ends with `limits::DEPTH`.
    fn command(&mut self, command: &Command<'_>, in_atomic: bool) -> bool {
        let code = match command {
            Command::Operation(operation) => return self.operation(operation, in_atomic),
            Command::Group(group) if group.atomic && !in_atomic => return self.atomic(group),
            Command::Group(group) if !group.atomic => return self.sequence(group, in_atomic),
            // An Atomic inside an Atomic.
            Command::Group(group) => {
                self.status(command, StatusCode::COMMAND_FAILED);
                self.refuse(&group.commands, StatusCode::NOT_EXECUTED);
                return false;
            }
            Command::Alert(alert) => self.alert(alert),
            Command::Other { .. } => StatusCode::NOT_IMPLEMENTED,
            Command::Status(_) | Command::Results(_) => return true,
        };
        self.status(command, code);
        code.is_success()
    }

    fn alert(&mut self, alert: &Alert<'_>) -> StatusCode {
        match alert.code {
            Some(AlertCode::NEXT_MESSAGE | AlertCode::SESSION_ABORT) => StatusCode::OK,
            Some(AlertCode::NO_END_OF_DATA) => {
                self.stop_sending = true;
                StatusCode::OK
            }
            // The alerts for a user (1100 to 1104) are among these: there is no screen to show them
            // on and nobody to answer, and a default reply is not a person's consent.
            Some(_) => StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED,
            None => StatusCode::INCOMPLETE_COMMAND,
        }
    }

    fn sequence(&mut self, group: &Group<'_>, in_atomic: bool) -> bool {
        self.group_status(group, StatusCode::OK);
        let (mut all_well, mut stopped) = (true, false);
        for command in group.commands.iter().filter(|command| !answerless(command)) {
            if stopped {
                self.skip(command, StatusCode::NOT_EXECUTED);
                continue;
            }
            let well = self.command(command, in_atomic);
            all_well &= well;
            stopped = !well && (in_atomic || asks_a_user(command));
        }
        all_well
    }

    fn atomic(&mut self, group: &Group<'_>) -> bool {
        let container = self.answers.len();
        self.group_status(group, StatusCode::OK);
        self.target.begin();
        let mut well = true;
        for command in group.commands.iter().filter(|command| !answerless(command)) {
            if well {
                well = self.command(command, true);
            } else {
                self.skip(command, StatusCode::NOT_EXECUTED);
            }
        }
        let fits = || super::outbox::fits(&self.answers, container, self.bounds);
        let failure = match well {
            true if fits() => {
                self.target.commit();
                return true;
            }
            true => StatusCode::ATOMIC_RESPONSE_TOO_LARGE,
            false => StatusCode::ATOMIC_FAILED,
        };
        let undone = self.target.rollback();
        for (index, answer) in self.answers.iter_mut().enumerate().skip(container) {
            let Command::Status(status) = &mut answer.command else { continue };
            if index == container {
                status.code = if undone { failure } else { StatusCode::ATOMIC_ROLLBACK_FAILED };
            } else if status.code.is_success() && status.code != StatusCode::NOT_EXECUTED {
                status.code = StatusCode::ROLLED_BACK;
            }
            answer.durable &= !undone;
        }
        false
    }

    fn operation(&mut self, operation: &Operation<'_>, in_atomic: bool) -> bool {
        let single = matches!(operation.verb, Verb::Exec) && operation.items.len() > 1;
        if operation.items.is_empty() || single {
            self.operation_status(operation, StatusCode::INCOMPLETE_COMMAND, None);
            return false;
        }
        if in_atomic && operation.verb == Verb::Get {
            self.operation_status(operation, StatusCode::COMMAND_FAILED, None);
            return false;
        }
        let mut outcomes: Vec<(Cow<'_, str>, Outcome)> = Vec::new();
        for item in &operation.items {
            let stop = in_atomic && outcomes.iter().any(|(_, it)| !it.code.is_success());
            let outcome = if stop {
                Outcome::from(StatusCode::NOT_EXECUTED)
            } else {
                self.item(operation, item, in_atomic)
            };
            let uri = item.target.as_ref().map_or("", |target| &target.uri);
            outcomes.push((Cow::Borrowed(uri), outcome));
        }
        let well = outcomes.iter().all(|(_, it)| it.code.is_success());
        let first = outcomes.first().map(|(_, outcome)| outcome.code).unwrap_or_default();
        if outcomes.iter().all(|(_, outcome)| outcome.code == first) {
            self.operation_status(operation, first, None);
            let all = outcomes.iter().map(|(uri, _)| &**uri).collect::<Vec<_>>().join(" ");
            if let Some(answer) = self.answers.last_mut() {
                answer.uri = all;
            }
        } else {
            for (uri, outcome) in &outcomes {
                self.operation_status(operation, outcome.code, Some(uri));
            }
        }
        for (uri, outcome) in outcomes {
            for item in outcome.items {
                self.results(operation, &uri, item);
            }
        }
        well
    }

    fn item(&mut self, operation: &Operation<'_>, item: &Item<'_>, in_atomic: bool) -> Outcome {
        let uri = item.target.as_ref().map_or("", |target| &target.uri);
        if uri.is_empty() {
            return StatusCode::INCOMPLETE_COMMAND.into();
        }
        let meta = merged(&item.meta, &operation.meta);
        let source = item.source.as_ref().map(|source| &*source.uri);
        let correlator = operation.correlator.as_deref();
        let (server, verb) = (self.server, operation.verb);
        let request = Request {
            server,
            verb,
            uri,
            source,
            meta: &meta,
            data: item.data.as_ref(),
            correlator,
        };
        let begun = self.arriving.take_if(|arriving| arriving.is(verb, uri));
        let chunk = match begun {
            // A chunk cannot be undone, and a group has to be in one message.
            _ if in_atomic && item.more_data => return StatusCode::INCOMPLETE_COMMAND.into(),
            Some(arriving) => arriving.continued(item),
            None if item.more_data && self.arriving.is_none() => {
                Arriving::begin(verb, uri, &meta, item, self.bounds.taken)
            }
            // Two at a time.
            None if item.more_data => return StatusCode::INCOMPLETE_COMMAND.into(),
            None => {
                let length = item.data.as_ref().map_or(0, object::length);
                if length > self.bounds.taken {
                    return StatusCode::TOO_LARGE.into();
                }
                return self.found(&request);
            }
        };
        match chunk {
            Chunk::Kept(arriving) => {
                *self.arriving = Some(arriving);
                StatusCode::CHUNK_KEPT.into()
            }
            Chunk::Whole(meta, data) => {
                self.found(&Request { meta: &meta, data: Some(&data), ..request })
            }
            Chunk::Refused(code) => code.into(),
        }
    }

    /// Executes; what the server could not take is not sent, nor what there is no room for.
    fn found(&mut self, request: &Request<'_>) -> Outcome {
        if self.is_full && request.verb == Verb::Get {
            return StatusCode::TOO_LARGE.into();
        }
        let outcome = self.target.execute(request);
        let length = |item: &Item<'_>| item.data.as_ref().map_or(0, object::length);
        let most = self.bounds.given;
        if most.is_some_and(|most| outcome.items.iter().any(|item| length(item) > most)) {
            return StatusCode::TOO_LARGE.into();
        }
        let waiting = self.bounds.waiting + super::outbox::octets(&outcome.items);
        if waiting > limits::ANSWERS_OCTETS && !outcome.items.is_empty() {
            self.is_full = true;
            return StatusCode::TOO_LARGE.into();
        }
        self.bounds.waiting = waiting;
        outcome
    }

    /// Answers `command`, and all that is in it, with `code`.
    fn skip(&mut self, command: &Command<'_>, code: StatusCode) {
        self.status(command, code);
        if let Command::Group(group) = command {
            self.refuse(&group.commands, code);
        }
    }

    fn status(&mut self, command: &Command<'_>, code: StatusCode) {
        let uri = match command {
            Command::Operation(it) => it.items.first().and_then(|item| item.target.as_ref()),
            _ => None,
        };
        let uri = uri.map(|uri| uri.uri.to_string()).unwrap_or_default();
        self.push(command.command_id(), command.name(), code, None, uri);
    }

    fn group_status(&mut self, group: &Group<'_>, code: StatusCode) {
        let name = if group.atomic { "Atomic" } else { "Sequence" };
        self.push(&group.command_id, name, code, None, String::new());
    }

    fn operation_status(&mut self, operation: &Operation<'_>, code: StatusCode, uri: Option<&str>) {
        let first = operation.items.first().and_then(|item| item.target.as_ref());
        let named = uri.or_else(|| first.map(|target| &*target.uri)).unwrap_or_default().to_owned();
        self.push(&operation.command_id, operation.verb.name(), code, uri, named);
        if let Some(answer) = self.answers.last_mut() {
            let kept = matches!(code, StatusCode::CHUNK_KEPT | StatusCode::NOT_EXECUTED);
            answer.durable = operation.verb != Verb::Get && code.is_success() && !kept;
        }
    }

    fn push(
        &mut self,
        id: &str,
        name: &'static str,
        code: StatusCode,
        target: Option<&str>,
        uri: String,
    ) {
        let status = Status {
            message_ref: self.message.clone().into(),
            command_ref: id.to_owned().into(),
            command: name.into(),
            target_refs: target.map(|uri| uri.to_owned().into()).into_iter().collect(),
            code,
            ..Status::default()
        };
        self.answers.push(Answer { uri, ..Answer::of(Command::Status(status)) });
    }

    fn results(&mut self, operation: &Operation<'_>, uri: &str, mut item: Item<'static>) {
        if item.source.is_none() {
            item.source = Some(Location { uri: uri.to_owned().into(), name: None });
        }
        let results = Results {
            message_ref: Some(self.message.clone().into()),
            command_ref: operation.command_id.to_string().into(),
            items: vec![item],
            ..Results::default()
        };
        self.answers.push(Answer::of(Command::Results(results)));
    }
}

/// What gets no Status.
fn answerless(command: &Command<'_>) -> bool {
    matches!(command, Command::Status(_) | Command::Results(_))
}

fn is_request_for_more(command: &Command<'_>) -> bool {
    matches!(command, Command::Alert(alert) if alert.code == Some(AlertCode::NEXT_MESSAGE))
}

/// Whether the rest of a Sequence depends on what a user says to this. A text that is only shown
/// (1100) asks nothing.
fn asks_a_user(command: &Command<'_>) -> bool {
    matches!(command, Command::Alert(alert) if matches!(alert.code, Some(AlertCode(1101..=1104))))
}

/// The item's Meta, completed by that of its command.
fn merged<'m>(item: &'m Meta<'m>, command: &'m Meta<'m>) -> Meta<'m> {
    let text = |one: &'m Option<Cow<'m, str>>, two: &'m Option<Cow<'m, str>>| {
        one.as_deref().or(two.as_deref()).map(Cow::Borrowed)
    };
    Meta {
        kind: text(&item.kind, &command.kind),
        format: text(&item.format, &command.format),
        mark: text(&item.mark, &command.mark),
        size: item.size.or(command.size),
        ..Meta::default()
    }
}
