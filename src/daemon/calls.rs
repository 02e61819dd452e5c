//! Calls that the gateway makes: messages of DM sessions, bootstrap documents, DNS, the smartcard.

use super::pause;
use super::shell::{Shell, count};
use crate::config::{CardConfig, ClientConfig};
use crate::gateway::health::Failed;
use crate::gateway::management::{Operation, OperationId};
use crate::gateway::seam::{Call, CallId, CallKind, CallResult, HttpReply, Input, Reply};
use crate::io::card::read_card;
use crate::io::card_directory::CardDirectory;
use crate::io::dm_client::{CallRequest, Clients, Method, Trust};
use crate::io::dns;
use crate::io::modem::Modem;
use crate::limits;
use crate::proto::auth::MAC_HEADER;
use crate::proto::bootstrap::card;
use smol::LocalExecutor;
use smol::channel::{self, Receiver, Sender};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// What calls need.
pub(super) struct Caller {
    config: RefCell<Rc<ClientConfig>>,
    clients: Clients,
    send: Sender<(CallId, Call)>,
    receive: Receiver<(CallId, Call)>,
    /// Operators who wait, and their user ids.
    operations: RefCell<HashMap<OperationId, (Sender<Done>, u32)>>,
    next_operation: Cell<u64>,
}

/// How an operation ended.
pub(super) type Done = Result<Vec<String>, String>;

impl Caller {
    pub(super) fn new(config: ClientConfig) -> Self {
        let (send, receive) = channel::unbounded();
        Self {
            config: RefCell::new(Rc::new(config)),
            clients: Clients::new(),
            send,
            receive,
            operations: RefCell::default(),
            next_operation: Cell::new(0),
        }
    }

    /// Has a call made.
    pub(super) fn call(&self, call: CallId, request: Call) {
        // The receiver lives as long as this.
        let _ = self.send.try_send((call, request));
    }

    pub(super) fn operated(&self, operation: OperationId, result: Done) {
        if let Some((waiting, _)) = self.operations.borrow_mut().remove(&operation) {
            let _ = waiting.try_send(result);
        }
    }

    /// The user id of an operator who waits.
    pub(super) fn operator(&self, operation: OperationId) -> Option<u32> {
        self.operations.borrow().get(&operation).map(|(_, uid)| *uid)
    }

    fn config(&self) -> Rc<ClientConfig> {
        Rc::clone(&self.config.borrow())
    }

    /// Calls from now on go by another configuration.
    pub(super) fn configure(&self, config: ClientConfig) {
        *self.config.borrow_mut() = Rc::new(config);
    }

    pub(super) fn trust(&self, server: &str) -> Arc<Trust> {
        self.config().trust.get(server).cloned().unwrap_or_default()
    }

    async fn make(&self, request: Call, unix: u64, random: u64) -> CallResult {
        let http = |method, url, allow_http, trust, headers, body, max_body| CallRequest {
            method,
            url,
            allow_http,
            trust,
            headers,
            body,
            max_body,
            timeout: limits::CALL_TIME,
            now: unix,
        };
        let call = match request.kind {
            CallKind::Message { url, allow_http, content_type, mac, body } => {
                let mut headers = vec![
                    ("content-type".to_owned(), content_type.to_owned()),
                    ("accept".to_owned(), content_type.to_owned()),
                ];
                headers.extend(mac.map(|mac| (MAC_HEADER.to_owned(), mac)));
                let trust = self.trust(&request.server);
                let most = limits::CLIENT_MESSAGE;
                http(Method::Post, url, allow_http, trust, headers, body, most)
            }
            CallKind::Fetch { url, accept } => {
                let headers = vec![("accept".to_owned(), accept.to_owned())];
                let trust = Arc::clone(&self.config().bootstrap_trust);
                http(Method::Get, url, false, trust, headers, Vec::new(), limits::BOOTSTRAP)
            }
            CallKind::Services { name } => {
                let servers = dns::name_servers(Path::new(RESOLV_CONF));
                let records = dns::srv(&name, &servers).await.map_err(|error| error.to_string())?;
                let ordered = dns::order(records, random).into_iter();
                return Ok(Reply::Services(ordered.map(|it| (it.3, it.2)).collect()));
            }
            CallKind::Card => {
                return self.read_card().await.map(Reply::Card).map_err(Into::into);
            }
        };
        let answer = self
            .clients
            .call(call)
            .await
            .map_err(|failure| Failed::new(failure.code(), failure.to_string()))?;
        Ok(Reply::Http(HttpReply {
            status: answer.status,
            content_type: answer.content_type,
            mac: answer.mac,
            retry_after: answer.retry_after,
            body: answer.body,
        }))
    }

    /// What the smartcard has for bootstrapping. Cards and modems are slow: a thread waits.
    async fn read_card(&self) -> Result<Option<Vec<u8>>, String> {
        let card = self.config().card.clone().ok_or("no smartcard is configured")?;
        let read = move || match card {
            CardConfig::Directory(path) => {
                read_card(&mut CardDirectory::open(&path)?, card::Options::default())
            }
            CardConfig::Modem(path) => {
                read_card(&mut Modem::open(&path)?, card::Options::default())
            }
        };
        smol::unblock(read).await.map_err(|error| format!("the smartcard cannot be read: {error}"))
    }
}

/// Whether a file is what an editor or a package manager left beside the real one: an old account
/// must not come after the new one.
pub(crate) fn is_left_over(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    name.starts_with('.')
        || name.ends_with('~')
        || [".bak", ".orig", ".old", ".swp", ".tmp"].iter().any(|end| name.ends_with(end))
        || [".dpkg-", ".rpmsave", ".rpmnew", ".ucf-"].iter().any(|part| name.contains(part))
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Shell {
    /// Makes calls, for ever.
    pub(super) async fn calls(self: Rc<Self>) {
        let executor = LocalExecutor::new();
        let accept = async {
            while let Ok((call, request)) = self.caller.receive.recv().await {
                executor.spawn(Rc::clone(&self).one_call(call, request)).detach();
            }
        };
        executor.run(accept).await;
    }

    async fn one_call(self: Rc<Self>, call: CallId, request: Call) {
        let unix = self.clock.now().unix;
        let random = self.clock.random();
        if let CallKind::Message { body, .. } = &request.kind {
            count(&self.octets.servers_sent, body.len());
        }
        let result = self.caller.make(request, unix, random).await;
        if let Ok(Reply::Http(reply)) = &result {
            count(&self.octets.servers_received, reply.body.len());
        }
        self.handle(Input::Called { call, result });
        // What the next message of a session would have used, had there been one.
        pause(limits::CALL_IDLE).await;
        self.caller.clients.close_idle();
    }

    /// Has the gateway do what an operator of that user id wants.
    pub(super) async fn operate(&self, request: Operation, uid: u32) -> Done {
        let number = self.caller.next_operation.get();
        self.caller.next_operation.set(number + 1);
        let operation = OperationId(number);
        let (send, receive) = channel::bounded(1);
        self.caller.operations.borrow_mut().insert(operation, (send, uid));
        self.handle(Input::Operate { operation, request });
        receive.recv().await.unwrap_or_else(|_| Err("the daemon stops".to_owned()))
    }

    /// Hands the files of the bootstrap directories to the gateway, by name.
    pub(super) fn bootstrap_files(&self) {
        for directory in &self.caller.config().directories {
            let entries = match std::fs::read_dir(directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    log::error!("{}: {}", directory.display(), crate::io::plain(&error));
                    continue;
                }
            };
            let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths.iter().filter(|path| path.is_file() && !is_left_over(path)) {
                let name = path.display().to_string();
                match crate::io::read_bounded(path, limits::BOOTSTRAP) {
                    Ok(document) => {
                        self.handle(Input::BootstrapFile { name: &name, document: &document });
                    }
                    Err(error) => log::error!("{name}: {}", crate::io::plain(&error)),
                }
            }
        }
    }

    /// Hands what is on the smartcard to the gateway, if there is one.
    pub(super) async fn card(self: Rc<Self>) {
        self.read_card().await;
    }

    /// The same, at any time.
    pub(super) async fn read_card(&self) {
        if self.caller.config().card.is_none() {
            return;
        }
        match self.caller.read_card().await {
            Ok(document) => self.handle(Input::Card(document.as_deref())),
            Err(error) => log::error!("{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_and_packages_leave_beside_a_factory_file_is_left_out() {
        let is = |name: &str| is_left_over(&Path::new("/etc/dm-gateway/bootstrap.d").join(name));
        for name in ["fleet.xml~", ".fleet.xml.swp", "fleet.xml.bak", "fleet.xml.dpkg-old"] {
            assert!(is(name), "{name}");
        }
        for name in ["fleet.xml", "10-fleet.wbxml", "fleet", "old.xml", "rpm.xml"] {
            assert!(!is(name), "{name}");
        }
    }
}
