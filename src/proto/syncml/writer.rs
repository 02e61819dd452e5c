//! The writer of SyncML, once: a [`Message`] in, element events out.
//!
//! (OMA-TS-DM_RepPro 1.2.1, 6.) Children stand in the order of the DTD. A [`Sink`] turns the
//! events into one encoding.

use super::tokens::Tag;
use super::{
    Alert, Command, Credentials, Data, Group, Header, Item, Location, Message, Meta, Operation,
    Results, Status, Verb,
};

/// A receiver of element events.
pub(super) trait Sink {
    /// What `Format` says of octets in this encoding.
    const BINARY_FORMAT: &'static str;

    /// An element with content begins.
    fn start(&mut self, tag: Tag);
    /// The innermost element ends.
    fn end(&mut self);
    /// An element without content.
    fn empty(&mut self, tag: Tag);
    /// Character data.
    fn text(&mut self, text: &str);
    /// Text that is a document.
    fn markup(&mut self, text: &str);
    /// Octets.
    fn binary(&mut self, octets: &[u8]);
}

/// Writes one message.
pub(super) fn message(sink: &mut impl Sink, message: &Message<'_>) {
    sink.element(Tag::SYNC_ML, |sink| {
        sink.element(Tag::SYNC_HDR, |sink| header(sink, &message.header));
        sink.element(Tag::SYNC_BODY, |sink| {
            commands(sink, &message.commands);
            if message.is_final {
                sink.empty(Tag::FINAL);
            }
        });
    });
}

fn header(sink: &mut impl Sink, header: &Header<'_>) {
    sink.leaf(Tag::VER_DTD, &header.version_dtd);
    sink.leaf(Tag::VER_PROTO, &header.version_protocol);
    sink.leaf(Tag::SESSION_ID, &header.session_id);
    sink.number(Tag::MSG_ID, header.message_id.into());
    location(sink, Tag::TARGET, &header.target);
    location(sink, Tag::SOURCE, &header.source);
    sink.some_leaf(Tag::RESP_URI, header.response_uri.as_deref());
    if let Some(credentials) = &header.credentials {
        sink.element(Tag::CRED, |sink| write_credentials(sink, credentials));
    }
    meta(sink, &header.meta, None);
}

fn write_credentials(sink: &mut impl Sink, credentials: &Credentials<'_>) {
    meta(sink, &credentials.meta, credentials.data.as_ref());
    some_data(sink, credentials.data.as_ref());
}

fn commands(sink: &mut impl Sink, commands: &[Command<'_>]) {
    for command in commands {
        match command {
            Command::Status(it) => sink.element(Tag::STATUS, |sink| status(sink, it)),
            Command::Results(it) => sink.element(Tag::RESULTS, |sink| results(sink, it)),
            Command::Alert(it) => sink.element(Tag::ALERT, |sink| alert(sink, it)),
            Command::Operation(it) => sink.element(verb(it.verb), |sink| operation(sink, it)),
            Command::Group(it) => {
                let tag = if it.atomic { Tag::ATOMIC } else { Tag::SEQUENCE };
                sink.element(tag, |sink| group(sink, it));
            }
            Command::Other { name, command_id } => match Tag::of_name(name) {
                // A name that SyncML does not have cannot be written.
                Tag::UNKNOWN => {}
                tag => sink.element(tag, |sink| sink.leaf(Tag::CMD_ID, command_id)),
            },
        }
    }
}

fn verb(verb: Verb) -> Tag {
    match verb {
        Verb::Add => Tag::ADD,
        Verb::Copy => Tag::COPY,
        Verb::Delete => Tag::DELETE,
        Verb::Exec => Tag::EXEC,
        Verb::Get => Tag::GET,
        Verb::Replace => Tag::REPLACE,
    }
}

fn status(sink: &mut impl Sink, status: &Status<'_>) {
    sink.leaf(Tag::CMD_ID, &status.command_id);
    sink.leaf(Tag::MSG_REF, &status.message_ref);
    sink.leaf(Tag::CMD_REF, &status.command_ref);
    sink.leaf(Tag::CMD, &status.command);
    for target in &status.target_refs {
        sink.leaf(Tag::TARGET_REF, target);
    }
    for source in &status.source_refs {
        sink.leaf(Tag::SOURCE_REF, source);
    }
    if let Some(challenge) = &status.challenge {
        sink.element(Tag::CHAL, |sink| meta(sink, challenge, None));
    }
    sink.number(Tag::DATA, status.code.0.into());
    items(sink, &status.items);
}

fn results(sink: &mut impl Sink, results: &Results<'_>) {
    sink.leaf(Tag::CMD_ID, &results.command_id);
    sink.some_leaf(Tag::MSG_REF, results.message_ref.as_deref());
    sink.leaf(Tag::CMD_REF, &results.command_ref);
    meta(sink, &results.meta, None);
    sink.some_leaf(Tag::TARGET_REF, results.target_ref.as_deref());
    sink.some_leaf(Tag::SOURCE_REF, results.source_ref.as_deref());
    items(sink, &results.items);
}

fn alert(sink: &mut impl Sink, alert: &Alert<'_>) {
    sink.leaf(Tag::CMD_ID, &alert.command_id);
    if let Some(code) = alert.code {
        sink.number(Tag::DATA, code.0.into());
    }
    sink.some_leaf(Tag::CORRELATOR, alert.correlator.as_deref());
    meta(sink, &alert.meta, None);
    items(sink, &alert.items);
    if let Some(loose) = &alert.loose {
        content(sink, loose);
    }
}

fn operation(sink: &mut impl Sink, operation: &Operation<'_>) {
    sink.leaf(Tag::CMD_ID, &operation.command_id);
    meta(sink, &operation.meta, None);
    sink.some_leaf(Tag::CORRELATOR, operation.correlator.as_deref());
    items(sink, &operation.items);
}

fn group(sink: &mut impl Sink, group: &Group<'_>) {
    sink.leaf(Tag::CMD_ID, &group.command_id);
    meta(sink, &group.meta, None);
    commands(sink, &group.commands);
}

fn items(sink: &mut impl Sink, items: &[Item<'_>]) {
    for item in items {
        sink.element(Tag::ITEM, |sink| {
            if let Some(target) = &item.target {
                location(sink, Tag::TARGET, target);
            }
            if let Some(source) = &item.source {
                location(sink, Tag::SOURCE, source);
            }
            meta(sink, &item.meta, item.data.as_ref());
            some_data(sink, item.data.as_ref());
            if item.more_data {
                sink.empty(Tag::MORE_DATA);
            }
        });
    }
}

fn location(sink: &mut impl Sink, tag: Tag, location: &Location<'_>) {
    sink.element(tag, |sink| {
        sink.leaf(Tag::LOC_URI, &location.uri);
        sink.some_leaf(Tag::LOC_NAME, location.name.as_deref());
    });
}

/// Writes the `Meta` of `data`. What is octets says so in the `Format` of the encoding.
fn meta<S: Sink>(sink: &mut S, meta: &Meta<'_>, data: Option<&Data<'_>>) {
    let format = match data {
        Some(Data::Binary(_)) => Some(S::BINARY_FORMAT),
        _ => meta.format.as_deref(),
    };
    if format.is_none() && *meta == Meta::default() {
        return;
    }
    sink.element(Tag::META, |sink| {
        sink.some_leaf(Tag::TYPE, meta.kind.as_deref());
        sink.some_leaf(Tag::FORMAT, format);
        sink.some_leaf(Tag::MARK, meta.mark.as_deref());
        sink.some_number(Tag::SIZE, meta.size);
        sink.some_leaf(Tag::NEXT_NONCE, meta.next_nonce.as_deref());
        sink.some_number(Tag::MAX_MSG_SIZE, meta.max_message_size);
        sink.some_number(Tag::MAX_OBJ_SIZE, meta.max_object_size);
    });
}

fn some_data(sink: &mut impl Sink, data: Option<&Data<'_>>) {
    match data {
        None => {}
        Some(Data::Text(text)) => sink.leaf(Tag::DATA, text),
        Some(data) => sink.element(Tag::DATA, |sink| content(sink, data)),
    }
}

fn content(sink: &mut impl Sink, data: &Data<'_>) {
    match data {
        Data::Text(text) => sink.text(text),
        Data::Markup(text) => sink.markup(text),
        Data::Binary(octets) => sink.binary(octets),
    }
}

trait SinkExt: Sink {
    fn element(&mut self, tag: Tag, body: impl FnOnce(&mut Self)) {
        self.start(tag);
        body(self);
        self.end();
    }

    fn leaf(&mut self, tag: Tag, text: &str) {
        if text.is_empty() {
            return self.empty(tag);
        }
        self.start(tag);
        self.text(text);
        self.end();
    }

    fn some_leaf(&mut self, tag: Tag, text: Option<&str>) {
        if let Some(text) = text {
            self.leaf(tag, text);
        }
    }

    fn number(&mut self, tag: Tag, number: u64) {
        self.leaf(tag, &number.to_string());
    }

    fn some_number(&mut self, tag: Tag, number: Option<u64>) {
        if let Some(number) = number {
            self.number(tag, number);
        }
    }
}

impl<S: Sink> SinkExt for S {}
