//! Where an account's server is.

use super::is_text;
use crate::limits;
use std::net::{IpAddr, Ipv6Addr};

/// One `AppAddr/<X>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `Addr`: an `http` or `https` URL, or an IP address.
    pub text: String,
    /// `AddrType`.
    pub kind: AddressKind,
    /// `Port/<X>/PortNbr`, in order.
    pub ports: Vec<u16>,
}

/// `AddrType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressKind {
    /// A URL, the default.
    Uri,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
}

#[derive(Default)]
pub(in crate::proto::bootstrap) struct LooseAddress {
    pub(in crate::proto::bootstrap) text: String,
    pub(in crate::proto::bootstrap) kind: String,
    pub(in crate::proto::bootstrap) ports: Vec<u16>,
}

impl Address {
    /// An address of type URI.
    pub fn uri(text: impl Into<String>) -> Self {
        Self { text: text.into(), kind: AddressKind::Uri, ports: Vec::new() }
    }

    /// The URL to post to. The first port is put into a URL that has none; an IP address is
    /// reached over `https`, unless its port is 80.
    pub fn url(&self) -> String {
        let port = self.ports.first();
        match self.kind {
            AddressKind::Uri => {
                let Some((scheme, rest)) = self.text.split_once("://") else {
                    return self.text.clone();
                };
                let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                let host_end = authority.rfind(']').map_or(0, |at| at + 1);
                let has_port = authority.get(host_end..).is_some_and(|it| it.contains(':'));
                match port {
                    Some(port) if !has_port => format!("{scheme}://{authority}:{port}{path}"),
                    _ => self.text.clone(),
                }
            }
            AddressKind::Ipv4 | AddressKind::Ipv6 => {
                let scheme = if port == Some(&80) { "http" } else { "https" };
                let port = port.map(|port| format!(":{port}")).unwrap_or_default();
                match self.kind {
                    AddressKind::Ipv6 => format!("{scheme}://[{}]{port}/", self.text),
                    _ => format!("{scheme}://{}{port}/", self.text),
                }
            }
        }
    }

    pub(super) fn fault(&self) -> Option<&'static str> {
        let ip = || self.text.parse::<IpAddr>().ok();
        let is_right = match self.kind {
            AddressKind::Uri => is_url(&self.text),
            AddressKind::Ipv4 => ip().is_some_and(|ip| ip.is_ipv4()),
            AddressKind::Ipv6 => ip().is_some_and(|ip| ip.is_ipv6()),
        };
        if !is_right {
            return Some("an address is not of the type it says");
        }
        if self.ports.len() > limits::ACCOUNT_PARTS {
            return Some("too many ports");
        }
        self.ports.contains(&0).then_some("a port is 0")
    }
}

impl AddressKind {
    /// The value of `AddrType`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uri => "URI",
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        }
    }

    /// The type that a name says; without a name, what the address looks like. `None`: a type of
    /// other networks.
    fn of(name: &str, address: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(match address.parse() {
                Ok(IpAddr::V4(_)) => Self::Ipv4,
                Ok(IpAddr::V6(_)) => Self::Ipv6,
                Err(_) => Self::Uri,
            });
        }
        let mut all = [Self::Uri, Self::Ipv4, Self::Ipv6].into_iter();
        // Servers of the field put URLs under the type of their host.
        let found = all.find(|kind| kind.name().eq_ignore_ascii_case(name))?;
        Some(if is_url(address) { Self::Uri } else { found })
    }
}

impl LooseAddress {
    /// The address, unless its type is one of other networks.
    pub(in crate::proto::bootstrap) fn address(self) -> Option<Address> {
        let kind = AddressKind::of(self.kind.trim(), self.text.trim())?;
        Some(Address { text: self.text.trim().to_owned(), kind, ports: self.ports })
    }
}

/// Whether a text is an http or https URL with a host, without user information and blanks.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    (scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
        && is_authority(rest.split(['/', '?', '#']).next().unwrap_or_default())
        && is_text(text)
        && !text.chars().any(char::is_whitespace)
}

/// Whether a text is a host, a name in ASCII or an IP address (IPv6 in brackets), and perhaps a
/// port. User information and percent-encoding, by which two readers of a URL come to two hosts,
/// have no place in it.
pub(in crate::proto::bootstrap) fn is_authority(text: &str) -> bool {
    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
    let (host, port) = match text.strip_prefix('[') {
        Some(text) => {
            let Some((ip, rest)) = text.split_once(']') else { return false };
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return false,
            };
            return ip.parse::<Ipv6Addr>().is_ok() && port.is_none_or(is_port);
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let is_of_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-._".contains(&octet);
    !host.is_empty() && host.bytes().all(is_of_name) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_goes_into_the_url_unless_it_has_one() {
        let url = |text: &str, kind, port: Option<u16>| {
            Address { text: text.into(), kind, ports: port.into_iter().collect() }.url()
        };
        let uri = AddressKind::Uri;
        assert_eq!(url("https://a/b", uri, Some(8443)), "https://a:8443/b");
        assert_eq!(url("https://a:1/b", uri, Some(8443)), "https://a:1/b");
        assert_eq!(url("https://[::1]?c", uri, Some(8443)), "https://[::1]:8443?c");
        assert_eq!(url("http://a", uri, None), "http://a");
        assert_eq!(url("192.0.2.1", AddressKind::Ipv4, None), "https://192.0.2.1/");
        assert_eq!(url("2001:db8::1", AddressKind::Ipv6, Some(80)), "http://[2001:db8::1]:80/");
    }

    #[test]
    fn a_url_has_one_host_however_it_is_read() {
        for good in
            ["https://a", "HTTP://a-b.c_d:80/e?f#g", "https://[::1]:443/", "http://10.0.0.1"]
        {
            assert!(is_url(good), "{good}");
        }
        for bad in [
            "https://",
            "https:///a",
            "https://:443/",
            "https://a:0/",
            "https://a:65536/",
            "https://a:b@c/",
            "https://a%00.example/",
            "https://a\\b/",
            "https://b\u{fc}cher.example/",
            "https://::1/",
            "https://[::1]a/",
            "https://[a]/",
            "https://a/b c",
            "ftp://a/",
            "a",
        ] {
            assert!(!is_url(bad), "{bad}");
        }
    }
}
