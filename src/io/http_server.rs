//! HTTP/1 on a LAN: takes end devices' requests whole, hands them on, writes the answers.
//!
//! hyper frames; this module bounds. A connection is in one of two states, which
//! `http_connection` keeps:
//!
//! ```text
//!  waiting (no octet of a request yet) --first octet--> busy (head, body, answer)
//!          ^------------------- answer written -----------'
//! ```
//!
//! At most [`LAN_CONNECTIONS`] are open; further peers stay in the kernel's backlog. While one
//! is there, answers close their connection and connections that wait too long are closed, so
//! that everybody gets a turn.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker, ready};
use std::time::Instant;

use async_io::{Async, Timer};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use nix::errno::Errno;
use smol::{LocalExecutor, future};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::http_connection::{Observed, Order, State};
use super::{bind_interface, explain};
use crate::gateway::seam::{Request, Response};
use crate::limits::{
    LAN_ANSWER_TIME, LAN_BACKLOG, LAN_BODY, LAN_BODY_TIME, LAN_CONNECTIONS, LAN_DRAIN_TIME,
    LAN_HEAD, LAN_HEAD_TIME, LAN_SCARCE_IDLE, LAN_SCARCE_SILENT, LAN_SCARCE_TICK,
};

/// Answers requests. All decisions beyond framing (404, 405, 415 …) are its own.
pub trait Handler {
    /// Answers one request, its body complete.
    fn request(&self, request: LanRequest) -> impl Future<Output = Response>;

    /// Hears of a peer whose request was refused before it was whole.
    fn refused(&self, _from: SocketAddr) {}
}

/// One request as it came over a LAN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanRequest {
    /// The peer.
    pub from: SocketAddr,
    /// Our end of its connection.
    pub local: SocketAddr,
    /// `POST` …
    pub method: String,
    /// Path without query.
    pub path: String,
    /// `Content-Type`, if given and text.
    pub content_type: Option<String>,
    /// At most [`LAN_BODY`] octets.
    pub body: Vec<u8>,
}

impl LanRequest {
    /// The request as the gateway takes it.
    pub fn as_request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            path: &self.path,
            content_type: self.content_type.as_deref(),
            body: &self.body,
        }
    }
}

/// A listening TCP socket of one LAN.
pub struct LanListener {
    listener: Async<TcpListener>,
    connections: usize,
    server: Rc<Server>,
}

impl LanListener {
    /// Binds to an address (IPv6 sockets take IPv6 only) and, if named, to an interface.
    ///
    /// Errors: what socket(2), bind(2) and listen(2) say, the address named in the text.
    pub fn bind(address: SocketAddr, interface: Option<&str>) -> io::Result<Self> {
        let listener = listening_socket(address, interface)
            .map_err(|error| explain(format_args!("cannot listen on {address}"), error))?;
        Ok(Self {
            listener: Async::new(listener)?,
            connections: LAN_CONNECTIONS,
            server: Rc::default(),
        })
    }

    /// With another cap than [`LAN_CONNECTIONS`] on open connections.
    pub fn with_connections(self, connections: usize) -> Self {
        Self { connections: connections.max(1), ..self }
    }

    /// The address bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.get_ref().local_addr()
    }

    /// A handle that ends [`serve`](Self::serve).
    pub fn stopper(&self) -> Stopper {
        Stopper(Rc::clone(&self.server))
    }

    /// Serves until stopped; then ends the connections that wait, lets requests in progress
    /// come to their end for [`LAN_DRAIN_TIME`], and returns.
    pub async fn serve<'a, H: Handler + 'a>(self, executor: &LocalExecutor<'a>, handler: Rc<H>) {
        let server = self.server;
        let accept = accept_all(&self.listener, self.connections, &server, |stream, from| {
            let task = serve_connection(stream, from, Rc::clone(&server), Rc::clone(&handler));
            executor.spawn(task).detach();
        });
        future::or(accept, server.until(|server| server.stopping.get())).await;
        drop(self.listener);
        server.each_connection(State::close);
        let drained = server.until(|server| server.open() == 0);
        future::or(drained, pause(LAN_DRAIN_TIME)).await;
        server.each_connection(State::abort);
    }
}

/// Ends [`LanListener::serve`].
#[derive(Clone)]
pub struct Stopper(Rc<Server>);

impl Stopper {
    /// Stops accepting and begins to drain.
    pub fn stop(&self) {
        self.0.stopping.set(true);
        self.0.wake();
    }
}

/// What one listener and its connections share.
#[derive(Default)]
struct Server {
    stopping: Cell<bool>,
    /// Somebody waits in the backlog and there is no room.
    scarce: Cell<bool>,
    /// When connections that wait were looked for last.
    looked: Cell<Option<Instant>>,
    connections: RefCell<Vec<Rc<State>>>,
    /// The task in [`LanListener::serve`].
    waker: Cell<Option<Waker>>,
}

impl Server {
    fn open(&self) -> usize {
        self.connections.borrow().len()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for a condition that [`wake`](Self::wake) makes worth another look.
    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        poll_fn(|context| {
            if condition(self) {
                return Poll::Ready(());
            }
            self.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn each_connection(&self, act: impl Fn(&State)) {
        // A copy: acting may end connections, which takes them off the list.
        let connections = self.connections.borrow().clone();
        connections.iter().for_each(|state| act(state));
    }

    /// Looks for connections that wait while others have none, at most once in each
    /// [`LAN_SCARCE_TICK`]: how long they waited is counted in looks.
    fn make_room(&self) {
        let now = Instant::now();
        if self.looked.get().is_some_and(|looked| now < looked + LAN_SCARCE_TICK) {
            return;
        }
        self.looked.set(Some(now));
        self.each_connection(|state| state.yield_after(LAN_SCARCE_IDLE, LAN_SCARCE_SILENT));
    }
}

/// Takes a connection off the list when its task ends, however that is.
struct Listed(Rc<Server>, Rc<State>);

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.connections.borrow_mut().retain(|state| !Rc::ptr_eq(state, &self.1));
        self.0.wake();
    }
}

async fn accept_all(
    listener: &Async<TcpListener>,
    cap: usize,
    server: &Rc<Server>,
    mut spawn: impl FnMut(Async<TcpStream>, SocketAddr),
) {
    let mut complained = false;
    loop {
        while server.open() >= cap {
            let waiting = async { listener.readable().await.is_ok() };
            let room = async {
                server.until(|server| server.open() < cap || server.stopping.get()).await;
                false
            };
            if future::or(room, waiting).await {
                server.scarce.set(true);
                server.make_room();
                let room = server.until(|server| server.open() < cap || server.stopping.get());
                future::or(room, pause(LAN_SCARCE_TICK)).await;
            }
            if server.stopping.get() {
                return;
            }
        }
        let accepted = match listener.get_ref().accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                server.scarce.set(false);
                listener.accept().await
            }
            accepted => accepted.and_then(|(stream, from)| Ok((Async::new(stream)?, from))),
        };
        match accepted {
            Ok((stream, from)) => {
                complained = false;
                spawn(stream, from);
                future::yield_now().await;
            }
            Err(error) if is_peers_fault(&error) => future::yield_now().await,
            Err(error) => {
                if !complained {
                    log::warn!("cannot accept a connection from the LAN: {error}");
                    complained = true;
                }
                server.make_room();
                pause(LAN_SCARCE_TICK).await;
            }
        }
    }
}

/// Errors of accept(2) that concern one peer only; Linux passes pending network errors on.
fn is_peers_fault(error: &io::Error) -> bool {
    const LACKING: [Errno; 4] = [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM];
    let errno = error.raw_os_error().map(Errno::from_raw);
    errno.is_some_and(|errno| !LACKING.contains(&errno))
}

/// Puts a connection on the server's list and returns the task that serves it.
fn serve_connection<H: Handler>(
    stream: Async<TcpStream>,
    from: SocketAddr,
    server: Rc<Server>,
    handler: Rc<H>,
) -> impl Future<Output = ()> {
    let state = Rc::new(State::default());
    server.connections.borrow_mut().push(Rc::clone(&state));
    let listed = Listed(Rc::clone(&server), Rc::clone(&state));
    async move {
        let listed = listed;
        let Ok(local) = stream.get_ref().local_addr() else { return };
        if stream.get_ref().set_nodelay(true).is_err() {
            return;
        }
        let stream = Observed::new(stream, Rc::clone(&state));
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (server, state, handler) = (&server, &state, &handler);
            async move {
                let ambiguous = state.take_ambiguous_length();
                let outcome = if ambiguous {
                    state.linger();
                    Err(400)
                } else {
                    match take(request, from, local, state).await {
                        Ok(request) => Ok(answer(&**handler, request).await),
                        Err(status) => Err(status),
                    }
                };
                if outcome.is_err() {
                    handler.refused(from);
                }
                let close = outcome.is_err() || server.stopping.get() || server.scarce.get();
                let response = outcome.unwrap_or_else(bare);
                state.request_done();
                Ok::<_, std::convert::Infallible>(encode(response, close))
            }
        });
        let connection = http1::Builder::new()
            .timer(SmolTimer::new())
            .header_read_timeout(LAN_HEAD_TIME)
            .max_buf_size(LAN_HEAD)
            .half_close(true)
            .auto_date_header(false)
            .serve_connection(FuturesIo::new(stream), service);
        let mut connection = pin!(connection);
        let end = poll_fn(|context| {
            loop {
                match connection.as_mut().poll(context) {
                    Poll::Ready(Ok(())) => return Poll::Ready(()),
                    Poll::Ready(Err(error)) => {
                        log::debug!("connection of {from} ended: {error}");
                        if error.is_parse() {
                            handler.refused(from);
                        }
                        return Poll::Ready(());
                    }
                    Poll::Pending => {}
                }
                match ready!(state.poll_order(context)) {
                    Order::Abort => return Poll::Ready(()),
                    Order::Close => connection.as_mut().graceful_shutdown(),
                }
            }
        });
        end.await;
        drop(listed);
    }
}

/// Reads a request to its end, or says with which status to refuse it.
async fn take(
    request: hyper::Request<Incoming>,
    from: SocketAddr,
    local: SocketAddr,
    state: &State,
) -> Result<LanRequest, u16> {
    let (head, body) = request.into_parts();
    // Until the body is read, closing would send a reset after the answer.
    state.linger();
    if !is_plain(&head.headers) {
        return Err(415);
    }
    if body.size_hint().lower() > LAN_BODY as u64 {
        return Err(413);
    }
    let read = async { Some(Limited::new(body, LAN_BODY).collect().await) };
    let timeout = async {
        Timer::after(LAN_BODY_TIME).await;
        None
    };
    let body = match future::or(read, timeout).await {
        Some(Ok(body)) => Vec::from(body.to_bytes()),
        Some(Err(error)) if error.is::<LengthLimitError>() => return Err(413),
        Some(Err(_)) => return Err(400),
        None => return Err(408),
    };
    state.body_read();
    Ok(LanRequest {
        from,
        local,
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        content_type: head
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        body,
    })
}

/// Whether the body is coded in no way. Some devices write their character set where the
/// content coding belongs.
fn is_plain(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().all(|value| {
        let value = value.as_bytes().trim_ascii();
        ["", "identity", "utf-8", "utf8"]
            .iter()
            .any(|harmless| value.eq_ignore_ascii_case(harmless.as_bytes()))
    })
}

async fn answer(handler: &impl Handler, request: LanRequest) -> Response {
    let late = async {
        Timer::after(LAN_ANSWER_TIME).await;
        Response { retry_after: Some(60), ..bare(503) }
    };
    future::or(handler.request(request), late).await
}

fn bare(status: u16) -> Response {
    Response { status, content_type: None, retry_after: None, body: Vec::new() }
}

fn encode(response: Response, close: bool) -> hyper::Response<Full<Bytes>> {
    let mut reply = hyper::Response::new(Full::new(Bytes::from(response.body)));
    *reply.status_mut() = hyper::StatusCode::from_u16(response.status)
        .unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(content_type) = response.content_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Some(seconds) = response.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

async fn pause(time: std::time::Duration) {
    Timer::after(time).await;
}

fn listening_socket(address: SocketAddr, interface: Option<&str>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for old connections; two listeners still exclude each other.
    socket.set_reuse_address(true)?;
    bind_interface(&socket, interface)?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(LAN_BACKLOG)?;
    Ok(TcpListener::from(socket))
}
