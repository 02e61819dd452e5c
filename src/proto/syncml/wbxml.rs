//! SyncML as WBXML. (`application/vnd.syncml.dm+wbxml`; WAP-192-WBXML 1.3, with the code pages of
//! OMA-TS-DM_RepPro 1.2.1, 8.)
//!
//! Versions 1.1 to 1.3 are read, 1.2 is written: a client of the field drops the session on 1.3.
//! Attributes, literal tags, extensions and processing instructions, which SyncML does not use,
//! are refused.

use super::grammar;
use super::lexer::{Budget, Lexer, Token, no_controls};
use super::tokens::{PAGE_DDF, PAGE_SYNCML, Tag};
use super::writer::{self, Sink};
use super::xml::XmlSink;
use super::{Data, Message};
use crate::limits;
use crate::proto::wbxml::{
    ATTRIBUTES, CONTENT, END, ENTITY, FIRST_TAG, Header, OPAQUE, PublicId, STR_I, STR_T,
    SWITCH_PAGE, StringTable,
};
use crate::proto::wire::{DecodeError, DecodeErrorKind, Reader, put_uintvar};
use std::borrow::Cow;

/// WBXML 1.2, public identifier 0x1201, UTF-8, no string table.
const HEADER: [u8; 5] = [0x02, 0xa4, 0x01, 0x6a, 0x00];
/// Unknown, SyncML 1.1, SyncML 1.2, MetInf 1.2: the root tells whether it is SyncML.
const PUBLIC_IDS: [u32; 4] = [0x01, 0x0fd3, 0x1201, 0x1202];
const SYNCML: Vocabulary = Vocabulary {
    public_id: b"-//SYNCML//DTD SyncML 1.",
    page: PAGE_SYNCML,
    refusal: "public identifier is not SyncML's",
};
/// Device descriptions and serialised trees: documents of their own.
pub(super) const DESCRIPTIONS: Vocabulary = Vocabulary {
    public_id: b"-//OMA//DTD-DM-DDF 1.",
    page: PAGE_DDF,
    refusal: "public identifier is not that of a management tree",
};
/// WBXML 1.2, the public identifier of device descriptions as text, UTF-8; then page 2, said
/// aloud for readers that begin on page 0.
pub(super) const DESCRIPTIONS_HEADER: &[u8] =
    b"\x02\x00\x00\x6a\x1b-//OMA//DTD-DM-DDF 1.2//EN\0\x00\x02";

/// Decodes one message.
///
/// # Errors
/// Where the octets are not WBXML, not SyncML, or beyond a bound of [`crate::limits`].
pub fn decode(octets: &[u8]) -> Result<Message<'_>, DecodeError> {
    grammar::message(WbxmlLexer::new(octets, &SYNCML)?)
}

/// Encodes one message, with inline strings. NUL and the other control characters that text
/// does not have become U+FFFD; markup and octets go out as they are.
pub fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut sink = WbxmlSink { out: Vec::with_capacity(1024), page: PAGE_SYNCML };
    sink.out.extend_from_slice(&HEADER);
    writer::message(&mut sink, message);
    sink.out
}

/// What a document is about.
pub(super) struct Vocabulary {
    /// How its public identifier begins as text.
    public_id: &'static [u8],
    /// The code page in force at its start.
    page: u8,
    /// What is said of a document about something else.
    refusal: &'static str,
}

/// The tokens of a WBXML document.
pub(super) struct WbxmlLexer<'a> {
    reader: Reader<'a>,
    strings: StringTable<'a>,
    page: u8,
    /// Whether the element that came last has no content.
    is_empty: bool,
    budget: Budget,
}

impl<'a> WbxmlLexer<'a> {
    /// Reads the header of a document.
    ///
    /// # Errors
    /// It is not WBXML 1.1 to 1.3 in UTF-8, or of another vocabulary.
    pub(super) fn new(octets: &'a [u8], about: &Vocabulary) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(octets);
        let Header { public_id, strings } = Header::read(&mut reader)?;
        let known = match public_id {
            PublicId::Number(id) => PUBLIC_IDS.contains(&id),
            PublicId::Text(index) => strings
                .string(index, &reader)?
                .get(..about.public_id.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(about.public_id)),
        };
        if !known {
            return Err(reader.error(DecodeErrorKind::Malformed(about.refusal)));
        }
        Ok(Self { reader, strings, page: about.page, is_empty: false, budget: Budget::default() })
    }

    fn text(&mut self, octets: &'a [u8]) -> Result<Token<'a>, DecodeError> {
        self.count(octets.len())?;
        let text = clean(octets).ok_or_else(|| self.reader.error(DecodeErrorKind::Text))?;
        Ok(Token::Text(Cow::Borrowed(text)))
    }

    fn count(&mut self, length: usize) -> Result<(), DecodeError> {
        self.budget.text(length).map_err(|kind| self.reader.error(kind))
    }

    fn entity(&mut self) -> Result<Token<'a>, DecodeError> {
        let character = char::from_u32(self.reader.uintvar()?)
            .map(String::from)
            .filter(|text| no_controls(text.as_bytes()))
            .ok_or_else(|| self.reader.error(DecodeErrorKind::Text))?;
        self.count(character.len())?;
        Ok(Token::Text(Cow::Owned(character)))
    }

    fn opaque(&mut self) -> Result<Token<'a>, DecodeError> {
        let length = self.reader.uintvar()? as usize;
        let octets = self.reader.take(length)?;
        self.count(octets.len())?;
        Ok(match clean(octets) {
            Some(text) => Token::Markup(Cow::Borrowed(text)),
            None => Token::Binary(octets),
        })
    }

    fn element(&mut self, octet: u8) -> Result<Token<'a>, DecodeError> {
        let malformed = |what| self.reader.error(DecodeErrorKind::Malformed(what));
        if octet & !(CONTENT | ATTRIBUTES) < FIRST_TAG {
            return Err(malformed("literal tag, extension or instruction"));
        }
        if octet & ATTRIBUTES != 0 {
            return Err(malformed("attributes"));
        }
        let tag = Tag::of_token(self.page, octet).ok_or_else(|| malformed("unknown tag"))?;
        self.budget.enter().map_err(|kind| self.reader.error(kind))?;
        self.is_empty = octet & CONTENT == 0;
        Ok(Token::Start(tag))
    }

    fn end(&mut self) -> Token<'a> {
        self.is_empty = false;
        self.budget.leave();
        Token::End
    }
}

impl<'a> Lexer<'a> for WbxmlLexer<'a> {
    fn next(&mut self) -> Result<Token<'a>, DecodeError> {
        if self.is_empty {
            return Ok(self.end());
        }
        loop {
            return match self.reader.u8()? {
                SWITCH_PAGE => {
                    self.page = self.reader.u8()?;
                    continue;
                }
                END => Ok(self.end()),
                ENTITY => self.entity(),
                STR_I => {
                    let octets = self.reader.until_nul()?;
                    self.text(octets)
                }
                STR_T => {
                    let index = self.reader.uintvar()?;
                    let octets = self.strings.string(index, &self.reader)?;
                    self.text(octets)
                }
                OPAQUE => self.opaque(),
                octet => self.element(octet),
            };
        }
    }

    fn offset(&self) -> usize {
        self.reader.position()
    }

    fn markup(
        &mut self,
        _start: usize,
        before: Option<Data<'a>>,
        first: Tag,
    ) -> Result<Cow<'a, str>, DecodeError> {
        let mut sink = XmlSink::inside(Tag::DATA);
        match before {
            Some(Data::Text(text) | Data::Markup(text)) => sink.text(&text),
            Some(Data::Binary(octets)) => sink.binary(&octets),
            None => {}
        }
        sink.start(first);
        let mut open = 2_usize;
        loop {
            match self.next()? {
                Token::Start(tag) => {
                    open += 1;
                    sink.start(tag);
                }
                Token::End => {
                    open -= 1;
                    if open == 0 {
                        return Ok(Cow::Owned(sink.out));
                    }
                    sink.end();
                }
                Token::Text(text) => sink.text(&text),
                Token::Markup(text) => sink.markup(&text),
                Token::Binary(octets) => sink.binary(octets),
            }
            if sink.out.len() > limits::TEXT {
                return Err(self.reader.error(DecodeErrorKind::Limit("text")));
            }
        }
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        if self.reader.is_empty() {
            return Ok(());
        }
        Err(self.reader.error(DecodeErrorKind::Malformed("octets behind the root element")))
    }
}

fn clean(octets: &[u8]) -> Option<&str> {
    std::str::from_utf8(octets).ok().filter(|text| no_controls(text.as_bytes()))
}

/// Writes WBXML.
pub(super) struct WbxmlSink {
    /// The document so far.
    pub(super) out: Vec<u8>,
    /// The code page in force.
    pub(super) page: u8,
}

impl WbxmlSink {
    fn tag(&mut self, tag: Tag, content: u8) {
        if tag.page() != self.page {
            self.page = tag.page();
            self.out.extend_from_slice(&[SWITCH_PAGE, self.page]);
        }
        self.out.push(tag.token() | content);
    }

    fn opaque(&mut self, octets: &[u8]) {
        self.out.push(OPAQUE);
        // A message of 4 GiB is not encoded.
        put_uintvar(&mut self.out, octets.len() as u32);
        self.out.extend_from_slice(octets);
    }
}

impl Sink for WbxmlSink {
    const BINARY_FORMAT: &'static str = "bin";

    fn start(&mut self, tag: Tag) {
        self.tag(tag, CONTENT);
    }

    fn end(&mut self) {
        self.out.push(END);
    }

    fn empty(&mut self, tag: Tag) {
        self.tag(tag, 0);
    }

    fn text(&mut self, text: &str) {
        self.out.push(STR_I);
        if no_controls(text.as_bytes()) {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            let dirty = |it: char| !no_controls(it.to_string().as_bytes());
            self.out.extend_from_slice(text.replace(dirty, "\u{fffd}").as_bytes());
        }
        self.out.push(0);
    }

    fn markup(&mut self, text: &str) {
        self.opaque(text.as_bytes());
    }

    fn binary(&mut self, octets: &[u8]) {
        self.opaque(octets);
    }
}
