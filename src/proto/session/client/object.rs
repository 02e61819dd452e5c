//! Large objects: data that comes, or goes, in chunks over consecutive messages.
//! (DM Protocol 1.2.1, 7.)

use crate::proto::auth;
use crate::proto::syncml::{
    Alert, AlertCode, Command, Data, Item, Location, Meta, StatusCode, Verb,
};
use std::borrow::Cow;

/// An object of which not all chunks have come.
#[derive(Clone, Debug)]
pub(super) struct Arriving {
    verb: Verb,
    uri: String,
    meta: Meta<'static>,
    data: Data<'static>,
    size: u64,
}

/// What one chunk led to.
pub(super) enum Chunk {
    /// It is kept, more is to come: 213.
    Kept(Arriving),
    /// It was the last one.
    Whole(Meta<'static>, Data<'static>),
    /// The object is given up.
    Refused(StatusCode),
}

impl Arriving {
    /// Takes the first chunk. `most` is the largest object to take, in octets.
    pub(super) fn begin(
        verb: Verb,
        uri: &str,
        meta: &Meta<'_>,
        item: &Item<'_>,
        most: u64,
    ) -> Chunk {
        let Some(size) = meta.size else { return Chunk::Refused(StatusCode::SIZE_REQUIRED) };
        if size > most {
            return Chunk::Refused(StatusCode::TOO_LARGE);
        }
        let begun = Self {
            verb,
            uri: uri.to_owned(),
            meta: owned_meta(meta),
            data: item.data.as_ref().map_or(Data::Text(Cow::Borrowed("")), owned_data),
            size,
        };
        begun.checked(true)
    }

    /// Whether `verb` on `uri` goes on with this object.
    pub(super) fn is(&self, verb: Verb, uri: &str) -> bool {
        self.verb == verb && self.uri == uri
    }

    /// Takes the next chunk.
    pub(super) fn continued(mut self, item: &Item<'_>) -> Chunk {
        if let Some(data) = &item.data {
            self.data = joined(self.data, data);
        }
        self.checked(item.more_data)
    }

    fn checked(self, more: bool) -> Chunk {
        let length = length(&self.data);
        if length > self.size || !more && length != self.size {
            Chunk::Refused(StatusCode::SIZE_MISMATCH)
        } else if more {
            Chunk::Kept(self)
        } else {
            Chunk::Whole(self.meta, self.data)
        }
    }

    /// The Alert 1225 that says it was broken off.
    pub(super) fn broken_off(self) -> Alert<'static> {
        let target = Some(Location { uri: self.uri.into(), name: None });
        let items = vec![Item { target, ..Item::default() }];
        Alert { code: Some(AlertCode::NO_END_OF_DATA), items, ..Alert::default() }
    }
}

/// Cuts the data of `command` after at most `room` octets: a command with `MoreData`, and one
/// with the rest. `first` says whether this is the first chunk, which names the Size. `None` if it
/// has no data that could be cut there.
pub(super) fn cut(
    command: &Command<'static>,
    first: bool,
    room: usize,
) -> Option<(Command<'static>, Command<'static>)> {
    let (mut head, mut tail) = (command.clone(), command.clone());
    let item = only_item(&mut head)?;
    let data = item.data.take()?;
    let whole = length(&data);
    let (one, two) = split(data, room)?;
    item.data = Some(one);
    item.more_data = true;
    item.meta.size = first.then_some(whole);
    let rest = only_item(&mut tail)?;
    rest.data = Some(two);
    rest.meta.size = None;
    Some((head, tail))
}

/// Makes octets the text that XML carries them as, so that the chunks join to one base64 text.
pub(super) fn as_text(command: &mut Command<'static>) {
    let Some(item) = only_item(command) else { return };
    if let Some(Data::Binary(octets)) = &item.data {
        item.data = Some(Data::Text(auth::base64_of(octets).into()));
        item.meta.format = Some("b64".into());
    }
}

/// Octets of `data` as carried.
pub(super) fn length(data: &Data<'_>) -> u64 {
    let length = match data {
        Data::Text(text) | Data::Markup(text) => text.len(),
        Data::Binary(octets) => octets.len(),
    };
    length as u64
}

pub(super) fn owned_meta(meta: &Meta<'_>) -> Meta<'static> {
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(|it| Cow::Owned(it.to_owned()));
    Meta {
        kind: text(&meta.kind),
        format: text(&meta.format),
        mark: text(&meta.mark),
        next_nonce: text(&meta.next_nonce),
        ..Meta { kind: None, format: None, mark: None, next_nonce: None, ..*meta }
    }
}

fn owned_data(data: &Data<'_>) -> Data<'static> {
    match data {
        Data::Text(text) => Data::Text(text.to_string().into()),
        Data::Markup(text) => Data::Markup(text.to_string().into()),
        Data::Binary(octets) => Data::Binary(octets.to_vec().into()),
    }
}

fn joined(held: Data<'static>, next: &Data<'_>) -> Data<'static> {
    match (held, next) {
        (Data::Text(held), Data::Text(next)) => Data::Text(appended(held, next)),
        (Data::Text(held) | Data::Markup(held), Data::Text(next) | Data::Markup(next)) => {
            Data::Markup(appended(held, next))
        }
        (held, next) => {
            let mut octets = match held {
                Data::Text(text) | Data::Markup(text) => text.into_owned().into_bytes(),
                Data::Binary(octets) => octets.into_owned(),
            };
            octets.extend_from_slice(match next {
                Data::Text(text) | Data::Markup(text) => text.as_bytes(),
                Data::Binary(octets) => octets,
            });
            Data::Binary(octets.into())
        }
    }
}

fn appended(held: Cow<'static, str>, next: &str) -> Cow<'static, str> {
    let mut held = held.into_owned();
    held.push_str(next);
    held.into()
}

fn split(data: Data<'static>, room: usize) -> Option<(Data<'static>, Data<'static>)> {
    let text = |text: Cow<'static, str>| {
        let at = (0..=room.min(text.len())).rev().find(|at| text.is_char_boundary(*at))?;
        let (one, two) = text.split_at(at);
        (at > 0 && !two.is_empty())
            .then(|| (Cow::Owned(one.to_owned()), Cow::Owned(two.to_owned())))
    };
    match data {
        Data::Text(it) => text(it).map(|(one, two)| (Data::Text(one), Data::Text(two))),
        Data::Markup(it) => text(it).map(|(one, two)| (Data::Markup(one), Data::Markup(two))),
        Data::Binary(octets) => {
            let (one, two) = octets.split_at_checked(room)?;
            let pair = || (Data::Binary(one.to_vec().into()), Data::Binary(two.to_vec().into()));
            (!one.is_empty() && !two.is_empty()).then(pair)
        }
    }
}

/// The item of Results or of an Alert that has one.
fn only_item<'c>(command: &'c mut Command<'static>) -> Option<&'c mut Item<'static>> {
    let items = match command {
        Command::Results(results) => &mut results.items,
        Command::Alert(alert) => &mut alert.items,
        _ => return None,
    };
    match items.as_mut_slice() {
        [item] => Some(item),
        _ => None,
    }
}
