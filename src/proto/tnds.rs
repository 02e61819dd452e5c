//! Serialised management trees (TNDS).
//!
//! (OMA-TS-DM-TNDS 1.2.) One document model, read from and written as XML and WBXML. Inside of a
//! message it comes as text, as markup (elements of code page 2 straight in `Data`) or as octets.
//!
//! Octets stand as base64 in text, and as they are in OPAQUE and in CDATA.

use super::syncml::description::{self, Content, Element, Writer};
use super::syncml::{Data, Encoding};
use super::tree::{Format, uri};
use super::wire::{DecodeError, DecodeErrorKind};
use crate::limits;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Writes padding, and reads with or without it.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The media type of a document.
pub fn media_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Xml => "application/vnd.syncml.dmtnds+xml",
        Encoding::Wbxml => "application/vnd.syncml.dmtnds+wbxml",
    }
}

/// Whether a media type names a serialised tree, parameters and case ignored.
pub fn is_media_type(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    [Encoding::Xml, Encoding::Wbxml].iter().any(|it| kind.eq_ignore_ascii_case(media_type(*it)))
}

/// `MgmtTree`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// The topmost nodes.
    pub nodes: Vec<Node>,
}

/// `Node`. It does not print: a value may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// `NodeName`; `None` leaves the name to the client.
    pub name: Option<String>,
    /// `Path`: the URI up to the node.
    pub path: Option<String>,
    /// `RTProperties`.
    pub properties: Properties,
    /// `Value`.
    pub value: Option<Vec<u8>>,
    /// `Node`s below.
    pub children: Vec<Self>,
}

/// `RTProperties`, each as it stands in the document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// `ACL`.
    pub acl: Option<String>,
    /// `Format`.
    pub format: Option<Format>,
    /// `Name`.
    pub name: Option<String>,
    /// `Size`.
    pub size: Option<u32>,
    /// `Title`.
    pub title: Option<String>,
    /// `TStamp`.
    pub timestamp: Option<String>,
    /// `Type`: `MIME` of a leaf, `DDFName` of an interior node.
    pub kind: Option<String>,
    /// `VerNo`.
    pub version: Option<u16>,
}

impl Document {
    /// Reads what stands in `Data`, or in a file.
    ///
    /// # Errors
    /// It is not a serialised tree, or beyond a bound of [`limits`].
    pub fn of_data(data: &Data<'_>) -> Result<Self, DecodeError> {
        match data {
            Data::Text(text) | Data::Markup(text) => Self::decode(Encoding::Xml, text.as_bytes()),
            Data::Binary(octets) => Self::decode(Encoding::Wbxml, octets),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// As [`Document::of_data`].
    pub fn decode(encoding: Encoding, octets: &[u8]) -> Result<Self, DecodeError> {
        let root = description::read(encoding, octets)?;
        Ok(Self { nodes: nodes(&root, 1)? })
    }

    /// Writes a document.
    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        let mut writer = Writer::new(encoding);
        writer.element("MgmtTree", |writer| {
            writer.leaf("VerDTD", "1.2");
            for node in &self.nodes {
                write(writer, node);
            }
        });
        writer.finish()
    }

    /// The document as `Data` of a message in this encoding, with its media type and `Format`.
    pub fn to_data(&self, encoding: Encoding) -> (Data<'static>, &'static str, &'static str) {
        let octets = self.encode(encoding);
        match encoding {
            Encoding::Xml => {
                let text = String::from_utf8_lossy(&octets).into_owned();
                (Data::Markup(text.into()), media_type(encoding), "xml")
            }
            Encoding::Wbxml => (Data::Binary(octets.into()), media_type(encoding), "bin"),
        }
    }
}

impl Node {
    /// An interior node.
    pub fn interior(name: &str, children: Vec<Self>) -> Self {
        let properties = Properties { format: Some(Format::Node), ..Properties::default() };
        Self { name: Some(name.to_owned()), properties, children, ..Self::default() }
    }

    /// A leaf with a value.
    pub fn leaf(name: &str, format: Format, value: impl Into<Vec<u8>>) -> Self {
        let properties = Properties { format: Some(format), ..Properties::default() };
        Self {
            name: Some(name.to_owned()),
            properties,
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// Whether it is an interior node: it says so, or has children, or has neither a value nor a
    /// format.
    pub fn is_interior(&self) -> bool {
        match self.properties.format {
            Some(format) => format == Format::Node,
            None => !self.children.is_empty() || self.value.is_none(),
        }
    }

    /// The child of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name.as_deref() == Some(name))
    }

    /// The value as text.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.value.as_deref()?).ok()
    }
}

// `limits::DEPTH` of the elements ends the recursion.
fn nodes(parent: &Element, depth: usize) -> Result<Vec<Node>, DecodeError> {
    let elements = parent.children.iter().filter(|child| child.name == "Node");
    let nodes = elements.map(|element| node(element, depth)).collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<_> = nodes.iter().filter_map(|node| node.name.as_deref()).collect();
    names.sort_unstable();
    // On top, nodes of one name may stand at different paths.
    if depth > 1 && names.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(malformed("two nodes of one name"));
    }
    Ok(nodes)
}

fn node(element: &Element, depth: usize) -> Result<Node, DecodeError> {
    if depth > limits::TREE_DEPTH {
        return Err(limit("nodes below each other"));
    }
    let name = element.text_of("NodeName").filter(|name| !name.is_empty()).map(str::to_owned);
    if name.as_deref().is_some_and(|name| uri::check_name(name).is_err()) {
        return Err(malformed("NodeName cannot stand in a URI"));
    }
    if name.is_none() && depth > 1 {
        return Err(malformed("a node without NodeName below another"));
    }
    let path = element.text_of("Path").map(str::to_owned);
    let (properties, is_base64) = match element.child("RTProperties") {
        Some(element) => properties(element)?,
        None => Default::default(),
    };
    let children = nodes(element, depth + 1)?;
    let value = element.child("Value").map(|value| self::value(value, &properties, is_base64));
    let node = Node { name, path, properties, value: value.transpose()?, children };
    let interior = node.is_interior();
    if interior && node.value.as_ref().is_some_and(|value| !value.is_empty()) {
        return Err(malformed("an interior node with a value"));
    }
    if !interior && !node.children.is_empty() {
        return Err(malformed("a leaf with nodes below"));
    }
    Ok(node)
}

/// The properties, and whether the value is base64 however it comes.
fn properties(element: &Element) -> Result<(Properties, bool), DecodeError> {
    let text = |name: &str| element.text_of(name).map(str::to_owned);
    let format = match element.child("Format").map(|format| format.children.first()) {
        None => None,
        Some(Some(format)) => Some(format.name),
        Some(None) => return Err(malformed("Format is empty")),
    };
    // `Type` holds MIME or DDFName; some write the text straight into it.
    let kind = element.child("Type").and_then(|kind| kind.children.first().unwrap_or(kind).text());
    let properties = Properties {
        acl: text("ACL"),
        format: match format {
            Some(name) => Some(Format::parse(name).ok_or_else(|| malformed("unknown Format"))?),
            None => None,
        },
        name: text("Name"),
        size: element.text_of("Size").and_then(|size| size.parse().ok()),
        title: text("Title"),
        timestamp: text("TStamp"),
        kind: kind.filter(|kind| !kind.is_empty()).map(str::to_owned),
        version: element.text_of("VerNo").and_then(|version| version.parse().ok()),
    };
    Ok((properties, format == Some("b64")))
}

fn value(
    element: &Element,
    properties: &Properties,
    is_base64: bool,
) -> Result<Vec<u8>, DecodeError> {
    if !element.children.is_empty() {
        return Err(malformed("elements in a Value"));
    }
    let octets = match &element.content {
        Content::Octets(octets) if is_base64 => base64(octets)?,
        Content::Octets(octets) => octets.clone(),
        Content::Text(text) => match properties.format {
            Some(Format::Bin) => base64(text.as_bytes())?,
            Some(Format::Int | Format::Bool | Format::Float) => text.trim_ascii().into(),
            _ => text.clone().into_bytes(),
        },
    };
    if octets.len() > limits::TREE_VALUE {
        return Err(limit("value"));
    }
    Ok(octets)
}

/// Decodes base64, white space in it ignored.
pub(super) fn base64(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let text: Vec<u8> = text.iter().copied().filter(|it| !it.is_ascii_whitespace()).collect();
    BASE64.decode(text).map_err(|_| malformed("not base64"))
}

fn write(writer: &mut Writer, node: &Node) {
    writer.element("Node", |writer| {
        writer.leaf("NodeName", node.name.as_deref().unwrap_or_default());
        if let Some(path) = &node.path {
            writer.leaf("Path", path);
        }
        if node.properties != Properties::default() {
            writer.element("RTProperties", |writer| write_properties(writer, &node.properties));
        }
        for child in &node.children {
            write(writer, child);
        }
        if let Some(value) = &node.value {
            match std::str::from_utf8(value) {
                Ok(text) if node.properties.format != Some(Format::Bin) => {
                    writer.leaf("Value", text)
                }
                _ => writer.octets("Value", value),
            }
        }
    });
}

fn write_properties(writer: &mut Writer, properties: &Properties) {
    let leaf = |writer: &mut Writer, name: &str, text: Option<&str>| {
        if let Some(text) = text {
            writer.leaf(name, text);
        }
    };
    leaf(writer, "ACL", properties.acl.as_deref());
    if let Some(format) = properties.format {
        let name = if format == Format::Bin { writer.binary_format() } else { format.name() };
        writer.element("Format", |writer| writer.empty(name));
    }
    leaf(writer, "Name", properties.name.as_deref());
    leaf(writer, "Size", properties.size.map(|it| it.to_string()).as_deref());
    leaf(writer, "Title", properties.title.as_deref());
    leaf(writer, "TStamp", properties.timestamp.as_deref());
    if let Some(kind) = &properties.kind {
        let name = if properties.format == Some(Format::Node) { "DDFName" } else { "MIME" };
        writer.element("Type", |writer| writer.leaf(name, kind));
    }
    leaf(writer, "VerNo", properties.version.map(|it| it.to_string()).as_deref());
}

fn malformed(what: &'static str) -> DecodeError {
    DecodeError { offset: 0, kind: DecodeErrorKind::Malformed(what) }
}

fn limit(what: &'static str) -> DecodeError {
    DecodeError { offset: 0, kind: DecodeErrorKind::Limit(what) }
}
