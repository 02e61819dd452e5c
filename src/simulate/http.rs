//! HTTP as the simulated end devices speak it: from a chosen source address, in 1.1 or 1.0, one
//! connection a session.

use crate::limits::LAN_BODY;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Version};
use smol::future;
use smol::lock::{Semaphore, SemaphoreGuardArc};
use smol::{Async, Timer};
use smol_hyper::rt::FuturesIo;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Bounds the TCP connections open at one time; shared by the simulators of a process, which
/// share its file descriptors.
pub type Gate = Arc<Semaphore>;

/// Makes a [`Gate`] for `connections` connections.
pub fn gate(connections: usize) -> Gate {
    Arc::new(Semaphore::new(connections))
}

/// Longest wait for one answer. In a storm the gateway has thousands waiting in line.
const PATIENCE: Duration = Duration::from_secs(60);

/// An `http` URL, cut into what a connection needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Host and port as written: the Host header.
    pub(super) authority: String,
    /// Path and query.
    pub(super) path: String,
}

impl Url {
    /// Reads an absolute `http` URL.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let scheme = text.get(..7)?;
        if !scheme.eq_ignore_ascii_case("http://") {
            return None;
        }
        let rest = text.get(7..)?;
        let cut = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let path = if path.is_empty() { "/" } else { path };
        (!authority.is_empty())
            .then(|| Self { authority: authority.to_owned(), path: path.to_owned() })
    }

    /// Reads a URL that may be a path relative to this one's host.
    pub(super) fn join(&self, text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self { path: text.to_owned(), ..self.clone() });
        }
        Self::parse(text)
    }

    /// The host without port and brackets.
    pub(super) fn host(&self) -> &str {
        let bracketed = self.authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        match bracketed {
            Some((host, _)) => host,
            None => self.authority.split(':').next().unwrap_or_default(),
        }
    }

    fn port(&self) -> u16 {
        let after_host = self.authority.rsplit_once(']').map_or(&*self.authority, |(_, rest)| rest);
        after_host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80)
    }

    async fn resolve(&self) -> io::Result<SocketAddr> {
        let (host, port) = (self.host(), self.port());
        if let Some(address) = scoped_address(host, port) {
            return Ok(address);
        }
        let addresses = smol::net::resolve((host, port)).await?;
        addresses.into_iter().next().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// An IP address as text, an IPv6 one perhaps with a scope (`fe80::1%eth0`).
pub(super) fn scoped_address(host: &str, port: u16) -> Option<SocketAddr> {
    let Some((address, scope)) = host.split_once('%') else {
        return Some(SocketAddr::new(host.parse().ok()?, port));
    };
    let scope = match scope.parse() {
        Ok(index) => index,
        Err(_) => nix::net::if_::if_nametoindex(scope).ok()?,
    };
    Some(SocketAddrV6::new(address.parse().ok()?, port, 0, scope).into())
}

/// The answer to a POST.
#[derive(Debug)]
pub(super) struct Answer {
    /// HTTP status code.
    pub(super) status: u16,
    /// Content-Type, or nothing.
    pub(super) content_type: String,
    /// Retry-After, in seconds.
    pub(super) retry_after: Option<u64>,
    /// The body.
    pub(super) body: Vec<u8>,
}

/// Posts to one peer, over one connection as long as it stays open.
pub(super) struct Client {
    local: Option<SocketAddr>,
    version: Version,
    gate: Gate,
    connection: Option<Open>,
}

struct Open {
    authority: String,
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<Connection<FuturesIo<Async<TcpStream>>, Full<Bytes>>>>,
    _permit: SemaphoreGuardArc,
}

impl Client {
    /// Connects from `local`'s address, or from whichever the kernel picks if that is
    /// unspecified.
    pub(super) fn new(local: SocketAddr, version: Version, gate: Gate) -> Self {
        let local = (!local.ip().is_unspecified()).then(|| {
            let mut local = local;
            local.set_port(0);
            local
        });
        Self { local, version, gate, connection: None }
    }

    /// Posts `body` and reads the answer.
    ///
    /// # Errors
    /// If no connection comes about, it breaks, or nothing comes for a minute.
    pub(super) async fn post(
        &mut self,
        url: &Url,
        content_type: &str,
        body: Vec<u8>,
    ) -> io::Result<Answer> {
        let late = async {
            Timer::after(PATIENCE).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        let body = Bytes::from(body);
        let fresh = !self.is_open_to(url);
        let first = future::or(self.exchange(url, content_type, body.clone()), late).await;
        match first {
            // The peer may close a connection that waits for the next message.
            Err(error) if !fresh && error.kind() != io::ErrorKind::TimedOut => {
                self.connection = None;
                self.exchange(url, content_type, body).await
            }
            other => other,
        }
    }

    fn is_open_to(&self, url: &Url) -> bool {
        let open = self.connection.as_ref();
        open.is_some_and(|open| open.authority == url.authority && !open.sender.is_closed())
    }

    async fn exchange(&mut self, url: &Url, content_type: &str, body: Bytes) -> io::Result<Answer> {
        if !self.is_open_to(url) {
            self.connection = None;
            self.connection = Some(self.open(url).await?);
        }
        let Some(open) = &mut self.connection else { return Err(io::ErrorKind::NotConnected.into()) };
        let request = Request::post(&url.path)
            .version(self.version)
            .header(HOST, &url.authority)
            .header(CONTENT_TYPE, content_type)
            .header(ACCEPT, content_type)
            .header(USER_AGENT, "dm-gateway-simulator")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let Open { sender, driver, .. } = open;
        let answer = async {
            sender.ready().await.map_err(io::Error::other)?;
            let response = sender.send_request(request).await.map_err(io::Error::other)?;
            let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
            let status = response.status().as_u16();
            let content_type = header(CONTENT_TYPE).unwrap_or_default().to_owned();
            let retry_after = header(RETRY_AFTER).and_then(|text| text.parse().ok());
            let body = Limited::new(response.into_body(), LAN_BODY).collect().await;
            let body = body.map_err(io::Error::other)?.to_bytes().to_vec();
            Ok(Answer { status, content_type, retry_after, body })
        };
        let closed = async {
            let _ = driver.await;
            // The answer may be complete although the connection is over: let it tell.
            future::pending().await
        };
        future::or(answer, closed).await
    }

    async fn open(&self, url: &Url) -> io::Result<Open> {
        let permit = self.gate.acquire_arc().await;
        let stream = connect(url.resolve().await?, self.local).await?;
        let (sender, driver) = handshake(FuturesIo::new(stream)).await.map_err(io::Error::other)?;
        Ok(Open {
            authority: url.authority.clone(),
            sender,
            driver: Box::pin(driver),
            _permit: permit,
        })
    }
}

async fn connect(to: SocketAddr, local: Option<SocketAddr>) -> io::Result<Async<TcpStream>> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(local) = local.filter(|local| local.is_ipv4() == to.is_ipv4()) {
        socket.bind(&SockAddr::from(local))?;
    }
    match socket.connect(&SockAddr::from(to)) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    let stream = Async::new(TcpStream::from(socket))?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

/// An address as it stands in a URL: IPv6 in brackets.
pub(super) fn url_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_cut_into_host_port_and_path() {
        let url = Url::parse("http://[fe80::1%7]:8080/dm?s=1").unwrap();
        assert_eq!((url.host(), url.port(), &*url.path), ("fe80::1%7", 8080, "/dm?s=1"));
        let url = Url::parse("HTTP://server").unwrap();
        assert_eq!((url.host(), url.port(), &*url.path), ("server", 80, "/"));
        assert_eq!(url.join("/x").unwrap().path, "/x");
        assert_eq!(Url::parse("ftp://server/"), None);
        assert_eq!(Url::parse("http:///"), None);
    }

    #[test]
    fn a_link_local_address_keeps_its_scope() {
        let Some(SocketAddr::V6(address)) = scoped_address("fe80::1%7", 80) else { panic!() };
        assert_eq!(address.scope_id(), 7);
    }
}
