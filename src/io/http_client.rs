//! A small HTTP/1.1 client for simulated end devices: plain POST, one kept connection.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream};
use std::pin::Pin;
use std::time::Duration;

use async_io::{Async, Timer};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Version, header};
use smol::future;
use smol_hyper::rt::FuturesIo;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::explain;
use crate::limits::{CLIENT_BODY, LAN_HEAD};

/// An HTTP answer: status, `Content-Type`, body.
pub type Answer = (u16, Option<String>, Vec<u8>);

/// Posts once on a connection of its own. See [`Client::post`].
pub async fn post(
    url: &str,
    content_type: &str,
    body: &[u8],
    bind: Option<IpAddr>,
    timeout: Duration,
) -> io::Result<Answer> {
    Client::new(bind).post(url, content_type, body, timeout).await
}

/// Posts, keeping the connection to the last peer.
pub struct Client {
    bind: Option<IpAddr>,
    version: Version,
    connection: Option<Connection>,
}

struct Connection {
    /// `host:port` as in the URL.
    authority: String,
    sender: SendRequest<Full<Bytes>>,
    /// Moves the octets while it is polled; `None` once the connection has ended.
    driver: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Client {
    /// A client whose connections come from `bind`, if given.
    pub fn new(bind: Option<IpAddr>) -> Self {
        Self { bind, version: Version::HTTP_11, connection: None }
    }

    /// Speaks HTTP/1.0, a connection a request, as AOSP's client does.
    pub fn with_http10(self) -> Self {
        Self { version: Version::HTTP_10, ..self }
    }

    /// Posts to an `http://host[:port]/path` URL; IPv6 hosts in brackets, with `%zone` where
    /// link-local. A kept connection that its peer has closed is replaced.
    ///
    /// Errors: InvalidInput for another URL, TimedOut, what connect(2) says, InvalidData for an
    /// answer that is not HTTP or longer than [`CLIENT_BODY`].
    pub async fn post(
        &mut self,
        url: &str,
        content_type: &str,
        body: &[u8],
        timeout: Duration,
    ) -> io::Result<Answer> {
        let late = async {
            Timer::after(timeout).await;
            Err(explain(url, io::Error::from(io::ErrorKind::TimedOut)))
        };
        let body = Bytes::copy_from_slice(body);
        let result = future::or(self.exchange(url, content_type, body), late).await;
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    async fn exchange(&mut self, url: &str, content_type: &str, body: Bytes) -> io::Result<Answer> {
        let target = Target::parse(url)?;
        let kept = self.connection.take().filter(|kept| kept.authority == target.authority);
        if let Some(mut kept) = kept {
            if let Ok((answer, keep)) =
                kept.post(&target, self.version, content_type, body.clone()).await
            {
                self.connection = keep.then_some(kept);
                return Ok(answer);
            }
        }
        let mut fresh = Connection::open(&target, self.bind).await?;
        let (answer, keep) = fresh.post(&target, self.version, content_type, body).await?;
        self.connection = keep.then_some(fresh);
        Ok(answer)
    }
}

impl Connection {
    async fn open(target: &Target<'_>, bind: Option<IpAddr>) -> io::Result<Self> {
        let stream = connect(target.address().await?, bind)
            .await
            .map_err(|error| explain(format_args!("cannot reach {}", target.authority), error))?;
        stream.get_ref().set_nodelay(true)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(LAN_HEAD)
            .handshake(FuturesIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = Box::pin(async move {
            // Whoever waits for the answer is told of the error.
            let _ = connection.await;
        });
        Ok(Self { authority: target.authority.to_owned(), sender, driver: Some(driver) })
    }

    /// One exchange, and whether another may follow.
    async fn post(
        &mut self,
        target: &Target<'_>,
        version: Version,
        content_type: &str,
        body: Bytes,
    ) -> io::Result<(Answer, bool)> {
        let request = hyper::Request::post(target.path)
            .version(version)
            .header(header::HOST, target.host_header())
            .header(header::CONTENT_TYPE, content_type)
            .body(Full::new(body))
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let sender = &mut self.sender;
        let exchange = async {
            sender.ready().await.map_err(io::Error::other)?;
            let (head, body) =
                sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
            let content_type = head
                .headers
                .get(header::CONTENT_TYPE)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            let keep = head
                .headers
                .get(header::CONNECTION)
                .is_none_or(|value| !value.as_bytes().eq_ignore_ascii_case(b"close"));
            let body = Limited::new(body, CLIENT_BODY)
                .collect()
                .await
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let answer: Answer = (head.status.as_u16(), content_type, body.to_bytes().into());
            io::Result::Ok((answer, keep))
        };
        let driver = &mut self.driver;
        let drive = async {
            if let Some(running) = driver.as_mut() {
                running.await;
                *driver = None;
            }
            // The exchange ends with the connection, by its answer or its error.
            future::pending().await
        };
        let (answer, keep) = future::or(exchange, drive).await?;
        Ok((answer, keep && version != Version::HTTP_10 && self.driver.is_some()))
    }
}

/// The parts of an `http` URL.
struct Target<'a> {
    authority: &'a str,
    host: &'a str,
    zone: Option<&'a str>,
    port: u16,
    path: &'a str,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> io::Result<Self> {
        let parts = || {
            let rest = url.strip_prefix("http://")?;
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (host, port) = match authority.strip_prefix('[') {
                Some(rest) => rest.split_once(']')?,
                None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
            };
            let port = match port.strip_prefix(':') {
                Some(port) => port.parse().ok()?,
                None => port.is_empty().then_some(80)?,
            };
            let (host, zone) = match host.split_once('%') {
                Some((host, zone)) => (host, Some(zone.strip_prefix("25").unwrap_or(zone))),
                None => (host, None),
            };
            let path = if path.is_empty() { "/" } else { path };
            (!host.is_empty()).then_some(Self { authority, host, zone, port, path })
        };
        parts().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("not an http URL: {url}"))
        })
    }

    /// The authority without the zone, which means nothing to the peer.
    fn host_header(&self) -> String {
        match self.zone {
            Some(_) => format!("[{}]:{}", self.host, self.port),
            None => self.authority.to_owned(),
        }
    }

    async fn address(&self) -> io::Result<SocketAddr> {
        match self.host.parse() {
            Ok(IpAddr::V6(ip)) => {
                let zone = self.zone.map_or(Ok(0), |zone| {
                    zone.parse().or_else(|_| nix::net::if_::if_nametoindex(zone))
                })?;
                Ok(SocketAddrV6::new(ip, self.port, 0, zone).into())
            }
            Ok(ip) => Ok(SocketAddr::new(ip, self.port)),
            Err(_) => {
                let found = smol::net::resolve((self.host, self.port)).await?;
                found.first().copied().ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        }
    }
}

async fn connect(to: SocketAddr, bind: Option<IpAddr>) -> io::Result<Async<TcpStream>> {
    let Some(from) = bind else { return Async::<TcpStream>::connect(to).await };
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::from(to)) {
        Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => {
            return Err(error);
        }
        _ => {}
    }
    let stream = Async::new(TcpStream::from(socket))?;
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        Some(error) => Err(error),
        None => Ok(stream),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_come_apart_into_host_zone_port_and_path() {
        let parts = |url| {
            let target = Target::parse(url).ok()?;
            Some((target.host, target.zone, target.port, target.path, target.host_header()))
        };
        let plain = Some(("a", None, 80, "/", "a".to_owned()));
        assert_eq!(parts("http://a"), plain);
        let v4 = Some(("127.0.1.2", None, 81, "/dm?x=/", "127.0.1.2:81".to_owned()));
        assert_eq!(parts("http://127.0.1.2:81/dm?x=/"), v4);
        let v6 = Some(("fe80::1", Some("lan0"), 81, "/dm", "[fe80::1]:81".to_owned()));
        assert_eq!(parts("http://[fe80::1%25lan0]:81/dm"), v6);
        for bad in ["https://a", "http://", "http://[::1", "http://a:b", "http://a:99999", "a"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}
