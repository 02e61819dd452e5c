//! The grammar of SyncML, once: element events in, a [`Message`] out.
//!
//! (OMA-TS-DM_RepPro 1.2.1, 6.) A [`Lexer`] turns one encoding into [`Token`]s. What the grammar
//! does not know it skips; order is free; only what says who speaks in which session is required,
//! and may stand once.

use super::lexer::{Lexer, Token};
use super::tokens::Tag;
use super::{
    Alert, AlertCode, Command, Credentials, Data, Group, Header, Item, Location, Message, Meta,
    Operation, Results, Status, StatusCode, Verb,
};
use crate::limits;
use crate::proto::wire::{DecodeError, DecodeErrorKind};
use std::borrow::Cow;
use std::str::FromStr;

/// Reads one message from its tokens.
///
/// # Errors
/// The lexer's, or the message lacks what it must have.
pub(super) fn message<'a>(lexer: impl Lexer<'a>) -> Result<Message<'a>, DecodeError> {
    let mut parser = Parser { lexer, commands: 0 };
    let message = match parser.lexer.next()? {
        Token::Start(Tag::SYNC_ML) => parser.message()?,
        _ => return Err(parser.malformed("root is not SyncML")),
    };
    parser.lexer.finish()?;
    Ok(message)
}

type Parsed<T> = Result<T, DecodeError>;

struct Parser<L> {
    lexer: L,
    commands: usize,
}

impl<'a, L: Lexer<'a>> Parser<L> {
    fn message(&mut self) -> Parsed<Message<'a>> {
        let mut header = None;
        let mut body = None;
        self.children(|parser, tag| match tag {
            Tag::SYNC_HDR => parser.once(&mut header, "second SyncHdr", Self::header),
            Tag::SYNC_BODY => parser.once(&mut body, "second SyncBody", Self::body),
            _ => parser.skip(),
        })?;
        let header = header.ok_or_else(|| self.malformed("SyncHdr is missing"))?;
        let (commands, is_final) = body.unwrap_or_default();
        Ok(Message { header, commands, is_final })
    }

    fn header(&mut self) -> Parsed<Header<'a>> {
        let mut header = Header::default();
        let (mut session, mut message, mut source, mut target) = (None, None, None, None);
        self.children(|parser, tag| match tag {
            Tag::VER_DTD => parser.text_into(&mut header.version_dtd),
            Tag::VER_PROTO => parser.text_into(&mut header.version_protocol),
            Tag::SESSION_ID => parser.once(&mut session, "second SessionID", Self::text),
            Tag::MSG_ID => parser.once(&mut message, "second MsgID", Self::text),
            Tag::TARGET => parser.once(&mut target, "second Target", Self::location),
            Tag::SOURCE => parser.once(&mut source, "second Source", Self::location),
            Tag::RESP_URI => parser.some_text(&mut header.response_uri),
            Tag::CRED => parser.once(&mut header.credentials, "second Cred", Self::credentials),
            Tag::META => parser.meta_into(&mut header.meta),
            _ => parser.skip(),
        })?;
        header.session_id = session
            .filter(|id| !id.is_empty())
            .ok_or_else(|| self.malformed("SessionID is missing"))?;
        header.message_id = message
            .and_then(|id| number(&id))
            .filter(|id| *id != 0)
            .ok_or_else(|| self.malformed("MsgID is not a number from 1"))?;
        header.source = source
            .filter(|source| !source.uri.is_empty())
            .ok_or_else(|| self.malformed("Source is missing"))?;
        header.target = target.unwrap_or_default();
        Ok(header)
    }

    fn credentials(&mut self) -> Parsed<Credentials<'a>> {
        let mut credentials = Credentials::default();
        self.children(|parser, tag| match tag {
            Tag::META => parser.meta_into(&mut credentials.meta),
            Tag::DATA => parser.data_into(&mut credentials.data),
            _ => parser.skip(),
        })?;
        Ok(credentials)
    }

    fn body(&mut self) -> Parsed<(Vec<Command<'a>>, bool)> {
        let mut commands = Vec::new();
        let mut is_final = false;
        self.children(|parser, tag| {
            if tag == Tag::FINAL {
                is_final = true;
                return parser.skip();
            }
            parser.command_into(&mut commands, tag)
        })?;
        Ok((commands, is_final))
    }

    fn command_into(&mut self, commands: &mut Vec<Command<'a>>, tag: Tag) -> Parsed<()> {
        let command = match tag {
            Tag::STATUS => Command::Status(self.status()?),
            Tag::RESULTS => Command::Results(self.results()?),
            Tag::ALERT => Command::Alert(self.alert()?),
            Tag::ADD => self.operation(Verb::Add)?,
            Tag::COPY => self.operation(Verb::Copy)?,
            Tag::DELETE => self.operation(Verb::Delete)?,
            Tag::EXEC => self.operation(Verb::Exec)?,
            Tag::GET => self.operation(Verb::Get)?,
            Tag::REPLACE => self.operation(Verb::Replace)?,
            Tag::ATOMIC => Command::Group(self.group(true)?),
            Tag::SEQUENCE => Command::Group(self.group(false)?),
            Tag::PUT | Tag::SYNC | Tag::MAP | Tag::SEARCH | Tag::MOVE => self.other(tag)?,
            _ => return self.skip(),
        };
        self.commands += 1;
        if self.commands > limits::COMMANDS {
            return Err(self.error(DecodeErrorKind::Limit("commands")));
        }
        commands.push(command);
        Ok(())
    }

    fn status(&mut self) -> Parsed<Status<'a>> {
        let mut status = Status::default();
        self.children(|parser, tag| match tag {
            Tag::CMD_ID => parser.text_into(&mut status.command_id),
            Tag::MSG_REF => parser.text_into(&mut status.message_ref),
            Tag::CMD_REF => parser.text_into(&mut status.command_ref),
            Tag::CMD => parser.text_into(&mut status.command),
            Tag::TARGET_REF => parser.text().map(|text| status.target_refs.push(text)),
            Tag::SOURCE_REF => parser.text().map(|text| status.source_refs.push(text)),
            Tag::CHAL => parser.challenge().map(|meta| status.challenge = Some(meta)),
            Tag::DATA => {
                let code = parser.text()?;
                status.code = StatusCode(number(&code).unwrap_or_default());
                Ok(())
            }
            Tag::ITEM => parser.item_into(&mut status.items),
            _ => parser.skip(),
        })?;
        Ok(status)
    }

    fn challenge(&mut self) -> Parsed<Meta<'a>> {
        let mut meta = Meta::default();
        self.children(|parser, tag| match tag {
            Tag::META => parser.meta_into(&mut meta),
            _ => parser.skip(),
        })?;
        Ok(meta)
    }

    fn results(&mut self) -> Parsed<Results<'a>> {
        let mut results = Results::default();
        self.children(|parser, tag| match tag {
            Tag::CMD_ID => parser.text_into(&mut results.command_id),
            Tag::MSG_REF => parser.some_text(&mut results.message_ref),
            Tag::CMD_REF => parser.text_into(&mut results.command_ref),
            Tag::META => parser.meta_into(&mut results.meta),
            Tag::TARGET_REF => parser.some_text(&mut results.target_ref),
            Tag::SOURCE_REF => parser.some_text(&mut results.source_ref),
            Tag::ITEM => parser.item_into(&mut results.items),
            _ => parser.skip(),
        })?;
        Ok(results)
    }

    fn alert(&mut self) -> Parsed<Alert<'a>> {
        let mut alert = Alert::default();
        loop {
            let piece = match self.lexer.next()? {
                Token::Start(tag) => {
                    match tag {
                        Tag::CMD_ID => self.text_into(&mut alert.command_id)?,
                        Tag::DATA => alert.code = number(&self.text()?).map(AlertCode),
                        Tag::CORRELATOR => self.some_text(&mut alert.correlator)?,
                        Tag::META => self.meta_into(&mut alert.meta)?,
                        Tag::ITEM => self.item_into(&mut alert.items)?,
                        _ => self.skip()?,
                    }
                    continue;
                }
                Token::End => break,
                Token::Text(text) => Data::Text(text),
                Token::Markup(text) => Data::Markup(text),
                Token::Binary(octets) => Data::Binary(octets.into()),
            };
            // White space between the elements is layout, not loose data.
            if alert.loose.is_some() || !piece.is_blank() {
                self.join(&mut alert.loose, piece)?;
            }
        }
        alert.loose = alert.loose.map(Data::trimmed);
        Ok(alert)
    }

    fn operation(&mut self, verb: Verb) -> Parsed<Command<'a>> {
        let mut operation = Operation {
            verb,
            command_id: Cow::default(),
            meta: Meta::default(),
            correlator: None,
            items: Vec::new(),
        };
        self.children(|parser, tag| match tag {
            Tag::CMD_ID => parser.text_into(&mut operation.command_id),
            Tag::META => parser.meta_into(&mut operation.meta),
            Tag::CORRELATOR => parser.some_text(&mut operation.correlator),
            Tag::ITEM => parser.item_into(&mut operation.items),
            _ => parser.skip(),
        })?;
        Ok(Command::Operation(operation))
    }

    // The only recursion: `limits::DEPTH` ends it.
    fn group(&mut self, atomic: bool) -> Parsed<Group<'a>> {
        let (command_id, meta) = (Cow::default(), Meta::default());
        let mut group = Group { atomic, command_id, meta, commands: Vec::new() };
        self.children(|parser, tag| match tag {
            Tag::CMD_ID => parser.text_into(&mut group.command_id),
            Tag::META => parser.meta_into(&mut group.meta),
            _ => parser.command_into(&mut group.commands, tag),
        })?;
        Ok(group)
    }

    fn other(&mut self, tag: Tag) -> Parsed<Command<'a>> {
        let mut command_id = Cow::default();
        self.children(|parser, tag| match tag {
            Tag::CMD_ID => parser.text_into(&mut command_id),
            _ => parser.skip(),
        })?;
        Ok(Command::Other { name: tag.name(), command_id })
    }

    fn item_into(&mut self, items: &mut Vec<Item<'a>>) -> Parsed<()> {
        let mut item = Item::default();
        self.children(|parser, tag| match tag {
            Tag::TARGET => parser.location().map(|target| item.target = Some(target)),
            Tag::SOURCE => parser.location().map(|source| item.source = Some(source)),
            Tag::META => parser.meta_into(&mut item.meta),
            Tag::DATA => parser.data_into(&mut item.data),
            Tag::MORE_DATA => {
                item.more_data = true;
                parser.skip()
            }
            _ => parser.skip(),
        })?;
        items.push(item);
        Ok(())
    }

    fn location(&mut self) -> Parsed<Location<'a>> {
        let mut uri = None;
        let mut name = None;
        self.children(|parser, tag| match tag {
            Tag::LOC_URI => parser.once(&mut uri, "second LocURI", Self::text),
            Tag::LOC_NAME => parser.some_text(&mut name),
            _ => parser.skip(),
        })?;
        Ok(Location { uri: uri.unwrap_or_default(), name })
    }

    /// Reads the children of `Meta`, which may stand inside a `MetInf` wrapper.
    fn meta_into(&mut self, meta: &mut Meta<'a>) -> Parsed<()> {
        let mut wrapped = false;
        loop {
            match self.lexer.next()? {
                Token::Start(Tag::MET_INF) if !wrapped => wrapped = true,
                Token::Start(tag) => match tag {
                    Tag::TYPE => self.some_text(&mut meta.kind)?,
                    Tag::FORMAT => self.some_text(&mut meta.format)?,
                    Tag::MARK => self.some_text(&mut meta.mark)?,
                    Tag::NEXT_NONCE => self.some_text(&mut meta.next_nonce)?,
                    Tag::SIZE => meta.size = number(&self.text()?),
                    Tag::MAX_MSG_SIZE => meta.max_message_size = number(&self.text()?),
                    Tag::MAX_OBJ_SIZE => meta.max_object_size = number(&self.text()?),
                    _ => self.skip()?,
                },
                Token::End if wrapped => wrapped = false,
                Token::End => return Ok(()),
                Token::Text(_) | Token::Markup(_) | Token::Binary(_) => {}
            }
        }
    }

    fn data_into(&mut self, data: &mut Option<Data<'a>>) -> Parsed<()> {
        let start = self.lexer.offset();
        let mut content = None;
        loop {
            let piece = match self.lexer.next()? {
                Token::Start(tag) => {
                    *data = Some(Data::Markup(self.lexer.markup(start, content, tag)?));
                    return Ok(());
                }
                Token::End => break,
                Token::Text(text) => Data::Text(text),
                Token::Markup(text) => Data::Markup(text),
                Token::Binary(octets) => Data::Binary(octets.into()),
            };
            self.join(&mut content, piece)?;
        }
        *data = Some(content.unwrap_or(Data::Text(Cow::Borrowed(""))));
        Ok(())
    }

    fn text_into(&mut self, text: &mut Cow<'a, str>) -> Parsed<()> {
        *text = self.text()?;
        Ok(())
    }

    fn some_text(&mut self, text: &mut Option<Cow<'a, str>>) -> Parsed<()> {
        *text = Some(self.text()?);
        Ok(())
    }

    /// The text of an element without the white space around it.
    fn text(&mut self) -> Parsed<Cow<'a, str>> {
        let mut held = Cow::Borrowed("");
        loop {
            match self.lexer.next()? {
                Token::Start(_) => self.skip()?,
                Token::End => return Ok(trimmed(held)),
                Token::Text(text) | Token::Markup(text) => {
                    if held.len() + text.len() > limits::TEXT {
                        return Err(self.error(DecodeErrorKind::Limit("text")));
                    }
                    held += text;
                }
                Token::Binary(_) => return Err(self.error(DecodeErrorKind::Text)),
            }
        }
    }

    fn join(&self, held: &mut Option<Data<'a>>, piece: Data<'a>) -> Parsed<()> {
        let length = held.as_ref().map_or(0, Data::len) + piece.len();
        if length > limits::TEXT {
            return Err(self.error(DecodeErrorKind::Limit("text")));
        }
        *held = Some(match held.take() {
            None => piece,
            Some(held) => held.joined(piece),
        });
        Ok(())
    }

    /// Hands each child element of the open element to `child`, which must read to its `End`.
    fn children(&mut self, mut child: impl FnMut(&mut Self, Tag) -> Parsed<()>) -> Parsed<()> {
        loop {
            match self.lexer.next()? {
                Token::Start(tag) => child(self, tag)?,
                Token::End => return Ok(()),
                Token::Text(_) | Token::Markup(_) | Token::Binary(_) => {}
            }
        }
    }

    /// Reads to the `End` of the open element.
    fn skip(&mut self) -> Parsed<()> {
        let mut open = 1_usize;
        while open > 0 {
            match self.lexer.next()? {
                Token::Start(_) => open += 1,
                Token::End => open -= 1,
                Token::Text(_) | Token::Markup(_) | Token::Binary(_) => {}
            }
        }
        Ok(())
    }

    fn once<T>(
        &mut self,
        slot: &mut Option<T>,
        second: &'static str,
        read: impl FnOnce(&mut Self) -> Parsed<T>,
    ) -> Parsed<()> {
        if slot.is_some() {
            return Err(self.malformed(second));
        }
        *slot = Some(read(self)?);
        Ok(())
    }

    fn malformed(&self, what: &'static str) -> DecodeError {
        self.error(DecodeErrorKind::Malformed(what))
    }

    fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { offset: self.lexer.offset(), kind }
    }
}

impl<'a> Data<'a> {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Markup(text) => text.len(),
            Self::Binary(octets) => octets.len(),
        }
    }

    fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim_ascii().is_empty())
    }

    fn trimmed(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(trimmed(text)),
            Self::Markup(text) => Self::Markup(trimmed(text)),
            Self::Binary(octets) => Self::Binary(octets),
        }
    }

    /// One piece of content after the other: text stays text, text with markup is markup, and
    /// whatever has octets in it is octets.
    fn joined(self, next: Self) -> Self {
        match (self, next) {
            (Self::Text(text), Self::Text(next)) => Self::Text(text + next),
            (Self::Text(text) | Self::Markup(text), Self::Text(next) | Self::Markup(next)) => {
                Self::Markup(text + next)
            }
            (first, next) => {
                let mut octets = first.into_octets().into_owned();
                octets.extend_from_slice(&next.into_octets());
                Self::Binary(octets.into())
            }
        }
    }

    fn into_octets(self) -> Cow<'a, [u8]> {
        match self {
            Self::Binary(octets) => octets,
            Self::Text(Cow::Borrowed(text)) | Self::Markup(Cow::Borrowed(text)) => {
                Cow::Borrowed(text.as_bytes())
            }
            Self::Text(Cow::Owned(text)) | Self::Markup(Cow::Owned(text)) => {
                Cow::Owned(text.into_bytes())
            }
        }
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_ascii()),
        Cow::Owned(text) if text.trim_ascii().len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(text.trim_ascii().to_owned()),
    }
}

fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|octet| octet.is_ascii_digit()).then(|| digits.parse().ok())?
}
