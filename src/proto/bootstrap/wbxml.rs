//! WBXML by tables: SyncML with its serialised trees, and client provisioning with attributes.
//!
//! (WAP-192-WBXML 1.3; provisioning tokens: OMA-WAP-TS-ProvCont 1.1.) Versions 1.1 to 1.3 are
//! read, 1.2 is written, with inline strings only.

use super::markup::{Builder, Content, Element};
use super::prov;
use crate::limits;
use crate::proto::syncml::element_name;
use crate::proto::wbxml::{
    ATTRIBUTES, CONTENT, END, ENTITY, FIRST_TAG, Header, LITERAL, OPAQUE, PublicId, STR_I, STR_T,
    SWITCH_PAGE, StringTable,
};
use crate::proto::wire::{DecodeError, DecodeErrorKind, Reader, put_uintvar};

/// The code page of serialised trees, and of `MgmtTree` on it.
const TREE_PAGE: u8 = 2;
const MGMT_TREE: u8 = 0x20;

/// Which tables give tokens their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// SyncML: pages 0, 1 (MetInf), 2 (serialised trees).
    SyncMl,
    /// A serialised tree as a document of its own, whose names stand on page 0 as well.
    Tree,
    /// Client provisioning.
    Prov,
}

impl Language {
    fn tag(self, page: u8, token: u8) -> Option<&'static str> {
        match self {
            Self::SyncMl => element_name(page, token),
            Self::Tree => element_name(TREE_PAGE, token),
            Self::Prov => prov::tag(token),
        }
    }
}

/// Reads a WBXML document.
///
/// # Errors
/// It is not WBXML of one of the languages, or beyond a bound.
pub(super) fn read(octets: &[u8]) -> Result<Element, DecodeError> {
    let mut reader = Reader::new(octets);
    let Header { public_id, strings } = Header::read(&mut reader)?;
    let first = reader.remaining().first().map_or(0, |octet| octet & 0x3f);
    let mut document =
        Document { reader, strings, language: Language::SyncMl, tags: 0, attributes: 0 };
    document.language = match public_id {
        PublicId::Number(0x0b) => Language::Prov,
        PublicId::Number(0x01) if first == MGMT_TREE => Language::Tree,
        PublicId::Number(0x01) if first == prov::DOCUMENT => Language::Prov,
        PublicId::Number(0x01 | 0x0fd3 | 0x1201 | 0x1202) => Language::SyncMl,
        PublicId::Number(_) => {
            return Err(malformed(&document.reader, "unknown public identifier"));
        }
        PublicId::Text(index) => {
            let name = document.string(index)?.to_ascii_uppercase();
            let is = |start: &str| name.starts_with(start);
            if is("-//WAPFORUM//DTD PROV") {
                Language::Prov
            } else if is("-//OMA//DTD-DM-DDF") {
                Language::Tree
            } else if is("-//SYNCML//DTD SYNCML") {
                Language::SyncMl
            } else {
                return Err(malformed(&document.reader, "unknown public identifier"));
            }
        }
    };
    document.read()
}

fn malformed(reader: &Reader<'_>, what: &'static str) -> DecodeError {
    reader.error(DecodeErrorKind::Malformed(what))
}

struct Document<'a> {
    reader: Reader<'a>,
    strings: StringTable<'a>,
    language: Language,
    /// Code page of tags.
    tags: u8,
    /// Code page of attributes.
    attributes: u8,
}

impl Document<'_> {
    fn read(mut self) -> Result<Element, DecodeError> {
        let mut builder = Builder::default();
        while !builder.is_complete() {
            let offset = self.reader.position();
            let octet = self.reader.u8()?;
            let done = match octet {
                SWITCH_PAGE => {
                    self.tags = self.reader.u8()?;
                    Ok(())
                }
                END => builder.end(),
                OPAQUE => {
                    let length = self.reader.uintvar()? as usize;
                    builder.content(Content::Octets(self.reader.take(length)?.to_vec()))
                }
                ENTITY | STR_I | STR_T => builder.content(Content::Text(self.text(octet)?)),
                _ => {
                    let element = self.element(octet)?;
                    builder
                        .start(element)
                        .and_then(|()| if octet & CONTENT == 0 { builder.end() } else { Ok(()) })
                }
            };
            done.map_err(|kind| DecodeError { offset, kind })?;
        }
        if !self.reader.is_empty() {
            return Err(malformed(&self.reader, "octets behind the root element"));
        }
        builder.finish().map_err(|kind| self.reader.error(kind))
    }

    fn element(&mut self, octet: u8) -> Result<Element, DecodeError> {
        let token = octet & !(CONTENT | ATTRIBUTES);
        let name = match token {
            LITERAL => {
                let index = self.reader.uintvar()?;
                self.string(index)?
            }
            FIRST_TAG.. => self
                .language
                .tag(self.tags, token)
                .ok_or_else(|| malformed(&self.reader, "unknown tag"))?
                .to_owned(),
            _ => return Err(malformed(&self.reader, "extension or instruction")),
        };
        let mut element = Element { name, ..Element::default() };
        if octet & ATTRIBUTES != 0 {
            if self.language != Language::Prov {
                return Err(malformed(&self.reader, "attributes"));
            }
            self.attributes_of(&mut element)?;
        }
        Ok(element)
    }

    fn attributes_of(&mut self, element: &mut Element) -> Result<(), DecodeError> {
        loop {
            let octet = self.reader.u8()?;
            match octet {
                END => return Ok(()),
                SWITCH_PAGE => self.attributes = self.reader.u8()?,
                ENTITY | STR_I | STR_T => {
                    let text = self.text(octet)?;
                    self.value(element, &text)?;
                }
                OPAQUE => {
                    let length = self.reader.uintvar()? as usize;
                    let text = std::str::from_utf8(self.reader.take(length)?)
                        .map_err(|_| self.reader.error(DecodeErrorKind::Text))?;
                    self.value(element, text)?;
                }
                LITERAL => {
                    let index = self.reader.uintvar()?;
                    let name = self.string(index)?;
                    self.attribute(element, name, "")?;
                }
                0x80.. => {
                    let text = prov::value(self.attributes, octet)
                        .ok_or_else(|| malformed(&self.reader, "unknown attribute value"))?;
                    self.value(element, text)?;
                }
                _ => {
                    let (name, start) = prov::attribute(self.attributes, octet)
                        .ok_or_else(|| malformed(&self.reader, "unknown attribute"))?;
                    self.attribute(element, name.to_owned(), start)?;
                }
            }
        }
    }

    fn attribute(
        &self,
        element: &mut Element,
        name: String,
        start: &str,
    ) -> Result<(), DecodeError> {
        if element.attributes.iter().any(|(it, _)| *it == name) {
            return Err(malformed(&self.reader, "attribute stands twice"));
        }
        if element.attributes.len() >= limits::ATTRIBUTES {
            return Err(self.reader.error(DecodeErrorKind::Limit("attributes")));
        }
        element.attributes.push((name, start.to_owned()));
        Ok(())
    }

    fn value(&self, element: &mut Element, text: &str) -> Result<(), DecodeError> {
        let Some((_, value)) = element.attributes.last_mut() else {
            return Err(malformed(&self.reader, "value of no attribute"));
        };
        if value.len() + text.len() > limits::TEXT {
            return Err(self.reader.error(DecodeErrorKind::Limit("text")));
        }
        value.push_str(text);
        Ok(())
    }

    fn text(&mut self, octet: u8) -> Result<String, DecodeError> {
        let not_clean = self.reader.error(DecodeErrorKind::Text);
        match octet {
            ENTITY => {
                let character = char::from_u32(self.reader.uintvar()?).ok_or(not_clean)?;
                if character.is_control() && !character.is_ascii_whitespace() {
                    return Err(not_clean);
                }
                Ok(character.into())
            }
            STR_T => {
                let index = self.reader.uintvar()?;
                self.string(index)
            }
            _ => {
                let octets = self.reader.until_nul()?;
                std::str::from_utf8(octets).map(str::to_owned).map_err(|_| not_clean)
            }
        }
    }

    /// The string of the table that begins at `index`.
    fn string(&self, index: u32) -> Result<String, DecodeError> {
        let octets = self.strings.string(index, &self.reader)?;
        let text = std::str::from_utf8(octets);
        text.map(str::to_owned).map_err(|_| self.reader.error(DecodeErrorKind::Text))
    }
}

/// Writes a document of SyncML, element by element.
pub(super) struct Writer {
    out: Vec<u8>,
    page: u8,
}

impl Writer {
    /// Begins a document: WBXML 1.2, SyncML 1.2, UTF-8, no string table.
    pub(super) fn new() -> Self {
        Self { out: vec![0x02, 0xa4, 0x01, 0x6a, 0x00], page: 0 }
    }

    /// Begins a serialised tree as a document of its own: its public identifier has no number.
    pub(super) fn tree() -> Self {
        let public_id = b"-//OMA//DTD-DM-DDF 1.2//EN\0";
        let mut out = vec![0x02, 0x00, 0x00, 0x6a, public_id.len() as u8];
        out.extend_from_slice(public_id);
        Self { out, page: 0 }
    }

    /// Writes the element `name` of `page`, which the tables have, with what `content` writes.
    pub(super) fn element(&mut self, page: u8, name: &str, content: impl FnOnce(&mut Self)) {
        self.tag(page, name, CONTENT);
        content(self);
        self.out.push(END);
    }

    /// Writes an element without content.
    pub(super) fn empty(&mut self, page: u8, name: &str) {
        self.tag(page, name, 0);
    }

    /// Writes an element with text. The text must be without NUL.
    pub(super) fn leaf(&mut self, page: u8, name: &str, text: &str) {
        self.element(page, name, |it| put_text(&mut it.out, text));
    }

    /// Writes octets as they are.
    pub(super) fn opaque(&mut self, octets: &[u8]) {
        self.out.push(OPAQUE);
        put_uintvar(&mut self.out, octets.len() as u32);
        self.out.extend_from_slice(octets);
    }

    /// The document.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    fn tag(&mut self, page: u8, name: &str, content: u8) {
        let token = (0x05..0x40).find(|token| element_name(page, *token) == Some(name));
        if page != self.page {
            self.page = page;
            self.out.extend([SWITCH_PAGE, page]);
        }
        self.out.push(token.expect("the writers name elements of the tables") | content);
    }
}

/// Writes a provisioning document.
pub(super) struct ProvWriter {
    out: Vec<u8>,
    attributes: u8,
}

impl ProvWriter {
    /// Writes a document of version 1.1 with what `content` writes.
    pub(super) fn document(content: impl FnOnce(&mut Self)) -> Vec<u8> {
        let out = vec![0x02, 0x0b, 0x6a, 0x00, prov::DOCUMENT | CONTENT | ATTRIBUTES, 0x45];
        let mut writer = Self { out, attributes: 0 };
        put_text(&mut writer.out, "1.1");
        writer.out.push(END);
        content(&mut writer);
        writer.out.push(END);
        writer.out
    }

    /// Writes a characteristic of a type that the tables have.
    pub(super) fn characteristic(&mut self, kind: &str, content: impl FnOnce(&mut Self)) {
        self.out.push(prov::CHARACTERISTIC | CONTENT | ATTRIBUTES);
        self.start("type", kind);
        self.out.push(END);
        content(self);
        self.out.push(END);
    }

    /// Writes a parameter whose name the tables have. The value must be without NUL.
    pub(super) fn parm(&mut self, name: &str, value: &str) {
        self.out.push(prov::PARM | ATTRIBUTES);
        self.start("name", name);
        self.page(0);
        self.out.push(prov::VALUE);
        put_text(&mut self.out, value);
        self.out.push(END);
    }

    fn start(&mut self, name: &str, value: &str) {
        let (page, code) = prov::start(name, value).expect("the writers use names of the tables");
        self.page(page);
        self.out.push(code);
    }

    fn page(&mut self, page: u8) {
        if page != self.attributes {
            self.attributes = page;
            self.out.extend([SWITCH_PAGE, page]);
        }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(STR_I);
    out.extend(text.bytes().filter(|octet| *octet != 0));
    out.push(0);
}
