//! HTTP/1 for what is looked at on this machine: metrics, health and the status page. At a
//! loopback address or a Unix socket.
//!
//! A request is GET or HEAD and has no body; each has a connection of its own. At most
//! [`PAGE_CONNECTIONS`] are open, further ones wait in the kernel's backlog.

use std::borrow::Cow;
use std::cell::Cell;
use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use async_io::{Async, Timer};
use http_body_util::Full;
use hyper::Method;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::io::{AsyncRead, AsyncWrite};
use smol::{LocalExecutor, future};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::explain;
use crate::limits::{LAN_HEAD_TIME, PAGE_CONNECTIONS, PAGE_HEAD, PAGE_TIME, SOCKET_RETRY};

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A TCP address.
    Address(SocketAddr),
    /// The path of a Unix socket.
    Socket(PathBuf),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Path without query.
    pub path: String,
    /// What stands behind `?`.
    pub query: Option<String>,
    /// `Host`, if given and text.
    pub host: Option<String>,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// HTTP status code.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: &'static str,
    /// Header fields besides.
    pub fields: &'static [(&'static str, &'static str)],
    /// The body.
    pub body: Cow<'static, str>,
}

impl Page {
    /// A few words.
    pub fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", fields: &[], body: body.into() }
    }
}

/// Whether a `Host` names this machine, as a browser on it does.
pub fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        // A tunnel has a port of its own.
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A listening socket. That of a file removes it when dropped.
pub struct PageListener {
    listener: Listening,
    place: Place,
}

enum Listening {
    Tcp(Async<TcpListener>),
    Unix(Async<UnixListener>),
}

impl PageListener {
    /// Binds. A socket file that nobody answers on is replaced; it gets the mode 0660.
    ///
    /// Errors: what socket(2), bind(2) and listen(2) say, the place named in the text.
    pub fn bind(place: &Place) -> io::Result<Self> {
        let listener = match place {
            Place::Address(address) => {
                let failed = |error| explain(format_args!("cannot listen on {address}"), error);
                Listening::Tcp(Async::<TcpListener>::bind(*address).map_err(failed)?)
            }
            Place::Socket(path) => {
                let shown = path.display();
                let failed = |error| explain(format_args!("cannot listen on {shown}"), error);
                remove_stale(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o660)).map_err(failed)?;
                Listening::Unix(Async::new(listener)?)
            }
        };
        Ok(Self { listener, place: place.clone() })
    }

    /// The address bound to, if it is one.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.listener {
            Listening::Tcp(listener) => listener.get_ref().local_addr().ok(),
            Listening::Unix(_) => None,
        }
    }

    /// Answers, for ever.
    pub async fn serve<F: Future<Output = Page>>(&self, handler: impl Fn(PageRequest) -> F) {
        let handler = Rc::new(handler);
        let open = Rc::new(Cell::new(0));
        let connections = LocalExecutor::new();
        let accept = async {
            loop {
                while open.get() >= PAGE_CONNECTIONS {
                    // Each ends in time by itself.
                    Timer::after(SOCKET_RETRY / 10).await;
                }
                let guard = Open::new(&open);
                let handler = Rc::clone(&handler);
                let result = match &self.listener {
                    Listening::Tcp(listener) => listener.accept().await.map(|(stream, _)| {
                        connections.spawn(one(stream, handler, guard)).detach();
                    }),
                    Listening::Unix(listener) => listener.accept().await.map(|(stream, _)| {
                        connections.spawn(one(stream, handler, guard)).detach();
                    }),
                };
                if let Err(error) = result {
                    log::debug!("cannot accept a connection: {error}");
                    Timer::after(SOCKET_RETRY).await;
                }
            }
        };
        connections.run(accept).await
    }
}

impl Drop for PageListener {
    fn drop(&mut self) {
        if let Place::Socket(path) = &self.place {
            // A file that stays is replaced at the next start.
            let _ = fs::remove_file(path);
        }
    }
}

/// One connection among those that are open.
struct Open(Rc<Cell<usize>>);

impl Open {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

async fn one<S, H, F>(stream: S, handler: Rc<H>, open: Open)
where
    S: AsyncRead + AsyncWrite + Unpin,
    H: Fn(PageRequest) -> F,
    F: Future<Output = Page>,
{
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let handler = &handler;
        async move {
            let page = match *request.method() {
                Method::GET | Method::HEAD => handler(asked(&request)).await,
                _ => Page {
                    fields: &[("Allow", "GET, HEAD")],
                    ..Page::text(405, "this is only to be looked at\n")
                },
            };
            Ok::<_, Infallible>(reply(page))
        }
    });
    let connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(LAN_HEAD_TIME)
        .max_buf_size(PAGE_HEAD)
        .keep_alive(false)
        .serve_connection(FuturesIo::new(stream), service);
    let late = async {
        Timer::after(PAGE_TIME).await;
        Ok(())
    };
    if let Err(error) = future::or(connection, late).await {
        log::debug!("a connection ended: {error}");
    }
    drop(open);
}

fn asked(request: &hyper::Request<Incoming>) -> PageRequest {
    let uri = request.uri();
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    // In a request in absolute form the authority counts (RFC 9112 3.2.2).
    let host = uri.authority().map(|it| it.as_str()).or(host);
    PageRequest {
        path: uri.path().to_owned(),
        query: uri.query().map(str::to_owned),
        host: host.map(str::to_owned),
    }
}

fn reply(page: Page) -> hyper::Response<Full<Bytes>> {
    let body = match page.body {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => Bytes::from(text),
    };
    let mut reply = hyper::Response::new(Full::new(body));
    *reply.status_mut() = hyper::StatusCode::from_u16(page.status)
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in page.fields {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    reply
}

fn remove_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file is there that is no socket"))
        }
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_count() {
        for host in ["127.0.0.1:8088", "localhost", "LocalHost:9000", "[::1]:8088", "127.6.1.1"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example:8088",
            "127.0.0.1.evil.example:8088",
            "localhost.evil.example",
            "192.0.2.1:8088",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
