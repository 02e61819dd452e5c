//! One request and its answer: read whole and within bounds, written with the fields it needs.

use std::net::SocketAddr;

use async_io::Timer;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use smol::future;

use super::http_connection::State;
use super::http_server::LanRequest;
use crate::gateway::seam::Response;
use crate::limits::LAN_BODY_TIME;

/// Reads a request to its end, or says with which status to refuse it.
pub(super) async fn take(
    request: hyper::Request<Incoming>,
    from: SocketAddr,
    local: SocketAddr,
    most: usize,
    state: &State,
) -> Result<LanRequest, u16> {
    let (head, body) = request.into_parts();
    // Until the body is read, closing would send a reset after the answer.
    state.linger();
    if !is_plain(&head.headers) {
        return Err(415);
    }
    if body.size_hint().lower() > most as u64 {
        return Err(413);
    }
    let read = async { Some(Limited::new(body, most).collect().await) };
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
        query: head.uri.query().map(str::to_owned),
        content_type: head
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
        fields: head.headers,
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

/// An answer that says no more than its status.
pub(super) fn bare(status: u16) -> Response {
    Response { status, content_type: None, retry_after: None, body: Vec::new() }
}

/// The answer as hyper writes it; `close` ends the connection after it.
pub(super) fn encode(response: Response, close: bool) -> hyper::Response<Full<Bytes>> {
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
