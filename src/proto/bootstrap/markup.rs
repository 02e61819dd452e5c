//! A bootstrap document as a tree of elements, whatever it was written in.
//!
//! Documents are small and read once, by name: a tree costs little and lets one reader serve XML
//! and WBXML. Bounds are those of SyncML messages ([`limits`]); namespaces are not looked at.

use super::wbxml;
use crate::limits;
use crate::proto::wire::{DecodeError, DecodeErrorKind};
use quick_xml::encoding::EncodingError;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};
use std::borrow::Cow;

/// An element with what stands in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) content: Vec<Content>,
}

/// A piece of an element's content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Element(Element),
    Text(String),
    /// An OPAQUE of WBXML.
    Octets(Vec<u8>),
}

/// Reads a document: XML if it begins like it, else WBXML.
///
/// # Errors
/// The octets are neither, or beyond a bound.
pub(super) fn read(octets: &[u8]) -> Result<Element, DecodeError> {
    if octets.len() > limits::BOOTSTRAP {
        return Err(DecodeError { offset: 0, kind: DecodeErrorKind::Limit("document") });
    }
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    if octets.trim_ascii_start().first() == Some(&b'<') { xml(octets) } else { wbxml::read(octets) }
}

impl Element {
    /// The child elements.
    pub(super) fn elements(&self) -> impl Iterator<Item = &Self> {
        self.content.iter().filter_map(|content| match content {
            Content::Element(element) => Some(element),
            _ => None,
        })
    }

    /// The child elements of that name.
    pub(super) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.elements().filter(move |element| element.name == name)
    }

    /// The first child element of that name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.elements().find(|element| element.name == name)
    }

    /// The octets that stand in the element, its children left out, and whether all of them were
    /// written as OPAQUE.
    pub(super) fn octets(&self) -> (Vec<u8>, bool) {
        let mut octets = Vec::new();
        let mut opaque = false;
        let mut text = false;
        for content in &self.content {
            match content {
                Content::Element(_) => {}
                Content::Text(piece) => {
                    text |= !piece.trim().is_empty();
                    octets.extend_from_slice(piece.as_bytes());
                }
                Content::Octets(piece) => {
                    opaque = true;
                    octets.extend_from_slice(piece);
                }
            }
        }
        (octets, opaque && !text)
    }

    /// The text that stands in the element, without white space around it; `None` if that is not
    /// clean text.
    pub(super) fn text(&self) -> Option<String> {
        let text = String::from_utf8(self.octets().0).ok()?;
        let text = text.trim();
        (!text.chars().any(|it| it.is_control() && !it.is_ascii_whitespace()))
            .then(|| text.to_owned())
    }

    /// The text of the first child of that name; empty where there is none.
    pub(super) fn text_of(&self, name: &str) -> String {
        self.child(name).and_then(Self::text).unwrap_or_default()
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(it, _)| it == name).map(|(_, value)| value.trim())
    }
}

/// Builds the tree from events, within the bounds.
#[derive(Default)]
pub(super) struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    text: usize,
}

impl Builder {
    pub(super) fn start(&mut self, element: Element) -> Result<(), DecodeErrorKind> {
        if self.root.is_some() {
            return Err(DecodeErrorKind::Malformed("second root element"));
        }
        self.elements += 1;
        if self.open.len() >= limits::DEPTH {
            return Err(DecodeErrorKind::Limit("nesting"));
        }
        if self.elements > limits::ELEMENTS {
            return Err(DecodeErrorKind::Limit("elements"));
        }
        for (_, value) in &element.attributes {
            self.count(value.len())?;
        }
        self.open.push(element);
        Ok(())
    }

    pub(super) fn content(&mut self, content: Content) -> Result<(), DecodeErrorKind> {
        let (length, blank) = match &content {
            Content::Text(text) => (text.len(), text.trim_ascii().is_empty()),
            Content::Octets(octets) => (octets.len(), false),
            Content::Element(_) => (0, false),
        };
        self.count(length)?;
        match self.open.last_mut() {
            Some(parent) => parent.content.push(content),
            None if blank => {}
            None => return Err(DecodeErrorKind::Malformed("text outside of the root element")),
        }
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<(), DecodeErrorKind> {
        let Some(element) = self.open.pop() else {
            return Err(DecodeErrorKind::Malformed("end of no element"));
        };
        match self.open.last_mut() {
            Some(parent) => parent.content.push(Content::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.open.len()
    }

    /// Whether the root has been closed.
    pub(super) fn is_complete(&self) -> bool {
        self.root.is_some()
    }

    pub(super) fn finish(self) -> Result<Element, DecodeErrorKind> {
        self.root.ok_or(DecodeErrorKind::Truncated)
    }

    /// Counts text, which references into a string table can multiply.
    fn count(&mut self, length: usize) -> Result<(), DecodeErrorKind> {
        self.text = self.text.saturating_add(length);
        if self.text > limits::MESSAGE_TEXT {
            return Err(DecodeErrorKind::Limit("text"));
        }
        Ok(())
    }
}

fn xml(octets: &[u8]) -> Result<Element, DecodeError> {
    let text = std::str::from_utf8(octets).map_err(|error| DecodeError {
        offset: error.valid_up_to(),
        kind: DecodeErrorKind::Text,
    })?;
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut builder = Builder::default();
    loop {
        let offset = reader.buffer_position() as usize;
        let error = |kind| DecodeError { offset, kind };
        let malformed = |what| Err(error(DecodeErrorKind::Malformed(what)));
        let Ok(event) = reader.read_event() else { return malformed("not well-formed XML") };
        let done = match event {
            Event::Start(start) => element(&start).and_then(|element| builder.start(element)),
            Event::End(_) => builder.end(),
            Event::Text(text) => text_of(text.xml10_content()).and_then(|it| builder.content(it)),
            Event::CData(text) => text_of(text.xml10_content()).and_then(|it| builder.content(it)),
            Event::GeneralRef(name) => match utf8(&name).ok().and_then(reference) {
                Some(text) => builder.content(Content::Text(text)),
                None => return malformed("undeclared entity"),
            },
            Event::DocType(text) if text.contains(&b'[') || builder.depth() > 0 => {
                return malformed("DOCTYPE declares something");
            }
            Event::Eof => return builder.finish().map_err(error),
            _ => Ok(()),
        };
        done.map_err(error)?;
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, DecodeErrorKind> {
    let mut element =
        Element { name: utf8(start.local_name().into_inner())?.into(), ..Element::default() };
    // Duplicates are found below, with a bound on their number.
    for attribute in start.attributes().with_checks(false) {
        let malformed = || DecodeErrorKind::Malformed("attribute");
        let attribute = attribute.map_err(|_| malformed())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| malformed())?;
        let name = utf8(attribute.key.into_inner())?;
        if element.attributes.len() >= limits::ATTRIBUTES {
            return Err(DecodeErrorKind::Limit("attributes"));
        }
        if element.attributes.iter().any(|(it, _)| it == name) {
            return Err(DecodeErrorKind::Malformed("attribute stands twice"));
        }
        element.attributes.push((name.to_owned(), value.into_owned()));
    }
    Ok(element)
}

/// A part of the input as text, which the whole input is.
fn utf8(octets: &[u8]) -> Result<&str, DecodeErrorKind> {
    std::str::from_utf8(octets).map_err(|_| DecodeErrorKind::Text)
}

fn text_of(text: Result<Cow<'_, str>, EncodingError>) -> Result<Content, DecodeErrorKind> {
    text.map(|it| Content::Text(it.into_owned())).map_err(|_| DecodeErrorKind::Text)
}

/// What `&name;` stands for: the five of XML and characters.
fn reference(name: &str) -> Option<String> {
    if let Some(text) = quick_xml::escape::resolve_xml_entity(name) {
        return Some(text.to_owned());
    }
    let number = name.strip_prefix('#')?;
    let number = match number.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    let character = char::from_u32(number.ok()?)?;
    (!character.is_control() || character.is_ascii_whitespace()).then(|| character.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_becomes_a_tree() {
        let root = read(b"<?xml version='1.0'?><!DOCTYPE a><x:a b='1&amp;2'> <c>d&lt;<![CDATA[&e]]></c><f/></x:a>")
            .unwrap();
        assert_eq!((root.name.as_str(), root.attribute("b")), ("a", Some("1&2")));
        assert_eq!(root.text_of("c"), "d<&e");
        assert_eq!(root.child("f").map(|it| it.content.len()), Some(0));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for bad in [
            "",
            "<a>",
            "<a/><b/>",
            "<a>&x;</a>",
            "<a b='1' b='2'/>",
            "<a></b>",
            "<a/>x",
            "x<a/>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
            "<a>&#0;</a>",
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        assert!(read(deep.as_bytes()).unwrap_err().to_string().contains("nesting"));
    }
}
