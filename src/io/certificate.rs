//! How long certificates are valid: nothing else of them is read here.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// One certificate's time, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when on it is valid.
    pub not_before: u64,
    /// Until when.
    pub not_after: u64,
}

/// The validity of each certificate in a PEM file, in order. Those that cannot be read are left
/// out.
pub fn validities(pem: &[u8]) -> Vec<Validity> {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    certificates.filter_map(|der| validity(&der)).collect()
}

/// RFC 5280 4.1: Certificate, in it TBSCertificate, in it the version (if it is not 1), the serial
/// number, the signature algorithm, the issuer, and then Validity.
fn validity(der: &[u8]) -> Option<Validity> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (certificate, _) = element(der, SEQUENCE)?;
    let (mut rest, _) = element(certificate, SEQUENCE)?;
    if let Some((_, behind)) = element(rest, VERSION) {
        rest = behind;
    }
    for _ in 0..3 {
        rest = any(rest)?.2;
    }
    let (times, _) = element(rest, SEQUENCE)?;
    let (kind, from, rest) = any(times)?;
    let not_before = time(kind, from)?;
    let (kind, until, _) = any(rest)?;
    Some(Validity { not_before, not_after: time(kind, until)? })
}

/// The content of an element of that tag, and what is behind it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = any(der)?;
    (found == tag).then_some((content, rest))
}

fn any(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = der.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let long = |sum: usize, octet: &u8| sum.checked_mul(256)?.checked_add(usize::from(*octet));
        (octets.iter().try_fold(0, long)?, rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// UTCTime `YYMMDDhhmmssZ` or GeneralizedTime `YYYYMMDDhhmmssZ`, as RFC 5280 has them.
fn time(kind: u8, text: &[u8]) -> Option<u64> {
    const UTC_TIME: u8 = 0x17;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = if kind == UTC_TIME {
        let (year, rest) = text.split_at_checked(2)?;
        let year: u64 = year.parse().ok()?;
        (if year < 50 { 2000 + year } else { 1900 + year }, rest)
    } else {
        let (year, rest) = text.split_at_checked(4)?;
        (year.parse().ok()?, rest)
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let (month, day) = (part(0)?, part(2)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return Some(0);
    }
    // Years that begin in March, in eras of 400, as in the other direction.
    let year = year - u64::from(month <= 2);
    let month = if month > 2 { month - 3 } else { month + 9 };
    let (era, year) = (year / 400, year % 400);
    let days = era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1;
    Some(days.checked_sub(719_468)? * 86_400 + part(4)? * 3600 + part(6)? * 60 + part(8)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_certificates_are_read_in_both_forms() {
        assert_eq!(time(0x17, b"700101000000Z"), Some(0));
        assert_eq!(time(0x17, b"260101000000Z"), Some(1_767_225_600));
        assert_eq!(time(0x18, b"20380119031407Z"), Some(i32::MAX as u64));
        assert_eq!(time(0x18, b"20000229120000Z"), Some(951_825_600));
        assert_eq!(time(0x17, b"26"), None);
    }

    #[test]
    fn what_is_no_certificate_has_no_validity() {
        for der in [&b""[..], b"0", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x30\x01"] {
            assert_eq!(validity(der), None);
        }
        assert_eq!(validities(b"nothing"), []);
    }
}
