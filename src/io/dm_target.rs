//! From a URL to a TCP connection.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};

use async_io::{Async, Timer};
use rustls::pki_types::ServerName;
use smol::future;

use super::dm_client::CallFailure;
use super::plain;
use crate::limits::{CALL_ADDRESS_TIME, CALL_ADDRESSES};

/// The parts of a URL.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) secure: bool,
    /// As in the URL.
    pub(super) authority: String,
    /// Lower case, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) name: ServerName<'static>,
    /// Path and query.
    pub(super) path: String,
}

impl Target {
    /// Errors: [`CallFailure::BadUrl`].
    pub(super) fn parse(url: &str) -> Result<Self, CallFailure> {
        let parts = || {
            let uri: hyper::Uri = url.parse().ok()?;
            let secure = match uri.scheme_str()? {
                "https" => true,
                "http" => false,
                _ => return None,
            };
            let authority = uri.authority()?.as_str();
            let host = uri.host()?.to_ascii_lowercase();
            let host = match host.strip_prefix('[') {
                Some(host) => host.strip_suffix(']')?.to_owned(),
                None => host,
            };
            let port = match authority.rsplit_once(':') {
                Some((_, port)) if !port.ends_with(']') => port.parse().ok()?,
                _ => {
                    if secure {
                        443
                    } else {
                        80
                    }
                }
            };
            let name = ServerName::try_from(host.clone()).ok()?;
            let path = match uri.path_and_query().map(|path| path.as_str()) {
                Some(path) if path.starts_with('/') => path.to_owned(),
                path => format!("/{}", path.unwrap_or_default()),
            };
            let plain = port != 0 && !authority.contains('@');
            plain.then_some(Self {
                secure,
                authority: authority.to_owned(),
                host,
                port,
                name,
                path,
            })
        };
        parts().ok_or(CallFailure::BadUrl)
    }
}

/// Connects to the first address that takes it.
///
/// Errors: [`CallFailure::Unresolved`], [`CallFailure::Unreachable`].
pub(super) async fn connect(target: &Target) -> Result<Async<TcpStream>, CallFailure> {
    let unresolved =
        |error: io::Error| CallFailure::Unresolved(format!("{}: {}", target.host, plain(&error)));
    let addresses = match target.host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, target.port)],
        Err(_) => {
            smol::net::resolve((target.host.as_str(), target.port)).await.map_err(unresolved)?
        }
    };
    let mut failure = None;
    for address in addresses.into_iter().take(CALL_ADDRESSES) {
        let late = async {
            Timer::after(CALL_ADDRESS_TIME).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match future::or(Async::<TcpStream>::connect(address), late).await {
            Ok(stream) => {
                // Only a delay is lost without it.
                let _ = stream.get_ref().set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = Some(format!("{address}: {}", plain(&error))),
        }
    }
    Err(match failure {
        Some(failure) => CallFailure::Unreachable(failure),
        None => unresolved(io::ErrorKind::NotFound.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart_into_scheme_host_port_and_path() {
        let parts = |url| {
            let target = Target::parse(url).ok()?;
            Some((target.secure, target.host, target.port, target.path, target.authority))
        };
        let some = |secure, host: &str, port, path: &str, authority: &str| {
            Some((secure, host.to_owned(), port, path.to_owned(), authority.to_owned()))
        };
        assert_eq!(parts("https://DM.example"), some(true, "dm.example", 443, "/", "DM.example"));
        assert_eq!(parts("HTTP://a.b/dm?x=/"), some(false, "a.b", 80, "/dm?x=/", "a.b"));
        assert_eq!(parts("https://[::1]:81/"), some(true, "::1", 81, "/", "[::1]:81"));
        assert_eq!(parts("https://[::1]"), some(true, "::1", 443, "/", "[::1]"));
        assert_eq!(parts("http://192.0.2.1?q#f"), some(false, "192.0.2.1", 80, "/?q", "192.0.2.1"));
        for bad in [
            "",
            "a",
            "/dm",
            "a.b:443",
            "ftp://a",
            "https://",
            "https:///dm",
            "https://a:0/",
            "https://a:65536/",
            "https://a:b/",
            "https://u@a/",
            "https://u:p@a/",
            "https://[::1",
            "https://a b/",
            "https://a/\r\nX: y",
            "https://127.1/",
            "https://a..b/",
            "https://ä/",
            "https://[fe80::1%25eth0]/",
            "file:///etc/passwd",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
