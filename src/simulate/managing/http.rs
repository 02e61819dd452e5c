//! Carries the messages of a managing server over HTTP or HTTPS, and misbehaves there.

use super::server::lock;
use super::{Answer, Manager, Misbehaviour};
use crate::io::tls_server::{Stream, TlsServer};
use crate::limits::CLIENT_BODY;
use crate::proto::auth::MAC_HEADER;
use crate::proto::syncml::Encoding;
use crate::simulate::command::fresh_nonce;
use crate::simulate::event::SimEvent;
use async_io::{Async, Timer};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use smol::LocalExecutor;
use smol_hyper::rt::FuturesIo;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::time::Duration;

/// How long a slow server takes for an answer.
const SLOW: Duration = Duration::from_secs(5);

/// Manages whoever comes, for ever.
pub(in crate::simulate) async fn serve(
    listener: &Async<TcpListener>,
    manager: &Mutex<Manager>,
    tell: &dyn Fn(SimEvent),
) -> io::Result<()> {
    let tls = lock(manager).tls().cloned();
    accept(listener, tls.as_ref(), |request| respond(request, manager, tell)).await
}

/// Answers every request that comes, for ever, over TLS if there is one.
pub(in crate::simulate) async fn accept<A>(
    listener: &Async<TcpListener>,
    tls: Option<&TlsServer>,
    answer: impl Fn(Request<Incoming>) -> A,
) -> io::Result<()>
where
    A: Future<Output = io::Result<Response<Full<Bytes>>>>,
{
    let connections = LocalExecutor::new();
    let answer = &answer;
    let accept = async {
        loop {
            let (stream, _) = listener.accept().await?;
            stream.get_ref().set_nodelay(true)?;
            connections
                .spawn(async move {
                    let Some(stream) = secured(stream, tls).await else { return };
                    let service = hyper::service::service_fn(answer);
                    let stream = FuturesIo::new(stream);
                    // A client that goes away is its own affair.
                    let _ = http1::Builder::new().serve_connection(stream, service).await;
                })
                .detach();
        }
    };
    connections.run(accept).await
}

async fn secured(stream: Async<TcpStream>, tls: Option<&TlsServer>) -> Option<Stream> {
    match tls {
        Some(tls) => tls.accept(stream).await,
        None => Some(Stream::Plain(stream)),
    }
}

async fn respond(
    request: Request<Incoming>,
    manager: &Mutex<Manager>,
    tell: &dyn Fn(SimEvent),
) -> io::Result<Response<Full<Bytes>>> {
    let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text("host").unwrap_or("localhost");
    let scheme = if lock(manager).tls().is_some() { "https" } else { "http" };
    let uri = format!("{scheme}://{host}{}", request.uri());
    let encoding = text("content-type").and_then(Encoding::of_content_type);
    let mac = text(MAC_HEADER).map(str::to_owned);
    let Some(encoding) = encoding else { return bare(415) };
    let body = Limited::new(request.into_body(), CLIENT_BODY).collect().await;
    let body = body.map_err(io::Error::other)?.to_bytes();
    if lock(manager).misbehaviour() == Some(Misbehaviour::Slow) {
        Timer::after(SLOW).await;
    }
    let (answer, events) = {
        let mut manager = lock(manager);
        let answer = manager.answer(encoding, &body, mac.as_deref(), &uri, &fresh_nonce());
        (answer, manager.events())
    };
    events.into_iter().for_each(tell);
    let (encoding, body, mac) = match answer {
        Answer::Message { encoding, body, mac } => (encoding, body, mac),
        Answer::Redirect(to) => {
            let mut response = bare(302)?;
            response.headers_mut().insert(header::LOCATION, header::HeaderValue::from_static(to));
            return Ok(response);
        }
        Answer::Refused => return bare(400),
        // The connection goes down with the error.
        Answer::Cut => return Err(io::ErrorKind::ConnectionAborted.into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    let headers = response.headers_mut();
    let kind = header::HeaderValue::from_static(encoding.content_type());
    headers.insert(header::CONTENT_TYPE, kind);
    if let Some(mac) = mac.and_then(|mac| header::HeaderValue::try_from(mac).ok()) {
        headers.insert(MAC_HEADER, mac);
    }
    Ok(response)
}

/// An answer without a body.
pub(in crate::simulate) fn bare(status: u16) -> io::Result<Response<Full<Bytes>>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    Ok(response)
}
