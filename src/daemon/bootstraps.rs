//! Bootstraps over HTTPS through the daemon: requests in from a LAN, documents back.

use super::shell::{Shell, Stoppers, answered, serve};
use super::{Signal, advise_address, bound};
use crate::codes;
use crate::config::Config;
use crate::gateway::health::SocketKind;
use crate::gateway::seam::{BootstrapRequest, Input, LanId, Response};
use crate::io::http_server::{Handler, LanListener, LanRequest};
use crate::io::tls_server::TlsServer;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

/// One `bootstrap-listen` address of a LAN. Its interface may come later.
pub(super) struct BootstrapPort {
    lan: LanId,
    address: SocketAddr,
    tls: TlsServer,
    listener: Option<LanListener>,
}

/// Binds to every `bootstrap-listen` address.
///
/// # Errors
/// A sentence that says what failed and what to try.
pub(super) fn bind(config: &Config) -> Result<Vec<BootstrapPort>, String> {
    let mut ports = Vec::new();
    for (index, lan) in config.lans.iter().enumerate() {
        let Some(tls) = &lan.bootstrap_tls else { continue };
        for &address in &config.options.lans[index].bootstrap_listen {
            let interface = &config.options.lans[index].interface;
            let listener = bound(listener(address, interface, tls), codes::LAN_ADDRESS)
                .map_err(|error| advise_address(&error, address, "[[lan]] bootstrap-listen"))?;
            ports.push(BootstrapPort { lan: LanId(index), address, tls: tls.clone(), listener });
        }
    }
    Ok(ports)
}

/// Never plain, and from that LAN only, whatever routes there: the documents carry secrets. The few
/// that a LAN asks for at once need no more room than the pushes of a WAN.
fn listener(address: SocketAddr, interface: &str, tls: &TlsServer) -> io::Result<LanListener> {
    Ok(LanListener::bind(address, Some(interface))?.for_pushes(Some(tls)))
}

impl Shell {
    /// Serves one `bootstrap-listen` address, until stopped.
    pub(super) async fn bootstraps(self: Rc<Self>, port: BootstrapPort, stoppers: Stoppers) {
        let BootstrapPort { lan, address, tls, listener: first } = port;
        let bind = || listener(address, &self.lans[lan.0].interface, &tls);
        let renewed = Rc::new(Signal::new());
        self.lans[lan.0].renewed.borrow_mut().push(Rc::clone(&renewed));
        let handler = Rc::new(BootstrapHandler { shell: Rc::clone(&self), lan });
        let open = self.watched.socket(SocketKind::Bootstrap, Some(self.lan_name(lan)), address);
        serve((Some(lan), address), first, bind, &renewed, handler, (&stoppers, &open)).await;
    }
}

/// Answers those on one LAN who ask for a bootstrap.
struct BootstrapHandler {
    shell: Rc<Shell>,
    lan: LanId,
}

impl Handler for BootstrapHandler {
    async fn request(&self, request: LanRequest) -> Response {
        let (connection, answer) = self.shell.connection();
        // Who is at the peer's address counts before what the peer says.
        self.shell.read_kernel();
        self.shell.handle(Input::BootstrapRequest {
            connection,
            lan: self.lan,
            from: request.from,
            request: BootstrapRequest {
                method: &request.method,
                path: &request.path,
                query: request.query.as_deref(),
            },
        });
        answered(answer).await
    }

    fn refused(&self, from: SocketAddr) {
        let (lan, handshake) = (self.lan, false);
        self.shell.handle(Input::NoBootstrapRequest { lan, from, handshake });
    }

    fn not_secured(&self, from: SocketAddr) {
        let (lan, handshake) = (self.lan, true);
        self.shell.handle(Input::NoBootstrapRequest { lan, from, handshake });
    }
}
