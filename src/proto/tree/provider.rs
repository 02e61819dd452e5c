//! Subtrees that are not kept in the tree but served from live state.

use super::node::Mount;
use super::property::Format;
use crate::proto::syncml::{Data, StatusCode};
use std::borrow::Cow;

/// A node of a provider, or a value for one. It does not print: it may be a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Value<'a> {
    /// `node` for an interior node.
    pub format: Format,
    /// The media type, `None` for `text/plain`; the object that an interior node is the root of.
    pub kind: Option<Cow<'a, str>>,
    /// The value; empty for an interior node.
    pub octets: Cow<'a, [u8]>,
}

impl<'a> Value<'a> {
    /// An interior node.
    pub fn interior() -> Self {
        Self { format: Format::Node, ..Self::default() }
    }

    /// A leaf of text.
    pub fn text(text: impl Into<Cow<'a, str>>) -> Self {
        let octets = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self { octets, ..Self::default() }
    }

    /// A leaf of this format, written as text.
    pub fn of(format: Format, text: impl Into<Cow<'a, str>>) -> Self {
        Self { format, ..Self::text(text) }
    }

    /// The value with nothing borrowed.
    pub fn into_owned(self) -> Value<'static> {
        let Self { format, kind, octets } = self;
        let kind = kind.map(|kind| Cow::Owned(kind.into_owned()));
        Value { format, kind, octets: octets.into_owned().into() }
    }
}

/// Serves what is below mount points. Paths are relative to the mount point and canonical; rights
/// and formats were judged before a provider is asked, by the description at the mount point and
/// by its ACL.
pub trait Provider {
    /// The node at a path; `None` if there is none.
    fn node(&self, mount: Mount, path: &str) -> Option<Value<'_>>;

    /// The names of the nodes below a path, empty for the mount point itself.
    fn children(&self, mount: Mount, path: &str) -> Vec<String>;

    /// Replaces the value of a leaf that is there.
    ///
    /// # Errors
    /// The status that says why not; nothing has changed then.
    fn replace(&mut self, _: Mount, _: &str, _: &Value<'_>) -> Result<(), StatusCode> {
        Err(StatusCode::NOT_ALLOWED)
    }

    /// Adds a node that is not there.
    ///
    /// # Errors
    /// As [`Provider::replace`].
    fn add(&mut self, _: Mount, _: &str, _: &Value<'_>) -> Result<(), StatusCode> {
        Err(StatusCode::NOT_ALLOWED)
    }

    /// Deletes a node and all below it.
    ///
    /// # Errors
    /// As [`Provider::replace`].
    fn delete(&mut self, _: Mount, _: &str) -> Result<(), StatusCode> {
        Err(StatusCode::NOT_ALLOWED)
    }

    /// Executes a node: 200 if that is done, 202 if it goes on.
    ///
    /// # Errors
    /// As [`Provider::replace`].
    fn exec(&mut self, _: Mount, _: &str, _: Option<&Data<'_>>) -> Result<StatusCode, StatusCode> {
        Err(StatusCode::NOT_ALLOWED)
    }

    /// Undoes one of the above (not `exec`): the node is to be what it was, or not to be.
    fn undo(&mut self, _: Mount, _: &str, _: Option<&Value<'_>>) {}
}

/// Serves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProvider;

impl Provider for NoProvider {
    fn node(&self, _: Mount, _: &str) -> Option<Value<'_>> {
        None
    }

    fn children(&self, _: Mount, _: &str) -> Vec<String> {
        Vec::new()
    }
}
