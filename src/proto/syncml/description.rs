//! Documents of `syncml:dmddf1.2`: device descriptions (DDF) and serialised trees (TNDS).
//!
//! (OMA-TS-DM-TNDS 1.2; DM DDF DTD 1.2.) Read into a small tree of elements, whichever encoding
//! they came in, and written from events.

use super::Encoding;
use super::lexer::{Lexer, Token};
use super::tokens::{PAGE_DDF, Tag};
use super::wbxml::{DESCRIPTIONS, DESCRIPTIONS_HEADER, WbxmlLexer, WbxmlSink};
use super::writer::Sink;
use super::xml::{self, XmlLexer, XmlSink};
use crate::proto::wire::{DecodeError, DecodeErrorKind};

/// One element.
#[derive(Debug)]
pub(in crate::proto) struct Element {
    /// The local name, empty if the vocabulary does not have it.
    pub(in crate::proto) name: &'static str,
    /// Its content, without that of children.
    pub(in crate::proto) content: Content,
    /// Its child elements, in order.
    pub(in crate::proto) children: Vec<Self>,
}

/// The content of an element.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::proto) enum Content {
    /// Character data, white space around it kept.
    Text(String),
    /// A CDATA section, or OPAQUE: to be taken as it is.
    Octets(Vec<u8>),
}

impl Element {
    /// The first child of that name.
    pub(in crate::proto) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The content as text without the white space around it, if it is text.
    pub(in crate::proto) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text.trim_ascii()),
            Content::Octets(octets) => std::str::from_utf8(octets).ok().map(str::trim_ascii),
        }
    }

    /// The trimmed text of the first child of that name.
    pub(in crate::proto) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).and_then(Self::text)
    }
}

/// Reads a document whose root is `MgmtTree`.
///
/// # Errors
/// It is malformed, something else, or beyond a bound of [`crate::limits`].
pub(in crate::proto) fn read(encoding: Encoding, octets: &[u8]) -> Result<Element, DecodeError> {
    match encoding {
        Encoding::Xml => root(XmlLexer::new(xml::clean(octets)?, Tag::of_ddf_name)),
        Encoding::Wbxml => root(WbxmlLexer::new(octets, &DESCRIPTIONS)?),
    }
}

fn root<'a>(mut lexer: impl Lexer<'a>) -> Result<Element, DecodeError> {
    let root = match lexer.next()? {
        Token::Start(tag) if tag.page() == PAGE_DDF && tag.name() == "MgmtTree" => {
            element(&mut lexer, tag)?
        }
        _ => {
            let kind = DecodeErrorKind::Malformed("root is not MgmtTree");
            return Err(DecodeError { offset: lexer.offset(), kind });
        }
    };
    lexer.finish()?;
    Ok(root)
}

// `limits::DEPTH` ends the recursion.
fn element<'a>(lexer: &mut impl Lexer<'a>, tag: Tag) -> Result<Element, DecodeError> {
    let name = if tag.page() == PAGE_DDF { tag.name() } else { "" };
    let mut element = Element { name, content: Content::Text(String::new()), children: Vec::new() };
    loop {
        match lexer.next()? {
            Token::Start(tag) => {
                let child = self::element(lexer, tag)?;
                element.children.push(child);
            }
            Token::End => return Ok(element),
            Token::Text(text) => element.content.push(text.as_bytes(), true),
            Token::Markup(text) => element.content.push(text.as_bytes(), false),
            Token::Binary(octets) => element.content.push(octets, false),
        }
    }
}

impl Content {
    /// Appends what came. White space around octets is layout.
    fn push(&mut self, more: &[u8], is_text: bool) {
        match self {
            Self::Text(text) if is_text => text.push_str(&String::from_utf8_lossy(more)),
            Self::Text(text) => {
                let mut octets = if text.trim_ascii().is_empty() {
                    Vec::new()
                } else {
                    std::mem::take(text).into_bytes()
                };
                octets.extend_from_slice(more);
                *self = Self::Octets(octets);
            }
            Self::Octets(_) if is_text && more.trim_ascii().is_empty() => {}
            Self::Octets(octets) => octets.extend_from_slice(more),
        }
    }
}

/// Writes a document from events.
pub(in crate::proto) struct Writer(Either);

enum Either {
    Xml(XmlSink),
    Wbxml(WbxmlSink),
}

impl Writer {
    /// A document without anything in it.
    pub(in crate::proto) fn new(encoding: Encoding) -> Self {
        Self(match encoding {
            Encoding::Xml => Either::Xml(XmlSink::default()),
            Encoding::Wbxml => {
                Either::Wbxml(WbxmlSink { out: DESCRIPTIONS_HEADER.to_vec(), page: PAGE_DDF })
            }
        })
    }

    /// Writes an element and what `body` writes into it.
    pub(in crate::proto) fn element(&mut self, name: &str, body: impl FnOnce(&mut Self)) {
        let tag = Tag::of_ddf_name(name);
        match &mut self.0 {
            Either::Xml(sink) => sink.start(tag),
            Either::Wbxml(sink) => sink.start(tag),
        }
        body(self);
        match &mut self.0 {
            Either::Xml(sink) => sink.end(),
            Either::Wbxml(sink) => sink.end(),
        }
    }

    /// Writes an element without content.
    pub(in crate::proto) fn empty(&mut self, name: &str) {
        let tag = Tag::of_ddf_name(name);
        match &mut self.0 {
            Either::Xml(sink) => sink.empty(tag),
            Either::Wbxml(sink) => sink.empty(tag),
        }
    }

    /// Writes an element with text in it.
    pub(in crate::proto) fn leaf(&mut self, name: &str, text: &str) {
        if text.is_empty() {
            return self.empty(name);
        }
        self.element(name, |writer| match &mut writer.0 {
            Either::Xml(sink) => sink.text(text),
            Either::Wbxml(sink) => sink.text(text),
        });
    }

    /// Writes an element with octets in it: base64 in XML.
    pub(in crate::proto) fn octets(&mut self, name: &str, octets: &[u8]) {
        self.element(name, |writer| match &mut writer.0 {
            Either::Xml(sink) => sink.binary(octets),
            Either::Wbxml(sink) => sink.binary(octets),
        });
    }

    /// The name of the format that octets have in this encoding.
    pub(in crate::proto) fn binary_format(&self) -> &'static str {
        match self.0 {
            Either::Xml(_) => XmlSink::BINARY_FORMAT,
            Either::Wbxml(_) => WbxmlSink::BINARY_FORMAT,
        }
    }

    /// The document.
    pub(in crate::proto) fn finish(self) -> Vec<u8> {
        match self.0 {
            Either::Xml(sink) => sink.out.into_bytes(),
            Either::Wbxml(sink) => sink.out,
        }
    }
}
