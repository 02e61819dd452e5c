//! What waits to be sent, and how it is fitted into messages of bounded size.
//! (DM Protocol 1.2.1, 6 and 7.)
//!
//! Answers leave in order. What fits no message alone goes in chunks, as a large object; whatever
//! the estimate says, the encoded message is measured before it leaves.

use super::object;
use super::work::Bounds;
use crate::limits;
use crate::proto::syncml::{
    Alert, AlertCode, Command, Data, Encoding, Header, Item, Message, Status,
};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;

/// Up to this many answers it is tried first whether all of them fit.
const TRIED_TOGETHER: usize = 64;

/// Octets of a switch to another code page and back, and of a longer CmdID.
const SLACK: usize = 8;

/// Least room for which a chunk is worth its frame, in octets.
const LEAST_CHUNK: usize = 64;

/// Octets around the data of a chunk in WBXML, and a little less than those in XML.
const CHUNK_FRAME: usize = 64;

/// One command on its way to the server.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) command: Command<'static>,
    /// The node, for the record.
    pub(super) uri: String,
    /// Whether this is the Status of something that has to last.
    pub(super) durable: bool,
    /// Whether chunks of it went before.
    pub(super) continued: bool,
    /// Which of the caller's alerts this is.
    pub(super) alert: Option<usize>,
    /// Whether this answers a request for more, and leaves before what waits.
    pub(super) ahead: bool,
}

impl Answer {
    pub(super) fn of(command: Command<'static>) -> Self {
        let (durable, continued, ahead) = (false, false, false);
        Self { command, uri: String::new(), durable, continued, alert: None, ahead }
    }
}

/// A message and what is in it.
pub(super) struct Filled {
    pub(super) octets: Vec<u8>,
    /// The answers in it; their commands have the CmdIDs under which they went.
    pub(super) answers: Vec<Answer>,
}

/// Whether the answers from `start` on fit into one message.
pub(super) fn fits(answers: &[Answer], start: usize, bounds: Bounds) -> bool {
    let mut room = bounds.room;
    answers.iter().skip(start).all(|answer| {
        let mut command = answer.command.clone();
        let size = size(&mut command, bounds.encoding);
        room = room.saturating_sub(size);
        room > 0
    })
}

/// Fills a message of at most `most` octets from `outbox`: the Status of the header, what fits,
/// and an Alert 1222 if more is wanted of the server (`ask`). It is final if nothing is left and
/// nothing is asked. `None` if not even a part of the first answer fits.
pub(super) fn fill(
    outbox: &mut VecDeque<Answer>,
    header: Header<'static>,
    status: Option<Status<'static>>,
    ask: bool,
    most: usize,
    encoding: Encoding,
) -> Option<Filled> {
    let mut writer = Writer { header, status, encoding };
    if outbox.len() <= TRIED_TOGETHER {
        let mut all: Vec<_> = mem::take(outbox).into();
        let octets = writer.write(&mut all, ask, !ask);
        if octets.len() <= most {
            return Some(Filled { octets, answers: all });
        }
        *outbox = all.into();
    }
    let frame = writer.write(&mut [], true, true).len();
    let room = most.checked_sub(frame)?;
    let mut answers = select(outbox, room, encoding);
    loop {
        if answers.is_empty() && !outbox.is_empty() {
            return None;
        }
        let rest = !outbox.is_empty();
        let octets = writer.write(&mut answers, ask && !rest, !ask && !rest);
        if octets.len() <= most {
            return Some(Filled { octets, answers });
        }
        let last = answers.pop()?;
        // The head of a large object cannot be put back before its rest.
        if more_data(&last.command) {
            return None;
        }
        outbox.push_front(last);
    }
}

/// Takes from the outbox what fits into `room`. Something of what was asked for is in it: if need
/// be the answers to the requests for it wait.
fn select(outbox: &mut VecDeque<Answer>, room: usize, encoding: Encoding) -> Vec<Answer> {
    let (mut ahead, mut left) = (Vec::new(), room);
    while outbox.front().is_some_and(|answer| answer.ahead) {
        let Some(mut answer) = outbox.pop_front() else { break };
        let size = size(&mut answer.command, encoding);
        if size > left {
            outbox.push_front(answer);
            break;
        }
        left -= size;
        ahead.push(answer);
    }
    let rest = select_rest(outbox, left, room, encoding);
    if ahead.is_empty() || !rest.is_empty() || outbox.iter().all(|answer| answer.ahead) {
        return [ahead, rest].concat();
    }
    let more = outbox.iter().take_while(|answer| answer.ahead).count();
    ahead.extend(outbox.drain(..more));
    let answers = select_rest(outbox, room, room, encoding);
    ahead.into_iter().rev().for_each(|answer| outbox.push_front(answer));
    answers
}

/// Takes in order what fits into `room`, of a message that has room for `most`.
fn select_rest(
    outbox: &mut VecDeque<Answer>,
    room: usize,
    most: usize,
    encoding: Encoding,
) -> Vec<Answer> {
    let mut answers: Vec<Answer> = Vec::new();
    let mut left = room;
    while let Some(mut answer) = outbox.pop_front() {
        let whole = size(&mut answer.command, encoding);
        if whole <= left {
            left -= whole;
            answers.push(answer);
            continue;
        }
        // Whole in the next message rather than in two pieces.
        let waits = whole <= most || left < LEAST_CHUNK && !answers.is_empty();
        if waits {
            outbox.push_front(answer);
            break;
        }
        if encoding == Encoding::Xml {
            object::as_text(&mut answer.command);
        }
        let least = if room < most { LEAST_CHUNK } else { 1 };
        match chunk(&answer, left, least, encoding) {
            Some((head, rest)) => {
                outbox.push_front(rest);
                answers.push(head);
            }
            None => outbox.push_front(answer),
        }
        break;
    }
    answers
}

/// The largest head of `answer` that fits into `room`, and the rest of it.
fn chunk(
    answer: &Answer,
    room: usize,
    least: usize,
    encoding: Encoding,
) -> Option<(Answer, Answer)> {
    // What is escaped in XML grows; each try is a good deal shorter than the one before.
    let mut length = room.saturating_sub(CHUNK_FRAME);
    while length >= least {
        if let Some((mut head, rest)) = object::cut(&answer.command, !answer.continued, length) {
            let size = size(&mut head, encoding);
            if size <= room {
                let rest = Answer { command: rest, continued: true, ..answer.clone() };
                return Some((Answer { command: head, ..answer.clone() }, rest));
            }
            length -= (length / 8).max((size - room).min(length / 4)).max(1);
        } else {
            length /= 2;
        }
    }
    None
}

/// Octets that `command` takes in a message, a little more rather than less.
fn size(command: &mut Command<'static>, encoding: Encoding) -> usize {
    let message = |commands| Message { header: Header::default(), commands, is_final: false };
    let empty = encoding.encode(&message(Vec::new())).len();
    let mut message = message(vec![mem::replace(command, NOTHING)]);
    let size = encoding.encode(&message).len();
    if let Some(back) = message.commands.pop() {
        *command = back;
    }
    size.saturating_sub(empty) + SLACK
}

/// Stands where a command was taken out for a moment.
const NOTHING: Command<'static> = Command::Other { name: "", command_id: Cow::Borrowed("") };

struct Writer {
    header: Header<'static>,
    status: Option<Status<'static>>,
    encoding: Encoding,
}

impl Writer {
    /// Numbers the commands from 1 and encodes them all.
    fn write(&mut self, answers: &mut [Answer], ask: bool, is_final: bool) -> Vec<u8> {
        let mut commands = Vec::with_capacity(answers.len() + 2);
        commands.extend(self.status.clone().map(Command::Status));
        let first = commands.len();
        for answer in answers.iter_mut() {
            commands.push(mem::replace(&mut answer.command, NOTHING));
        }
        if ask {
            let code = Some(AlertCode::NEXT_MESSAGE);
            commands.push(Command::Alert(Alert { code, ..Alert::default() }));
        }
        for (index, command) in commands.iter_mut().enumerate() {
            set_id(command, index + 1);
        }
        let header = mem::take(&mut self.header);
        let mut message = Message { header, commands, is_final };
        let octets = self.encoding.encode(&message);
        self.header = mem::take(&mut message.header);
        for (answer, command) in answers.iter_mut().zip(message.commands.drain(first..)) {
            answer.command = command;
        }
        octets
    }
}

fn set_id(command: &mut Command<'static>, id: usize) {
    let id = Cow::Owned(id.to_string());
    match command {
        Command::Status(status) => status.command_id = id,
        Command::Results(results) => results.command_id = id,
        Command::Alert(alert) => alert.command_id = id,
        Command::Operation(operation) => operation.command_id = id,
        Command::Group(group) => group.command_id = id,
        Command::Other { command_id, .. } => *command_id = id,
    }
}

/// Whether `command` is a chunk with more to come.
pub(super) fn more_data(command: &Command<'_>) -> bool {
    items_of(command).iter().any(|item| item.more_data)
}

/// What a Results or an Alert carries.
pub(super) fn items_of<'c>(command: &'c Command<'c>) -> &'c [Item<'c>] {
    match command {
        Command::Results(results) => &results.items,
        Command::Alert(alert) => &alert.items,
        _ => &[],
    }
}

/// Octets of memory that items take, roughly.
pub(super) fn octets(items: &[Item<'_>]) -> usize {
    let octets = |item: &Item<'_>| match &item.data {
        Some(Data::Text(text) | Data::Markup(text)) => text.len(),
        Some(Data::Binary(octets)) => octets.len(),
        None => 0,
    };
    items.iter().map(|item| limits::ANSWER_OCTETS + octets(item)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::syncml::Results;

    fn results(data: Data<'static>) -> Answer {
        let items = vec![Item { data: Some(data), ..Item::default() }];
        Answer::of(Command::Results(Results { items, ..Results::default() }))
    }

    /// All the messages of `outbox`, each within `most`, and the data that they carry.
    fn all(outbox: Vec<Answer>, most: usize, encoding: Encoding) -> (usize, Vec<u8>) {
        let mut outbox = VecDeque::from(outbox);
        let (mut messages, mut carried) = (0, Vec::new());
        while !outbox.is_empty() {
            let header = Header {
                session_id: "1".into(),
                message_id: 1,
                source: crate::proto::syncml::Location { uri: "a".into(), name: None },
                ..Header::default()
            };
            let waiting = outbox.len();
            let filled = fill(&mut outbox, header, None, false, most, encoding);
            let filled =
                filled.unwrap_or_else(|| panic!("{encoding:?} {most} {waiting} {messages}"));
            assert!(filled.octets.len() <= most);
            let message = encoding.decode(&filled.octets).unwrap();
            assert_eq!(message.is_final, outbox.is_empty());
            for command in &message.commands {
                let Command::Results(results) = command else { unreachable!() };
                match results.items[0].data.as_ref().unwrap() {
                    Data::Text(text) | Data::Markup(text) => carried.extend(text.bytes()),
                    Data::Binary(octets) => carried.extend_from_slice(octets),
                }
            }
            messages += 1;
            assert!(messages < 10_000);
        }
        (messages, carried)
    }

    #[test]
    fn whatever_its_size_everything_arrives_in_order_and_no_message_is_too_large() {
        let text = "a&b<ü€ ".repeat(700);
        for encoding in [Encoding::Xml, Encoding::Wbxml] {
            for most in [700, 777, 2048, 65_536] {
                let outbox = (0..90).map(|n| results(Data::Text(format!("{n};").into())));
                let mut outbox: Vec<_> = outbox.collect();
                outbox.push(results(Data::Text(text.clone().into())));
                outbox.push(results(Data::Text("end".into())));
                let expected: String = (0..90).map(|n| format!("{n};")).collect();
                let (messages, carried) = all(outbox, most, encoding);
                assert!(messages > 1 || most > 20_000);
                assert_eq!(String::from_utf8(carried).unwrap(), expected + &text + "end");
            }
        }
    }

    #[test]
    fn octets_are_one_base64_text_over_all_chunks_in_xml_and_octets_in_wbxml() {
        let octets: Vec<u8> = (0..4000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let answer = || vec![results(Data::Binary(octets.clone().into()))];
        assert_eq!(all(answer(), 600, Encoding::Wbxml).1, octets);
        let text = String::from_utf8(all(answer(), 600, Encoding::Xml).1).unwrap();
        assert_eq!(text, crate::proto::auth::base64_of(&octets));
    }
}
