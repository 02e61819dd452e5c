//! HTTP/1, on a LAN for end devices and on the WAN for pushes: takes requests whole, hands them
//! on, writes the answers.
//!
//! hyper frames; this module bounds. A connection is in one of two states, which
//! `http_connection` keeps:
//!
//! ```text
//!  waiting (no octet of a request yet) --first octet--> busy (head, body, answer)
//!          ^------------------- answer written -----------'
//! ```
//!
//! With TLS a connection waits until its handshake is over. At most
//! [`Bounds::connections`] are open; further peers stay in the kernel's backlog. While one
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
use hyper::HeaderMap;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use nix::errno::Errno;
use smol::{LocalExecutor, future};
use smol_hyper::rt::{FuturesIo, SmolTimer};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::http_connection::{Observed, Order, State};
use super::http_message::{bare, encode, take};
use super::tls_server::{self, Stream, TlsServer};
use super::{bind_interface, explain};
use crate::gateway::seam::{Request, Response};
use crate::limits::{
    LAN_ANSWER_TIME, LAN_BACKLOG, LAN_BODY, LAN_CONNECTIONS, LAN_DRAIN_TIME, LAN_HEAD,
    LAN_HEAD_TIME, LAN_SCARCE_IDLE, LAN_SCARCE_SILENT, LAN_SCARCE_TICK, PUSH_BODY,
    PUSH_CONNECTIONS, PUSH_HANDSHAKE_TIME, PUSH_HEAD,
};

/// Answers requests. All decisions beyond framing (404, 405, 415 …) are its own.
pub trait Handler {
    /// Answers one request, its body complete.
    fn request(&self, request: LanRequest) -> impl Future<Output = Response>;

    /// Hears of a peer whose request was refused before it was whole.
    fn refused(&self, _from: SocketAddr) {}

    /// Whether a peer is worth a TLS handshake; if not, its connection is closed.
    fn admits(&self, _from: SocketAddr) -> bool {
        true
    }

    /// Hears of a peer that did not come through its TLS handshake.
    fn not_secured(&self, _from: SocketAddr) {}
}

/// What a listener grants its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections open at once.
    pub connections: usize,
    /// Octets of a request's head; at least 8 KiB, hyper wants no less.
    pub head: usize,
    /// Octets of a request's body.
    pub body: usize,
}

impl Bounds {
    /// For end devices.
    pub const LAN: Self = Self { connections: LAN_CONNECTIONS, head: LAN_HEAD, body: LAN_BODY };
    /// For whoever pushes.
    pub const PUSH: Self = Self { connections: PUSH_CONNECTIONS, head: PUSH_HEAD, body: PUSH_BODY };
}

/// One request as it came.
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
    /// What stands behind `?`.
    pub query: Option<String>,
    /// `Content-Type`, if given and text.
    pub content_type: Option<String>,
    /// Every header field.
    pub fields: HeaderMap,
    /// At most [`Bounds::body`] octets.
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

/// A listening TCP socket, by default with the bounds of a LAN and without TLS.
pub struct LanListener {
    listener: Async<TcpListener>,
    server: Rc<Server>,
}

impl LanListener {
    /// Binds to an address (IPv6 sockets take IPv6 only) and, if named, to an interface.
    ///
    /// Errors: what socket(2), bind(2) and listen(2) say, the address named in the text.
    pub fn bind(address: SocketAddr, interface: Option<&str>) -> io::Result<Self> {
        let listener = listening_socket(address, interface)
            .map_err(|error| explain(format_args!("cannot listen on {address}"), error))?;
        let listener = Async::new(listener)?;
        Ok(Self { listener, server: Rc::new(Server::new(Bounds::LAN, None)) })
    }

    /// With another cap on open connections.
    pub fn with_connections(self, connections: usize) -> Self {
        let bounds = Bounds { connections: connections.max(1), ..self.server.bounds };
        let tls = self.server.tls.clone();
        Self { server: Rc::new(Server::new(bounds, tls)), ..self }
    }

    /// With the bounds for pushes, and TLS if there is something to show by it. To be called before
    /// [`Self::stopper`].
    pub fn for_pushes(self, tls: Option<&TlsServer>) -> Self {
        Self { server: Rc::new(Server::new(Bounds::PUSH, tls.cloned())), ..self }
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
        let accept = accept_all(&self.listener, &server, |stream, from| {
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
struct Server {
    bounds: Bounds,
    tls: Option<TlsServer>,
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
    fn new(bounds: Bounds, tls: Option<TlsServer>) -> Self {
        Self {
            bounds,
            tls,
            stopping: Cell::default(),
            scarce: Cell::default(),
            looked: Cell::default(),
            connections: RefCell::default(),
            waker: Cell::default(),
        }
    }

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
    server: &Rc<Server>,
    mut spawn: impl FnMut(Async<TcpStream>, SocketAddr),
) {
    let mut complained = false;
    let cap = server.bounds.connections;
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
                    log::warn!("cannot accept a connection: {error}");
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
        let Some(stream) = secured(stream, from, &server, &state, &*handler).await else { return };
        let stream = Observed::new(stream, Rc::clone(&state));
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (server, state, handler) = (&server, &state, &handler);
            async move {
                let ambiguous = state.take_ambiguous_length();
                let outcome = if ambiguous {
                    state.linger();
                    Err(400)
                } else {
                    match take(request, from, local, server.bounds.body, state).await {
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
            .max_buf_size(server.bounds.head)
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

/// The stream as HTTP uses it: itself, or what TLS makes of it.
async fn secured(
    stream: Async<TcpStream>,
    from: SocketAddr,
    server: &Server,
    state: &State,
    handler: &impl Handler,
) -> Option<Stream> {
    let Some(tls) = &server.tls else { return Some(Stream::Plain(stream)) };
    if !handler.admits(from) {
        return None;
    }
    let handshake = async { Some(tls_server::handshake(&tls.acceptor(), stream).await) };
    let late = async {
        Timer::after(PUSH_HANDSHAKE_TIME).await;
        Some(None)
    };
    let ordered = async {
        poll_fn(|context| state.poll_order(context)).await;
        None
    };
    let secured = future::or(ordered, future::or(handshake, late)).await?;
    if secured.is_none() {
        handler.not_secured(from);
    }
    secured
}

async fn answer(handler: &impl Handler, request: LanRequest) -> Response {
    let late = async {
        Timer::after(LAN_ANSWER_TIME).await;
        Response { retry_after: Some(60), ..bare(503) }
    };
    future::or(handler.request(request), late).await
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
