//! SyncML as XML. (`application/vnd.syncml.dm+xml`; OMA-TS-DM_RepPro 1.2.1, 5.)
//!
//! What a validating XML processor would do beyond the five predefined entities is refused
//! instead: entity declarations, and references to them. A bare DOCTYPE is skipped and never
//! fetched. Prefixes and namespaces are not looked at.

use super::grammar;
use super::lexer::{Budget, Lexer, Token, no_controls};
use super::tokens::Tag;
use super::writer::{self, Sink};
use super::{Data, Message};
use crate::proto::wire::{DecodeError, DecodeErrorKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use quick_xml::Reader;
use quick_xml::encoding::EncodingError;
use quick_xml::errors::{Error, IllFormedError};
use quick_xml::events::Event;
use std::borrow::Cow;

/// Decodes one message.
///
/// # Errors
/// Where the octets are not UTF-8, not XML as far as it goes here, not SyncML, or beyond a bound
/// of [`crate::limits`].
pub fn decode(octets: &[u8]) -> Result<Message<'_>, DecodeError> {
    grammar::message(XmlLexer::new(clean(octets)?, Tag::of_name))
}

/// The text of a document, its byte order mark left out.
pub(super) fn clean(octets: &[u8]) -> Result<&str, DecodeError> {
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    let text = std::str::from_utf8(octets).map_err(|error| DecodeError {
        offset: error.valid_up_to(),
        kind: DecodeErrorKind::Text,
    })?;
    if !no_controls(octets) {
        let offset = octets.iter().position(|octet| !no_controls(&[*octet]));
        return Err(DecodeError {
            offset: offset.unwrap_or_default(),
            kind: DecodeErrorKind::Text,
        });
    }
    Ok(text)
}

/// Encodes one message, without white space between the elements. Characters that XML does not
/// have become U+FFFD.
pub fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut sink = XmlSink::default();
    sink.out.reserve(2048);
    sink.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    writer::message(&mut sink, message);
    sink.out.into_bytes()
}

/// The tokens of an XML document.
pub(super) struct XmlLexer<'a> {
    input: &'a str,
    /// Finds the element of a local name.
    names: fn(&str) -> Tag,
    reader: Reader<&'a [u8]>,
    /// Offset of the event that came last.
    start: usize,
    budget: Budget,
}

impl<'a> XmlLexer<'a> {
    /// Starts at the first character of `input`, which is [`clean`].
    pub(super) fn new(input: &'a str, names: fn(&str) -> Tag) -> Self {
        let mut reader = Reader::from_str(input);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.allow_dangling_amp = true;
        Self { input, names, reader, start: 0, budget: Budget::default() }
    }

    /// The next token, `None` at the end of the input.
    fn token(&mut self) -> Result<Option<Token<'a>>, DecodeError> {
        loop {
            self.start = self.offset();
            let event = self.reader.read_event().map_err(|error| self.xml_error(&error))?;
            let token = match event {
                Event::Start(element) => {
                    self.budget.enter().map_err(|kind| self.error(kind))?;
                    let name = self.utf8(element.local_name().into_inner())?;
                    Token::Start((self.names)(name))
                }
                Event::End(_) => {
                    self.budget.leave();
                    Token::End
                }
                Event::Text(text) => Token::Text(self.counted(text.xml10_content())?),
                Event::CData(text) => Token::Markup(self.counted(text.xml10_content())?),
                Event::GeneralRef(name) => {
                    let text = self.reference(self.utf8(&name)?)?;
                    Token::Text(self.counted(Ok(text))?)
                }
                Event::DocType(declaration) => {
                    if declaration.contains(&b'[') {
                        return Err(self.malformed("DOCTYPE declares something"));
                    }
                    if self.budget.depth() > 0 {
                        return Err(self.malformed("DOCTYPE inside an element"));
                    }
                    continue;
                }
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Empty(_) => continue,
                Event::Eof => return Ok(None),
            };
            return Ok(Some(token));
        }
    }

    /// A part of the input as text, which the whole input is.
    fn utf8<'b>(&self, octets: &'b [u8]) -> Result<&'b str, DecodeError> {
        std::str::from_utf8(octets).map_err(|_| self.error(DecodeErrorKind::Text))
    }

    /// What `&name;` stands for. What cannot be a reference is an `&` that was not escaped.
    fn reference(&self, name: &str) -> Result<Cow<'a, str>, DecodeError> {
        let text = match name {
            "amp" => "&",
            "lt" => "<",
            "gt" => ">",
            "quot" => "\"",
            "apos" => "'",
            _ => {
                if let Some(number) = name.strip_prefix('#') {
                    let number = match number.strip_prefix('x') {
                        Some(digits) => u32::from_str_radix(digits, 16),
                        None => number.parse(),
                    };
                    let character = number.ok().and_then(char::from_u32).filter(|it| legal(*it));
                    return match character {
                        Some(character) => Ok(Cow::Owned(character.into())),
                        None => Err(self.error(DecodeErrorKind::Text)),
                    };
                }
                let is_name = |it: char| it.is_alphanumeric() || "-._:".contains(it);
                if name.chars().all(is_name) && !name.is_empty() {
                    return Err(self.malformed("undeclared entity"));
                }
                self.input.get(self.start..self.offset()).unwrap_or_default()
            }
        };
        Ok(Cow::Borrowed(text))
    }

    fn counted(
        &mut self,
        text: Result<Cow<'a, str>, EncodingError>,
    ) -> Result<Cow<'a, str>, DecodeError> {
        let text = text.map_err(|_| self.error(DecodeErrorKind::Text))?;
        match self.budget.text(text.len()) {
            Ok(()) => Ok(text),
            Err(kind) => Err(self.error(kind)),
        }
    }

    fn xml_error(&self, error: &Error) -> DecodeError {
        let kind = match error {
            Error::Syntax(_) => DecodeErrorKind::Truncated,
            Error::IllFormed(
                IllFormedError::MismatchedEndTag { .. } | IllFormedError::UnmatchedEndTag(_),
            ) => DecodeErrorKind::Malformed("end tag without its start tag"),
            Error::Encoding(_) => DecodeErrorKind::Text,
            _ => DecodeErrorKind::Malformed("not well-formed XML"),
        };
        self.error(kind)
    }

    fn malformed(&self, what: &'static str) -> DecodeError {
        self.error(DecodeErrorKind::Malformed(what))
    }

    fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { offset: self.start, kind }
    }
}

impl<'a> Lexer<'a> for XmlLexer<'a> {
    fn next(&mut self) -> Result<Token<'a>, DecodeError> {
        loop {
            match self.token()? {
                None => return Err(self.error(DecodeErrorKind::Truncated)),
                // Before the root there may be white space.
                Some(Token::Text(text)) if self.budget.depth() == 0 && is_blank(&text) => {}
                Some(token) => return Ok(token),
            }
        }
    }

    fn offset(&self) -> usize {
        // The input is a slice: its offsets fit.
        self.reader.buffer_position() as usize
    }

    fn markup(
        &mut self,
        start: usize,
        _before: Option<Data<'a>>,
        _first: Tag,
    ) -> Result<Cow<'a, str>, DecodeError> {
        let outside = self.budget.depth().saturating_sub(2);
        while self.budget.depth() > outside {
            self.next()?;
        }
        Ok(Cow::Borrowed(self.input.get(start..self.start).unwrap_or_default()))
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        loop {
            match self.token()? {
                None => return Ok(()),
                Some(Token::Text(text)) if is_blank(&text) => {}
                Some(Token::Start(_)) => return Err(self.malformed("second root element")),
                Some(_) => return Err(self.malformed("text behind the root element")),
            }
        }
    }
}

/// Writes XML. Also renders what WBXML holds unescaped inside `Data`.
#[derive(Default)]
pub(super) struct XmlSink {
    /// The document so far.
    pub(super) out: String,
    open: Vec<Tag>,
}

impl XmlSink {
    /// A sink for the content of an element of SyncML.
    pub(super) fn inside(tag: Tag) -> Self {
        Self { out: String::new(), open: vec![tag] }
    }

    fn tag(&mut self, tag: Tag) {
        self.out.push('<');
        self.out.push_str(tag.name());
        if self.open.last().is_none_or(|parent| parent.page() != tag.page()) {
            self.out.push_str(" xmlns=\"");
            self.out.push_str(tag.namespace());
            self.out.push('"');
        }
    }

    /// Appends `text`, with `replace` telling what stands for an octet that cannot stay.
    fn push(&mut self, text: &str, replace: impl Fn(u8) -> Option<&'static str>) {
        let mut rest = text;
        while let Some((index, replacement)) = rest
            .bytes()
            .enumerate()
            .find_map(|(index, octet)| replace(octet).map(|replacement| (index, replacement)))
        {
            // Only ASCII is replaced, so both indices are at character boundaries.
            let (clean, dirty) = rest.split_at(index);
            self.out.push_str(clean);
            self.out.push_str(replacement);
            rest = dirty.get(1..).unwrap_or_default();
        }
        self.out.push_str(rest);
    }
}

impl Sink for XmlSink {
    const BINARY_FORMAT: &'static str = "b64";

    fn start(&mut self, tag: Tag) {
        self.tag(tag);
        self.out.push('>');
        self.open.push(tag);
    }

    fn end(&mut self) {
        if let Some(tag) = self.open.pop() {
            self.out.push_str("</");
            self.out.push_str(tag.name());
            self.out.push('>');
        }
    }

    fn empty(&mut self, tag: Tag) {
        self.tag(tag);
        self.out.push_str("/>");
    }

    fn text(&mut self, text: &str) {
        let text = without_noncharacters(text);
        self.push(&text, |octet| match octet {
            b'<' => Some("&lt;"),
            b'>' => Some("&gt;"),
            b'&' => Some("&amp;"),
            // A bare one would be read as a line feed.
            b'\r' => Some("&#13;"),
            b'\t' | b'\n' | 0x20.. => None,
            _ => Some("\u{fffd}"),
        });
    }

    fn markup(&mut self, text: &str) {
        let text = without_noncharacters(text);
        self.out.push_str("<![CDATA[");
        for (index, part) in text.split("]]>").enumerate() {
            if index > 0 {
                self.out.push_str("]]]]><![CDATA[>");
            }
            self.push(part, |octet| match octet {
                b'\r' => Some("]]>&#13;<![CDATA["),
                b'\t' | b'\n' | 0x20.. => None,
                _ => Some("\u{fffd}"),
            });
        }
        self.out.push_str("]]>");
    }

    fn binary(&mut self, octets: &[u8]) {
        BASE64.encode_string(octets, &mut self.out);
    }
}

/// XML has no U+FFFE and U+FFFF.
fn without_noncharacters(text: &str) -> Cow<'_, str> {
    if text.contains(['\u{fffe}', '\u{ffff}']) {
        text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}").into()
    } else {
        text.into()
    }
}

fn legal(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        _ => character >= ' ',
    }
}

fn is_blank(text: &str) -> bool {
    text.trim_ascii().is_empty()
}
