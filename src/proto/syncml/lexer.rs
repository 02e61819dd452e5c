//! What the lexers of both encodings share: the tokens, the bounds, and which text is clean.

use super::Data;
use super::tokens::Tag;
use crate::limits;
use crate::proto::wire::{DecodeError, DecodeErrorKind};
use std::borrow::Cow;

/// One event of a document. Each `Start` has its `End`.
pub(super) enum Token<'a> {
    /// An element begins.
    Start(Tag),
    /// Character data; one text may come in several pieces.
    Text(Cow<'a, str>),
    /// A CDATA section, or an OPAQUE that is clean text.
    Markup(Cow<'a, str>),
    /// An OPAQUE that is not clean text.
    Binary(&'a [u8]),
    /// The innermost open element ends.
    End,
}

/// A source of tokens. It keeps to the bounds of [`limits`] by a [`Budget`].
pub(super) trait Lexer<'a> {
    /// The next token.
    ///
    /// # Errors
    /// The input is malformed, beyond a bound, or ends.
    fn next(&mut self) -> Result<Token<'a>, DecodeError>;

    /// The offset behind the token that came last, in octets.
    fn offset(&self) -> usize;

    /// Reads the rest of an element whose content is a document without escaping, and its `End`.
    /// The content began at offset `start` and came as `before` up to the `Start` of `first`,
    /// which is the last token taken.
    ///
    /// # Errors
    /// As `next`.
    fn markup(
        &mut self,
        start: usize,
        before: Option<Data<'a>>,
        first: Tag,
    ) -> Result<Cow<'a, str>, DecodeError>;

    /// Checks that nothing follows the root element.
    ///
    /// # Errors
    /// Something does.
    fn finish(&mut self) -> Result<(), DecodeError>;
}

/// What a document has used of its bounds.
#[derive(Default)]
pub(super) struct Budget {
    depth: usize,
    elements: usize,
    text: usize,
}

impl Budget {
    /// How many elements are open.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Counts an element that begins.
    pub(super) fn enter(&mut self) -> Result<(), DecodeErrorKind> {
        self.depth += 1;
        self.elements += 1;
        if self.depth > limits::DEPTH {
            return Err(DecodeErrorKind::Limit("nesting"));
        }
        if self.elements > limits::ELEMENTS {
            return Err(DecodeErrorKind::Limit("elements"));
        }
        Ok(())
    }

    /// Counts an element that ends.
    pub(super) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Counts text of `length` octets.
    pub(super) fn text(&mut self, length: usize) -> Result<(), DecodeErrorKind> {
        self.text = self.text.saturating_add(length);
        if length > limits::TEXT || self.text > limits::MESSAGE_TEXT {
            return Err(DecodeErrorKind::Limit("text"));
        }
        Ok(())
    }
}

/// Whether the octets hold no control character but tab, line feed and carriage return.
pub(super) fn no_controls(octets: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let allowed = |octet: &u8| *octet >= 0x20 || matches!(octet, b'\t' | b'\n' | b'\r');
    let words = octets.chunks_exact(8);
    let rest = words.remainder();
    // Eight octets at a time: the high bit of a difference is set where an octet is below 0x20.
    words.into_iter().all(|word| {
        let value = u64::from_ne_bytes(word.try_into().expect("a chunk of eight"));
        let below = value.wrapping_sub(ONES * 0x20) & !value & (ONES * 0x80);
        below == 0 || word.iter().all(allowed)
    }) && rest.iter().all(allowed)
}
