//! Access control lists: which server may do what to a node.
//!
//! (OMA-TS-DM_TND 1.2.1, 7.7.1.) `Add=*&Replace=a+b`. A node without a list takes the whole list
//! of the nearest node above it that has one; lists are never merged.

use crate::limits;
use crate::proto::syncml::StatusCode;
use std::fmt;

/// A set of commands, as rights in an ACL and as the AccessType of a description.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// None.
    pub const NONE: Self = Self(0);
    /// Add.
    pub const ADD: Self = Self(1);
    /// Delete.
    pub const DELETE: Self = Self(2);
    /// Exec.
    pub const EXEC: Self = Self(4);
    /// Get.
    pub const GET: Self = Self(8);
    /// Replace.
    pub const REPLACE: Self = Self(16);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::ADD, "Add"),
        (Self::DELETE, "Delete"),
        (Self::EXEC, "Exec"),
        (Self::GET, "Get"),
        (Self::REPLACE, "Replace"),
    ];

    /// The right of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(right, _)| *right)
    }

    /// Whether all of `wanted` are in the set.
    pub fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// The rights of both sets.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// An ACL that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// What anyone may do.
    everyone: Rights,
    /// What the servers may do besides, in the order in which they were named. No set is empty.
    servers: Box<[(Box<str>, Rights)]>,
}

impl Acl {
    /// Reads a list; `None` if the text is empty.
    ///
    /// # Errors
    /// 413 if it is too long; 400 if it is none: an unknown command, one twice, one without
    /// servers, `*` among others, or what cannot stand in a server id.
    pub fn parse(text: &str) -> Result<Option<Self>, StatusCode> {
        let bad = StatusCode::BAD_REQUEST;
        if text.len() > limits::ACL {
            return Err(StatusCode::TOO_LARGE);
        }
        if text.is_empty() {
            return Ok(None);
        }
        let mut acl = Self { everyone: Rights::NONE, servers: Box::default() };
        let mut servers: Vec<(Box<str>, Rights)> = Vec::new();
        let mut seen = Rights::NONE;
        for part in text.split('&') {
            let (command, ids) = part.split_once('=').ok_or(bad)?;
            let right = Rights::parse(command).ok_or(bad)?;
            if seen.contains(right) {
                return Err(bad);
            }
            seen = seen.with(right);
            if ids == "*" {
                acl.everyone = acl.everyone.with(right);
                continue;
            }
            for id in ids.split('+') {
                if !is_server(id) {
                    return Err(bad);
                }
                match servers.iter_mut().find(|(known, _)| **known == *id) {
                    Some((_, rights)) => *rights = rights.with(right),
                    None => servers.push((id.into(), right)),
                }
            }
        }
        acl.servers = servers.into();
        Ok(Some(acl))
    }

    /// What the root has from the factory: `Add=*&Get=*`.
    pub fn factory() -> Self {
        Self { everyone: Rights::ADD.with(Rights::GET), servers: Box::default() }
    }

    /// The list that lets one server do `rights`.
    pub fn of_server(server: &str, rights: Rights) -> Self {
        Self { everyone: Rights::NONE, servers: [(server.into(), rights)].into() }
    }

    /// Whether the server may do all of `wanted`.
    pub fn allows(&self, server: &str, wanted: Rights) -> bool {
        let missing = wanted.without(self.everyone);
        missing == Rights::NONE
            || self.servers.iter().any(|(id, rights)| **id == *server && rights.contains(missing))
    }

    /// Whether the list names the server.
    pub fn names(&self, server: &str) -> bool {
        self.servers.iter().any(|(id, _)| **id == *server)
    }

    /// The list without a server that is gone; `None` if nothing is left.
    pub fn without(&self, server: &str) -> Option<Self> {
        let left = self.servers.iter().filter(|(id, _)| **id != *server);
        let acl = Self { everyone: self.everyone, servers: left.cloned().collect() };
        (acl.everyone != Rights::NONE || !acl.servers.is_empty()).then_some(acl)
    }

    /// The list of the root without a server that is gone. A command that loses its last server
    /// falls back to the [factory](Self::factory)'s.
    pub(super) fn root_without(&self, server: &str) -> Self {
        let all = |acl: &Self| {
            acl.servers.iter().fold(acl.everyone, |all, (_, rights)| all.with(*rights))
        };
        let rest = self
            .without(server)
            .unwrap_or_else(|| Self { everyone: Rights::NONE, servers: Box::default() });
        let lost = all(self).without(all(&rest));
        let mut everyone = rest.everyone;
        for (right, _) in Rights::NAMES {
            if lost.contains(right) && Self::factory().everyone.contains(right) {
                everyone = everyone.with(right);
            }
        }
        let acl = Self { everyone, servers: rest.servers };
        if all(&acl) == Rights::NONE { Self::factory() } else { acl }
    }

    /// Octets of memory behind the list.
    pub(super) fn octets(&self) -> usize {
        self.servers.iter().map(|(id, _)| id.len() + size_of::<(Box<str>, Rights)>()).sum()
    }
}

/// Whether a text may stand for a server in an ACL.
fn is_server(id: &str) -> bool {
    let wrong = |it: char| "=&*+".contains(it) || it.is_whitespace() || it.is_control();
    !id.is_empty() && id.len() <= limits::SERVER_ID && !id.contains(wrong)
}

/// In the order Add, Delete, Exec, Get, Replace, whatever the order it was written in.
impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (right, name) in Rights::NAMES {
            if self.everyone.contains(right) {
                write!(f, "{separator}{name}=*")?;
                separator = "&";
                continue;
            }
            let mut before = "=";
            for (id, _) in self.servers.iter().filter(|(_, rights)| rights.contains(right)) {
                if before == "=" {
                    write!(f, "{separator}{name}")?;
                    separator = "&";
                }
                write!(f, "{before}{id}")?;
                before = "+";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(text: &str) -> Acl {
        Acl::parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_list_is_written_as_it_was_read() {
        for text in ["Add=*&Get=*", "Delete=a&Exec=b+a&Get=*&Replace=urn:x:y", "Get=a+b"] {
            assert_eq!(acl(text).to_string(), text.replace("b+a", "a+b"));
        }
        assert_eq!(Acl::parse(""), Ok(None));
        assert_eq!(acl("Replace=a&Get=*").to_string(), "Get=*&Replace=a");
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in [
            "Get",
            "Get=",
            "=a",
            "get=a",
            "Copy=a",
            "Get=a&",
            "Get=a&Get=b",
            "Get=*+a",
            "Get=a+*",
            "Get=a b",
            "Get=a+",
            "Get=a=b",
            "&",
            "Get=a&Replace=",
            "Get=\u{7f}",
        ] {
            assert_eq!(Acl::parse(text), Err(StatusCode::BAD_REQUEST), "{text}");
        }
        let long = format!("Get={}", "a".repeat(limits::ACL));
        assert_eq!(Acl::parse(&long), Err(StatusCode::TOO_LARGE));
    }

    #[test]
    fn a_server_that_is_gone_leaves_no_command_without_servers() {
        assert_eq!(acl("Get=a+b&Replace=a").without("a"), Some(acl("Get=b")));
        assert_eq!(acl("Get=a&Replace=a").without("a"), None);
        assert_eq!(acl("Get=*&Replace=a").without("a"), Some(acl("Get=*")));
    }

    #[test]
    fn at_the_root_a_lost_command_falls_back_to_the_factory() {
        assert_eq!(acl("Add=a&Get=b&Replace=a").root_without("a"), acl("Add=*&Get=b"));
        assert_eq!(acl("Replace=a").root_without("a"), Acl::factory());
        assert_eq!(acl("Add=b").root_without("a"), acl("Add=b"));
    }
}
