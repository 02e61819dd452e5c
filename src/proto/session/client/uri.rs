//! Where a DM server may have answers sent to: the policy for `RespURI`.
//!
//! What goes there proves who the gateway is, so a message must not choose freely. An absolute
//! URI may name the account's own host, or one that the account allows by name; it may never
//! leave `https` for `http`. Private and loopback addresses are no exception: unless the account
//! itself names them, a server on the Internet has nothing to do with them.

use crate::limits;

/// The URI that `given` means, seen from `current`; `None` if the account does not allow it.
/// `account` is the account's own address, `hosts` what else it allows.
pub(super) fn resolve(
    account: &str,
    hosts: &[String],
    current: &str,
    given: &str,
) -> Option<String> {
    let given = given.trim();
    if given.is_empty()
        || given.len() > limits::URI
        || !given.bytes().all(|it| it.is_ascii_graphic())
    {
        return None;
    }
    let given = given.split('#').next().unwrap_or_default();
    let base = Parts::of(current)?;
    let (scheme, rest) = match scheme_of(given) {
        Some(_) => (None, None),
        None if given.starts_with("//") => (Some(base.scheme), None),
        None => (Some(base.scheme), Some(base.path_of(given))),
    };
    let absolute = match (scheme, rest) {
        (None, _) => given.to_owned(),
        (Some(scheme), None) => format!("{scheme}:{given}"),
        (Some(scheme), Some(path)) => format!("{scheme}://{}{path}", base.authority),
    };
    let target = Parts::of(&absolute)?;
    let own = Parts::of(account)?;
    let host = target.host();
    let known = host.eq_ignore_ascii_case(own.host())
        || hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host));
    let kept = target.scheme.eq_ignore_ascii_case(base.scheme)
        || base.scheme.eq_ignore_ascii_case("http") && target.scheme.eq_ignore_ascii_case("https");
    (known && kept && absolute.len() <= limits::URI).then_some(absolute)
}

/// Scheme, authority and the rest of an `http` or `https` URI.
struct Parts<'a> {
    scheme: &'a str,
    authority: &'a str,
    rest: &'a str,
}

impl<'a> Parts<'a> {
    fn of(uri: &'a str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let known = ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
        // Some readers of URIs take a backslash for a slash.
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let plain = !authority.is_empty() && !authority.contains('@') && !rest.starts_with('\\');
        (known && plain).then_some(Self { scheme, authority, rest })
    }

    fn host(&self) -> &'a str {
        let bracketed = self.authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match bracketed {
            Some((host, _)) => host,
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    /// The path and query that a relative reference means.
    fn path_of(&self, given: &str) -> String {
        if given.starts_with('/') {
            return given.to_owned();
        }
        let path = self.rest.split(['?', '#']).next().unwrap_or_default();
        if given.starts_with('?') {
            let path = if path.is_empty() { "/" } else { path };
            return format!("{path}{given}");
        }
        let folder = path.rfind('/').map_or("/", |slash| path.get(..=slash).unwrap_or("/"));
        format!("{folder}{}", given.strip_prefix("./").unwrap_or(given))
    }
}

/// The scheme of an absolute URI.
fn scheme_of(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let fits = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'-' | b'.');
    (scheme.starts_with(|it: char| it.is_ascii_alphabetic()) && scheme.bytes().all(fits))
        .then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "https://dm.example:8443/manage/start?x=1";

    fn of(given: &str) -> Option<String> {
        resolve(ACCOUNT, &["sessions.example".to_owned()], ACCOUNT, given)
    }

    #[test]
    fn absolute_and_relative_uris_of_the_accounts_hosts_are_obeyed() {
        for (given, meant) in [
            ("https://dm.example:8443/s?t=1", "https://dm.example:8443/s?t=1"),
            ("HTTPS://DM.Example/s", "HTTPS://DM.Example/s"),
            ("https://sessions.example/s", "https://sessions.example/s"),
            ("/s?t=a:b", "https://dm.example:8443/s?t=a:b"),
            ("s?t=1", "https://dm.example:8443/manage/s?t=1"),
            ("./s", "https://dm.example:8443/manage/s"),
            ("?t=1", "https://dm.example:8443/manage/start?t=1"),
            ("//dm.example/s", "https://dm.example/s"),
        ] {
            assert_eq!(of(given).as_deref(), Some(meant), "{given}");
        }
        let bare = "http://10.0.0.1";
        assert_eq!(resolve(bare, &[], bare, "s").as_deref(), Some("http://10.0.0.1/s"));
        assert_eq!(
            resolve(bare, &[], bare, "https://10.0.0.1/s").as_deref(),
            Some("https://10.0.0.1/s")
        );
    }

    #[test]
    fn other_hosts_private_addresses_and_weaker_schemes_are_not() {
        for given in [
            "http://dm.example:8443/s",
            "https://evil.example/s",
            "https://dm.example.evil.example/s",
            "https://dm.example@evil.example/s",
            "https://evil.example\\@dm.example/s",
            "https://evil.example?.dm.example",
            "//evil.example/s",
            "https://127.0.0.1/s",
            "https://192.168.1.1/s",
            "https://[::1]/s",
            "https://localhost/s",
            "file:///etc/passwd",
            "ftp://dm.example/s",
            "https:dm.example/s",
            "https:///s",
            "s\r\nx: y",
            " ",
        ] {
            assert_eq!(of(given), None, "{given}");
        }
        assert_eq!(of(&"s".repeat(limits::URI + 1)), None);
    }
}
