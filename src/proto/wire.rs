//! Reading and writing octets: the cursor that every binary decoder here uses.

use std::ffi::CStr;
use std::fmt;

/// Why octets could not be decoded, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// Offset into the input, in octets, at which decoding stopped.
    pub offset: usize,
    /// What was wrong there.
    pub kind: DecodeErrorKind,
}

/// What was wrong with the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The input ends inside a field.
    Truncated,
    /// A multi-byte integer has more than five octets or exceeds 32 bits.
    IntegerOverflow,
    /// A length points past the end of the input.
    LengthOverrun,
    /// Text is not UTF-8, or holds a control character.
    Text,
    /// A bound of `limits` was exceeded; the text names which.
    Limit(&'static str),
    /// The input is not what the grammar wants here; the text says what is wrong.
    Malformed(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, kind } = self;
        match kind {
            DecodeErrorKind::Truncated => write!(f, "ends too early, at octet {offset}"),
            DecodeErrorKind::IntegerOverflow => write!(f, "integer too large at octet {offset}"),
            DecodeErrorKind::LengthOverrun => {
                write!(f, "length points past the end at octet {offset}")
            }
            DecodeErrorKind::Text => write!(f, "not clean UTF-8 text at octet {offset}"),
            DecodeErrorKind::Limit(what) => write!(f, "too much: {what} at octet {offset}"),
            DecodeErrorKind::Malformed(what) => write!(f, "{what} at octet {offset}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// A cursor over octets that cannot overrun.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first octet of `input`.
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0 }
    }

    /// Offset of the next octet, from the start of the input.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Octets not read yet.
    pub fn remaining(&self) -> &'a [u8] {
        &self.input[self.position..]
    }

    /// Whether all octets are read.
    pub fn is_empty(&self) -> bool {
        self.position == self.input.len()
    }

    /// The next octet, left in place.
    pub fn peek(&self) -> Option<u8> {
        self.input.get(self.position).copied()
    }

    /// An error at the present position.
    pub fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { offset: self.position, kind }
    }

    /// Takes one octet.
    ///
    /// # Errors
    /// `Truncated` at the end of the input.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let octet = self.peek().ok_or_else(|| self.error(DecodeErrorKind::Truncated))?;
        self.position += 1;
        Ok(octet)
    }

    /// Takes a big-endian 16-bit integer.
    ///
    /// # Errors
    /// `Truncated` at the end of the input.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        let octets = self.take(2)?;
        Ok(u16::from_be_bytes([octets[0], octets[1]]))
    }

    /// Takes `length` octets.
    ///
    /// # Errors
    /// `LengthOverrun` if fewer are left.
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let octets = self
            .remaining()
            .get(..length)
            .ok_or_else(|| self.error(DecodeErrorKind::LengthOverrun))?;
        self.position += length;
        Ok(octets)
    }

    /// Takes the octets up to a NUL, and the NUL.
    ///
    /// # Errors
    /// `Truncated` if no NUL follows.
    pub fn until_nul(&mut self) -> Result<&'a [u8], DecodeError> {
        let text = CStr::from_bytes_until_nul(self.remaining())
            .map_err(|_| self.error(DecodeErrorKind::Truncated))?;
        self.position += text.count_bytes() + 1;
        Ok(text.to_bytes())
    }

    /// Takes a `uintvar` of WSP, which is the `mb_u_int32` of WBXML: seven bits an octet, most
    /// significant first, at most five octets and 32 bits.
    ///
    /// # Errors
    /// `Truncated`, or `IntegerOverflow`.
    pub fn uintvar(&mut self) -> Result<u32, DecodeError> {
        let start = self.position;
        let overflow = DecodeError { offset: start, kind: DecodeErrorKind::IntegerOverflow };
        let mut value = 0_u32;
        for _ in 0..5 {
            let octet = self.u8()?;
            if value >> 25 != 0 {
                return Err(overflow);
            }
            value = value << 7 | u32::from(octet & 0x7f);
            if octet & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(overflow)
    }
}

/// Appends `value` as a `uintvar` (`mb_u_int32`) in the fewest octets.
pub fn put_uintvar(out: &mut Vec<u8>, value: u32) {
    for shift in [28, 21, 14, 7] {
        if value >> shift != 0 {
            out.push(0x80 | (value >> shift & 0x7f) as u8);
        }
    }
    out.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uintvar_survives_both_ways() {
        for value in [0, 1, 0x7f, 0x80, 0x2001, 0x1f_ffff, 0x20_0000, u32::MAX] {
            let mut octets = Vec::new();
            put_uintvar(&mut octets, value);
            let mut reader = Reader::new(&octets);
            assert_eq!(reader.uintvar(), Ok(value));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_uintvar_beyond_32_bits_is_refused() {
        let overflow = |octets: &[u8]| Reader::new(octets).uintvar().unwrap_err().kind;
        assert_eq!(overflow(&[0x90, 0x80, 0x80, 0x80, 0x00]), DecodeErrorKind::IntegerOverflow);
        assert_eq!(overflow(&[0x8f; 6]), DecodeErrorKind::IntegerOverflow);
        assert_eq!(overflow(&[0x8f]), DecodeErrorKind::Truncated);
    }

    #[test]
    fn a_length_past_the_end_is_refused() {
        let mut reader = Reader::new(&[1, 2]);
        assert_eq!(reader.take(3).unwrap_err().kind, DecodeErrorKind::LengthOverrun);
        assert_eq!(reader.take(usize::MAX).unwrap_err().kind, DecodeErrorKind::LengthOverrun);
        assert_eq!(reader.u16(), Ok(0x0102));
    }
}
