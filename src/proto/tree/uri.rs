//! URIs of the management tree.
//!
//! (OMA-TS-DM_TND 1.2.1, 6.) `./A/B` and `A/B` name the same node; `.` is the root. A query names
//! a property (`?prop=ACL`) or asks for a listing (`?list=TNDS`).
//!
//! One node has one name: what could be read as another spelling of a path is refused, so that
//! nothing compares equal here and differs elsewhere.

use super::property::{Properties, Property};
use crate::limits;
use crate::proto::syncml::StatusCode;

/// A URI, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// The path from the root without `./`; empty for the root.
    pub path: &'a str,
    /// What is asked of the node.
    pub query: Option<Query>,
}

/// What stands behind the `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// `prop=`: a property instead of the value.
    Property(Property),
    /// `list=Struct`: the nodes of the subtree.
    Struct,
    /// `list=StructData`: the nodes and their values.
    StructData,
    /// `list=TNDS`: one document with these properties.
    Tnds(Properties),
}

impl<'a> Uri<'a> {
    /// Takes a URI apart.
    ///
    /// # Errors
    /// 414 if it is too long, too deep, or has too long a segment; 400 if it is not canonical:
    /// empty segments, `.` and `..`, blanks, control characters, `%` where none is needed or not
    /// before two upper-case digits; 406 for a query that is not known.
    pub fn parse(text: &'a str) -> Result<Self, StatusCode> {
        if text.len() > limits::TREE_URI {
            return Err(StatusCode::URI_TOO_LONG);
        }
        let (path, query) = match text.split_once('?') {
            Some((path, query)) => (path, Some(Query::parse(query)?)),
            None => (text, None),
        };
        if path == "." {
            return Ok(Self { path: "", query });
        }
        let path = path.strip_prefix("./").unwrap_or(path);
        check(path)?;
        Ok(Self { path, query })
    }

    /// The last segment, empty for the root.
    pub fn name(&self) -> &'a str {
        split(self.path).1
    }
}

impl Query {
    fn parse(text: &str) -> Result<Self, StatusCode> {
        let unknown = StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED;
        match text.split_once('=') {
            Some(("prop", name)) => Property::parse(name).map(Self::Property).ok_or(unknown),
            Some(("list", "Struct")) => Ok(Self::Struct),
            Some(("list", "StructData")) => Ok(Self::StructData),
            Some(("list", list)) => {
                let list = list.strip_prefix("TNDS").ok_or(unknown)?;
                Properties::parse(list).map(Self::Tnds).ok_or(unknown)
            }
            _ => Err(unknown),
        }
    }
}

/// The path above a path, and its last segment. Of the root both are empty.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// One path below another: `a` and `b/c` make `a/b/c`.
pub fn join(above: &str, below: &str) -> String {
    match (above, below) {
        ("", path) | (path, "") => path.to_owned(),
        _ => [above, "/", below].concat(),
    }
}

/// Checks a path without `./` in front.
///
/// # Errors
/// As [`Uri::parse`].
pub fn check(path: &str) -> Result<(), StatusCode> {
    if path.len() > limits::TREE_URI {
        return Err(StatusCode::URI_TOO_LONG);
    }
    let mut depth = 0;
    for segment in path.split('/') {
        check_name(segment)?;
        depth += 1;
    }
    if depth > limits::TREE_DEPTH { Err(StatusCode::URI_TOO_LONG) } else { Ok(()) }
}

/// Checks the name of a node.
///
/// # Errors
/// As [`Uri::parse`].
pub fn check_name(name: &str) -> Result<(), StatusCode> {
    if name.len() > limits::TREE_SEGMENT {
        return Err(StatusCode::URI_TOO_LONG);
    }
    if matches!(name, "" | "." | "..") {
        return Err(StatusCode::BAD_REQUEST);
    }
    let mut octets = name.bytes();
    while let Some(octet) = octets.next() {
        let good = match octet {
            b'%' => {
                matches!((octets.next(), octets.next()), (Some(high), Some(low)) if needed(high, low))
            }
            b'/' | b'?' | b'\\' => false,
            0x21..=0x7e | 0x80.. => true,
            _ => false,
        };
        if !good {
            return Err(StatusCode::BAD_REQUEST);
        }
    }
    Ok(())
}

/// Whether `%` and these digits stand for an octet that cannot stand for itself.
fn needed(high: u8, low: u8) -> bool {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    };
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => match high << 4 | low {
            b'/' | b'-' | b'.' | b'_' | b'~' | 0x00..0x20 | 0x7f => false,
            octet => !octet.is_ascii_alphanumeric(),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_name_the_same_node() {
        assert_eq!(Uri::parse("./A/B"), Uri::parse("A/B"));
        assert_eq!(Uri::parse(".").unwrap().path, "");
        assert_eq!(Uri::parse("./A/b%20c").unwrap().name(), "b%20c");
        let acl = Some(Query::Property(Property::Acl));
        assert_eq!(Uri::parse(".?prop=ACL"), Ok(Uri { path: "", query: acl }));
    }

    #[test]
    fn other_spellings_are_refused() {
        for text in [
            "", "/", "./", "/A", "A/", "A//B", "./.", "../A", "A/../B", "A/./B", "././A", "A/%2e",
            "A/%2E", "A/%2F", "A/%2f", "A/%41", "A/%4", "A/%", "A/%e4", "A b", "A\tb", "A\u{0}",
            "A\\b", "A/%00", "A/%7F",
        ] {
            assert_eq!(Uri::parse(text), Err(StatusCode::BAD_REQUEST), "{text}");
        }
    }

    #[test]
    fn too_much_of_a_uri_is_told_so() {
        for text in [
            "a".repeat(limits::TREE_SEGMENT + 1),
            "a/".repeat(limits::TREE_DEPTH) + "a",
            "a".repeat(limits::TREE_URI + 1),
        ] {
            assert_eq!(Uri::parse(&text), Err(StatusCode::URI_TOO_LONG));
        }
        assert!(Uri::parse(&("a/".repeat(limits::TREE_DEPTH - 1) + "a")).is_ok());
    }

    #[test]
    fn an_unknown_query_is_an_optional_feature() {
        for text in ["A?", "A?x=y", "A?prop=", "A?prop=acl", "A?list=All", "A?list=TNDS+Nothing"] {
            assert_eq!(Uri::parse(text), Err(StatusCode::OPTIONAL_FEATURE_NOT_SUPPORTED), "{text}");
        }
    }
}
