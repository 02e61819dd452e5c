//! A simulated bootstrap server: has accounts for gateways, over HTTPS.

use super::event::{Report, SimEvent, Sink};
use super::managing::http::{accept, bare};
use crate::io::tls_server::TlsServer;
use async_io::Async;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// A simulated bootstrap server. It answers GET with the parameters `device` and `server` of the
/// query with the document of that server, and 404 if it has none.
pub struct BootstrapServer {
    id: String,
    listen: SocketAddr,
    tls: TlsServer,
    /// By server id: the media type, the octets.
    documents: Vec<(String, &'static str, Vec<u8>)>,
    sink: Sink,
}

impl BootstrapServer {
    /// Makes a server that goes by `id` in reports; it does nothing yet.
    pub fn new(id: &str, listen: SocketAddr, tls: TlsServer, sink: Sink) -> Self {
        Self { id: id.to_owned(), listen, tls, documents: Vec::new(), sink }
    }

    /// Has a document for the account with `server`.
    #[must_use]
    pub fn with(mut self, server: &str, content_type: &'static str, document: Vec<u8>) -> Self {
        self.documents.push((server.to_owned(), content_type, document));
        self
    }

    /// Binds the address and serves for ever.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn serve(self) -> io::Result<()> {
        let listener = Async::<TcpListener>::bind(self.listen)?;
        self.tell(SimEvent::Listening { address: listener.get_ref().local_addr()? });
        let answer = |request| {
            let answer = self.answer(&request);
            async { answer }
        };
        accept(&listener, Some(&self.tls), answer).await
    }

    fn answer(&self, request: &Request<Incoming>) -> io::Result<Response<Full<Bytes>>> {
        let query = request.uri().query().unwrap_or_default();
        let (device, server) = (parameter(query, "device"), parameter(query, "server"));
        let document = self.documents.iter().find(|(id, ..)| *id == server);
        let response = match document {
            _ if request.method() != Method::GET => bare(405)?,
            None => bare(404)?,
            Some((_, content_type, document)) => {
                let mut response = Response::new(Full::new(Bytes::from(document.clone())));
                let kind = HeaderValue::from_static(content_type);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
        };
        // Told before what follows from it.
        self.tell(SimEvent::BootstrapAsked { device, server, status: response.status().as_u16() });
        Ok(response)
    }

    fn tell(&self, event: SimEvent) {
        (self.sink)(Report { who: self.id.clone(), event });
    }
}

/// The value of a parameter, empty if there is none.
fn parameter(query: &str, name: &str) -> String {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| decoded(value)).unwrap_or_default()
}

/// Without its `%XX`.
fn decoded(text: &str) -> String {
    let mut octets = Vec::new();
    let mut parts = text.split('%');
    octets.extend(parts.next().unwrap_or_default().bytes());
    for part in parts {
        match part.split_at_checked(2).map(|(digits, rest)| (u8::from_str_radix(digits, 16), rest))
        {
            Some((Ok(octet), rest)) => {
                octets.push(octet);
                octets.extend(rest.bytes());
            }
            _ => octets.extend(part.bytes()),
        }
    }
    String::from_utf8_lossy(&octets).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_as_they_were_meant() {
        let query = "device=urn%3Aimei%3A1&server=a%26b&odd=%zz%4";
        assert_eq!(parameter(query, "device"), "urn:imei:1");
        assert_eq!(parameter(query, "server"), "a&b");
        assert_eq!(parameter(query, "odd"), "zz4");
        assert_eq!(parameter(query, "other"), "");
    }
}
