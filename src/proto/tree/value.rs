//! What a request brings: the value of one node, or a serialised tree.

use super::description::RuleId;
use super::execute::{Command, Done, Request};
use super::node::Facts;
use super::property::Format;
use super::provider::Value;
use crate::limits;
use crate::proto::syncml::{Data, Encoding, StatusCode};
use crate::proto::tnds;
use crate::proto::wire::{DecodeError, DecodeErrorKind};
use std::borrow::Cow;

impl Command<'_> {
    /// The value that a request brings for a node. Its format is what the request says; if it says
    /// nothing, what the node has, or the first that the description has.
    pub(super) fn value<'r>(
        &self,
        request: &Request<'r>,
        rule: RuleId,
        present: Option<Format>,
    ) -> Done<Value<'r>> {
        let allowed = self.tree.rules.rule(rule).map_or(&[][..], |rule| &rule.formats);
        let format = match request.format {
            Some(name) => Format::parse(name).ok_or(StatusCode::UNSUPPORTED_TYPE)?,
            None => present.or_else(|| allowed.first().copied()).unwrap_or(match request.data {
                Some(Data::Binary(_)) => Format::Bin,
                _ => Format::Chr,
            }),
        };
        if !allowed.is_empty() && !allowed.contains(&format) {
            return Err(StatusCode::UNSUPPORTED_TYPE);
        }
        let kind = request.kind.filter(|kind| !kind.is_empty());
        if kind.is_some_and(|kind| kind.len() > limits::NODE_TYPE) {
            return Err(StatusCode::TOO_LARGE);
        }
        let octets = self.octets(request, format)?;
        if octets.len() > limits::TREE_VALUE {
            return Err(StatusCode::TOO_LARGE);
        }
        format.check(&octets)?;
        Ok(Value { format, kind: kind.map(Cow::Borrowed), octets })
    }

    fn octets<'r>(&self, request: &Request<'r>, format: Format) -> Done<Cow<'r, [u8]>> {
        let bad = |_| StatusCode::BAD_REQUEST;
        let text = match request.data {
            None => return Ok(Cow::Borrowed(&[])),
            Some(Data::Binary(octets)) => return Ok(Cow::Borrowed(octets)),
            Some(Data::Text(text) | Data::Markup(text)) => text,
        };
        let in_xml = self.caller.encoding == Encoding::Xml && format == Format::Bin;
        let is_markup = matches!(request.data, Some(Data::Markup(_)));
        if request.format == Some("b64") || in_xml && !is_markup {
            return tnds::base64(text.as_bytes()).map(Cow::Owned).map_err(bad);
        }
        Ok(Cow::Borrowed(match format {
            Format::Int | Format::Bool | Format::Float => text.trim_ascii().as_bytes(),
            // Layout between the tags of an interior node is no value.
            Format::Node | Format::Null => text.trim_ascii().as_bytes(),
            _ => text.as_bytes(),
        }))
    }
}

/// The facts of a new node of a value.
pub(super) fn facts(value: Value<'_>) -> Facts {
    Facts {
        format: value.format,
        kind: value.kind.map(|kind| (*kind).into()),
        value: value.octets.into_owned().into(),
        ..Facts::default()
    }
}

/// The serialised tree that a request brings, if it says that it brings one.
pub(super) fn document(request: &Request<'_>) -> Done<Option<tnds::Document>> {
    if !request.kind.is_some_and(tnds::is_media_type) {
        return Ok(None);
    }
    let of_error = |error: DecodeError| match error.kind {
        DecodeErrorKind::Limit(_) => StatusCode::TOO_LARGE,
        _ => StatusCode::BAD_REQUEST,
    };
    let document = match (request.data, request.format) {
        (None, _) => Err(StatusCode::INCOMPLETE_COMMAND),
        (Some(Data::Text(text)), Some("b64" | "bin")) if !text.trim_ascii().starts_with('<') => {
            let octets = tnds::base64(text.as_bytes()).map_err(of_error)?;
            tnds::Document::decode(Encoding::Wbxml, &octets).map_err(of_error)
        }
        (Some(data), _) => tnds::Document::of_data(data).map_err(of_error),
    };
    document.map(Some)
}
