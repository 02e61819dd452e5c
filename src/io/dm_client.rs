//! Calls to servers over HTTP/1.1: messages of a DM session by POST, bootstrap documents by GET.
//!
//! ```text
//!  URL ──► kept connection? ──yes──────────────────────────────┐
//!            └─no─► addresses ──► TCP, each in turn ──► TLS ────┴─► one exchange ──► keep
//! ```
//!
//! A redirect is an answer like any other: it is reported, not followed. A request goes out at
//! most once: only one that no octet of has been sent is tried anew, on a fresh connection after
//! a kept one turned out to be closed.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use async_io::Timer;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use smol::future;
use smol::io::{AsyncRead, AsyncWrite};
use smol_hyper::rt::FuturesIo;

use super::dm_target::{Target, connect};
use super::tls::{self, Configuration};
pub use super::tls::{Roots, Trust};
use crate::codes::{self, Code};
use crate::limits::{CALL_HEAD, CALL_IDLE, CALL_KEPT, TRUSTS};

/// The header that carries a MAC over a message's body (OMA DM security, `x-syncml-hmac`).
const MAC: &str = "x-syncml-hmac";

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A message.
    Post,
    /// A document.
    Get,
}

/// One request.
pub struct CallRequest {
    /// POST or GET.
    pub method: Method,
    /// `https://host[:port]/path?query`; IPv6 addresses in brackets, no user information.
    pub url: String,
    /// Whether `http://` will do as well.
    pub allow_http: bool,
    /// Whom to believe, for `https://`.
    pub trust: Arc<Trust>,
    /// Further headers: `Content-Type`, `Accept`, `x-syncml-hmac` …
    pub headers: Vec<(String, String)>,
    /// What to post. Not sent with GET.
    pub body: Vec<u8>,
    /// Largest body taken as an answer, in octets.
    pub max_body: usize,
    /// For everything from the name to the last octet.
    pub timeout: Duration,
    /// This moment, in seconds since 1970: a `Retry-After` may be a date.
    pub now: u64,
}

/// What a server said, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAnswer {
    /// 200 …
    pub status: u16,
    /// `Content-Type`, if given and text.
    pub content_type: Option<String>,
    /// `x-syncml-hmac`, if given and text.
    pub mac: Option<String>,
    /// `Retry-After` as the time from now; zero for a date that has passed.
    pub retry_after: Option<Duration>,
    /// `Location`, not followed.
    pub location: Option<String>,
    /// The body. Of a status other than 2xx, nothing if it is too large or coded.
    pub body: Vec<u8>,
}

/// Why there is no answer. Displayed as one sentence, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The URL is neither http nor https, or names no possible host.
    BadUrl,
    /// The URL is http and only https is allowed. Nothing was sent.
    HttpNotAllowed,
    /// The host name has no address.
    Unresolved(String),
    /// No address of the host takes a connection.
    Unreachable(String),
    /// No secure connection: whom the server's certificate does not convince, and of what; and the
    /// code of that.
    Tls(String, Code),
    /// The time was over.
    TimedOut,
    /// The connection ended before the answer did.
    Cut,
    /// The answer's body is larger than allowed.
    TooLarge,
    /// What came is not HTTP/1, or in a coding not asked for; or a header cannot be sent.
    NotHttp(String),
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl => f.write_str("the address is not an https URL with a host"),
            Self::HttpNotAllowed => f.write_str(
                "the address is http, without encryption, which is not allowed for this server",
            ),
            Self::Unresolved(what) => write!(f, "the host name has no address: {what}"),
            Self::Unreachable(what) => write!(f, "the server cannot be reached: {what}"),
            Self::Tls(what, _) => write!(f, "no secure connection: {what}"),
            Self::TimedOut => f.write_str("the server did not answer in time"),
            Self::Cut => f.write_str("the server ended the connection before its answer"),
            Self::TooLarge => f.write_str("the server's answer is too large"),
            Self::NotHttp(what) => write!(f, "the server's answer is of no use: {what}"),
        }
    }
}

impl std::error::Error for CallFailure {}

impl CallFailure {
    /// The code of its kind.
    pub fn code(&self) -> Code {
        match self {
            Self::HttpNotAllowed => codes::PLAIN_HTTP,
            Self::Unresolved(_) => codes::DNS,
            Self::Unreachable(_) | Self::TimedOut => codes::UNREACHED,
            Self::Tls(_, code) => *code,
            Self::BadUrl => codes::SESSION,
            Self::Cut | Self::TooLarge | Self::NotHttp(_) => codes::ANSWER,
        }
    }
}

/// Calls servers; keeps what the next call may use again: a connection for [`CALL_IDLE`], and
/// what was read from certificate files until they change. For one thread.
#[derive(Default)]
pub struct Clients {
    configurations: RefCell<Vec<(Arc<Trust>, Configuration)>>,
    kept: RefCell<Vec<Kept>>,
}

struct Kept {
    origin: Origin,
    connection: Connection,
    until: Instant,
}

/// What makes connections interchangeable.
#[derive(Clone, PartialEq, Eq)]
struct Origin {
    host: String,
    port: u16,
    /// `None` for plain HTTP.
    trust: Option<Arc<Trust>>,
}

impl Clients {
    /// Nothing kept yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One request and its answer. Several calls may go on at once; each has a connection of its
    /// own.
    ///
    /// # Errors
    ///
    /// A [`CallFailure`]; statuses are none.
    pub async fn call(&self, request: CallRequest) -> Result<CallAnswer, CallFailure> {
        let target = Target::parse(&request.url)?;
        if !target.secure && !request.allow_http {
            return Err(CallFailure::HttpNotAllowed);
        }
        let late = async {
            Timer::after(request.timeout).await;
            Err(CallFailure::TimedOut)
        };
        future::or(self.exchange(&target, &request), late).await
    }

    /// Closes the connections that nothing needs: at the end of a session, say. Calls close
    /// those that have been idle for [`CALL_IDLE`].
    pub fn close_idle(&self) {
        self.kept.borrow_mut().clear();
    }

    async fn exchange(
        &self,
        target: &Target,
        request: &CallRequest,
    ) -> Result<CallAnswer, CallFailure> {
        let mut outgoing = encode(target, request)?;
        let origin = Origin {
            host: target.host.clone(),
            port: target.port,
            trust: target.secure.then(|| Arc::clone(&request.trust)),
        };
        let configuration = match &origin.trust {
            Some(trust) => Some(self.configuration(trust).await?),
            None => None,
        };
        if let Some(mut connection) = self.take(&origin) {
            if connection.is_open().await {
                match connection.exchange(outgoing, request).await {
                    Outcome::Unsent(again) => outgoing = *again,
                    Outcome::Done(outcome) => return self.done(origin, connection, outcome).await,
                }
            }
        }
        let stream = connect(target).await?;
        let mut connection = match configuration {
            Some(configuration) => {
                let name = target.name.clone();
                let stream =
                    configuration.connect(name, stream).await.map_err(|(what, code)| {
                        CallFailure::Tls(format!("{}: {what}", target.authority), code)
                    })?;
                Connection::open(stream).await?
            }
            None => Connection::open(stream).await?,
        };
        match connection.exchange(outgoing, request).await {
            Outcome::Unsent(_) => Err(CallFailure::Cut),
            Outcome::Done(outcome) => self.done(origin, connection, outcome).await,
        }
    }

    async fn done(
        &self,
        origin: Origin,
        mut connection: Connection,
        outcome: Result<CallAnswer, CallFailure>,
    ) -> Result<CallAnswer, CallFailure> {
        if outcome.is_ok() && connection.is_open().await {
            let mut kept = self.kept.borrow_mut();
            if kept.len() >= CALL_KEPT {
                kept.remove(0);
            }
            kept.push(Kept { origin, connection, until: Instant::now() + CALL_IDLE });
        }
        outcome
    }

    fn take(&self, origin: &Origin) -> Option<Connection> {
        let now = Instant::now();
        let mut kept = self.kept.borrow_mut();
        kept.retain(|kept| now < kept.until);
        let found = kept.iter().position(|kept| kept.origin == *origin)?;
        Some(kept.remove(found).connection)
    }

    /// Connections made with files that have changed since are closed.
    async fn configuration(&self, trust: &Arc<Trust>) -> Result<Configuration, CallFailure> {
        let known = |(other, _): &(Arc<Trust>, Configuration)| other == trust;
        let old = self.configurations.borrow().iter().find(|it| known(it)).map(|it| it.1.clone());
        let wanted = Arc::clone(trust);
        let (fresh, configuration) = smol::unblock(move || match old {
            Some(old) if old.is_current() => (false, Ok(old)),
            _ => (true, Configuration::read(&wanted)),
        })
        .await;
        if fresh {
            let stale = |kept: &Kept| kept.origin.trust.as_ref() == Some(trust);
            self.kept.borrow_mut().retain(|kept| !stale(kept));
            let mut configurations = self.configurations.borrow_mut();
            configurations.retain(|it| !known(it));
            if configurations.len() >= TRUSTS {
                configurations.remove(0);
            }
            if let Ok(configuration) = &configuration {
                configurations.push((Arc::clone(trust), configuration.clone()));
            }
        }
        configuration.map_err(|what| CallFailure::Tls(what, codes::TLS_FILE))
    }
}

fn encode(
    target: &Target,
    request: &CallRequest,
) -> Result<hyper::Request<Full<Bytes>>, CallFailure> {
    let (method, body) = match request.method {
        Method::Post => (hyper::Method::POST, Bytes::copy_from_slice(&request.body)),
        Method::Get => (hyper::Method::GET, Bytes::new()),
    };
    let mut headers = HeaderMap::new();
    let invalid = |what: &str| CallFailure::NotHttp(format!("{what} cannot be sent"));
    let host = HeaderValue::from_str(&target.authority).map_err(|_| invalid("the host"))?;
    headers.insert(header::HOST, host);
    for (name, value) in &request.headers {
        let value = HeaderValue::from_str(value).map_err(|_| invalid(name))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid(name))?;
        headers.append(name, value);
    }
    let uri: hyper::Uri = target.path.parse().map_err(|_| CallFailure::BadUrl)?;
    let mut outgoing = hyper::Request::new(Full::new(body));
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers;
    Ok(outgoing)
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Moves the octets while it is polled; `None` once the connection has ended.
    driver: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

enum Outcome {
    /// The connection had ended, nothing of the request went out.
    Unsent(Box<hyper::Request<Full<Bytes>>>),
    Done(Result<CallAnswer, CallFailure>),
}

impl Connection {
    async fn open<S>(stream: S) -> Result<Self, CallFailure>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(CALL_HEAD)
            .handshake(FuturesIo::new(stream))
            .await
            .map_err(|error| failure(&error))?;
        let driver = Box::pin(async move {
            // Whoever waits for the answer is told of the error.
            let _ = connection.await;
        });
        Ok(Self { sender, driver: Some(driver) })
    }

    /// Whether another request may go out. Reads what the peer has sent meanwhile: its end.
    async fn is_open(&mut self) -> bool {
        if let Some(driver) = &mut self.driver {
            if future::poll_once(driver).await.is_some() {
                self.driver = None;
            }
        }
        self.driver.is_some() && self.sender.is_ready()
    }

    async fn exchange(
        &mut self,
        outgoing: hyper::Request<Full<Bytes>>,
        request: &CallRequest,
    ) -> Outcome {
        let sender = &mut self.sender;
        let exchange = async {
            if let Err(error) = sender.ready().await {
                return match error.is_closed() {
                    true => Outcome::Unsent(Box::new(outgoing)),
                    false => Outcome::Done(Err(failure(&error))),
                };
            }
            match sender.try_send_request(outgoing).await {
                Ok(response) => Outcome::Done(receive(response, request).await),
                Err(mut error) => match error.take_message() {
                    Some(outgoing) => Outcome::Unsent(Box::new(outgoing)),
                    None => Outcome::Done(Err(failure(error.error()))),
                },
            }
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
        future::or(exchange, drive).await
    }
}

async fn receive(
    response: hyper::Response<Incoming>,
    request: &CallRequest,
) -> Result<CallAnswer, CallFailure> {
    let (head, body) = response.into_parts();
    let text = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    let mut answer = CallAnswer {
        status: head.status.as_u16(),
        content_type: text("content-type"),
        mac: text(MAC),
        retry_after: text("retry-after").and_then(|value| retry_after(&value, request.now)),
        location: text("location"),
        body: Vec::new(),
    };
    match read(&head.headers, body, request.max_body).await {
        Ok(body) => answer.body = body,
        // What counts is the status; the page that explains it is not for us.
        Err(CallFailure::TooLarge | CallFailure::NotHttp(_)) if !head.status.is_success() => {}
        Err(failure) => return Err(failure),
    }
    Ok(answer)
}

async fn read(headers: &HeaderMap, body: Incoming, most: usize) -> Result<Vec<u8>, CallFailure> {
    if let Some(coding) = headers.get(header::CONTENT_ENCODING) {
        if !coding.as_bytes().eq_ignore_ascii_case(b"identity") {
            return Err(CallFailure::NotHttp(format!("its body is coded as {coding:?}")));
        }
    }
    if body.size_hint().lower() > most as u64 {
        return Err(CallFailure::TooLarge);
    }
    match Limited::new(body, most).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(CallFailure::TooLarge),
        Err(error) => Err(error.downcast_ref::<hyper::Error>().map_or(CallFailure::Cut, failure)),
    }
}

/// `Retry-After` (RFC 9110 10.2.3): seconds or a date.
fn retry_after(value: &str, now: u64) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|octet| octet.is_ascii_digit()) {
        return value.parse().ok().map(Duration::from_secs);
    }
    let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(Duration::from_secs(date.as_secs().saturating_sub(now)))
}

fn failure(error: &hyper::Error) -> CallFailure {
    let inner = std::error::Error::source(error).and_then(|inner| inner.downcast_ref());
    match inner.and_then(tls::fault) {
        Some(fault) => CallFailure::Tls(tls::sentence(fault), tls::code(fault)),
        None if error.is_parse() => CallFailure::NotHttp(error.to_string()),
        None => CallFailure::Cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date_from_now() {
        let seconds = |value| retry_after(value, 784_111_777).map(|time| time.as_secs());
        assert_eq!(seconds("120"), Some(120));
        assert_eq!(seconds(" 0 "), Some(0));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sunday, 06-Nov-94 08:50:37 GMT"), Some(60));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
        for bad in ["", "-1", "1.5", "soon", "99999999999999999999", "Sun, 99 Nov 1994"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
