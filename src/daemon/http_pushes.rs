//! Pushes over HTTP through the daemon: requests in from the WAN, answers back.

use super::shell::{Shell, Stoppers, answered, count, serve};
use super::{Signal, advise_address, bound};
use crate::codes;
use crate::config::Config;
use crate::gateway::health::SocketKind;
use crate::gateway::seam::{Input, PushFault, PushRequest, Response};
use crate::io::http_server::{Handler, LanListener, LanRequest};
use crate::io::tls_server::TlsServer;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// One `http-push-listen` address. Its interface may come later.
pub(super) struct HttpPort {
    address: SocketAddr,
    tls: Option<TlsServer>,
    listener: Option<LanListener>,
}

/// Binds to every `http-push-listen` address.
///
/// # Errors
/// A sentence that says what failed and what to try.
pub(super) fn bind(config: &Config) -> Result<Vec<HttpPort>, String> {
    let port = |&address: &SocketAddr| {
        let tls = config.http_push.tls.clone();
        let listener = listener(address, config.wan_interface.as_deref(), tls.as_ref());
        let listener = bound(listener, codes::PUSH_PORT)
            .map_err(|error| advise_address(&error, address, "[wan] http-push-listen"))?;
        Ok(HttpPort { address, tls, listener })
    };
    config.http_push.listen.iter().map(port).collect()
}

/// Pushes come in from the WAN's interface, or from a proxy on this machine.
fn listener(
    address: SocketAddr,
    interface: Option<&str>,
    tls: Option<&TlsServer>,
) -> io::Result<LanListener> {
    let interface = interface.filter(|_| !is_local(address));
    Ok(LanListener::bind(address, interface)?.for_pushes(tls))
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

impl Shell {
    /// Serves one `http-push-listen` address, until stopped.
    pub(super) async fn http_pushes(self: Rc<Self>, port: HttpPort, stoppers: Stoppers) {
        let HttpPort { address, tls, listener: first } = port;
        let bind = || listener(address, self.wan_interface.as_deref(), tls.as_ref());
        let renewed = Rc::new(Signal::new());
        if self.wan_interface.is_some() && !is_local(address) {
            self.wan_renewed.borrow_mut().push(Rc::clone(&renewed));
        }
        let handler = Rc::new(PushHandler { shell: Rc::clone(&self) });
        let open = self.watched.socket(SocketKind::HttpPush, None, address);
        serve((None, address), first, bind, &renewed, handler, (&stoppers, &open)).await;
    }
}

/// Answers the requests of the WAN.
struct PushHandler {
    shell: Rc<Shell>,
}

impl Handler for PushHandler {
    async fn request(&self, request: LanRequest) -> Response {
        count(&self.shell.octets.pushes_received, request.body.len());
        let (connection, answer) = self.shell.connection();
        let fields = request.fields.iter();
        let fields: Vec<_> =
            fields.map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        // What the kernel knows of neighbours counts before what a server wants.
        self.shell.read_kernel();
        self.shell.handle(Input::PushRequest {
            connection,
            from: request.from,
            request: PushRequest { method: &request.method, fields: &fields, body: &request.body },
        });
        answered(answer).await
    }

    fn refused(&self, from: SocketAddr) {
        self.shell.handle(Input::NoPushRequest { from, fault: PushFault::Request });
    }

    fn admits(&self, from: SocketAddr) -> bool {
        let admits = self.shell.gateway.borrow().admits_push_from(from.ip());
        if !admits {
            self.shell.handle(Input::NoPushRequest { from, fault: PushFault::Source });
        }
        admits
    }

    fn not_secured(&self, from: SocketAddr) {
        self.shell.handle(Input::NoPushRequest { from, fault: PushFault::Handshake });
    }
}
